"""A source of feedback that keeps what people say in its folder, for tests of waiting and refreshing."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ilf.errors import Unreachable, Waiting
from ilf.records import row_id


@dataclass(frozen=True)
class Mailbox:
    """Answers lie in ``answers.json`` of the folder: row id -> critique."""

    annotators: int = 1
    question: str = "?"
    policy: ClassVar[frozenset[str]] = frozenset({"annotators"})
    revision: ClassVar[int] = 1

    def price(self, job: str, n_outputs: int) -> float:
        """A minute."""
        return 60.0

    def push(self, rows: Sequence[dict[str, Any]], job: str, seed: int, folder: Path) -> None:
        """Writes down who was asked."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "asked.json").write_text(json.dumps([row["id"] for row in rows]))

    def pull(
        self, rows: Sequence[dict[str, Any]], job: str, seed: int, folder: Path
    ) -> Iterator[dict[str, Any]]:
        """The answers, or Waiting; a file ``down`` is a server that is gone."""
        if (folder / "down").exists():
            raise Unreachable("the mailbox is down.")
        file = folder / "answers.json"
        answers = json.loads(file.read_text()) if file.exists() else {}
        if missing := [row for row in rows if row["id"] not in answers]:
            done = len(rows) - len(missing)
            raise Waiting(f"{done} of {len(rows)} rows are answered.", done, len(rows))
        for row in rows:
            annotation = row_id("mailbox", row["id"])
            said = {"annotation_id": annotation, "job": job, "annotator": "ann", "seconds": 30}
            yield {**row, "id": row_id(row["id"], annotation), **said, "critique": answers[row["id"]]}
