"""The real server and the real browser for the recipes that ask people."""

from browser import chromium as chromium
from studio import studio as studio
