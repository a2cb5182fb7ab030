"""Logs of the arms that followed a reward, as the page draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ilf._findings.slate import StepOf
from ilf.curves import slim

if TYPE_CHECKING:
    from ilf._compare.cells import Cell
    from ilf._compare.terms import Comparison


def learning_curves(
    comparison: Comparison, cells: Sequence[Cell], step: StepOf
) -> dict[str, list[list[dict[str, Any]]]]:
    """Logs of the arms whose training followed a reward, the numbers that are drawn: arm -> rows per seed."""
    found = {}
    for arm in comparison.arms:
        logs = [
            slim(step(cell, trained[-1]).rows())
            for cell in cells
            if cell.arm == arm.name and (trained := [s.name for s in cell.plan if s.verb == "train"])
        ]
        if logs and all(logs):
            found[arm.name] = logs
    return found
