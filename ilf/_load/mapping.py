r"""The right side of a mapping: which part of a record becomes a value.

- ``post``: a column
- ``info.post``, ``messages[-1].content``, ``messages[:-1]``: a part of a nested one
- ``"{title}\n\n{post}\nTL;DR:"``, ``" {summary|strip}"``: a text made of columns
- ``[summary_a, summary_b]``: a list of columns, for ``outputs``
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ilf.errors import nearest

_FIELD = re.compile(r"\{([^{}|]+)(\|strip)?\}")
_STEP = re.compile(r"([^.\[\]]+)|\[(-?\d*)(:?)(-?\d*)\]")
_RANGE = re.compile(r"(-?\d+(?:\.\d+)?)\.\.(-?\d+(?:\.\d+)?)")

Record = Mapping[str, Any]
Read = Callable[[Record], Any]


class Absent(LookupError):
    """A record lacks a column that the mapping reads."""


def reader(source: str | Sequence[str]) -> Read:
    """A function that reads a mapped value from a record.

    It raises Absent where a column is missing, and TypeError where one cannot go into a text.
    """
    if not isinstance(source, str):
        parts = [reader(part) for part in source]
        return lambda record: [part(record) for part in parts]
    if _FIELD.search(source):
        return lambda record: _filled(source, record)
    return lambda record: at(record, source)


def column(name: str) -> Read:
    """A reader of the column of exactly this name: no dot or brace in it means anything."""

    def read(record: Record) -> Any:
        if name not in record:
            raise Absent(f"has no column '{name}', which the first row has")
        return record[name]

    return read


def _filled(template: str, record: Record) -> str | None:
    """The template, every field filled in one pass; None where one has no value."""
    values = {name: at(record, name) for name, _ in _FIELD.findall(template)}
    if any(value is None for value in values.values()):
        return None
    for name, value in values.items():
        if not isinstance(value, (str, int, float)):
            raise TypeError(f"column '{name}' is {type(value).__name__}, which cannot go into a text")
    return _FIELD.sub(lambda m: str(values[m[1]]).strip() if m[2] else str(values[m[1]]), template)


def at(record: Record, path: str) -> Any:
    """The column of that name, or a part of a nested one: names after dots, items and slices in brackets."""
    if path in record:
        return record[path]
    value: Any = record
    for name, start, colon, stop in _STEP.findall(path):
        try:
            if name:
                value = value[name]
            elif colon:
                value = value[int(start) if start else None : int(stop) if stop else None]
            else:
                value = value[int(start)]
        except (LookupError, TypeError, ValueError):
            known = value if isinstance(value, Mapping) else ()
            raise Absent(f"has no column '{path}'.{nearest(name or path, known)}") from None
    return value


def kept(record: Record, where: Mapping[str, Any]) -> bool:
    """Whether a record meets every condition: a value, one of a list, or a range of numbers "low..high"."""
    return all(_meets(at(record, path), wanted) for path, wanted in where.items())


def _meets(value: Any, wanted: Any) -> bool:
    span = _RANGE.fullmatch(wanted) if isinstance(wanted, str) else None
    if span:
        try:
            return float(span[1]) <= float(value) <= float(span[2])
        except (TypeError, ValueError):
            return False
    options = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    # By their text, so that the cells of a CSV file, which are all text, meet numbers too.
    return any(key(value) == key(option) for option in options)


def key(value: Any) -> str:
    """A value as the text that a recipe would write for it: 1, true, null, Summary A."""
    return value if isinstance(value, str) else json.dumps(value, default=str)
