"""ilf verdict: two models' answers judged blind by people, and what their verdicts say."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilf.commands._parser import Subparsers, add_command, add_json, add_runs, add_wait, count
from ilf.commands._terminal import json_text
from ilf.protocols import FeedbackSource

if TYPE_CHECKING:
    from ilf.config import Spec
    from ilf.progress import Progress
    from ilf.protocols import Row
    from ilf.store import Step
    from ilf.verdict import Pairs

#: The run folder of all verdicts, and the job.
RUN, JOB = "verdicts", "verdict"
_MORE = """\
Both are steps whose rows hold 'output', such as nano/evaluate of two runs. Their answers are matched by
prompt (several of one prompt by their order), shown side by side without names, the sides shuffled by a
hash and recorded. Answers that are the same text are not sent to people; they count as ties.

The first call makes the labelling project and ends with status 75; run the same command again when
people have answered, or let it --wait. What they said is kept in RUNS/verdicts, one row per verdict:
`ilf show`, `ilf agreement` and `ilf export` read it like a step.

key=value words are settings of the feedback source, for example enough=0.9."""


def add(subparsers: Subparsers) -> None:
    """Adds ``ilf verdict``."""
    parser = add_command(
        subparsers,
        "verdict",
        verdict,
        "let people judge two models' answers blind, side by side",
        more=_MORE,
        examples=(
            "ilf verdict nano/evaluate other/evaluate --n 100",
            "ilf verdict nano/answer-1a2b nano/answer-3c4d --annotators 2 --dry-run",
            "ilf verdict nano/evaluate other/evaluate --wait --wage-per-hour 15",
        ),
    )
    parser.add_argument("a", metavar="RUN_A", help="a step of one model, such as nano/evaluate")
    parser.add_argument("b", metavar="RUN_B", help="a step of the other")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings of the feedback source")
    parser.add_argument("--n", type=count, metavar="N", help="prompts to draw (default: all that match)")
    parser.add_argument(
        "--per-prompt", type=count, default=1, metavar="K", help="pairs of one prompt (default: 1)"
    )
    parser.add_argument("--annotators", type=count, metavar="K", help="different people per pair")
    parser.add_argument("--shared", type=float, metavar="SHARE", help="share of pairs that two people get")
    parser.add_argument("--gold", metavar="FILE", help="JSON lines of pairs whose right answer is known")
    parser.add_argument("--warning", metavar="TEXT", help="content warning on the page")
    parser.add_argument("--wage-per-hour", type=float, metavar="MONEY", help="turns seconds into a cost")
    parser.add_argument("--seed", type=int, default=0, help="draws the prompts (default: 0)")
    parser.add_argument(
        "--feedback", default="label_studio", metavar="NAME", help="feedback source (default: label_studio)"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what people would be asked, ask nothing")
    add_wait(parser)
    add_runs(parser)
    add_json(parser)
    parser.add_argument("--quiet", action="store_true", help="results only: no progress, no chatter")


def verdict(arguments: argparse.Namespace) -> int:
    """Makes the pairs, asks people, and tells what they said."""
    from ilf.commands._runs import find_step, others_note
    from ilf.commands._verdict_text import plan_text, result_text
    from ilf.progress import Progress
    from ilf.verdict import tally

    progress = Progress(quiet=arguments.quiet)
    runs = Path(arguments.runs)
    sides = []
    for text in (arguments.a, arguments.b):
        folder, others = find_step(text, runs)
        sides.append(folder)
        if others:
            progress.say(f"{text}: {others_note(folder, others)}")
    found, source = _pairs(sides, arguments), _source(arguments)
    told: dict[str, Any] = {"a": str(sides[0]), "b": str(sides[1])}
    if arguments.dry_run:
        told |= _plan(found, source)
        print(json_text(told) if arguments.json else plan_text(told))
        return 0
    verdicts, step = _asked(found, source, sides, arguments, progress)
    told |= {"rows": str(step.folder), **tally(found, verdicts, arguments.wage_per_hour)}
    print(json_text(told) if arguments.json else result_text(told))
    return 0


def _pairs(sides: list[Path], arguments: argparse.Namespace) -> Pairs:
    from ilf.errors import DataError, UsageError
    from ilf.store import Step
    from ilf.verdict import pairs

    a, b = map(Step, sides)
    if a.folder.resolve() == b.folder.resolve():
        raise UsageError(f"RUN_A and RUN_B are both {a.folder}; name two steps. See: ilf show")
    for step in (a, b):
        if not step.is_finished:
            raise DataError(f"{step.folder} is not finished; finish it with `ilf run` first.")
    return pairs(a.rows(), b.rows(), n=arguments.n, per_prompt=arguments.per_prompt, seed=arguments.seed)


def _settings(*, feedback: FeedbackSource) -> None:
    """What a verdict is made with (its type is what the settings are checked against)."""


def _source(arguments: argparse.Namespace) -> Spec:
    from ilf.config import Spec, resolve
    from ilf.errors import UsageError, listed
    from ilf.recipe import read_overrides

    words = [
        f"{name}={value}"
        for name in ("annotators", "shared")
        if (value := getattr(arguments, name)) is not None
    ]
    if arguments.gold:
        words.append(f"gold={arguments.gold}")
    given = {"name": arguments.feedback, **read_overrides([*words, *arguments.overrides])}
    if arguments.warning is not None:
        given["warning"] = arguments.warning
    problems: list[str] = []
    made = resolve(_settings, "verdict", {"feedback": given}, "verdict", {}, problems)
    source = made.settings.get("feedback")
    if problems or not isinstance(source, Spec):
        raise UsageError(f"{len(problems)} problem(s), nobody was asked:\n{listed(problems)}")
    jobs = getattr(source.target, "jobs", (JOB,))
    if JOB not in jobs:
        raise UsageError(f"{source.name} does no verdicts; it does: {', '.join(jobs)}.")
    return source


def _plan(found: Pairs, source: Spec) -> dict[str, Any]:
    settings = source.settings
    n_people, shared = settings.get("annotators", 1), settings.get("shared", 0.0)
    each = n_people * (1 - shared) + settings.get("shared_by", n_people) * shared
    asked = round(len(found.rows) * each)
    return {
        "prompts": found.prompts,
        "matched_prompts": found.matched,
        "pairs": len(found.rows),
        "identical": len(found.identical),
        "only_a": found.only_a,
        "only_b": found.only_b,
        "not_asked": found.not_asked,
        "annotators": n_people,
        "verdicts": asked,
        "human_seconds": source.build().price(JOB, 2) * asked,
    }


def _asked(
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
    shown = {key: value for key, value in source.described().items() if key not in policy}
    return digest([JOB, shown, [row["id"] for row in found.rows]], ADDRESS_DIGITS)


def _collected(found: Pairs, source: Spec, people: Path, seed: int) -> list[Row]:
    from ilf.collect import collect
    from ilf.errors import Waiting

    if not found.rows:
        return []
    try:
        return list(collect(found.rows, people, feedback=source.build(), job="verdict", seed=seed))
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
        "settings": {"job": JOB, "feedback": source.described()},
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
