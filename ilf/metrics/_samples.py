"""What n of the samples at hand are expected to do: unbiased, every choice of n counted.

Both are means over all subsets of n samples without repetition (U-statistics), so their expectation is that
of n fresh samples whatever the number at hand; with n samples they are the plain maximum and "any".
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def expected_max(values: Sequence[float], n: int) -> float:
    """Mean over all choices of n values of the largest: sum of x_(i) C(i - 1, n - 1) / C(m, n), x ascending.

    ValueError where there are fewer than n.
    """
    total = _choices(len(values), n)
    return math.fsum(x * math.comb(i, n - 1) / total for i, x in enumerate(sorted(values)))


def any_of_n(hits: Sequence[bool], n: int) -> float:
    """Share of all choices of n samples that hold a hit: 1 - C(m - k, n) / C(m, n) for k hits among m.

    The estimator of pass@k (Chen et al. 2021, 2107.03374, equation 1). ValueError for fewer than n.
    """
    total = _choices(len(hits), n)
    return 1 - math.comb(len(hits) - sum(hits), n) / total


def _choices(m: int, n: int) -> int:
    if not 1 <= n <= m:
        raise ValueError(f"{n} of {m} samples cannot be chosen")
    return math.comb(m, n)
