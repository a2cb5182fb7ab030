"""Win rates and shares of clusters against closed forms and a general optimiser."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize
from scipy import stats as scipy_stats

from ilf import stats


def verdicts(outcomes: list[float]) -> stats.Verdicts:
    return stats.Verdicts.of([(p, 1, 0, outcome) for p, outcome in enumerate(outcomes)])


def test_a_share_of_single_verdicts_is_wilsons_with_t() -> None:
    """40 of 80, a cluster each: the score interval at t's quantile, for 79 trials."""
    found = stats.cluster_share([1, 0] * 40, range(80))
    t = float(scipy_stats.t.ppf(0.975, 79))
    for end in (found.low, found.high):
        assert end is not None
        assert abs(0.5 - end) / math.sqrt(end * (1 - end) / 79) == pytest.approx(t)


def test_verdicts_of_one_prompt_count_once_where_they_agree() -> None:
    values = [float(k % 3 == 0) for k in range(60)]
    one = stats.cluster_share(values, range(60))
    six = stats.cluster_share(np.repeat(values, 6), np.repeat(range(60), 6))
    assert (six.low, six.high, six.prompts) == pytest.approx((one.low, one.high, 60))


def test_the_standard_error_is_that_over_prompts() -> None:
    rng = np.random.default_rng(0)
    values, clusters = rng.random(50), rng.integers(0, 9, 50)
    share = values.mean()
    squares = sum((values[clusters == c] - share).sum() ** 2 for c in range(9))
    found = stats.cluster_share(values, clusters)
    assert found.standard_error == pytest.approx(math.sqrt(9 / 8 * squares) / 50)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_won_is_a_trial_a_prompt(value: float) -> None:
    found = stats.cluster_share([value] * 24, [k // 2 for k in range(24)])
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low == pytest.approx(
        1 - (0.025 / 0.6) ** (1 / (12 * (1.959964 / scipy_stats.t.ppf(0.975, 11)) ** 2)), rel=1e-4
    )
    assert value in (found.low, found.high)


def test_shares_without_an_interval_say_why() -> None:
    assert stats.cluster_share([], []).reason == "no verdicts"
    assert "one prompt" in (stats.cluster_share([1, 0], [3, 3]).reason or "")
    assert "same share" in (stats.cluster_share([1, 0, 1, 0], [3, 3, 4, 4]).reason or "")


def test_a_tie_is_half_a_win_and_the_reference_has_no_rate() -> None:
    given = stats.Verdicts.of([(0, 1, 0, 1), (1, 0, 1, 0), (2, 0, 1, 0.5), (3, 1, 0, 0), (3, 1, 2, 1)])
    rates = stats.win_rates(given, 3)
    assert rates[1].estimate == pytest.approx(2.5 / 4)
    assert rates[0].reason == "the reference"
    assert rates[2].reason == "no verdicts"


def test_at_equal_length_is_the_logistic_curve_read_at_ratio_one() -> None:
    rng = np.random.default_rng(1)
    length = rng.normal(0.4, 0.5, 120)
    rows = [(p // 2, 1 + p % 2, 0, float(rng.choice([0, 0.5, 1]))) for p in range(120)]
    y = np.array([row[3] for row in rows])

    def loss(b: stats.Cells) -> float:
        z = b[np.arange(120) % 2] + b[2] * length
        return float(np.logaddexp(0, z).sum() - (y * z).sum() + 0.0005 * (b @ b))

    expected = optimize.minimize(loss, np.zeros(3), tol=1e-10).x
    rates, slope = stats.length_controlled(stats.Verdicts.of(rows), length, 3)
    assert [rates[k].estimate for k in (1, 2)] == pytest.approx(
        list(1 / (1 + np.exp(-expected[:2]))), abs=1e-5
    )
    assert slope.estimate == pytest.approx(expected[2], abs=1e-4)
    turned = stats.Verdicts.of([(p, j, i, 1 - o) for p, i, j, o in rows])
    assert stats.length_controlled(turned, -length, 3)[0] == rates


def test_equal_lengths_leave_the_raw_rate_with_its_binomial_error() -> None:
    given = verdicts([1.0] * 70 + [0.0] * 30)
    rates, _ = stats.length_controlled(given, np.zeros(100), 2, ridge=1e-9)
    reach = scipy_stats.t.ppf(0.975, 99) / math.sqrt(100 * 0.21) * math.sqrt(100 / 99)
    odds = math.log(7 / 3)
    assert rates[1].estimate == pytest.approx(0.7)
    assert (rates[1].low, rates[1].high) == pytest.approx(
        (1 / (1 + math.exp(reach - odds)), 1 / (1 + math.exp(-reach - odds)))
    )


def test_verdicts_that_go_by_length_alone_make_no_better_arm_at_equal_length() -> None:
    rng = np.random.default_rng(2)
    length = math.log(1.5) + 0.4 * rng.normal(size=500)
    given = verdicts([float(w) for w in rng.random(500) < 1 / (1 + np.exp(-3 * length))])
    raw, (rates, slope) = stats.win_rates(given, 2)[1], stats.length_controlled(given, length, 2)
    assert (raw.low or 0) > 0.6
    assert (rates[1].low or 1) < 0.5 < (rates[1].high or 0)
    assert (slope.low or 0) < 3 < (slope.high or 0)


def test_what_cannot_be_controlled_says_so() -> None:
    assert "every verdict" in (
        stats.length_controlled(verdicts([1.0] * 9), np.arange(9.0), 2)[0][1].reason or ""
    )
    with pytest.raises(ValueError, match="log_length"):
        stats.length_controlled(verdicts([1.0, 0.0]), [math.nan, 0], 2)
    with pytest.raises(ValueError, match="fewer than two prompts"):
        stats.length_controlled(stats.Verdicts.of([(0, 0, 1, 1.0)]), [0.1], 2)
