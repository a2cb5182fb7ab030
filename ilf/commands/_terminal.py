"""Text for a terminal: columns, colours, wrapping, and control characters made visible."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: Wider lines are hard to read.
_WIDEST = 100
_CODES = {"bold": "1", "dim": "2", "green": "32", "yellow": "33", "cyan": "36"}
#: Invisible characters that writing systems and emoji need.
_JOINERS = ("\u200c", "\u200d")
_SECRET_NAME = re.compile("KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_SHORTEST_SECRET = 8


def width() -> int:
    """Columns to write in: those of the terminal up to 100, or 80."""
    return min(shutil.get_terminal_size((80, 24)).columns, _WIDEST) if sys.stdout.isatty() else 80


def paint(text: str, *styles: str) -> str:
    """The text in colour where stdout is a terminal and NO_COLOR is not set (no-color.org)."""
    on = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\x1b[{';'.join(_CODES[s] for s in styles)}m{text}\x1b[0m" if on and text else text


def visible(text: object, *, one_line: bool = False) -> str:
    r"""Text that cannot drive a terminal: control, direction and broken characters become ``\x1b`` and such.

    Line ends stay unless ``one_line``; a tab becomes four spaces.
    """
    ends = " " if one_line else "\n"
    return "".join(ends if c == "\n" else "    " if c == "\t" else _shown(c) for c in str(text))


def _shown(character: str) -> str:
    kind = unicodedata.category(character)
    if kind in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp") or (kind == "Cf" and character not in _JOINERS):
        return character.encode("unicode_escape").decode("ascii")
    return character


def cells(text: str) -> int:
    """Columns that a text takes: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) or c in _JOINERS else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def wrapped(text: object, columns: int, indent: str = "") -> str:
    """Visible text in at most ``columns``, all spaces kept; what continues a line is indented like it."""
    room = max(columns - len(indent), 20)
    lines = [piece for line in visible(text).split("\n") for piece in _pieces(line, room)]
    return "\n".join((indent + line).rstrip() for line in lines)


def _pieces(line: str, room: int) -> Iterable[str]:
    margin = line[: len(line) - len(line.lstrip(" "))]
    margin = margin if len(margin) < room // 2 else ""
    while cells(line) > room:
        cut = _fitting(line, room)
        at = line.rfind(" ", len(margin) + 1, cut + 1)
        cut = at if at > 0 else cut
        yield line[:cut]
        line = margin + line[cut:].lstrip(" ")
    yield line


def _fitting(line: str, room: int) -> int:
    """How many characters fit into ``room`` columns; at least one."""
    used = 0
    for index, character in enumerate(line):
        used += cells(character)
        if used > room:
            return max(index, 1)
    return len(line)


def clipped(text: object, columns: int) -> str:
    """One line of at most ``columns``, the cut shown by three dots."""
    line = visible(text, one_line=True)
    return line if cells(line) <= columns else line[: _fitting(line, max(columns - 3, 1))].rstrip() + "..."


def table(rows: Sequence[Sequence[object]], *, right: Iterable[int] = (), columns: int | None = None) -> str:
    """Rows as aligned columns, the first row as header; the last column is cut where there is no room."""
    text = [["" if cell is None else visible(cell, one_line=True) for cell in row] for row in rows]
    widths = [max(cells(cell) for cell in column) for column in zip(*text, strict=True)]
    numeric = set(right)
    lines = []
    for number, row in enumerate(text):
        parts = []
        for index, (cell, size) in enumerate(zip(row, widths, strict=True)):
            pad = " " * (size - cells(cell))
            parts.append(pad + cell if index in numeric else cell + pad)
        line = clipped("  ".join(parts).rstrip(), columns or width())
        lines.append(paint(line, "bold") if number == 0 else line)
    return "\n".join(lines)


def number(value: object, digits: int = 3) -> str:
    """A number as it is read best: ``0.738``, ``12``, ``-`` for what is unknown; texts as they are."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if isinstance(value, float):
        small = value != 0 and abs(value) < 10**-digits
        return f"{value:.2e}" if small else f"{value:,.{digits}f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def size(n_bytes: float) -> str:
    """Bytes in units of 1024: ``3.4 MiB``."""
    for unit in ("B", "KiB", "MiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} B" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} GiB"


def total(values: Iterable[float | None]) -> float | None:
    """The sum, or None where one of the values is unknown."""
    found = list(values)
    return None if None in found else sum(value for value in found if value is not None)


def hours(seconds: float | None) -> str:
    """Seconds of people as hours: ``5.1``; a question mark where they are unknown."""
    if seconds is None:
        return "?"
    return f"{seconds / 3600:.1f}" if seconds >= 180 or not seconds else f"{seconds / 3600:.3f}"


def json_text(value: Any) -> str:
    """One JSON value, in ASCII so that every terminal and pipe takes it; NaN becomes null."""
    return json.dumps(_finite(value), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def redacted(text: str) -> str:
    """The text without the values of environment variables that hold secrets."""
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST_SECRET and _SECRET_NAME.search(name):
            text = text.replace(value, f"[{name}]")
    return text
