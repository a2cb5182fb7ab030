"""choose: a ranker scores every candidate and the best becomes the text to imitate (ILF step 4)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from ilf._shuffle import others
from ilf.errors import DataError, UsageError
from ilf.protocols import Ranker, Row
from ilf.records import as_sequence, check, seed_of, windows
from rankers import best, missing_model

#: Rows that go to the ranker, and to the disk, together.
WINDOW = 256

Feedback = Literal["told", "real", "shuffled", "none"]


def columns(arguments: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that are read, and those that are added; UsageError where the ranker lacks a model."""
    if problem := missing_model(arguments["ranker"]):
        raise UsageError(f"{problem}.")
    feedback = arguments["feedback"]
    refuses = _refuses(arguments["ranker"], arguments["without_critique"], feedback)
    adds = () if feedback == "told" else ("critique_read",)
    needs = (arguments["candidates"], *(("critique",) if refuses else ()))
    return ("prompt", *needs), ("candidates", "scores", "picked", "is_tied", "completion", *adds)


def _refuses(ranker: Any, without_critique: str, feedback: Feedback) -> bool:
    """Whether a row without a critique is refused."""
    reads_it = getattr(ranker, "needs_critique", False)
    return reads_it and without_critique == "refuse" and feedback != "none"


def choose(  # noqa: PLR0913 - each is a setting of a recipe
    rows: Iterable[Row],
    *,
    ranker: Ranker,
    candidates: Literal["refinements", "outputs", "output"] = "refinements",
    feedback: Feedback = "told",
    without_critique: Literal["refuse", "tie"] = "refuse",
    people: Literal["first", "ignore"] = "first",
    seed: int = 0,
    done: int = 0,
) -> Iterator[Row]:
    """Adds ``scores`` (one per candidate), ``picked`` (an index), ``is_tied`` and ``completion`` (the pick).

    The ranker sees the critique that the refiner was told. ``feedback`` shows it another, whatever the
    refiner was told: ``"real"`` the row's own, ``"shuffled"`` another row's, ``"none"`` none, and then
    ``critique_read`` says which. Where a ranker picks as well under these, it does not read the critique.

    A ranker that reads critiques refuses rows without one, unless ``without_critique="tie"`` or
    ``feedback="none"``: then all candidates tie, and the pick is by seed. Ties are
    broken by seed and counted. A refinement that a person accepted or wrote (``preferred``) beats the
    ranker's pick, and the outputs that a person ranked first beat the others, unless ``people="ignore"``;
    ``picked`` is None where the text is no candidate.
    """
    rows = as_sequence(rows)
    shuffled = _shuffled(rows, seed) if feedback == "shuffled" else None
    for start, window in enumerate(windows(rows, WINDOW, done)):
        first = done + start * WINDOW
        shown = [
            _shown(row, feedback) if shuffled is None else shuffled[first + i] for i, row in enumerate(window)
        ]
        said = [
            _preferred(row) if people == "first" and candidates == "refinements" else None for row in window
        ]
        # A person may have written the text for a row that nobody refined.
        rows_in = [
            row if text is None else {**row, candidates: row.get(candidates, [])}
            for row, text in zip(window, said, strict=True)
        ]
        check(rows_in, ("id", "prompt", candidates), "choose")
        if _refuses(ranker, without_critique, feedback):
            _check_critiques(rows_in, shown)
        texts = [row[candidates] if candidates != "output" else [row["output"]] for row in rows_in]
        scores = _scores(ranker, rows_in, shown, texts)
        for row, options, marks, text, read in zip(rows_in, texts, scores, said, shown, strict=True):
            if text is not None:
                choice = _by_person(options, marks, text)
            elif people == "first" and candidates == "outputs" and row.get("ranking"):
                choice = _among_best_ranked(row, options, marks, seed)
            else:
                choice = _choice(row, options, marks, seed)
            reading = {} if feedback == "told" else {"critique_read": read}
            yield {**row, "candidates": candidates, **choice, **reading}


def _preferred(row: Row) -> str | None:
    """The text that a person accepted or wrote for this critique, or None."""
    text = row.get("preferred")
    if text is not None and not isinstance(text, str):
        raise DataError(f"choose: row {row.get('id')}: 'preferred' must be text, is {type(text).__name__}.")
    if row.get("job") != "refine" and row.get("critique_shown", row.get("critique")) != row.get("critique"):
        # A control: the refiner was told something else, so what was preferred before has no part in it.
        return None
    return text if text and text.strip() else None


def _check_critiques(window: Sequence[Row], shown: Sequence[str | None]) -> None:
    for row, critique in zip(window, shown, strict=True):
        if not critique:
            raise DataError(f"choose: row {row['id']} has no critique, and the ranker reads critiques.")


def _scores(
    ranker: Ranker, window: Sequence[Row], shown: Sequence[str | None], texts: Sequence[Sequence[str]]
) -> list[list[float]]:
    """The ranker's marks; a row without candidates has none.

    ``facts`` ride along in the row for the oracle alone, as a test shows.
    """
    asked = [i for i, options in enumerate(texts) if options]
    queries = [{**window[i], "critique": shown[i]} for i in asked]
    scored = ranker.score(queries, [texts[i] for i in asked])
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


def _shown(row: Row, feedback: Feedback) -> str | None:
    """The critique that the ranker is shown of the row itself."""
    if feedback == "none":
        return None
    return row["critique_shown"] if feedback == "told" and "critique_shown" in row else row.get("critique")


def _shuffled(rows: Sequence[Row], seed: int) -> list[str | None]:
    """Every row's critique replaced by another row's; rows without one stay without, all of them if need be.

    The cycle is not the one of ``refine``: there the refiner may have been told what the ranker must not see.
    """
    critiques = [row.get("critique") for row in rows]
    have = [i for i, critique in enumerate(critiques) if critique]
    if len(have) == 1:
        raise DataError("choose: shuffled feedback needs at least two rows with critiques; there is one.")
    for i, critique in zip(
        have, others([critiques[i] for i in have], seed_of(seed, "choose", "shuffle")), strict=True
    ):
        critiques[i] = critique
    return critiques
