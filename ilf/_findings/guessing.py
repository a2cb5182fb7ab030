"""Scores with a known chance level: which of them cannot be told from guessing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ilf._findings.slate import Table
from ilf.metrics._chance import not_measurable

#: Marks of a choice among options whose chance level is the part ``chance``, and one with a level of its own.
MARKS = ("accuracy", "mc2", "stereotyped")
OWN = {"mc1": "mc1_chance"}


def chance_of(parts: Mapping[str, Table], name: str) -> Table | None:
    """The chance level of a part of one arm's grade, (prompts, seeds), or None where it has none.

    A grade, or a part of another name (``truthfulness``, ``pro``), has the level of the mark that it repeats:
    beside other graders ``chance`` is not that of every number. A bias is no share of right answers.
    """
    if name in OWN:
        return parts.get(OWN[name])
    if "chance" not in parts or name not in parts or name.startswith("bias"):
        return None
    marks = [parts[mark] for mark in MARKS if mark in parts]
    marks += [1 - parts["stereotyped"]] if "stereotyped" in parts else []
    return parts["chance"] if any(_repeats(parts[name], mark) for mark in marks) else None


def _repeats(values: Table, mark: Table) -> bool:
    known = np.isfinite(values)
    return bool(known.any() and np.allclose(values[known], mark[known], rtol=0, atol=1e-9))


def near_chance(scores: Table, chance: Table | None) -> str | None:
    """Why a score is not measurable, or None; a prompt is one item, its mean over seeds.

    Without a chance level nothing is said of it.
    """
    if chance is None:
        return None
    known = np.isfinite(scores) & np.isfinite(chance)
    items = [
        (float(own[k].mean()), float(level[k].mean()))
        for own, level, k in zip(scores, chance, known, strict=True)
        if k.any()
    ]
    reason = not_measurable([score for score, _ in items], [level for _, level in items])
    return None if reason is None else reason.removeprefix("not measurable: ")
