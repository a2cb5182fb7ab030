"""Response preference by a reward model that no arm was trained on."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ilf.graders._parts import as_component_error, rounded, sigmoid
from ilf.protocols import Grade, Row
from rankers.reward import Reward as RewardRanker


@dataclass(frozen=True)
class Reward:
    """Preference in the eyes of a reward model: part ``reward``, and ``grade`` the probability it stands for.

    Under Bradley-Terry ``grade`` = sigmoid(reward): the probability that people as the model knows them
    prefer the text to one of reward 0, the mean of the texts that it was trained on; with ``against``, to the
    text in that column (sigmoid of the difference). ``reward`` itself has no unit that two models share. A
    policy tuned on a reward model gets good marks from it for bad texts (Gao et al. 2023, 2210.10760), so
    name one that was HELD OUT: trained on other comparisons than those that any arm learnt from.
    """

    reward: str
    """The reward model: a folder, a hub id or a step (``steps.X``)."""
    against: str = ""
    """Column of the text to be preferred to; the grade is None where a row has none."""
    chat: Literal["auto", "never"] = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"
    batch_size: int = field(default=16, compare=False)

    revision: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that are read besides the text."""
        return ("prompt", *((self.against,) if self.against else ()))

    @functools.cached_property
    def _ranker(self) -> RewardRanker:
        return RewardRanker(
            model=self.reward,
            chat=self.chat,
            dtype=self.dtype,
            device=self.device,
            batch_size=self.batch_size,
        )

    def grade(self, rows: Sequence[Row]) -> list[Grade]:
        """One verdict per row; None with a reason where the text does not fit into the model.

        Raises ComponentError where there is no such reward model.
        """
        if not rows:
            return []
        candidates = [[row["output"], *self._other(row)] for row in rows]
        with as_component_error():
            scores = self._ranker.score(rows, candidates)
        return [self._verdict(row, marks) for row, marks in zip(rows, scores, strict=True)]

    def _other(self, row: Row) -> list[str]:
        other = row.get(self.against) if self.against else None
        return [other] if isinstance(other, str) else []

    def _verdict(self, row: Row, marks: Sequence[float]) -> Grade:
        own = rounded(marks[0])
        if own is None:
            return {"grade": None, "reward": None, "reason": "the text does not fit into the reward model"}
        if not self.against:
            return {"grade": rounded(sigmoid(own)), "reward": own}
        if len(marks) < 2:
            return {"grade": None, "reward": own, "reason": f"no text in '{self.against}'"}
        if not math.isfinite(marks[1]):
            return {
                "grade": None,
                "reward": own,
                "reason": f"'{self.against}' does not fit into the reward model",
            }
        return {"grade": rounded(sigmoid(marks[0] - marks[1])), "reward": own}
