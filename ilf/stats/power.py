"""Which effect a design can see, before anyone is paid: the power of ``paired_interval``'s own test.

Under normal effects the mean is independent of the mean squares, and these are multiples of chi-squares. The
power is therefore a normal probability averaged over the three mean squares, on a grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from ilf.stats._student import t_quantile
from ilf.stats.components import Cells, MeanSquare, combine_mean_squares, mean_squares

_MOST_PROMPTS = 1_000_000
_GRID = (48, 96, 24)  # points for the mean squares of prompts, seeds, residual


@dataclass(frozen=True)
class Spread:
    """Standard deviations of a paired difference, in units of the grade.

    ``prompt_sd``: how its true value varies over prompts; ``seed_sd``: over trainings, each side's together;
    ``rest_sd``: what is left in one cell.
    """

    prompt_sd: float
    seed_sd: float
    rest_sd: float


def spread_of(differences: ArrayLike, pooled: MeanSquare | None = None) -> Spread:
    """Variance components of a pilot's (prompts, seeds) by the method of moments, each cut at 0.

    ``pooled`` (of ``pooled_arm_by_seed``) gives the seeds' component where both arms are trained. ValueError
    below two prompts or two seeds, or with a grade missing.
    """
    table = np.asarray(differences, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise ValueError(f"a pilot needs 2 prompts and 2 seeds or more, all graded, not {table.shape}")
    prompts, seeds = table.shape
    between_prompts, between_seeds, rest = mean_squares(table)
    above = pooled.value - pooled.residual if pooled else between_seeds - rest
    return Spread(
        prompt_sd=math.sqrt(max(between_prompts - rest, 0.0) / seeds),
        seed_sd=math.sqrt(max(above, 0.0) / prompts),
        rest_sd=math.sqrt(rest),
    )


def power(
    effect: float,
    spread: Spread,
    prompts: int,
    seeds: int,
    *,
    comparisons: int = 1,
    trained_arms: int | None = None,
    alpha: float = 0.05,
) -> float:
    """Probability that ``paired_interval`` tells a true ``effect`` from 0.

    ``comparisons`` is the family's size: power under Holm's first and hardest step, alpha over all of them.
    ``trained_arms`` are those over which the seeds' variance is pooled (None: not pooled). With one seed the
    training's variance is not in the test, so ``seed_sd`` must be 0.
    """
    design = _Design(prompts, seeds, trained_arms, alpha / comparisons)
    variance, reach = _test(design, spread)
    if variance == 0:
        return 1.0 if effect else 0.0
    shift = abs(effect) / math.sqrt(variance)
    upper, weights = reach
    return float(weights @ (_normal_cdf(shift - upper) + _normal_cdf(-shift - upper)))


def smallest_effect(
    spread: Spread,
    prompts: int,
    seeds: int,
    *,
    power_wanted: float = 0.8,
    comparisons: int = 1,
    trained_arms: int | None = None,
    alpha: float = 0.05,
) -> float:
    """The true effect that this design sees with ``power_wanted``, in units of the grade."""
    design = _Design(prompts, seeds, trained_arms, alpha / comparisons)
    variance, (upper, weights) = _test(design, spread)

    def reached(shift: float) -> bool:
        return float(weights @ (_normal_cdf(shift - upper) + _normal_cdf(-shift - upper))) >= power_wanted

    low, high = 0.0, 1.0
    while not reached(high):
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high * math.sqrt(variance)


def prompts_needed(
    effect: float,
    spread: Spread,
    seeds: int,
    *,
    power_wanted: float = 0.8,
    comparisons: int = 1,
    trained_arms: int | None = None,
    alpha: float = 0.05,
) -> int | None:
    """Fewest prompts with which an ``effect`` is seen with ``power_wanted``; None where no number is enough.

    More prompts do not make up for few seeds: their variance stays.
    """

    def enough(prompts: int) -> bool:
        return (
            power(
                effect,
                spread,
                prompts,
                seeds,
                comparisons=comparisons,
                trained_arms=trained_arms,
                alpha=alpha,
            )
            >= power_wanted
        )

    low, high = 1, 2
    while not enough(high):
        low, high = high, 2 * high
        if high > _MOST_PROMPTS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class _Design:
    prompts: int
    seeds: int
    trained_arms: int | None
    alpha: float

    def __post_init__(self) -> None:
        if self.prompts < 2 or self.seeds < 1 or not 0 < self.alpha < 1:
            raise ValueError(f"{self.prompts} prompts, {self.seeds} seeds, alpha {self.alpha}: no test")


def _test(design: _Design, spread: Spread) -> tuple[float, tuple[Cells, Cells]]:
    """(Var of the mean, (edges of the test in its standard deviations, their probabilities))."""
    n, s = design.prompts, design.seeds
    prompt, seed, rest = spread.prompt_sd**2, spread.seed_sd**2, spread.rest_sd**2
    variance = prompt / n + seed / s + rest / (n * s)
    if s == 1:
        if seed:
            raise ValueError(
                "with one seed the variance of training cannot be in the test: seed_sd must be 0"
            )
        ratio, weights = _chi_square(n - 1, 400)
        return variance, (np.sqrt(ratio) * t_quantile(1 - design.alpha / 2, n - 1), weights)
    if variance == 0:
        return 0.0, (np.zeros(1), np.ones(1))
    pooled = (design.trained_arms or 0) > 1
    rest_df = (n - 1) * (s - 1)
    seed_df = (s - 1) * ((design.trained_arms or 2) - 1 if pooled else 1)
    (p, wp), (q, wq), (e, we) = (
        _chi_square(df, points) for df, points in zip((n - 1, seed_df, rest_df), _GRID, strict=True)
    )
    residual = rest * e[None, None, :]
    within = np.maximum((s * prompt + rest) * p[:, None, None], residual)
    # The pooled residual has many degrees of freedom: taken as known.
    below, below_df = (np.asarray(rest), (n - 1) * seed_df) if pooled else (residual, rest_df)
    squares = (within, (n * seed + rest) * q[None, :, None], below)
    estimated, df = combine_mean_squares(squares, (n - 1, seed_df, below_df))
    edges = np.sqrt(estimated / (n * s * variance)) * _t_edges(df, design.alpha)
    weights = wp[:, None, None] * wq[None, :, None] * we[None, None, :]
    return variance, (edges.ravel(), np.broadcast_to(weights, edges.shape).ravel())


@lru_cache(maxsize=256)
def _chi_square(df: float, points: int) -> tuple[Cells, Cells]:
    """Values of a chi-square over its ``df`` and their probabilities, evenly spaced in the logarithm."""
    width = 8 * math.sqrt(2 / df)
    logs = np.linspace(-min(width + 18 / df, 60), min(width, 6), points)
    density = df / 2 * (logs - np.exp(logs))  # of the log of chi-square / df, up to a constant
    weights: Cells = np.exp(density - density.max())
    values: Cells = np.exp(logs)
    shares: Cells = weights / float(weights.sum())
    return values, shares


def _t_edges(df: Cells, alpha: float) -> Cells:
    """T's quantile at many degrees of freedom, its logarithm read off a table over 1 / df."""
    steps, values = _edge_table(alpha)
    return np.asarray(np.exp(np.interp(1 / df, steps, values)))


@lru_cache(maxsize=64)
def _edge_table(alpha: float) -> tuple[Cells, Cells]:
    steps = np.concatenate([[0.0], np.geomspace(1e-6, 4.0, 600)])
    values = [t_quantile(1 - alpha / 2, math.inf if step == 0 else 1 / step) for step in steps]
    return steps, np.log(values)


def _normal_cdf(z: Cells) -> Cells:
    """Read off a table of 4,001 points, linear between: exact to 1e-6."""
    grid, values = _normal_table()
    return np.interp(z, grid, values)


@lru_cache(maxsize=1)
def _normal_table() -> tuple[Cells, Cells]:
    grid: Cells = np.arange(-2000, 2001) / 250
    return grid, np.array([NormalDist().cdf(z) for z in grid])
