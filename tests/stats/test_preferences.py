"""Bradley-Terry with Davidson's ties against its likelihood, closed forms and a general optimiser."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import optimize

from ilf import stats
from ilf.stats._davidson import Pairs, _derivatives, fit, probabilities

ROWS = [
    (p, *pair, outcome)
    for p, pair, outcome in zip(
        range(24),
        itertools.cycle([(0, 1), (2, 1), (0, 2), (3, 0)]),
        itertools.cycle([1, 0.5, 0, 1, 0]),
        strict=False,
    )
]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def log_likelihood(
    parameters: Sequence[float], rows: Sequence[tuple[int, int, int, float]], x: stats.Cells
) -> float:
    """By the definition, one verdict after the other: w = exp(s), D = w_i + w_j + nu sqrt(w_i w_j)."""
    arms = len(parameters) - 1 - x.shape[1]
    total = 0.0
    for (_, i, j, outcome), covariates in zip(rows, x, strict=True):
        lead = sum(b * c for b, c in zip(parameters[arms:-1], covariates, strict=True))
        a, b = math.exp(parameters[i] + lead), math.exp(parameters[j])
        tie = math.exp(parameters[-1]) * math.sqrt(a * b)
        total += math.log({1: a, 0: b, 0.5: tie}[outcome] / (a + b + tie))
    return total


def best(
    rows: Sequence[tuple[int, int, int, float]], x: stats.Cells, arms: int, reference: int
) -> stats.Cells:
    size = arms + x.shape[1] + 1
    free = [k for k in range(size) if k != reference]

    def loss(values: stats.Cells) -> float:
        whole = np.zeros(size)
        whole[free] = values
        return -log_likelihood(list(whole), rows, x) + 0.0005 * float(values @ values)

    found = np.zeros(size)
    found[free] = optimize.minimize(loss, np.zeros(size - 1), tol=1e-10).x
    return found


@pytest.mark.parametrize("reference", [0, 2])
def test_strengths_are_the_most_likely_ones(reference: int) -> None:
    found = stats.bradley_terry(stats.Verdicts.of(ROWS), 4, rng(), reference=reference, draws=20)
    expected = best(ROWS, np.zeros((len(ROWS), 0)), 4, reference)
    assert [arm.estimate for arm in found.arms] == pytest.approx(list(expected[:4]), abs=1e-4)
    assert found.log_tie == pytest.approx(expected[-1], abs=1e-4)
    assert found.arms[reference] == stats.Interval(0.0, prompts=24, reason="the reference")


def test_style_coefficients_are_the_most_likely_ones_a_standard_deviation() -> None:
    x = np.random.default_rng(1).normal(size=(len(ROWS), 2)) * [3.0, 0.2]
    given = stats.Verdicts.of(ROWS, x, ["length", "lists"])
    found = stats.bradley_terry(given, 4, rng(), draws=20)
    expected = best(ROWS, x / x.std(axis=0), 4, 0)
    assert [arm.estimate for arm in found.arms] == pytest.approx(list(expected[:4]), abs=1e-4)
    assert list(found.coefficients) == ["length", "lists"]
    assert [one.estimate for one in found.coefficients.values()] == pytest.approx(
        list(expected[4:6]), abs=1e-4
    )


def test_two_arms_have_a_closed_form() -> None:
    """Log odds of wins, and nu = ties / sqrt(wins losses)."""
    rows = [(p, 0, 1, outcome) for p, outcome in enumerate([0] * 30 + [1] * 15 + [0.5] * 20)]
    found = stats.bradley_terry(stats.Verdicts.of(rows), 2, rng(), ridge=1e-9)
    assert found.arms[1].estimate == pytest.approx(math.log(2), abs=1e-5)
    assert found.log_tie == pytest.approx(math.log(20 / math.sqrt(450)), abs=1e-5)
    assert found.win_probability(1, 0) == pytest.approx(2 / 3)
    # Its variance by the delta method: 1 / wins + 1 / losses.
    assert found.arms[1].standard_error == pytest.approx(math.sqrt(1 / 30 + 1 / 15), rel=0.2)


def test_gradient_and_hessian_are_those_of_the_likelihood() -> None:
    x = np.random.default_rng(2).normal(size=(len(ROWS), 2))
    first, second = (np.array([row[k] for row in ROWS]) for k in (1, 2))
    counts = np.array([[[o == 1, o == 0, o == 0.5] for *_, o in ROWS]], dtype=float)
    at = np.array([0.1, -0.2, 0.3, 0.5, 0.4, -0.3, 0.2])
    slope, bend = _derivatives(Pairs(first, second, x), counts, at[None], 4)
    step = 1e-5 * np.eye(7)
    for k in range(7):
        ahead, behind = (log_likelihood(list(at + sign * step[k]), ROWS, x) for sign in (1, -1))
        assert slope[0, k] == pytest.approx((ahead - behind) / 2e-5, abs=1e-6)
        up, down = (
            _derivatives(Pairs(first, second, x), counts, (at + s * step[k])[None], 4)[0] for s in (1, -1)
        )
        np.testing.assert_allclose(bend[0, k], -(up - down)[0] / 2e-5, atol=1e-6)


def test_many_data_sets_at_once_are_each_alone() -> None:
    given = np.random.default_rng(3).integers(1, 9, size=(5, 3, 3)).astype(float)
    pairs = Pairs(np.array([0, 1, 0]), np.array([1, 2, 2]), np.zeros((3, 0)))
    together = fit(pairs, given, 3, 0, 1e-3)
    for counts, found in zip(given, together, strict=True):
        np.testing.assert_allclose(fit(pairs, counts[None], 3, 0, 1e-3)[0], found, atol=1e-9)


def test_the_probabilities_are_davidsons() -> None:
    win, loss, tie = probabilities(np.array([0.7]), np.array([-0.2]))
    d = math.exp(0.7) + 1 + math.exp(-0.2) * math.exp(0.35)
    assert (win[0], loss[0]) == pytest.approx((math.exp(0.7) / d, 1 / d))
    assert win[0] + loss[0] + tie[0] == pytest.approx(1)
    assert probabilities(np.array([2000.0]), np.array([0.0]))[0][0] == 1


def test_how_many_draws_are_fitted_at_a_time_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(1).normal(size=(len(ROWS), 1))
    given = stats.Verdicts.of(ROWS, x, ["length"])
    one = stats.bradley_terry(given, 4, rng(), draws=30)
    monkeypatch.setattr("ilf.stats.preferences._CELLS", 1)
    other = stats.bradley_terry(given, 4, rng(), draws=30)
    for a, b in zip(
        (*one.arms, *one.coefficients.values()), (*other.arms, *other.coefficients.values()), strict=True
    ):
        assert (a.estimate, a.low, a.high) == pytest.approx((b.estimate, b.low, b.high), abs=1e-9)


def test_verdicts_in_any_order_are_the_same() -> None:
    """Neighbours of one pair are summed first; a pair may as well be scattered over all rows."""
    x = np.random.default_rng(1).normal(size=(len(ROWS), 2))
    by_pair = sorted(range(len(ROWS)), key=lambda k: ROWS[k][1:3])
    found = [
        stats.bradley_terry(
            stats.Verdicts.of([ROWS[k] for k in order], x[order], ["length", "lists"]), 4, rng(), draws=30
        )
        for order in (list(range(len(ROWS))), by_pair)
    ]
    for a, b in zip(found[0].arms, found[1].arms, strict=True):
        assert (a.estimate, a.low) == pytest.approx((b.estimate, b.low), abs=1e-9)


def test_verdicts_with_covariates_need_no_table_of_prompts_by_verdicts() -> None:
    """1,000 prompts of 12 verdicts: a table of both, with three outcomes, would be 288 MB."""
    draw = np.random.default_rng(6)
    rows = [(p, 0, k, float(draw.choice([0, 0.5, 1]))) for p in range(1000) for k in range(1, 13)]
    given = stats.Verdicts.of(rows, draw.normal(size=(len(rows), 1)), ["length"])
    tracemalloc.start()
    stats.bradley_terry(given, 13, rng(), draws=4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_who_stands_first_does_not_matter() -> None:
    turned = [(p, j, i, 1 - o) for p, i, j, o in ROWS]
    one, other = (stats.bradley_terry(stats.Verdicts.of(rows), 4, rng(), draws=30) for rows in (ROWS, turned))
    assert one == other


def test_verdicts_of_one_prompt_go_together() -> None:
    """Six copies of every verdict under its prompt's name are no more than the verdict."""
    copied = [row for row in ROWS for _ in range(6)]
    one = stats.bradley_terry(stats.Verdicts.of(ROWS), 4, rng(), draws=300, ridge=1e-9)
    six = stats.bradley_terry(stats.Verdicts.of(copied), 4, rng(), draws=300, ridge=1e-9)
    assert six.arms[1].low == pytest.approx(one.arms[1].low or 0, rel=0.02)
    assert six.arms[1].prompts == 24


def test_p_is_against_the_reference_and_randomness_comes_from_outside() -> None:
    given = stats.Verdicts.of([(p, 0, 1, float(p % 5 > 0)) for p in range(50)])
    found = stats.bradley_terry(given, 2, rng())
    assert found.arms[1].p is not None
    assert found.arms[1].p < 0.01
    assert found == stats.bradley_terry(given, 2, rng())
    assert found != stats.bradley_terry(given, 2, np.random.default_rng(1))


def test_an_arm_that_never_lost_has_no_interval_and_without_ties_there_is_no_nu() -> None:
    rows = [(p, 0, 1, float(p % 2)) for p in range(10)] + [(p, 2, 0, 1.0) for p in range(10)]
    found = stats.bradley_terry(stats.Verdicts.of(rows), 3, rng(), draws=50)
    assert found.arms[2].low is None
    assert "no bound" in (found.arms[2].reason or "")
    assert (found.arms[2].estimate or 0) > 3
    assert found.arms[1].low is not None
    assert found.log_tie is None


def test_a_disconnected_graph_is_refused_naming_its_parts() -> None:
    rows = [(0, 0, 1, 1.0), (1, 2, 3, 0.5)]
    with pytest.raises(ValueError, match=r"parts of the arms: 0, 1 \| 2, 3 \| 4"):
        stats.bradley_terry(stats.Verdicts.of(rows), 5, rng())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "there are none"),
        ([(0, 1, 1, 1.0)], "verdict 0 is"),
        ([(0, 0, 1, 1.0), (0, 0, 1, 0.7)], "verdict 1 is"),
    ],
)
def test_impossible_verdicts_are_refused(rows: list[tuple[int, int, int, float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stats.Verdicts.of(rows)


def test_covariates_that_say_nothing_or_do_not_fit_are_refused() -> None:
    flat = stats.Verdicts.of(ROWS, np.stack([np.arange(24.0), np.ones(24)], axis=1), ["length", "lists"])
    with pytest.raises(ValueError, match="leave out \\['lists'\\]"):
        stats.bradley_terry(flat, 4, rng())
    with pytest.raises(ValueError, match="for 24 verdicts and"):
        stats.Verdicts.of(ROWS, np.ones((24, 1)), ["length", "lists"])
    with pytest.raises(ValueError, match="one prompt"):
        stats.bradley_terry(stats.Verdicts.of([(7, 0, 1, 1.0), (7, 0, 1, 0.0)]), 2, rng())


def test_style_control_takes_off_what_length_alone_did() -> None:
    draw = np.random.default_rng(4)
    length = np.log(1.5) + 0.5 * draw.normal(size=400)
    won = draw.random(400) < 1 / (1 + np.exp(-3 * length))
    rows = [(p, 1, 0, float(w)) for p, w in enumerate(won)]
    plain = stats.bradley_terry(stats.Verdicts.of(rows), 2, rng()).arms[1]
    styled = stats.bradley_terry(stats.Verdicts.of(rows, length[:, None], ["length"]), 2, rng())
    assert plain.low is not None
    assert plain.low > 0.5
    assert styled.arms[1].low is not None
    assert styled.arms[1].high is not None
    assert styled.arms[1].low < 0 < styled.arms[1].high
    assert (styled.coefficients["length"].low or 0) > 0.5


def test_two_hundred_arms_and_ten_thousand_verdicts() -> None:
    draw = np.random.default_rng(5)
    rows = [(p, 0, k, float(draw.choice([0, 0.5, 1]))) for p in range(50) for k in range(1, 200)]
    found = stats.bradley_terry(stats.Verdicts.of(rows), 200, rng(), draws=50)
    assert all(arm.low is not None for arm in found.arms[1:])


def test_verdicts_that_are_all_ties_have_a_reason_and_no_interval() -> None:
    verdicts = stats.Verdicts.of([(prompt, 1, 0, 0.5) for prompt in range(5)])
    found = stats.bradley_terry(verdicts, 2, np.random.default_rng(0), draws=20).arms[1]
    assert (found.estimate, found.low, found.p) == (0.0, None, None)
    assert found.reason == "every prompt says the same: no variance seen"
