"""Shuffles without a fixed point: every row gets what another row has."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def others(values: Sequence[T], seed: int) -> list[T]:
    """The values in another order: one cycle through all places, so that none keeps its own.

    Sattolo's algorithm (1986); ``seed`` draws the cycle. A single value stays where it is.
    """
    order = list(range(len(values)))
    rng = random.Random(seed)
    for i in range(len(order) - 1, 0, -1):
        j = rng.randrange(i)
        order[i], order[j] = order[j], order[i]
    return [values[j] for j in order]
