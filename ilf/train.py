"""train: fine-tune a model on the rows with a strategy (ILF step 5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ilf.protocols import Row, Strategy
from ilf.records import check

#: A training step that was interrupted starts again.
WINDOW = None


def columns(arguments: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that are read; the rows of a train step are its log."""
    return tuple(arguments["strategy"].needs), ("step", "loss")


def train(
    rows: Sequence[Row], folder: str | Path, *, strategy: Strategy, start: str = "", seed: int = 0
) -> Iterable[Row]:
    """Trains the model ``start`` (a folder or hub id) on the rows; writes ``folder/model``, yields the log.

    Raises DataError where a needed column is missing, empty or of another type.
    """
    check(rows, strategy.needs, "train")
    Path(folder).mkdir(parents=True, exist_ok=True)
    return strategy.train(rows, Path(folder), start=start, seed=seed)
