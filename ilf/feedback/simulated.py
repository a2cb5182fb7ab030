"""Feedback from a closed world's annotator."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ilf.errors import UsageError
from ilf.protocols import Row, World
from ilf.records import row_id, seed_of

_RANKINGS = ("rank", "pairwise", "verdict")


@dataclass(frozen=True)
class Simulated:
    """A closed world's annotator: critiques, rankings, demonstrations from ground truth, priced in seconds.

    It tests the machinery and is no evidence about people. ``error_rate`` in [0, 1] is how often it is wrong.
    """

    world: World
    error_rate: float = 0.0

    revision: ClassVar[int] = 1
    jobs: ClassVar[tuple[str, ...]] = ("critique", "rank", "pairwise", "demonstrate", "verdict")

    def __post_init__(self) -> None:
        """Refuses an error rate outside [0, 1]."""
        if not 0.0 <= self.error_rate <= 1.0:
            raise UsageError(f"error_rate: {self.error_rate} is outside [0, 1].")

    def price(self, job: str, n_outputs: int) -> float:
        """Seconds that one row of a job asks of a person; a ranking of k counts k - 1 comparisons."""
        if job in _RANKINGS:
            return self.world.prices["comparison"] * max(n_outputs - 1, 0)
        return self.world.prices["critique" if job == "critique" else "demonstration"]

    def push(self, rows: Sequence[Row], job: str, seed: int, folder: Path) -> None:
        """Nothing to ask for: this annotator answers when pulled."""

    def pull(self, rows: Sequence[Row], job: str, seed: int, folder: Path) -> Iterator[Row]:
        """One annotation per row, drawn from the seed and the row's id."""
        for row in rows:
            rng = random.Random(seed_of(seed, "collect", job, row["id"]))
            annotation = row_id("simulated", job, row["id"], seed, self.error_rate)
            yield {
                **row,
                "id": row_id(row["id"], annotation),
                "annotation_id": annotation,
                "job": job,
                "annotator": "simulated",
                "seconds": self.price(job, len(row.get("outputs", ()))),
                **self._said(rng, row, job),
            }

    def _said(self, rng: random.Random, row: Row, job: str) -> dict[str, Any]:
        facts = row["facts"]
        if job == "critique":
            return {"critique": self.world.critique(rng, facts, row["output"], self.error_rate)}
        if job in _RANKINGS:
            return {"ranking": self.world.rank(rng, facts, row["outputs"], self.error_rate)}
        return {"completion": self.world.demonstrate(rng, facts, self.error_rate)}
