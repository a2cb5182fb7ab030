"""Lists of tasks that are complete, or an error: Label Studio's own end early and skip without a word.

Pages are cut by task id, not by number, so that a task deleted meanwhile makes no other one fall between two
pages; and what was listed is counted against what the server says there is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ilf.errors import Unreachable
from ilf.label_studio.connection import Connection

PAGE = 1000
#: Tasks asked for by their ids in one request: the ids stand in the address, which may have 8 kB.
_IDS = 150
_TRIES = 4
_STAMP = "id,updated_at,total_annotations,cancelled_annotations"
_BASIC = f"{_STAMP},data,overlap"
#: Fields of an annotation: in Label Studio one list names the fields of tasks and of annotations in them.
_FULL = (
    f"{_BASIC},annotations,result,completed_by,updated_by,was_cancelled,lead_time,created_at,"
    "parent_prediction,unique_id"
)


@dataclass(frozen=True)
class Task:
    """A task as listed; ``item``, our own id in it, is "" and ``annotations`` None where not asked for."""

    id: int
    item: str
    updated_at: str
    answered: int
    skipped: int
    overlap: int
    annotations: list[dict[str, Any]] | None = field(default=None, repr=False)

    @property
    def stamp(self) -> list[Any]:
        """What changes whenever an annotation of the task is made, edited, skipped or deleted."""
        return [self.updated_at, self.answered, self.skipped]


def tasks(connection: Connection, project: int) -> dict[int, Task]:
    """Every task of a project without its annotations; raises Unreachable where the list stays incomplete."""
    listed, number = 0, 0
    for attempt in range(_TRIES):
        found = {task.id: task for task in _all(connection, project, [], _BASIC)}
        number = count(connection, project)
        if len(found) == number:
            return found
        listed = len(found)
        _pause(connection, attempt)
    raise _incomplete(connection, project, listed, number)


def count(connection: Connection, project: int) -> int:
    """How many tasks the server says the project has."""
    what = f"project {project}"
    answer = connection.get(what, f"/api/projects/{project}", include="id,task_number")
    return int(connection.known(what, answer, task_number=int)["task_number"])


def changed(connection: Connection, project: int, since: str) -> list[Task]:
    """Numbers and stamps of the tasks that were touched at or after a time (as ``stamp`` writes it)."""
    # The filter is strict, and times have microseconds.
    before = stamp(datetime.fromisoformat(since) - timedelta(microseconds=1))
    return _all(connection, project, [_filter("updated_at", "greater", "Datetime", before)], _STAMP)


def with_annotations(connection: Connection, project: int, ids: Iterable[int]) -> list[Task]:
    """The tasks of these ids with their annotations; those deleted meanwhile are not among them."""
    wanted = sorted(ids)
    found: list[Task] = []
    while wanted:
        # Many that lie close together are one range, few that lie apart a list of ids.
        chunk = wanted[:PAGE]
        is_range = len(chunk) > _IDS and chunk[-1] - chunk[0] < 2 * len(chunk)
        if is_range:
            bounds = {"min": chunk[0], "max": chunk[-1]}
            where = _filter("id", "in", "Number", bounds)
        else:
            chunk = wanted[:_IDS]
            where = _filter("id", "in_list", "Number", chunk)
        keep = set(chunk)
        found += [task for task in _all(connection, project, [where], _FULL) if task.id in keep]
        wanted = wanted[len(chunk) :]
    return found


def drafts(connection: Connection, project: int) -> int:
    """How many tasks have a draft that nobody has submitted."""
    page = _page(connection, project, [_DRAFTED], size=1, include="id")
    return int(page["total"])


def with_drafts(connection: Connection, project: int) -> set[int]:
    """The numbers of these tasks."""
    return {task.id for task in _all(connection, project, [_DRAFTED], _STAMP)}


def stamp(value: str | datetime) -> str:
    """A time as the server's filters want it: UTC, six digits, Z."""
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _all(connection: Connection, project: int, filters: list[dict[str, Any]], include: str) -> list[Task]:
    """All tasks that pass the filters, at least as many as the server counted when the first page came."""
    listed, number = 0, 0
    for attempt in range(_TRIES):
        found, number = _pages(connection, project, filters, include)
        if len(found) >= number:
            return found
        listed = len(found)
        _pause(connection, attempt)  # somebody deletes tasks just now, or a page was cut short
    raise _incomplete(connection, project, listed, number)


def _pages(
    connection: Connection, project: int, filters: list[dict[str, Any]], include: str
) -> tuple[list[Task], int]:
    # review=true leaves out the columns that the data manager computes for its own table: half the time.
    how = {"fields": "all", "review": "true"} if include == _FULL else {}
    how |= {"include": include, "resolve_uri": "false"}
    found: list[Task] = []
    first_total: int | None = None
    while True:
        last = found[-1].id if found else 0
        page = _page(connection, project, [*filters, _filter("id", "greater", "Number", last)], PAGE, **how)
        first_total = page["total"] if first_total is None else first_total
        more = sorted((_task(entry) for entry in page["tasks"]), key=lambda task: task.id)
        found += more
        if not more or len(more) >= page["total"]:
            return found, first_total


def _pause(connection: Connection, attempt: int) -> None:
    time.sleep(connection.patience.first_pause * 2**attempt)


def _incomplete(connection: Connection, project: int, listed: int, number: int) -> Unreachable:
    return Unreachable(
        f"Label Studio at {connection.url} lists {listed} tasks of project {project} and counts {number}. "
        "Is somebody adding or deleting tasks? Run the same command again when that has ended."
    )


def _page(
    connection: Connection, project: int, filters: Iterable[dict[str, Any]], size: int, **how: str
) -> Any:
    query = {"filters": {"conjunction": "and", "items": list(filters)}, "ordering": ["tasks:id"]}
    what = f"the tasks of project {project}"
    answer = connection.get(
        what,
        "/api/tasks",
        project=project,
        page_size=size,
        query=json.dumps(query, separators=(",", ":")),
        **how,
    )
    return connection.known(what, answer, tasks=list, total=int)


def _filter(column: str, operator: str, kind: str, value: Any) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}


_DRAFTED = _filter("draft_exists", "equal", "Boolean", True)  # noqa: FBT003 - the value of a filter


def _task(entry: dict[str, Any]) -> Task:
    data = entry.get("data")
    return Task(
        id=entry["id"],
        item=str(data.get("ilf_id", "")) if isinstance(data, dict) else "",
        updated_at=stamp(entry["updated_at"]),
        answered=entry["total_annotations"] or 0,
        skipped=entry["cancelled_annotations"] or 0,
        overlap=entry.get("overlap", 1),
        annotations=entry.get("annotations"),
    )
