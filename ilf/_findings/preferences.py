"""Preferences: how often an arm's answer beats the base's, at equal length too, and strengths of all arms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ilf._findings.contrasts import shown
from ilf._findings.slate import LENGTH, STYLE, Slate, Table
from ilf.stats import Interval, Verdicts, bradley_terry, length_controlled, win_rates

if TYPE_CHECKING:
    from ilf._compare.terms import Comparison

#: Times that prompts are redrawn for the intervals of strengths.
DRAWS = 400


def preferences(comparison: Comparison, slate: Slate) -> dict[str, Any] | None:
    """Win rates against the base, raw and at equal length, and Davidson's strengths, from pairs of grades.

    On every prompt and seed an arm's answers beat the base's, or its control's, where their grade is higher;
    equal grades tie. ``{"reference", "arms": [{"arm", "win", "equal_length", "strength"}], "length_slope",
    "style"}``, each an interval; ``style``: what length, lists and headings weigh in the strengths, in log
    odds a standard deviation. None without a base or with fewer than two prompts.
    """
    base = comparison.controls.get("base")
    names = list(slate.values)
    if base not in names or len(slate.prompts) < 2 or len(names) < 2:
        return None
    names = [base, *(name for name in names if name != base)]
    pairs = [(0, arm) for arm in range(1, len(names))]
    controls = {arm.name: arm.control for arm in comparison.arms}
    pairs += [
        (names.index(str(controls[name])), arm)
        for arm, name in enumerate(names)
        if controls.get(name) not in (None, base)
    ]
    verdicts = _verdicts(slate, names, pairs)
    wins = win_rates(verdicts, len(names))
    equal, slope = _at_equal_length(slate, names, pairs, verdicts)
    strengths = bradley_terry(verdicts, len(names), np.random.default_rng(0), draws=DRAWS)
    styled = _styled(slate, names, pairs)
    return {
        "reference": base,
        "prompts": len(slate.prompts),
        "arms": [
            {
                "arm": name,
                "win": shown(wins[arm], "rate"),
                "equal_length": None if equal is None else shown(equal[arm], "rate"),
                "strength": shown(strengths.arms[arm], "log_odds"),
            }
            for arm, name in enumerate(names)
            if arm
        ],
        "length_slope": None if slope is None else shown(slope, "log_odds"),
        "style": [
            {"name": name, **shown(found, "log_odds")}
            for name, found in ({} if styled is None else styled).items()
        ],
    }


def _verdicts(
    slate: Slate, names: Sequence[str], pairs: Sequence[tuple[int, int]], covariates: Sequence[str] = ()
) -> Verdicts:
    """One verdict per prompt, seed and pair: the pair's second arm against its first."""
    outcomes, places, differences = [], [], []
    prompts = np.arange(len(slate.prompts))
    for other, arm in pairs:
        grades = [slate.grades()[names[k]] for k in (arm, other)]
        gap = np.sign(np.round(grades[0] - grades[1], 9))
        n_seeds = gap.shape[1]
        outcomes.append(((gap + 1) / 2).ravel())
        places.append(
            np.stack([np.repeat(prompts, n_seeds), np.full(gap.size, arm), np.full(gap.size, other)], axis=1)
        )
        differences.append(
            np.stack([_difference(slate, names, arm, other, name) for name in covariates], axis=1)
            if covariates
            else np.zeros((gap.size, 0))
        )
    rows = np.column_stack([np.concatenate(places), np.concatenate(outcomes)])
    return Verdicts.of([tuple(row) for row in rows.tolist()], np.concatenate(differences), covariates)


def _difference(slate: Slate, names: Sequence[str], arm: int, other: int, name: str) -> Table:
    found: Table = (slate.values[names[arm]][name] - slate.values[names[other]][name]).ravel()
    return found


def _at_equal_length(
    slate: Slate, names: Sequence[str], pairs: Sequence[tuple[int, int]], verdicts: Verdicts
) -> tuple[list[Interval] | None, Interval | None]:
    if any(LENGTH not in slate.values[name] for name in names):
        return None, None
    logs = {name: np.log(np.maximum(slate.values[name][LENGTH], 1.0)) for name in names}
    ratio = np.concatenate([(logs[names[arm]] - logs[names[other]]).ravel() for other, arm in pairs])
    if not np.ptp(ratio):
        return None, None
    return length_controlled(verdicts, ratio, len(names))


def _styled(
    slate: Slate, names: Sequence[str], pairs: Sequence[tuple[int, int]]
) -> dict[str, Interval] | None:
    """What each trait of style weighs, of those in which the answers differ at all."""
    traits = [
        trait
        for trait in STYLE
        if all(trait in slate.values[name] for name in names)
        and any(np.ptp(slate.values[names[a]][trait] - slate.values[names[b]][trait]) > 0 for b, a in pairs)
    ]
    if not traits:
        return None
    verdicts = _verdicts(slate, names, pairs, traits)
    return bradley_terry(verdicts, len(names), np.random.default_rng(0), draws=DRAWS).coefficients
