"""train: fine-tune a model on the rows with a strategy (ILF step 5)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ilf.protocols import Grader, Row, Strategy
from ilf.records import check

log = logging.getLogger("ilf")

#: A training step that was interrupted starts again.
WINDOW = None


def columns(arguments: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that are read; the rows of a train step are its log."""
    graded = getattr(arguments.get("grader"), "needs", ())
    return (*arguments["strategy"].needs, *graded), ("step", "loss")


def train(
    rows: Iterable[Row],
    folder: str | Path,
    *,
    strategy: Strategy,
    start: str = "",
    grader: Grader | None = None,
    seed: int = 0,
) -> Iterable[Row]:
    """Trains the model ``start`` (a folder or hub id) on the rows; writes ``folder/model``, yields the log.

    ``grader`` grades what a strategy samples as it trains, for the log alone: whether a rising reward is a
    rising grade is seen there (over-optimisation, Gao et al. 2022, arXiv 2210.10760).
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
    return strategy.train(
        kept, Path(folder), start=start, seed=seed, probe=_probe(grader) if grader else None
    )


def _probe(grader: Grader) -> Callable[[Sequence[Row]], dict[str, float]]:
    """Mean grade and parts of rows with an ``output``, over those that could be graded."""

    def probe(rows: Sequence[Row]) -> dict[str, float]:
        verdicts = grader.grade(rows)
        names = dict.fromkeys(key for verdict in verdicts for key in verdict if key != "reason")
        known = {
            name: [float(v[name]) for v in verdicts if isinstance(v.get(name), (int, float))]  # type: ignore[arg-type]
            for name in names
        }
        return {name: sum(values) / len(values) for name, values in known.items() if values}

    return probe
