"""Where the variance of graded cells comes from: mean squares of prompts, seeds and the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Cells = NDArray[np.float64]


@dataclass(frozen=True)
class MeanSquare:
    """Arm-by-seed mean square of many arms and the residual below it, both on the scale of a difference."""

    value: float
    df: float
    residual: float
    residual_df: float
    arms: int


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


def variance_and_df(values: Cells, pooled: MeanSquare | None) -> tuple[float, float]:
    """The variance n S SE^2 and its degrees of freedom."""
    prompts, seeds = values.shape
    between_prompts, between_seeds, residual = mean_squares(values)
    seed_df, below, below_df = float(seeds - 1), residual, float((prompts - 1) * (seeds - 1))
    if pooled:
        between_seeds, seed_df = pooled.value, pooled.df
        below, below_df = pooled.residual, pooled.residual_df
    squares = (max(between_prompts, residual), between_seeds, below)
    variance, df = combine_mean_squares(squares, (prompts - 1, seed_df, below_df))
    return float(variance), float(df)


def combine_mean_squares(
    squares: tuple[ArrayLike, ArrayLike, ArrayLike], dfs: tuple[float, float, float]
) -> tuple[Cells, Cells]:
    """(Variance n S SE^2, degrees of freedom) of (prompts, seeds, residual) mean squares, element by element.

    The degrees of freedom are Satterthwaite's with the seeds' mean square taken ``1 + 3 / df^2`` times: on 2
    degrees of freedom it is often far too small, and his rule then trusts the many of the prompts. At 3
    seeds this lifts the least coverage from 92.1 to 93.6 %; from 8 degrees on it is hardly seen.
    """
    within_seeds, between_seeds, below = (np.asarray(square, dtype=np.float64) for square in squares)
    prompt_df, seed_df, below_df = dfs
    doubted = (1 + 3 / seed_df**2) * between_seeds
    variance = within_seeds + np.maximum(doubted - below, 0.0)
    spread = within_seeds**2 / prompt_df + doubted**2 / seed_df + below**2 / below_df
    return within_seeds + np.maximum(between_seeds - below, 0.0), variance**2 / spread
