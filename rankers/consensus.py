"""What most candidates agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar, Literal

from rankers._api import Query
from rankers.overlap import ratio, rouge_l, token_f1


@dataclass(frozen=True)
class Consensus:
    """Mean overlap with the other candidates: minimum Bayes risk among samples, without a model.

    After Kumar and Byrne 2004, with a text's overlap for its gain. It reads neither critique nor prompt; what
    the refiner was told reaches it through the candidates alone, so it is a bar for rankers that read the
    critique. A candidate without others has 0.
    """

    measure: Literal["rouge_l", "token_f1", "ratio"] = "rouge_l"
    """As in ``overlap``."""

    needs_critique: ClassVar[bool] = False
    revision: ClassVar[int] = 1

    def score(self, queries: Sequence[Query], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """Mean overlap in [0, 1] of every candidate with the others of its query."""
        measure = {"rouge_l": rouge_l, "token_f1": token_f1, "ratio": ratio}[self.measure]
        scores = []
        for _, texts in zip(queries, candidates, strict=True):
            distinct = list(dict.fromkeys(texts))
            gain = {(a, b): measure(b, a) for a in distinct for b in distinct}
            scores.append(
                [
                    fmean(gain[text, other] for j, other in enumerate(texts) if j != i)
                    if len(texts) > 1
                    else 0.0
                    for i, text in enumerate(texts)
                ]
            )
        return scores
