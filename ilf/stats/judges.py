"""A judge is never trusted: his mistakes are measured where people graded too, and taken off or shown.

``prediction_powered_mean`` joins few human verdicts and many of a judge; ``judge_card`` says how good he is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ilf.stats._logistic import logistic
from ilf.stats._score import RARE, share_ends
from ilf.stats._student import t_quantile
from ilf.stats.components import Cells
from ilf.stats.intervals import Interval
from ilf.stats.win_rates import cluster_share

#: Human verdicts below which there is no interval, and pairs below which a judge is called unreliable.
FEWEST_HUMAN = 20
_FOLDS = 5
_BINS = 10

Indices = NDArray[np.int64]


def prediction_powered_mean(
    human: ArrayLike,
    judge: ArrayLike,
    judge_rest: ArrayLike,
    *,
    within: tuple[float, float] | None = None,
    level: float = 0.95,
) -> Interval:
    """Mean human verdict over all prompts: people and the judge on the same n, the judge alone on the rest.

    ``mean(human - l judge) + l mean(judge_rest)`` (PPI, Angelopoulos et al. 2023, arXiv 2301.09633), with the
    l in [0, 1] of least variance (PPI++, arXiv 2311.01453, section 6): a judge of no use gets 0, a biased one
    is corrected. l is fitted on the other folds, and t has Satterthwaite's degrees of freedom: with l from
    the same rows and z, intervals cover 88-93 % at n 15-30. ``within`` is the range of shares and win rates;
    it gives the ends of a share, as needed near 0 and 1. None with a reason below ``FEWEST_HUMAN`` people's
    verdicts.
    """
    y, f, rest = (np.asarray(values, dtype=np.float64).ravel() for values in (human, judge, judge_rest))
    if len(y) != len(f):
        raise ValueError(f"{len(y)} human verdicts and {len(f)} of the judge on the same rows")
    n = len(y)
    if not all(np.isfinite(values).all() for values in (y, f, rest)):
        return Interval(None, prompts=n, reason="a verdict is missing")
    if n < FEWEST_HUMAN or len(rest) < 2:
        reason = f"{n} human verdicts and {len(rest)} more of the judge: {FEWEST_HUMAN} and 2 are needed"
        return Interval(float(y.mean()) if n else None, prompts=n, reason=reason)
    fold = np.arange(n) % _FOLDS
    tuned = np.array([_least_variance(y[fold != k], f[fold != k], len(rest)) for k in range(_FOLDS)])
    left = y - tuned[fold] * f
    weight = float(tuned[fold].mean())
    estimate = float(left.mean()) + weight * float(rest.mean())
    # One degree of freedom for the mean, one for l.
    of_human = float(((left - left.mean()) ** 2).sum()) / (n - 2) / n
    of_judge = weight**2 * float(rest.var(ddof=1)) / len(rest)
    variance = of_human + of_judge
    df = variance**2 / (of_human**2 / (n - 2) + of_judge**2 / (len(rest) - 1)) if variance else float(n - 2)
    error, quantile = math.sqrt(variance), t_quantile((1 + level) / 2, df)
    note = f"{n} human verdicts; the judge's {len(rest)} more weigh {weight:.2f}"
    if within is not None:
        low, high = _ends((estimate, error), n, quantile, level, within)
        estimate = min(max(estimate, within[0]), within[1])
    elif not variance:
        return Interval(estimate, prompts=n, reason=f"all {n} values are equal: no variance can be estimated")
    else:
        low, high = estimate - quantile * error, estimate + quantile * error
    return Interval(estimate, low, high, standard_error=error, df=df, prompts=n, note=note)


def _least_variance(y: Cells, f: Cells, rest: int) -> float:
    spread = float(f.var(ddof=1))
    if not spread:
        return 0.0
    together = float(((y - y.mean()) * (f - f.mean())).sum()) / (len(y) - 1)
    return min(1.0, max(0.0, together / ((1 + len(y) / rest) * spread)))


def _ends(
    found: tuple[float, float], human: int, quantile: float, level: float, within: tuple[float, float]
) -> tuple[float, float]:
    """Ends for as many trials as have this error; where one side is rare, 2 a human verdict at most.

    Few rows of the rarer kind say little of how well the judge finds them.
    """
    (estimate, error), (bottom, width) = found, (within[0], within[1] - within[0])
    share = min(max((estimate - bottom) / width, 0.0), 1.0)
    inside = share * (1 - share)
    trials = inside * (width / error) ** 2 if inside and error else float(human)
    if human * min(share, 1 - share) < RARE:
        trials = min(trials, 2.0 * human)
    low, high = share_ends(share, trials, quantile, level)
    return bottom + width * low, bottom + width * high


@dataclass(frozen=True)
class JudgeCard:
    """How a judge compares with people on the same pairs; None where it was not measured.

    ``agreement``: share of pairs with the same verdict; ``kappa``: Cohen's, chance taken off; ``ece``: mean
    gap between his probability and people's verdict over bins of equal size; ``slope``: of people's log odds
    on his, 1 is calibrated, below 1 too sure; ``flips``: share of pairs where the order shown changes his
    verdict; ``prefers_longer``, ``people_prefer_longer``: among pairs of unequal length, a tie half.
    ``unreliable`` says why no claim may rest on him, or is None.
    """

    pairs: int
    agreement: Interval
    kappa: Interval
    ece: float | None
    slope: Interval | None
    flips: Interval | None
    prefers_longer: Interval | None
    people_prefer_longer: Interval | None
    unreliable: str | None


def judge_card(
    human: ArrayLike,
    judge: ArrayLike,
    *,
    prompts: ArrayLike | None = None,
    probability: ArrayLike | None = None,
    swapped: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
) -> JudgeCard:
    """The card from verdicts on the same pairs: 1 the first answer is better, 0 the second, .5 neither.

    ``prompts`` (pairs,) say which pairs go together; ``probability`` is the judge's for 1; ``swapped`` are
    his verdicts with the answers shown in the other order, told of the same first answer; ``lengths`` the
    first answer's length less the second's. Shares have Wilson's interval over prompts, kappa that of leaving
    out one prompt at a time, the slope that of the variance over prompts.
    """
    people, his = (np.asarray(values, dtype=np.float64) for values in (human, judge))
    n = len(people)
    clusters = np.arange(n) if prompts is None else np.unique(np.asarray(prompts), return_inverse=True)[1]
    given = {"judge": his, "prompts": clusters, "probability": probability}
    given |= {"swapped": swapped, "lengths": lengths}
    for name, values in given.items():
        if values is not None and np.shape(values) != (n,):
            raise ValueError(f"{name} of shape {np.shape(values)} for {n} human verdicts")
    if not (np.isin(people, (0, 0.5, 1)).all() and np.isin(his, (0, 0.5, 1)).all()):
        raise ValueError("verdicts are 1, .5 or 0")
    if (
        probability is not None
        and not ((np.asarray(probability) >= 0) & (np.asarray(probability) <= 1)).all()
    ):
        raise ValueError("a judge's probabilities lie in 0..1")
    agreement = cluster_share(people == his, clusters)
    told = None if probability is None else np.asarray(probability, dtype=np.float64)
    flips = None if swapped is None else cluster_share(np.asarray(swapped) != his, clusters)
    longer = None if lengths is None else np.asarray(lengths, dtype=np.float64)
    return JudgeCard(
        pairs=n,
        agreement=agreement,
        kappa=_jackknife(lambda rows: _kappa(people[rows], his[rows]), clusters),
        ece=None if told is None or not n else _calibration_error(people, told),
        slope=None if told is None else _slope(people, told, clusters),
        flips=flips,
        prefers_longer=_longer(his, longer, clusters),
        people_prefer_longer=_longer(people, longer, clusters),
        unreliable=_reason(n, agreement),
    )


def _reason(pairs: int, agreement: Interval) -> str | None:
    if pairs < FEWEST_HUMAN:
        return f"only {pairs} pairs were graded by people: {FEWEST_HUMAN} are needed"
    return agreement.reason


def _kappa(people: Cells, his: Cells) -> float | None:
    """(agreement - chance) / (1 - chance), Cohen 1960; None where both always say the same."""
    chance = sum(float((people == v).mean()) * float((his == v).mean()) for v in (0, 0.5, 1))
    return None if chance >= 1 - 1e-12 else (float((people == his).mean()) - chance) / (1 - chance)


def _slope(people: Cells, told: Cells, clusters: Indices) -> Interval:
    edge = np.clip(told, 1e-3, 1 - 1e-3)
    odds = np.log(edge / (1 - edge))
    n = len(np.unique(clusters))
    if n < 3 or np.ptp(odds) == 0 or np.ptp(people) == 0:
        return Interval(None, prompts=n, reason="too few different verdicts or probabilities")
    beta, errors = logistic(np.stack([np.ones(len(odds)), odds], axis=1), people, clusters, 1e-3)
    slope, error = float(beta[1]), float(errors[1])
    reach = t_quantile(0.975, n - 1) * error
    return Interval(slope, slope - reach, slope + reach, standard_error=error, df=n - 1, prompts=n)


def _jackknife(statistic: Callable[[Indices], float | None], clusters: Indices) -> Interval:
    """T interval from leaving out one cluster at a time (Miller 1974)."""
    every = np.arange(len(clusters))
    names = np.unique(clusters)
    n = len(names)
    whole = statistic(every) if len(every) else None
    without = [statistic(every[clusters != name]) for name in names] if n > 2 else []
    known = np.array([value for value in without if value is not None])
    if whole is None or len(known) < max(n, 3):
        return Interval(whole, prompts=n, reason="too few different verdicts")
    error = math.sqrt((n - 1) / n * float(((known - known.mean()) ** 2).sum()))
    reach = t_quantile(0.975, n - 1) * error
    return Interval(whole, whole - reach, whole + reach, standard_error=error, df=n - 1, prompts=n)


def _calibration_error(people: Cells, told: Cells) -> float:
    """Expected calibration error over ``_BINS`` bins of (nearly) equal size, fewer below 5 pairs a bin."""
    order = np.argsort(told, kind="stable")
    bins = np.array_split(order, max(1, min(_BINS, len(order) // 5)))
    return float(sum(abs((people[part] - told[part]).sum()) for part in bins)) / len(order)


def _longer(verdicts: Cells, lengths: Cells | None, clusters: Indices) -> Interval | None:
    if lengths is None:
        return None
    uneven = lengths != 0
    longer = np.where(lengths > 0, verdicts, 1 - verdicts)[uneven]
    return cluster_share(longer, clusters[uneven])
