"""ilf verdict: two models' answers judged blind by people, and what their verdicts say."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilf.commands._parser import Subparsers, add_command, add_json, add_runs, add_wait, count
from ilf.commands._terminal import json_text
from ilf.commands._verdict_rows import JOB, asked, model_folder
from ilf.protocols import FeedbackSource

if TYPE_CHECKING:
    from ilf.config import Spec
    from ilf.protocols import Row
    from ilf.verdict import Pairs

_MORE = """\
Both are steps whose rows hold 'output', such as nano/evaluate of two runs. Their answers are matched by
prompt (several of one prompt by their order), shown side by side without names, the sides shuffled by a
hash and recorded. Answers that are the same text are not sent to people; they count as ties.

The first call makes the labelling project and ends with status 75; run the same command again when
people have answered, or let it --wait. What they said is kept in RUNS/verdicts, one row per verdict:
`ilf show`, `ilf agreement` and `ilf export` read it like a step.

key=value words are settings of the feedback source: enough=0.4 looks when 40 % have verdicts. Before
all have, a winner is named only where an interval that holds at every look leaves out 50 %.

`--feedback judge model=FOLDER` asks a model instead of people; that is its opinion. With `--judge` such
verdicts stand beside people's: how far the judge agrees with people, and what people's few verdicts and
the judge's many come to together. People may judge a part (--n), the judge all."""


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
            "ilf verdict nano/evaluate other/evaluate --feedback judge model=models/judge",
            "ilf verdict nano/evaluate other/evaluate --n 50 --judge verdicts/evaluate-vs-evaluate-1a2b",
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
    parser.add_argument(
        "--judge",
        metavar="RUN/STEP",
        help="a step of a judge's verdicts on the same pairs, to set beside people's",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what people would be asked, ask nothing")
    add_wait(parser)
    add_runs(parser)
    add_json(parser)
    parser.add_argument("--quiet", action="store_true", help="results only: no progress, no chatter")


def verdict(arguments: argparse.Namespace) -> int:
    """Makes the pairs, asks people, and tells what they said."""
    from ilf.commands._judge_text import opinion_text
    from ilf.commands._runs import find_step, others_note
    from ilf.commands._verdict_text import plan_text, result_text
    from ilf.errors import Waiting
    from ilf.progress import Progress
    from ilf.verdict import tally

    progress = Progress(quiet=arguments.quiet)
    folders = []
    for text in (arguments.a, arguments.b, *([arguments.judge] if arguments.judge else [])):
        folder, others = find_step(text, Path(arguments.runs))
        folders.append(folder)
        if others:
            progress.say(f"{text}: {others_note(folder, others)}")
    sides = folders[:2]
    found, source = _pairs(sides, arguments, arguments.n), _source(arguments)
    told: dict[str, Any] = {"a": str(sides[0]), "b": str(sides[1])}
    if arguments.dry_run:
        told |= _plan(found, source)
        print(json_text(told) if arguments.json else plan_text(told))
        return 0
    judge = _judge(folders[2], sides, arguments) if arguments.judge else None
    # Before people are asked: what is wrong with the judge's verdicts is known then, and so is his opinion.
    opinion = judge(found, [], None) if judge else None
    try:
        verdicts, step = asked(found, source, sides, arguments, progress)
    except Waiting:
        if opinion:
            print(json_text({**told, "judge": opinion}) if arguments.json else opinion_text(opinion))
        raise
    is_finished, people = source.settings.get("enough", 1.0) >= 1, source.settings.get("annotators", 1)
    told |= tally(found, verdicts, arguments.wage_per_hour, annotators=people, is_finished=is_finished)
    if judge:
        told["judge"] = judge(found, verdicts, told["no_verdict_yet"])
        if (told["judge"]["combined"] or {}).get("low") is not None:
            told["winner"] = told["judge"]["winner"]
    told["rows"] = str(step.folder)
    print(json_text(told) if arguments.json else result_text(told))
    return 0


def _pairs(sides: list[Path], arguments: argparse.Namespace, n: int | None) -> Pairs:
    from ilf.errors import DataError, UsageError
    from ilf.store import Step
    from ilf.verdict import pairs

    a, b = map(Step, sides)
    if a.folder.resolve() == b.folder.resolve():
        raise UsageError(f"RUN_A and RUN_B are both {a.folder}; name two steps. See: ilf show")
    for step in (a, b):
        if not step.is_finished:
            raise DataError(f"{step.folder} is not finished; finish it with `ilf run` first.")
    return pairs(a.rows(), b.rows(), n=n, per_prompt=arguments.per_prompt, seed=arguments.seed)


def _judge(
    folder: Path, sides: list[Path], arguments: argparse.Namespace
) -> Callable[[Pairs, list[Row], str | None], dict[str, Any]]:
    """What a judge's verdicts say beside people's, as a function of those."""
    from ilf.errors import DataError
    from ilf.store import Step
    from ilf.verdict import beside_people

    step = Step(folder)
    if not step.is_finished:
        raise DataError(f"{folder} is not finished: the judge's verdicts are not all there.")
    whole, judged = _pairs(sides, arguments, None), list(step.rows())

    def beside(found: Pairs, verdicts: list[Row], early: str | None) -> dict[str, Any]:
        return {"rows": str(folder), **beside_people(whole, found, verdicts, judged, early=early)}

    return beside


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
    n_asked = round(len(found.rows) * each)
    return {
        "prompts": found.prompts,
        "matched_prompts": found.matched,
        "pairs": len(found.rows),
        "identical": len(found.identical),
        "only_a": found.only_a,
        "only_b": found.only_b,
        "not_asked": found.not_asked,
        "annotators": n_people,
        "verdicts": n_asked,
        "human_seconds": source.build(model_folder).price(JOB, 2) * n_asked,
    }
