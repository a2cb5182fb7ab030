"""A scale with round ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ilf._report.figures import Json, number


@dataclass(frozen=True)
class Axis:
    """A scale for plots: values to shares of the width (or height), with round ticks."""

    low: float
    high: float
    step: float

    @classmethod
    def over(cls, rows: Iterable[Json | None], key: str, also: Sequence[float] = ()) -> Axis | None:
        """The axis that holds the estimates ``key`` and intervals of all rows, or None without numbers."""
        found = [number(row.get(k)) for row in rows if row for k in (key, "low", "high")]
        known = [value for value in found if value is not None]
        return cls.holding([*also, *known]) if known else None

    @classmethod
    def holding(cls, values: Sequence[float], least: float = 0.01) -> Axis:
        """The axis that holds all values (one or more, finite) and is at least ``least`` long."""
        span = max(max(values) - min(values), least)
        power = 10.0 ** math.floor(math.log10(span / 5))
        step = next(power * m for m in (1, 2, 5, 10) if power * m >= span / 5.0001)
        low, high = math.floor(min(values) / step) * step, math.ceil(max(values) / step) * step
        pad = 0.02 * (max(high, low + step) - low)
        return cls(low - pad, max(high, low + step) + pad, step)

    def share(self, value: float) -> float:
        """Position of a value, 0 at the low end and 1 at the high one."""
        return (value - self.low) / (self.high - self.low)

    def at(self, value: object) -> str:
        """Position of a value, in percent."""
        return f"{100 * self.share(number(value) or 0.0):.2f}%"

    @property
    def ticks(self) -> list[tuple[str, str]]:
        """(position, label) of each tick."""
        return [(self.at(value), label) for value, label in self.marks]

    @property
    def marks(self) -> list[tuple[float, str]]:
        """(value, label) of each tick; a label of many digits is written with an exponent."""
        digits = max(0, -math.floor(math.log10(self.step) + 1e-9))
        first, last = math.ceil(self.low / self.step), math.floor(self.high / self.step)
        values = [i * self.step for i in range(first, last + 1)]
        return [(value, f"{value:.{digits}f}" if digits < 5 else f"{value:.6g}") for value in values]
