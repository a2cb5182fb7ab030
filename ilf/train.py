"""train: fine-tune a model on the rows with a strategy (ILF step 5)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ilf.protocols import Row, Strategy
from ilf.records import check

log = logging.getLogger("ilf")

#: A training step that was interrupted starts again.
WINDOW = None


def columns(arguments: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that are read; the rows of a train step are its log."""
    return tuple(arguments["strategy"].needs), ("step", "loss")


def train(
    rows: Iterable[Row], folder: str | Path, *, strategy: Strategy, start: str = "", seed: int = 0
) -> Iterable[Row]:
    """Trains the model ``start`` (a folder or hub id) on the rows; writes ``folder/model``, yields the log.

    Rows in which a needed column is None (no candidate was worth choosing) are left out and counted;
    DataError where one is missing, empty or of another type, or where no row is left.
    """
    found = list(rows)
    kept = [row for row in found if all(row.get(column, "") is not None for column in strategy.needs)]
    left_out = len(found) - len(kept)
    if left_out:
        log.warning("train: %d of %d rows have nothing to learn from: left out", left_out, len(found))
    check(kept, strategy.needs, "train")
    Path(folder).mkdir(parents=True, exist_ok=True)
    return strategy.train(kept, Path(folder), start=start, seed=seed)
