"""Arms as plans: every arm at every budget and seed, checked before anything runs."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ilf._compare.terms import Arm, Comparison
from ilf._compare.variants import at_budget, sources, with_axes
from ilf.errors import UsageError
from ilf.plan import PlannedStep
from ilf.plan import keys as keys_of
from ilf.recipe import Recipe


@dataclass(frozen=True)
class Cell:
    """One arm at one seed: its steps in order, and the key of each in the graph."""

    arm: str
    seed: int
    plan: Sequence[PlannedStep]
    keys: Mapping[str, str]


def budgeted(recipe: Recipe, comparison: Comparison) -> Comparison:
    """The comparison with every arm at every budget: the arm ``NAME@SECONDS``, against its control at it.

    An arm behind which nobody was asked stands once. Without budgets the comparison is returned as it is.
    """
    if not comparison.budgets:
        return comparison
    asks = {arm.name: _asks(recipe, arm, comparison) for arm in comparison.arms}

    def at(arm: Arm, budget: float) -> Arm:
        control = f"{arm.control}@{budget:g}" if asks.get(arm.control or "") else arm.control
        return dataclasses.replace(arm, name=f"{arm.name}@{budget:g}", control=control, budget=budget)

    arms: list[Arm] = []
    for arm in comparison.arms:
        arms += [at(arm, budget) for budget in comparison.budgets] if asks[arm.name] else [arm]
    return dataclasses.replace(comparison, arms=tuple(arms))


def _asks(recipe: Recipe, arm: Arm, comparison: Comparison) -> bool:
    with naming(arm):
        return bool(sources(recipe.override(arm.overrides).plan(comparison.target), comparison.target))


@contextlib.contextmanager
def naming(arm: Arm) -> Iterator[None]:
    """Puts an arm's name before the message of a UsageError."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"arm {arm.name}: {error}") from None


def recipe_of(recipe: Recipe, arm: Arm, comparison: Comparison, seed: int) -> Recipe:
    """The recipe of one arm at one seed, at its budget, with the steps of every axis."""
    own = recipe.override({**arm.overrides, "seed": seed})
    if arm.budget is not None:
        own = at_budget(own, arm, comparison.target, arm.budget) or own
    return with_axes(own, comparison.target, comparison.axes)


def targets(comparison: Comparison) -> list[str]:
    """The graded step of an arm, and that of every axis."""
    return [comparison.target, *(f"{comparison.target}_{axis.name}" for axis in comparison.axes)]


def cells(recipe: Recipe, comparison: Comparison) -> list[Cell]:
    """Plans every arm at every seed, seeds outermost; everything is checked before anything runs."""
    planned = []
    for seed, arm in itertools.product(comparison.seeds, comparison.arms):
        with naming(arm):
            plan = recipe_of(recipe, arm, comparison, seed).plan(*targets(comparison))
            planned.append(Cell(arm.name, seed, plan, keys_of(plan)))
    return planned


def pick_cells(recipe: Recipe, comparison: Comparison) -> list[Cell]:
    """The choices compared in the table of picks, and the grades of all candidates, at every seed.

    With budgets they are those of the smallest one: every ranker reads every candidate.
    """
    if not comparison.graded_step:
        return []
    rankers = (recipe.raw["compare"]["picks"] or {})["rankers"]
    planned = []
    for seed in comparison.seeds:
        base = recipe.override({"seed": seed})
        graded = _plan_of_picks(base, comparison, comparison.graded_step)
        planned.append(Cell(comparison.graded_step, seed, graded, keys_of(graded)))
        for name in comparison.picks:
            plan = _plan_of_picks(base.override(rankers[name] or {}), comparison, comparison.picks_step)
            planned.append(Cell(name, seed, plan, keys_of(plan)))
            _check_candidates(planned[-1], graded)
    return planned


def _plan_of_picks(recipe: Recipe, comparison: Comparison, step: str) -> list[PlannedStep]:
    if comparison.budgets:
        arm = Arm("picks", of="picks")
        recipe = at_budget(recipe, arm, step, comparison.budgets[0]) or recipe
    return recipe.plan(step)


def _check_candidates(pick: Cell, graded: Sequence[PlannedStep]) -> None:
    """Refuses grades of other texts than those that were picked from."""
    chosen, truth, truth_keys = pick.plan[-1], graded[-1], keys_of(graded)
    same_rows = [pick.keys[name] for name in chosen.reads] == [truth_keys[name] for name in truth.reads]
    if not same_rows or chosen.spec.settings.get("candidates") != truth.spec.settings.get("text"):
        raise UsageError(
            f"compare.picks: {pick.arm}: step '{truth.name}' must grade what '{chosen.name}' chooses from: "
            "the same 'reads', and as 'text' its 'candidates'. Change both, or set compare.picks=null."
        )
