"""The bar that every ranker has to clear first."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rankers._api import Query, RankerError


@dataclass(frozen=True)
class Chance:
    """A uniform draw from the seed, the query's id and the candidate's place: the control of them all."""

    seed: int = 0

    needs_critique: ClassVar[bool] = False
    revision: ClassVar[int] = 1

    def score(self, queries: Sequence[Query], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """Reads ``id`` alone, so neither the texts nor the order of queries matter."""
        return [
            [self._draw(query, i) for i in range(len(texts))]
            for query, texts in zip(queries, candidates, strict=True)
        ]

    def _draw(self, query: Query, index: int) -> float:
        if query.get("id") is None:
            raise RankerError("chance: a query has no id, and its draw depends on the id alone.")
        return random.Random(f"{self.seed}:{query['id']}:{index}").random()
