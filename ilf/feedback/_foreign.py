"""A labelling page that somebody else made: which of our rows a task shows, and what an annotation says."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ilf.errors import UsageError, nearest
from ilf.label_studio.export import texts_of, values
from ilf.label_studio.jobs import NEEDS
from ilf.label_studio.rows import Asked
from ilf.protocols import Row
from ilf.records import messages_text

_FIELD = re.compile(r"\{([^{}]+)\}")
#: Job -> what a control of somebody else's page may be; the first is what every answer needs.
_CONTROLS = {
    "critique": ("critique", "faults"),
    "rank": ("ranking", "why"),
    "pairwise": ("ranking", "why"),
    "verdict": ("ranking", "why"),
    "demonstrate": ("completion",),
    "rate": ("helpful", "truthful", "toxic", "biased"),
}
_SIDES = {"left": "first", "right": "second", "tie": "tie"}


@dataclass(frozen=True)
class Foreign:
    """The settings ``data``, ``controls`` and ``choices`` of a source, checked for a job."""

    job: str
    data: Mapping[str, str | Sequence[str]]
    controls: Mapping[str, str]
    choices: Mapping[str, str] | None

    def __post_init__(self) -> None:
        """Refuses what the job does not have, and the lack of what it needs."""
        _check_controls(self.controls, self.data, self.job)

    def matcher(self, asked: Asked) -> Callable[[Mapping[str, Any]], str | None]:
        """From a task to the item of the row with the same texts; of rows with the same texts the first."""
        by_texts = {
            tuple(_comparable(row.get(column)) for column in self.data): item
            for item, row in reversed(list(asked.rows.items()))
        }
        return lambda task: by_texts.get(
            tuple(_comparable(_raw(task["data"], key)) for key in self.data.values())
        )

    def read(self, result: Sequence[Any], data: Mapping[str, Any], row: Row) -> dict[str, Any]:
        """``state``, ``said``, ``reason`` and ``shown`` of an annotation; never raises on nonsense."""
        found = values(result, data)
        said = {what: found.get(control) for what, control in self.controls.items()}
        order = _order(self.data.get("outputs"), data, row) if "outputs" in NEEDS[self.job] else None
        if not any(_has(value) for value in said.values()):
            read, reason = None, None
        else:
            read, reason = _said(self.job, said, self.choices or _SIDES, order, row)
        state = "usable" if read else "empty" if reason is None else "invalid"
        return {"state": state, "said": read or {}, "reason": reason, "shown": order, "untouched": False}


def _check_controls(controls: Mapping[str, str], data: Mapping[str, Any], job: str) -> None:
    known = _CONTROLS.get(job)
    if known is None:
        raise UsageError(f"label_studio_export: the job '{job}' is read from our own pages only.")
    for what in controls:
        if what not in known:
            raise UsageError(
                f"label_studio_export: controls: the job '{job}' has no '{what}'.{nearest(what, known)} "
                f"It has: {', '.join(known)}."
            )
    if known[0] not in controls and job != "rate":
        raise UsageError(f"label_studio_export: controls: name the control that holds '{known[0]}'.")
    if missing := [column for column in NEEDS[job] if column not in data]:
        raise UsageError(f"label_studio_export: data: name the key that holds '{missing[0]}'.")


def _comparable(value: Any) -> Any:
    """A text without white space around it; lists of texts in any order."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(sorted(item.strip() for item in value))
    if isinstance(value, list):
        try:
            return messages_text(value).strip()
        except (TypeError, KeyError, AttributeError):
            return None
    return value.strip() if isinstance(value, str) else None


def _raw(data: Mapping[str, Any], key: str | Sequence[str]) -> Any:
    if not isinstance(key, str):
        return [_raw(data, part) for part in key]
    if _FIELD.search(key):
        return _FIELD.sub(lambda found: str(data.get(found[1], "")), key)
    return texts_of(data.get(key))


def _order(key: Any, data: Mapping[str, Any], row: Row) -> list[int] | None:
    """Indices into the row's ``outputs`` in the order in which the task has them."""
    if key is None or not isinstance(texts := _raw(data, key), list):
        return None
    left = {index: text.strip() for index, text in enumerate(row["outputs"])}
    order = []
    for text in texts:
        index = next((i for i, own in left.items() if own == str(text).strip()), None)
        if index is None:
            return None
        del left[index]
        order.append(index)
    return order if not left else None


def _has(value: Any) -> bool:
    return value is not None and value != [] and not (isinstance(value, str) and not value.strip())


def _said(
    job: str, said: Mapping[str, Any], choices: Mapping[str, str], order: Sequence[int] | None, row: Row
) -> tuple[dict[str, Any] | None, str | None]:
    """What a row gets of the controls' values, or None with the reason; no reason: left empty."""
    if job == "rate":
        ratings = {axis: value for axis, value in said.items() if _is_rating(value)}
        wrong = [axis for axis in said if axis not in ratings]
        return ({"ratings": ratings}, None) if not wrong else (None, f"no rating from 1 to 5 for {wrong[0]}")
    if job in ("critique", "demonstrate"):
        what = _CONTROLS[job][0]
        if not _has(said[what]):
            return None, None
        if not isinstance(said[what], str):
            return None, f"{what} is no text"
        faults = said.get("faults")
        more = {"faults": [faults] if isinstance(faults, str) else faults or []} if "faults" in said else {}
        return {what: said[what], **more}, None
    return _ranked(job, said, choices, order, row)


def _is_rating(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 1 <= value <= 5


def _ranked(
    job: str, said: Mapping[str, Any], choices: Mapping[str, str], order: Sequence[int] | None, row: Row
) -> tuple[dict[str, Any] | None, str | None]:
    value = said["ranking"]
    if not _has(value):
        return None, None
    if order is None:
        return None, "the task shows other outputs"
    if isinstance(value, str):
        if len(order) != 2 or value not in choices:
            return None, f"'{value}' is no choice between two (see the setting choices)"
        value = {"first": [[0], [1]], "second": [[1], [0]], "tie": [[0, 1]]}[choices[value]]
    if not isinstance(value, list) or sorted(i for group in value for i in group) != list(range(len(order))):
        return None, "the ranking does not name every output once"
    ranking = [sorted(order[i] for i in group) for group in value]
    why = said.get("why") if _has(said.get("why")) else None
    read: dict[str, Any] = {"ranking": ranking, "why": why}
    if job == "pairwise":
        # A reason for preferring one of two is a critique of the other.
        is_reason = why is not None and len(ranking) == 2
        read |= {"critique": why if is_reason else None}
        read |= {"output": row["outputs"][ranking[1][0]]} if is_reason else {}
    return read, None
