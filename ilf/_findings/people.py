"""How far people agree where several answered the same question: the ceiling of whatever learns from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilf._agreement.answers import from_rows
from ilf._agreement.worth import report
from ilf._findings.slate import StepOf

if TYPE_CHECKING:
    from ilf._compare.cells import Cell


def agreement(cells: Sequence[Cell], step: StepOf) -> list[dict[str, Any]]:
    """Every step that several people answered, each once: its job, and the figures of ``ilf agreement``.

    ``{"step", "job", "people", "outputs", "shared", "figures": [{"measure", "about", "value", "low", "high",
    "by_chance", "outputs", "reason"}]}``; [] where nobody answered a question that another did.
    """
    seen: set[Path] = set()
    found = []
    for cell in cells:
        for planned in (planned for planned in cell.plan if planned.verb == "collect"):
            made = step(cell, planned.name)
            if made.folder in seen:
                continue
            seen.add(made.folder)
            rows = made.rows()
            if len({row.get("annotator") for row in rows}) < 2:
                continue
            told = report(from_rows(rows, planned.spec.settings["job"]), planned.spec.settings["job"])
            if told["shared"]:
                kept = {key: told[key] for key in ("job", "people", "outputs", "shared")}
                found.append({"step": planned.name, **kept, "figures": told["agreement"]})
    return found
