"""A source of verdicts that prefers what a word stands in, for tests of ``ilf verdict`` and ``ilf forget``."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ilf.errors import Waiting
from ilf.records import row_id, seed_of


@dataclass(frozen=True)
class Juror:
    """``annotators`` people, who never tie but where neither or both answers hold ``likes``.

    ``answered`` rows have answers; a row's order on the page is drawn from its id.
    """

    likes: str = "green"
    annotators: int = 1
    answered: int = 1_000_000
    warning: str = ""
    policy: ClassVar[frozenset[str]] = frozenset({"annotators", "answered"})
    jobs: ClassVar[tuple[str, ...]] = ("verdict",)
    revision: ClassVar[int] = 1

    def price(self, job: str, n_outputs: int) -> float:
        """A minute."""
        return 60.0

    def push(self, rows: Sequence[dict[str, Any]], job: str, seed: int, folder: Path) -> None:
        """Writes down how many were asked."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "asked").write_text(str(len(rows)))

    def pull(
        self, rows: Sequence[dict[str, Any]], job: str, seed: int, folder: Path
    ) -> Iterator[dict[str, Any]]:
        """Waiting while ``answered`` is less than what was asked."""
        if self.answered < len(rows):
            raise Waiting("look again at the toy.", self.answered, len(rows))
        for row in rows:
            liked = [self.likes in text for text in row["outputs"]]
            ranking = [[0, 1]] if liked[0] == liked[1] else [[0], [1]] if liked[0] else [[1], [0]]
            for person in range(self.annotators):
                annotation = row_id("juror", row["id"], person)
                yield {
                    **row,
                    "id": row_id(row["id"], annotation),
                    "annotation_id": annotation,
                    "job": job,
                    "annotator": f"juror {person}",
                    "seconds": 10.0 * (person + 1),
                    "shown": [0, 1] if seed_of("shown", row["id"]) % 2 else [1, 0],
                    "ranking": ranking,
                    "why": "more green" if len(ranking) == 2 else None,
                }
