"""Feedback that people give on pages of Label Studio."""

from __future__ import annotations

import contextlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ilf.errors import DataError, UsageError, Waiting
from ilf.files import write_whole
from ilf.label_studio import ledger
from ilf.label_studio.connection import Connection, Patience, connect
from ilf.label_studio.events import Event, Heard
from ilf.label_studio.jobs import FAULTS, JOBS, Page, item_id, page, task_data
from ilf.label_studio.project import Project, ensure, locked, read_project
from ilf.label_studio.pull import Pulled, pull
from ilf.label_studio.push import Item, push
from ilf.label_studio.rows import Asked, collected
from ilf.protocols import Row
from ilf.records import Rows, digest, row_id, without

#: A gold item is for everybody: Label Studio hands it out until so many people have answered.
GOLD_PEOPLE = 99
GOLD = "gold.jsonl"


@dataclass(frozen=True)
class LabelStudio:
    """People at a labelling page: rows are pushed to Label Studio, answers are pulled when people gave them.

    The server is the one of ``ilf label-studio start``, or LABEL_STUDIO_URL with LABEL_STUDIO_API_KEY.
    Outputs stand in an order shuffled by task, the same for everybody: Label Studio cannot show one task in
    two orders. Every usable answer of a different person makes a row; a task that everybody asked has skipped
    counts as done and makes none.
    """

    annotators: int = 1
    """Different people asked about each output."""
    shared: float = 0.0
    """Share of the outputs, chosen by hash, that ``shared_by`` people are asked about."""
    shared_by: int = 2
    gold: str = ""
    """A JSONL file of rows whose right answer is known (column ``gold``), mixed in to see how people do."""
    faults: tuple[str, ...] = FAULTS
    warning: str = ""
    instruction: str = ""
    why: str = "optional"
    suggest: bool = False
    enough: float = 1.0
    """Share of the outputs that must be answered before the run goes on."""
    idle_cap: float | None = None
    """Most seconds that one answer counts; by default a cap for each job."""
    wage_per_hour: float = field(default=0.0, compare=False)
    """Turns seconds into money in `ilf agreement`; changes no row."""
    request_seconds: float = field(default=120.0, compare=False)
    """How long one answer of the server is waited for."""
    patience: float = field(default=60.0, compare=False)
    """How long a server that does not answer, or asks to come back later, is tried again, in seconds."""

    revision: ClassVar[int] = 1
    jobs: ClassVar[tuple[str, ...]] = JOBS
    #: Settings that ask other people or count otherwise, but show the same pages.
    policy: ClassVar[frozenset[str]] = frozenset(
        {"annotators", "shared", "shared_by", "gold", "enough", "idle_cap"}
    )

    def __post_init__(self) -> None:
        """Refuses numbers of people, shares and seconds that are none."""
        for name in ("annotators", "shared_by"):
            if getattr(self, name) < 1:
                raise UsageError(f"label_studio: {name}: {getattr(self, name)} is less than 1.")
        if not 0.0 <= self.shared <= 1.0 or not 0.0 < self.enough <= 1.0:
            raise UsageError("label_studio: shared must be from 0 to 1, enough above 0 and at most 1.")
        if self.why not in ("optional", "required"):
            raise UsageError(f"label_studio: why: '{self.why}' is neither 'optional' nor 'required'.")
        for name in ("idle_cap", "wage_per_hour", "request_seconds", "patience"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise UsageError(f"label_studio: {name}: {value} is not a number from 0 on.")

    def price(self, job: str, n_outputs: int) -> float:
        """Seconds that a row asks of a person: medians of Scheurer et al. 2023, see ``ledger.MEDIANS``."""
        return ledger.price(job, n_outputs)

    def push(self, rows: Sequence[Row], job: str, seed: int, folder: Path) -> None:
        """Brings every row, and the gold items, into the folder's project once."""
        if not rows:
            return
        gold = self._gold(job, rows)
        items = self._items(rows, gold, job)
        with locked(folder), self._connected() as connection:
            _keep_gold(folder, gold)
            project = self._project(connection, folder, rows, job)
            push(connection, folder, project, items, len(gold))

    def pull(self, rows: Sequence[Row], job: str, seed: int, folder: Path) -> Iterator[Row]:
        """One row per usable answer, in the order of ``rows``; Waiting while people have not answered.

        Before it yields, all answers are compared with all that is known, so that what was deleted or
        withdrawn is left out.
        """
        if not rows:
            return iter(())
        gold = self._gold(job, rows)
        asked = Asked(
            job,
            {item_id(job, row["id"]): row for row in rows} | gold,
            frozenset(gold),
            self.idle_cap,
        )
        if read_project(folder) is None:
            raise Waiting(f"0 of {len(rows)} outputs are annotated: nobody was asked yet.", 0, len(rows))
        with locked(folder), self._connected() as connection:
            project = self._project(connection, folder, rows, job)
            pulled = pull(connection, folder, project, asked, full=False)
            self._wait(rows, job, project, pulled)
            if not pulled.full:
                pulled = pull(connection, folder, project, asked, full=True)
                self._wait(rows, job, project, pulled)
        return self._rows(rows, job, project, pulled.heard)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        connection = connect(None, Patience(request_seconds=self.request_seconds, seconds=self.patience))
        try:
            yield connection
        finally:
            connection.close()

    def _project(self, connection: Connection, folder: Path, rows: Sequence[Row], job: str) -> Project:
        title = f"{folder.parent.parent.name} {folder.name}".strip()
        return ensure(connection, folder, self._page(rows, job), self.annotators, title)

    def _page(self, rows: Sequence[Row], job: str) -> Page:
        lengths = {len(row["outputs"]) for row in rows} if job == "rank" else set()
        return page(
            job,
            lengths.pop() if len(lengths) == 1 else 0,
            faults=self.faults,
            warning=self.warning,
            instruction=self.instruction,
            why=self.why,
            suggest=self.suggest,
        )

    def _people(self, item: str) -> int:
        """How many different people an item is for."""
        fraction = int(digest(["shared", item], 8), 16) / 16**8
        return self.shared_by if fraction < self.shared else self.annotators

    def _items(self, rows: Sequence[Row], gold: Mapping[str, Row], job: str) -> list[Item]:
        """Rows in their order with the gold items strewn in."""
        placed: list[tuple[float, Item]] = []
        for place, row in enumerate(rows):
            item = item_id(job, row["id"])
            placed.append((place, Item(item, task_data(job, row), self._people(item))))
        for item, row in gold.items():
            at = int(digest(["gold", item], 8), 16) / 16**8 * len(rows)
            placed.append((at, Item(item, task_data(job, row), GOLD_PEOPLE)))
        return [item for _, item in sorted(placed, key=lambda pair: pair[0])]

    def _gold(self, job: str, rows: Sequence[Row]) -> dict[str, Row]:
        """Gold rows by item id; a gold row without an id is named by its content."""
        if not self.gold:
            return {}
        path = Path(self.gold)
        if not path.exists():
            raise UsageError(f"label_studio: gold: there is no file {path}.")
        found: dict[str, Row] = {}
        taken = {row["id"] for row in rows}
        for number, row in enumerate(Rows(path), start=1):
            if row.get("gold") is None:
                raise DataError(f"{path}: line {number} has no 'gold': the right answer.")
            named = {**row, "id": row.get("id") or row_id("gold", job, without(row, "gold"))}
            if named["id"] in taken:
                raise DataError(f"{path}: line {number}: its id {named['id']} is taken. Leave the id out.")
            taken.add(named["id"])
            found[item_id(job, named["id"])] = named
        return found

    def _wait(self, rows: Sequence[Row], job: str, project: Project, pulled: Pulled) -> None:
        """Raises Waiting while fewer rows are done than are enough."""
        by_item = _by_item(pulled.heard)
        done = sum(self._is_done(item_id(job, row["id"]), by_item) for row in rows)
        needed = max(math.ceil(self.enough * len(rows) - 1e-9), 1)
        if done < needed:
            words = self._standing(rows, job, project, pulled)
            raise Waiting(f"{done} of {len(rows)} outputs are annotated{words}", done, needed)
        if not any(
            event["state"] == "usable" and not event["gold"] for event in pulled.heard.answers.values()
        ):
            raise DataError(
                f"{project.address}: everybody who was asked skipped all {len(rows)} outputs: nothing is "
                "left to go on with. Ask other people, or ask about other outputs."
            )

    def _is_done(self, item: str, by_item: Mapping[str, list[Event]]) -> bool:
        people = {e["annotator"] for e in by_item.get(item, ()) if e["state"] in ("usable", "skipped")}
        return len(people) >= self._people(item)

    def _standing(self, rows: Sequence[Row], job: str, project: Project, pulled: Pulled) -> str:
        """The rest of the sentence: by whom, what could not be used, where people go."""
        items = {item_id(job, row["id"]) for row in rows}
        events = [event for event in pulled.heard.answers.values() if event["item"] in items]
        counts = Counter(event["state"] for event in events)
        notes = [f"{counts[s]} {s}" for s in ("skipped", "empty", "invalid", "superseded") if counts[s]]
        notes += [f"{pulled.drafts} not submitted"] if pulled.drafts else []
        notes += [f"{math.ceil(self.enough * len(rows))} are enough"] if self.enough < 1 else []
        several = f" by the {self.annotators} people asked for" if self.annotators > 1 else ""
        by = " by the people asked for" if self.shared and self.shared_by != self.annotators else several
        detail = f" ({', '.join(notes)})" if notes else ""
        again = sorted({event["task"] for event in events if event["state"] in ("empty", "invalid")})
        shown = ", ".join(map(str, again[:5])) + (", ..." if len(again) > 5 else "")
        hint = f" Label Studio shows tasks with unusable answers no more by itself: {shown}." if again else ""
        return f"{by}{detail}; run again later. People label at {project.address}{hint and '.'}{hint}"

    def _rows(self, rows: Sequence[Row], job: str, project: Project, heard: Heard) -> Iterator[Row]:
        by_item = _by_item(heard)
        for row in rows:
            for event in by_item.get(item_id(job, row["id"]), ()):
                if event["state"] == "usable":
                    yield collected(row, event, job, project.id)


def _by_item(heard: Heard) -> dict[str, list[Event]]:
    """Answers by item, in the order in which people first gave them."""
    found: dict[str, list[Event]] = {}
    for event in sorted(heard.answers.values(), key=lambda e: (e["created_at"], e["annotation"])):
        found.setdefault(event["item"], []).append(event)
    return found


def _keep_gold(folder: Path, gold: Mapping[str, Row]) -> None:
    """Keeps the gold rows beside the answers to them, those of earlier runs too."""
    path = folder / GOLD
    before: dict[str, Any] = {row["item"]: row for row in Rows(path)} if path.exists() else {}
    after = before | {item: {"item": item, **row} for item, row in gold.items()}
    if after != before:
        write_whole(path, "".join(f"{json.dumps(row)}\n" for row in after.values()))
