"""Texts as their words: tf-idf vectors and the nearest of many texts, without a model."""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from rankers._api import DECIMALS

_WORD = re.compile(r"\w+")

Vector = Mapping[str, float]


def words_of(text: str) -> list[str]:
    """The words of a text in their order, without case and punctuation.

    Where a language puts no spaces between words, a whole clause is one of them.
    """
    return _WORD.findall(text.casefold())


class Words:
    """Texts as unit vectors over their words: count * (ln((1 + n) / (1 + texts with the word)) + 1).

    The weights are those of Salton and Buckley 1988 (term count times inverse document frequency), smoothed
    so that a word of all texts, or of none, has one, too.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._n = len(texts)
        counts = [Counter(words_of(text)) for text in texts]
        self._with = Counter(word for count in counts for word in count)
        self.vectors: list[dict[str, float]] = [self._unit(count) for count in counts]
        self._at: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for i, vector in enumerate(self.vectors):
            for word, weight in vector.items():
                self._at[word].append((i, weight))

    def vector(self, text: str) -> dict[str, float]:
        """The unit vector of any text, weighted as these are; empty for a text without words."""
        return self._unit(Counter(words_of(text)))

    def nearest(self, text: str, k: int) -> list[int]:
        """Indices of the ``k`` texts with the highest cosine to ``text``, best first; of equals the first."""
        scores: dict[int, float] = defaultdict(float)
        for word, weight in self.vector(text).items():
            for i, other in self._at.get(word, ()):
                scores[i] += weight * other
        return heapq.nsmallest(
            k, range(self._n), key=lambda i: (-round(scores[i], DECIMALS) if i in scores else 0.0, i)
        )

    def _unit(self, count: Counter[str]) -> dict[str, float]:
        raw = {word: n * (math.log((1 + self._n) / (1 + self._with[word])) + 1) for word, n in count.items()}
        norm = math.sqrt(math.fsum(weight * weight for weight in raw.values()))
        return {word: weight / norm for word, weight in raw.items()}


def dot(one: Vector, other: Vector) -> float:
    """Sum over common words; the cosine where both are unit vectors."""
    if len(one) > len(other):
        one, other = other, one
    return math.fsum(weight * other[word] for word, weight in one.items() if word in other)
