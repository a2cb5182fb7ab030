"""evaluate: a grader judges texts for the report. Nothing is trained on a grade."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ilf.protocols import Grade, Grader, Row
from ilf.records import check, windows

#: Rows that go to the grader, and to the disk, together.
WINDOW = 64


def columns(arguments: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that are read, and those that are added."""
    needs = (arguments["text"], *getattr(arguments["grader"], "needs", ()))
    return needs, ("graded", "grade", "grades", "parts", "reasons")


def evaluate(rows: Iterable[Row], *, grader: Grader, text: str = "output", done: int = 0) -> Iterator[Row]:
    """Grades a column of texts, or of lists; adds ``grade`` and ``parts`` (means over a row's texts).

    ``grades`` has one value per text. What could not be graded is None and ``reasons`` says why; a mean is
    taken over what could, and is None where nothing could.
    """
    for window in windows(rows, WINDOW, done):
        check(window, (text,), "evaluate")
        texts = [row[text] if isinstance(row[text], list) else [row[text]] for row in window]
        flat = [{**row, "output": t} for row, options in zip(window, texts, strict=True) for t in options]
        verdicts = iter(grader.grade(flat))
        for row, options in zip(window, texts, strict=True):
            yield {**row, "graded": text, **_summed([next(verdicts) for _ in options])}


def _summed(verdicts: Sequence[Grade]) -> Row:
    names = dict.fromkeys(name for verdict in verdicts for name in verdict if name not in ("grade", "reason"))
    parts = {name: mean([verdict.get(name) for verdict in verdicts]) for name in names}
    grades = [verdict["grade"] for verdict in verdicts]
    reasons = sorted({str(verdict["reason"]) for verdict in verdicts if verdict.get("reason")})
    return {"grade": mean(grades), "grades": grades, "parts": parts, "reasons": reasons}


def mean(values: Sequence[float | str | None]) -> float | None:
    """Mean of the numbers among the values; None when there are none."""
    numbers = [float(value) for value in values if isinstance(value, (int, float))]
    return sum(numbers) / len(numbers) if numbers else None
