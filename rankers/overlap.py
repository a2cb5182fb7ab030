"""Nearness to the text that was criticised, without a model."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from rankers._api import Query, text_of


@dataclass(frozen=True)
class Overlap:
    """How much of the output a candidate keeps, in [0, 1]: guards against rewrites, or against copies.

    ``rouge_l``: F1 of the longest common subsequence of tokens (Lin 2004); ``token_f1``: F1 of the bags of
    tokens, order ignored; ``ratio``: ``difflib``'s ratio of matching characters. Tokens are lower-cased runs
    of letters and digits.
    """

    measure: Literal["rouge_l", "token_f1", "ratio"] = "rouge_l"
    prefer: Literal["near", "far"] = "near"
    """``far`` scores 1 - overlap."""

    needs_critique: ClassVar[bool] = False
    revision: ClassVar[int] = 1

    def score(self, queries: Sequence[Query], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """Overlap of every candidate with its query's ``output``."""
        measure = {"rouge_l": rouge_l, "token_f1": token_f1, "ratio": ratio}[self.measure]
        scores = []
        for query, texts in zip(queries, candidates, strict=True):
            output = text_of(query, "output", "overlap") if texts else ""
            values = {text: measure(output, text) for text in dict.fromkeys(texts)}
            scores.append([values[text] if self.prefer == "near" else 1.0 - values[text] for text in texts])
        return scores


def rouge_l(a: str, b: str) -> float:
    """F1 of the longest common subsequence of tokens, in [0, 1]; two texts without tokens overlap wholly."""
    left, right = _tokens(a), _tokens(b)
    return _f1(_common_subsequence(left, right), len(left), len(right))


def token_f1(a: str, b: str) -> float:
    """F1 of the bags of tokens, in [0, 1]; two texts without tokens overlap wholly."""
    left, right = _tokens(a), _tokens(b)
    return _f1((Counter(left) & Counter(right)).total(), len(left), len(right))


def ratio(a: str, b: str) -> float:
    """``difflib`` ratio of characters, in [0, 1]; not symmetric, ``a`` is the text that was criticised."""
    return difflib.SequenceMatcher(None, a, b, autojunk=False).ratio()


def _tokens(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def _f1(common: int, left: int, right: int) -> float:
    return 2 * common / (left + right) if left + right else 1.0


def _common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    row = [0] * (len(right) + 1)
    for token in left:
        diagonal = 0
        for j, other in enumerate(right, 1):
            diagonal, row[j] = row[j], diagonal + 1 if token == other else max(row[j], row[j - 1])
    return row[-1]
