"""What an arm cost: people's seconds, prompts without labels, training, and what every answer costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ilf._findings.slate import StepOf
from ilf.evaluate import mean
from ilf.plan import PlannedStep
from ilf.records import messages_text

if TYPE_CHECKING:
    from ilf._compare.cells import Cell

#: Verbs whose rows may hold what people said and were paid for.
_PAID = ("load", "collect", "select", "buy")
#: Verbs that pass answers on without learning from all of them.
_SELECT = ("select", "buy", "unlabel")


def costs(cells: Sequence[Cell], target: str, step: StepOf) -> dict[str, Any]:
    """The costs of one arm, means over its seeds; None where a part is unknown.

    ``human_seconds``: distinct annotations that it learnt from. ``unlabelled_prompts``: prompts trained on,
    or looked at to choose whom to ask, that nobody said anything about. ``compute_seconds``,
    ``cpu_seconds``: of the steps that made its model. ``updates``: of its trainings.
    ``samples_per_answer``: texts sampled for every answer at test time; ``answer_seconds``: wall seconds of
    one answer.
    """
    found = [_costs(cell, target, step) for cell in cells]
    return {name: _mean_of_all([costs[name] for costs in found]) for name in found[0]}


def _costs(cell: Cell, target: str, step: StepOf) -> dict[str, float | None]:
    names = behind_policy(cell, target)
    behind = [planned for planned in cell.plan if planned.name in names]
    trains = [planned for planned in behind if planned.verb == "train"]
    looks = [s for s in behind if s.verb == "select" and s.spec.arguments()["selector"].needs]
    answer = next((s for s in reversed(cell.plan) if s.name in _before(cell, target)), None)
    bill = paid(cell, step, target)
    return {
        "rows": float(sum(step(cell, name).made_by["rows"] for s in trains for name in s.reads)),
        "human_seconds": total([seconds for _, seconds in bill.values()]),
        "annotations": float(len(bill)),
        "unlabelled_prompts": float(_unlabelled(cell, [*trains, *looks], step, bill)),
        "compute_seconds": _measured(cell, behind, step, "wall_seconds"),
        "cpu_seconds": _measured(cell, behind, step, "cpu_seconds"),
        "updates": float(sum(_updates(step(cell, s.name).rows()) for s in trains)),
        "samples_per_answer": _samples_per_answer(answer),
        "answer_seconds": _answer_seconds(cell, answer, step),
    }


def behind_policy(cell: Cell, target: str) -> set[str]:
    """Names of the steps that made the arm's policy; none where the model is used as it came."""
    by_name = {planned.name: planned for planned in cell.plan}
    queue = [name for planned in by_name.values() if planned.name in _before(cell, target) for name in
             planned.models_from]  # fmt: skip
    found: set[str] = set()
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue += by_name[name].inputs
    return found


def _before(cell: Cell, target: str) -> set[str]:
    """The step that wrote the answers which the target grades."""
    by_name = {planned.name: planned for planned in cell.plan}
    reads = by_name[target].reads if target in by_name else ()
    return {name for name in reads if by_name[name].verb == "sample"}


def paid(cell: Cell, step: StepOf, target: str) -> dict[str, tuple[str, float | None]]:
    """The bill of one arm: annotation id -> (job, seconds) of all that its policy learnt from, each once.

    What stands in a pool is paid where somebody learns from it: not where a budget bought a part of it
    (``buy``), nor where only the samples are read (``unlabel``).
    """
    names = behind_policy(cell, target)
    bill: dict[str, tuple[str, float | None]] = {}
    for planned, reader in _readings(cell, names):
        if planned.verb in _PAID and reader.verb not in _SELECT:
            for row in step(cell, planned.name).rows():
                if "annotation_id" in row:
                    bill[row["annotation_id"]] = (str(row.get("job") or "annotation"), row.get("seconds"))
    return bill


def _readings(cell: Cell, names: set[str]) -> Iterator[tuple[PlannedStep, PlannedStep]]:
    by_name = {planned.name: planned for planned in cell.plan}
    for reader in cell.plan:
        if reader.name in names:
            for name in reader.reads:
                yield by_name[name], reader


def _unlabelled(cell: Cell, readers: Sequence[PlannedStep], step: StepOf, bill: Mapping[str, Any]) -> int:
    """Distinct prompts that some steps read, behind which no paid answer stands."""
    prompts: set[str] = set()
    labelled: set[str] = set()
    for planned in readers:
        for name in planned.reads:
            for row in step(cell, name).rows():
                text = messages_text(row.get("prompt") or "")
                prompts.add(text)
                if row.get("annotation_id") in bill:
                    labelled.add(text)
    return len(prompts - labelled - {""})


def _measured(cell: Cell, steps: Sequence[PlannedStep], step: StepOf, clock: str) -> float:
    return float(sum(step(cell, planned.name).measured.get(clock, 0.0) for planned in steps))


def _updates(log: Sequence[Mapping[str, Any]]) -> int:
    last = log[-1] if len(log) else {}
    # What keeps words instead of weights logs no loss, and updates nothing.
    return 0 if last.get("loss", 0.0) is None else int(last.get("step") or 0)


def _samples_per_answer(answer: PlannedStep | None) -> float | None:
    if answer is None:
        return None
    return float(getattr(answer.spec.arguments().get("generator"), "samples_per_answer", 1.0))


def _answer_seconds(cell: Cell, answer: PlannedStep | None, step: StepOf) -> float | None:
    if answer is None:
        return None
    made = step(cell, answer.name)
    answers = made.made_by["rows"] * (answer.spec.settings.get("n") or 1)
    wall = made.measured.get("wall_seconds")
    return wall / answers if wall is not None and answers else None


def total(values: Sequence[float | None]) -> float | None:
    """The sum, or None where a value is unknown: a ledger with holes is no price."""
    known = [value for value in values if value is not None]
    return float(sum(known)) if len(known) == len(values) else None


def _mean_of_all(values: Sequence[float | None]) -> float | None:
    return None if None in values else mean(values)
