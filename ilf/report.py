"""Comparisons' results as one HTML page, as Markdown, and as text for a terminal; all say the same sentences.

``result`` is the object that ``ilf compare --json`` prints. A key that is absent leaves its section out; a
number that is None is shown as not measured, with its ``reason`` where there is one. The same result gives
the same bytes: no clock, no network. The page's content security policy lets one script run, by its sha256;
without it, and on paper, everything is there to read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ilf._report.figures import Json
from ilf._report.markdown import markdown
from ilf._report.page import page, script
from ilf._report.sentences import headline
from ilf._report.terminal import terminal
from ilf._report.view import COLUMNS, views
from ilf.files import write_whole

__all__ = ["headline", "markdown", "render", "terminal", "write"]


def render(results: Json | Sequence[Json]) -> str:
    """One page for one result, or for several with a part for each, as HTML text without outside address."""
    every: Sequence[Json] = [results] if isinstance(results, Mapping) else list(results)
    text, source = script()
    return page("report.html", views=views(every), script=text, script_source=source, columns=COLUMNS)


def write(results: Json | Sequence[Json], path: Path) -> None:
    """Writes the page of one or several results, whole or not at all."""
    write_whole(path, render(results))
