"""Prediction-powered inference and the judge's card against their definitions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from ilf import stats


def drawn(n: int, rest: int, seed: int = 0) -> tuple[stats.Cells, stats.Cells, stats.Cells]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n + rest)
    said = 0.7 * truth + 0.4 * rng.normal(size=n + rest) + 0.5
    return truth[:n], said[:n], said[n:]


def test_the_mean_is_that_of_the_paper_with_the_weight_of_the_other_folds() -> None:
    human, judge, rest = drawn(25, 300)
    left, weights = [], []
    for i in range(25):
        others = [k for k in range(25) if k % 5 != i % 5]
        cov = np.cov(human[others], judge[others])
        weight = min(1, max(0, cov[0, 1] / cov[1, 1] / (1 + len(others) / 300)))
        weights.append(weight)
        left.append(human[i] - weight * judge[i])
    found = stats.prediction_powered_mean(human, judge, rest)
    assert found.estimate == pytest.approx(np.mean(left) + np.mean(weights) * rest.mean())
    of_human = np.var(left) * 25 / 23 / 25
    of_judge = np.mean(weights) ** 2 * rest.var(ddof=1) / 300
    assert found.standard_error == pytest.approx(math.sqrt(of_human + of_judge))
    df = (of_human + of_judge) ** 2 / (of_human**2 / 23 + of_judge**2 / 299)
    assert found.high == pytest.approx(
        found.estimate + scipy_stats.t.ppf(0.975, df) * math.sqrt(of_human + of_judge)
    )
    assert "25 human verdicts" in found.note


def test_a_good_judge_narrows_and_a_useless_one_does_not_widen_much() -> None:
    human, judge, rest = drawn(60, 2000)
    noise = np.random.default_rng(1)
    alone = stats.mean_interval(human[:, None])
    good = stats.prediction_powered_mean(human, judge, rest)
    useless = stats.prediction_powered_mean(human, noise.normal(size=60), noise.normal(size=2000))
    assert alone.standard_error is not None
    assert good.standard_error is not None
    assert useless.standard_error is not None
    assert good.standard_error < 0.7 * alone.standard_error
    assert useless.standard_error < 1.1 * alone.standard_error


def test_a_judge_who_turns_everything_round_gets_no_weight() -> None:
    human, judge, rest = drawn(40, 400)
    found = stats.prediction_powered_mean(human, -judge, -rest)
    assert found.estimate == pytest.approx(human.mean())
    assert "weigh 0.00" in found.note


@pytest.mark.parametrize(("rate", "right", "wrong"), [(0.5, 0.95, 0.5), (0.1, 0.9, 0.4)])
def test_it_covers_with_a_biased_judge_at_twenty_human_verdicts(
    rate: float, right: float, wrong: float
) -> None:
    rng = np.random.default_rng(2)
    together, trusted = [], []
    for _ in range(400):
        truth = (rng.random(320) < rate).astype(float)
        said = (rng.random(320) < np.where(truth == 1, right, wrong)).astype(float)
        found = stats.prediction_powered_mean(truth[:20], said[:20], said[20:], within=(0, 1))
        assert found.low is not None
        assert found.high is not None
        assert 0 <= found.low <= found.high <= 1
        together.append(found.low <= rate <= found.high)
        trusted.append(abs(said.mean() - rate) < 0.1)
    assert np.mean(together) > 0.93 - 2 * math.sqrt(0.05 * 0.95 / 400)
    assert np.mean(trusted) < 0.1


def test_unanimous_people_get_a_share_of_as_many_trials() -> None:
    found = stats.prediction_powered_mean(np.ones(30), np.ones(30), np.ones(99), within=(0, 1))
    assert (found.estimate, found.high) == (1, 1)
    t = scipy_stats.t.ppf(0.975, 28)
    assert found.low == pytest.approx((0.025 / 0.6) ** (1 / (30 * (1.959964 / t) ** 2)), rel=1e-5)
    without = stats.prediction_powered_mean(np.ones(30), np.ones(30), np.ones(99))
    assert without.low is None
    assert "equal" in (without.reason or "")


@pytest.mark.parametrize(
    ("n", "rest", "reason"),
    [(19, 100, "19 human verdicts"), (30, 1, "1 more of the judge"), (0, 50, "0 human verdicts")],
)
def test_too_few_verdicts_are_said(n: int, rest: int, reason: str) -> None:
    found = stats.prediction_powered_mean(*drawn(n, rest))
    assert found.low is None
    assert reason in (found.reason or "")


def test_verdicts_that_are_missing_or_do_not_match() -> None:
    human, judge, rest = drawn(30, 50)
    assert stats.prediction_powered_mean([math.nan, *human[1:]], judge, rest).reason == "a verdict is missing"
    with pytest.raises(ValueError, match="30 human verdicts and 29"):
        stats.prediction_powered_mean(human, judge[1:], rest)


def pairs(n: int = 60, seed: int = 3) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    human = rng.choice([0.0, 0.5, 1.0], size=n, p=[0.4, 0.1, 0.5])
    judge = np.where(rng.random(n) < 0.75, human, 1 - human)
    return {
        "human": human,
        "judge": judge,
        "prompts": np.arange(n) // 2,
        "probability": np.clip(judge * 0.8 + 0.1, 0, 1),
        "swapped": np.where(rng.random(n) < 0.8, judge, 0.5),
        "lengths": rng.integers(-3, 4, size=n),
    }


def test_the_card_by_hand() -> None:
    given = pairs()
    card = stats.judge_card(**given)
    human, judge = given["human"], given["judge"]
    same = np.mean(human == judge)
    assert card.agreement.estimate == pytest.approx(same)
    assert card.agreement == stats.cluster_share(human == judge, given["prompts"])
    chance = sum(np.mean(human == v) * np.mean(judge == v) for v in (0, 0.5, 1))
    assert card.kappa.estimate == pytest.approx((same - chance) / (1 - chance))
    assert card.flips is not None
    assert card.flips.estimate == pytest.approx(np.mean(given["swapped"] != judge))
    uneven = given["lengths"] != 0
    longer = np.where(given["lengths"] > 0, judge, 1 - judge)[uneven]
    assert card.prefers_longer is not None
    assert card.prefers_longer.estimate == pytest.approx(longer.mean())
    assert card.people_prefer_longer is not None
    assert card.people_prefer_longer.estimate != card.prefers_longer.estimate
    assert (card.pairs, card.unreliable) == (60, None)


def test_kappas_interval_leaves_out_one_prompt_at_a_time() -> None:
    given = pairs()
    whole = stats.judge_card(given["human"], given["judge"], prompts=given["prompts"]).kappa
    without = []
    for prompt in range(30):
        kept = given["prompts"] != prompt
        without.append(stats.judge_card(given["human"][kept], given["judge"][kept]).kappa.estimate)
    error = math.sqrt(29 / 30 * np.sum((np.array(without) - np.mean(without)) ** 2))
    assert whole.standard_error == pytest.approx(error)
    assert whole.estimate is not None
    assert whole.low == pytest.approx(whole.estimate - scipy_stats.t.ppf(0.975, 29) * error)


def test_calibration_of_a_judge_who_is_and_of_one_who_is_too_sure() -> None:
    rng = np.random.default_rng(4)
    p = rng.uniform(0.05, 0.95, 4000)
    people = (rng.random(4000) < p).astype(float)
    sure = 1 / (1 + (1 / p - 1) ** 3)
    said = (p > 0.5).astype(float)
    calm, too_sure = (stats.judge_card(people, said, probability=told) for told in (p, sure))
    assert calm.slope is not None
    assert too_sure.slope is not None
    assert (calm.slope.low or 0) < 1 < (calm.slope.high or 0)
    assert too_sure.slope.estimate == pytest.approx((calm.slope.estimate or 0) / 3, rel=0.1)
    assert (calm.ece or 1) < 0.03 < 0.1 < (too_sure.ece or 0)


def test_expected_calibration_error_by_hand() -> None:
    people = np.array([0, 1, 0, 1, 1, 1, 1, 0, 1, 1.0])
    told = np.array([0.1, 0.2, 0.3, 0.4, 0.45, 0.6, 0.7, 0.8, 0.9, 0.95])
    card = stats.judge_card(people, (told > 0.5).astype(float), probability=told)
    assert card.ece == pytest.approx((abs(3 - 1.45) + abs(4 - 3.95)) / 10)


def test_a_judge_on_few_pairs_is_unreliable_and_what_was_not_measured_is_none() -> None:
    given = pairs(19)
    card = stats.judge_card(given["human"], given["judge"])
    assert card.unreliable == "only 19 pairs were graded by people: 20 are needed"
    assert (card.ece, card.slope, card.flips, card.prefers_longer) == (None,) * 4
    assert stats.judge_card([], []).unreliable is not None
    assert stats.judge_card([], []).agreement.low is None


def test_a_judge_who_always_says_the_same_as_people_who_do() -> None:
    card = stats.judge_card(np.ones(30), np.ones(30), probability=np.full(30, 0.9))
    assert card.kappa.estimate is None
    assert card.slope is not None
    assert card.slope.reason is not None
    assert (card.agreement.low or 0) > 0.85
    assert card.unreliable is None


def test_pairs_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="judge of shape"):
        stats.judge_card([1, 0], [1])
    with pytest.raises(ValueError, match=r"1, \.5 or 0"):
        stats.judge_card([1, 0.3], [1, 0])
    with pytest.raises(ValueError, match=r"0\.\.1"):
        stats.judge_card([1, 0], [1, 0], probability=[0.4, math.nan])
