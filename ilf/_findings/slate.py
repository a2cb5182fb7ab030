"""What the target step graded, as arrays: one slate per prompt holds every arm at every seed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilf.errors import DataError
from ilf.evaluate import mean
from ilf.records import messages_text
from ilf.store import Step

if TYPE_CHECKING:
    from ilf._compare.cells import Cell

StepOf = Callable[["Cell", str], Step]
#: Values of one arm, (prompts, seeds); NaN where there is none.
Table = NDArray[np.float64]
#: The grade itself among the values of a slate, and the length of the answer in words.
GRADE, LENGTH = "grade", "words"
#: What an answer looks like -> what is counted, for preferences at equal style.
STYLE = {
    LENGTH: re.compile(r"\S+"),
    "list items": re.compile(r"^\s*(?:[-*+]|\d+[.)])\s", re.MULTILINE),
    "headings": re.compile(r"^\s*#+\s", re.MULTILINE),
}


@dataclass(frozen=True)
class Slate:
    """Every arm's grade, parts and length on the same prompts, matched by prompt.

    ``values[arm][part]`` is (prompts, seeds). A prompt that some arm's answer could not be graded on is left
    out of all arms, and counted in ``left_out``; a part may be NaN where it could not be measured.
    """

    prompts: Sequence[str]
    values: Mapping[str, Mapping[str, Table]]
    left_out: int = 0

    def grades(self) -> dict[str, Table]:
        """The grade of every arm, (prompts, seeds)."""
        return {arm: parts[GRADE] for arm, parts in self.values.items()}

    @property
    def within(self) -> tuple[float, float] | None:
        """The range of the grades, (0, 1) where all lie in it: rewards and the like have none."""
        tables = self.grades().values()
        return (0.0, 1.0) if all(((table >= 0) & (table <= 1)).all() for table in tables) else None

    @property
    def parts(self) -> list[str]:
        """Names of the grader's parts, in the order in which they were met."""
        names = dict.fromkeys(name for parts in self.values.values() for name in parts)
        return [name for name in names if name != GRADE and name not in STYLE]


def slate_of(cells: Sequence[Cell], target: str, step: StepOf) -> Slate:
    """Reads the target's rows of every cell; rows of one prompt are averaged.

    DataError where an arm was graded on other prompts than the first.
    """
    order: list[str] = []
    columns: dict[str, list[dict[str, list[float | None]]]] = {}
    for cell in cells:
        found = _by_prompt(step(cell, target).rows())
        order = order or list(found)
        if found.keys() != set(order):
            raise DataError(
                f"arm {cell.arm}, seed {cell.seed}: step '{target}' graded other prompts than the "
                "first arm; nothing can be paired. Give the load step of the test its own seed (seed: 0)."
            )
        names = dict.fromkeys(name for rows in found.values() for row in rows for name in row)
        columns.setdefault(cell.arm, []).append(
            {name: [mean([row.get(name) for row in found[prompt]]) for prompt in order] for name in names}
        )
    tables = {arm: _tables(by_seed, len(order)) for arm, by_seed in columns.items()}
    # One slate for all: a prompt that one arm's answer could not be graded on is left out of every arm.
    graded = np.isfinite(np.stack([parts[GRADE] for parts in tables.values()]))
    whole: NDArray[np.bool_] = np.asarray(graded.all(axis=(0, 2)))
    kept = {arm: {name: t[whole] for name, t in parts.items()} for arm, parts in tables.items()}
    return Slate(list(itertools.compress(order, whole)), kept, int((~whole).sum()))


def _by_prompt(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, float | None]]]:
    """Prompt -> grade, parts and length of every row about it."""
    found: dict[str, list[dict[str, float | None]]] = {}
    for row in rows:
        values = {GRADE: row["grade"], **row["parts"], **style_of(row)}
        found.setdefault(messages_text(row["prompt"]), []).append(values)
    return found


def style_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Words, list items and headings of the texts that were graded, a mean; {} where the row lacks them."""
    texts = row.get(row.get("graded", "outputs"))
    texts = [texts] if isinstance(texts, str) else texts
    if not texts:
        return {}
    return {
        name: sum(len(pattern.findall(text)) for text in texts) / len(texts)
        for name, pattern in STYLE.items()
    }


def _tables(by_seed: Sequence[Mapping[str, Sequence[float | None]]], n: int) -> dict[str, Table]:
    names = dict.fromkeys(name for columns in by_seed for name in columns)
    return {
        name: np.array([columns.get(name, [None] * n) for columns in by_seed], dtype=float).T
        for name in names
    }
