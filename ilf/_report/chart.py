"""A line chart as paths in a box of 1000: thin lines for seeds, a thick one for their mean.

The box is stretched to the place there is and strokes keep their width, so that a chart is readable at any
width and its labels, which stand outside, keep their size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ilf._report.axis import Axis
from ilf._report.figures import plain
from ilf._report.series import Cells

BOX = 1000.0
#: Points of a line, and places to point at, that a chart has at most.
POINTS, SPOTS = 240, 48


@dataclass(frozen=True)
class Line:
    """A path in the box; ``arm`` says which colour."""

    path: str
    arm: int
    is_mean: bool


@dataclass(frozen=True)
class Spot:
    """A part of the plot from ``left`` on that tells its numbers when it is pointed at."""

    left: float
    width: float
    tip: str


@dataclass(frozen=True)
class Dot:
    """A point of the mean line that tells its numbers; ``kind``: ``step``, ``peak`` or ``last``."""

    path: str
    arm: int
    kind: str
    tip: str


@dataclass(frozen=True)
class Chart:
    """One small picture; ``turns`` are vertical lines (path, arm) where the arm's grade was highest."""

    title: str
    about: str
    across: str
    x: Axis
    y: Axis
    lines: Sequence[Line]
    label: str
    turns: Sequence[tuple[str, int]] = ()
    spots: Sequence[Spot] = ()
    dots: Sequence[Dot] = ()

    @property
    def grid(self) -> str:
        """The horizontal lines at the ticks, as one path."""
        return "".join(f"M0 {BOX * (1 - self.y.share(value)):.1f}H{BOX:.0f}" for value, _ in self.y.marks)


def figure(value: float) -> str:
    """``0.643``; a whole number without a point; what would round to 0.000 keeps two digits: ``1.5e-05``."""
    if value == int(value):
        return plain(value, 0)
    return plain(value) if abs(value) >= 5e-4 else f"{value:.2g}"


def axis(values: Cells) -> Axis:
    """The axis that holds the values that are known, not blown up around a column that hardly moves.

    It shows no numbers below 0, or above 1, for a column that has none there.
    """
    known = values[np.isfinite(values)]
    low, high = float(known.min()), float(known.max())
    least = 0.05 * max(abs(low), abs(high)) or 1.0
    missing = max(least - (high - low), 0.0) / 2
    bottom = low - missing if low < 0 else max(low - missing, 0.0)
    top = high + missing if high > 1 else min(high + missing, 1.0)
    return Axis.holding([bottom, top], least=least / 2)


def path(xs: Cells, ys: Cells, axes: tuple[Axis, Axis]) -> str:
    """The points joined, with a gap where one is unknown; a point alone is a dot."""
    pen, parts = "M", []
    for a, b in zip(xs, ys, strict=True):
        if not (np.isfinite(a) and np.isfinite(b)):
            pen = "M"
            continue
        parts.append(f"{pen}{place(a, b, axes)}{'h0' if pen == 'M' else ''}")
        pen = "L"
    return "".join(parts)


def place(a: float, b: float, axes: tuple[Axis, Axis]) -> str:
    """A point as ``x y`` in the box, y downwards."""
    return f"{BOX * axes[0].share(a):.1f} {BOX * (1 - axes[1].share(b)):.1f}"


def label(title: str, across: str, arms: Mapping[str, tuple[Cells, ...]]) -> str:
    """What the picture shows, in words: where each mean line starts, is highest, and ends."""
    told = []
    for name, (xs, ys) in arms.items():
        known = np.flatnonzero(np.isfinite(xs) & np.isfinite(ys))
        if len(known):
            first, last, top = known[0], known[-1], known[ys[known].argmax()]
            told.append(
                f"{name}: {figure(ys[first])} at {figure(xs[first])}, highest {figure(ys[top])} at "
                f"{figure(xs[top])}, last {figure(ys[last])} at {figure(xs[last])}"
            )
    return f"{title} by {across}. " + "; ".join(told)
