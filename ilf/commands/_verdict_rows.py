"""The verdicts of ``ilf verdict``: asked for, waited for, and kept as the rows of a step."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ilf.config import Spec
    from ilf.progress import Progress
    from ilf.protocols import Row
    from ilf.store import Step
    from ilf.verdict import Pairs

#: The run folder of all verdicts, and the job.
RUN, JOB = "verdicts", "verdict"


def asked(
    found: Pairs, source: Spec, sides: list[Path], arguments: argparse.Namespace, progress: Progress
) -> tuple[list[Row], Step]:
    """The verdicts as people gave them, and the step that keeps them; Waiting while some are missing."""
    from ilf.commands._runs import in_use, step_name
    from ilf.commands._wait import until_answered
    from ilf.store import Step

    run = Path(arguments.runs) / RUN
    name = f"{step_name(sides[0])}-vs-{step_name(sides[1])}-{_key(found, source)}"
    step = Step(run / name)
    with in_use(run), step.lock(wait=True, say=progress.say):
        try:
            verdicts = until_answered(
                lambda _: _collected(found, source, run / "people" / name, arguments.seed),
                progress,
                arguments.wait,
            )
            _keep(step, verdicts, _made_by(found, source, sides, name))
        finally:
            step.remove_if_empty()
    return verdicts, step


def _key(found: Pairs, source: Spec) -> str:
    """What people are shown, not how many of them are asked, names the folder."""
    from ilf.plan import PATH_SETTINGS
    from ilf.records import digest
    from ilf.run import ADDRESS_DIGITS

    policy = {*getattr(source.target, "policy", ()), *PATH_SETTINGS}
    shown = {key: value for key, value in source.described(_content).items() if key not in policy}
    return digest([JOB, shown, [row["id"] for row in found.rows]], ADDRESS_DIGITS)


def _collected(found: Pairs, source: Spec, people: Path, seed: int) -> list[Row]:
    from ilf.collect import collect
    from ilf.errors import Waiting

    if not found.rows:
        return []
    try:
        return list(
            collect(found.rows, people, feedback=source.build(model_folder), job="verdict", seed=seed)
        )
    except Waiting as waiting:
        if waiting.done is None or waiting.total is None:
            raise
        told, said = "pairs are judged", str(waiting)
        said = (
            said.replace("outputs are annotated", told, 1)
            if "outputs are annotated" in said
            else f"{waiting.done} of {waiting.total} {told}. {said}"
        )
        raise Waiting(said, waiting.done, waiting.total) from None


def _made_by(found: Pairs, source: Spec, sides: list[Path], people: str) -> dict[str, Any]:
    from ilf.run import provenance
    from ilf.store import Step

    return {
        "stage": JOB,
        "settings": {"job": JOB, "feedback": source.described(_content)},
        "content_read": [Step(side).made_by["content"] for side in sides],
        "a": str(sides[0]),
        "b": str(sides[1]),
        "identical": len(found.identical),
        "people": people,
        **provenance(),
    }


def _keep(step: Step, verdicts: list[Row], made_by: Mapping[str, Any]) -> None:
    """Writes the verdicts as the rows of a finished step, where they are not there already."""
    from ilf.store import MADE_BY

    if step.is_finished and list(step.rows()) == verdicts:
        return
    (step.folder / MADE_BY).unlink(missing_ok=True)
    step.discard()
    step.write_rows(iter(verdicts), max(len(verdicts), 1), lambda n: None)
    step.finish(dict(made_by))


def model_folder(reference: str) -> str:
    """A setting that names a model as what loads it: a shipped model's folder, a folder, a hub id."""
    from ilf.errors import UsageError
    from ilf.run import model_path

    if reference.startswith("steps."):
        raise UsageError(
            f"model: {reference}: a verdict has no steps; name the folder, such as runs/RUN/STEP/model."
        )
    return model_path(reference, {})


def _content(reference: str) -> str:
    """A model as the hash of its content: trained again in place it is another judge."""
    from ilf.run import model_content

    return model_content(model_folder(reference), {})
