"""The formulas of reinforcement learning: against numbers worked out by hand, and against their definitions."""

from __future__ import annotations

import math
import random

import pytest
import torch

from ilf.strategies._rl import adapted_kl_coef, kl_estimate, masked_mean, masked_sum, policy_loss, whiten
from ilf.strategies.ppo import explained_variance, gae, token_rewards, value_loss

MASK = torch.tensor([[True, True, False], [True, False, False]])
VALUES = torch.tensor([[1.0, 2.0, math.nan], [6.0, math.inf, -7.0]])


def test_masked_sums_and_means_are_over_what_counts() -> None:
    assert masked_sum(VALUES, MASK).item() == 9.0
    assert masked_mean(VALUES, MASK).item() == 3.0


def test_no_gradient_comes_from_what_does_not_count() -> None:
    values = VALUES.clone().requires_grad_()
    masked_mean(values * 2, MASK).backward()
    assert values.grad is not None
    assert torch.allclose(values.grad, torch.tensor([[2 / 3, 2 / 3, 0.0], [2 / 3, 0.0, 0.0]]))


def test_whitened_values_have_mean_0_and_deviation_1_over_what_counts() -> None:
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(6, 9, generator=rng) * 3 + 5
    mask = torch.rand(6, 9, generator=rng) < 0.6
    whitened = whiten(values.masked_fill(~mask, 1e6), mask)
    assert whitened[mask].mean().item() == pytest.approx(0, abs=1e-6)
    assert whitened[mask].std(correction=0).item() == pytest.approx(1, abs=1e-5)
    assert torch.all(whitened[~mask] == 0)
    kept = whiten(values, mask, shift_mean=False)
    assert kept[mask].mean().item() == pytest.approx(values[mask].mean().item(), abs=1e-5)
    assert kept[mask].std(correction=0).item() == pytest.approx(1, abs=1e-5)
    assert torch.all(kept[~mask] == 0)


def test_whitening_by_hand() -> None:
    # Mean 3, variance ((1 - 3)^2 + (2 - 3)^2 + (6 - 3)^2) / 3 = 14 / 3.
    deviation = math.sqrt(14 / 3)
    expected = [[-2 / deviation, -1 / deviation, 0.0], [3 / deviation, 0.0, 0.0]]
    assert torch.allclose(whiten(VALUES, MASK), torch.tensor(expected))


def test_kl_estimators_against_the_exact_sum() -> None:
    """Over a vocabulary of three, weighed by the policy: k1 and k3 have the KL's mean, k2 has not; k3 is never negative."""
    p, q = torch.tensor([0.6, 0.3, 0.1]).double(), torch.tensor([0.2, 0.3, 0.5]).double()
    exact = sum(float(a) * math.log(float(a) / float(b)) for a, b in zip(p, q, strict=True))
    found = {name: kl_estimate(p.log(), q.log(), name) for name in ("k1", "k2", "k3")}  # type: ignore[arg-type]
    means = {name: (p * values).sum().item() for name, values in found.items()}
    assert means["k1"] == pytest.approx(exact)
    assert means["k3"] == pytest.approx(exact)
    # sum p (log p - log q)^2 / 2
    halves = sum(float(a) * math.log(float(a) / float(b)) ** 2 / 2 for a, b in zip(p, q, strict=True))
    assert means["k2"] == pytest.approx(halves)
    assert abs(means["k2"] - exact) > 0.005
    assert (found["k3"] >= 0).all()
    assert (found["k1"] < 0).any()


def test_the_coefficient_moves_towards_its_target() -> None:
    """0.1 * (1 + clip(9 / 6 - 1, .2) * 64 / 10000) at most, as much downwards, and little when near."""
    how = {"target": 6.0, "horizon": 10_000.0, "n_episodes": 64}
    assert adapted_kl_coef(0.1, 9.0, **how) == pytest.approx(0.1 * (1 + 0.2 * 0.0064))  # type: ignore[arg-type]
    assert adapted_kl_coef(0.1, 0.0, **how) == pytest.approx(0.1 * (1 - 0.2 * 0.0064))  # type: ignore[arg-type]
    assert adapted_kl_coef(0.1, 6.6, **how) == pytest.approx(0.1 * (1 + 0.1 * 0.0064))  # type: ignore[arg-type]
    assert adapted_kl_coef(0.1, 6.0, **how) == 0.1  # type: ignore[arg-type]


def test_rewards_by_hand() -> None:
    """Two texts of 3 and 1 tokens: minus the penalty for every token, the score behind the end or at it."""
    penalty = torch.tensor([[0.1, 0.2, 0.3], [0.5, 0.0, 0.0]])
    scores, lengths = torch.tensor([2.0, -1.0]), torch.tensor([3, 1])
    behind = token_rewards(penalty, scores, lengths, after_end=True)
    assert torch.allclose(behind, torch.tensor([[-0.1, -0.2, -0.3, 2.0], [-0.5, -1.0, 0.0, 0.0]]))
    at = token_rewards(penalty, scores, lengths, after_end=False)
    assert torch.allclose(at, torch.tensor([[-0.1, -0.2, 1.7, 0.0], [-1.5, 0.0, 0.0, 0.0]]))


def test_gae_by_hand() -> None:
    """gamma .5, lambda .5; rewards 1, 0, 4; values 2, 1, 3: deltas -.5, .5, 1, so A = 1, .75, -.3125 backwards."""
    advantages = gae(torch.tensor([[1.0, 0.0, 4.0]]), torch.tensor([[2.0, 1.0, 3.0]]), gamma=0.5, lam=0.5)
    assert advantages.tolist() == [[-0.5 + 0.25 * 0.75, 0.5 + 0.25 * 1.0, 1.0]]


def test_gae_of_1_and_1_is_reward_to_go_minus_value() -> None:
    rng = torch.Generator().manual_seed(1)
    rewards, values = torch.randn(4, 7, generator=rng), torch.randn(4, 7, generator=rng)
    to_go = torch.stack([rewards[:, t:].sum(1) for t in range(7)], dim=1)
    assert torch.allclose(gae(rewards, values, gamma=1.0, lam=1.0), to_go - values, atol=1e-5)
    # And of lambda 0 one step's surprise.
    following = torch.cat([values[:, 1:], torch.zeros(4, 1)], dim=1)
    assert torch.allclose(gae(rewards, values, gamma=0.9, lam=0.0), rewards + 0.9 * following - values)


def test_gae_of_a_text_does_not_depend_on_its_padding() -> None:
    rng = torch.Generator().manual_seed(2)
    rewards, values = torch.randn(1, 5, generator=rng), torch.randn(1, 5, generator=rng)
    padded = [torch.nn.functional.pad(x, (0, 3)) for x in (rewards, values)]
    alone = gae(rewards, values, gamma=1.0, lam=0.95)
    assert torch.allclose(gae(padded[0], padded[1], gamma=1.0, lam=0.95)[:, :5], alone)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "is_held"),
    [
        (1.0, 2.0, -2.0, False),
        (1.5, 2.0, -2.4, True),  # likely enough already: no more than 1.2
        (1.5, -2.0, 3.0, False),  # too likely, and bad: the full price
        (0.5, 2.0, -1.0, False),  # too unlikely, and good: the full wish
        (0.5, -2.0, 1.6, True),  # unlikely enough already: no less than .8
    ],
)
def test_the_policy_loss_by_hand(ratio: float, advantage: float, loss: float, is_held: bool) -> None:
    moving = torch.tensor([[ratio]], requires_grad=True)
    found = policy_loss(moving, torch.tensor([[advantage]]), 0.2)
    assert found.item() == pytest.approx(loss)
    found.sum().backward()
    assert moving.grad is not None
    assert (moving.grad.item() == 0) == is_held


@pytest.mark.parametrize(
    ("value", "old", "target", "loss", "is_held"),
    [
        (1.1, 1.0, 2.0, 0.405, False),  # within the range: half of .9 squared
        (1.5, 1.0, 2.0, 0.32, True),  # towards the target too fast: as if it were 1.2
        (1.5, 1.0, 0.0, 1.125, False),  # away from the target: the full price
    ],
)
def test_the_value_loss_by_hand(value: float, old: float, target: float, loss: float, is_held: bool) -> None:
    moving = torch.tensor([[value]], requires_grad=True)
    found = value_loss(moving, torch.tensor([[old]]), torch.tensor([[target]]), 0.2)
    assert found.item() == pytest.approx(loss)
    found.sum().backward()
    assert moving.grad is not None
    assert (moving.grad.item() == 0) == is_held


def test_explained_variance() -> None:
    rng = random.Random(0)
    returns = torch.tensor([[rng.random() for _ in range(8)]])
    mask = torch.tensor([[True] * 7 + [False]])
    wrong = returns.clone()
    wrong[0, 7] = 99.0
    assert explained_variance(wrong, returns, mask) == pytest.approx(1.0)
    assert explained_variance(returns + 3, returns, mask) == pytest.approx(1.0)
    assert explained_variance(torch.zeros(1, 8), returns, mask) == pytest.approx(0.0)
    assert explained_variance(2 * returns, returns, mask) == pytest.approx(0.0, abs=1e-5)
