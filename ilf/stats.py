"""Honest intervals: prompts and seeds are both samples, and what cannot be known is None with a reason.

Differences are paired: cell (p, s) is one prompt under one seed, graded for both arms. numpy is all this file
needs: scipy comes with sentence-transformers only, an extra, so Student's t is written out here and the tests
hold it against scipy. Simulated coverage of the intervals: ``benchmarks/coverage.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

ONE_SEED = "training variance unknown"
_SAME = 1e-12  # differences closer than this are rounding, not variance
_NORMAL_DF = 1e7  # above, t and the normal agree to 1e-7 and lgamma loses digits

Cells = NDArray[np.float64]


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


@dataclass(frozen=True)
class MeanSquare:
    """Arm-by-seed mean square of many arms and the residual below it, both on the scale of a difference."""

    value: float
    df: float
    residual: float
    residual_df: float
    arms: int


def t_two_sided_p(t: float, df: float) -> float:
    """P(|T| >= |t|) of Student's t: the regularised incomplete beta I_x(df/2, 1/2) at x = df / (df + t^2)."""
    if df > _NORMAL_DF:
        return 2 * NormalDist().cdf(-abs(t))
    x, y = df / (df + t * t), t * t / (df + t * t)
    if x <= 0 or y <= 0:
        return 0.0 if x <= 0 else 1.0
    a, b = df / 2, 0.5
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(y))
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(x, a, b) / a
    return 1 - front * _beta_fraction(y, b, a) / b


def _beta_fraction(x: float, a: float, b: float) -> float:
    """Continued fraction of the incomplete beta by Lentz' method (DLMF 8.17.22)."""
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d, c = 1 / (1 + even * d), 1 + even / c
        value *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d, c = 1 / (1 + odd * d), 1 + odd / c
        value *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return value


def t_quantile(probability: float, df: float) -> float:
    """The t with P(T <= t) = ``probability``, 0 < probability < 1, by Newton's method.

    The upper tail is convex and the normal quantile lies left of the root, so every step moves towards it.
    """
    if probability < 0.5:
        return -t_quantile(1 - probability, df)
    t = NormalDist().inv_cdf(probability)
    if df > _NORMAL_DF or probability == 0.5:
        return t
    constant = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi)
    for _ in range(1_000):
        density = math.exp(constant - (df + 1) / 2 * math.log1p(t * t / df))
        step = (t_two_sided_p(t, df) / 2 - (1 - probability)) / density
        t += step
        if step <= 1e-13 * t:
            break
    return t


def paired_interval(
    differences: ArrayLike, pooled_ms: MeanSquare | None = None, *, level: float = 0.95
) -> Interval:
    """Mean of paired differences (prompts, seeds) with a t interval from two-way random effects.

    ``n S SE^2 = max(MSP, MSE) + max(MSS - MSE, 0)``: MSP + MSS - MSE with each variance component cut at 0;
    Satterthwaite degrees of freedom. ``pooled_ms`` (of ``pooled_arm_by_seed``) replaces MSS and the MSE taken
    off it: pass it where both arms are trained. With one seed only prompts vary, and the note says so.
    """
    return _two_way(differences, pooled_ms, level, against_zero=True)


def mean_interval(
    grades: ArrayLike, *, level: float = 0.95, within: tuple[float, float] | None = None
) -> Interval:
    """Mean grade of one arm (prompts, seeds), model of ``paired_interval``; cut to the range ``within``."""
    return _two_way(grades, None, level, against_zero=False, within=within)


def pooled_arm_by_seed(grades: ArrayLike) -> MeanSquare | None:
    """Arm-by-seed mean square of trained arms (arms, prompts, seeds), doubled: the scale of a difference.

    A seed's effect that all arms share cancels in a difference and is taken out. None where there is none:
    below two arms, prompts or seeds, or with a grade missing.
    """
    y = np.asarray(grades, dtype=np.float64)
    if y.ndim != 3:
        raise ValueError(f"grades must be (arms, prompts, seeds), not of shape {y.shape}")
    arms, prompts, seeds = y.shape
    if min(y.shape) < 2 or not np.isfinite(y).all():
        return None
    by_seed = y.mean(axis=1, keepdims=True)
    inter = by_seed - y.mean((1, 2), keepdims=True) - y.mean((0, 1), keepdims=True) + y.mean()
    by_prompt = y.mean(axis=2, keepdims=True) - y.mean((1, 2), keepdims=True)
    own = y - by_seed - by_prompt  # (arms, prompts, seeds): what is left within each arm
    residual = own - own.mean(axis=0, keepdims=True)
    df = (arms - 1) * (seeds - 1)
    residual_df = df * (prompts - 1)
    return MeanSquare(
        value=2 * prompts * float((inter**2).sum()) / df,
        df=df,
        residual=2 * float((residual**2).sum()) / residual_df,
        residual_df=residual_df,
        arms=arms,
    )


def complete_prompts(cells: ArrayLike) -> tuple[Cells, int]:
    """The prompts (first axis) without a missing cell, and how many were left out: count and show them."""
    values = np.asarray(cells, dtype=np.float64)
    whole = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    return values[whole], int((~whole).sum())


def mean_squares(cells: Cells) -> tuple[float, float, float]:
    """(MSP, MSS, MSE) of a (prompts, seeds) table, 2 x 2 or more: prompts, seeds, residual."""
    prompts, seeds = cells.shape
    mean, by_prompt, by_seed = cells.mean(), cells.mean(axis=1), cells.mean(axis=0)
    residual = cells - by_prompt[:, None] - by_seed[None, :] + mean
    return (
        seeds * float(by_prompt.var(ddof=1)),
        prompts * float(by_seed.var(ddof=1)),
        float((residual**2).sum()) / ((prompts - 1) * (seeds - 1)),
    )


def _two_way(
    cells: ArrayLike,
    pooled: MeanSquare | None,
    level: float,
    *,
    against_zero: bool,
    within: tuple[float, float] | None = None,
) -> Interval:
    values, unknown = _table(cells)
    if unknown is not None:
        return unknown
    prompts, seeds = values.shape
    mean = float(values.mean())
    if seeds == 1:
        variance, df = float(values.var(ddof=1)), float(prompts - 1)
        note = ONE_SEED
    else:
        variance, df = _variance_and_df(values, pooled)
        note = f"seed variance pooled over {pooled.arms} arms" if pooled else ""
    error = math.sqrt(variance / values.size)
    reach = t_quantile((1 + level) / 2, df) * error
    bottom, top = within or (-math.inf, math.inf)
    return Interval(
        estimate=mean,
        low=max(mean - reach, bottom),
        high=min(mean + reach, top),
        p=t_two_sided_p(mean / error, df) if against_zero else None,
        mde=minimum_detectable_effect(error, df) if against_zero else None,
        standard_error=error,
        df=df,
        prompts=prompts,
        seeds=seeds,
        note=note,
    )


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


def _variance_and_df(values: Cells, pooled: MeanSquare | None) -> tuple[float, float]:
    """The variance n S SE^2 and Satterthwaite's degrees of freedom."""
    prompts, seeds = values.shape
    between_prompts, between_seeds, residual = mean_squares(values)
    within_seeds = max(between_prompts, residual)
    seed_df, below, below_df = float(seeds - 1), residual, float((prompts - 1) * (seeds - 1))
    if pooled:
        between_seeds, seed_df = pooled.value, pooled.df
        below, below_df = pooled.residual, pooled.residual_df
    variance = within_seeds + max(between_seeds - below, 0.0)
    spread = within_seeds**2 / (prompts - 1) + between_seeds**2 / seed_df + below**2 / below_df
    return variance, variance**2 / spread


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
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, weight = successes / trials, z * z / trials
    centre = (share + weight / 2) / (1 + weight)
    reach = math.sqrt(weight * (share * (1 - share) + weight / 4)) / (1 + weight)
    return Interval(share, max(0.0, centre - reach), min(1.0, centre + reach), prompts=trials)


def kendall_tau_b(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's tau_b, ties in either taken out of the pairs; None where one side is all ties."""
    if len(first) != len(second):
        raise ValueError(f"{len(first)} values against {len(second)}")
    upper = np.triu_indices(len(first), k=1)
    a, b = (np.sign(np.subtract.outer(x, x))[upper] for x in (np.asarray(first), np.asarray(second)))
    untied = float(np.count_nonzero(a)) * float(np.count_nonzero(b))
    return float((a * b).sum()) / math.sqrt(untied) if untied else None


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down p values in the order given; an unknown p stays None but counts as a comparison."""
    order = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p))
        adjusted[index] = largest
    return adjusted
