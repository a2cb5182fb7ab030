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
    people: Literal["first", "ignore"] = "first",
    seed: int = 0,
    done: int = 0,
) -> Iterator[Row]:
    """Adds ``scores`` (one per candidate), ``picked`` (an index), ``is_tied`` and ``completion`` (the pick).

    The ranker sees the critique that the refiner saw. A ranker that reads critiques refuses rows without
    one, unless ``without_critique="tie"``: then all candidates tie, and the pick is by seed. Ties are
    broken by seed and counted. A refinement that a person accepted or wrote (``preferred``) beats the
    ranker's pick, and the outputs that a person ranked first beat the others, unless ``people="ignore"``;
    ``picked`` is None where the text is no candidate.
    """
    for window in windows(rows, WINDOW, done):
        said = [
            _preferred(row) if people == "first" and candidates == "refinements" else None for row in window
        ]
        # A person may have written the text for a row that nobody refined.
        rows_in = [
            row if text is None else {**row, candidates: row.get(candidates, [])}
            for row, text in zip(window, said, strict=True)
        ]
        check(rows_in, ("id", "prompt", candidates), "choose")
        _check_critiques(rows_in, ranker, without_critique)
        texts = [row[candidates] if candidates != "output" else [row["output"]] for row in rows_in]
        scores = _scores(ranker, rows_in, texts)
        for row, options, marks, text in zip(rows_in, texts, scores, said, strict=True):
            if text is not None:
                choice = _by_person(options, marks, text)
            elif people == "first" and candidates == "outputs" and row.get("ranking"):
                choice = _among_best_ranked(row, options, marks, seed)
            else:
                choice = _choice(row, options, marks, seed)
            yield {**row, "candidates": candidates, **choice}


def _preferred(row: Row) -> str | None:
    """The text that a person accepted or wrote for this critique, or None."""
    text = row.get("preferred")
    if text is not None and not isinstance(text, str):
        raise DataError(f"choose: row {row.get('id')}: 'preferred' must be text, is {type(text).__name__}.")
    if row.get("job") != "refine" and row.get("critique_shown", row.get("critique")) != row.get("critique"):
        # A control: the refiner was told something else, so what was preferred before has no part in it.
        return None
    return text if text and text.strip() else None


def _check_critiques(window: Sequence[Row], ranker: Any, without_critique: str) -> None:
    if not _needs_critique(ranker, without_critique):
        return
    for row in window:
        if not _query(row)["critique"]:
            raise DataError(f"choose: row {row['id']} has no critique, and the ranker reads critiques.")


def _scores(ranker: Ranker, window: Sequence[Row], texts: Sequence[Sequence[str]]) -> list[list[float]]:
    """The ranker's marks; a row without candidates has none."""
    asked = [i for i, options in enumerate(texts) if options]
    scored = ranker.score([_query(window[i]) for i in asked], [texts[i] for i in asked])
    found = dict(zip(asked, scored, strict=True))
    return [found.get(i, []) for i in range(len(texts))]


def _marks(options: Sequence[str], scores: Sequence[float]) -> list[float | None]:
    # NaN is no JSON: an unknown score is None on disk.
    return [
        None if math.isnan(score) or not text.strip() else score
        for text, score in zip(options, scores, strict=True)
    ]


def _by_person(options: Sequence[str], scores: Sequence[float], text: str) -> Row:
    """A person's choice: never tied; marked all the same, so that rankers can be compared with people."""
    picked = options.index(text) if text in options else None
    marks = _marks(options, scores)
    return {"scores": marks, "picked": picked, "is_tied": False, "completion": text, "picked_by": "person"}


def _among_best_ranked(row: Row, options: Sequence[str], scores: Sequence[float], seed: int) -> Row:
    """What a person ranked first; where several are tied there, the ranker's pick among them."""
    first = row["ranking"][0]
    if len(first) == 1 and options[first[0]].strip():
        return _by_person(options, scores, options[first[0]]) | {"picked": first[0]}
    among = [score if index in first else math.nan for index, score in enumerate(scores)]
    return _choice(row, options, among, seed) | {"scores": _marks(options, scores), "picked_by": "both"}


def _choice(row: Row, options: Sequence[str], scores: Sequence[float], seed: int) -> Row:
    """The pick among the candidates that are not blank; None and a reason where all are."""
    marks = _marks(options, scores)
    if all(mark is None for mark in marks):
        nothing = {"picked": None, "is_tied": False, "completion": None}
        return {"scores": marks, **nothing, "reason": "no candidate has text and a score"}
    picked, is_tied = best(marks, seed_of(seed, "choose", row["id"]))
    return {"scores": marks, "picked": picked, "is_tied": is_tied, "completion": options[picked]}


def _query(row: Row) -> Row:
    """What a ranker sees of a row; ``facts`` ride along for the oracle alone, as a test shows."""
    return {**row, "critique": row["critique_shown"] if "critique_shown" in row else row.get("critique")}
