"""What has to be said beside the tables: what an interval covers, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ilf._findings.contrasts import Contrasts
from ilf._findings.slate import StepOf
from ilf.stats import ONE_SEED

if TYPE_CHECKING:
    from ilf._compare.cells import Cell
    from ilf._compare.terms import Comparison


def renewed(by_arm: Mapping[str, Sequence[Cell]]) -> str:
    """What another seed draws anew in some arm, in words."""
    words = {
        "load": "posts",
        "sample": "samples",
        "critique": "critiques",
        "rank": "rankings",
        "demonstrate": "demonstrations",
        "collect": "what people say",
        "refine": "rewrites",
        "train": "training order",
    }
    found = {
        step.verb
        if step.verb != "collect"
        else job
        if (job := step.spec.settings.get("job")) in words
        else step.verb
        for cells in by_arm.values()
        for step in cells[0].plan
        if len({cell.keys[step.name] for cell in cells}) > 1
        and not (step.verb == "sample" and step.models_from)  # answers of a trained model
    }
    *first, last = [word for verb, word in words.items() if verb in found] or ["nothing"]
    return f"{', '.join(first)} and {last}" if first else last


def notes(
    comparison: Comparison, contrasts: Contrasts, n_prompts: int, by_arm: Mapping[str, Sequence[Cell]]
) -> list[str]:
    """What the intervals cover, in words."""
    if len(comparison.seeds) == 1:
        return [
            f"Intervals are 95 % over {n_prompts} test prompts and one seed: {ONE_SEED}, so how far another "
            "seed would move an arm cannot be seen."
        ]
    said = [
        f"Intervals are 95 % over {n_prompts} test prompts and {len(comparison.seeds)} seeds, both as random "
        f"effects; a seed renews {renewed(by_arm)}, not the start model or the test prompts."
    ]
    n_trained = len(contrasts.trained)
    if n_trained > 1 and n_prompts > 1:
        of = (
            f"the trained arms of a budget ({n_trained} in all)"
            if comparison.budgets
            else f"{n_trained} arms"
        )
        said.append(
            f"In differences of trained arms the variance between seeds is pooled over {of}; intervals of "
            "single arms rest on their own seeds and cover a little less than they say."
        )
    return said


def counts(cells: Sequence[Cell], step: StepOf, target: str, left_out: int) -> dict[str, int]:
    """Prompts left out and answers not graded."""
    ungraded = sum(row["grade"] is None for cell in cells for row in step(cell, target).rows())
    return {
        "test prompts left out of every arm, because an arm's answer could not be graded": left_out,
        "answers to test prompts that could not be graded, over all arms and seeds": ungraded,
    }
