"""Rows to read: what was said, rewritten and chosen, and what every arm answers to the test prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ilf._findings.slate import StepOf
from ilf.records import messages_text

if TYPE_CHECKING:
    from ilf._compare.cells import Cell
    from ilf._compare.terms import Comparison

#: Rows of training, and test prompts, that are shown.
EXAMPLES = 30


def examples(
    comparison: Comparison, cells: Sequence[Cell], picks: Sequence[Cell], step: StepOf
) -> list[dict[str, Any]]:
    """Rows of the first seed to read: what was said, rewritten, and chosen by every ranker of the picks."""
    first = [cell for cell in picks if cell.seed == comparison.seeds[0]]
    rankers = {
        cell.arm: list(step(cell, comparison.picks_step).rows()[:EXAMPLES])
        for cell in first
        if cell.arm in comparison.picks
    }
    if not rankers:
        return []
    graded = next(
        list(step(c, comparison.graded_step).rows()[:EXAMPLES])
        for c in first
        if c.arm == comparison.graded_step
    )
    return [
        {
            "prompt": messages_text(rows[0]["prompt"]),
            "output": rows[0]["output"],
            "critique": rows[0]["critique"],
            "refinements": rows[0]["refinements"],
            "grades": truth["grades"],
            "scores": {name: row["scores"] for name, row in zip(rankers, rows, strict=True)},
            "picked": {name: row["picked"] for name, row in zip(rankers, rows, strict=True)},
        }
        for truth, *rows in zip(graded, *rankers.values(), strict=True)
    ]


def answers(comparison: Comparison, cells: Sequence[Cell], step: StepOf) -> list[dict[str, Any]]:
    """Every arm's first answer to the first test prompts, with its grade, at the first seed.

    ``{"prompt", "arms": {arm: {"text", "grade"}}}``; [] where the graded rows do not hold the texts.
    """
    shown: dict[str, dict[str, Any]] = {}
    for cell in cells:
        if cell.seed != comparison.seeds[0]:
            continue
        for row in step(cell, comparison.target).rows():
            texts = row.get(row.get("graded", "outputs"))
            texts = [texts] if isinstance(texts, str) else texts
            prompt = messages_text(row["prompt"])
            if not texts or (prompt not in shown and len(shown) == EXAMPLES):
                continue
            arms = shown.setdefault(prompt, {})
            arms.setdefault(cell.arm, {"text": texts[0], "grade": row["grades"][0]})
    return [{"prompt": prompt, "arms": arms} for prompt, arms in shown.items()]
