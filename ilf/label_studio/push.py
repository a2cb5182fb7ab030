"""Bringing tasks into a project once: what is missing is sent, then looked for again.

An import whose answer was lost may have happened, and one that was given up may still happen.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ilf.errors import DataError, listed
from ilf.label_studio import listing
from ilf.label_studio.connection import Connection, Refused, Unsure, items_refused
from ilf.label_studio.project import Project, note
from ilf.records import digest

#: Tasks and bytes of one import: an import is done whole or not at all, and a lost one is sent again.
BATCH_TASKS, BATCH_BYTES = 1000, 8_000_000


@dataclass(frozen=True)
class Item:
    """A task to be there: our id, what the page is given, how many people it is for."""

    id: str
    data: dict[str, Any]
    people: int


def push(connection: Connection, folder: Path, project: Project, items: Sequence[Item], gold: int) -> Project:
    """Brings every item into the project once and gives it to as many people as it is for.

    What is there already is listed, only the missing is sent, and the end is listed again; ``asked`` of
    project.json then says so and spares the listing as long as the server counts as many tasks. An import
    that was given up may still land later: the number of tasks moves, and what is there twice is taken away.
    """
    asked = digest([[item.id, item.people] for item in items], 16)
    if project.asked == asked and listing.count(connection, project.id) == project.tasks:
        return project
    deadline = time.monotonic() + connection.patience.seconds
    while True:
        there = listing.tasks(connection, project.id)
        have = {task.item for task in there.values()}
        missing = [item for item in items if item.id not in have]
        twins = [] if missing else _twins(connection, project, there.values(), {item.id for item in items})
        if not missing and not twins:
            break
        try:
            for batch in _batches(missing):
                _send(connection, project, batch)
                deadline = time.monotonic() + connection.patience.seconds
            _delete(connection, project, twins)
        except Unsure as unsure:
            if time.monotonic() + unsure.after > deadline:
                raise
            time.sleep(max(unsure.after, connection.patience.first_pause))
    _assign(connection, project, there.values(), {item.id: item.people for item in items})
    return note(folder, replace(project, asked=asked, tasks=len(there), pushed=len(items) - gold, gold=gold))


def _twins(
    connection: Connection, project: Project, tasks: Iterable[listing.Task], ours: set[str]
) -> list[int]:
    """Tasks of ours that are there twice, except those that somebody answered or began to."""
    kept: set[str] = set()
    spare: set[int] = set()
    for task in sorted(tasks, key=lambda task: (task.stamp[1:] == [0, 0], task.id)):
        if task.item in kept and task.stamp[1:] == [0, 0]:
            spare.add(task.id)
        elif task.item in ours:
            kept.add(task.item)
    return sorted(spare - listing.with_drafts(connection, project.id)) if spare else []


def _delete(connection: Connection, project: Project, numbers: Sequence[int]) -> None:
    for start in range(0, len(numbers), BATCH_TASKS):
        chosen = {"all": False, "included": list(numbers[start : start + BATCH_TASKS])}
        body = {"project": project.id, "selectedItems": chosen, "ordering": []}
        what = f"the removal of doubled tasks of project {project.id}"
        connection.post(what, "/api/dm/actions", body, project=project.id, id="delete_tasks")


def _batches(items: Sequence[Item]) -> Iterator[list[tuple[Item, dict[str, Any]]]]:
    batch: list[tuple[Item, dict[str, Any]]] = []
    size = 0
    for item in items:
        task: dict[str, Any] = {"data": item.data}
        size += len(json.dumps(task))
        batch.append((item, task))
        if len(batch) >= BATCH_TASKS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _send(connection: Connection, project: Project, batch: Sequence[tuple[Item, dict[str, Any]]]) -> None:
    what = f"an import into project {project.id}"
    try:
        connection.post(what, f"/api/projects/{project.id}/import", [task for _, task in batch])
    except Refused as refused:
        problems = [
            f"{batch[place][0].id}: {why}" for place, why in items_refused(refused) if place < len(batch)
        ]
        detail = f" It says of our tasks (ilf_id):\n{listed(problems)}" if problems else ""
        raise DataError(f"{refused} The page of the project does not fit its tasks.{detail}") from None


def _assign(
    connection: Connection, project: Project, there: Iterable[listing.Task], people: Mapping[str, int]
) -> None:
    """Tells the server how many different people each task is for; after so many it hands it out no more."""
    tasks = [task for task in there if task.item in people]
    counts = [people[task.item] for task in tasks]
    usual = max(set(counts), key=lambda n: (counts.count(n), -n), default=1)
    path = f"/api/projects/{project.id}"
    now = connection.get(f"project {project.id}", path, include="id,maximum_annotations")[
        "maximum_annotations"
    ]
    has_changed = now != usual
    if has_changed:
        # Only the change to 1 touches every task; another one those that several share, if there are any.
        for number in (2, 1, usual) if now == 1 else (1, usual):
            connection.patch(f"project {project.id}", path, {"maximum_annotations": number})
    for task in tasks:
        if people[task.item] != (usual if has_changed else task.overlap):
            connection.patch(f"task {task.id}", f"/api/tasks/{task.id}", {"overlap": people[task.item]})
