"""ilf run: the steps of a recipe, each made once."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilf import _ranks
from ilf.commands._parser import Subparsers, add_command, add_recipe, add_wait
from ilf.commands._terminal import hours, json_text, paint, table, total, width, wrapped

if TYPE_CHECKING:
    from ilf.outlook import Outlook
    from ilf.plan import PlannedStep
    from ilf.recipe import Recipe
    from ilf.store import Step


def add(subparsers: Subparsers) -> None:
    """Adds ``ilf run``."""
    parser = add_command(
        subparsers,
        "run",
        run,
        "run a recipe",
        more="Steps that are made already are reused; the same command goes on where a run was interrupted.\n"
        "Where people have not answered yet it ends with status 75: run it again later, or let it --wait.",
        examples=(
            "ilf run nano",
            "ilf run nano --dry-run",
            "ilf run nano choose.ranker=chance train.strategy.learning_rate=3e-4 seed=3",
            "ilf run nano load.n=20 --until choose --json",
            "ilf run my-recipe/recipe.yaml --runs scratch",
            "ilf run annotate_summaries --wait",
            "ilf run annotate_summaries --refresh",
        ),
    )
    add_recipe(parser)
    parser.add_argument("--until", metavar="STEP", help="only this step and what it needs")
    add_wait(parser)
    parser.add_argument(
        "--refresh", action="store_true", help="ask again what people said; what they changed is made again"
    )


def run(arguments: argparse.Namespace) -> int:
    """Plans, runs and tells what came of it."""
    from ilf.commands._wait import until_answered
    from ilf.commands._work import working
    from ilf.outlook import outlook
    from ilf.progress import Progress
    from ilf.recipe import read_overrides, read_recipe
    from ilf.run import run_steps

    recipe = read_recipe(arguments.recipe).override(read_overrides(arguments.overrides))
    steps = recipe.plan(*filter(None, [arguments.until]))
    folder = Path(arguments.runs) / recipe.name
    is_first = _ranks.index() == 0
    if arguments.dry_run:
        if not is_first:
            return 0
        seen = outlook(steps, folder)
        print(
            json_text(_plan_json(recipe, folder, seen))
            if arguments.json
            else _plan_text(recipe, folder, seen)
        )
        return 0
    words = ["ilf", "run", arguments.recipe, *arguments.overrides]
    with working(folder, "run", words, [steps]) if is_first else contextlib.nullcontext():
        progress = Progress(quiet=arguments.quiet or not is_first)
        made = until_answered(
            lambda said: run_steps(
                steps, folder, said, wait=not arguments.no_wait, refresh=arguments.refresh
            ),
            progress,
            arguments.wait,
        )
    if not is_first:
        return 0
    told = result(recipe.name, folder, steps, made)
    print(json_text(told) if arguments.json else text(told))
    return 0


def _plan_json(recipe: Recipe, folder: Path, seen: Sequence[Outlook]) -> dict[str, Any]:
    asked = total(line.human_seconds for line in seen)
    steps = [vars(line) for line in seen]
    return {"recipe": recipe.name, "run": str(folder), "human_seconds": asked, "steps": steps}


def _plan_text(recipe: Recipe, folder: Path, seen: Sequence[Outlook]) -> str:
    rows: list[list[object]] = [["step", "state", "rows", "human h", f"folder in {folder}"]]
    for line in seen:
        name = line.step if line.step == line.verb else f"{line.step} ({line.verb})"
        where = Path(line.folder).name if line.folder else ""
        cost = "" if line.human_seconds == 0 else hours(line.human_seconds)
        rows.append([name, line.state, line.rows, cost, where])
    states = [line.state for line in seen]
    reused, now = states.count("reused"), states.count("to do")
    asked = total(line.human_seconds for line in seen)
    counted = f"{reused} reused, {now} to do, {len(seen) - reused - now} decided later"
    people = "" if asked == 0 else f"; it would ask people for {hours(asked)} hours"
    return f"{table(rows, right=(2, 3))}\n\n" + wrapped(
        f"{recipe.name}: {counted}{people}. Nothing was run.", width()
    )


def result(name: str, folder: Path, steps: Sequence[PlannedStep], made: Mapping[str, Step]) -> dict[str, Any]:
    """What ``ilf run --json`` prints: every step with its folder, rows and summary; tables of ``choice``."""
    from ilf.commands._summary import summary

    told = []
    for step in steps:
        rows = made[step.name].rows()
        entry: dict[str, Any] = {"step": step.name, "verb": step.verb, "folder": str(made[step.name].folder)}
        entry["rows"] = len(rows)
        if step.verb == "choice":
            entry["table"] = list(rows)
        told.append({**entry, "summary": summary(step.verb, rows)})
    return {"recipe": name, "run": str(folder), "steps": told}


def text(told: Mapping[str, Any]) -> str:
    """The same as readable text."""
    from ilf.commands._summary import lines
    from ilf.commands._tables import choice_table

    rows = [["step", "rows", "folder"]]
    rows += [[entry["step"], entry["rows"], entry["folder"]] for entry in told["steps"]]
    blocks = [table(rows, right=(1,))]
    for entry in told["steps"]:
        said = list(lines(entry["summary"]))
        if entry.get("table"):
            said.append(choice_table(entry["table"]))
        if said:
            body = "\n".join(s if "\n" in s else wrapped(s, width(), "  ") for s in said)
            blocks.append(f"{paint(entry['step'], 'bold')}\n{body}")
    return "\n\n".join(blocks)
