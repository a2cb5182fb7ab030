"""Tables beside the curves: first, best and last steps, a reward model's verdict on itself, and samples."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ilf._report.chart import figure
from ilf._report.figures import Json, estimate, number, plain, signed
from ilf._report.series import Log, series
from ilf.records import messages_text

#: Samples of a step that are shown.
_SAMPLES = 6
_HELD_OUT, _TRAINED_ON = "held out", "trained on"
#: Key of a reward model's verdict on itself -> how a reader is told.
_MARKS = (
    ("accuracy", "accuracy"),
    ("length_accuracy", "accuracy of the longer text"),
    ("length_agreement", "agreement with length (tau)"),
    ("calibration_slope", "calibration slope (1 is right)"),
    ("calibration_error", "calibration error"),
)
_COUNTS = (("pairs", "pairs"), ("prompts", "prompts"), ("ties", "ties, not judged"))


@dataclass(frozen=True)
class Table:
    """Rows of text under a head; the first column names its row; ``note`` stands below."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def validation_tables(row: Json) -> list[Table]:
    """A reward model's accuracy, its liking for length and its calibration, from its log's last row."""
    sides = {
        name: found
        for name, key in ((_HELD_OUT, "validation"), (_TRAINED_ON, "training"))
        if isinstance(found := row.get(key), Mapping)
    }
    marks = [[label, *(_mark(side, key) for side in sides.values())] for key, label in _MARKS]
    marks += [[label, *(plain(side.get(key), 0) for side in sides.values())] for key, label in _COUNTS]
    bins = [one for one in sides.get(_HELD_OUT, {}).get("calibration") or () if isinstance(one, Mapping)]
    head = ["it said", "pairs", "mean said", "was right"]
    reasons = [f"{name}: {side['reason']}." for name, side in sides.items() if side.get("reason")]
    told = " ".join(["Below 1 the slope says: too sure of itself.", *reasons])
    measured = [row for row in marks if _says(row)]
    tables = [
        Table("what the reward model got right", ["measure [95 %]", *sides], measured, told),
        Table(f"calibration, {_HELD_OUT}", head, _bins([one for one in bins if one.get("n")])),
    ]
    return [table for table in tables if table.rows]


def _mark(side: Json, key: str) -> str:
    form = signed if key == "length_agreement" else plain
    known = {"value": side.get(key), "low": side.get(f"{key}_low"), "high": side.get(f"{key}_high")}
    if number(known["value"]) is None:
        return "-"
    if key == "calibration_error":  # a mean distance, without an interval
        return plain(known["value"])
    return estimate(known, "value", form)


def _says(row: Sequence[str]) -> bool:
    return any(cell != "-" for cell in row[1:])


def _bins(bins: Sequence[Json]) -> list[list[str]]:
    return [
        [
            f"{plain(one.get('low'), 2)} to {plain(one.get('high'), 2)}",
            plain(one.get("n"), 0),
            plain(one.get("predicted")),
            plain(one.get("observed")),
        ]
        for one in bins
    ]


def milestones(
    arms: Mapping[str, Sequence[Log]], columns: Sequence[str], peaks: Mapping[str, float]
) -> dict[str, Any]:
    """The columns, means over seeds, at each arm's first step, its best one (by grade), and its last."""
    rows = []
    for name, logs in arms.items():
        steps = series(logs, "step").steps
        if not len(steps):
            continue
        chosen = {"first": float(steps[0])}
        chosen |= {"best grade": peaks[name]} if name in peaks else {}
        chosen["last"] = float(steps[-1])
        rows += [
            {"name": name, "which": which, "step": f"{step:g}", "cells": _cells(logs, columns, step)}
            for which, step in chosen.items()
        ]
    return {"columns": [column.replace("_", " ") for column in columns], "rows": rows}


def _cells(logs: Sequence[Log], columns: Sequence[str], step: float) -> list[str]:
    cells = []
    for column in columns:
        one = series(logs, column)
        at = np.flatnonzero(one.steps == step)
        known = one.values[:, at][np.isfinite(one.values[:, at])]
        cells.append(figure(float(known.mean())) if len(known) else "-")
    return cells


def samples(arms: Mapping[str, Sequence[Log]], peaks: Mapping[str, float]) -> list[dict[str, Any]]:
    """What the first seed wrote at the step with samples next to the best grade, and at the last (open)."""
    blocks = []
    for name, logs in arms.items():
        found = [row for row in logs[0] if _samples_of(row)] if logs else []
        if not found:
            continue
        shown = {id(found[-1]): (found[-1], "last")}
        if name in peaks:
            best = min(found, key=lambda row: abs((number(row.get("step")) or 0.0) - peaks[name]))
            shown.setdefault(id(best), (best, "near the best grade"))
        blocks += [
            {
                "name": name,
                "which": f"step {plain(row.get('step'), 0)} ({which})",
                "is_open": which == "last" and len(arms) == 1,
                "rows": list(_shown(row)),
            }
            for row, which in reversed(shown.values())
        ]
    return blocks


def _samples_of(row: Json) -> list[Json]:
    found = row.get("samples")
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _shown(row: Json) -> Iterable[dict[str, Any]]:
    for sample in _samples_of(row)[:_SAMPLES]:
        marks = [
            (name.replace("_", " "), figure(value))
            for name in sample
            if (value := number(sample[name])) is not None
        ]
        yield {"prompt": _text(sample.get("prompt")), "output": _text(sample.get("output")), "marks": marks}


def _text(value: object) -> str:
    """A text or messages; whatever else a log holds as JSON."""
    if value is None:
        return ""
    try:
        return messages_text(value)
    except (TypeError, KeyError):
        return json.dumps(value, ensure_ascii=False)
