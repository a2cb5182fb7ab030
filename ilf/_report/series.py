"""Columns of training logs as arrays: one row per seed, aligned by step."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilf._report.figures import Json, number

Log = Sequence[Json]
Cells = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Series:
    """One column of the logs of one arm: ``steps`` (T,) rising, ``values`` (seeds, T), NaN where unknown.

    ``seeds`` are the indices of the logs that have the column at all.
    """

    steps: Cells
    values: Cells
    seeds: tuple[int, ...]

    @property
    def mean(self) -> Cells:
        """Mean over seeds (T,), NaN at a step that a seed lacks: a mean over fewer would jump there."""
        return np.asarray(self.values.mean(axis=0)) if self.seeds else np.empty(0)

    def thinned(self, most: int) -> Series:
        """At most ``most`` points: each the mean of so many successive steps, at their mean step."""
        size = -(-len(self.steps) // most)
        if size <= 1:
            return self
        cuts = np.arange(0, len(self.steps), size)
        known = np.isfinite(self.values)
        counts = np.add.reduceat(known, cuts, axis=1, dtype=np.int64)
        sums = np.add.reduceat(np.where(known, self.values, 0.0), cuts, axis=1)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        steps = np.add.reduceat(self.steps, cuts) / np.diff([*cuts, len(self.steps)])
        return Series(steps, means, self.seeds)


def series(logs: Sequence[Log], column: str) -> Series:
    """The column over all logs of an arm; of two rows of one step the later counts."""
    found = [_by_step(log, column) for log in logs]
    seeds = tuple(index for index, known in enumerate(found) if known)
    steps = sorted({step for known in found for step in known})
    values = [[found[index].get(step, np.nan) for step in steps] for index in seeds]
    return Series(np.array(steps, dtype=float), _table(values, len(seeds), len(steps)), seeds)


def shared(logs: Sequence[Log], *names: str) -> list[Series]:
    """The columns at the steps and seeds that have all of them; a cell is known in all of them or in none."""
    found = [series(logs, name) for name in names]
    seeds = [seed for seed in found[0].seeds if all(seed in one.seeds for one in found)]
    steps = functools.reduce(np.intersect1d, [one.steps for one in found])
    cut = [
        one.values[[one.seeds.index(seed) for seed in seeds]][:, np.searchsorted(one.steps, steps)]
        for one in found
    ]
    known = np.isfinite(cut).all(axis=0)
    return [Series(steps, np.where(known, values, np.nan), tuple(seeds)) for values in cut]


def _table(values: Sequence[Sequence[float]], n_seeds: int, n_steps: int) -> Cells:
    return np.array(values, dtype=float).reshape(n_seeds, n_steps)


def _by_step(log: Log, column: str) -> dict[float, float]:
    pairs = ((number(row.get("step")), number(row.get(column))) for row in log)
    return {step: value for step, value in pairs if step is not None and value is not None}


def columns(logs: Sequence[Log]) -> list[str]:
    """The columns that hold a number in some row, in order of appearance, without ``step``."""
    names = dict.fromkeys(
        name for log in logs for row in log for name in row if number(row[name]) is not None
    )
    return [name for name in names if name != "step"]


def smoothed(values: Cells, window: int) -> Cells:
    """Centred moving mean over ``window`` (odd) points of the last axis, over those there are at the ends."""
    reach, length = window // 2, values.shape[-1]
    sums = np.concatenate([np.zeros((*values.shape[:-1], 1)), values.cumsum(axis=-1)], axis=-1)
    first = np.maximum(np.arange(length) - reach, 0)
    last = np.minimum(np.arange(length) + reach + 1, length)
    return np.asarray((sums[..., last] - sums[..., first]) / (last - first))
