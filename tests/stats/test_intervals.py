"""Intervals and t against their definition, a closed form, brute force or scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import optimize
from scipy import stats as scipy_stats

from ilf import stats
from ilf.stats import _student

TABLES = [(4, 2, 0), (7, 3, 1), (30, 5, 2)]  # prompts, seeds, seed of the generator


def table(prompts: int, seeds: int, seed: int) -> stats.Cells:
    rng = np.random.default_rng(seed)
    return (
        0.1 + rng.normal(size=(prompts, 1)) + rng.normal(size=(1, seeds)) + rng.normal(size=(prompts, seeds))
    )


def residual_sum_of_squares(cells: stats.Cells, *, prompts: bool, seeds: bool) -> float:
    """Of the least-squares fit with a mean per prompt and / or seed: what defines an analysis of variance."""
    p, s = (index.ravel() for index in np.indices(cells.shape))
    columns = [np.ones((p.size, 1))]
    columns += [np.eye(cells.shape[0])[p]] if prompts else []
    columns += [np.eye(cells.shape[1])[s]] if seeds else []
    design = np.hstack(columns)
    fit = design @ np.linalg.lstsq(design, cells.ravel(), rcond=None)[0]
    return float(((cells.ravel() - fit) ** 2).sum())


@pytest.mark.parametrize("df", [0.3, 1, 1.7, 2, 5.5, 30, 400, 1e5, 5e6])
@pytest.mark.parametrize("t", [-3.0, 1e-8, 0.3, 1.0, 2.2, 15.0])
def test_t_p_value_is_scipys(t: float, df: float) -> None:
    assert stats.t_two_sided_p(t, df) == pytest.approx(2 * scipy_stats.t.sf(abs(t), df), rel=1e-7)


@pytest.mark.parametrize("df", [0.3, 1, 1.7, 2, 5.5, 30, 400, 1e5, 5e6, 1e9])
@pytest.mark.parametrize("probability", [0.025, 0.5, 0.8, 0.975, 0.9999])
def test_t_quantile_is_scipys(probability: float, df: float) -> None:
    expected = scipy_stats.t.ppf(probability, df)
    assert stats.t_quantile(probability, df) == pytest.approx(expected, rel=1e-7, abs=1e-12)


def test_t_with_one_and_two_degrees_of_freedom_has_a_closed_form() -> None:
    assert stats.t_two_sided_p(2.0, 1) == pytest.approx(1 - 2 / math.pi * math.atan(2.0), abs=1e-14)
    assert stats.t_two_sided_p(2.0, 2) == pytest.approx(1 - 2.0 / math.sqrt(2 + 4.0), abs=1e-14)
    assert stats.t_quantile(0.975, 1) == pytest.approx(math.tan(math.pi * 0.475), abs=1e-11)


@pytest.mark.parametrize("shape", TABLES)
def test_mean_squares_are_those_of_the_least_squares_fits(shape: tuple[int, int, int]) -> None:
    cells = table(*shape)
    prompts, seeds = cells.shape
    full = residual_sum_of_squares(cells, prompts=True, seeds=True)
    no_prompts = residual_sum_of_squares(cells, prompts=False, seeds=True)
    no_seeds = residual_sum_of_squares(cells, prompts=True, seeds=False)
    assert stats.mean_squares(cells) == pytest.approx(
        (
            (no_prompts - full) / (prompts - 1),
            (no_seeds - full) / (seeds - 1),
            full / ((prompts - 1) * (seeds - 1)),
        )
    )


def test_where_seeds_agree_it_is_the_t_test_over_prompts() -> None:
    cells = np.repeat(table(12, 1, 3), 4, axis=1)
    oracle = scipy_stats.ttest_1samp(cells[:, 0], 0)
    found = stats.paired_interval(cells)
    assert (found.p, found.df) == pytest.approx((oracle.pvalue, 11))
    assert (found.low, found.high) == pytest.approx(tuple(oracle.confidence_interval()))


def test_where_prompts_agree_it_is_the_t_test_over_seeds() -> None:
    cells = np.repeat(table(1, 5, 4), 40, axis=0)
    oracle = scipy_stats.ttest_1samp(cells[0], 0)
    found = stats.paired_interval(cells)
    assert (found.p, found.df) == pytest.approx((oracle.pvalue, 4))
    assert (found.low, found.high) == pytest.approx(tuple(oracle.confidence_interval()))


def test_the_variance_is_that_of_the_mean_under_random_effects() -> None:
    """Var(mean) = prompt^2 / n + seed^2 / S + rest^2 / (n S); 20 x 4 cells, no component cut at 0."""
    rng = np.random.default_rng(5)
    n, seeds, prompt_sd, seed_sd, rest_sd = 20, 4, 1.0, 2.0, 0.5
    squares = []
    for _ in range(3000):
        cells = prompt_sd * rng.normal(size=(n, 1)) + seed_sd * rng.normal(size=(1, seeds))
        error = stats.paired_interval(cells + rest_sd * rng.normal(size=(n, seeds))).standard_error
        assert error is not None
        squares.append(error**2)
    expected = prompt_sd**2 / n + seed_sd**2 / seeds + rest_sd**2 / (n * seeds)
    assert np.mean(squares) == pytest.approx(
        expected, rel=4 * np.std(squares) / np.mean(squares) / math.sqrt(3000)
    )


def test_satterthwaite_matches_the_first_two_moments_with_the_seeds_square_doubted() -> None:
    """Df = 2 E^2 / Var of the combination of mean squares, each with variance 2 MS^2 / its own df."""
    cells = table(30, 5, 2)
    n, seeds = cells.shape
    between_prompts, between_seeds, rest = stats.mean_squares(cells)
    assert between_prompts > rest
    assert between_seeds > rest
    doubted = between_seeds * (1 + 3 / (seeds - 1) ** 2)
    variance = sum(
        2 * ms**2 / df
        for ms, df in ((between_prompts, n - 1), (doubted, seeds - 1), (rest, (n - 1) * (seeds - 1)))
    )
    expected = 2 * (between_prompts + doubted - rest) ** 2 / variance
    assert stats.paired_interval(cells).df == pytest.approx(expected)


@pytest.mark.parametrize("shape", TABLES)
def test_p_is_five_percent_exactly_where_the_interval_ends(shape: tuple[int, int, int]) -> None:
    cells = table(*shape)
    low, high = stats.paired_interval(cells).low, stats.paired_interval(cells).high
    assert low is not None
    assert high is not None
    assert stats.paired_interval(cells - low).p == pytest.approx(0.05)
    assert stats.paired_interval(cells - high).p == pytest.approx(0.05)


def test_a_negative_variance_component_counts_as_zero() -> None:
    """Seed means nearer to each other than chance would have them must not make the interval narrower."""
    cells = table(30, 3, 6)
    cells = cells - cells.mean(axis=0, keepdims=True)  # seed means exactly equal: MSS = 0
    between_prompts, between_seeds, rest = stats.mean_squares(cells)
    assert between_seeds < 1e-20 < rest < between_prompts
    assert stats.paired_interval(cells).standard_error == pytest.approx(
        math.sqrt(between_prompts / cells.size)
    )
    flat = cells - cells.mean(axis=1, keepdims=True)  # and prompt means too: only the residual is left
    error = math.sqrt(stats.mean_squares(flat)[2] / flat.size)
    assert stats.paired_interval(flat).standard_error == pytest.approx(error)


def test_one_seed_uses_the_prompts_and_says_what_it_does_not_know() -> None:
    cells = table(9, 1, 7)
    found = stats.paired_interval(cells)
    oracle = scipy_stats.ttest_1samp(cells[:, 0], 0)
    assert (found.low, found.high) == pytest.approx(tuple(oracle.confidence_interval()))
    assert found.p == pytest.approx(oracle.pvalue)
    assert found.note == "training variance unknown"
    assert stats.cluster_bootstrap(cells, np.random.default_rng(0)).note == "training variance unknown"


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (np.zeros((0, 3)), "no graded rows"),
        (np.zeros((3, 0)), "no graded rows"),
        ([[0.1, 0.2, 0.3]], "only one prompt"),
        (np.full((5, 3), 0.1) * 3, "15 values are equal"),
        (np.zeros((4, 1)), "4 values are equal"),
        (np.array([[0.1 + 0.2 - 0.3], [0.0]]), "2 values are equal"),
        ([[0.1, math.nan], [0.2, 0.3], [math.inf, 1]], "2 of 3 prompts lack a grade"),
    ],
)
def test_what_cannot_be_known_is_none_with_a_reason(cells: stats.Cells, reason: str) -> None:
    rng = np.random.default_rng(0)
    for found in (
        stats.paired_interval(cells),
        stats.mean_interval(cells),
        stats.cluster_bootstrap(cells, rng),
    ):
        assert found.reason is not None
        assert reason in found.reason
        unknown = (found.low, found.high, found.p, found.mde, found.standard_error, found.df)
        assert unknown == (None,) * 6


def test_a_mean_that_is_known_is_kept_when_its_interval_is_not() -> None:
    assert stats.mean_interval([[0.25, 0.75]]).estimate == 0.5
    assert stats.mean_interval([[0.25, math.nan]]).estimate is None


def test_a_table_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(prompts, seeds\)"):
        stats.paired_interval([0.1, 0.2])
    with pytest.raises(ValueError, match=r"\(arms, prompts, seeds\)"):
        stats.pooled_arm_by_seed([[0.1, 0.2]])


def test_the_interval_of_a_mean_is_cut_to_its_range_and_has_no_p() -> None:
    cells = np.array([[1.0, 1.0, 0.9], [1.0, 0.8, 1.0], [1.0, 1.0, 1.0]])
    free, cut = stats.mean_interval(cells), stats.mean_interval(cells, within=(0, 1))
    assert free.high is not None
    assert free.high > 1
    assert (cut.low, cut.high) == (free.low, 1)
    assert (cut.p, cut.mde) == (None, None)


def test_pooling_two_arms_changes_nothing() -> None:
    """With two arms the pooled mean squares are those of their difference."""
    arms = np.stack([table(11, 4, 8), table(11, 4, 9)])
    pooled = stats.pooled_arm_by_seed(arms)
    assert pooled is not None
    _, between_seeds, rest = stats.mean_squares(arms[1] - arms[0])
    assert (pooled.value, pooled.residual) == pytest.approx((between_seeds, rest))
    assert (pooled.df, pooled.residual_df) == (3, 30)
    alone, together = (
        stats.paired_interval(arms[1] - arms[0]),
        stats.paired_interval(arms[1] - arms[0], pooled),
    )
    assert (together.low, together.high, together.p) == pytest.approx((alone.low, alone.high, alone.p))
    assert together.note == "seed variance pooled over 2 arms"


def test_pooled_mean_squares_average_those_of_all_pairs() -> None:
    """Without the formula: over all pairs of arms, the mean of the mean squares of their difference."""
    arms = np.stack([table(6, 3, seed) for seed in range(5)])
    arms = arms + np.array([0.0, 5.0, -9.0])  # a seed effect that all arms share cancels
    pairs = [stats.mean_squares(a - b) for a, b in itertools.combinations(arms, 2)]
    pooled = stats.pooled_arm_by_seed(arms)
    assert pooled is not None
    assert pooled.value == pytest.approx(np.mean([between_seeds for _, between_seeds, _ in pairs]))
    assert pooled.residual == pytest.approx(np.mean([rest for _, _, rest in pairs]))


def test_pooling_takes_the_seed_component_from_all_arms_and_the_rest_from_the_pair() -> None:
    """A noisy pair among quiet arms must not take its own residual off a seed mean square without it."""
    cells = table(30, 3, 13)
    between_prompts, _, rest = stats.mean_squares(cells)
    pooled = stats.MeanSquare(value=5.0, df=10, residual=2.0, residual_df=290, arms=6)
    error = stats.paired_interval(cells, pooled).standard_error
    assert error is not None
    assert error**2 * cells.size - max(between_prompts, rest) == pytest.approx(5.0 - 2.0)


@pytest.mark.parametrize("shape", [(1, 5, 3), (4, 1, 3), (4, 5, 1)])
def test_there_is_nothing_to_pool_in_a_table_too_small(shape: tuple[int, int, int]) -> None:
    assert stats.pooled_arm_by_seed(np.random.default_rng(0).normal(size=shape)) is None


def test_a_missing_grade_is_not_pooled() -> None:
    arms = np.ones((3, 4, 2))
    arms[1, 2, 0] = math.nan
    assert stats.pooled_arm_by_seed(arms) is None
    kept, dropped = stats.complete_prompts(arms.transpose(1, 0, 2))
    assert (kept.shape, dropped) == ((3, 3, 2), 1)


def test_mde_has_eighty_percent_power_under_the_noncentral_t() -> None:
    error, df = 0.3, 400.0
    effect = stats.minimum_detectable_effect(error, df)
    edge = scipy_stats.t.ppf(0.975, df)
    assert scipy_stats.nct.sf(edge, df, effect / error) == pytest.approx(0.8, abs=0.002)
    found = stats.paired_interval(table(30, 5, 2))
    assert found.standard_error is not None
    assert found.df is not None
    assert found.mde == stats.minimum_detectable_effect(found.standard_error, found.df)


def test_bootstrap_quantiles_are_those_of_all_possible_draws() -> None:
    cells = table(4, 3, 10)
    means = [
        cells[np.ix_(p, s)].mean()
        for p in itertools.product(range(4), repeat=4)
        for s in itertools.product(range(3), repeat=3)
    ]
    found = stats.cluster_bootstrap(cells, np.random.default_rng(0), draws=100_000)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.03)
    assert found.standard_error == pytest.approx(np.std(means), rel=0.01)
    assert found.estimate == cells.mean()


def test_bootstrap_takes_its_randomness_from_outside() -> None:
    cells = table(8, 3, 11)
    first, again, other = (stats.cluster_bootstrap(cells, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(("successes", "trials"), [(0, 9), (9, 9), (1, 195), (188, 195), (40, 80)])
def test_wilson_ends_where_the_score_test_does(successes: int, trials: int) -> None:
    found = stats.wilson_interval(successes, trials)
    oracle = scipy_stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=1e-9)
    assert found.low is not None
    assert found.high is not None
    for end in {found.low, found.high} - {0.0, 1.0}:
        z = abs(successes / trials - end) / math.sqrt(end * (1 - end) / trials)
        assert z == pytest.approx(1.959963985, rel=1e-6)


def test_wilson_without_trials_or_with_impossible_counts() -> None:
    assert stats.wilson_interval(0, 0).reason == "no trials"
    assert stats.wilson_interval(0, 0).estimate is None
    with pytest.raises(ValueError, match="7 successes in 3 trials"):
        stats.wilson_interval(7, 3)


def exact(successes: int, trials: int) -> tuple[float, float]:
    """By scipy: the p at which P(more extreme) + .6 P(as extreme) is 2.5 %."""

    def end(x: int) -> float:
        def excess(p: float) -> float:
            return float(
                scipy_stats.binom.sf(x, trials, p) + 0.6 * scipy_stats.binom.pmf(x, trials, p) - 0.025
            )

        return 0.0 if x == 0 else float(optimize.brentq(excess, 1e-9, 1 - 1e-9, xtol=1e-13))

    return end(successes), 1 - end(trials - successes)


@pytest.mark.parametrize("right", [1, 3, 27, 29])
def test_rare_right_or_wrong_answers_of_one_seed_get_the_exact_interval(right: int) -> None:
    cells = np.array([[1.0]] * right + [[0.0]] * (30 - right))
    found = stats.mean_interval(cells, within=(0, 1))
    assert (found.low, found.high) == pytest.approx(exact(right, 30))
    assert found.standard_error == stats.mean_interval(cells).standard_error


def test_rare_answers_over_seeds_count_as_the_trials_of_their_variance() -> None:
    """Three seeds that agree are a trial a prompt, less one; t takes (normal quantile / t)^2 of them."""
    cells = np.repeat(np.array([[1.0]] * 3 + [[0.0]] * 37), 3, axis=1)
    found = stats.mean_interval(cells, within=(0, 1))
    trials = 39 * (1.959963985 / scipy_stats.t.ppf(0.975, 39)) ** 2
    for p, x in ((found.low, 0.075 * trials), (1 - (found.high or 0), 0.925 * trials)):
        more, as_much = (scipy_stats.beta.cdf(p, x + k, trials - x + 1 - k) for k in (1, 0))
        assert 0.4 * more + 0.6 * as_much == pytest.approx(0.025, abs=1e-7)


def test_right_or_wrong_answers_on_another_scale_move_with_it() -> None:
    cells = np.array([[1.0, 0.0, 0.0]] + [[0.0, 0.0, 0.0]] * 20)
    plain, wide = (
        stats.mean_interval(cells, within=(0, 1)),
        stats.mean_interval(5 + 10 * cells, within=(5, 15)),
    )
    assert wide.low is not None
    assert wide.high is not None
    assert ((wide.low - 5) / 10, (wide.high - 5) / 10) == pytest.approx((plain.low, plain.high))


def test_where_right_and_wrong_are_both_common_or_grades_lie_between_t_stays() -> None:
    common = np.array([[1.0], [0.0]] * 20)
    between = np.array([[1.0], [0.5]] + [[0.0]] * 20)
    for cells in (common, between):
        free, cut = stats.mean_interval(cells), stats.mean_interval(cells, within=(0, 1))
        assert free.low is not None
        assert (cut.low, cut.high) == (max(free.low, 0), free.high)


@pytest.mark.parametrize("seeds", [1, 3])
def test_all_right_or_all_wrong_is_a_trial_a_prompt(seeds: int) -> None:
    low, high = exact(16, 16)
    best = stats.mean_interval(np.ones((16, seeds)), within=(0, 1))
    worst = stats.mean_interval(np.zeros((16, seeds)), within=(0, 1))
    assert (best.estimate, best.low, best.high) == pytest.approx((1.0, low, high))
    assert (worst.estimate, worst.low, worst.high) == pytest.approx((0.0, 1 - high, 1 - low))
    assert low == pytest.approx((0.025 / 0.6) ** (1 / 16))
    assert "a prompt each" in best.note
    assert stats.mean_interval(np.full((16, seeds), 0.4), within=(0, 1)).low is None
    assert stats.mean_interval(np.ones((1, seeds)), within=(0, 1)).low is None


def test_arms_that_never_differ_are_bounded_where_the_range_is_known() -> None:
    found = stats.paired_interval(np.zeros((16, 3)), within=(0, 10))
    share = 1 - (0.025 / 0.6) ** (1 / 16)
    assert (found.low, found.high, found.p) == pytest.approx((-10 * share, 10 * share, 1.0))
    assert "18% of all prompts" in found.note
    assert stats.paired_interval(np.zeros((16, 3))).low is None
    assert stats.paired_interval(np.full((16, 3), 0.1), within=(0, 1)).low is None


def test_the_range_of_grades_changes_nothing_where_arms_differ() -> None:
    cells = table(7, 3, 1)
    assert stats.paired_interval(cells, within=(0, 1)) == stats.paired_interval(cells)


def test_hardly_any_degrees_of_freedom_make_an_endless_interval_and_no_error() -> None:
    """A mean square pooled over arms that differ wildly, for two that are nearly the same."""
    pooled = stats.MeanSquare(value=1e-3, df=2.0, residual=1.0, residual_df=50.0, arms=3)
    rng = np.random.default_rng(0)
    found = stats.paired_interval(rng.normal(0, 1e-6, (8, 2)), pooled)
    assert found.low is not None
    assert found.high is not None
    assert found.low < -1.0
    assert found.high > 1.0
    assert _student.t_quantile(0.975, 1e-9) > 1e100
