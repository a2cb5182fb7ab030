"""How good every ranker's pick is on the same refinements, between a coin and the best there was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ilf._findings.contrasts import shown
from ilf._findings.slate import StepOf
from ilf.evaluate import mean
from ilf.stats import kendall_tau_b, mean_interval

if TYPE_CHECKING:
    from ilf._compare.cells import Cell
    from ilf._compare.terms import Comparison


def pick_table(comparison: Comparison, cells: Sequence[Cell], step: StepOf) -> list[dict[str, Any]]:
    """How good every ranker's pick is on the same refinements, between a coin and the best there was."""
    table = []
    graded = {
        c.seed: list(step(c, comparison.graded_step).rows()) for c in cells if c.arm == comparison.graded_step
    }
    for ranker in comparison.picks:
        own = [cell for cell in cells if cell.arm == ranker]
        table.append(
            {
                "ranker": ranker,
                **_pick_row([(graded[c.seed], step(c, comparison.picks_step).rows()) for c in own]),
            }
        )
    return table


def _pick_row(seeds: Sequence[tuple[Sequence[Any], Sequence[Any]]]) -> dict[str, Any]:
    """One ranker's line: its picks' grade, and how they were made, over all rows of all seeds.

    A row that cannot be judged at one seed is left out at every seed, so that all columns rest on the same
    rows; ``left_out`` counts them.
    """
    picks = [[_pick(*each) for each in zip(graded, chosen, strict=True)] for graded, chosen in seeds]
    shortest = min(map(len, picks), default=0)
    table = [row for i in range(shortest) if None not in (row := [own[i] for own in picks])]
    kept = [pick for row in table for pick in row if pick]
    left_out = sum(map(len, picks)) - len(kept)
    if not kept:
        return {"grade": None, "reason": "no row was both chosen and graded", "left_out": left_out}
    grade, coin, ceiling = (_average(kept, name) for name in ("grade", "chance", "best"))
    grades = [[pick["grade"] for pick in row if pick] for row in table]
    return {
        **shown(mean_interval(grades, within=(0.0, 1.0)), "grade"),
        # Candidates that all have one grade leave rounding between coin and ceiling, and no headroom.
        "headroom": (grade - coin) / (ceiling - coin) if ceiling - coin > 1e-9 else None,
        "tau": mean([pick["tau"] for pick in kept]),
        "longest": _average(kept, "longest"),
        "unchanged": _average(kept, "unchanged"),
        "ties": sum(pick["is_tied"] for pick in kept),
        **({"left_out": left_out} if left_out else {}),
    }


def _average(picks: Sequence[dict[str, Any]], name: str) -> float:
    return float(np.mean([pick[name] for pick in picks]))


def _pick(truth: dict[str, Any], row: dict[str, Any]) -> dict[str, Any] | None:
    """What one pick was worth; None where nothing was picked, or a candidate could not be graded."""
    grades, texts, picked = truth["grades"], row[row["candidates"]], row["picked"]
    if picked is None or None in grades:
        return None
    # A blank candidate has no score: it ranks below all others, and level with another blank.
    below = min(score for score in row["scores"] if score is not None) - 1
    return {
        "grade": grades[picked],
        "chance": sum(grades) / len(grades),
        "best": max(grades),
        "tau": kendall_tau_b([below if score is None else score for score in row["scores"]], grades),
        "longest": len(texts[picked]) == max(map(len, texts)),
        "unchanged": row["completion"].strip() == row["output"].strip(),
        "is_tied": row["is_tied"],
    }
