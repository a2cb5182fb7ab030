"""What a finished step comes to, in a few numbers: grades, people's hours, ties, the last loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ilf.commands._terminal import hours, number
from ilf.protocols import Row


@dataclass
class Mean:
    """A running mean; None and texts are counted apart."""

    total: float = 0.0
    n: int = 0
    unknown: int = 0
    whole: bool = True

    def add(self, value: object) -> None:
        """Takes one value."""
        if isinstance(value, (int, float)):
            self.total, self.n = self.total + float(value), self.n + 1
            self.whole = self.whole and float(value) in (0.0, 1.0)
        else:
            self.unknown += 1

    @property
    def mean(self) -> float | None:
        """The mean of the numbers, or None without any."""
        return self.total / self.n if self.n else None


@dataclass
class Grades:
    """Mean grade and parts over a step's rows, one pass, flat memory."""

    grade: Mean = field(default_factory=Mean)
    parts: dict[str, Mean] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Takes one graded row; a row with several texts counts each."""
        for grade in row.get("grades", [row["grade"]]):
            self.grade.add(grade)
        for name, value in (row.get("parts") or {}).items():
            self.parts.setdefault(name, Mean()).add(value)
        for reason in row.get("reasons") or ():
            self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def as_json(self) -> dict[str, Any]:
        """The object that ``--json`` prints."""
        known = {"grade": self.grade.mean, "graded_texts": self.grade.n, "ungraded_texts": self.grade.unknown}
        if self.grade.whole and self.grade.n:
            known["passed"] = round(self.grade.total)
        parts = {name: found.mean for name, found in self.parts.items()}
        return {**known, "parts": parts, "reasons": dict(self.reasons)}


def summary(verb: str, rows: Sequence[Row]) -> dict[str, Any]:
    """A step's numbers by its verb; an empty dict where the number of rows says all."""
    if verb == "evaluate":
        grades = Grades()
        for row in rows:
            grades.add(row)
        return grades.as_json()
    if verb == "collect":
        return _people(rows)
    if verb == "choose":
        by_people = sum(row.get("picked_by") is not None for row in rows)
        return {"ties": sum(bool(row.get("is_tied")) for row in rows), "by_people": by_people}
    if verb == "train" and len(rows):
        return {"last": {key: value for key, value in rows[-1].items() if isinstance(value, (int, float))}}
    return {}


def _people(rows: Sequence[Row]) -> dict[str, Any]:
    priced = {row["annotation_id"]: row.get("seconds") for row in rows if "annotation_id" in row}
    known = [seconds for seconds in priced.values() if seconds is not None]
    return {
        "human_seconds": sum(known),
        "annotations": len(priced),
        "without_seconds": len(priced) - len(known),
    }


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A summary as lines for a person."""
    if "graded_texts" in found:
        yield from _grade_lines(found)
    if "human_seconds" in found:
        unknown = found["without_seconds"]
        apart = f" ({unknown} of {found['annotations']} annotations without a time)" if unknown else ""
        yield f"{hours(found['human_seconds'])} hours of people{apart}"
    if found.get("ties"):
        yield f"{found['ties']} ties, broken by seed"
    if found.get("by_people"):
        yield f"{found['by_people']} picked by people"
    if found.get("last"):
        yield "   ".join(f"{name} {number(value)}" for name, value in found["last"].items())


def _grade_lines(found: Mapping[str, Any]) -> Iterator[str]:
    passed = f" ({found['passed']} of {found['graded_texts']})" if "passed" in found else ""
    if found["grade"] is None:
        yield f"no grade: none of {found['ungraded_texts']} texts could be graded"
    else:
        yield f"mean grade {number(found['grade'])}{passed} over {found['graded_texts']} texts"
    if found["parts"]:
        yield "   ".join(f"{name} {number(value)}" for name, value in found["parts"].items())
    if found["ungraded_texts"] and found["grade"] is not None:
        yield f"{found['ungraded_texts']} texts could not be graded"
    kinds: dict[str, int] = {}
    for reason, count in found["reasons"].items():
        # "wrong answer: f(2) is 3, not 4" is one of its kind; the rows hold the particulars.
        kind = reason.partition(":")[0]
        kinds[kind] = kinds.get(kind, 0) + count
    for kind, count in kinds.items():
        yield f"{kind} ({count} rows)"
