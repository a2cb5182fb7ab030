"""A ranker that always fails."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ilf.errors import ComponentError


@dataclass(frozen=True)
class Broken:
    """Fails."""

    revision = 1

    def score(self, queries: Sequence[Any], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        raise ComponentError("this ranker never works; choose another.")
