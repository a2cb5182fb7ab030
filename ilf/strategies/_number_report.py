"""How well rewards order texts as numbers do that were said about them, and what length alone would do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilf.stats import kendall_tau_b, t_quantile
from ilf.strategies._pairs import pair_accuracy

Found = dict[str, Any]
Floats = NDArray[np.float64]


def number_report(
    rewards: Sequence[float], numbers: Sequence[float], lengths: Sequence[int], groups: Sequence[str]
) -> Found | None:
    """Agreement of rewards with the numbers of the same texts; None where no two numbers differ.

    ``accuracy``: share of pairs of texts with different numbers that rewards order alike, equal rewards one
    half, with a 95 % interval by the jackknife over prompts (``groups``), for a prompt is in many pairs;
    ``length_accuracy`` the same for the shorter text. ``rank_correlation``: Kendall's tau_b.
    ``within_prompts``: the accuracy over pairs of one prompt, None without such pairs.
    """
    x, n = np.asarray(rewards, np.float64), np.asarray(numbers, np.float64)
    owners = np.unique(np.asarray(groups), return_inverse=True)[1]
    weights = (np.subtract.outer(n, n) > 0).astype(np.float64)  # (rows, rows): i was called better than j
    if not weights.any():
        return None
    accuracy, low, high, reason = _jackknifed(_alike(x), weights, owners)
    by_length, *_ = _jackknifed(_alike(-np.asarray(lengths, np.float64)), weights, owners)
    return {
        "rows": len(x),
        "prompts": int(owners.max()) + 1,
        "pairs": int(weights.sum()),
        "accuracy": accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        **({"accuracy_reason": reason} if reason else {}),
        "length_accuracy": by_length,
        "rank_correlation": kendall_tau_b(list(rewards), list(numbers)),
        "within_prompts": _within(x, weights, owners, groups),
    }


def _alike(values: Floats) -> Floats:
    """(rows, rows): 1 where the first has the higher value, one half where they are equal."""
    found: Floats = (np.sign(np.subtract.outer(values, values)) + 1) / 2
    return found


def _jackknifed(
    alike: Floats, weights: Floats, owners: NDArray[np.intp]
) -> tuple[float, float | None, float | None, str | None]:
    """The share of pairs that are ordered alike, and its interval from leaving out a prompt at a time."""
    n_prompts = int(owners.max()) + 1
    hits, pairs = alike * weights, weights
    share = float(hits.sum() / pairs.sum())
    is_one = owners[:, None] == owners[None, :]

    def left(table: Floats) -> Floats:
        """What is left of a table's sum without each prompt's rows and columns."""
        gone = np.bincount(owners, table.sum(1) + table.sum(0) - (table * is_one).sum(1))
        rest: Floats = table.sum() - gone
        return rest

    rest = left(pairs)
    if n_prompts < 3 or (rest <= 0).any():
        return share, None, None, "too few prompts with different numbers for an interval"
    without = left(hits) / rest
    variance = float((n_prompts - 1) / n_prompts * ((without - without.mean()) ** 2).sum())
    reach = t_quantile(0.975, n_prompts - 1) * math.sqrt(variance)
    return share, max(0.0, share - reach), min(1.0, share + reach), None


def _within(x: Floats, weights: Floats, owners: NDArray[np.intp], groups: Sequence[str]) -> Found | None:
    first, second = np.nonzero(weights * (owners[:, None] == owners[None, :]))
    if not len(first):
        return None
    found = pair_accuracy((x[first] - x[second]).tolist(), [groups[i] for i in first], prefix="")
    return {key.removeprefix("_"): value for key, value in found.items()}
