"""ilf agreement: how far people agree, what each of them did, and what it cost."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilf.commands._parser import Subparsers, add_command, add_json, add_runs
from ilf.errors import DataError, UsageError

#: How far apart answers lie that ``--adjudicate`` counts: the default of ``settle``.
_THRESHOLD = 0.3


def add(subparsers: Subparsers) -> None:
    """Adds ``ilf agreement``."""
    parser = add_command(
        subparsers,
        "agreement",
        agreement,
        "say how far people agree, what each of them did, and what it cost",
        more="Of a run: its collect and settle steps; of a step that waits for people: what they said so "
        "far. Figures have 95 % intervals over outputs; where there are too few answers there is a "
        "reason instead. Nobody is rejected: what looks odd is shown.\n\n"
        "Disagreement of two answers, as settle uses it, goes from 0 (the same) to 1: orders: share of "
        "the pairs of outputs not ordered alike; ratings: the widest gap on one axis, of 4 points; "
        "critiques: MASI distance of the kinds of fault, and 1 where only one person found nothing to "
        "criticise; rewrites: 1 where the decisions differ. Of more people: the mean over all pairs.",
        examples=(
            "ilf agreement rank_summaries",
            "ilf agreement rank_summaries/collect --wage-per-hour 15",
            "ilf agreement rank_summaries/collect --adjudicate",
            "ilf agreement rank_summaries --json > agreement.json",
        ),
    )
    parser.add_argument("target", metavar="RUN", help="a run, or one of its steps: rank_summaries/collect")
    parser.add_argument(
        "--wage-per-hour",
        type=_wage,
        metavar="MONEY",
        help="what an hour of people's time costs, to show money (default: the recipe's setting)",
    )
    parser.add_argument(
        "--adjudicate", action="store_true", help="say how to have a third person decide disagreements"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the intervals (default: 0)")
    add_runs(parser)
    add_json(parser)


def _wage(text: str) -> float:
    try:
        wage = float(text)
    except ValueError:
        wage = math.nan
    if not wage >= 0 or math.isinf(wage):
        raise argparse.ArgumentTypeError(f"'{text}' is no amount of money, 0 or more")
    return wage


@dataclass(frozen=True)
class Source:
    """A step that asked people: its folder if it is finished, its log if it has one."""

    name: str
    step: Path | None
    people: Path | None
    made_by: Mapping[str, Any]
    job: str


def agreement(arguments: argparse.Namespace) -> int:
    """Reads what people said and prints what it is worth."""
    from ilf.commands._agreement_text import text, whole_ledger
    from ilf.commands._terminal import json_text

    sources = find_sources(arguments.target, Path(arguments.runs))
    found = [_report(source, arguments) for source in sources]
    asked = [entry for entry in found if entry["answers"] or entry["states"]] or found
    if arguments.json:
        print(json_text({"target": arguments.target, "steps": asked}))
    else:
        told = [text(entry, adjudicate=arguments.adjudicate) for entry in asked]
        print("\n\n\n".join(filter(None, [*told, whole_ledger(asked)])))
    return 0


# --- finding


def find_sources(target: str, runs: Path) -> list[Source]:
    """The steps that a text names: one step, or all of a run that asked people; UsageError where none did."""
    from ilf.commands._runs import find, is_step, steps_in, used

    try:
        folder, _ = find(target, runs)
    except UsageError:
        waiting = _waiting(target, runs)
        if not waiting:
            raise
        return waiting[-1:]
    if is_step(folder):
        return [_source(folder)]
    kept = used(folder)
    steps = [s for s in steps_in(folder) if (kept is None or s.name in kept) and _asks(s)]
    sources = [_source(step) for step in steps]
    sources += _waiting(target, runs, folder)
    if not sources:
        raise UsageError(
            f"{folder}: no step of this run asked people. A recipe asks them with a step 'collect'."
        )
    return sources


def _asks(folder: Path) -> bool:
    from ilf.store import Step

    step = Step(folder)
    return step.is_finished and step.made_by.get("stage") in ("collect", "settle")


def _source(folder: Path) -> Source:
    from ilf.store import Step

    step = Step(folder)
    if not step.is_finished:
        raise UsageError(f"{folder} is not finished; ilf run makes it.")
    made = step.made_by
    people = folder.parent / "people" / str(made["people"]) if made.get("people") else None
    rows = step.rows()
    job = made.get("settings", {}).get("job") or (rows[0].get("job") if len(rows) else None)
    if not job or (len(rows) and "annotator" not in rows[0]):
        raise UsageError(
            f"{folder}: its rows were not said by people (no column 'annotator'). Name a collect step."
        )
    return Source(folder.name, folder, people, made, str(job))


def _waiting(target: str, runs: Path, run: Path | None = None) -> list[Source]:
    """Logs of steps that are not finished, in the order in which they were last written."""
    from ilf.commands._runs import steps_in
    from ilf.store import Step

    name, _, step = target.strip("/").rpartition("/")
    run = run or (runs / name if name else runs / step)
    finished = {Step(folder).made_by.get("people") for folder in steps_in(run) if Step(folder).is_finished}
    found = [
        path.parent
        for path in sorted((run / "people").glob("*/events.jsonl"), key=lambda path: path.stat().st_mtime)
        if path.parent.name not in finished
    ]
    if name and not (runs / target).is_dir():
        found = [folder for folder in found if folder.name.startswith(step)]
    return [Source(folder.name, None, folder, {}, _job_of(folder)) for folder in found]


def _job_of(people: Path) -> str:
    path = people / "project.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["job"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: does not say which job people were asked to do ({type(error).__name__}). Run the "
            "recipe again: it finds its project and writes the file."
        ) from None


# --- reading


def _report(source: Source, arguments: argparse.Namespace) -> dict[str, Any]:
    from ilf._agreement.worth import report

    wage = arguments.wage_per_hour
    if wage is None:  # it changes no row, so it stands among the settings that are recorded and not hashed
        wage = source.made_by.get("speed_only", {}).get("feedback", {}).get("wage_per_hour", 0.0)
    answers, from_log, n_rows, settled = _answers(source)
    found = report(answers, source.job, wage_per_hour=float(wage), seed=arguments.seed)
    return {
        "step": source.name,
        "is_finished": source.step is not None,
        "read_from": "log" if from_log else "rows",
        "rows": n_rows,
        "settled": settled,
        **found,
        "disagreements": _disagreements(source, answers),
    }


def _answers(source: Source) -> tuple[list[Any], bool, int | None, dict[str, int]]:
    """(answers, whether they are from the log, rows of the step, how often rows were settled how)."""
    from collections import Counter

    from ilf._agreement.answers import from_events, from_rows
    from ilf.label_studio.events import EVENTS, heard
    from ilf.store import Step

    rows = Step(source.step).rows() if source.step else None
    settled: Counter[str] = Counter()
    if rows is not None and source.made_by.get("stage") == "settle":
        settled.update(str(row.get("settled")) for row in rows)
    n_rows = None if rows is None else len(rows)
    if source.people is not None and (source.people / EVENTS).exists():
        log = heard(source.people).answers
        events = [log[number] for number in sorted(log)]
        return from_events(events, source.job, _gold(source.people, source.job)), True, n_rows, dict(settled)
    own = (row for row in rows or () if not settled or str(row.get("settled")).endswith("adjudicated"))
    return from_rows(own, source.job), False, n_rows, dict(settled)


def _gold(people: Path, job: str) -> dict[str, Any]:
    """Item that people saw -> its right answer."""
    from ilf.label_studio.jobs import item_id
    from ilf.records import Rows

    path = people / "gold.jsonl"
    if not path.exists():
        return {}
    return {row.get("item") or item_id(job, str(row["id"])): row.get("gold") for row in Rows(path)}


def _disagreements(source: Source, answers: list[Any]) -> dict[str, Any]:
    """How many outputs a third person would see, for ``--adjudicate``."""
    from statistics import median

    from ilf._agreement.opinions import disagreement

    units: dict[str, list[Any]] = {}
    for answer in answers:
        if answer.counts:
            units.setdefault(answer.unit, []).append(answer.said)
    apart = [disagreement(source.job, said) for said in units.values() if len(said) > 1]
    known = [value for value in apart if value is not None]
    times = [answer.seconds for answer in answers if answer.counts and answer.seconds is not None]
    feedback = source.made_by.get("settings", {}).get("feedback")
    asked = sum(value >= _THRESHOLD for value in known)
    return {
        "threshold": _THRESHOLD,
        "compared": len(known),
        "apart": asked,
        "seconds_expected": asked * median(times) if times else None,
        "feedback": feedback.get("name", "label_studio") if isinstance(feedback, dict) else "label_studio",
    }
