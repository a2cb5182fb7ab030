"""The losses of reward models: by hand, by brute force, and by what must not matter."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from ilf.strategies.reward import bradley_terry_loss, plackett_luce_loss


def said(gap: float, *, tied: bool = False, margin: float = 0.0, **how: Any) -> float:
    return bradley_terry_loss(torch.tensor([gap]), torch.tensor([tied]), torch.tensor([margin]), **how).item()


def test_bradley_terry_by_hand() -> None:
    """A gap of log 3 is a chance of 3/4."""
    gap = math.log(3)
    assert said(gap) == pytest.approx(math.log(4 / 3))
    assert said(-gap) == pytest.approx(math.log(4))
    assert said(gap, tied=True) == said(-gap, tied=True) == pytest.approx(math.log(16 / 3) / 2)
    assert said(gap + 0.5, margin=0.5) == pytest.approx(math.log(4 / 3))
    assert said(gap, label_smoothing=0.1) == pytest.approx(0.9 * math.log(4 / 3) + 0.1 * math.log(4))
    # The other way round the margin counts the other way round too.
    assert said(0.3, margin=0.7, label_smoothing=0.2) == pytest.approx(0.8 * said(-0.4) + 0.2 * said(-1.0))
    assert said(500.0) == 0.0
    assert said(-500.0) == pytest.approx(500.0)


def test_davidson_by_hand() -> None:
    """Worths 4 and 1 with nu 2: 4, 1 and 2 sqrt(4) of 9."""
    nu = {"log_nu": torch.tensor(2.0).log()}
    assert said(math.log(4), **nu) == pytest.approx(math.log(9 / 4), rel=1e-6)
    assert said(-math.log(4), **nu) == pytest.approx(math.log(9), rel=1e-6)
    assert said(math.log(4), tied=True, **nu) == pytest.approx(math.log(9 / 4), rel=1e-6)
    for gap in (-3.0, 0.2, 40.0):
        outcomes = (said(gap, **nu), said(-gap, **nu), said(gap, tied=True, **nu))
        assert sum(math.exp(-loss) for loss in outcomes) == pytest.approx(1.0)


def placed(rewards: Sequence[float], levels: Sequence[int]) -> float:
    return plackett_luce_loss(torch.tensor([rewards]), torch.tensor([levels])).item()


def test_plackett_luce_by_hand() -> None:
    """Worths 4, 2, 1, 1: 4 of 8, then 2 of 4, then 1 of 2."""
    worths = [math.log(w) for w in (4, 2, 1, 1)]
    assert placed(worths, [0, 1, 2, 3]) == pytest.approx(math.log(8))
    assert placed(worths, [3, 2, 1, 0]) == pytest.approx(math.log(8 * 7 * 3))
    # Worths 3, 2, 1, the first two tied: 6, then 6 less half of 5 (Efron); both are chosen.
    assert placed([math.log(w) for w in (3, 2, 1)], [0, 0, 1]) == pytest.approx(math.log(6 * 3.5 / (3 * 2)))


def test_all_orders_together_are_certain() -> None:
    values = torch.tensor([0.3, -1.2, 2.0, 0.1])
    orders = [list(order) for order in itertools.permutations(range(4))]
    losses = plackett_luce_loss(values.expand(24, 4), torch.tensor(orders))
    assert (-losses).exp().sum().item() == pytest.approx(1.0)


def test_a_ranking_of_two_is_a_pair() -> None:
    for a, b in ((0.3, -1.0), (-2.0, 5.0)):
        assert placed([a, b], [0, 1]) == pytest.approx(said(a - b))
        assert placed([b, a], [1, 0]) == pytest.approx(said(a - b))


def test_a_constant_padding_and_the_order_of_texts_change_nothing() -> None:
    values = torch.tensor([[0.3, -1.2, 2.0, 0.1, 0.8]])
    for levels in ([0, 1, 2, 3, 4], [1, 0, 1, 2, 2], [0, 0, 0, 1, 1]):
        expected = plackett_luce_loss(values, torch.tensor([levels]))
        assert torch.allclose(plackett_luce_loss(values + 7, torch.tensor([levels])), expected, atol=1e-5)
        padded = torch.cat([values, torch.tensor([[99.0, -99.0]])], dim=1).requires_grad_()
        found = plackett_luce_loss(padded, torch.tensor([[*levels, -1, -1]]))
        found.sum().backward()
        assert torch.allclose(found, expected, atol=1e-5)
        assert padded.grad is not None
        assert padded.grad[0, 5:].tolist() == [0, 0]
        assert padded.grad.sum().item() == pytest.approx(0.0, abs=1e-6)
        order = [3, 1, 4, 0, 2]
        moved = plackett_luce_loss(values[:, order], torch.tensor([[levels[i] for i in order]]))
        assert torch.allclose(moved, expected, atol=1e-5)


def test_texts_that_all_tie_are_drawn_together() -> None:
    for losses in (placed, lambda r, _: said(r[0] - r[1], tied=True)):
        assert losses([0.0, 0.0], [0, 0]) < losses([0.0, 0.5], [0, 0]) < losses([0.0, 1.5], [0, 0])
