"""What a language-model ranker asks about: a case per candidate, and the forms it is written into."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import NamedTuple

from rankers._api import Query, RankerError, critique_of, text_of

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_KNOWN = ("prompt", "output", "critique", "refinement")


class Case(NamedTuple):
    """One candidate of one query, with the texts of the query that the forms name."""

    query: int
    place: int
    text: str
    fields: dict[str, str]


def placeholders(*forms: str) -> set[str]:
    """Names in braces in prompt forms."""
    return {name for form in forms for name in _PLACEHOLDER.findall(form)}


def check_form(form: str, setting: str) -> None:
    """RankerError for a placeholder that no row can fill, with the nearest one that can."""
    for name in sorted(placeholders(form) - set(_KNOWN)):
        near = difflib.get_close_matches(name, _KNOWN, n=1, cutoff=0.5)
        hint = f" Did you mean {{{near[0]}}}?" if near else ""
        raise RankerError(f"{setting}: nothing fills {{{name}}}.{hint} Known: {', '.join(_KNOWN)}")


def cases(
    queries: Sequence[Query], candidates: Sequence[Sequence[str]], columns: set[str], ranker: str
) -> list[Case]:
    """A case per candidate, by query; where ``columns`` has the critique, none for a query without one."""
    found: list[Case] = []
    for i, (query, texts) in enumerate(zip(queries, candidates, strict=True)):
        if not texts or ("critique" in columns and critique_of(query, ranker) is None):
            continue
        fields = {column: text_of(query, column, ranker) for column in columns}
        found.extend(Case(i, place, text, fields) for place, text in enumerate(texts))
    return found


def spread(
    scores: Sequence[float], asked: Sequence[Case], candidates: Sequence[Sequence[str]]
) -> list[list[float]]:
    """Scores of cases in the shape of the candidates; where nothing was asked all tie at 0."""
    shaped = [[0.0] * len(texts) for texts in candidates]
    for case, score in zip(asked, scores, strict=True):
        shaped[case.query][case.place] = score
    return shaped
