"""Several graders of the same texts, so that all their parts stand beside one grade."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ilf.errors import UsageError
from ilf.protocols import Grade, Grader, Row


@dataclass(frozen=True)
class Combined:
    """The first grader's ``grade``, and the parts of all: what a comparison's axes are read from.

    ``graders: [rouge, lexicon, {name: reward, reward: steps.held_out}]`` measures overlap, toxicity and
    preference on the same answers. What the first cannot grade keeps the parts of the others.
    """

    graders: tuple[Grader, ...]
    """The first gives the grade; no two may have a part of the same name."""

    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuses an empty list."""
        if not self.graders:
            raise UsageError("combined.graders: name at least one grader.")

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that the graders read besides the text."""
        return tuple(dict.fromkeys(name for one in self.graders for name in getattr(one, "needs", ())))

    def grade(self, rows: Sequence[Row]) -> list[Grade]:
        """One verdict per row; UsageError where two graders have a part of the same name."""
        return [
            _joined(verdicts) for verdicts in zip(*(one.grade(rows) for one in self.graders), strict=True)
        ]


def _joined(verdicts: Sequence[Grade]) -> Grade:
    joined: dict[str, Any] = {"grade": verdicts[0]["grade"]}
    for verdict in verdicts:
        parts = {name: value for name, value in verdict.items() if name not in ("grade", "reason")}
        twice = [name for name in parts if name in joined]
        if twice:
            raise UsageError(
                f"combined.graders: two have a part '{twice[0]}'; call one otherwise (their setting 'part')."
            )
        joined |= parts
    reasons = dict.fromkeys(str(verdict["reason"]) for verdict in verdicts if verdict.get("reason"))
    return {**joined, "reason": "; ".join(reasons)} if reasons else joined
