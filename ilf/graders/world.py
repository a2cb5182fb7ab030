"""Ground truth of a closed world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ilf.protocols import Grade, Row, World


@dataclass(frozen=True)
class WorldGrader:
    """The grader of a closed world: ``grade`` in [0, 1] and its parts from the facts behind the prompt."""

    world: World

    needs: ClassVar[tuple[str, ...]] = ("facts",)
    revision: ClassVar[int] = 1

    def grade(self, rows: Sequence[Row]) -> list[Grade]:
        """One verdict per row, of its ``output`` against its ``facts``."""
        return [self.world.grade(row["facts"], row["output"]) for row in rows]
