"""Formulas that strategies with a reward share: masked means, whitening, KL estimators, the clipped loss.

Pure functions of tensors. B texts of at most T tokens, padded on the right; a mask (B, T) is true where a
token counts. Log-probabilities are natural logs, KL is in nats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Estimator = Literal["k1", "k2", "k3"]

#: Added to a variance before its root is taken.
_TINY = 1e-8
#: How far one step may move the adaptive coefficient, as a share of it, times ``n / horizon``.
_MOST = 0.2


def masked_sum(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Sum over what counts: a scalar. What does not count may be anything, NaN included."""
    return values.masked_fill(~mask, 0.0).sum()


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over all that counts, long texts weighing more: a scalar."""
    return masked_sum(values, mask) / mask.sum()


def whiten(values: torch.Tensor, mask: torch.Tensor, *, shift_mean: bool = True) -> torch.Tensor:
    """To mean 0 and standard deviation 1 over what counts, 0 elsewhere: (B, T).

    ``shift_mean`` False keeps the mean (Ziegler 2019, for rewards). The variance is divided by n, as there
    and in Huang et al. 2024 (TRL divides by n - 1).
    """
    mean = masked_mean(values, mask)
    variance = masked_mean((values - mean) ** 2, mask)
    whitened = (values - mean) * (variance + _TINY).rsqrt()
    return (whitened if shift_mean else whitened + mean).masked_fill(~mask, 0.0)


def kl_estimate(logprobs: torch.Tensor, reference: torch.Tensor, estimator: Estimator) -> torch.Tensor:
    """Estimates of KL(policy || reference) per token from the policy's samples; d = logprobs - reference.

    k1 = d, unbiased, of either sign; k2 = d^2 / 2, biased, small variance; k3 = e^-d - 1 + d, unbiased and
    never below 0 (http://joschu.net/blog/kl-approx.html).
    """
    difference = logprobs - reference
    if estimator == "k1":
        return difference
    if estimator == "k2":
        return difference**2 / 2
    return (-difference).expm1() + difference


def policy_loss(ratio: torch.Tensor, advantages: torch.Tensor, clip_range: float) -> torch.Tensor:
    """max(-A rho, -A clip(rho, 1 - c, 1 + c)) per token: (B, T), for advantages (B, T) or (B, 1).

    The clipped surrogate of Schulman et al. 2017 (1707.06347, eq. 7), ``ratio`` being p / p_old (B, T).
    """
    import torch

    return torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - clip_range, 1 + clip_range))


def adapted_kl_coef(kl_coef: float, kl: float, *, target: float, horizon: float, n_episodes: int) -> float:
    """The coefficient of the next step: beta * (1 + clip(kl / target - 1, +-.2) * n / horizon), Ziegler 2019.

    ``kl`` and ``target`` are nats a text; ``horizon`` is in episodes.
    """
    error = max(-_MOST, min(_MOST, kl / target - 1))
    return kl_coef * (1 + error * n_episodes / horizon)
