"""choice: can a ranker tell the text that a person wrote after a critique from the output that was criticised?

The control of every ranker on real feedback: given prompt and critique, it is shown the output and the person's
refinement (2-way), and these among refinements of other rows (8-way, which topic alone nearly solves).
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ilf.errors import DataError, UsageError
from ilf.protocols import Ranker, Row
from ilf.records import check, seed_of
from ilf.stats import wilson_interval
from rankers import best, missing_model

#: The rows of this step are the table: it is made whole or not at all.
WINDOW = None


def columns(arguments: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that are read; the rows of this step are its table."""
    further = [name for ranker in arguments["rankers"] for name in _grader_needs(ranker)]
    needs = ("id", "prompt", "output", "critique", arguments["refinement"], *further)
    return tuple(dict.fromkeys(needs)), tuple(field.name for field in dataclasses.fields(Line))


@dataclass(frozen=True)
class Line:
    """How often one ranker chose the person's text: one line of the table, and one row of the step."""

    ranker: str
    ways: int
    texts: str
    """``tidy`` (line ends LF, no blank lines at both ends, no spaces at line ends) or ``stored``."""
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    """Wilson's 95 % interval."""
    by_chance: float = 0.0
    right: int = 0
    rows: int = 0
    ties: int = 0
    """Rows in which several candidates had the best score: one of them was drawn."""
    left_out: int = 0
    """Rows without a choice: both texts the same, or no candidate with a score."""
    tidied: int = 0
    """Rows in which tidying changed the output or the refinement: what a ranker could have told them by."""
    reason: str | None = None


@dataclass(frozen=True)
class Question:
    """The candidates of one row in the order shown, which of them is the person's, and whether tidying changed it."""

    row: Row
    candidates: list[str]
    answer: int


def choice(
    rows: Sequence[Row],
    *,
    rankers: tuple[Ranker, ...],
    refinement: str = "human_refinement",
    ways: tuple[int, ...] = (2, 8),
    seed: int = 0,
    done: int = 0,
) -> Iterator[Row]:
    """One line per ranker and number of candidates: accuracy with its interval, beside what chance would reach.

    Candidates are tidied, or line ends would tell who wrote what; the first of ``ways`` is also asked on the texts as
    stored. Their order, the other rows and the ties are drawn by ``seed`` and the row's id. A ranker without the model
    that it needs has no accuracy, and ``reason`` says so.
    """
    if not rankers or not ways or min(ways) < 2:
        raise UsageError("choice: needs at least one ranker, and ways of 2 candidates or more.")
    check(rows, ("id", "prompt", "output", "critique", refinement), "choice")
    for n, is_tidy in [(n, True) for n in ways] + [(ways[0], False)]:
        asked = questions(rows, refinement, n, is_tidy=is_tidy, seed=seed)
        tidied = sum(tidy(row[name]) != row[name] for row in rows for name in ("output", refinement))
        for ranker in rankers:
            line = _line(ranker, asked, n, seed)
            texts = "tidy" if is_tidy else "stored"
            left_out = line.left_out + len(rows) - len(asked)
            yield dataclasses.asdict(dataclasses.replace(line, texts=texts, left_out=left_out, tidied=tidied))


def questions(
    rows: Sequence[Row], refinement: str, ways: int, *, is_tidy: bool, seed: int
) -> list[Question]:
    """The candidates of every row: output, refinement, and ``ways - 2`` refinements of other rows.

    Independent of the order of rows. Rows whose two texts are the same are left out. DataError with too few rows.
    """
    shown = {row["id"]: tidy(row[refinement]) if is_tidy else row[refinement] for row in rows}
    everyone = sorted(shown)
    asked = []
    for row in rows:
        mine, output = shown[row["id"]], tidy(row["output"]) if is_tidy else row["output"]
        if mine == output:
            continue
        rng = random.Random(seed_of(seed, "choice", ways, row["id"]))
        others = [name for name in everyone if shown[name] not in (mine, output)]
        if len(others) < ways - 2:
            raise DataError(
                f"choice: {ways} candidates need {ways - 2} other rows with another refinement, row {row['id']} has "
                f"{len(others)}; load more rows, or set ways: [2]."
            )
        candidates = [mine, output, *(shown[name] for name in rng.sample(others, ways - 2))]
        rng.shuffle(candidates)
        asked.append(Question(row, candidates, candidates.index(mine)))
    return asked


def tidy(text: str) -> str:
    """Line ends LF, no white space at them, no blank lines at either end."""
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    while lines and not lines[0]:
        del lines[0]
    return "\n".join(lines).rstrip()


def _line(ranker: Ranker, asked: Sequence[Question], ways: int, seed: int) -> Line:
    line = Line(label(ranker), ways, "", by_chance=1 / ways)
    if problem := missing_model(ranker):
        return dataclasses.replace(line, reason=problem)
    names = ("id", "prompt", "output", "critique", *_grader_needs(ranker))
    queries = [{name: question.row[name] for name in names} for question in asked]
    right = ties = left_out = 0
    for question, scores in zip(asked, ranker.score(queries, [q.candidates for q in asked]), strict=True):
        if all(score is None or math.isnan(score) for score in scores):
            left_out += 1
            continue
        pick = best(scores, seed_of(seed, "choice ties", question.row["id"]))
        right += pick.index == question.answer
        ties += pick.is_tied
    found = wilson_interval(right, len(asked) - left_out)
    return dataclasses.replace(
        line,
        accuracy=found.estimate,
        low=found.low,
        high=found.high,
        right=right,
        rows=len(asked) - left_out,
        ties=ties,
        left_out=left_out,
        reason=found.reason,
    )


def _grader_needs(ranker: Any) -> tuple[str, ...]:
    """Columns that the grader inside of an oracle reads; no other ranker sees more than the query."""
    inner = [need for member in getattr(ranker, "members", ()) for need in _grader_needs(member)]
    return (*inner, *getattr(getattr(ranker, "grader", None), "needs", ()))


def label(ranker: Any) -> str:
    """A ranker's name in a recipe, and in brackets what is set in it: ``length(prefer=short)``."""
    name = type(ranker).__module__.rpartition(".")[2]
    if not dataclasses.is_dataclass(ranker):
        return name
    told = [
        f"{field.name}={_value(getattr(ranker, field.name))}"
        for field in dataclasses.fields(ranker)
        if field.compare and getattr(ranker, field.name) != field.default
    ]
    return f"{name}({', '.join(told)})" if told else name


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return " + ".join(map(_value, value))
    return label(value) if dataclasses.is_dataclass(value) else str(value)
