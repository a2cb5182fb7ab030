"""Feedback from a closed world's annotator."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from ilf.errors import UsageError
from ilf.protocols import Row, World
from ilf.records import row_id, seed_of

_RANKINGS = ("rank", "pairwise", "verdict")


@dataclass(frozen=True)
class Simulated:
    """A closed world's annotator: critiques, rankings, demonstrations from ground truth, priced in seconds.

    It tests the machinery and is no evidence about people. ``error_rate`` in [0, 1] is how often it is wrong.

    With ``why: always`` a preference (job ``pairwise``) comes with its reason, at the price of a comparison
    and a critique: ``critique`` is what is wrong with the worse of the two, ``output`` becomes that one, as
    with Label Studio. Where both are as good, it is about the first. Rankings are those of ``why: never``.
    """

    world: World
    error_rate: float = 0.0
    why: Literal["never", "always"] = "never"

    revision: ClassVar[int] = 1
    jobs: ClassVar[tuple[str, ...]] = ("critique", "rank", "pairwise", "demonstrate", "verdict")

    def __post_init__(self) -> None:
        """Refuses an error rate outside [0, 1]."""
        if not 0.0 <= self.error_rate <= 1.0:
            raise UsageError(f"error_rate: {self.error_rate} is outside [0, 1].")

    def price(self, job: str, n_outputs: int) -> float:
        """Seconds that one row of a job asks of a person; a ranking of k counts k - 1 comparisons."""
        if job in _RANKINGS:
            reason = self.world.prices["critique"] if self._says_why(job) else 0.0
            return self.world.prices["comparison"] * max(n_outputs - 1, 0) + reason
        return self.world.prices["critique" if job == "critique" else "demonstration"]

    def push(self, rows: Sequence[Row], job: str, seed: int, folder: Path) -> None:
        """Nothing to ask for: this annotator answers when pulled."""

    def pull(self, rows: Sequence[Row], job: str, seed: int, folder: Path) -> Iterator[Row]:
        """One annotation per row, drawn from the seed and the row's id."""
        for row in rows:
            rng = random.Random(seed_of(seed, "collect", job, row["id"]))
            why = ("why",) if self._says_why(job) else ()
            annotation = row_id("simulated", job, row["id"], seed, self.error_rate, *why)
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
            ranking = self.world.rank(rng, facts, row["outputs"], self.error_rate)
            return {"ranking": ranking, **(self._reason(rng, row, ranking) if self._says_why(job) else {})}
        return {"completion": self.world.demonstrate(rng, facts, self.error_rate)}

    def _says_why(self, job: str) -> bool:
        return job == "pairwise" and self.why == "always"

    def _reason(self, rng: random.Random, row: Row, ranking: Sequence[Sequence[int]]) -> dict[str, str]:
        """A critique of the worse output, drawn after the ranking so that this stays what it was."""
        worse = row["outputs"][ranking[-1][0]]
        reason = self.world.critique(rng, row["facts"], worse, self.error_rate)
        return {"why": reason, "critique": reason, "output": worse}
