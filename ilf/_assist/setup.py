"""What ``ilf assist`` takes from a recipe and its run: tasks, the refine step's model, the people folder."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilf.assist import JOBS, Rewriter
from ilf.config import Spec
from ilf.errors import UsageError
from ilf.label_studio.jobs import item_id
from ilf.label_studio.project import read_project
from ilf.plan import PlannedStep
from ilf.protocols import Row
from ilf.records import Rows, digest
from ilf.run import address_of, model_content, model_path, read, use_threads
from ilf.store import Step

#: Rows of a people folder whose right answer is known, as ``feedback: label_studio`` writes them.
GOLD = "gold.jsonl"


@dataclass(frozen=True)
class Found:
    """A collect step that asks people, the refine step whose model answers them, and what they stand on."""

    collect: PlannedStep
    refine: PlannedStep
    folder: Path
    made: Mapping[str, Step]

    @property
    def job(self) -> str:
        """The job that people do."""
        return str(self.collect.spec.settings["job"])

    def project(self, named: int | None) -> int:
        """The number of the project that the step was pushed to, or the one named.

        UsageError where there is none yet, or where they differ.
        """
        noted = read_project(self.folder)
        known = None if noted is None else noted.project
        if named is not None and known not in (None, named):
            raise UsageError(
                f"--project {named}: {self.collect.name} was pushed to project {known}. Leave it out."
            )
        if (number := named or known) is None:
            raise UsageError(
                f"{self.folder}: nothing was pushed to Label Studio yet. Run `ilf run` first: it pushes, and "
                "ends with status 75."
            )
        return number

    def rewriter(self) -> Rewriter:
        """The refine step's generator and form over the tasks' rows; the model is loaded on first use."""
        use_threads(self.refine.threads)
        settings = self.refine.spec.settings
        generator = settings["generator"]
        built = generator.build(functools.partial(model_path, made=self.made))
        described = generator.described(functools.partial(model_content, made=self.made))
        names = ", ".join(dict.fromkeys(generator.models())) or generator.name
        return Rewriter(
            self._tasks(),
            built,
            settings["form"],
            self.job,
            settings["seed"],
            f"{names}@{digest(described, 8)}",
        )

    def _tasks(self) -> Tasks:
        shown = read(self.collect, self.made)
        gold = self.folder / GOLD
        known = Rows(gold) if gold.exists() else []
        items = [item_id(self.job, row["id"]) for row in shown]
        return Tasks({item: (shown, i) for i, item in enumerate(items)}
                     | {row["item"]: (known, i) for i, row in enumerate(known)})  # fmt: skip


class Tasks(Mapping[str, Row]):
    """Rows by item, left on disk: the place of each is known."""

    def __init__(self, places: Mapping[str, tuple[Sequence[Row], int]]) -> None:
        self._places = places

    def __getitem__(self, item: str) -> Row:
        rows, index = self._places[item]
        return rows[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def find(steps: Sequence[PlannedStep], run: Path, collect: str | None, refine: str | None) -> Found:
    """The steps that belong together; names choose where there are several.

    UsageError says what the recipe or the run lacks.
    """
    asking = _one(
        [step for step in steps if _asks(step)],
        collect,
        "collect step with feedback label_studio and one of the jobs " + ", ".join(JOBS),
        "--step",
    )
    writing = _one(
        [step for step in steps if _rewrites(step, asking)],
        refine,
        f"refine step beside {asking.name}",
        "--refine",
    )
    made = _made(steps, run)
    missing = [name for name in (*asking.inputs, *writing.models_from) if name not in made]
    if missing:
        raise UsageError(
            f"{run}: not made yet: {', '.join(missing)}. Run `ilf run` first; it makes the tasks, too."
        )
    folder = address_of(asking, made, run).people
    if folder is None:
        raise UsageError(f"{asking.name}: this step does not ask people.")
    return Found(asking, writing, folder, made)


def _asks(step: PlannedStep) -> bool:
    feedback = step.spec.settings.get("feedback")
    is_ours = isinstance(feedback, Spec) and feedback.name == "label_studio"
    return step.verb == "collect" and is_ours and step.spec.settings["job"] in JOBS


def _rewrites(step: PlannedStep, asking: PlannedStep) -> bool:
    """Whether a refine step takes up what people say there, or made what they are shown."""
    return step.verb == "refine" and (asking.name in step.reads or step.name in asking.reads)


def _one(found: Sequence[PlannedStep], name: str | None, what: str, option: str) -> PlannedStep:
    names = [step.name for step in found]
    if name is not None:
        found = [step for step in found if step.name == name]
    if len(found) == 1 or (found and name is None and option == "--refine"):
        return found[0]
    there = f"there are: {', '.join(names)}; choose one with {option}" if names else "there is none"
    wanted = f"'{name}' is no {what}" if name is not None else f"the recipe must have one {what}"
    raise UsageError(f"ilf assist: {wanted}; {there}.")


def _made(steps: Sequence[PlannedStep], run: Path) -> dict[str, Step]:
    made: dict[str, Step] = {}
    for step in steps:
        if all(name in made for name in step.inputs):
            folder = Step(address_of(step, made, run).folder)
            if folder.is_finished:
                made[step.name] = folder
    return made


def last_words(noted: Mapping[str, Any]) -> tuple[str, list[str]] | None:
    """Recipe and overrides of the last ``ilf run`` in a run folder (``last.json``), or None."""
    words = noted.get("run", {}).get("words", []) if isinstance(noted.get("run", {}), dict) else []
    return (str(words[2]), [str(word) for word in words[3:]]) if len(words) > 2 else None
