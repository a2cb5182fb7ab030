"""Student's t written out: scipy comes with an extra only, and the tests hold these against it."""

from __future__ import annotations

import math
from statistics import NormalDist

_NORMAL_DF = 1e7  # above, t and the normal agree to 1e-7 and lgamma loses digits


_LEAST_DF = (
    0.01  # below, the quantile leaves what a float can hold; at .01 it is 1e128, and nothing is claimed
)


def t_two_sided_p(t: float, df: float) -> float:
    """P(|T| >= |t|) of Student's t: the regularised incomplete beta I_x(df/2, 1/2) at x = df / (df + t^2)."""
    if df > _NORMAL_DF:
        return 2 * NormalDist().cdf(-abs(t))
    return beta_share(df / (df + t * t), df / 2, 0.5, rest=t * t / (df + t * t))


def beta_share(x: float, a: float, b: float, rest: float | None = None) -> float:
    """The regularised incomplete beta I_x(a, b); ``rest`` is 1 - x where that is known more exactly."""
    y = 1 - x if rest is None else rest
    if x <= 0 or y <= 0:
        return 0.0 if x <= 0 else 1.0
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
    t, df = NormalDist().inv_cdf(probability), max(df, _LEAST_DF)
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
