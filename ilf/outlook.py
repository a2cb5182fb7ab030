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
    if step.verb in ("load", "select"):
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
    arguments = step.spec.arguments()
    known = [rows[name] for name in step.reads]
    n_rows = None if None in known else sum(n or 0 for n in known)
    if n_rows is None:
        return None
    return float(arguments["feedback"].price(arguments["job"], n_outputs) * n_rows)


def paid(steps: Sequence[PlannedStep], lines: Sequence[Outlook]) -> float | None:
    """Seconds of people's time that an arm pays for; None where a price is not known yet.

    Of a pool that a budget buys from it pays the budget; a control that reads the samples alone pays nothing.
    """
    prices = {line.step: line.human_seconds for line in lines}
    learnt = {name for step in steps if step.verb not in ("buy", "unlabel") for name in step.reads}
    found = [
        float(step.spec.settings["seconds"]) if step.verb == "buy" else prices[step.name]
        for step in steps
        if step.name in learnt and (step.asks_people or step.verb == "buy")
    ]
    known = [seconds for seconds in found if seconds is not None]
    return sum(known) if len(known) == len(found) else None
