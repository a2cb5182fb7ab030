"""The table of arms: what each reached, what it cost, and how it stands to its control and to the base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ilf._findings.contrasts import Contrasts, adjust, shown
from ilf._findings.costs import costs
from ilf._findings.slate import LENGTH, Slate, StepOf
from ilf.evaluate import mean
from ilf.stats import mean_interval

if TYPE_CHECKING:
    from ilf._compare.cells import Cell
    from ilf._compare.terms import Arm, Comparison

#: Key of a difference -> the control that what people were paid for must beat as well.
BESIDE = {
    "vs_free": "no_feedback",
    "vs_in_context": "critiques_in_context",
    "vs_instruction": "prompt_from_critiques",
}


def arm_rows(
    comparison: Comparison,
    by_arm: Mapping[str, Sequence[Cell]],
    contrasts: Contrasts,
    step: StepOf,
    planned: frozenset[tuple[str, str]] | None,
) -> list[dict[str, Any]]:
    """One entry per arm; ``vs`` is the difference to its own control, ``vs_base`` that to the base.

    ``vs_free``, of arms that somebody was paid for, is the difference to the same loop without feedback at
    the same budget, ``vs_in_context`` and ``vs_instruction`` those to the critiques used without training:
    what people were paid for must be more than that. ``planned`` are the comparisons that were written down
    beforehand (None: all): they are one family of Holm's; those looked at afterwards are corrected over all
    comparisons, and say so (``planned: false``). Differences to the base, and to each of these controls, are
    families of their own.
    """
    base = comparison.controls.get("base")
    roles = set(comparison.controls.values())
    rows = []
    for arm in comparison.arms:
        entry = _row(arm, by_arm[arm.name], contrasts.slate, comparison.target, step)
        vs = contrasts.grade(arm.name, arm.control) if arm.control else None
        if vs is not None:
            vs["planned"] = planned is None or (arm.name, vs["control"]) in planned
        entry["vs"] = vs
        if base is not None and base in by_arm and arm.name != base:
            entry["vs_base"] = contrasts.grade(arm.name, base, bootstrap=False)
        for key, role in BESIDE.items():
            other = role_at(comparison, role, arm)
            if other is not None and entry["human_seconds"] and arm.of not in roles:
                entry[key] = contrasts.grade(arm.name, other, bootstrap=False)
        entry["money"] = _money(entry["human_seconds"], comparison.wage_per_hour)
        rows.append(entry)
    every = [row["vs"] for row in rows if row["vs"] is not None]
    adjust(every)
    adjust([vs for vs in every if vs["planned"]])
    for key in ("vs_base", *BESIDE):
        adjust([row.get(key) for row in rows])
    return rows


def role_at(comparison: Comparison, role: str, arm: Arm) -> str | None:
    """The control that plays a role, at an arm's budget, if the comparison has one."""
    name = comparison.controls.get(role)
    return next((a.name for a in comparison.arms if a.of == name and a.budget in (arm.budget, None)), None)


def _row(arm: Arm, cells: Sequence[Cell], slate: Slate, target: str, step: StepOf) -> dict[str, Any]:
    values = slate.values[arm.name]
    return {
        "arm": arm.name,
        "of": arm.of or arm.name,
        "budget": arm.budget,
        "about": arm.about,
        "is_control": arm.is_control,
        **shown(mean_interval(slate.grades()[arm.name], within=slate.within), "grade"),
        "parts": _parts(cells, target, step),
        "words": None if LENGTH not in values else float(values[LENGTH].mean()),
        "seeds": len(cells),
        **costs(cells, target, step),
        "kl": mean([_kl(cell, step) for cell in cells]),
    }


def _money(seconds: float | None, wage_per_hour: float) -> float | None:
    return seconds / 3600 * wage_per_hour if seconds is not None and wage_per_hour else None


def _parts(cells: Sequence[Cell], target: str, step: StepOf) -> dict[str, float | None]:
    """Mean of every named part over prompts and seeds, of the texts in which it could be measured."""
    values: dict[str, list[float | None]] = {}
    for cell in cells:
        for row in step(cell, target).rows():
            for name, value in row["parts"].items():
                values.setdefault(name, []).append(value)
    return {name: mean(found) for name, found in values.items()}


def _kl(cell: Cell, step: StepOf) -> float | None:
    """How far the policy is from the model that it started from, in nats a text; None where nobody measured.

    Of a policy that samples often (best of n) the bound that its generator states.
    """
    for planned in reversed(cell.plan):
        if planned.verb == "sample":
            generator = planned.spec.arguments().get("generator")
            bound = getattr(generator, "kl", None)
            if bound is not None:
                return float(bound)
        if planned.verb == "train":
            last = step(cell, planned.name).rows()[-1:]
            kl = last[0].get("kl") if last else None
            return None if kl is None else float(kl)
    return None
