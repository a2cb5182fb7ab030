"""Win rates of arms against a reference: as they are, and at equal length."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ilf.stats._logistic import logistic, sigmoid
from ilf.stats._score import share_ends
from ilf.stats._student import t_quantile
from ilf.stats.components import Cells
from ilf.stats.intervals import Interval
from ilf.stats.preferences import Verdicts


def cluster_share(values: ArrayLike, clusters: ArrayLike, *, level: float = 0.95) -> Interval:
    """Mean of values in [0, 1] (wins, agreements), of which those of one cluster (a prompt) go together.

    Wilson's interval (an exact one near 0 and 1) for as many independent trials as have the standard error
    over clusters, with t for z; where all values are 0 or all 1, a cluster counts as one trial. None with a
    reason below two clusters.
    """
    value = np.asarray(values, dtype=np.float64)
    names, index = np.unique(np.asarray(clusters), return_inverse=True)
    if len(value) == 0:
        return Interval(None, reason="no verdicts")
    share = float(value.mean())
    n = len(names)
    if n < 2:
        return Interval(
            share, prompts=n, reason="only one prompt: no variance between prompts can be estimated"
        )
    sums = np.bincount(index, weights=value - share)
    error = math.sqrt(n / (n - 1) * float((sums**2).sum())) / len(value)
    inside = share * (1 - share)
    if error == 0 and inside:
        return Interval(
            share, prompts=n, reason="every prompt has the same share: no variance can be estimated"
        )
    # A binary value has no less variance than the binomial's; with halves it may.
    least = inside / len(value) if np.isin(value, (0, 1)).all() else 0.0
    trials = inside / max(error**2, least) if inside else float(n)
    low, high = share_ends(share, trials, t_quantile((1 + level) / 2, n - 1), level)
    return Interval(share, low, high, standard_error=error, df=n - 1, prompts=n)


def win_rates(verdicts: Verdicts, arms: int, reference: int = 0, *, level: float = 0.95) -> list[Interval]:
    """Share of its verdicts against the reference that each arm wins, a tie half; .5 is "no better".

    ``arms`` intervals, the reference's own empty.
    """
    found = []
    for arm in range(arms):
        rows, won = _against(verdicts, arm, reference)
        known = cluster_share(won, verdicts.prompt[rows], level=level)
        found.append(Interval(None, reason="the reference") if arm == reference else known)
    return found


def length_controlled(
    verdicts: Verdicts,
    log_length: ArrayLike,
    arms: int,
    reference: int = 0,
    *,
    level: float = 0.95,
    ridge: float = 1e-3,
) -> tuple[list[Interval], Interval]:
    """Win rates against the reference read at equal length, and the slope: log odds a unit of log length.

    ``log_length`` (verdicts,) is ln(first answer's length / second's). Wins (a tie half) are fitted by a
    logistic curve with one intercept an arm and one slope for all (the length part of Dubois et al. 2024,
    arXiv 2404.04475); intervals from the variance over prompts (sandwich), with t, on the scale of log odds.
    """
    length = np.asarray(log_length, dtype=np.float64)
    if length.shape != verdicts.outcome.shape or not np.isfinite(length).all():
        raise ValueError(f"log_length of shape {length.shape} for {len(verdicts.outcome)} verdicts")
    tested = [arm for arm in range(arms) if arm != reference]
    design, won, prompt = [], [], []
    for column, arm in enumerate(tested):
        rows, wins = _against(verdicts, arm, reference)
        part = np.zeros((len(rows), len(tested) + 1))
        part[:, column] = 1
        part[:, -1] = np.where(verdicts.first[rows] == arm, length[rows], -length[rows])
        design.append(part)
        won.append(wins)
        prompt.append(verdicts.prompt[rows])
    x, y, clusters = np.concatenate(design), np.concatenate(won), np.concatenate(prompt)
    n = len(np.unique(clusters))
    if n < 2:
        raise ValueError("verdicts of fewer than two prompts: no variance between prompts can be estimated")
    beta, errors = logistic(x, y, clusters, ridge)
    quantile = t_quantile((1 + level) / 2, n - 1)
    rates: list[Interval] = [Interval(None, reason="the reference")] * arms
    for column, arm in enumerate(tested):
        mine = x[:, column] == 1
        rates[arm] = _at_equal_length(y[mine], clusters[mine], beta[column], quantile * errors[column])
    slope, reach = float(beta[-1]), quantile * float(errors[-1])
    return rates, Interval(slope, slope - reach, slope + reach, standard_error=float(errors[-1]), prompts=n)


def _at_equal_length(won: Cells, clusters: NDArray[np.int64], log_odds: float, reach: float) -> Interval:
    n = len(np.unique(clusters))
    if len(won) == 0:
        return Interval(None, reason="no verdicts")
    if won.min() == won.max() != 0.5:
        return Interval(None, prompts=n, reason="it won, or lost, every verdict: length cannot be taken off")
    rate, low, high = (float(sigmoid(np.asarray(v))) for v in (log_odds, log_odds - reach, log_odds + reach))
    return Interval(rate, low, high, prompts=n)


def _against(verdicts: Verdicts, arm: int, reference: int) -> tuple[NDArray[np.int64], Cells]:
    """Rows of an arm against the reference, and what the arm won of them."""
    first = (verdicts.first == arm) & (verdicts.second == reference)
    second = (verdicts.first == reference) & (verdicts.second == arm)
    rows = np.flatnonzero(first | second)
    return rows, np.where(first[rows], verdicts.outcome[rows], 1 - verdicts.outcome[rows])
