"""Where Label Studio is and the key to it, taken from the environment or from the server that ilf started."""

from __future__ import annotations

import os
import re
from urllib.parse import SplitResult, urlsplit

from ilf.errors import ComponentError, Unreachable
from ilf.label_studio.server import Access, running

URL, KEY = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"


def access() -> Access:
    """Where Label Studio is and the key to it: from the environment, else the server that ilf started.

    Raises ComponentError that says what to do where they cannot be right, and Unreachable where there is
    neither: ours may be started again while a run waits for people.
    """
    url, key = os.environ.get(URL, "").strip(), os.environ.get(KEY, "")
    if url and key.strip():
        address_parts(url)
        return Access(url.rstrip("/"), checked_key(key), URL)
    if url or key.strip():
        there, missing = (URL, KEY) if url else (KEY, URL)
        raise ComponentError(
            f"{there} is set, {missing} is not. Set both for a server that you have (the key stands on its "
            "page Account & Settings), or neither for the one of `ilf label-studio start`."
        )
    found = running()
    if found is None:
        raise Unreachable(
            "no Label Studio is running. Start one: ilf label-studio start. Or name one that you have: "
            f"{URL}=http://... and {KEY}=..."
        )
    return found


def address_parts(url: str) -> SplitResult:
    """The parts of an address; a wrong one is refused without being shown, for it may hold a password."""
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole, parts = False, urlsplit("")
    if not is_whole or parts.query or parts.fragment or re.search(r"\s", url):
        raise ComponentError(
            f"{URL} is not the address of a server. It looks like http://127.0.0.1:8080, "
            "with nothing behind host, port and path."
        )
    return parts


def checked_key(key: str) -> str:
    """A key without the line break that copying adds; anything else that no key holds is refused unseen."""
    key = key.strip()
    if not re.fullmatch(r"[!-~]+", key):
        raise ComponentError(
            f"{KEY} holds something that no key has (a space, a line break or a letter outside ASCII). "
            "Copy it again from Label Studio's page Account & Settings."
        )
    return key
