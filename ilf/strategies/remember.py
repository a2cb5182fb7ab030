"""What people said, kept as it is: the memory of policies that use critiques without training."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from ilf.errors import DataError
from ilf.files import write_whole
from ilf.protocols import Row
from ilf.records import seed_of

#: What is written into ``folder/model``.
_FILE = "critiques.jsonl"


@dataclass(frozen=True)
class Remember:
    """Keeps prompts, outputs and critiques in ``folder/model/critiques.jsonl``; nothing is trained.

    The generator ``critiques_in_context`` puts the nearest of them in front of a prompt (``memory:
    steps.NAME``). Rows with a blank critique are left out and counted. With ``feedback: shuffled`` every row
    has another row's critique, a control: what is left of a gain owes nothing to the matching one.

    There are no weights: ``start`` is not read, and the log's only row has no loss.
    """

    feedback: Literal["real", "shuffled"] = "real"

    needs: ClassVar[tuple[str, ...]] = ("prompt", "output", "critique")
    revision: ClassVar[int] = 1
    #: ``folder/model`` holds text that a generator's ``memory`` names, no model.
    has_weights: ClassVar[bool] = False

    def train(
        self,
        rows: Sequence[Row],
        folder: Path,
        *,
        start: str,
        seed: int,
        probe: Callable[[Sequence[Row]], Mapping[str, float]] | None = None,
    ) -> Iterator[Row]:
        """Writes the rows' prompts, outputs and critiques in their order; one log row with the counts.

        ``seed`` decides whose critique a row is given where they are shuffled. DataError where there is no
        critique, or no two to exchange.
        """
        kept = [row for row in rows if str(row["critique"] or "").strip()]
        if len(kept) < (1 if self.feedback == "real" else 2):
            raise DataError(
                f"remember: {len(rows)} row(s), {len(kept)} of them with a critique: too few to keep "
                f"{self.feedback} critiques."
            )
        critiques = self._critiques(kept, seed)
        lines = [
            _line({"prompt": row["prompt"], "output": row["output"], "critique": critique})
            for row, critique in zip(kept, critiques, strict=True)
        ]
        model = folder / "model"
        model.mkdir(parents=True, exist_ok=True)
        write_whole(model / _FILE, "".join(lines))
        yield {"step": 1, "loss": None, "kept": len(kept), "blank": len(rows) - len(kept)}

    def _critiques(self, rows: Sequence[Row], seed: int) -> list[str]:
        critiques = [row["critique"] for row in rows]
        if self.feedback == "shuffled":
            # One cycle through all rows in a random order: none keeps its own.
            order = random.Random(seed_of(seed, "remember")).sample(range(len(rows)), len(rows))
            giver = dict(zip(order, [*order[1:], order[0]], strict=True))
            critiques = [critiques[giver[i]] for i in range(len(rows))]
        return critiques


def _line(row: Mapping[str, Any]) -> str:
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half an emoji from a broken export: as an escape it survives
        text = json.dumps(row, separators=(",", ":"))
    return f"{text}\n"
