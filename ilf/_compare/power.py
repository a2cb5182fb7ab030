"""What a comparison could see, before anyone is paid: power from a pilot's, or a world's, spread."""

from __future__ import annotations

import dataclasses
import random
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ilf._compare.cells import Cell
from ilf._compare.terms import Comparison
from ilf._findings.contrasts import Contrasts, trained_arms
from ilf._findings.slate import slate_of
from ilf.errors import DataError, UsageError
from ilf.records import seed_of
from ilf.stats import Spread, power, prompts_needed, smallest_effect, spread_of

if TYPE_CHECKING:
    from ilf.protocols import World
    from ilf.store import Step

#: Test posts that a world's spread is measured on.
WORLD_POSTS = 400
#: Spread between trainings where nobody has trained yet: an assumption, and said to be one.
SEED_SD = 0.02
#: Numbers of seeds, and of test prompts, that the table shows beside the recipe's own.
SEEDS, PROMPTS = (3, 5, 8), (50, 100, 200, 400)


def spread_of_pilot(
    comparison: Comparison, cells: Sequence[Cell], step: Callable[[Cell, str], Step]
) -> dict[str, Any]:
    """Spread of the differences of a finished comparison: the median over its planned ones, and the widest.

    DataError below two seeds: how trainings differ cannot be seen in one.
    """
    if len(comparison.seeds) < 2:
        raise DataError("a pilot needs two seeds or more: how much trainings differ cannot be seen in one.")
    slate = slate_of(cells, comparison.target, step)
    by_arm = {arm.name: [cell for cell in cells if cell.arm == arm.name] for arm in comparison.arms}
    contrasts = Contrasts(slate, trained_arms(comparison, by_arm), comparison.margin)
    grades = slate.grades()
    found = [
        spread_of(
            grades[arm.name] - grades[arm.control],
            contrasts.pooled(arm.name, arm.control),
        )
        for arm in comparison.arms
        if arm.control
    ]
    if not found:
        raise DataError("the pilot compares no arm with a control.")
    return {
        "from": "pilot",
        "spread": _middle(found, statistics.median),
        "widest": _middle(found, max),
        "pilot_prompts": len(slate.prompts),
        "pilot_seeds": len(comparison.seeds),
    }


def _middle(spreads: Iterable[Spread], of: Callable[[Sequence[float]], float]) -> Spread:
    table = [dataclasses.astuple(spread) for spread in spreads]
    return Spread(*(of(column) for column in zip(*table, strict=True)))


def spread_of_world(world: World, split: str, answers: int, seed_sd: float = SEED_SD) -> dict[str, Any]:
    """Spread between two policies that answer with the habits of the world's noisy web.

    Prompts and what is left in a cell are measured on ``WORLD_POSTS`` posts; how much trainings differ
    (``seed_sd``) cannot be known before one was trained: it is assumed. ``answers`` are averaged per prompt.
    """
    rng = random.Random(seed_of("power", split))
    cells = []
    for index in range(WORLD_POSTS):
        facts = world.facts(random.Random(seed_of("power", split, index)), split)
        grades = [
            [_mean_grade(world, facts, rng, answers) for _ in range(2)]  # two draws stand for two seeds
            for _ in range(2)
        ]
        cells.append([grades[0][k] - grades[1][k] for k in range(2)])
    found = dataclasses.replace(spread_of(np.array(cells)), seed_sd=seed_sd)
    return {"from": "world", "spread": found, "widest": found, "pilot_prompts": WORLD_POSTS, "pilot_seeds": 0}


def _mean_grade(world: World, facts: dict[str, Any], rng: random.Random, answers: int) -> float:
    found = [world.grade(facts, world.faulty(rng, facts))["grade"] for _ in range(answers)]
    return sum(float(grade or 0.0) for grade in found) / answers


def outlook(
    spread: Spread, *, prompts: int, seeds: int, comparisons: int, trained_arms: int | None, effect: float
) -> dict[str, Any]:
    """Power for an effect, the smallest effect seen with 80 %, and what would be needed for it.

    ``alone``: one comparison. ``family``: the hardest step of Holm's procedure over all planned ones.
    ``grid`` has the smallest effect of the family for other numbers of prompts and seeds; ``needed`` the
    prompts with which ``effect`` is seen, by number of seeds (None: no number is enough).
    """
    if seeds == 1:
        spread = dataclasses.replace(spread, seed_sd=0.0)
    if effect <= 0:
        raise UsageError(f"--effect: {effect} must be above 0.")
    sizes = {"alone": 1, "family": max(comparisons, 1)}
    grid_seeds = sorted({*SEEDS, seeds} - {1})
    return {
        **{
            name: {
                "comparisons": size,
                "power": power(effect, spread, prompts, seeds, comparisons=size, trained_arms=trained_arms),
                "smallest_effect": smallest_effect(
                    spread, prompts, seeds, comparisons=size, trained_arms=trained_arms
                ),
            }
            for name, size in sizes.items()
        },
        "grid": [
            {
                "prompts": n,
                "seeds": s,
                "smallest_effect": smallest_effect(
                    spread, n, s, comparisons=sizes["family"], trained_arms=trained_arms
                ),
            }
            for n in sorted({*PROMPTS, prompts})
            for s in grid_seeds
        ],
        "needed": {
            str(s): prompts_needed(effect, spread, s, comparisons=sizes["family"], trained_arms=trained_arms)
            for s in grid_seeds
        },
    }
