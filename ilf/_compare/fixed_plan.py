"""The plan of a comparison, written to its run before the data are in, and what was changed afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ilf._compare.cells import Cell
from ilf._compare.terms import Comparison
from ilf.errors import DataError
from ilf.files import write_whole
from ilf.records import digest, dumps

FILE = "plan.json"
_KEYS = ("plan", "digest", "graded_before", "earlier", "changes", "now", "current")
#: How differences are judged, as the plan states it; ``docs/comparing.md`` explains each.
METHOD = {
    "unit": "test prompt, paired over prompts and seeds",
    "interval": "95 %, two-way random effects with Satterthwaite's degrees of freedom; the arm-by-seed mean "
    "square pooled over the trained arms of a budget",
    "family": "Holm over the planned comparisons",
    "alpha": 0.05,
}


def plan_of(comparison: Comparison, cells: Sequence[Cell]) -> dict[str, Any]:
    """What is fixed before anything is graded: arms, comparisons, seeds, prompts, and the method."""
    first = {cell.arm: cell for cell in reversed(cells)}
    loads = [step for step in cells[0].plan if step.verb == "load"]
    return {
        "target": comparison.target,
        "seeds": list(comparison.seeds),
        "budgets": list(comparison.budgets),
        "arms": {arm.name: first[arm.name].keys[comparison.target] for arm in comparison.arms},
        "comparisons": [[arm.name, arm.control] for arm in comparison.arms if arm.control],
        **({"versus": [list(v.rows), list(v.columns)]} if (v := comparison.versus) else {}),
        "controls": dict(comparison.controls),
        "axes": [axis.name for axis in comparison.axes],
        "rows": {step.name: step.spec.settings.get("n") for step in loads},
        "enough": {name: share for cell in cells for name, share in _enough(cell).items()},
        "margin": comparison.margin,
        "method": METHOD,
    }


def _enough(cell: Cell) -> dict[str, float]:
    """Share of the answers that each step of people waits for, where its source lets one choose."""
    sources = {step.name: step.spec.settings.get("feedback") for step in cell.plan if step.asks_people}
    return {name: s.settings["enough"] for name, s in sources.items() if s and "enough" in s.settings}


def early(kept: Mapping[str, Any]) -> dict[str, Any] | None:
    """Whether this is a look before all answers are in that were planned for: step, share planned, share now.

    An interval that is looked at again and again finds a winner by chance sooner or later, so no verdict is
    given before the planned number. None where it is reached.
    """
    planned, now = kept["plan"].get("enough", {}), kept["current"].get("enough", {})
    for name, share in planned.items():
        if now.get(name, share) < share:
            return {"step": name, "planned": share, "now": now[name]}
    return None


def fix(run: Path, plan: Mapping[str, Any], *, graded: int, replan: bool = False) -> dict[str, Any]:
    """The run's plan: written now if there is none; otherwise the first one, with every later change noted.

    ``graded`` is the number of arms, over all seeds, that were graded already. A plan that is changed before
    anything was graded is replaced; ``replan`` starts a new one that counts those before it (``earlier``).
    Returns ``{"plan", "digest", "graded_before", "earlier", "changes", "now",
    "current"}``; ``changes`` is a list of
    ``{"what", "graded_before"}``. DataError where the file is torn.
    """
    kept = read(run)
    now = digest(plan, 16)
    if kept is None or replan or (graded == 0 and not kept["changes"]):
        earlier = 0 if kept is None else kept["earlier"] + replan
        kept = {"plan": dict(plan), "digest": now, "graded_before": graded, "earlier": earlier, "changes": []}
    elif kept["now"] != now:
        change = {"what": _changes(kept["plan"], plan), "graded_before": graded}
        kept = {**kept, "changes": [*kept["changes"], change]}
    else:
        return kept
    kept |= {"now": now, "current": dict(plan)}
    write_whole(run / FILE, json.dumps(kept, ensure_ascii=False, indent=1) + "\n")
    return kept


def read(run: Path) -> dict[str, Any] | None:
    """The plan that was written to a run, or None."""
    path = run / FILE
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        dumps(
            [kept[key] for key in ("plan", "digest", "graded_before", "earlier", "changes", "now", "current")]
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"{path}: is no plan of a comparison. Move it away: a new one is written, which says that it was "
            "written when arms were graded already."
        ) from None
    return kept


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """In words, what a later plan has that the first had not, and the other way round."""
    said = [
        f"{key}: {dumps(before.get(key))} became {dumps(after.get(key))}"
        for key in ("target", "seeds", "budgets", "axes", "rows", "enough", "margin")
        if before.get(key) != after.get(key)
    ]
    old, new = before["arms"], after["arms"]
    said += [f"arm {name} was added" for name in new if name not in old]
    said += [f"arm {name} was taken out" for name in old if name not in new]
    said += [f"arm {name} does something else" for name in new if name in old and new[name] != old[name]]
    pairs = [[tuple(pair) for pair in plan["comparisons"]] for plan in (before, after)]
    said += [
        f"{arm} is compared with {control}, which was not planned"
        for arm, control in pairs[1]
        if (arm, control) not in pairs[0] and arm in old
    ]
    return said or ["settings that the plan describes"]
