"""ilf compare: many arms of a recipe beside their controls, as a table and as a page."""

from __future__ import annotations

import argparse
import importlib
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilf import _ranks
from ilf.commands._parser import Subparsers, add_command, add_recipe, count
from ilf.commands._terminal import hours, json_text, table, total, width, wrapped
from ilf.errors import UsageError

if TYPE_CHECKING:
    from ilf.compare import Cell, Design

PAGE, RESULT = "report.html", "result.json"


def add(subparsers: Subparsers) -> None:
    """Adds ``ilf compare``."""
    parser = add_command(
        subparsers,
        "compare",
        compare,
        "run all arms of a recipe and compare them with their controls",
        more="Prints the tables and writes a page to open (report.html) and the same numbers (result.json)\n"
        "beside the steps. Steps that arms share are made once.",
        examples=(
            "ilf compare nano",
            "ilf compare nano --dry-run",
            "ilf compare nano compare.seeds='[0, 1]' load.n=50 --workers 1",
            "ilf compare nano --json --quiet > result.json",
            "ilf compare nano --open",
        ),
    )
    add_recipe(parser)
    parser.add_argument(
        "--workers", type=count, metavar="N", help="processes at work (default: the recipe's)"
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    parser.add_argument(
        "--replan",
        action="store_true",
        help="start a new plan: what is compared from now on counts as planned, and the page says that an "
        "earlier plan was given up",
    )


def compare(arguments: argparse.Namespace) -> int:
    """Plans every arm, runs what is missing, writes the page and prints the tables."""
    if _ranks.count() > 1:
        raise UsageError(
            "ilf compare starts processes of its own (--workers); run it without torchrun. Under torchrun: "
            "ilf run, whose trainings are shared."
        )
    from ilf.commands._work import working
    from ilf.progress import Progress
    from ilf.recipe import read_overrides, read_recipe

    recipe = read_recipe(arguments.recipe).override(read_overrides(arguments.overrides))
    if arguments.workers is not None and "compare" in recipe.raw:
        recipe = recipe.override({"compare.workers": arguments.workers})
    folder = Path(arguments.runs) / recipe.name
    comparing = importlib.import_module("ilf.compare")  # `from ilf import compare` is the function
    designed: Design = comparing.design(recipe)
    if arguments.dry_run:
        told = _plan(designed, folder)
        print(json_text(told) if arguments.json else _plan_text(told))
        return 0
    words = ["ilf", "compare", arguments.recipe, *arguments.overrides]
    with working(folder, "compare", words, [cell.plan for cell in (*designed.arms, *designed.picks)]):
        result = comparing.compare(
            recipe,
            folder,
            Progress(quiet=arguments.quiet),
            wait_for_others=not arguments.no_wait,
            replan=arguments.replan,
            command=shlex.join(words),
        )
        page = write(result, folder)
    _tell(result, page, arguments)
    return 0


def write(result: Mapping[str, Any], folder: Path) -> Path:
    """Writes the page, and the same numbers as JSON, into a folder; returns the page."""
    from ilf import report
    from ilf.files import write_whole

    page = folder / PAGE
    write_whole(folder / RESULT, json_text(result) + "\n")
    report.write(result, page)
    return page


def _tell(result: Mapping[str, Any], page: Path, arguments: argparse.Namespace) -> None:
    from ilf import report
    from ilf.progress import Progress

    if arguments.json:
        print(json_text(result))
        Progress(quiet=arguments.quiet).say(f"page: {page}")
    else:
        print(report.terminal(result, width()))
        print(f"The page to open: {page}")
    if arguments.open:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


# --- dry run


def _plan(designed: Design, folder: Path) -> dict[str, Any]:
    """Distinct steps by name and state, and the hours that each arm, and all together, would ask for."""
    from ilf.commands._work import LATER, REUSED, TO_DO, prospects

    steps: dict[str, dict[str, int]] = {}
    for found in prospects([cell.plan for cell in (*designed.arms, *designed.picks)], folder):
        counted = steps.setdefault(found.step, dict.fromkeys((REUSED, TO_DO, LATER), 0))
        counted[found.state] += 1
    by_arm, asked = people(designed.arms, folder)
    return {
        "recipe": designed.recipe.name,
        "run": str(folder),
        "seeds": list(designed.comparison.seeds),
        "budgets": list(designed.comparison.budgets),
        "steps": [
            {"step": name, "reused": c[REUSED], "to_do": c[TO_DO], "decided_later": c[LATER]}
            for name, c in steps.items()
        ],
        "arms": [{"arm": arm, "human_seconds": seconds} for arm, seconds in by_arm.items()],
        "human_seconds": asked,
    }


def people(cells: Iterable[Cell], folder: Path) -> tuple[dict[str, float | None], float | None]:
    """Seconds that each arm pays for over all seeds, and those that would be asked for in all."""
    from ilf.outlook import outlook, paid

    by_arm: dict[str, float | None] = {}
    distinct: dict[str, float | None] = {}
    for cell in cells:
        lines = outlook(cell.plan, folder)
        by_arm[cell.arm] = total([by_arm.get(cell.arm, 0.0), paid(cell.plan, lines)])
        distinct |= {cell.keys[line.step]: line.human_seconds for line in lines}
    return by_arm, total(distinct.values())


def _plan_text(told: Mapping[str, Any]) -> str:
    rows: list[list[object]] = [["step", "reused", "to do", "decided later"]]
    rows += [[s["step"], s["reused"], s["to_do"], s["decided_later"]] for s in told["steps"]]
    totals = [sum(s[key] for s in told["steps"]) for key in ("reused", "to_do", "decided_later")]
    rows.append(["all", *totals])
    arms: list[list[object]] = [["arm", "human hours, all seeds"]]
    arms += [[a["arm"], hours(a["human_seconds"])] for a in told["arms"]]
    seeds = ", ".join(map(str, told["seeds"]))
    total = (
        f"{told['recipe']}: {len(told['arms'])} arms at seeds {seeds}; arms share annotations: "
        f"{hours(told['human_seconds'])} hours in all. Nothing was run."
    )
    return f"{table(rows, right=(1, 2, 3))}\n\n{table(arms, right=(1,))}\n\n{wrapped(total, width())}"
