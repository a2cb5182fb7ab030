"""Rows: one table with named columns. A row is a dict; a file of rows is JSON lines.

Content hashes, seeds and the column check live here; the columns themselves are listed in
``docs/concepts.md``.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from ilf.errors import DataError, listed
from ilf.protocols import Row
from rankers._api import messages_text as messages_text

#: What a column must hold; a column that is not listed here may hold anything.
COLUMNS: dict[str, str] = {
    "id": "str",
    "sample_id": "str",
    "prompt": "text or messages",
    "output": "text",
    "outputs": "list of texts",
    "critique": "text",
    "ranking": "list of groups",
    "annotator": "str",
    "seconds": "number",
    "refinements": "list of texts",
    "scores": "list of numbers",
    "completion": "text",
    "ratings": "numbers by name",
    "decision": "str",
    "chosen": "text",
    "rejected": "text",
    "margin": "number or none",
    "is_tied": "true or false",
    "label": "true or false",
    "group": "str",
    "split": "str",
    "test": "text",
}

#: Job of people -> columns that they are shown.
SHOWN: dict[str, tuple[str, ...]] = {
    "critique": ("prompt", "output"),
    "rank": ("prompt", "outputs"),
    "pairwise": ("prompt", "outputs"),
    "demonstrate": ("prompt",),
    "rate": ("prompt", "output"),
    "verdict": ("prompt", "outputs"),
    "refine": ("prompt", "output", "critique", "refinements"),
}

#: Columns of an annotation, and of how several were settled: not of the sample that they are about.
OF_ANNOTATION = (
    "annotation_id",
    "job",
    "annotator",
    "seconds",
    "lead_seconds",
    "shown",
    "provenance",
    "settled",
    "settled_from",
    "disagreement",
)
#: Job of people -> columns that hold what they said.
SAID: dict[str, tuple[str, ...]] = {
    "critique": ("critique", "is_faultless", "marks", "faults"),
    "rank": ("ranking", "why"),
    "pairwise": ("ranking", "why", "critique"),
    "verdict": ("ranking", "why"),
    "demonstrate": ("completion",),
    "rate": ("ratings",),
    "refine": ("decision", "preferred", "origins"),
}


def dumps(value: Any) -> str:
    """Canonical JSON: the same value gives the same text everywhere; NaN is refused."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def line(row: Mapping[str, Any]) -> bytes:
    """A row as one line of a rows file: columns in the order in which the stages added them."""
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # A lone surrogate (half an emoji from a broken export) must survive the round trip, not end the run.
    return text.encode("utf-8", "surrogatepass") + b"\n"


def digest(value: Any, length: int = 64) -> str:
    """SHA-256 of a value's canonical JSON, the first ``length`` hex digits."""
    return hashlib.sha256(dumps(value).encode("utf-8", "surrogatepass")).hexdigest()[:length]


def row_id(*parts: Any) -> str:
    """A content hash of 16 hex digits naming a row or a sample."""
    return digest(list(parts), 16)


def seed_of(*parts: Any) -> int:
    """A seed in [0, 2^63) drawn from names and numbers, e.g. ``seed_of(run_seed, "refine", row["id"])``."""
    return int(digest(list(parts), 16), 16) >> 1


def _is_messages(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str)
            for m in value
        )
    )


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_groups(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(group, list) and group and all(isinstance(i, int) for i in group) for group in value
    )


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "str": lambda v: isinstance(v, str) and bool(v),
    "text": lambda v: isinstance(v, str),
    "text or messages": lambda v: isinstance(v, str) or _is_messages(v),
    "list of texts": _is_texts,
    "number": _is_number,
    "number or none": lambda v: v is None or _is_number(v),
    "true or false": lambda v: isinstance(v, bool),
    "list of numbers": lambda v: isinstance(v, list) and all(x is None or _is_number(x) for x in v),
    "list of groups": _is_groups,
    "numbers by name": lambda v: isinstance(v, dict) and bool(v) and all(_is_number(x) for x in v.values()),
}


def problem_of(column: str, value: Any) -> str | None:
    """Why a value cannot stand in a column, or None; empty prompts, critiques and completions are refused."""
    kind = COLUMNS.get(column)
    if kind is None:
        return None
    if not _CHECKS[kind](value):
        return f"'{column}' must be {kind}, is {type(value).__name__}"
    if column in ("prompt", "critique", "completion") and isinstance(value, str) and not value.strip():
        return f"'{column}' is empty"
    return None


def check(rows: Iterable[Row], needs: Sequence[str], where: str) -> None:
    """Raises a DataError naming row and column where a needed column is missing, empty or of another type."""
    problems = []
    for index, row in enumerate(rows):
        for column in needs:
            problem = problem_of(column, row[column]) if column in row else f"has no '{column}'"
            if problem:
                problems.append(f"{where}: row {index + 1}: {problem}")
    if problems:
        raise DataError(f"{len(problems)} problem(s) in the rows:\n{listed(problems)}")


class Rows(Sequence[Row]):
    """The rows of a JSON-lines file as a sequence that stays on disk: 8 bytes of memory a row.

    A torn last line is not a row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets = array("Q", [0])
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    self._offsets.append(self._offsets[-1] + len(line))

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return list(self._lines(start, stop))
            return [self[i] for i in range(start, stop, step)]
        at = index if index >= 0 else index + len(self)
        if not 0 <= at < len(self):
            raise IndexError(index)
        return next(self._lines(at, at + 1))

    def __iter__(self) -> Iterator[Row]:
        return self._lines(0, len(self))

    def _lines(self, start: int, stop: int) -> Iterator[Row]:
        if start >= stop:
            return
        with self.path.open("rb") as file:
            file.seek(self._offsets[start])
            for number in range(start, stop):
                yield self._parse(file.readline(), number)

    def _parse(self, line: bytes, number: int) -> Row:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{self.path}: line {number + 1} is not JSON ({error}).") from None
        if not isinstance(row, dict):
            raise DataError(f"{self.path}: line {number + 1} is not an object.")
        return row

    def end_of(self, count: int) -> int:
        """Byte offset behind the first ``count`` rows."""
        return self._offsets[count]


def as_sequence(rows: Iterable[Row]) -> Sequence[Row]:
    """The rows as they are if they can be read twice, else (what a verb yields) as a list."""
    return rows if isinstance(rows, Sequence) else list(rows)


def windows(rows: Iterable[Row], size: int, done: int = 0) -> Iterator[list[Row]]:
    """Cuts rows (a sequence or an iterable) from index ``done`` on into lists of ``size``, in order."""
    rows = as_sequence(rows)
    for start in range(done, len(rows), size):
        yield list(rows[start : start + size])


def without(row: Mapping[str, Any], *columns: str) -> Row:
    """A copy of the row lacking some columns."""
    return {key: value for key, value in row.items() if key not in columns}
