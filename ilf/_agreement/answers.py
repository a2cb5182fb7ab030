"""What one person said once, whether it comes from the rows of a step or from the log of what was heard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ilf._agreement.opinions import RANKED, question
from ilf.records import row_id

#: Characters per second of a person's time above which nobody types: the fastest of 168,000 people copied
#: text at 120 words, 600 characters, a minute (Dhakal et al. 2018, "Observations on typing from 136 million
#: keystrokes"), and here the time includes reading and thinking.
TOO_FAST = 10.0
#: Shorter texts say nothing about speed.
TYPED_AT_LEAST = 40
#: Ratings of gold items may be off by this many points.
RATING_SLACK = 1
#: Seconds of rounding within which an answer does not count as capped.
_ROUNDING = 0.01
_SAID = (
    "critique", "is_faultless", "marks", "faults", "ranking", "why", "completion", "ratings", "decision",
    "preferred", "refinements", "origins",
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """One answer; ``active``: seconds at the page less waits for a model; ``seconds``: those that count."""

    unit: str
    annotator: str
    job: str
    state: str = "usable"
    said: Mapping[str, Any] = field(default_factory=dict)
    shown: tuple[int, ...] | None = None
    untouched: bool | None = None
    active: float | None = None
    seconds: float | None = None
    is_gold: bool = False
    is_right: bool | None = None
    """Whether a gold item was answered as expected; None where that cannot be told."""

    @property
    def counts(self) -> bool:
        """Whether this is an answer about an output, not a gold item, that can be used."""
        return self.state == "usable" and not self.is_gold

    @property
    def is_capped(self) -> bool:
        """Whether less than the whole time counts."""
        return self.active is not None and self.seconds is not None and self.seconds < self.active - _ROUNDING

    @property
    def speed(self) -> float | None:
        """Characters per second, of texts long enough to tell."""
        typed = n_typed(self.job, self.said)
        if typed is None or typed < TYPED_AT_LEAST or not self.active:
            return None
        return typed / self.active


def from_rows(rows: Iterable[Mapping[str, Any]], job: str) -> list[Answer]:
    """The answers in the rows of a step; a row's wait for a model is not known and counts as the person's."""
    found = []
    for row in rows:
        lead, seconds = row.get("lead_seconds"), row.get("seconds")
        own = str(row.get("job", job))
        found.append(
            Answer(
                unit=question(row, own) if "sample_id" in row else _asked(row),
                annotator=str(row["annotator"]),
                job=own,
                said={name: row[name] for name in _SAID if name in row},
                shown=tuple(row["shown"]) if row.get("shown") else None,
                active=seconds if lead is None else lead,
                seconds=seconds,
            )
        )
    return found


def _asked(row: Mapping[str, Any]) -> str:
    """What rows that no model answered have in common."""
    return row_id(row.get("prompt"), row.get("outputs", row.get("output")))


def from_events(
    events: Iterable[Mapping[str, Any]], job: str, gold: Mapping[str, Any] | None = None
) -> list[Answer]:
    """The answers in a log; ``gold`` maps the items that were mixed in to their right answers."""
    found = []
    for event in events:
        said = event.get("said") or {}
        lead = event.get("lead_seconds")
        is_gold = bool(event.get("gold"))
        usable = event["state"] == "usable"
        found.append(
            Answer(
                unit=str(event["item"] if is_gold else event["row"]),
                annotator=event["annotator"],
                job=job,
                state=event["state"],
                said=said,
                shown=tuple(event["shown"]) if event.get("shown") else None,
                untouched=event.get("untouched"),
                active=None if lead is None else max(lead - (event.get("wait_seconds") or 0.0), 0.0),
                seconds=event.get("seconds"),
                is_gold=is_gold,
                is_right=is_right(job, said, (gold or {}).get(event["item"])) if is_gold and usable else None,
            )
        )
    return found


def is_right(job: str, said: Mapping[str, Any], gold: Any) -> bool | None:
    """Whether a gold item was answered as expected; None where there is nothing to compare.

    rank: the same best group. pairwise, verdict: the same verdict. rate: within one point on every axis that
    ``gold`` names. critique: faultless or not as ``gold`` says, and all its kinds of fault named. refine: the
    same decision. A demonstration is free text: None. ``gold`` is a mapping of the job's columns, or the
    answer alone: ``[[1], [0]]``, ``true``, ``["made up"]``, ``{"toxic": 5}``, ``"accept"``.
    """
    try:
        if gold is None:
            return None
        if job in RANKED:
            return _same_best(job, said["ranking"], _column(gold, "ranking"))
        if job == "rate":
            axes = _column(gold, "ratings").items()
            return all(abs(said["ratings"][axis] - points) <= RATING_SLACK for axis, points in axes)
        if job == "refine":
            return bool(said["decision"] == _column(gold, "decision"))
        return _same_faults(said, gold) if job == "critique" else None
    except (KeyError, TypeError, AttributeError, IndexError):
        return None  # a gold answer of another form


def _column(gold: Any, name: str) -> Any:
    return gold[name] if isinstance(gold, Mapping) and name in gold else gold


def _same_best(job: str, ranking: Any, gold: Any) -> bool:
    groups = 1 if job == "rank" else None  # a verdict's other group follows from the first
    return [set(group) for group in ranking[:groups]] == [set(group) for group in gold[:groups]]


def _same_faults(said: Mapping[str, Any], gold: Any) -> bool | None:
    expected: Mapping[str, Any] = gold if isinstance(gold, dict) else {"faults": gold}
    if isinstance(gold, bool):
        expected = {"is_faultless": gold}
    checks = []
    if "is_faultless" in expected:
        checks.append(bool(said["is_faultless"]) == bool(expected["is_faultless"]))
    if "faults" in expected:
        checks.append(set(expected["faults"]) <= set(said.get("faults") or ()))
    return all(checks) if checks else None


def n_typed(job: str, said: Mapping[str, Any]) -> int | None:
    """Characters that the person wrote; None where nothing was, or where a model's text was edited."""
    if job == "critique":
        remarks = sum(len(mark.get("remark") or "") for mark in said.get("marks") or ())
        text = said.get("critique") or ""
        own = 0 if said.get("is_faultless") and text == "Nothing to change." else len(text)
        return own + remarks or None
    if job in RANKED:
        return len(said.get("why") or "") or None
    if job == "demonstrate":
        return len(said.get("completion") or "") or None
    if job == "refine":
        return _typed_in_refine(said)
    return None


def _typed_in_refine(said: Mapping[str, Any]) -> int | None:
    if said.get("decision") == "criticise":
        return len(said.get("critique") or "") or None
    origin = dict(zip(said.get("refinements") or (), said.get("origins") or (), strict=False))
    preferred = said.get("preferred")
    return len(preferred) if preferred and origin.get(preferred) == "typed" else None
