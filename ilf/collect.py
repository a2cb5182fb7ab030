"""collect: what people say about an output (ILF step 2), each annotation priced in seconds of their time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ilf.errors import UsageError
from ilf.protocols import FeedbackSource, Row
from ilf.records import SHOWN, as_sequence, check

#: Rows multiply at collect (one per annotation), so an unfinished step starts again.
WINDOW = None

Job = Literal["critique", "rank", "pairwise", "demonstrate", "rate", "verdict", "refine"]
#: Job -> the column that every answer fills.
ADDS = {
    "critique": "critique",
    "rank": "ranking",
    "pairwise": "ranking",
    "demonstrate": "completion",
    "rate": "ratings",
    "verdict": "ranking",
    "refine": "decision",
}


def columns(arguments: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that are read, and those that are added."""
    job, feedback = arguments["job"], arguments["feedback"]
    known = getattr(feedback, "jobs", tuple(SHOWN))
    if job not in known:
        raise UsageError(
            f"{type(feedback).__name__} does not do the job '{job}'; it does: {', '.join(known)}."
        )
    adds = (ADDS[job], *_reason(job, feedback))
    return SHOWN[job], ("id", "annotation_id", "job", "annotator", "seconds", *adds)


def _reason(job: str, feedback: FeedbackSource) -> tuple[str, ...]:
    """A reason for preferring one of two is a critique of the other: it is there where it is required."""
    is_there = getattr(feedback, "why", "optional") in ("required", "always")
    return ("critique",) if job == "pairwise" and is_there else ()


def collect(
    rows: Iterable[Row],
    folder: str | Path = "people/answers",
    *,
    feedback: FeedbackSource,
    job: Job = "critique",
    seed: int = 0,
    done: int = 0,
) -> Iterator[Row]:
    """Asks for feedback on every row and yields one row per annotation.

    Adds what was said (``critique``, ``ranking``, ``completion``, ``ratings`` or ``decision``) with
    ``annotation_id``, ``annotator`` and ``seconds``. ``folder`` is where a source may keep what people say.
    Raises Waiting while they have not answered; ``done`` must be 0.
    """
    rows = as_sequence(rows)
    check(rows, ("id", *SHOWN[job]), f"collect {job}")
    feedback.push(rows, job, seed, Path(folder))
    for row in feedback.pull(rows, job, seed, Path(folder)):
        check([row], (ADDS[job], "annotation_id", "annotator"), f"collect {job}: {row['id']}")
        yield row
