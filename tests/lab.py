"""Finished steps written by hand, for tests of the tables of a comparison, and the intervals by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t

from ilf import findings
from ilf.compare import Cell, Comparison
from ilf.config import Spec
from ilf.plan import PlannedStep
from ilf.store import Step

LOOP = ("load", "sample", "collect", "refine", "choose", "train", "test", "answer", "evaluate")
#: Step -> (verb, what it reads). ``answer`` uses the model of ``train`` where an arm trains.
READS = {
    "load": ("load", ()),
    "sample": ("sample", ("load",)),
    "collect": ("collect", ("sample",)),
    "refine": ("refine", ("collect",)),
    "choose": ("choose", ("refine",)),
    "train": ("train", ("choose",)),
    "test": ("load", ()),
    "answer": ("sample", ("test",)),
    "evaluate": ("evaluate", ("answer",)),
}


def planned(name: str, reads: Sequence[str], model: str | None) -> PlannedStep:
    return PlannedStep(
        name, READS[name][0], tuple(reads), Spec(dict, name, {"model": model} if model else {})
    )


@dataclass
class Lab:
    """Finished steps written by hand, and the cells of arms that are made of them."""

    folder: Path
    made: dict[str, Step] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)

    def finish(self, key: str, rows: Sequence[Mapping[str, Any]], wall: float = 0.0) -> None:
        step = Step(self.folder / key.replace("/", "-"))
        step.folder.mkdir(parents=True)
        step.write_rows(iter([dict(row) for row in rows]), 100, lambda n: None)
        step.measure(wall, wall)
        step.finish({})
        self.made[key] = step

    def add(
        self,
        arm: str,
        seed: int,
        steps: Mapping[str, Sequence[Mapping[str, Any]]],
        reads: Mapping[str, Sequence[str]] | None = None,
        **wall: float,
    ) -> None:
        """A cell of the steps whose rows are given, in the order of the loop; ``train`` reads what is before it."""
        # What was graded was answered, by the model that was trained, if one was.
        steps = {**steps, "answer": steps.get("answer", [])} if "evaluate" in steps else steps
        keys = {name: f"{arm}/{seed}/{name}" for name in LOOP if name in steps}
        for name, key in keys.items():
            self.finish(key, steps[name], wall.get(name, 0.0))
        plan = [
            planned(
                name,
                (reads or {}).get(name, self._reads(name, list(keys))),
                "steps.train" if name == "answer" and "train" in steps else None,
            )
            for name in keys
        ]
        self.cells.append(Cell(arm, seed, plan, keys))

    def _reads(self, name: str, names: Sequence[str]) -> list[str]:
        if name == "train":
            before = [n for n in names[: names.index(name)] if n != "test"]
            return before[-1:]
        return [r for r in READS[name][1] if r in names]

    def step(self, cell: Cell, name: str) -> Step:
        return self.made[cell.keys[name]]

    def tables(self, comparison: Comparison) -> dict[str, Any]:
        return findings.arm_tables(comparison, self.cells, self.step)


def squares(d: Any) -> tuple[float, float, float]:
    """MSP, MSS, MSE of a (prompts, seeds) table, as method.md names them, by loops."""
    n, s = len(d), len(d[0])
    grand = sum(map(sum, d)) / (n * s)
    rows = [sum(row) / s for row in d]
    columns = [sum(d[p][k] for p in range(n)) / n for k in range(s)]
    msp = s * sum((m - grand) ** 2 for m in rows) / (n - 1)
    mss = n * sum((m - grand) ** 2 for m in columns) / (s - 1)
    rest = sum((d[p][k] - rows[p] - columns[k] + grand) ** 2 for p in range(n) for k in range(s))
    return msp, mss, rest / ((n - 1) * (s - 1))


def by_hand(d: Any, pairs: Sequence[Any] = ()) -> tuple[float, float, float, float]:
    """Mean, low, high, p of two-way random effects; with the differences of all pairs of trained arms, pooled."""
    n, s = len(d), len(d[0])
    msp, mss, mse = squares(d)
    between, below, df_s, df_e = mss, mse, s - 1, (n - 1) * (s - 1)
    if pairs:
        k = (1 + math.isqrt(1 + 8 * len(pairs))) // 2
        between = float(np.mean([squares(pair)[1] for pair in pairs]))
        below = float(np.mean([squares(pair)[2] for pair in pairs]))
        df_s, df_e = (k - 1) * (s - 1), (k - 1) * (s - 1) * (n - 1)
    variance = max(msp, mse) + max(between - below, 0.0)
    doubted = (1 + 3 / df_s**2) * between
    doubted_variance = max(msp, mse) + max(doubted - below, 0)
    df = doubted_variance**2 / (max(msp, mse) ** 2 / (n - 1) + doubted**2 / df_s + below**2 / df_e)
    mean, error = float(np.mean(d)), math.sqrt(variance / (n * s))
    reach = t.ppf(0.975, df) * error
    return mean, mean - reach, mean + reach, 2 * t.sf(abs(mean) / error, df)
