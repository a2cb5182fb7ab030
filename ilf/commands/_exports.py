"""Writing rows as files for other tools: streamed, memory flat, each file whole or not there."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ilf.errors import DataError, UsageError, listed
from ilf.protocols import Row

#: Halves of broken emoji: no UTF-8 and no reader takes them.
_HALVES = re.compile("[\ud800-\udfff]")
_SHOWN_PROBLEMS = 20
#: datasets takes the types of a JSON-lines file from its first bytes.
_TYPED_BY = 10 << 20


@dataclass
class Counts:
    """What was written and what was not."""

    written: int = 0
    dropped_equal: int = 0
    repaired: int = 0
    as_json: list[str] = field(default_factory=list)
    late: set[str] = field(default_factory=set)

    def notes(self) -> Iterator[str]:
        """Lines on all that is not a plain copy."""
        if self.dropped_equal:
            yield f"{self.dropped_equal} rows left out: chosen and rejected are equal"
        if self.repaired:
            yield f"{self.repaired} rows held broken characters (half an emoji), now \\ufffd"
        if self.as_json:
            yield f"columns of mixed values, written as JSON text: {', '.join(self.as_json)}"
        if self.late:
            names = ", ".join(sorted(self.late))
            yield f"datasets may fail to load {names}: other kinds of values than in the first 10 MB"
            yield "use --format parquet, which finds the types over all rows"


@dataclass
class _Problems:
    """Rows that cannot be exported: the first in full, all counted."""

    said: list[str] = field(default_factory=list)

    def add(self, index: int, problem: str) -> None:
        self.said.append(f"row {index + 1}: {problem}" if len(self.said) < _SHOWN_PROBLEMS else "")

    def refuse(self, form: str) -> None:
        if self.said:
            raise DataError(
                f"{len(self.said)} row(s) cannot be exported as {form}:\n{listed(self.said, _SHOWN_PROBLEMS)}"
            )


def write(
    rows: Sequence[Row],
    form: str,
    path: Path,
    counts: Counts,
    *,
    drop_equal: bool = False,
    force: bool = False,
) -> None:
    """Writes a file under a temporary name, fsynced, renamed last. UsageError where it exists already."""
    _refuse_existing(path, force)
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is no folder; make it first.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if form == "parquet":
            from ilf.commands._parquet import write_parquet

            write_parquet(rows, temporary, counts)
        else:
            with temporary.open("wb") as file:
                _write_lines(rows, form, file, counts, drop_equal)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        _refuse_existing(path, force)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def to_stdout(rows: Sequence[Row], form: str, counts: Counts, *, drop_equal: bool = False) -> None:
    """Writes JSON lines to stdout; all rows are checked before the first is written."""
    with Path(os.devnull).open("wb") as nowhere:
        _write_lines(rows, form, nowhere, Counts(), drop_equal)
    sys.stdout.flush()
    _write_lines(rows, form, sys.stdout.buffer, counts, drop_equal)
    sys.stdout.buffer.flush()


def _refuse_existing(path: Path, force: bool) -> None:
    if path.is_dir() or (path.exists() and not force):
        told = "is a folder." if path.is_dir() else "exists already; --force replaces it."
        raise UsageError(f"{path} {told}")


def _write_lines(rows: Sequence[Row], form: str, file: BinaryIO, counts: Counts, drop_equal: bool) -> None:
    problems, equal, kinds = _Problems(), [], _Kinds()
    for index, row in enumerate(rows):
        made = _MAKERS[form](index, row, problems)
        if made is not None and form == "trl-dpo" and _is_equal(made):
            equal.append(index)
            made = None
        if made is not None and not problems.said:
            text = _line(made, counts)
            file.write(text)
            counts.written += 1
            kinds.add(made, len(text))
    problems.refuse(form)
    if equal and not drop_equal:
        shown = ", ".join(str(index + 1) for index in equal[:_SHOWN_PROBLEMS])
        more = ", ..." if len(equal) > _SHOWN_PROBLEMS else ""
        raise DataError(
            f"{len(equal)} of {len(rows)} rows have the same text as chosen and rejected, which teaches "
            f"nothing (rows {shown}{more}). --drop-equal leaves them out."
        )
    if not counts.written:
        raise DataError(f"none of {len(rows)} rows is left to export; nothing was written.")
    counts.dropped_equal, counts.late = len(equal), kinds.late


def _line(row: Row, counts: Counts) -> bytes:
    return json.dumps(whole_characters(row, counts), ensure_ascii=False, allow_nan=False).encode() + b"\n"


def whole_characters(row: Row, counts: Counts) -> Row:
    """The row with halves of broken emoji replaced, and counted; the row itself where there are none."""
    text = json.dumps(row, ensure_ascii=False)
    if not _HALVES.search(text):
        return row
    counts.repaired += 1
    whole: Row = json.loads(_HALVES.sub("\ufffd", text))
    return whole


def _is_equal(row: Row) -> bool:
    """Texts that differ in outer spaces only are no preference."""
    chosen, rejected = (
        row[c] if isinstance(row[c], str) else row[c][-1]["content"] for c in ("chosen", "rejected")
    )
    return bool(chosen.strip() == rejected.strip())


class _Kinds:
    """Which columns get values of a kind that no row of a file's first bytes has."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.late: set[str] = set()
        self.n_bytes = 0

    def add(self, row: Row, n_bytes: int) -> None:
        """Takes a row that was written with so many bytes."""
        if self.n_bytes <= _TYPED_BY:
            for name, value in row.items():
                self.seen.update(_kinds(name, value))
        else:
            self.late.update(n for n, value in row.items() if n not in self.late and not self._fits(n, value))
        self.n_bytes += n_bytes

    def _fits(self, name: str, value: object) -> bool:
        # A whole number fits where fractions were seen, not the other way round.
        return all(k in self.seen or k.replace(":int", ":float") in self.seen for k in _kinds(name, value))


def _kinds(path: str, value: object) -> Iterator[str]:
    """``grades[]:float``, ``parts.recall:float``; an unknown value has every kind."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _kinds(f"{path}.{key}", item)
    elif isinstance(value, list):
        for item in value:
            yield from _kinds(f"{path}[]", item)
    elif value is not None:
        yield f"{path}:{type(value).__name__}"


# --- rows in TRL's columns


def _sft(index: int, row: Row, problems: _Problems) -> Row | None:
    return _texts(index, row, {"completion": "completion"}, problems)


def _dpo(index: int, row: Row, problems: _Problems) -> Row | None:
    if "chosen" in row and "rejected" in row:
        return _texts(index, row, {"chosen": "chosen", "rejected": "rejected"}, problems)
    return _texts(index, row, {"chosen": "completion", "rejected": "output"}, problems)


def _texts(index: int, row: Row, columns: dict[str, str], problems: _Problems) -> Row | None:
    """TRL's columns of a row; answers to a list of messages are messages too, for TRL takes no mix."""
    prompt, made = row.get("prompt"), {}
    if not isinstance(prompt, (str, list)) or not prompt:
        problems.add(index, "has no 'prompt'")
        return None
    for name, source in columns.items():
        text = row.get(source)
        if not isinstance(text, str) or not text.strip():
            problems.add(index, f"'{source}' is {'empty' if isinstance(text, str) else 'missing'}")
            return None
        made[name] = text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]
    return {"prompt": prompt, **made}


def _as_it_is(index: int, row: Row, problems: _Problems) -> Row:
    return row


_MAKERS: dict[str, Callable[[int, Row, _Problems], Row | None]] = {
    "trl-sft": _sft,
    "trl-dpo": _dpo,
    "jsonl": _as_it_is,
}
