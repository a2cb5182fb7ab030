"""People of whom some have answered already, for looks of ``ilf verdict`` while others still annotate."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ilf.errors import Waiting
from ilf.records import row_id


@dataclass(frozen=True)
class Early:
    """Verdicts on the first ``answered`` rows, by the letters of ``says`` in turn; ``enough`` is a share."""

    says: str = "AB"
    who: str = "ann"
    answered: int = 1_000_000
    enough: float = 1.0
    policy: ClassVar[frozenset[str]] = frozenset({"answered", "enough"})
    jobs: ClassVar[tuple[str, ...]] = ("verdict",)
    revision: ClassVar[int] = 1

    def price(self, job: str, n_outputs: int) -> float:
        """Half a minute."""
        return 30.0

    def push(self, rows: Sequence[dict[str, Any]], job: str, seed: int, folder: Path) -> None:
        """Nothing is kept."""

    def pull(
        self, rows: Sequence[dict[str, Any]], job: str, seed: int, folder: Path
    ) -> Iterator[dict[str, Any]]:
        """Waiting while fewer than ``enough`` have answered."""
        if self.answered < self.enough * len(rows):
            raise Waiting("look again at the toy.", self.answered, len(rows))
        ranking = {"A": [[0], [1]], "B": [[1], [0]], "=": [[0, 1]]}
        for place, row in enumerate(rows[: self.answered]):
            annotation = row_id("early", row["id"], self.who)
            yield {
                **row,
                "id": row_id(row["id"], annotation),
                "annotation_id": annotation,
                "job": job,
                "annotator": self.who,
                "seconds": 30.0,
                "shown": [0, 1],
                "ranking": ranking[self.says[place % len(self.says)]],
            }
