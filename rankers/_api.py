"""What a ranker is, and the two small helpers that turn its scores into an order or a pick."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

Query = Mapping[str, Any]

#: Scores are compared after rounding, so that vectors from a cache and fresh ones pick alike.
DECIMALS = 6


class RankerError(ValueError):
    """A ranker cannot do its work; the message says what is missing and what to do."""


@runtime_checkable
class Ranker(Protocol):
    """Scores candidate texts of a query."""

    def score(self, queries: Sequence[Query], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """One float per candidate, higher is better; a query is a row with ``prompt``, ``critique`` ..."""
        ...


class Pick(NamedTuple):
    """The index of the best candidate, and whether others had the same score."""

    candidate: int
    is_tied: bool


def rank(ranker: Ranker, query: Query, candidates: Sequence[str], seed: int | str = 0) -> list[int]:
    """Indices of the candidates, best first; ties in an order drawn from ``seed``, unknown scores (NaN) last.

    Raises RankerError where there is no candidate, or none with a score.
    """
    if not candidates:
        raise RankerError(f"query {query.get('id', '(without id)')!r}: there is no candidate to rank.")
    scores = ranker.score([query], [candidates])[0]
    try:
        return _order(scores, seed)
    except RankerError as error:
        raise RankerError(f"query {query.get('id', '(without id)')!r}: {error}") from None


def best(scores: Sequence[float | None], seed: int | str = 0) -> Pick:
    """The index of the highest score, and whether it was tied; a tie is broken uniformly by ``seed``.

    Scores are compared after rounding to six decimals; None and NaN never win. RankerError where nothing else
    is left.
    """
    first = _order(scores, seed)[0]
    top = _rounded(scores[first])
    return Pick(first, sum(_rounded(score) == top for score in scores) > 1)


def missing_model(ranker: Any) -> str | None:
    """Why a ranker (or a member of an ensemble) cannot work: it needs a model and none was given.

    Costs nothing: settings are looked at, nothing is loaded. None where no model is missing.
    """
    for member in getattr(ranker, "members", ()):
        if problem := missing_model(member):
            return problem
    if getattr(ranker, "model", None) == "":
        return f"{type(ranker).__name__} needs model=<folder or hub id>"
    return None


def text_of(query: Query, column: str, ranker: str) -> str:
    """A text column of a query, messages as ``role: content`` lines; RankerError names query and column."""
    value = query.get(column)
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence) and value:
        return messages_text(value)
    raise RankerError(f"{ranker}: query {query.get('id', '(without id)')!r} has no {column}.")


def critique_of(query: Query, ranker: str) -> str | None:
    """The critique, or None where the row holds none: its candidates tie; RankerError without the column."""
    if "critique" not in query:
        return text_of(query, "critique", ranker)
    return text_of(query, "critique", ranker) if query["critique"] else None


def messages_text(prompt: Any) -> str:
    """A prompt as text: a string as it is, messages as ``role: content`` lines."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{message['role']}: {message['content']}" for message in prompt)


def regrouped(scores: Sequence[float], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
    """A flat list of scores, one per candidate, as one list per query."""
    flat = iter(scores)
    return [[next(flat) for _ in texts] for texts in candidates]


def _rounded(score: float | None) -> float:
    """NaN for what is unknown; adding 0.0 makes -0.0 equal to 0.0 in print too."""
    return math.nan if score is None or math.isnan(score) else round(float(score), DECIMALS) + 0.0


def _order(scores: Sequence[float | None], seed: int | str) -> list[int]:
    rounded = [_rounded(score) for score in scores]
    if not scores:
        raise RankerError("there is no candidate to choose from.")
    if all(math.isnan(score) for score in rounded):
        raise RankerError(f"none of the {len(scores)} candidates has a score (all are None or NaN).")
    rng = random.Random(seed)
    lots = [rng.random() for _ in scores]
    known = sorted(
        (i for i, s in enumerate(rounded) if not math.isnan(s)),
        key=lambda i: (rounded[i], lots[i]),
        reverse=True,
    )
    return known + [i for i, s in enumerate(rounded) if math.isnan(s)]
