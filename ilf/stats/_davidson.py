"""Maximum likelihood of Davidson's model, many data sets at once."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilf.stats.components import Cells

Places = NDArray[np.int64]
_STEPS = 100
_SMALL = 1e-5  # the step after one as short as this is its square
_LONGEST = 2.0  # a Newton step longer than this in any parameter is cut: a data set without losses has no end


@dataclass(frozen=True)
class Pairs:
    """The comparisons: two arms each, and covariates (comparisons, k), first less second."""

    first: Places
    second: Places
    covariates: Cells

    @functools.cached_property
    def runs(self) -> Places:
        """Where another two arms begin: neighbours of the same two are summed before they are scattered."""
        changes = (np.diff(self.first) != 0) | (np.diff(self.second) != 0)
        return np.flatnonzero(np.concatenate([[True], changes]))


def probabilities(lead: Cells, log_tie: Cells) -> tuple[Cells, Cells, Cells]:
    """(first wins, second wins, tie) with ``lead`` = s_first - s_second; nu sqrt(w w') / (w + w' + ...)."""
    # Over the stronger one's weight: sqrt of the weaker's, in (0, 1], so that nothing overflows.
    root = np.exp(np.abs(lead) / -2)
    tie = np.exp(log_tie) * root
    weaker = root * root
    stronger = 1 / (1 + weaker + tie)
    weaker, tie = weaker * stronger, tie * stronger
    ahead = lead >= 0
    return np.where(ahead, stronger, weaker), np.where(ahead, weaker, stronger), tie


def fit(
    pairs: Pairs,
    counts: Cells,
    arms: int,
    reference: int,
    ridge: float,
    *,
    start: Cells | None = None,
) -> Cells:
    """(Data sets, arms + k + 1): strengths, coefficients and log nu, by Newton's method.

    ``counts`` (data sets, comparisons, 3) are how often each came out 1, 0 and .5.
    The log likelihood is concave (a log-sum-exp of linear terms), so cut steps arrive as well.
    """
    size = arms + pairs.covariates.shape[1] + 1
    parameters = np.zeros((len(counts), size)) if start is None else np.repeat(start, len(counts), axis=0)
    kept = np.flatnonzero(np.arange(size) != reference)
    running = np.arange(len(counts))
    for _ in range(_STEPS):
        slope, bend = _derivatives(pairs, counts[running], parameters[running], arms)
        slope = slope[:, kept] - ridge * parameters[running][:, kept]
        bend = bend[:, kept[:, None], kept[None, :]] + ridge * np.eye(len(kept))
        step = np.linalg.solve(bend, slope[..., None])[..., 0]
        longest = np.abs(step).max(axis=1)
        step *= np.minimum(1, _LONGEST / np.maximum(longest, 1e-300))[:, None]
        parameters[running[:, None], kept[None, :]] += step
        running = running[longest > _SMALL]
        if not len(running):
            return parameters
    raise RuntimeError(f"Newton's method did not arrive in {_STEPS} steps")


def _derivatives(pairs: Pairs, counts: Cells, parameters: Cells, arms: int) -> tuple[Cells, Cells]:
    """Gradient (data sets, parameters) of the log likelihood, and minus its Hessian."""
    runs, x = pairs.runs, pairs.covariates
    i, j, k = pairs.first[runs], pairs.second[runs], x.shape[1]
    lead = np.repeat(parameters[:, i] - parameters[:, j], np.diff(runs, append=len(x)), axis=1)
    lead += parameters[:, arms : arms + k] @ x.T
    win, loss, tie = probabilities(lead, parameters[:, -1:])
    won, lost, tied = np.moveaxis(counts, 2, 0)
    total = won + lost + tied
    gap = (win - loss) / 2
    by_lead = (won - lost) / 2 - total * gap
    by_tie = tied - total * tie
    bend_lead = total * ((win + loss) / 4 - gap**2)
    bend_both = -total * gap * tie

    def by_run(values: Cells) -> Cells:
        return np.add.reduceat(values, runs, axis=1)

    def to_arms(values: Cells) -> Cells:
        summed = by_run(values)
        return _scatter(i, summed, arms) - _scatter(j, summed, arms)

    slope = np.concatenate([to_arms(by_lead), by_lead @ x, by_tie.sum(axis=1, keepdims=True)], axis=1)
    bend = np.zeros((len(counts), arms + k + 1, arms + k + 1))
    bend_run = by_run(bend_lead)
    across = _scatter(i * arms + j, bend_run, arms * arms).reshape(-1, arms, arms)
    bend[:, :arms, :arms] = -across - across.transpose(0, 2, 1)
    diagonal = np.arange(arms)
    bend[:, diagonal, diagonal] += _scatter(i, bend_run, arms) + _scatter(j, bend_run, arms)
    for c in range(k):
        bend[:, :arms, arms + c] = bend[:, arms + c, :arms] = to_arms(bend_lead * x[:, c])
    products = (x[:, :, None] * x[:, None, :]).reshape(len(x), k * k)
    bend[:, arms : arms + k, arms : arms + k] = (bend_lead @ products).reshape(len(counts), k, k)
    edge = np.concatenate([to_arms(bend_both), bend_both @ x], axis=1)
    bend[:, -1, :-1] = bend[:, :-1, -1] = edge
    bend[:, -1, -1] = (total * tie * (1 - tie)).sum(axis=1)
    return slope, bend


def _scatter(index: Places, values: Cells, size: int) -> Cells:
    """Sums of ``values`` (data sets, comparisons) by ``index``: (data sets, size)."""
    rows = np.arange(len(values))[:, None] * size
    flat = np.bincount((rows + index).ravel(), weights=values.ravel(), minlength=len(values) * size)
    return np.asarray(flat, dtype=np.float64).reshape(len(values), size)
