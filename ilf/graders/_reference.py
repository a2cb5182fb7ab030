"""Grading against a column with a reference text."""

from __future__ import annotations

from collections.abc import Sequence

from ilf.metrics._texts import Measure, Unmeasured
from ilf.protocols import Grade, Row


def against(rows: Sequence[Row], column: str, measure: Measure, main: str) -> list[Grade]:
    """One verdict per row: the measure's parts, ``main`` as ``grade``; None with a reason without a value."""
    return [_verdict(row, column, measure, main) for row in rows]


def _verdict(row: Row, column: str, measure: Measure, main: str) -> Grade:
    reference = row.get(column)
    if reference is None:
        return {"grade": None, "reason": f"no '{column}'"}
    if not isinstance(reference, str):
        return {"grade": None, "reason": f"'{column}' is {type(reference).__name__}, must be text"}
    if not reference.strip():
        return {"grade": None, "reason": f"'{column}' is empty"}
    try:
        parts = measure(row["output"], reference)
    except Unmeasured as error:
        return {"grade": None, "reason": str(error)}
    return {"grade": parts[main], **parts}
