"""Several people who rank outputs, for tests of settling: they disagree about every second prompt."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ilf.errors import Waiting
from ilf.records import row_id


@dataclass(frozen=True)
class Panel:
    """``people`` rank by length, shortest first; where the prompt's length is odd, every second one reverses."""

    people: int = 2
    name: str = "p"
    is_away: bool = False
    policy: ClassVar[frozenset[str]] = frozenset({"is_away"})
    revision: ClassVar[int] = 1

    def price(self, job: str, n_outputs: int) -> float:
        """A minute."""
        return 60.0

    def push(self, rows: Sequence[dict[str, Any]], job: str, seed: int, folder: Path) -> None:
        """Writes down what was asked."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "asked").write_text("\n".join(row["id"] for row in rows))

    def pull(
        self, rows: Sequence[dict[str, Any]], job: str, seed: int, folder: Path
    ) -> Iterator[dict[str, Any]]:
        """Everybody's ranking."""
        if self.is_away:
            raise Waiting(f"0 of {len(rows)} rows are answered.", 0, len(rows))
        for row in rows:
            order = sorted(range(len(row["outputs"])), key=lambda i: (len(row["outputs"][i]), i))
            for person in range(self.people):
                reverses = len(row["prompt"]) % 2 and person % 2
                annotation = row_id(self.name, row["id"], person)
                yield {
                    **row,
                    "id": row_id(row["id"], annotation),
                    "annotation_id": annotation,
                    "job": job,
                    "annotator": f"{self.name}-{person}",
                    "seconds": 60.0,
                    "ranking": [[i] for i in (order[::-1] if reverses else order)],
                }
