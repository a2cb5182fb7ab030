"""Differences between arms, paired by prompt and seed, with what may be said of them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ilf._findings.slate import Slate, Table
from ilf.stats import (
    Interval,
    MeanSquare,
    cluster_bootstrap,
    complete_prompts,
    equivalent,
    holm,
    paired_interval,
    pooled_arm_by_seed,
)

if TYPE_CHECKING:
    from ilf._compare.cells import Cell
    from ilf._compare.terms import Comparison
    from ilf.plan import PlannedStep

#: Draws of the cluster bootstrap that is shown beside an interval.
DRAWS = 2000


@dataclass(frozen=True)
class Contrasts:
    """Paired differences on one slate; the seed variance of trained arms is pooled over those of a budget.

    ``trained`` maps the arms whose model was trained to their budget: with few critiques trainings differ
    more than with many, so only arms of one budget lend each other their variance.
    """

    slate: Slate
    trained: Mapping[str, float | None]
    margin: float
    _pools: dict[frozenset[float | None], MeanSquare | None] = field(default_factory=dict, compare=False)

    def pooled(self, arm: str, control: str) -> MeanSquare | None:
        """Mean square pooled over the trained arms of two arms' budgets; None where one is untrained."""
        if arm not in self.trained or control not in self.trained:
            return None
        budgets = frozenset((self.trained[arm], self.trained[control]))
        if budgets not in self._pools:
            grades = self.slate.grades()
            stack = [grades[name] for name, budget in self.trained.items() if budget in budgets]
            self._pools[budgets] = pooled_arm_by_seed(np.stack(stack))
        return self._pools[budgets]

    def grade(self, arm: str, control: str, *, bootstrap: bool = True) -> dict[str, Any]:
        """An arm's grade minus its control's: interval, p, smallest effect that could have been seen.

        ``same`` is true where the whole interval lies within the margin: equivalence shown, not assumed.
        """
        grades = self.slate.grades()
        differences = grades[arm] - grades[control]
        pooled = self.pooled(arm, control)
        found = paired_interval(differences, pooled, within=self.slate.within)
        entry = {"control": control, **shown(found, "difference"), "p": found.p, "mde": found.mde}
        entry["same"] = equivalent(found, self.margin)
        if bootstrap:
            redrawn = cluster_bootstrap(differences, _generator(arm, control), draws=DRAWS)
            entry["bootstrap"] = None if redrawn.low is None else [redrawn.low, redrawn.high]
        # That the variance between seeds is pooled is said once, in the notes.
        return {**entry, "note": found.note} if found.note and pooled is None else entry

    def part(self, arm: str, control: str, name: str) -> dict[str, Any] | None:
        """The difference in one part of the grade, on the prompts where both could be measured; or None."""
        values = [self.slate.values[one].get(name) for one in (arm, control)]
        if values[0] is None or values[1] is None:
            return None
        return difference_of(values[0] - values[1])


def trained_arms(comparison: Comparison, by_arm: Mapping[str, Sequence[Cell]]) -> dict[str, float | None]:
    """The arms behind whose policy a model was trained, each with its budget."""
    return {
        arm.name: arm.budget
        for arm in comparison.arms
        if any(step.verb == "train" and _has_weights(step) for step in by_arm[arm.name][0].plan)
    }


def _has_weights(step: PlannedStep) -> bool:
    strategy = step.spec.settings.get("strategy")
    return bool(getattr(getattr(strategy, "target", None), "has_weights", True))


def difference_of(differences: Table) -> dict[str, Any]:
    """A paired difference on the prompts that have one at every seed, and how many those are."""
    kept, _ = complete_prompts(differences)
    found = paired_interval(kept)
    return {**shown(found, "difference"), "p": found.p, "mde": found.mde, "prompts": len(kept)}


def shown(interval: Interval, name: str) -> dict[str, Any]:
    """An interval as the page's keys, with its reason where there is one."""
    entry = {name: interval.estimate, "low": interval.low, "high": interval.high}
    return {**entry, "reason": interval.reason} if interval.reason else entry


def adjust(entries: Sequence[dict[str, Any] | None]) -> None:
    """Adds Holm's adjusted p over a family of comparisons."""
    family = [entry for entry in entries if entry is not None]
    for entry, adjusted in zip(family, holm([entry["p"] for entry in family]), strict=True):
        entry["p_holm"] = adjusted


def _generator(arm: str, control: str) -> np.random.Generator:
    """The bootstrap's randomness: of this comparison alone, so that another arm changes no interval."""
    return np.random.default_rng(zlib.crc32(f"{arm} {control}".encode()))


def verdict(contrast: Mapping[str, Any] | None) -> str:
    """What a difference allows to say: ``more, less, none, unsettled, unknown``.

    ``unsettled``: the interval leaves out 0, but p, corrected for its family, does not reach .05.
    """
    if not contrast or contrast.get("low") is None or contrast.get("high") is None:
        return "unknown"
    if contrast["low"] <= 0 <= contrast["high"]:
        return "none"
    p = contrast.get("p_holm", contrast.get("p"))
    if p is not None and p >= 0.05:
        return "unsettled"
    return "more" if contrast["low"] > 0 else "less"
