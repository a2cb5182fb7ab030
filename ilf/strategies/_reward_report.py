"""How well rewards tell better texts from worse ones, how sure they are, and what length alone would do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilf.stats import Interval, kendall_tau_b, mean_interval, t_quantile
from ilf.strategies._comparisons import Comparison
from ilf.strategies._pairs import pair_accuracy

_BINS = 5
#: Doublings in search of a slope; rewards that would need more tell all pairs apart.
_DOUBLINGS = 40

Found = dict[str, Any]


def report(
    comparisons: Sequence[Comparison], rewards: Sequence[Sequence[float]], *, n_ties: int = 0
) -> Found | None:
    """Accuracy, calibration and the part of length, over pairs that are not tied; None without any.

    Intervals (95 %) are over prompts, because the pairs of a prompt are dependent. ``accuracy``: share of
    pairs whose better text has the higher reward; ``length_accuracy``: whose better text is the longer (in
    tokens); equal ones count one half. ``length_agreement``: Kendall's tau_b of reward and length within a
    prompt, mean over prompts. For calibration see ``calibration``.
    """
    groups = [one.group for one in comparisons for _ in one.ordered]
    if not groups:
        return None
    gaps: list[float] = []
    longer: list[float] = []
    taus: list[float] = []
    for one, values in zip(comparisons, rewards, strict=True):
        lengths = [float(len(text.completion)) for text in one.texts]
        gaps += [values[i] - values[j] for i, j in one.ordered]
        longer += [lengths[i] - lengths[j] for i, j in one.ordered]
        tau = kendall_tau_b(values, lengths)
        taus += [] if tau is None else [tau]
    accuracy = {key.removeprefix("_"): v for key, v in pair_accuracy(gaps, groups, prefix="").items()}
    by_length = pair_accuracy(longer, groups, prefix="length")
    agreement = mean_interval([[tau] for tau in taus], within=(-1.0, 1.0)) if taus else Interval(None)
    return {
        **accuracy,
        "ties": n_ties,
        **{key: by_length[key] for key in by_length if key.startswith("length_accuracy")},
        "length_agreement": agreement.estimate,
        "length_agreement_low": agreement.low,
        "length_agreement_high": agreement.high,
        **calibration(gaps, groups),
    }


def calibration(gaps: Sequence[float], groups: Sequence[str]) -> Found:
    """Whether P(better) = sigmoid(reward gap) is as often right as it says; gaps are better minus worse.

    ``calibration``: bins of the probability given to the text that is preferred, with counts;
    ``calibration_error``: their mean |observed - predicted|, weighted by counts; ``calibration_slope``: the s
    with the highest likelihood in P = sigmoid(s gap), 1 for calibrated and below 1 for too sure rewards, with
    an interval over prompts; None where the rewards tell all pairs right, or all wrong.
    """
    values = np.asarray(gaps, dtype=np.float64)
    predicted = _sigmoid(np.abs(values))
    observed = np.where(values == 0, 0.5, values > 0)
    places = np.minimum((predicted - 0.5) * 2 * _BINS, _BINS - 1).astype(int)
    bins: list[Found] = []
    for place in sorted(set(places.tolist())):
        inside = places == place
        bins.append({
            "low": 0.5 + place / (2 * _BINS),
            "high": 0.5 + (place + 1) / (2 * _BINS),
            "n": int(inside.sum()),
            "predicted": float(predicted[inside].mean()),
            "observed": float(observed[inside].mean()),
        })  # fmt: skip
    error = sum(b["n"] * abs(b["observed"] - b["predicted"]) for b in bins) / len(values)
    slope, low, high = _slope(values, groups)
    return {
        "calibration_error": error,
        "calibration_slope": slope,
        "calibration_slope_low": low,
        "calibration_slope_high": high,
        "calibration": bins,
    }


def _slope(
    gaps: NDArray[np.float64], groups: Sequence[str]
) -> tuple[float | None, float | None, float | None]:
    """The slope by bisection (its score falls), and its interval from scores summed by prompt (sandwich)."""
    if (gaps >= 0).all() or (gaps <= 0).all():
        return None, None, None
    scale = 1 / float(np.abs(gaps).max())
    low, high = -scale, scale
    for _ in range(_DOUBLINGS):
        low = low if _score(gaps, low).sum() > 0 else 2 * low
        high = high if _score(gaps, high).sum() < 0 else 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if _score(gaps, middle).sum() > 0 else (low, middle)
    slope = (low + high) / 2
    by_group: dict[str, float] = {}
    for group, score in zip(groups, _score(gaps, slope).tolist(), strict=True):
        by_group[group] = by_group.get(group, 0.0) + score
    n = len(by_group)
    curvature = float((gaps**2 * _sigmoid(slope * gaps) * _sigmoid(-slope * gaps)).sum())
    if n < 2:
        return slope, None, None
    variance = n / (n - 1) * sum(score**2 for score in by_group.values()) / curvature**2
    reach = t_quantile(0.975, n - 1) * math.sqrt(variance)
    return slope, slope - reach, slope + reach


def _score(gaps: NDArray[np.float64], slope: float) -> NDArray[np.float64]:
    """Derivative of every pair's log-likelihood log sigmoid(slope gap)."""
    return gaps * _sigmoid(-slope * gaps)


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Written so that no exponential overflows."""
    return (1 + np.tanh(x / 2)) / 2
