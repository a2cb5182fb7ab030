"""What people did, as it was heard: an append-only log in the folder that a source of feedback is given.

    people/salt                   secret of the pseudonyms, one for all steps of a recipe's runs
    people/collect-3f2a.../       events.jsonl, one JSON object a line, forced to disk batch by batch

An answer that changes is a new line; the last one about an annotation holds. Nothing is rewritten, except by
`ilf forget`.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ilf.errors import DataError
from ilf.files import sync
from ilf.records import line

EVENTS, SALT = "events.jsonl", "salt"
Event = dict[str, Any]


@dataclass(frozen=True)
class Heard:
    """What holds after all events: answers by annotation id, the last pull, how many of each state."""

    answers: dict[int, Event]
    last_pull: Event | None
    forgotten: frozenset[str]
    withdrawn: int
    counts: dict[str, int] = field(default_factory=dict)


def read_events(folder: Path) -> list[Event]:
    """All events in order; a torn last line, which nobody was told of, is left out.

    Raises DataError naming file and line where the log is broken.
    """
    path = folder / EVENTS
    if not path.exists():
        return []
    found = []
    for number, raw in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            event = json.loads(raw.decode("utf-8", "surrogatepass"))
            if not isinstance(event, dict) or not isinstance(event.get("kind"), str):
                raise TypeError
        except (ValueError, TypeError):
            raise DataError(
                f"{path}: line {number} is no event. Restore the file from a copy; the answers are still in "
                "Label Studio, so removing the whole file and running again reads them anew."
            ) from None
        found.append(event)
    return found


def heard(folder: Path) -> Heard:
    """What the events of a folder come to; withdrawn answers and forgotten people are left out."""
    return sum_up(read_events(folder))


def sum_up(events: Sequence[Mapping[str, Any]]) -> Heard:
    """The same of events that are at hand."""
    answers: dict[int, Event] = {}
    last_pull: Event | None = None
    withdrawn: set[int] = set()
    forgotten: set[str] = set()
    for event in events:
        kind = event["kind"]
        if kind == "answer":
            answers[event["annotation"]] = dict(event)
            withdrawn.discard(event["annotation"])
        elif kind == "withdrawn":
            answers.pop(event["annotation"], None)
            withdrawn.add(event["annotation"])
        elif kind == "forgotten":
            forgotten.add(event["annotator"])
        elif kind == "pulled":
            last_pull = dict(event)
    kept = {number: event for number, event in answers.items() if event["annotator"] not in forgotten}
    counts = Counter(event["state"] for event in kept.values())
    return Heard(
        kept, last_pull, frozenset(forgotten), len(withdrawn), {**counts, "withdrawn": len(withdrawn)}
    )


def append(folder: Path, events: Sequence[Mapping[str, Any]]) -> None:
    """Adds events and forces them to disk; cuts off what a killed process left of a line."""
    if not events:
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / EVENTS
    is_new = not path.exists()
    with path.open("ab+") as file:
        _drop_torn_line(file)
        file.write(b"".join(map(line, events)))
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync(folder)


def _drop_torn_line(file: Any) -> None:
    end = whole = file.seek(0, os.SEEK_END)
    while whole > 0:
        size = min(whole, 1 << 16)
        file.seek(whole - size)
        at = file.read(size).rfind(b"\n")
        if at >= 0:
            whole = whole - size + at + 1
            break
        whole -= size
    if whole < end:
        file.truncate(whole)


def pseudonym(folder: Path, user_id: int) -> str:
    """A person's name in our rows: the same in all steps of a recipe's runs, nobody's without the salt."""
    return Pseudonyms(folder).of(user_id)


class Pseudonyms:
    """The names of many people, with the salt read once."""

    def __init__(self, folder: Path) -> None:
        self._salt = _salt(folder.parent / SALT)

    def of(self, user_id: int) -> str:
        """A person's pseudonym."""
        return "p-" + hmac.new(self._salt, f"{user_id}".encode(), hashlib.sha256).hexdigest()[:10]


def _salt(path: Path) -> bytes:
    """The salt, made on first use; readable by its owner alone."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        mine = path.with_name(f".{SALT}.{os.getpid()}.{secrets.token_hex(4)}")
        handle = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_hex(32).encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
            # A link is there whole or not at all, and the first of two processes wins.
            with contextlib.suppress(FileExistsError):
                os.link(mine, path)
        finally:
            mine.unlink()
        sync(path.parent)
    salt = path.read_bytes().strip()
    if len(salt) < 32:
        raise DataError(
            f"{path}: holds no salt. Restore it from a copy: without it the same people get other pseudonyms."
        )
    return salt
