"""choose: a ranker scores every candidate and the best becomes the text to imitate (ILF step 4)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from ilf.errors import DataError, UsageError
from ilf.protocols import Ranker, Row
from ilf.records import check, seed_of, windows
from rankers import best, missing_model

#: Rows that go to the ranker, and to the disk, together.
WINDOW = 256


def columns(arguments: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that are read, and those that are added; UsageError where the ranker lacks a model."""
    if problem := missing_model(arguments["ranker"]):
        raise UsageError(f"{problem}.")
    needs = [arguments["candidates"], *_needs_critique(arguments["ranker"], arguments["without_critique"])]
    return ("prompt", *needs), ("candidates", "scores", "picked", "is_tied", "completion")


def _needs_critique(ranker: Any, without_critique: str) -> tuple[str, ...]:
    reads_it = getattr(ranker, "needs_critique", False)
    return ("critique",) if reads_it and without_critique == "refuse" else ()


def choose(
    rows: Iterable[Row],
    *,
    ranker: Ranker,
    candidates: Literal["refinements", "outputs", "output"] = "refinements",
    without_critique: Literal["refuse", "tie"] = "refuse",
    seed: int = 0,
    done: int = 0,
) -> Iterator[Row]:
    """Adds ``scores`` (one per candidate), ``picked`` (an index), ``is_tied`` and ``completion`` (the pick).

    The ranker sees the critique that the refiner saw. A ranker that reads critiques refuses rows without
    one, unless ``without_critique="tie"``: then all candidates tie, and the pick is by seed. Ties are
    broken by seed and counted.
    """
    for window in windows(rows, WINDOW, done):
        check(window, ("id", "prompt", candidates), "choose")
        queries = [_query(row) for row in window]
        if without_critique == "refuse":
            for row, query in zip(window, queries, strict=True):
                if _needs_critique(ranker, without_critique) and not query["critique"]:
                    raise DataError(
                        f"choose: row {row['id']} has no critique, and the ranker reads critiques."
                    )
        texts = [row[candidates] if candidates != "output" else [row["output"]] for row in window]
        for row, options, scores in zip(window, texts, ranker.score(queries, texts), strict=True):
            yield {**row, "candidates": candidates, **_choice(row, options, scores, seed)}


def _choice(row: Row, options: Sequence[str], scores: Sequence[float], seed: int) -> Row:
    """The pick among the candidates that are not blank; None and a reason where all are."""
    # NaN is no JSON: an unknown score is None on disk.
    marks = [
        None if math.isnan(score) or not text.strip() else score
        for text, score in zip(options, scores, strict=True)
    ]
    if all(mark is None for mark in marks):
        nothing = {"picked": None, "is_tied": False, "completion": None}
        return {"scores": marks, **nothing, "reason": "no candidate has text and a score"}
    picked, is_tied = best(marks, seed_of(seed, "choose", row["id"]))
    return {"scores": marks, "picked": picked, "is_tied": is_tied, "completion": options[picked]}


def _query(row: Row) -> Row:
    """What a ranker sees of a row; ``facts`` ride along for the oracle alone, as a test shows."""
    return {**row, "critique": row["critique_shown"] if "critique_shown" in row else row.get("critique")}
