"""refine: prompt, output and critique -> N rewrites (ILF step 3), with its two controls as settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from ilf._forms import form_template
from ilf._shuffle import others
from ilf.errors import DataError, UsageError
from ilf.protocols import Generator, Row
from ilf.records import as_sequence, check, messages_text, seed_of, windows
from rankers import fill

#: Rows that go to the generator, and to the disk, together.
WINDOW = 256

Feedback = Literal["real", "shuffled", "none"]


def columns(arguments: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that are read, and those that are added."""
    needs = ("prompt", "output") if arguments["feedback"] == "none" else ("prompt", "output", "critique")
    return needs, ("refinements", "critique_shown")


def refine(
    rows: Iterable[Row],
    *,
    generator: Generator,
    n: int = 8,
    feedback: Feedback = "real",
    form: str = "instruct",
    seed: int = 0,
    done: int = 0,
) -> Iterator[Row]:
    """Writes ``n`` refinements per row; adds ``refinements`` and ``critique_shown`` (what it was told).

    ``feedback="shuffled"`` shows every row another row's critique, ``"none"`` shows none: what is left of a
    gain under these owes nothing to the matching critique (Scheurer et al. 2023, arXiv 2303.16755, steps
    2-3 and controls).
    """
    if n < 1:
        raise UsageError(f"refine.n: {n} refinements asked for, must be 1 or more.")
    template = template_of(form, feedback)
    rows = as_sequence(rows)
    shown = shuffled_critiques(rows, seed) if feedback == "shuffled" else None
    for start, window in enumerate(windows(rows, WINDOW, done)):
        check(window, ("id", "prompt", "output", *(("critique",) if feedback != "none" else ())), "refine")
        first = done + start * WINDOW
        told = [
            None if feedback == "none" else row["critique"] if shown is None else shown[first + i]
            for i, row in enumerate(window)
        ]
        prompts = [prompt_of(template, row, critique) for row, critique in zip(window, told, strict=True)]
        seeds = [seed_of(seed, "refine", row["id"]) for row in window]
        answers = generator.generate(prompts, n, seeds)
        for row, critique, refinements in zip(window, told, answers, strict=True):
            # Whose the earlier rewrites were says nothing of these.
            origins = {"origins": ["model"] * n} if "origins" in row else {}
            yield {**row, "critique_shown": critique, "refinements": refinements, **origins}


def template_of(form: str, feedback: Feedback) -> str:
    """The template of a prompt form; UsageError for a form that does not exist."""
    return form_template(form, "refine_no_feedback" if feedback == "none" else "refine", "refine")


def prompt_of(template: str, row: Row, critique: str | None) -> str:
    """What the refiner reads of a row and a critique."""
    fields = {"prompt": messages_text(row["prompt"]), "output": row["output"], "critique": critique or ""}
    return fill(template, fields)


def shuffled_critiques(rows: Sequence[Row], seed: int) -> list[str]:
    """Every row's critique replaced by another row's: one cycle through all rows, so none keeps its own.

    DataError for fewer than two rows.
    """
    critiques = [row["critique"] for row in rows]
    if len(critiques) < 2:
        raise DataError("shuffled feedback needs at least two rows with critiques.")
    return others(critiques, seed_of(seed, "shuffle"))
