"""The entries of an annotation's result: which control of the page they come from, and what they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from ilf.label_studio.served import is_served

#: Most characters of one text that a person can have written.
LONGEST = 1_000_000
RATINGS = ("helpful", "truthful", "toxic", "biased")
#: Of every job its controls: name -> (type, what it is about). A rank page has ``place_0`` .. as well.
_CONTROLS: dict[str, dict[str, tuple[str, str]]] = {
    "critique": {
        "critique": ("textarea", "output"),
        "faultless": ("choices", "output"),
        "faults": ("choices", "output"),
        "mark": ("labels", "output"),
        "remark": ("textarea", "output"),
        "rewrite": ("textarea", "output"),
        "rewrite_decision": ("choices", "output"),
    },
    "rank": {"why": ("textarea", "prompt")},
    "pairwise": {"better": ("choices", "left"), "why": ("textarea", "left")},
    "verdict": {"better": ("choices", "left"), "why": ("textarea", "left")},
    "demonstrate": {"demonstration": ("textarea", "prompt")},
    "rate": dict.fromkeys(RATINGS, ("choices", "output")),
    "refine": {
        "decision": ("choices", "refinement"),
        "edited": ("textarea", "refinement"),
        "critique": ("textarea", "refinement"),
    },
}
#: Controls that may give several entries: one per mark.
_REPEATED = ("mark", "remark")
#: Controls whose text must be a person's own.
_OWN_WORDS = ("critique", "why", "demonstration", "remark")


class Invalid(Exception):
    """An entry that the job's page cannot have made."""


class Empty(Exception):
    """An annotation that answers nothing."""


class Said:
    """The entries of a result by control, each checked for its type."""

    def __init__(self, job: str, result: Any, row: Mapping[str, Any]) -> None:
        if not isinstance(result, (list, tuple)):
            raise Invalid(f"the result is no list, it is a {type(result).__name__}")
        self.row = row
        self.served = [text for text in row.get("served") or () if isinstance(text, str)]
        self._entries: dict[str, list[tuple[Any, Mapping[str, Any], str]]] = {}
        controls = dict(_CONTROLS[job])
        if job == "rank":
            places = range(len(row["outputs"]))
            controls |= {f"place_{place}": ("rating", f"output_{place}") for place in places}
        for entry in result:
            # Two marks that somebody joined by an arrow: no answer to anything that the page asks.
            if isinstance(entry, Mapping) and entry.get("type") == "relation":
                continue
            name, value = _checked(entry, controls)
            if name in self._entries and name not in _REPEATED:
                raise Invalid(f"'{name}' is answered twice")
            origin = entry.get("origin")
            self._entries.setdefault(name, []).append(
                (entry.get("id"), value, origin if isinstance(origin, str) else "manual")
            )

    def each(self, name: str) -> list[tuple[Any, Mapping[str, Any], str]]:
        """(id, value, origin) of every entry of a control."""
        return self._entries.get(name, [])

    def text(self, name: str) -> str:
        """What was written, without blanks around it; "" where nothing was."""
        for _, value, origin in self.each(name):
            text = text_of(name, value)
            if name in _OWN_WORDS:
                self._check_own(name, text, origin)
            return text
        return ""

    def _check_own(self, name: str, text: str, origin: str) -> None:
        if origin == "prediction" or (text and is_served(text, self.served)):
            raise Invalid(f"'{name}' is the model's text, not a person's")

    def origin(self, name: str) -> str:
        """Where Label Studio says that a text came from."""
        return self.each(name)[0][2]

    def choices(self, name: str) -> list[str]:
        """What was ticked, each once."""
        ticked = [choice for _, value, _ in self.each(name) for choice in _texts(name, value, "choices")]
        if len(set(ticked)) < len(ticked):
            raise Invalid(f"'{name}' names a choice twice")
        return ticked

    def choice(self, name: str, known: Sequence[str]) -> str | None:
        """The one choice of ``known`` that was made, or None."""
        ticked = self.choices(name)
        if len(ticked) > 1 or not set(ticked) <= set(known):
            raise Invalid(f"'{name}' must be one of {', '.join(known)}, is {brief(ticked)}")
        return ticked[0] if ticked else None


def _checked(entry: Any, controls: Mapping[str, tuple[str, str]]) -> tuple[str, Mapping[str, Any]]:
    """Name and value of an entry that belongs to the page."""
    if not isinstance(entry, Mapping):
        raise Invalid(f"an entry is no object, it is a {type(entry).__name__}")
    name, kind, about, value = (entry.get(key) for key in ("from_name", "type", "to_name", "value"))
    if not isinstance(name, str) or name not in controls:
        raise Invalid(f"the page has no control {brief(name)}")
    if (kind, about) != controls[name]:
        raise Invalid(
            f"'{name}' is {brief(kind)} about {brief(about)}, must be {' about '.join(controls[name])}"
        )
    if not isinstance(value, Mapping):
        raise Invalid(f"'{name}' has no value")
    return name, value


def _texts(name: str, value: Mapping[str, Any], key: str) -> list[str]:
    found = value.get(key)
    if isinstance(found, str):
        found = [found]
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise Invalid(f"'{name}' has no list of texts")
    if sum(map(len, found)) > LONGEST:
        raise Invalid(f"'{name}' has more than {LONGEST} characters")
    return found


def text_of(name: str, value: Mapping[str, Any]) -> str:
    """The text of an entry, without blanks around it; several lines are joined."""
    return "\n".join(_texts(name, value, "text")).strip()


def brief(value: Any) -> str:
    """The beginning of something unknown, fit for an error."""
    if isinstance(value, str):
        return repr(value[:40])
    return (
        repr(value) if value is None or isinstance(value, (bool, int, float)) else f"a {type(value).__name__}"
    )


def is_index(value: Any) -> TypeGuard[int]:
    """Whether a value is a number from 0 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
