"""Rows that call one text good or bad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ilf.errors import DataError, listed
from ilf.protocols import Row
from ilf.records import dumps, problem_of
from ilf.strategies._encode import Example, encode
from rankers._lm import LM, Chat


@dataclass(frozen=True)
class Label:
    """A row's text in token ids, and what was said of it."""

    text: Example
    is_desirable: bool
    group: str
    is_validation: bool

    @property
    def texts(self) -> tuple[Example, ...]:
        """Its one text."""
        return (self.text,)


def read_labels(rows: Sequence[Row], lm: LM, *, who: str, chat: Chat = "auto") -> list[Label]:
    """Rows with ``prompt``, ``completion`` and ``label``; DataError names all that cannot be used."""
    problems = [
        f"row {i}: {problem}"
        for i, row in enumerate(rows, start=1)
        for column in ("prompt", "completion", "label")
        if (problem := _problem(row, column))
    ]
    if problems:
        raise DataError(f"{who}: {len(problems)} value(s) cannot be used:\n{listed(problems)}")
    return [
        Label(
            text=encode(row["prompt"], row["completion"], lm, chat=chat),
            is_desirable=row["label"],
            group=str(row.get("group") or dumps(row["prompt"])),
            is_validation=row.get("split") == "validation",
        )
        for row in rows
    ]


def _problem(row: Mapping[str, Any], column: str) -> str | None:
    if column not in row:
        return f"has no '{column}'"
    if column == "label" and not isinstance(row[column], bool):
        return f"'label' is {row[column]!r}, neither true nor false"
    return problem_of(column, row[column])
