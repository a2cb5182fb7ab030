"""Feedback from a JSON export of Label Studio, of a project of ours or of somebody else's."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ilf.errors import DataError, UsageError, Waiting
from ilf.feedback._foreign import Foreign
from ilf.label_studio import ledger
from ilf.label_studio.events import Event, Pseudonyms, heard
from ilf.label_studio.export import read_tasks
from ilf.label_studio.jobs import JOBS, item_id
from ilf.label_studio.rows import Asked, answer_event, collected, superseded
from ilf.label_studio.served import served
from ilf.protocols import Row

_LOG = logging.getLogger("ilf.feedback.label_studio_export")


@dataclass(frozen=True)
class LabelStudioExport:
    """A JSON export of Label Studio (Data Manager, Export, JSON); of our own project it needs nothing else.

    The rows are those that pulling from the server gives. Of a project that somebody else made, ``data`` says
    which key of a task holds a column (tasks are matched to rows by these texts) and ``controls`` which
    control of the page holds what people said: ``data: {prompt: text, output: summary}``,
    ``controls: {critique: feedback_box}``.
    """

    path: str
    data: dict[str, str | tuple[str, ...]] | None = None
    """Column -> key of a task's data, a text of keys ("{text}\\nTL;DR:"), or a list of keys (outputs)."""
    controls: dict[str, str] | None = None
    """What was said (critique, ranking, why, completion, helpful ...) -> name of the control (from_name)."""
    choices: dict[str, str] | None = None
    """For a ranking of two: what was clicked -> first, second or tie; by default left, right, tie."""
    annotators: int = 1
    """Different people who must have answered each output."""
    enough: float = 1.0
    """Share of the outputs that must be answered."""
    idle_cap: float | None = None
    """Most seconds that one answer counts; by default a cap for each job."""

    revision: ClassVar[int] = 1
    jobs: ClassVar[tuple[str, ...]] = JOBS
    policy: ClassVar[frozenset[str]] = frozenset({"annotators", "enough", "idle_cap"})

    def __post_init__(self) -> None:
        """Refuses settings that fit no export."""
        if (self.data is None) != (self.controls is None):
            there, missing = ("data", "controls") if self.controls is None else ("controls", "data")
            raise UsageError(f"label_studio_export: {there} is given, {missing} is not; both or neither.")
        if self.annotators < 1 or not 0.0 < self.enough <= 1.0:
            raise UsageError("label_studio_export: annotators must be 1 or more, enough above 0, at most 1.")
        wrong = [side for side in (self.choices or {}).values() if side not in ("first", "second", "tie")]
        if wrong:
            raise UsageError(f"label_studio_export: choices: '{wrong[0]}' is not first, second or tie.")

    def price(self, job: str, n_outputs: int) -> float:
        """Seconds that a row asks of a person, before the export says (see ilf.label_studio.ledger)."""
        return ledger.price(job, n_outputs)

    def push(self, rows: Sequence[Row], job: str, seed: int, folder: Path) -> None:
        """Asks nobody; makes the folder in which forgotten people are noted."""
        folder.mkdir(parents=True, exist_ok=True)

    def pull(self, rows: Sequence[Row], job: str, seed: int, folder: Path) -> Iterator[Row]:
        """One row per usable answer in the order of ``rows``; Waiting while too few rows have one."""
        foreign = self._foreign(job)
        if not Path(self.path).exists():
            raise Waiting(
                f"0 of {len(rows)} outputs are annotated: there is no {self.path} yet.", 0, len(rows)
            )
        tasks = read_tasks(Path(self.path))
        asked = Asked(job, {item_id(job, row["id"]): row for row in rows}, idle_cap=self.idle_cap)
        item_of = foreign.matcher(asked) if foreign else _own_item
        matched = [
            (item, task) for task in tasks if (item := item_of(task)) is not None and item in asked.rows
        ]
        forgotten = _forgotten(folder)
        events = [e for e in self._events(matched, asked, folder, foreign) if e["annotator"] not in forgotten]
        changed = {event["annotation"]: event for event in superseded(events)}
        events = [changed.get(event["annotation"], event) for event in events]
        told = self._told(tasks, len(matched), events)
        if rows and not matched:
            hint = "" if foreign else " If ilf did not make the project, name its keys in data and controls."
            raise DataError(f"{told}: no task shows a row of this step.{hint}")
        _LOG.log(logging.WARNING if ";" in told else logging.INFO, "%s", told)
        self._wait(rows, job, events, told)
        return self._rows(
            rows, job, events, {a["id"]: _project(t, a) for _, t in matched for a in t["annotations"]}
        )

    def _foreign(self, job: str) -> Foreign | None:
        """How somebody else's page is read; UsageError where data and controls do not fit the job."""
        if self.data is None or self.controls is None:
            return None
        return Foreign(job, self.data, self.controls, self.choices)

    def _events(
        self,
        matched: Iterable[tuple[str, Mapping[str, Any]]],
        asked: Asked,
        folder: Path,
        foreign: Foreign | None,
    ) -> Iterator[Event]:
        # What the model wrote on the pages stands beside the answers that were pulled, if ever they were.
        people, log = Pseudonyms(folder), [entry for beside in _beside(folder) for entry in served(beside)]
        for item, task in matched:
            for annotation in task["annotations"]:
                if missing := [key for key in ("id", "created_at", "updated_at") if not annotation.get(key)]:
                    raise DataError(
                        f"{self.path}: an annotation of task {task.get('id')} has no '{missing[0]}'."
                    )
                found = {"task": task.get("id"), **annotation}
                if foreign is None:
                    yield answer_event(found, item, asked, people.of, log)
                    continue
                event = answer_event({**found, "result": []}, item, asked, people.of)
                read = foreign.read(annotation["result"], task["data"], asked.rows[item])
                yield event if event["state"] == "skipped" else {**event, **read}

    def _told(self, tasks: Sequence[Mapping[str, Any]], n_matched: int, events: Sequence[Event]) -> str:
        counts = Counter(event["state"] for event in events)
        drafts = sum(len(task.get("drafts") or ()) for task in tasks)
        others = [f"{counts[s]} {s}" for s in ("skipped", "empty", "invalid", "superseded") if counts[s]]
        others += [f"{drafts} drafts"] if drafts else []
        unmatched = len(tasks) - n_matched
        notes = [f"{unmatched} of {len(tasks)} tasks match no row"] if unmatched else []
        notes += [f"not used: {', '.join(others)}"] if others else []
        return "; ".join([f"{self.path}: {counts['usable']} answers", *notes])

    def _wait(self, rows: Sequence[Row], job: str, events: Sequence[Event], told: str) -> None:
        people: dict[str, set[str]] = {}
        for event in events:
            if event["state"] in ("usable", "skipped"):
                people.setdefault(event["item"], set()).add(event["annotator"])
        done = sum(len(people.get(item_id(job, row["id"]), ())) >= self.annotators for row in rows)
        needed = max(math.ceil(self.enough * len(rows) - 1e-9), 1)
        if done < needed and rows:
            raise Waiting(
                f"{done} of {len(rows)} outputs are annotated ({told}). Export again when more are, or lower "
                "'enough'; then run the same command again.",
                done,
                needed,
            )
        if rows and not any(event["state"] == "usable" for event in events):
            raise DataError(f"{told}: everybody skipped, so there is nothing to go on with.")

    def _rows(
        self, rows: Sequence[Row], job: str, events: Iterable[Event], projects: Mapping[int, int]
    ) -> Iterator[Row]:
        by_item: dict[str, list[Event]] = {}
        for event in sorted(events, key=lambda e: (e["created_at"], e["annotation"])):
            if event["state"] == "usable":
                by_item.setdefault(event["item"], []).append(event)
        for row in rows:
            for event in by_item.get(item_id(job, row["id"]), ()):
                yield collected(row, event, job, projects[event["annotation"]])


def _own_item(task: Mapping[str, Any]) -> str | None:
    """The item that a task of our own project shows."""
    found = task["data"].get("ilf_id")
    return found if isinstance(found, str) else None


def _forgotten(folder: Path) -> frozenset[str]:
    """People whom `ilf forget` took out of this run, noted in any of its people folders."""
    return frozenset[str]().union(*(heard(path).forgotten for path in _beside(folder)))


def _beside(folder: Path) -> list[Path]:
    """The people folders of all steps of a run."""
    return [path for path in sorted(folder.parent.glob("*")) if path.is_dir()]


def _project(task: Mapping[str, Any], annotation: Mapping[str, Any]) -> int:
    found = annotation.get("project", task.get("project"))
    return found if isinstance(found, int) else 0
