"""A strategy that writes a model folder slowly, for tests of the spine."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class SlowLearner:
    """Writes what it was given, piece by piece."""

    needs = ("prompt", "completion")
    revision = 1

    def train(
        self, rows: Sequence[dict[str, Any]], folder: Path, *, start: str, seed: int, probe: object = None
    ) -> Iterator[dict[str, Any]]:
        model = folder / "model"
        model.mkdir(parents=True)
        for step in range(10):
            time.sleep(0.02)
            with (model / "weights.txt").open("a") as file:
                file.write(f"{step} {len(rows)} {seed}\n")
            yield {"step": step, "loss": 1.0 / (step + 1)}
