"""Looking again while people still annotate: an interval that holds at every look, or no verdict yet."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ilf.stats._student import t_quantile
from ilf.stats.intervals import Interval

#: Prompts before the first look: the sequence is asymptotic, its variance an estimate.
FIRST_LOOK = 20


def verdict_allowed(prompts: int, planned: int) -> bool:
    """Whether a verdict may be given by an ordinary interval: only once the planned prompts are in."""
    return prompts >= planned


def confidence_sequence(differences: ArrayLike, planned: int, *, level: float = 0.95) -> Interval:
    """Interval of the mean of one value a prompt that holds at all looks together, at any number of them.

    Asymptotic confidence sequence with a normal mixture (Waudby-Smith et al. 2021, arXiv 2103.06476, theorem
    2.2), tightest at ``planned`` prompts: about 1.5 times as wide there as the interval of a single look. Its
    width is raised by t over the normal quantile for the estimated variance. ``differences`` (prompts,) or
    (prompts, seeds), which are averaged: training variance is not in it. ``p`` holds at any look as well.
    None with a reason below ``FIRST_LOOK`` prompts.
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values.mean(axis=1) if values.ndim == 2 else values
    if values.ndim != 1 or planned < 1:
        raise ValueError(f"expected one value a prompt and planned >= 1, not {values.shape} and {planned}")
    prompts = len(values)
    if not np.isfinite(values).all():
        return Interval(None, prompts=prompts, reason="a prompt lacks a grade")
    mean = float(values.mean()) if prompts else None
    if mean is None or prompts < FIRST_LOOK:
        reason = f"{prompts} prompts: no look before {FIRST_LOOK}"
        return Interval(mean, prompts=prompts, reason=reason)
    spread = float(values.std(ddof=1))
    if spread == 0:
        return Interval(mean, prompts=prompts, reason=f"all {prompts} values are equal")
    error = spread * _inflation(prompts, level) / math.sqrt(prompts)
    ratio = _mixture(level) * prompts / planned  # t rho^2
    reach = error * math.sqrt((ratio + 1) / ratio * (math.log1p(ratio) - 2 * math.log(1 - level)))
    exponent = ratio / (ratio + 1) * (mean / error) ** 2 / 2
    return Interval(
        estimate=mean,
        low=mean - reach,
        high=mean + reach,
        p=min(1.0, math.sqrt(1 + ratio) * math.exp(-exponent)),
        standard_error=spread / math.sqrt(prompts),
        prompts=prompts,
        note="holds at every look; the prompts vary, the training does not",
    )


def _inflation(prompts: int, level: float) -> float:
    """T over normal quantile: what an estimated variance costs."""
    share = (1 + level) / 2
    return t_quantile(share, prompts - 1) / t_quantile(share, math.inf)


def _mixture(level: float) -> float:
    """The y = t rho^2 at which the sequence is tightest at t: y = ln(1 + y) + 2 ln(1 / alpha)."""
    start = -2 * math.log(1 - level)
    y = start + 1
    for _ in range(100):
        y = start + math.log1p(y)
    return y
