"""choice: can a ranker tell what a person wrote after a critique from the output that was criticised?

The control of every ranker on real feedback: given prompt and critique, it is shown the output and the
person's refinement (2-way), and these among refinements of other rows (8-way, which topic alone nearly
solves).
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ilf.errors import DataError, UsageError
from ilf.protocols import Ranker, Row
from ilf.records import check, seed_of
from ilf.stats import Interval, paired_interval, wilson_interval
from rankers import Length, best, missing_model

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
    over_length: float | None = None
    """Accuracy minus that of the longest candidate on the same rows, with its paired 95 % interval."""
    over_length_low: float | None = None
    over_length_high: float | None = None
    right: int = 0
    rows: int = 0
    ties: int = 0
    """Rows in which several candidates had the best score: one of them was drawn."""
    left_out: int = 0
    """Rows without a choice: both texts the same, or no candidate with a score."""
    with_cr: int = 0
    """Rows whose output or refinement has CR LF line ends as stored: what could tell who wrote it."""
    reason: str | None = None


class Table(NamedTuple):
    """One kind of question: how many candidates, and their texts ``tidy`` or as ``stored``."""

    ways: int
    texts: str


@dataclass(frozen=True)
class Question:
    """The candidates of one row in the order shown, and the place of the person's."""

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
    """One line per table and ranker: accuracy with its interval, beside what chance would reach.

    Candidates are tidied, or line ends would tell who wrote what; the first of ``ways`` is also asked on the
    texts as stored. Their order, the other rows and the ties are drawn by ``seed`` and the row's id. A ranker
    without the model that it needs has no accuracy, and ``reason`` says so.
    """
    if not rankers or not ways or min(ways) < 2:
        raise UsageError("choice: needs at least one ranker, and ways of 2 candidates or more.")
    check(rows, ("id", "prompt", "output", "critique", refinement), "choice")
    tables = [Table(n, "tidy") for n in ways] + [Table(ways[0], "stored")]
    asked = [questions(rows, refinement, table, seed=seed) for table in tables]
    with_cr = sum("\r" in row["output"] + row[refinement] for row in rows)
    # One call a ranker, so that a text that stands in several tables is read once.
    bar = _answers(Length(), asked, seed)
    found = [_lines(ranker, tables, asked, bar, seed) for ranker in rankers]
    for lines in zip(*found, strict=True):
        for line in lines:
            left_out = len(rows) - line.rows if line.accuracy is not None else 0
            yield dataclasses.asdict(dataclasses.replace(line, left_out=left_out, with_cr=with_cr))


def questions(rows: Sequence[Row], refinement: str, table: Table, *, seed: int) -> list[Question]:
    """The candidates of every row: output, refinement, ``ways - 2`` refinements of other rows.

    Independent of the order of rows. Rows whose two texts are the same are left out. DataError with too few
    rows.
    """
    shape = tidy if table.texts == "tidy" else str
    shown = {row["id"]: shape(row[refinement]) for row in rows}
    everyone, n_others = sorted(shown), table.ways - 2
    asked = []
    for row in rows:
        mine, output = shown[row["id"]], shape(row["output"])
        if mine == output:
            continue
        rng = random.Random(seed_of(seed, "choice", table.ways, row["id"]))
        others = [name for name in everyone if shown[name] not in (mine, output)]
        if len(others) < n_others:
            raise DataError(
                f"choice: {table.ways} candidates need {n_others} rows with another refinement, row "
                f"{row['id']} has {len(others)}; load more rows, or set ways: [2]."
            )
        candidates = [mine, output, *(shown[name] for name in rng.sample(others, n_others))]
        rng.shuffle(candidates)
        asked.append(Question(row, candidates, candidates.index(mine)))
    return asked


def tidy(text: str) -> str:
    """Line ends LF, no white space at them, no blank lines at either end."""
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    while lines and not lines[0]:
        del lines[0]
    return "\n".join(lines).rstrip()


@dataclass(frozen=True)
class _Answer:
    is_right: bool
    is_tied: bool


#: One answer a question, None where no candidate had a score; a list a table.
_Answers = list[list[_Answer | None]]


def _answers(ranker: Ranker, asked: Sequence[Sequence[Question]], seed: int) -> _Answers:
    names = ("id", "prompt", "output", "critique", *_grader_needs(ranker))
    every = [question for table in asked for question in table]
    queries = [{name: question.row[name] for name in names} for question in every]
    scores = iter(ranker.score(queries, [question.candidates for question in every]))
    return [[_answer(question, next(scores), seed) for question in table] for table in asked]


def _answer(question: Question, scores: Sequence[float | None], seed: int) -> _Answer | None:
    if all(score is None or math.isnan(score) for score in scores):
        return None
    pick = best(scores, seed_of(seed, "choice ties", question.row["id"]))
    return _Answer(pick.candidate == question.answer, pick.is_tied)


def _lines(
    ranker: Ranker,
    tables: Sequence[Table],
    asked: Sequence[Sequence[Question]],
    bar: _Answers,
    seed: int,
) -> list[Line]:
    """One ranker's line of every table."""
    lines = [Line(label(ranker), table.ways, table.texts, by_chance=1 / table.ways) for table in tables]
    if problem := missing_model(ranker):
        return [dataclasses.replace(line, reason=problem) for line in lines]
    answers = _answers(ranker, asked, seed)
    return [_counted(*each) for each in zip(lines, answers, bar, strict=True)]


def _counted(line: Line, answers: Sequence[_Answer | None], bar: Sequence[_Answer | None]) -> Line:
    known = [answer for answer in answers if answer]
    right = sum(answer.is_right for answer in known)
    found = wilson_interval(right, len(known))
    differences = [
        float(mine.is_right) - float(longest.is_right)
        for mine, longest in zip(answers, bar, strict=True)
        if mine and longest
    ]
    over = paired_interval([[d] for d in differences]) if len(differences) > 1 else Interval(None)
    return dataclasses.replace(
        line,
        accuracy=found.estimate,
        low=found.low,
        high=found.high,
        over_length=over.estimate,
        over_length_low=over.low,
        over_length_high=over.high,
        right=right,
        rows=len(known),
        ties=sum(answer.is_tied for answer in known),
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
