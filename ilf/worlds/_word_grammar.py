"""The sentences of the word removal world, an exact inverse, and what can be wrong with one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_ITEM = "an? [a-z]+ [a-z]+"
_SENTENCE = re.compile(rf"such ({_ITEM}(?:, and {_ITEM})*)\.")
YOU_ARE = "You are "


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: ``left``, ``lost``, ``invented`` (or repeated) or ``moved``, and the item."""

    kind: str
    item: str


def render(items: Sequence[str], opening: str = YOU_ARE) -> str:
    """The sentence that calls somebody all the items, with the leading space that a completion brings."""
    return f" {opening}such {', and '.join(items)}."


def parse(text: str, opening: str = YOU_ARE) -> list[str] | None:
    """The items of a sentence; None for a text outside the grammar. Space around it does not count."""
    text = text.strip()
    found = _SENTENCE.fullmatch(text.removeprefix(opening)) if text.startswith(opening) else None
    return found[1].split(", and ") if found else None


def faults(items: Sequence[str], banned: Sequence[str], stated: Sequence[str]) -> list[Fault]:
    """Everything wrong with a sentence: none exactly when it states the allowed items, once and in order."""
    left = [Fault("left", item) for item in items if item in banned and item in stated]
    lost = [Fault("lost", item) for item in items if item not in banned and item not in stated]
    invented = [
        Fault("invented", item)
        for i, item in enumerate(stated)
        if item not in items or item in list(stated)[:i]
    ]
    known = [item for item in dict.fromkeys(stated) if item in items]
    early = [a for a, b in pairwise(known) if items.index(a) > items.index(b)]
    return [*left, *lost, *invented, *(Fault("moved", item) for item in early[:1])]


def fixed(items: Sequence[str], stated: Sequence[str], fault: Fault) -> list[str]:
    """The stated items without one of their faults; a sentence needs one item, the last one stays."""
    place = {item: i for i, item in enumerate(items)}
    if fault.kind == "moved":
        return sorted(stated, key=lambda item: place.get(item, len(place)))
    if fault.kind == "lost":
        after = (i for i, item in enumerate(stated) if place.get(item, -1) > place[fault.item])
        at = next(after, len(stated))
        return [*stated[:at], fault.item, *stated[at:]]
    if len(stated) == 1:
        return list(stated)
    last = len(stated) - 1 - list(stated)[::-1].index(fault.item)
    return [*stated[:last], *stated[last + 1 :]]
