"""What a run would do, asked before it does it: which steps are made, and what people would be asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ilf.plan import PlannedStep
from ilf.run import address_of
from ilf.store import Step


@dataclass(frozen=True)
class Outlook:
    """One line of a dry run."""

    step: str
    verb: str
    state: str
    rows: int | None
    human_seconds: float | None
    """None where the number of rows, and so the price, is not known yet."""
    folder: str | None


def outlook(steps: Sequence[PlannedStep], runs: Path) -> list[Outlook]:
    """What a run would do: each step reused, to do, or decided after the one it waits for that is to do."""
    made: dict[str, Step] = {}
    rows: dict[str, int | None] = {}
    lines: list[Outlook] = []
    for step in steps:
        missing = next((name for name in step.inputs if name not in made), None)
        if missing is not None:
            later = next(line.state for line in lines if line.step == missing)
            state, folder = f"decided after {missing}" if later == "to do" else later, None
        else:
            found = Step(address_of(step, made, runs).folder)
            folder = str(found.folder)
            state = "reused" if found.is_finished else "to do"
            if found.is_finished:
                made[step.name] = found
        rows[step.name] = made[step.name].made_by["rows"] if step.name in made else _expected_rows(step, rows)
        n_outputs = next(
            (s.spec.settings["n"] for s in steps if s.name in step.reads and s.verb == "sample"), 1
        )
        seconds = _human_seconds(step, state, rows, n_outputs)
        lines.append(Outlook(step.name, step.verb, state, rows[step.name], seconds, folder))
    return lines


def _expected_rows(step: PlannedStep, rows: Mapping[str, int | None]) -> int | None:
    if step.verb == "load":
        return step.spec.settings.get("n")
    if step.verb in ("train", "choice"):
        return None
    known = [rows[name] for name in step.reads]
    return None if any(k is None for k in known) else sum(k or 0 for k in known)


def _human_seconds(
    step: PlannedStep, state: str, rows: Mapping[str, int | None], n_outputs: int
) -> float | None:
    """Seconds of people's time that a step not made yet would ask for; None where its rows are unknown."""
    if not step.asks_people or state == "reused":
        return 0.0
    if step.verb == "settle":  # how many disagree is known when they have spoken
        return None if step.spec.settings["take"] == "adjudicated" else 0.0
    arguments, n_rows = step.spec.arguments(), rows[step.reads[0]]
    if n_rows is None:
        return None
    return float(arguments["feedback"].price(arguments["job"], n_outputs) * n_rows)
