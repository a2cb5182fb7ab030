"""The bill of a whole comparison: people's seconds, money, computing, energy; shared work counted once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilf._findings.costs import paid, total
from ilf._findings.slate import StepOf
from ilf.store import Step

if TYPE_CHECKING:
    from ilf._compare.cells import Cell
    from ilf._compare.terms import Comparison


def ledger(cells: Sequence[Cell], step: StepOf, comparison: Comparison) -> dict[str, Any]:
    """Distinct annotations and distinct steps of all arms and seeds.

    ``{"human_seconds", "annotations", "by_job", "money", "wall_seconds", "cpu_seconds", "steps"}``; seconds
    are None where an annotation's are unknown. ``wall_seconds`` adds up steps that ran side by side.
    """
    bill: dict[str, tuple[str, float | None]] = {}
    steps: dict[Path, Step] = {}
    for cell in cells:
        steps |= {step(cell, planned.name).folder: step(cell, planned.name) for planned in cell.plan}
        bill |= paid(cell, step, comparison.target)
    seconds = total([value for _, value in bill.values()])
    measured = [made.measured for made in steps.values()]
    jobs: dict[str, list[float | None]] = {}
    for job, value in bill.values():
        jobs.setdefault(job, []).append(value)
    return {
        "human_seconds": seconds,
        "annotations": len(bill),
        "by_job": {job: {"annotations": len(own), "seconds": total(own)} for job, own in jobs.items()},
        "money": None if seconds is None else seconds / 3600 * comparison.wage_per_hour or None,
        "wall_seconds": float(sum(m.get("wall_seconds", 0.0) for m in measured)),
        "cpu_seconds": float(sum(m.get("cpu_seconds", 0.0) for m in measured)),
        "steps": len(steps),
    }


def share_joules(arms: Sequence[dict[str, Any]], bill: Mapping[str, Any]) -> None:
    """Adds to every arm the ``joules`` behind its model: its share, by processor time, of what the run took.

    A step that arms share counts in full for each of them, as in ``cpu_seconds``.
    """
    joules, cpu = bill["energy"].get("joules"), bill["cpu_seconds"]
    for arm in arms:
        is_known = joules is not None and cpu and arm["cpu_seconds"] is not None
        arm["joules"] = joules * arm["cpu_seconds"] / cpu if is_known else None
