"""Intervals of means and differences: prompts and seeds are both samples; what cannot be known is None.

Differences are paired: cell (p, s) is one prompt under one seed, graded for both arms. Simulated coverage:
``benchmarks/coverage.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from ilf.stats._score import RARE, score_ends, share_ends
from ilf.stats._student import t_quantile, t_two_sided_p
from ilf.stats.components import Cells, MeanSquare, variance_and_df

ONE_SEED = "training variance unknown"
_SAME = 1e-12  # differences closer than this are rounding, not variance


@dataclass(frozen=True)
class Interval:
    """An estimate and its two-sided interval; what is unknown is None and ``reason`` says why.

    ``p`` is two-sided against 0, None where 0 means nothing (one arm's mean, a proportion). ``mde`` is the
    smallest true value that this design would have told from 0 with 80 % power at alpha .05. ``note`` says
    what the interval leaves out or borrows.
    """

    estimate: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    mde: float | None = None
    standard_error: float | None = None
    df: float | None = None
    prompts: int = 0
    seeds: int = 0
    note: str = ""
    reason: str | None = None


def paired_interval(
    differences: ArrayLike,
    pooled_ms: MeanSquare | None = None,
    *,
    level: float = 0.95,
    within: tuple[float, float] | None = None,
) -> Interval:
    """Mean of paired differences (prompts, seeds) with a t interval from two-way random effects.

    ``n S SE^2 = max(MSP, MSE) + max(MSS - MSE, 0)``: MSP + MSS - MSE with each variance component cut at 0;
    Satterthwaite degrees of freedom. ``pooled_ms`` (of ``pooled_arm_by_seed``) replaces MSS and the MSE taken
    off it: pass it where both arms are trained. With one seed only prompts vary, and the note says so.
    ``within`` is the range of the grades: with it, arms that never differ get an interval too.
    """
    values, unknown = _table(differences)
    if unknown is None:
        return _t_interval(values, pooled_ms, level, against_zero=True)
    if unknown.low is None and unknown.estimate == 0 and within is not None and len(values) > 1:
        return _never_different(values, level, within)
    return unknown


def mean_interval(
    grades: ArrayLike, *, level: float = 0.95, within: tuple[float, float] | None = None
) -> Interval:
    """Mean grade of one arm (prompts, seeds), model of ``paired_interval``; cut to the range ``within``.

    Grades that are one or the other end of ``within`` (right or wrong), one of them seldom, get the interval
    of as many independent trials as have the variance found; all at one end, of a trial a prompt.
    """
    values, unknown = _table(grades)
    bottom, top = within or (-math.inf, math.inf)
    if unknown is not None:
        at_end = unknown.estimate is not None and unknown.estimate in (bottom, top) and len(values) > 1
        return _all_at_one_end(values, level, (bottom, top)) if at_end else unknown
    found = _t_interval(values, None, level, against_zero=False)
    if found.low is None or found.high is None:
        return found
    ends = _binary_ends(found, values, level, within) if within is not None else None
    low, high = ends or (max(found.low, bottom), min(found.high, top))
    return replace(found, low=low, high=high)


def _t_interval(values: Cells, pooled: MeanSquare | None, level: float, *, against_zero: bool) -> Interval:
    """Of a table with variance in it."""
    prompts, seeds = values.shape
    mean = float(values.mean())
    if seeds == 1:
        variance, df = float(values.var(ddof=1)), float(prompts - 1)
        note = ONE_SEED
    else:
        variance, df = variance_and_df(values, pooled)
        note = f"seed variance pooled over {pooled.arms} arms" if pooled else ""
    error = math.sqrt(variance / values.size)
    reach = t_quantile((1 + level) / 2, df) * error
    return Interval(
        estimate=mean,
        low=mean - reach,
        high=mean + reach,
        p=t_two_sided_p(mean / error, df) if against_zero else None,
        mde=minimum_detectable_effect(error, df) if against_zero else None,
        standard_error=error,
        df=df,
        prompts=prompts,
        seeds=seeds,
        note=note,
    )


def _binary_ends(
    found: Interval, values: Cells, level: float, within: tuple[float, float]
) -> tuple[float, float] | None:
    """Ends for the number of independent trials that would have the standard error found, at most all cells.

    None where grades are not binary, or neither right nor wrong is rare: there t is as good.
    """
    assert found.estimate is not None
    assert found.standard_error is not None
    assert found.df is not None
    bottom, width = within[0], within[1] - within[0]
    share = (found.estimate - bottom) / width
    trials, quantile = float(values.size), NormalDist().inv_cdf((1 + level) / 2)
    if found.seeds > 1:
        trials = min(trials, share * (1 - share) * (width / found.standard_error) ** 2)
        quantile = t_quantile((1 + level) / 2, found.df)
    if trials * min(share, 1 - share) >= RARE or not np.isin(values, within).all():
        return None
    low, high = share_ends(share, trials, quantile, level)
    return bottom + width * low, bottom + width * high


def _all_at_one_end(values: Cells, level: float, within: tuple[float, float]) -> Interval:
    """All grades the worst or all the best: a prompt counts as one trial, whatever its seeds.

    P(a grade is at its best) is at most its mean in units of the range, so the binomial's bound holds.
    """
    prompts, seeds = values.shape
    bottom, width = within[0], within[1] - within[0]
    normal = NormalDist().inv_cdf((1 + level) / 2)
    low, high = share_ends((values[0, 0] - bottom) / width, prompts, normal, level)
    note = f"all {values.size} grades are equal: the interval of {prompts} trials, a prompt each"
    ends = (bottom + width * low, bottom + width * high)
    return Interval(float(values[0, 0]), *ends, prompts=prompts, seeds=seeds, note=note)


def _never_different(values: Cells, level: float, within: tuple[float, float]) -> Interval:
    """|mean| <= range times P(a prompt differs), and that probability is below the upper end for 0 of n."""
    prompts, seeds = values.shape
    share = share_ends(0.0, prompts, NormalDist().inv_cdf((1 + level) / 2), level)[1]
    reach = (within[1] - within[0]) * share
    note = f"no prompt differs: at most {share:.0%} of all prompts do"
    return Interval(0.0, -reach, reach, p=1.0, prompts=prompts, seeds=seeds, note=note)


def _table(cells: ArrayLike) -> tuple[Cells, Interval | None]:
    """The (prompts, seeds) table, and the interval with its reason where there can be none."""
    values = np.asarray(cells, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"expected (prompts, seeds), not an array of shape {values.shape}")
    prompts, seeds = values.shape
    missing = int((~np.isfinite(values)).any(axis=1).sum()) if seeds else prompts
    if prompts == 0 or seeds == 0:
        reason = "no graded rows"
    elif missing:
        reason = f"{missing} of {prompts} prompts lack a grade"
    elif prompts == 1:
        reason = "only one prompt: no variance between prompts can be estimated"
    elif float(np.ptp(values)) <= _SAME * max(1.0, float(np.abs(values).max())):
        reason = f"all {values.size} values are equal: no variance can be estimated"
    else:
        return values, None
    mean = float(values.mean()) if values.size and not missing else None
    return values, Interval(mean, prompts=prompts, seeds=seeds, reason=reason)


def minimum_detectable_effect(
    standard_error: float, df: float, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Smallest true effect seen with the given power: (t_{1 - alpha/2, df} + t_{power, df}) SE."""
    return (t_quantile(1 - alpha / 2, df) + t_quantile(power, df)) * standard_error


def cluster_bootstrap(
    differences: ArrayLike, generator: np.random.Generator, *, draws: int = 2000, level: float = 0.95
) -> Interval:
    """Percentile interval from redrawing prompts and, independently, seeds: a second opinion, shown beside.

    It covers too little at three seeds (80-94 %): three seeds redrawn understate their variance.
    """
    values, unknown = _table(differences)
    if unknown is not None:
        return unknown
    prompts, seeds = values.shape
    prompt_counts = generator.multinomial(prompts, np.full(prompts, 1 / prompts), size=draws)
    seed_counts = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
    means = ((prompt_counts @ values) * seed_counts).sum(axis=1) / values.size
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        estimate=float(values.mean()),
        low=float(low),
        high=float(high),
        standard_error=float(means.std(ddof=1)),
        prompts=prompts,
        seeds=seeds,
        note=ONE_SEED if seeds == 1 else "",
    )


def wilson_interval(successes: int, trials: int, *, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion: every p with |successes / trials - p| <= z sd(p)."""
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials")
    if trials == 0:
        return Interval(None, reason="no trials")
    share = successes / trials
    low, high = score_ends(share, trials, NormalDist().inv_cdf((1 + level) / 2))
    return Interval(share, low, high, prompts=trials)
