"""sample: prompt -> output(s), the model's first answers (ILF step 1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ilf.errors import UsageError
from ilf.protocols import Generator, Row
from ilf.records import check, row_id, seed_of, windows

#: Rows that go to the generator, and to the disk, together.
WINDOW = 256


def columns(arguments: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that are read, and those that are added."""
    return ("prompt",), ("id", "sample_id", "output", "outputs")


def sample(
    rows: Iterable[Row], *, generator: Generator, n: int = 1, seed: int = 0, done: int = 0
) -> Iterator[Row]:
    """Asks the model for ``n`` outputs per prompt; adds ``output`` (the first), ``outputs``, ``sample_id``.

    A row's samples depend on the seed and the row's id alone. Raises UsageError when ``n`` < 1.
    """
    if n < 1:
        raise UsageError(f"sample.n: {n} outputs asked for, must be 1 or more.")
    for window in windows(rows, WINDOW, done):
        check(window, ("id", "prompt"), "sample")
        seeds = [seed_of(seed, "sample", row["id"]) for row in window]
        answers = generator.generate([row["prompt"] for row in window], n, seeds)
        for row, outputs in zip(window, answers, strict=True):
            name = row_id(row["id"], outputs)
            yield {**row, "id": name, "sample_id": name, "output": outputs[0], "outputs": outputs}
