"""Power against the noncentral t, and against simulation of the test that is printed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from ilf import stats
from ilf.stats.power import _chi_square, _t_edges

SPREAD = stats.Spread(0.3, 0.1, 0.3)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 12])
def test_with_one_seed_it_is_the_noncentral_t(alpha: float) -> None:
    for prompts, effect in ((8, 0.5), (30, 0.2), (200, 0.05)):
        edge = scipy_stats.t.ppf(1 - alpha / 2, prompts - 1)
        shift = effect / (0.5 / prompts**0.5)
        expected = scipy_stats.nct.sf(edge, prompts - 1, shift) + scipy_stats.nct.cdf(
            -edge, prompts - 1, shift
        )
        found = stats.power(effect, stats.Spread(0.4, 0.0, 0.3), prompts, 1, alpha=alpha)
        assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("df", [1, 2, 7, 99, 2000])
def test_the_grid_of_a_mean_square_has_the_chi_squares_moments(df: int) -> None:
    values, weights = _chi_square(df, 96)
    assert weights.sum() == pytest.approx(1)
    assert weights @ values == pytest.approx(1, abs=1e-5)
    assert weights @ values**2 == pytest.approx(1 + 2 / df, abs=1e-4)
    assert weights @ np.log(values) == pytest.approx(
        scipy_stats.chi2(df).expect(np.log) - np.log(df), abs=2e-3 if df == 1 else 1e-4
    )


def test_edges_read_off_the_table_are_ts() -> None:
    df = np.array([0.6, 1.0, 2.3, 17.0, 400.0, 1e5])
    np.testing.assert_allclose(_t_edges(df, 0.05), scipy_stats.t.ppf(0.975, df), rtol=2e-3)


@pytest.mark.parametrize(
    ("prompts", "seeds", "sds", "effect", "arms"),
    [
        (100, 3, (0.3, 0.1, 0.3), 0.25, 0),
        (16, 3, (0.3, 0.05, 0.3), 0.28, 0),
        (12, 5, (0.05, 0.1, 0.3), 0.2, 0),
        (40, 3, (0.05, 0.02, 0.3), 0.08, 6),
    ],
)
def test_it_is_the_share_of_experiments_that_see_the_effect(
    prompts: int, seeds: int, sds: tuple[float, float, float], effect: float, arms: int
) -> None:
    rng = np.random.default_rng(prompts)
    shape = (max(arms, 2), prompts, seeds)
    seen = []
    for _ in range(1500):
        p, s, r = (sd / 2**0.5 for sd in sds)
        grades = (
            p * rng.normal(size=(shape[0], prompts, 1))
            + s * rng.normal(size=(shape[0], 1, seeds))
            + r * rng.normal(size=shape)
        )
        pooled = stats.pooled_arm_by_seed(grades) if arms else None
        found = stats.paired_interval(grades[1] - grades[0] + effect, pooled).p
        seen.append(found is not None and found < 0.05)
    expected = stats.power(effect, stats.Spread(*sds), prompts, seeds, trained_arms=arms or None)
    assert 0.4 < expected < 0.9
    assert expected == pytest.approx(np.mean(seen), abs=0.03 + 2 * (0.24 / 1500) ** 0.5)


def test_no_effect_is_seen_as_often_as_alpha_says() -> None:
    for seeds in (3, 5, 10):
        assert 0.02 < stats.power(0.0, SPREAD, 100, seeds) < 0.065


def test_more_of_everything_sees_more_and_a_larger_family_less() -> None:
    base = stats.power(0.2, SPREAD, 50, 3)
    assert stats.power(0.2, SPREAD, 100, 3) > base
    assert stats.power(0.2, SPREAD, 50, 5) > base
    assert stats.power(0.3, SPREAD, 50, 3) > base
    assert stats.power(-0.2, SPREAD, 50, 3) == base
    assert stats.power(0.2, SPREAD, 50, 3, trained_arms=12) > base
    assert stats.power(0.2, SPREAD, 50, 3, comparisons=12) < base
    assert stats.power(0.2, SPREAD, 50, 3, comparisons=12) == stats.power(0.2, SPREAD, 50, 3, alpha=0.05 / 12)


def test_the_smallest_effect_is_where_power_is_reached() -> None:
    for arms, comparisons in ((None, 1), (12, 11)):
        effect = stats.smallest_effect(SPREAD, 60, 3, trained_arms=arms, comparisons=comparisons)
        found = stats.power(effect, SPREAD, 60, 3, trained_arms=arms, comparisons=comparisons)
        assert found == pytest.approx(0.8, abs=1e-6)


def test_prompts_needed_is_the_first_number_that_is_enough() -> None:
    needed = stats.prompts_needed(0.2, SPREAD, 5)
    assert needed is not None
    assert stats.power(0.2, SPREAD, needed, 5) >= 0.8 > stats.power(0.2, SPREAD, needed - 1, 5)


def test_no_number_of_prompts_makes_up_for_few_seeds() -> None:
    assert stats.prompts_needed(0.2, SPREAD, 3) is None
    assert stats.prompts_needed(0.2, SPREAD, 3, trained_arms=40) is not None


def test_the_spread_of_a_pilot_is_that_of_its_making() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        cells = rng.normal(size=(30, 1)) + 0.5 * rng.normal(size=(1, 6)) + 0.8 * rng.normal(size=(30, 6))
        one = stats.spread_of(cells)
        found.append((one.prompt_sd**2, one.seed_sd**2, one.rest_sd**2))
    assert np.mean(found, axis=0) == pytest.approx((1, 0.25, 0.64), rel=0.06)


def test_a_component_below_zero_is_zero_and_pooling_gives_the_seeds() -> None:
    cells = np.random.default_rng(1).normal(size=(10, 3))
    flat = cells - cells.mean(axis=0) - cells.mean(axis=1, keepdims=True)
    assert stats.spread_of(flat).seed_sd == stats.spread_of(flat).prompt_sd == 0
    pooled = stats.MeanSquare(value=5.0, df=10, residual=1.0, residual_df=90, arms=6)
    assert stats.spread_of(flat, pooled).seed_sd == pytest.approx((4 / 10) ** 0.5)


def test_designs_without_a_test_are_refused() -> None:
    with pytest.raises(ValueError, match="seed_sd must be 0"):
        stats.power(0.1, SPREAD, 50, 1)
    with pytest.raises(ValueError, match="1 prompts"):
        stats.power(0.1, SPREAD, 1, 3)
    for table in (np.ones((5, 1)), np.ones((1, 5)), np.full((3, 3), np.nan), np.ones(4)):
        with pytest.raises(ValueError, match="pilot"):
            stats.spread_of(table)


def test_without_any_spread_every_effect_is_seen() -> None:
    still = stats.Spread(0.0, 0.0, 0.0)
    assert stats.power(0.1, still, 10, 3) == 1
    assert stats.power(0.0, still, 10, 3) == 0
    assert stats.smallest_effect(still, 10, 3) == 0
