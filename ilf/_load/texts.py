"""JSON lines and CSV as streams of (place, record).

What cannot be read is a ``Bad`` with the reason, so that one torn line does not hide the problems after it.
"""

from __future__ import annotations

import contextlib
import csv
import json
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from ilf.errors import DataError

#: Longest CSV cell in characters: a quote that is never closed would swallow the rest of a file into memory.
MAX_CELL = 1 << 26
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
#: What ``errors="surrogateescape"`` makes of bytes that are not UTF-8.
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


class Bad(str):
    """A record that could not be read; the text says why."""

    __slots__ = ()


Record = dict[str, Any] | Bad
Stream = Generator[tuple[str, Record], None, None]


def jsonl(file: Path) -> Stream:
    """The objects of a file of JSON lines; blank lines are no rows, a BOM at the start is skipped."""
    with file.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            if number == 1:
                _refuse_other_encodings(file, raw)
                if raw.lstrip(_BOM + b" \t\r\n").startswith(b"["):
                    raise DataError(
                        f"{file}: is a JSON array; write one object a line (jq -c '.[]'), or name the layout "
                        "of an export of Label Studio (layout: label_studio)."
                    )
                raw = raw.removeprefix(_BOM)
            if raw.strip():
                yield f"{file.name}: line {number}", _json_record(raw)


def _refuse_other_encodings(file: Path, start: bytes) -> None:
    if start.startswith(_UTF16):
        raise DataError(f"{file}: is UTF-16; save it as UTF-8.")


def _json_record(raw: bytes) -> Record:
    try:
        # A lone surrogate is let through here; it is replaced, and counted, with those in escapes.
        record = json.loads(raw.decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError as error:
        return Bad(f"is not UTF-8 (byte 0x{raw[error.start]:02x} at byte {error.start + 1})")
    except RecursionError:
        return Bad("is not JSON (nested too deeply)")
    except ValueError as error:
        what = "is not JSON" if raw.endswith(b"\n") else "is torn: the file ends within it"
        return Bad(f"{what} ({error})")
    return record if isinstance(record, dict) else Bad(f"is a {type(record).__name__}, must be an object")


def csv_file(file: Path) -> Stream:
    """The rows of a CSV file with a header (tabs in a ``.tsv``), all cells text; the header is line 1."""
    with file.open("rb") as start:
        _refuse_other_encodings(file, start.read(2))
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text, _long_cells():
        reader = csv.reader(text, delimiter="\t" if file.suffix.lower() == ".tsv" else ",", strict=True)
        try:
            header = next(reader, [])
        except csv.Error as error:
            raise DataError(f"{file}: line 1: the header is not CSV ({error}).") from None
        _check_header(file, header)
        while True:
            place = f"{file.name}: line {reader.line_num + 1}"
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield place, Bad(f"is not CSV ({error})")
                continue
            if cells:
                yield place, _csv_record(header, cells)


def _check_header(file: Path, header: list[str]) -> None:
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{file}: line 1: the header names {', '.join(map(repr, twice))} twice.")
    if len(header) == 1 and re.search("[;\t]", header[0]):
        parted = "cells must be parted by commas (by tabs in a .tsv)"
        raise DataError(f"{file}: line 1: {parted}, not as in {header[0]!r}.")


def _csv_record(header: list[str], cells: list[str]) -> Record:
    if len(cells) != len(header):
        return Bad(f"does not fit the header ({len(cells)} cells, not {len(header)})")
    for name, cell in zip(header, cells, strict=True):
        bad = None if cell.isascii() else _NOT_UTF8.search(cell)
        if bad:
            return Bad(f"column '{name}' is not UTF-8 (byte 0x{ord(bad.group()) - 0xDC00:02x})")
    return dict(zip(header, cells, strict=True))


@contextlib.contextmanager
def _long_cells() -> Iterator[None]:
    """Allows cells above csv's default of 131,072 characters; the limit is one for the whole process."""
    before = csv.field_size_limit(MAX_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)
