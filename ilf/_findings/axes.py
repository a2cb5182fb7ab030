"""What is measured beside the grade, before and after: truthfulness, toxicity, bias, generalisation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ilf._findings.contrasts import adjust, difference_of, verdict
from ilf._findings.guessing import chance_of, near_chance
from ilf._findings.slate import GRADE, Slate, StepOf, Table, slate_of
from ilf.stats import complete_prompts, mean_interval

if TYPE_CHECKING:
    from ilf._compare.cells import Cell
    from ilf._compare.terms import Axis, Comparison

#: Parts of a grade that are an axis of the same name, and whether a higher or a lower value is better.
PARTS = {"truthfulness": "higher", "toxicity": "lower", "bias": "lower"}
PREFERENCE, TWINS, NEAR_0 = "response preference", "bias between twins", "nearer to 0"


def axis_tables(
    comparison: Comparison, cells: Sequence[Cell], slate: Slate, step: StepOf
) -> list[dict[str, Any]]:
    """Every axis: ``{"axis", "measure", "better", "prompts", "rows"}``; ``reason`` where it was not measured.

    A row is an arm with ``before`` (the base), ``after`` and their paired ``difference`` with its interval;
    ``p_holm`` is corrected over the arms of an axis, ``verdict`` is ``better, worse, none, unsettled`` or
    ``unknown``. A score with a known chance level that cannot be told from it is None, and ``after_reason``
    (``before_reason``) says why; where both are, there is no ``difference``.
    """
    base = comparison.controls.get("base")
    arms = list(slate.values)
    before = base if base in slate.values else None
    measured = [_part(PREFERENCE, GRADE, "higher", slate, before, arms)]
    if any("reward" in slate.values[arm] for arm in arms):
        # Of a reward model that the grader names; arms that learnt from this very one are warned of.
        measured.append(_part(PREFERENCE, "reward", "higher", slate, before, arms))
    for part, better in PARTS.items():
        tables = [slate.values[arm][part] for arm in arms if part in slate.values[arm]]
        if any(np.isfinite(table).any() for table in tables):
            measured.append(_part(part, part, better, slate, before, arms))
        else:
            reason = f"the grader of '{comparison.target}' has no part '{part}'"
            measured.append({"axis": part, "measure": part, "reason": reason, "rows": []})
    for further in comparison.axes:
        name = f"{comparison.target}_{further.name}"
        if further.load.get("twins"):
            measured.append(_twins(further, cells, name, step, before))
        else:
            own = slate_of(cells, name, step)
            table = _part(further.axis, further.part, further.better, own, before, arms)
            missing = {} if table["rows"] else {"reason": f"its grader has no part '{further.part}'"}
            measured.append({**table, "measure": further.name, "about": further.about, **missing})
    return measured


def _part(
    axis: str, part: str, better: str, slate: Slate, base: str | None, arms: Sequence[str]
) -> dict[str, Any]:
    """One part of the grade of every arm that has it."""
    values = {arm: slate.values[arm][part] for arm in arms if part in slate.values[arm]}
    reasons = {arm: near_chance(table, chance_of(slate.values[arm], part)) for arm, table in values.items()}
    rows = []
    for arm in values:
        row: dict[str, Any] = {"arm": arm, **_told("after", values[arm], reasons[arm])}
        if base is not None and arm != base and base in values:
            row |= _told("before", values[base], reasons[base])
            if reasons[arm] is None or reasons[base] is None:
                row |= _change(values[arm], values[base], better)
        rows.append(row)
    prompts = max((len(values[arm]) for arm in values), default=0)
    return {
        "axis": axis,
        "measure": part,
        "better": better,
        "prompts": prompts,
        "rows": _judged(rows, better),
    }


def _told(key: str, values: Table, reason: str | None) -> dict[str, Any]:
    """The mean under its key; None with the reason where it says nothing."""
    return {key: _mean(values)} if reason is None else {key: None, f"{key}_reason": reason}


def _change(after: Table, before: Table, better: str) -> dict[str, Any]:
    """After minus before; of what is best at 0 each in the direction of its own sign: above 0 it grew."""
    if better != NEAR_0:
        return difference_of(after - before)
    signs = [math.copysign(1.0, _mean(table) or 1.0) for table in (after, before)]
    return difference_of(signs[0] * after - signs[1] * before)


def _judged(rows: list[dict[str, Any]], better: str) -> list[dict[str, Any]]:
    """Adds corrected p and verdict to the rows that are compared with the base."""
    compared = [row for row in rows if "difference" in row]
    adjust(compared)
    words = {"more": "better", "less": "worse"} if better == "higher" else {"more": "worse", "less": "better"}
    for row in compared:
        found = verdict(row)
        row["verdict"] = words.get(found, found)
    return rows


def _mean(values: Table) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None


# --- twins: the same post about a person of the other group


def _twins(axis: Axis, cells: Sequence[Cell], name: str, step: StepOf, base: str | None) -> dict[str, Any]:
    """Per arm the gap between the groups: grade of the first group minus the second's, paired by twin.

    Groups stand in the order of the alphabet. ``after`` is the arm's own gap with its interval; whether it
    widened is judged on the size of the gap, beside the base's.
    """
    gaps: dict[str, list[list[float | None]]] = {}
    groups: list[str] = []
    for cell in cells:
        by_twin: dict[str, dict[str, float | None]] = {}
        for row in step(cell, name).rows():
            by_twin.setdefault(row["twin_of"], {})[row["group_of"]] = row["grade"]
        groups = groups or sorted({group for pair in by_twin.values() for group in pair})
        gaps.setdefault(cell.arm, []).append([_gap(pair, groups) for pair in by_twin.values()])
    tables = {arm: np.array(columns, dtype=float).T for arm, columns in gaps.items()}
    rows = _judged([_twin_row(arm, tables, base) for arm in tables], "lower")
    pairs = max((len(table) for table in tables.values()), default=0)
    measure = f"grade of {groups[0]} minus {groups[1]}" if len(groups) == 2 else "grade gap between groups"
    return {
        "axis": TWINS,
        "measure": measure,
        "better": NEAR_0,
        "prompts": pairs,
        "about": axis.about,
        "rows": rows,
    }


def _gap(pair: Mapping[str, float | None], groups: Sequence[str]) -> float | None:
    first, second = (pair.get(group) for group in (groups[0], groups[-1]))
    return None if first is None or second is None else first - second


def _twin_row(arm: str, tables: Mapping[str, Table], base: str | None) -> dict[str, Any]:
    kept, _ = complete_prompts(tables[arm])
    found = mean_interval(kept)
    row: dict[str, Any] = {
        "arm": arm,
        "after": found.estimate,
        "after_low": found.low,
        "after_high": found.high,
        **({"reason": found.reason} if found.reason else {}),
    }
    before = None if base is None or arm == base else _mean(tables[base])
    if base is not None and before is not None and found.estimate is not None:
        row |= {"before": before, **_change(tables[arm], tables[base], NEAR_0)}
    return row
