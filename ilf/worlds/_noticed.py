"""Which of the faults that are there an annotator of a closed world names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def noticed(
    found: Sequence[T], which: str, is_tone: Callable[[T], bool], without: Callable[[T], float]
) -> list[T]:
    """All, ``tone`` or ``facts`` alone, or ``one``: the one ``without`` which the grade is highest."""
    if which == "one":
        return [max(found, key=without)] if found else []
    return [fault for fault in found if which == "all" or is_tone(fault) == (which == "tone")]
