"""Rows that stand for all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ilf.protocols import Row
from ilf.records import messages_text
from ilf.selectors._order import DECIMALS, lots
from rankers._encoder import Encoding

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Diversity:
    """K-center greedy: always the row that is furthest from all that were taken before it.

    The greedy core-set of Sener and Savarese 2018 (1708.00489, Algorithm 1), on unit vectors of a sentence
    encoder in place of the model's own features, from an empty pool: the first row is drawn by lot. It looks
    at no quality, and likes outliers.
    """

    text: Literal["output", "prompt"] = "output"
    """What is to be diverse: the outputs, or what was asked."""
    encoder: str = "all-MiniLM-L6-v2"
    """``all-MiniLM-L6-v2``, a folder, or a hub id."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"
    batch_size: int = field(default=32, compare=False)
    cache: str | None = field(default=None, compare=False)
    """A folder that keeps vectors between runs."""

    revision: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[str, ...]:
        """The column of the texts."""
        return (self.text,)

    def order(self, rows: Sequence[Row], n: int, seed: int) -> list[tuple[int, float | None]]:
        """``n`` rows with their distance, in [0, 2], to the nearest one before them; the first has none.

        RankerError where the encoder cannot be had.
        """
        if n < 1:
            return []
        # In the order of their lots, so that of equals the first one is taken, whatever the order of rows.
        drawn = lots(rows, seed)
        order = sorted(range(len(drawn)), key=drawn.__getitem__)
        points = self._points([messages_text(row[self.text]) for row in rows])[order]
        return [(order[at], distance) for at, distance in _k_center(points, n)]

    def _points(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """A unit vector per text (rows, dimensions)."""
        import numpy as np

        encoding = Encoding(self.encoder, self.device, self.dtype, self.batch_size, self.cache)
        vectors = encoding.vectors(texts)
        points = np.stack([vectors[text] for text in texts]).astype(np.float64)
        norms = np.linalg.norm(points, axis=1, keepdims=True)
        units: np.ndarray[Any, Any] = points / np.where(norms > 0, norms, 1.0)
        return units


def _k_center(points: np.ndarray[Any, Any], n: int) -> list[tuple[int, float | None]]:
    """Indices of ``n`` points, from the first one on, each with its distance to those before it."""
    import numpy as np

    taken: list[tuple[int, float | None]] = [(0, None)]
    nearest = np.full(len(points), np.inf)
    while len(taken) < n:
        at = taken[-1][0]
        nearest = np.minimum(nearest, np.linalg.norm(points - points[at], axis=1).round(DECIMALS))
        nearest[at] = -1.0  # a copy of what was taken may be taken, that itself never again
        at = int(np.argmax(nearest))
        taken.append((at, float(nearest[at])))
    return taken
