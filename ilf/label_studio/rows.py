"""From an annotation to an answer event, and from an answer event to a collected row.

Who wrote an annotation: ``updated_by``, which the server sets itself to whoever sent the last version; only
where it is unknown (answers that were imported) ``completed_by``, which any member may set to anybody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ilf.label_studio import answers, ledger
from ilf.label_studio.events import Event
from ilf.label_studio.listing import stamp
from ilf.label_studio.served import Served, texts_of, wait_seconds
from ilf.protocols import Row
from ilf.records import row_id, without

#: Jobs whose outputs stand on the page in an order of its own.
ORDERED = ("rank", "pairwise", "verdict")


@dataclass(frozen=True)
class Asked:
    """What was asked: the job, our row behind each item, which items are gold, how answers are priced."""

    job: str
    rows: Mapping[str, Row]
    gold: frozenset[str] = frozenset()
    idle_cap: float | None = None


def writer(annotation: Mapping[str, Any]) -> int | None:
    """The server's number of the person whose words an annotation holds, None where it names nobody."""
    for name in ("updated_by", "completed_by"):
        who = annotation.get(name)
        if isinstance(who, Mapping):  # a single task's page has the person as an object
            who = who.get("id")
        if isinstance(who, int):
            return who
    return None


def answer_event(
    annotation: Mapping[str, Any],
    item: str,
    asked: Asked,
    name: Callable[[int], str],
    log: Sequence[Served] = (),
) -> Event:
    """The answer event of an annotation (as lists and exports have it) of one of our items.

    ``name`` gives a person's pseudonym; ``log`` is what the model was seen to write on pages.
    """
    row = asked.rows[item]
    who = writer(annotation)
    annotator = name(who) if who is not None else "p-unknown"
    answer = _answer(annotation, asked.job, row, texts_of(item, log))
    lead = _number(annotation.get("lead_time"))
    created, updated = stamp(annotation["created_at"]), stamp(annotation["updated_at"])
    wait = _waited(item, log, annotator, created, updated, lead)
    most = ledger.cap(asked.job, len(row.get("outputs") or ()), asked.idle_cap)
    return {
        "kind": "answer",
        "annotation": annotation["id"],
        "uid": annotation.get("unique_id"),
        "task": annotation.get("task"),
        "item": item,
        "row": None if item in asked.gold else row["id"],
        "gold": item in asked.gold,
        "annotator": annotator,
        "state": answer.state,
        "said": answer.said if answer.state == "usable" else {},
        "shown": answer.shown,
        "untouched": answer.untouched,
        "lead_seconds": lead,
        "wait_seconds": wait,
        "seconds": ledger.seconds(lead, wait, most),
        "reason": answer.reason,
        "created_at": created,
        "updated_at": updated,
    }


def _answer(annotation: Mapping[str, Any], job: str, row: Row, texts: Sequence[str]) -> answers.Answer:
    if annotation.get("was_cancelled"):
        return answers.Answer("skipped", {}, None, None, untouched=False)
    result = annotation.get("result")
    if not isinstance(result, list):
        return answers.Answer("invalid", {}, "the result is no list", None, untouched=False)
    return answers.read(job, result, {**row, "served": list(texts)} if texts else row)


def _waited(
    item: str, log: Sequence[Served], annotator: str, created: str, updated: str, lead: float | None
) -> float:
    if not log:
        return 0.0
    since = datetime.fromisoformat(created) - timedelta(seconds=lead or 0.0)
    until = datetime.fromisoformat(updated)
    return wait_seconds(item, log, person=annotator, since=since, until=until)


def _number(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) and value >= 0 else None


def superseded(known: Iterable[Event]) -> list[Event]:
    """Events that make one answer count for each person and item: their latest usable one.

    Also the other way: an earlier answer counts again when the later one was withdrawn.
    """
    groups: dict[tuple[str, str], list[Event]] = {}
    for event in known:
        if event["state"] in ("usable", "superseded"):
            groups.setdefault((event["item"], event["annotator"]), []).append(event)
    changes = []
    for group in groups.values():
        group.sort(key=lambda event: (event["updated_at"], event["annotation"]))
        for event in group:
            state = "usable" if event is group[-1] else "superseded"
            if event["state"] != state:
                changes.append({**event, "state": state})
    return changes


def collected(row: Row, event: Event, job: str, project: int) -> Row:
    """The row that `collect` yields of a usable answer: the sample's columns, what was said, its source."""
    annotation_id = row_id("label_studio", job, row["id"], event["annotator"])
    return {
        **without(row, "served"),
        "id": row_id(row["id"], annotation_id),
        "annotation_id": annotation_id,
        "job": job,
        "annotator": event["annotator"],
        "seconds": event["seconds"],
        "lead_seconds": event["lead_seconds"],
        **({"shown": event["shown"]} if job in ORDERED else {}),
        **event["said"],
        "provenance": {
            "source": "label_studio",
            "project": project,
            "task": event["task"],
            "annotation": event["annotation"],
            "updated_at": event["updated_at"],
        },
    }
