"""What the model wrote on labelling pages while people typed: the log of it, and telling it from their words.

Label Studio marks a text that arrives while a page is open as ``manual``, like a person's own. So whatever
was served is written down before it is shown, in ``served.jsonl`` of the people folder, and is compared on
pull.
"""

from __future__ import annotations

import errno
import json
import os
import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from ilf.errors import DataError
from ilf.records import digest, line

SERVED = "served.jsonl"
#: A text is a served one, changed, if the two share this part of the runs of three words of the shorter one.
CHANGED_SHARE = 0.2
#: How far the clocks of this machine and of Label Studio may differ.
CLOCK_SLACK_SECONDS = 5.0

Origin = Literal["prefilled", "prefilled-changed", "typed"]


@dataclass(frozen=True)
class Served:
    """One text that the model wrote on a page; ``seconds`` is how long the person waited for it."""

    time: str
    task: int | None
    item: str
    critique_hash: str
    critique: str
    text: str
    model: str
    seconds: float
    person: str | None = None


class Log:
    """``served.jsonl`` of a people folder, for one writing process; threads may share it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / SERVED
        self._lock = threading.Lock()
        if self.path.exists():
            self._drop_torn_line()

    def add(self, entry: Served) -> None:
        """Writes an entry and forces it to disk; raises OSError where that fails, and nothing of it stays."""
        with self._lock, self.path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                if file.write(entry_line := line(asdict(entry))) != len(entry_line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(before)  # half a line would spoil the one behind it
                raise

    def _drop_torn_line(self) -> None:
        """Cuts off what a process was writing when it was killed; it was shown to nobody."""
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with self.path.open("r+b") as file:
                file.truncate(whole)


def entry(
    item: str, critique: str, text: str, *, model: str, seconds: float, task: int | None, person: str | None
) -> Served:
    """An entry of now."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    seconds = round(seconds, 3)
    return Served(now, task, item, digest(critique, 16), critique, text, model, seconds, person)


def served(folder: Path) -> list[Served]:
    """What was served in a people folder, oldest first; a torn last line is dropped.

    Raises DataError naming file and line where the log is broken.
    """
    path = folder / SERVED
    if not path.exists():
        return []
    names = {field.name for field in fields(Served)}
    found = []
    for number, raw in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            known = json.loads(raw.decode("utf-8", "surrogatepass"))
            made = Served(**{key: value for key, value in known.items() if key in names})
            if not isinstance(made.text, str) or not isinstance(made.seconds, (int, float)):
                raise TypeError
            datetime.fromisoformat(made.time)
        except (ValueError, TypeError, AttributeError):
            raise DataError(
                f"{path}: line {number} is no record of a served text. Restore the file, or remove that line."
            ) from None
        found.append(made)
    return found


def texts_of(item: str, entries: Iterable[Served]) -> list[str]:
    """The different texts that were served for an item (``ilf_id``), in the order in which they came."""
    return list(dict.fromkeys(entry.text for entry in entries if entry.item == item))


def wait_seconds(
    item: str,
    entries: Iterable[Served],
    *,
    person: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> float:
    """Seconds that a person waited for the model at an item, to be taken off their time.

    ``person`` is a pseudonym: waits of other people do not count, those of nobody known do. ``since`` and
    ``until`` are the times between which the person had the task open (with a time zone).
    """
    slack = timedelta(seconds=CLOCK_SLACK_SECONDS)
    waited = 0.0
    for entry in entries:
        at = datetime.fromisoformat(entry.time)
        is_theirs = entry.item == item and (person is None or entry.person in (None, person))
        if is_theirs and (since is None or at >= since - slack) and (until is None or at <= until + slack):
            waited += entry.seconds
    return waited


def origin_of(text: str, served_texts: Sequence[str]) -> Origin:
    """Where a text comes from: served and untouched, served and changed, or typed.

    Space at the ends and kinds of line ends do not count. Who keeps a good part of a served text has changed
    it; in doubt it is the model's, because model-written text must never pass for a person's.
    """
    if is_served(text, served_texts):
        return "prefilled"
    return "prefilled-changed" if any(_is_kept(text, given) for given in served_texts) else "typed"


def is_served(text: str, served_texts: Iterable[str]) -> bool:
    """Whether a text is one that the model wrote: such a text is nobody's critique."""
    return _plain(text) in {_plain(given) for given in served_texts}


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _is_kept(text: str, given: str) -> bool:
    mine, theirs = _runs(text), _runs(given)
    if not mine or not theirs:
        return False
    # Whoever shortens a served text keeps few of its words, but nearly all of theirs are from it; whoever
    # adds to it keeps nearly all of it.
    return len(mine & theirs) >= CHANGED_SHARE * min(len(mine), len(theirs))


def _runs(text: str, length: int = 3) -> set[tuple[str, ...]]:
    """All runs of three words; of a text of one or two words the whole text."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + length]) for i in range(max(len(words) - length + 1, min(len(words), 1)))}


def spaced_like(text: str, model_text: str) -> str:
    """A person's text with the space that a model's text begins with.

    A base model's answer follows its prompt with nothing between, so it begins with a space that nobody types
    and that a page cuts off; without it a text is other tokens, and imitating it teaches another beginning.
    """
    space = model_text[: len(model_text) - len(model_text.lstrip())]
    return text if text[:1].isspace() else space + text
