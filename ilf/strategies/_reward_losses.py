"""The losses of reward models: -log P of what was said about texts, from their rewards."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def bradley_terry_loss(
    gaps: torch.Tensor,
    is_tied: torch.Tensor,
    margins: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    log_nu: torch.Tensor | None = None,
) -> torch.Tensor:
    """-log P of what was said about pairs with reward gaps r(chosen) - r(rejected), all (n,), in nats.

    P(chosen better) = sigmoid(gap - margin), and with the share ``label_smoothing`` the pair is the other way
    round, its margin too. A tie (its margin is not read) has the target one half; with ``log_nu`` Davidson's
    probability nu / (e^(gap/2) + e^(-gap/2) + nu), and nu stands in the others' denominators as well.
    """
    import torch

    def surprise(x: torch.Tensor) -> torch.Tensor:
        if log_nu is None:
            return torch.nn.functional.softplus(-x)
        return _log_total(x, log_nu) - x / 2

    told = (1 - label_smoothing) * surprise(gaps - margins) + label_smoothing * surprise(-gaps - margins)
    even = (surprise(gaps) + surprise(-gaps)) / 2
    return torch.where(is_tied, even if log_nu is None else _log_total(gaps, log_nu) - log_nu, told)


def _log_total(x: torch.Tensor, log_nu: torch.Tensor) -> torch.Tensor:
    """log(e^(x/2) + e^(-x/2) + nu)."""
    import torch

    return torch.stack([x / 2, -x / 2, log_nu.expand_as(x)]).logsumexp(0)


def plackett_luce_loss(ranked: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    """-log P of rankings: rewards and their ranks (n, K), 0 for the best and -1 for padding; (n,), in nats.

    The best is chosen among all, the next among the rest, and so on: sum of logsumexp over what is left,
    minus the chosen one's reward (Plackett 1975, Luce 1959). Ties by Efron's method (1977): the k-th of m
    tied places is chosen among the rest and the tied ones, each of these weighted by 1 - k/m.
    """
    import torch

    is_there = levels >= 0
    pair_there = is_there[:, :, None] & is_there[:, None, :]
    left = pair_there & (levels[:, None, :] >= levels[:, :, None])  # (n, K, K): j is left when i is chosen
    tied = pair_there & (levels[:, None, :] == levels[:, :, None])
    earlier = torch.ones_like(tied[0]).tril(-1)
    gone = (tied & earlier).sum(-1) / tied.sum(-1).clamp(min=1)  # (n, K): k / m
    weights = left.to(ranked.dtype) - tied * gone[:, :, None]
    # Padding chooses among nothing: it is given something, and masked afterwards.
    weights = torch.where(is_there[:, :, None], weights, torch.ones_like(weights))
    totals = (ranked[:, None, :] + weights.log()).logsumexp(-1)
    return ((totals - ranked) * is_there).sum(-1)
