"""What tells one person's data from others' in rows, logs and pages: names, annotation ids, own words."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

#: A pseudonym as ``ilf.label_studio.events`` makes it: long enough to be nothing else wherever it stands.
PSEUDONYM = re.compile("p-[0-9a-f]{10}")
#: Characters from which on a text is looked for inside of other texts; a shorter one might be anybody's.
QUOTE = 24
#: Texts are found by pieces: one that starts at a multiple of this lies within the first QUOTE characters.
_PIECE = QUOTE // 2
#: Short texts are looked for on pages from this length on.
_SHORTEST_ON_PAGES = 8
#: Columns that hold what people wrote: here a short text counts as well.
_PEOPLES = ("critique", "critique_shown", "earlier", "why", "preferred", "remark")
#: Job -> columns in which the person of that job wrote; others of the row come from the sample.
_WRITES = {
    "critique": ("critique",),
    "pairwise": ("critique", "why"),
    "rank": ("why",),
    "verdict": ("why",),
    "rate": (),
    "demonstrate": ("completion",),
    "refine": (),
}
#: What the page writes for a tick: nobody's words.
_TICKED = "Nothing to change."
_OWN = ("typed", "prefilled-changed")
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|([nrt"\\/]))')


def said(row: Mapping[str, Any], job: str | None) -> set[str]:
    """The texts that a person wrote in a row of a job, or in an event's ``said``; never a model's."""
    columns = _WRITES.get(job or "", ("critique", "why", "completion"))
    if job == "refine" and row.get("decision") == "criticise":
        columns = ("critique",)
    texts = [row.get(column) for column in columns]
    if job in ("critique", None):
        texts += [mark.get("remark") for mark in row.get("marks") or () if isinstance(mark, Mapping)]
    if job in ("critique", "refine", None):
        pairs = zip(row.get("refinements") or (), row.get("origins") or (), strict=False)
        texts += [text for text, origin in pairs if origin in _OWN]
    return {text.strip() for text in texts if isinstance(text, str)} - {"", _TICKED}


def strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """(key, text) of every text inside a JSON value; an item of a list has the list's key."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from strings(item, str(name))
    elif isinstance(value, list):
        for item in value:
            yield from strings(item, key)


@dataclass
class Traces:
    """One person: the names in ``annotator``, what was annotated, what was written."""

    names: frozenset[str]
    ids: set[str] = field(default_factory=set)
    rows: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)
    """Texts that somebody else wrote, too."""

    def learn(self, row: Mapping[str, Any]) -> None:
        """Takes up a row: its annotation and its texts if it is this person's, else who else wrote what."""
        if "annotator" not in row:
            return
        # A row without a job was loaded: its completion may be a model's.
        texts = said(row, row.get("job") or "critique")
        if not self.is_source(row):
            self.others |= texts
            return
        self.texts |= texts
        self.ids |= {row["annotation_id"]} if isinstance(row.get("annotation_id"), str) else set()
        self.rows |= {row["id"]} if isinstance(row.get("id"), str) else set()

    def learn_event(self, event: Mapping[str, Any]) -> None:
        """The same from a line of ``events.jsonl``."""
        if event.get("kind") == "answer" and isinstance(event.get("said"), Mapping):
            words = self.texts if event.get("annotator") in self.names else self.others
            words |= said(event["said"], None)

    def is_source(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is this person's own annotation."""
        return row.get("annotator") in self.names

    def is_in(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is this person's, descends from one, or holds words of theirs."""
        if self.is_source(row) or row.get("id") in self.rows:
            return True
        return any(self._tells(key, text) for key, text in strings(row))

    def _tells(self, key: str, text: str) -> bool:
        if text in self.ids or (text in self.names and ("annotator" in key or PSEUDONYM.fullmatch(text))):
            return True
        if key in _PEOPLES and text.strip() in self._short:
            return True
        return self._quotes(text) or (key == "earlier" and any(short in text for short in self._short))

    @cached_property
    def _own(self) -> set[str]:
        return self.texts - self.others

    @cached_property
    def _short(self) -> set[str]:
        return {text for text in self._own if len(text) < QUOTE}

    @cached_property
    def _long(self) -> dict[str, list[str]]:
        return _pieces(self._own - self._short)

    def _quotes(self, text: str) -> bool:
        return any(whole in text for whole in _met(text, self._long))

    @cached_property
    def _beginnings(self) -> dict[str, list[str]]:
        """Of long texts only the beginning: pages shorten them; white space as pages show it."""
        texts = (_plain(text) for text in self._own - self._short)
        return _pieces(text[:QUOTE] for text in texts if len(text) >= QUOTE)

    def are_written_in(self, page: str) -> bool:
        """Whether a file that is no table of rows (a page, JSON, CSV) quotes or names this person."""
        text = _plain(html.unescape(_ESCAPE.sub(_unescaped, page)))
        if any(name in text for name in self.names if PSEUDONYM.fullmatch(name) or "@" in name):
            return True
        if any(_plain(short) in text for short in self._short if len(short) >= _SHORTEST_ON_PAGES):
            return True
        return any(beginning in text for beginning in _met(text, self._beginnings))


def _pieces(texts: Iterable[str]) -> dict[str, list[str]]:
    """Piece -> the texts that hold it near their beginning; each text has QUOTE characters or more."""
    found: dict[str, list[str]] = {}
    for text in texts:
        for start in range(_PIECE):
            found.setdefault(text[start : start + _PIECE], []).append(text)
    return found


def _met(text: str, pieces: Mapping[str, list[str]]) -> Iterator[str]:
    """The texts that may stand in a text: of one that does, a piece begins at a multiple of its length."""
    for start in range(0, len(text) - _PIECE + 1, _PIECE):
        yield from pieces.get(text[start : start + _PIECE], ())


def _plain(text: str) -> str:
    return " ".join(text.split())


def _unescaped(found: re.Match[str]) -> str:
    if found[1]:
        return chr(int(found[1], 16))
    return {"n": "\n", "r": "\r", "t": "\t"}.get(found[2], found[2])


def of_events(events: Iterable[Mapping[str, Any]], names: frozenset[str]) -> list[Mapping[str, Any]]:
    """The events that are about this person's answers."""
    return [event for event in events if event.get("annotator") in names and event.get("kind") != "forgotten"]
