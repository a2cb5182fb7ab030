"""From finished steps to a comparison's tables: arms, what feedback adds, axes, controls, costs, rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ilf._compare.fixed_plan import early
from ilf._findings.arms import arm_rows
from ilf._findings.axes import axis_tables
from ilf._findings.beaten import beaten
from ilf._findings.checks import control_rows, flags
from ilf._findings.contrasts import Contrasts, trained_arms
from ilf._findings.curves import learning_curves
from ilf._findings.early import withhold
from ilf._findings.held_out import not_held_out
from ilf._findings.ledger import ledger, share_joules
from ilf._findings.notes import counts, notes
from ilf._findings.people import agreement
from ilf._findings.picks import pick_table
from ilf._findings.preferences import preferences
from ilf._findings.rows import EXAMPLES, answers, examples
from ilf._findings.slate import StepOf, slate_of
from ilf._findings.versus import versus_table
from ilf._findings.worth import worth_table

if TYPE_CHECKING:
    from ilf._compare.cells import Cell
    from ilf._compare.terms import Comparison

__all__ = ["EXAMPLES", "answers", "arm_tables", "examples", "learning_curves", "pick_table", "tables"]


def tables(
    comparison: Comparison,
    cells: Sequence[Cell],
    step: StepOf,
    plan: Mapping[str, Any] | None = None,
    energy: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """All tables that are made from graded rows; the keys are listed in ``docs/comparing.md``.

    ``energy`` is what the whole run took; an arm's joules are its share of that by processor time.
    """
    found = arm_tables(comparison, cells, step, plan)
    look = None if plan is None else early(plan)
    if look is not None:
        withhold(found, look)
    bill = {**ledger(cells, step, comparison), "energy": dict(energy or {})}
    share_joules(found["arms"], bill)
    return {
        **found,
        "ledger": bill,
        "agreement": agreement(cells, step),
        "answers": answers(comparison, cells, step),
    }


def arm_tables(
    comparison: Comparison, cells: Sequence[Cell], step: StepOf, plan: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The table of arms, what real feedback adds per ranker, axes, controls and warnings.

    ``plan`` is what was fixed beforehand (``ilf._compare.fixed_plan.fix``); None: all that is compared was.
    """
    slate = slate_of(cells, comparison.target, step)
    by_arm = {arm.name: [cell for cell in cells if cell.arm == arm.name] for arm in comparison.arms}
    contrasts = Contrasts(slate, trained_arms(comparison, by_arm), comparison.margin)
    rows = arm_rows(comparison, by_arm, contrasts, step, _planned(plan))
    axes = axis_tables(comparison, cells, slate, step)
    return {
        "seeds": list(comparison.seeds),
        "budgets": list(comparison.budgets),
        "test_prompts": len(slate.prompts),
        "margin": comparison.margin,
        "arms": rows,
        "worth": worth_table(comparison, contrasts),
        "versus": versus_table(comparison, contrasts),
        "beaten": beaten(contrasts, [arm.name for arm in comparison.arms]),
        "preferences": preferences(comparison, slate),
        "axes": axes,
        "flags": [*not_held_out(comparison, by_arm, step), *flags(comparison, rows, axes)],
        "controls": control_rows(comparison, rows),
        "plan": plan,
        "counts": counts(cells, step, comparison.target, slate.left_out),
        "notes": notes(comparison, contrasts, len(slate.prompts), by_arm),
    }


def _planned(plan: Mapping[str, Any] | None) -> frozenset[tuple[str, str]] | None:
    if plan is None:
        return None
    return frozenset((arm, control) for arm, control in plan["plan"]["comparisons"])
