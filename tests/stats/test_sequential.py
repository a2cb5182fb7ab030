"""The confidence sequence against its formula, and what ten looks do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize
from scipy import stats as scipy_stats

from ilf import stats


def test_the_formula_of_the_paper_with_its_rho_tightest_at_the_planned_prompts() -> None:
    """Waudby-Smith et al., theorem 2.2: sd sqrt(2 (t r2 + 1) / (t2 r2) log(sqrt(t r2 + 1) / alpha))."""
    values = np.random.default_rng(0).normal(0.2, 1, 70)
    t, planned = 70, 200

    def reach(rho2: float, t: int) -> float:
        return math.sqrt(2 * (t * rho2 + 1) / (t**2 * rho2) * math.log(math.sqrt(t * rho2 + 1) / 0.05))

    best = optimize.minimize_scalar(
        lambda log: reach(math.exp(log), planned), bounds=(-12, 2), method="bounded", options={"xatol": 1e-10}
    )
    width = reach(math.exp(best.x), t) * values.std(ddof=1) * scipy_stats.t.ppf(0.975, 69) / 1.959963985
    found = stats.confidence_sequence(values, planned)
    assert (found.low, found.high) == pytest.approx((values.mean() - width, values.mean() + width), rel=1e-6)


def test_p_is_five_percent_where_the_sequence_ends() -> None:
    values = np.random.default_rng(1).normal(size=50)
    found = stats.confidence_sequence(values, 100)
    assert found.low is not None
    assert stats.confidence_sequence(values - found.low, 100).p == pytest.approx(0.05)
    assert stats.confidence_sequence(values - values.mean(), 100).p == 1


def test_it_is_wider_than_one_look_and_no_wider_than_need_be() -> None:
    values = np.random.default_rng(2).normal(size=200)
    found, once = stats.confidence_sequence(values, 200), stats.paired_interval(values[:, None])
    assert found.low is not None
    assert found.high is not None
    assert once.low is not None
    assert once.high is not None
    assert 1.4 < (found.high - found.low) / (once.high - once.low) < 1.6


def test_seeds_are_averaged_within_a_prompt() -> None:
    cells = np.random.default_rng(3).normal(size=(30, 3))
    assert stats.confidence_sequence(cells, 30) == stats.confidence_sequence(cells.mean(axis=1), 30)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros(0), "0 prompts: no look before 20"),
        (np.arange(19.0), "19 prompts: no look before 20"),
        (np.ones(20), "20 values are equal"),
        (np.array([math.nan] * 30), "lacks a grade"),
    ],
)
def test_no_look_without_an_interval(values: stats.Cells, reason: str) -> None:
    found = stats.confidence_sequence(values, 100)
    assert found.reason is not None
    assert reason in found.reason
    assert (found.low, found.high, found.p) == (None, None, None)


def test_what_it_cannot_read_is_refused() -> None:
    with pytest.raises(ValueError, match="one value a prompt"):
        stats.confidence_sequence(np.zeros((30, 2, 2)), 100)
    with pytest.raises(ValueError, match="planned >= 1"):
        stats.confidence_sequence(np.zeros(30), 0)


def test_an_ordinary_verdict_waits_for_the_planned_prompts() -> None:
    assert not stats.verdict_allowed(99, 100)
    assert stats.verdict_allowed(100, 100)


@pytest.mark.parametrize("planned", [60, 300])
def test_ten_looks_make_no_false_winners(planned: int) -> None:
    rng = np.random.default_rng(4)
    at = np.linspace(20, planned, 10).astype(int)
    wrong = naive = 0
    for _ in range(200):
        values = rng.normal(size=planned)
        wrong += any((stats.confidence_sequence(values[:n], planned).p or 1) < 0.05 for n in at)
        naive += any((stats.paired_interval(values[:n, None]).p or 1) < 0.05 for n in at)
    assert wrong <= 10
    assert naive > 20
