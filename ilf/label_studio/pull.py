"""Reading what people said into the log: what changed since last time, or all compared with all we know.

An incremental pull asks for tasks touched since the largest time the server has shown us (its clock, never
ours), less an overlap. It cannot see a task that is gone; a full one lists every task. Both read the answers
of those tasks whose stamp (time of change, answers, skips) is another than when they were last read.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ilf.files import write_whole
from ilf.label_studio import listing
from ilf.label_studio.connection import Connection
from ilf.label_studio.events import Event, Heard, Pseudonyms, append, read_events, sum_up
from ilf.label_studio.listing import Task, stamp
from ilf.label_studio.project import Project, unnote
from ilf.label_studio.rows import Asked, answer_event, superseded
from ilf.label_studio.served import Served, served
from ilf.records import digest, dumps

SEEN = "seen.json"
#: How far back an incremental pull looks: a change is stamped before it can be read.
OVERLAP_SECONDS = 60.0
#: An incremental pull becomes a full one when the last full one is this old.
FULL_EVERY_SECONDS = 600.0


@dataclass(frozen=True)
class Pulled:
    """What is known after a pull, how many tasks hold an unsubmitted draft, and whether all was compared."""

    heard: Heard
    drafts: int
    full: bool


@dataclass
class _Seen:
    """seen.json: the stamp of every task whose annotations are in the log, for these items."""

    items: str
    stamps: dict[int, list[Any]]
    full_at: float = 0.0

    @classmethod
    def read(cls, folder: Path, asked: Asked) -> _Seen:
        items = digest(sorted(asked.rows), 16)
        try:
            noted = json.loads((folder / SEEN).read_text(encoding="utf-8"))
            if noted["items"] == items:
                stamps = {int(number): mark for number, mark in noted["stamps"].items()}
                return cls(items, stamps, float(noted["full_at"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass  # it only spares reading: without it everything is read again
        return cls(items, {})

    def write(self, folder: Path) -> None:
        write_whole(folder / SEEN, dumps(asdict(self)) + "\n")

    @property
    def is_fresh(self) -> bool:
        """Whether all was compared lately; a server clock that went back hides changes from the watermark."""
        return abs(time.time() - self.full_at) < FULL_EVERY_SECONDS


def pull(connection: Connection, folder: Path, project: Project, asked: Asked, *, full: bool) -> Pulled:
    """Reads what is new into the log; ``full`` also finds tasks and answers that are gone.

    An incremental pull becomes a full one where the number of tasks has moved. Hold the folder's lock.
    """
    known = sum_up(read_events(folder))
    seen = _Seen.read(folder, asked)
    since = known.last_pull["watermark"] if known.last_pull and seen.stamps else ""
    full = full or not since or not seen.is_fresh
    full = full or listing.count(connection, project.id) != len(seen.stamps)
    gone: set[int] = set()
    if full:
        there = listing.tasks(connection, project.id)
        gone = {event["task"] for event in known.answers.values()} - there.keys()
        if not asked.rows.keys() <= {task.item for task in there.values()}:
            unnote(folder, project)
        marks = {number: seen.stamps.get(number, []) for number in there}
        seen.full_at = time.time()
    else:
        before = stamp(datetime.fromisoformat(since) - timedelta(seconds=OVERLAP_SECONDS))
        there = {task.id: task for task in listing.changed(connection, project.id, before)}
        marks = dict(seen.stamps)
    read = _read_changed(connection, project, there, seen)
    events = _events(folder, known, read, gone, asked)
    drafts = listing.drafts(connection, project.id)
    # What is touched between listing and reading is later than this, so the next pull sees it.
    watermark = max([since, *(task.updated_at for task in there.values())])
    _log(folder, events, known.last_pull, watermark, full=full, tasks=len(marks), drafts=drafts)
    _Seen(seen.items, marks | _marks(read), seen.full_at).write(folder)
    return Pulled(sum_up(read_events(folder)) if events else known, drafts, full)


def _read_changed(
    connection: Connection, project: Project, there: Mapping[int, Task], seen: _Seen
) -> list[Task]:
    """Every task that may hold something new, with its annotations; an unanswered one needs no request."""
    stale = [task for task in there.values() if seen.stamps.get(task.id) != task.stamp]
    plain = [replace(task, annotations=[]) for task in stale if task.item and task.stamp[1:] == [0, 0]]
    wanted = {task.id for task in stale} - {task.id for task in plain}
    return plain + listing.with_annotations(connection, project.id, wanted)


def _events(folder: Path, known: Heard, read: Iterable[Task], gone: set[int], asked: Asked) -> list[Event]:
    """What has to be added to the log; ``gone`` are tasks of ours that are no longer listed."""
    people, log = Pseudonyms(folder), served(folder)
    answers = dict(known.answers)
    events: list[Event] = []
    for number, event in known.answers.items():
        if event["task"] in gone:
            events.append({"kind": "withdrawn", "annotation": number, "reason": "task deleted"})
            del answers[number]
    by_task: dict[int, list[int]] = {}
    for number, event in answers.items():
        by_task.setdefault(event["task"], []).append(number)
    for task in read:
        if task.item not in asked.rows:
            continue
        present = {annotation["id"] for annotation in task.annotations or ()}
        for number in by_task.get(task.id, ()):
            if number not in present:
                events.append({"kind": "withdrawn", "annotation": number, "reason": "deleted"})
                del answers[number]
        for event in _new(task, asked, people, log, known):
            events.append(event)
            answers[event["annotation"]] = event
    return events + superseded(answers.values())


def _new(task: Task, asked: Asked, people: Pseudonyms, log: list[Served], known: Heard) -> Iterable[Event]:
    for annotation in task.annotations or ():
        before = known.answers.get(annotation["id"])
        if before is not None and before["updated_at"] == stamp(annotation["updated_at"]):
            continue
        event = answer_event({**annotation, "task": task.id}, task.item, asked, people.of, log)
        if event["annotator"] not in known.forgotten:  # their words are not written down again
            yield event


def _marks(read: Iterable[Task]) -> dict[int, list[Any]]:
    """Stamps of tasks that were read whole: with as many annotations as the server counts.

    It counts a little later than it saves, so where the two differ the task is read again.
    """
    return {
        task.id: task.stamp if len(task.annotations or ()) == task.answered + task.skipped else []
        for task in read
    }


def _log(
    folder: Path,
    events: list[Event],
    last: Event | None,
    watermark: str,
    *,
    full: bool,
    tasks: int,
    drafts: int,
) -> None:
    """Adds the events and that a pull ended; a pull that found nothing new writes nothing."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    pulled = {
        "kind": "pulled",
        "full": full,
        "watermark": watermark,
        "tasks": tasks,
        "drafts": drafts,
        "at": now,
    }
    same = last is not None and all(last[key] == pulled[key] for key in ("watermark", "tasks", "drafts"))
    if events or not same or (full and last is not None and not last["full"]):
        append(folder, [*events, pulled])
