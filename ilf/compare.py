"""compare: many arms of one recipe, each an override, at several budgets and seeds, with their controls.

Arms share every step whose settings and inputs are equal, so an arm costs only what differs. What is compared
with what is written down before anything is graded (``plan.json`` of the run).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilf import findings
from ilf._compare import fixed_plan
from ilf._compare.cells import Cell, budgeted, cells, pick_cells
from ilf._compare.controls import with_controls
from ilf._compare.section import read_comparison
from ilf._compare.terms import Arm, Axis, Comparison
from ilf.energy import energy, metered
from ilf.errors import DataError
from ilf.files import write_whole
from ilf.progress import Progress
from ilf.recipe import Recipe
from ilf.run import address_of, version
from ilf.store import Step
from ilf.workers import Node, graph, run_graph

__all__ = [
    "Arm",
    "Axis",
    "Cell",
    "Comparison",
    "Design",
    "compare",
    "design",
    "opened",
    "read_comparison",
    "stored",
]


#: What was compared in a run, so that its page can be made again from the rows.
COMPARED = "compared.json"


@dataclass(frozen=True)
class Design:
    """A comparison, checked and planned whole: its arms at every budget and seed, and the table of picks."""

    recipe: Recipe
    comparison: Comparison
    arms: Sequence[Cell]
    picks: Sequence[Cell]

    @property
    def nodes(self) -> dict[str, Node]:
        """All distinct steps, key -> node."""
        return graph(cell.plan for cell in (*self.arms, *self.picks))


def design(recipe: Recipe) -> Design:
    """Reads and plans the ``compare:`` section; UsageError lists what is wrong with it, before any work."""
    recipe, comparison = with_controls(recipe, read_comparison(recipe))
    comparison = budgeted(recipe, comparison)
    return Design(recipe, comparison, cells(recipe, comparison), pick_cells(recipe, comparison))


def compare(
    recipe: Recipe,
    runs: Path,
    progress: Progress | None = None,
    *,
    wait_for_others: bool = True,
    replan: bool = False,
    command: str = "",
) -> dict[str, Any]:
    """Runs every arm at every seed and returns the result as one JSON object (see ``docs/comparing.md``).

    Raises UsageError before any work where the recipe is wrong.
    """
    designed = design(recipe)
    nodes = designed.nodes
    before = _made(nodes, runs)
    graded = sum(cell.keys[designed.comparison.target] in before for cell in designed.arms)
    runs.mkdir(parents=True, exist_ok=True)
    plan = fixed_plan.plan_of(designed.comparison, designed.arms)
    kept = fixed_plan.fix(runs, plan, graded=graded, replan=replan)
    with metered(runs) if len(before) < len(nodes) else contextlib.nullcontext():
        made = run_graph(
            nodes,
            runs,
            progress or Progress(quiet=True),
            workers=designed.comparison.workers,
            wait_for_others=wait_for_others,
        )
    kept_as = {
        "name": recipe.name,
        "folder": str(recipe.folder),
        "raw": recipe.raw,
        "command": command,
        "version": version(),
        "steps": {key: step.folder.name for key, step in made.items()},
    }
    # Not sorted: the order of a recipe's steps says what reads what.
    write_whole(runs / COMPARED, json.dumps(kept_as, ensure_ascii=False) + "\n")
    return _result(designed, runs, made, kept, command)


def stored(runs: Path) -> dict[str, Any]:
    """The result of a comparison from the rows that it left in a run, without running anything.

    DataError where nothing was compared there, or where a step is gone.
    """
    designed, made, plan, command = opened(runs)
    return _result(designed, runs, made, plan, command)


def opened(runs: Path) -> tuple[Design, dict[str, Step], dict[str, Any], str]:
    """A run's comparison as it was made: design, finished steps by key, plan, and the command.

    DataError where nothing was compared there, or where a step is gone.
    """
    path = runs / COMPARED
    plan = fixed_plan.read(runs)
    if plan is None or not path.exists():
        raise DataError(f"{runs}: nothing was compared in this run. Compare first: ilf compare RECIPE")
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        designed = design(Recipe(kept["name"], Path(kept["folder"]), kept["raw"]))
        made = {key: Step(runs / kept["steps"][key]) for key in designed.nodes}
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"{path}: does not fit this version of ilf, or is torn. Run the comparison again; steps that are "
            "made are reused."
        ) from None
    gone = sorted({step.folder.name for step in made.values() if not step.is_finished})
    if gone:
        raise DataError(
            f"{runs}: {', '.join(gone[:5])}{' ...' if len(gone) > 5 else ''} of this comparison are gone. "
            f"Make them again: {kept['command'] or 'ilf compare ' + kept['name']}"
        )
    return designed, made, plan, str(kept["command"])


def _made(nodes: dict[str, Node], runs: Path) -> dict[str, Step]:
    """The steps that lie finished in a run, by key."""
    made: dict[str, Step] = {}
    for key, node in nodes.items():
        if all(needed in made for needed in node.inputs.values()):
            inputs = {name: made[needed] for name, needed in node.inputs.items()}
            step = Step(address_of(node.step, inputs, runs).folder)
            if step.is_finished:
                made[key] = step
    return made


def _result(
    designed: Design, runs: Path, made: dict[str, Step], plan: dict[str, Any], command: str
) -> dict[str, Any]:
    comparison, recipe = designed.comparison, designed.recipe

    def step(cell: Cell, name: str) -> Step:
        return made[cell.keys[name]]

    return {
        "recipe": recipe.name,
        "about": recipe.about,
        "run": str(runs),
        "version": version(),
        "command": command,
        "world_note": comparison.note,
        "versus_about": comparison.versus.about if comparison.versus else "",
        "p_correction": "Holm",
        **findings.tables(comparison, designed.arms, step, plan, energy(runs)),
        "curves": findings.learning_curves(comparison, designed.arms, step),
        "picks": findings.pick_table(comparison, designed.picks, step),
        "examples": findings.examples(comparison, designed.arms, designed.picks, step),
    }
