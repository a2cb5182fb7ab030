"""What ``ilf run`` and ``ilf compare`` share: noting which steps are used, and dry runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ilf.commands._runs import in_use, note_last

if TYPE_CHECKING:
    from ilf.plan import PlannedStep

REUSED, TO_DO, LATER = "reused", "to do", "decided later"


@dataclass(frozen=True)
class Prospect:
    """A distinct step of one or more plans: where it lies, if that is known yet, and whether it is made."""

    step: str
    state: str
    folder: str | None


def prospects(plans: Iterable[Sequence[PlannedStep]], run: Path) -> list[Prospect]:
    """Every distinct step of the plans: reused, to do, or decided later (its inputs are not made yet)."""
    from ilf.run import address_of
    from ilf.store import Step
    from ilf.workers import graph

    made: dict[str, Step] = {}
    found = []
    for key, node in graph(plans).items():
        if not all(k in made for k in node.inputs.values()):
            found.append(Prospect(node.step.name, LATER, None))
            continue
        step = Step(address_of(node.step, {name: made[k] for name, k in node.inputs.items()}, run).folder)
        found.append(Prospect(node.step.name, REUSED if step.is_finished else TO_DO, step.folder.name))
        if step.is_finished:
            made[key] = step
    return found


@contextlib.contextmanager
def working(
    run: Path, command: str, words: Sequence[str], plans: Sequence[Sequence[PlannedStep]]
) -> Iterator[None]:
    """Around the work of a command: marks the run as in use and notes the steps used, also when it fails."""

    def note() -> None:
        note_last(run, command, words, (p.folder for p in prospects(plans, run) if p.folder))

    with in_use(run):
        note()
        try:
            yield
        finally:
            note()
