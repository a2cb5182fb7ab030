"""collect: what people say about an output (ILF step 2): critiques, rankings, demonstrations, each priced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from ilf.protocols import FeedbackSource, Row
from ilf.records import as_sequence, check

#: Rows multiply at collect (one per annotation), so an unfinished step starts again.
WINDOW = None

Job = Literal["critique", "rank", "demonstrate"]
_NEEDS = {"critique": ("prompt", "output"), "rank": ("prompt", "outputs"), "demonstrate": ("prompt",)}
_ADDS = {"critique": "critique", "rank": "ranking", "demonstrate": "completion"}


def columns(arguments: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that are read, and those that are added."""
    job = arguments["job"]
    return _NEEDS[job], ("id", "annotation_id", "job", "annotator", "seconds", _ADDS[job])


def collect(
    rows: Iterable[Row], *, feedback: FeedbackSource, job: Job = "critique", seed: int = 0, done: int = 0
) -> Iterator[Row]:
    """Asks for feedback on every row and yields one row per annotation.

    Adds ``critique``, ``ranking`` or ``completion`` (a demonstration) with ``annotation_id``, ``annotator``
    and ``seconds``. Raises Waiting while people have not answered; ``done`` must be 0.
    """
    rows = as_sequence(rows)
    check(rows, ("id", *_NEEDS[job]), f"collect {job}")
    feedback.push(rows, job, seed)
    for row in feedback.pull(rows, job, seed):
        check([row], (_ADDS[job], "annotation_id", "annotator"), f"collect {job}: {row['id']}")
        yield row
