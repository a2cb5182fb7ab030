"""Kendall's tau against its definition and scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from ilf import stats

pairs_of_values = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=0, max_size=12)


@given(pairs_of_values)
def test_kendall_is_its_definition_over_all_pairs(pairs: list[tuple[int, int]]) -> None:
    first, second = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    agree = differ = tied_first = tied_second = 0
    for (a, b), (c, d) in itertools.combinations(pairs, 2):
        tied_first += a == c
        tied_second += b == d
        agree += (a - c) * (b - d) > 0
        differ += (a - c) * (b - d) < 0
    every = len(pairs) * (len(pairs) - 1) // 2
    found = stats.kendall_tau_b(first, second)
    if tied_first == every or tied_second == every:
        assert found is None
    else:
        expected = (agree - differ) / math.sqrt((every - tied_first) * (every - tied_second))
        assert found == pytest.approx(expected)


def test_kendall_is_scipys_and_refuses_unequal_lengths() -> None:
    rng = np.random.default_rng(12)
    first, second = rng.integers(0, 9, 40).tolist(), rng.integers(0, 9, 40).tolist()
    assert stats.kendall_tau_b(first, second) == pytest.approx(
        scipy_stats.kendalltau(first, second).statistic
    )
    with pytest.raises(ValueError, match="2 values against 1"):
        stats.kendall_tau_b([1, 2], [1])
