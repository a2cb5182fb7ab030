"""ilf plan: what a comparison could see, and what it would cost, before anyone is paid."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilf.commands._parser import Subparsers, add_command, add_json, add_runs
from ilf.commands._runs import run_folder
from ilf.commands._terminal import hours, json_text, table, width, wrapped
from ilf.errors import UsageError

if TYPE_CHECKING:
    from ilf._compare.cells import Cell
    from ilf.compare import Design
    from ilf.store import Step


def add(subparsers: Subparsers) -> None:
    """Adds ``ilf plan``."""
    parser = add_command(
        subparsers,
        "plan",
        plan,
        "say which effect a comparison could see, and what it would cost",
        more="Nothing is run. How grades spread is read from a pilot (a finished comparison, by default the\n"
        "recipe's own run if there is one), or in a closed world from its noisy answers; then how much\n"
        "trainings differ is an assumption (--seed-sd). Hours and money are those of the recipe's prices.",
        examples=(
            "ilf plan nano",
            "ilf plan nano --effect 0.03 --wage 30",
            "ilf plan nano_budgets --pilot runs/nano",
            "ilf plan nano compare.seeds='[0, 1, 2, 3, 4]' test.n=400",
        ),
    )
    parser.add_argument("recipe", metavar="RECIPE", help="name of a packaged recipe, or a recipe's path")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings to replace, dotted")
    parser.add_argument("--effect", type=float, default=0.05, help="difference of grades to be seen (0.05)")
    parser.add_argument("--pilot", metavar="RUN", help="folder or name of a finished comparison")
    parser.add_argument("--seed-sd", type=float, help="assumed standard deviation between trainings")
    parser.add_argument("--wage", type=float, metavar="MONEY", help="for an hour of a person's time")
    add_runs(parser)
    add_json(parser)


def plan(arguments: argparse.Namespace) -> int:
    """Plans every arm, finds a spread, and tells power and price."""
    from ilf._compare import power
    from ilf._findings.contrasts import trained_arms
    from ilf.recipe import read_overrides, read_recipe

    comparing = importlib.import_module("ilf.compare")  # `from ilf import compare` is the function
    recipe = read_recipe(arguments.recipe).override(read_overrides(arguments.overrides))
    designed: Design = comparing.design(recipe)
    found = _spread(arguments, designed)
    if arguments.seed_sd is not None:
        found["spread"] = dataclasses.replace(found["spread"], seed_sd=arguments.seed_sd)
    comparison = designed.comparison
    cells = [cell for cell in designed.arms if cell.seed == comparison.seeds[0]]
    budgets = trained_arms(comparison, {cell.arm: [cell] for cell in cells}).values()
    trained = max((list(budgets).count(budget) for budget in set(budgets)), default=0)
    seen = power.outlook(
        found["spread"],
        prompts=_test_prompts(cells[0], comparison.target),
        seeds=len(comparison.seeds),
        comparisons=sum(arm.control is not None for arm in comparison.arms),
        trained_arms=trained if trained > 1 else None,
        effect=arguments.effect,
    )
    wage = comparison.wage_per_hour if arguments.wage is None else arguments.wage
    told = {
        "recipe": recipe.name,
        "effect": arguments.effect,
        "prompts": _test_prompts(cells[0], comparison.target),
        "seeds": len(comparison.seeds),
        **{
            **found,
            "spread": dataclasses.asdict(found["spread"]),
            "widest": dataclasses.asdict(found["widest"]),
        },
        **seen,
        **_price(designed, Path(arguments.runs) / recipe.name, wage),
    }
    print(json_text(told) if arguments.json else _text(told))
    return 0


def _test_prompts(cell: Cell, target: str) -> int:
    """The number of test prompts: rows of the load step behind the target."""
    steps = {step.name: step for step in cell.plan}
    step = steps[target]
    while step.reads:
        step = steps[step.reads[0]]
    n = step.spec.settings.get("n")
    if n is None:
        raise UsageError(f"{step.name}.n: say how many test prompts there are, as in {step.name}.n=200.")
    return int(n)


def _spread(arguments: argparse.Namespace, designed: Design) -> dict[str, Any]:
    """The spread of a pilot, by default the recipe's own run; else that of the recipe's world."""
    from ilf._compare import power

    comparing = importlib.import_module("ilf.compare")
    runs = Path(arguments.runs)
    own = runs / designed.recipe.name
    named = arguments.pilot
    folder = None if named is None else run_folder(named, runs)
    folder = own if folder is None and (own / comparing.COMPARED).exists() else folder
    if folder is not None:
        pilot, made, _, _ = comparing.opened(folder)

        def step(cell: Cell, name: str) -> Step:
            found: Step = made[cell.keys[name]]
            return found

        return {**power.spread_of_pilot(pilot.comparison, pilot.arms, step), "pilot": str(folder)}
    cell = designed.arms[0]
    load = next(s for s in reversed(cell.plan) if s.verb == "load")
    world = load.spec.arguments().get("world")
    if world is None:
        raise UsageError(
            "no pilot: name a finished comparison with --pilot RUN (the same recipe with few rows will do), "
            "because this recipe has no closed world whose spread could be measured."
        )
    answer = next((s for s in cell.plan if s.verb == "sample" and load.name in s.reads), None)
    answers = int(answer.spec.settings["n"]) if answer else 1
    return power.spread_of_world(world, load.spec.settings["split"], answers)


def _price(designed: Design, folder: Path, wage: float) -> dict[str, Any]:
    """Seconds and money of the arms, and of all that would be asked for: as compare's dry run has them."""
    from ilf.commands.compare import people

    by_arm, asked = people(designed.arms, folder)
    return {
        "arms": [
            {"arm": arm, "human_seconds": seconds, "money": _money(seconds, wage)}
            for arm, seconds in by_arm.items()
        ],
        "human_seconds": asked,
        "money": _money(asked, wage),
    }


def _money(seconds: float | None, wage: float) -> float | None:
    return None if seconds is None or not wage else seconds / 3600 * wage


def _text(told: Mapping[str, Any]) -> str:
    spread, family, alone = told["spread"], told["family"], told["alone"]
    source = (
        f"the pilot {told['pilot']} ({told['pilot_prompts']} prompts)"
        if told["from"] == "pilot"
        else "the world's noisy answers; how much trainings differ is assumed"
    )
    said = [
        f"{told['recipe']}: {told['prompts']} test prompts, {told['seeds']} seeds, {family['comparisons']} "
        f"planned comparisons. Standard deviations of a difference: prompts {spread['prompt_sd']:.3f}, "
        f"trainings {spread['seed_sd']:.3f}, rest {spread['rest_sd']:.3f}, from {source}.",
        f"One comparison alone sees {alone['smallest_effect']:.3f} with 80 % power, and "
        f"{told['effect']:g} with {100 * alone['power']:.0f} %. In the family of {family['comparisons']} "
        f"(the hardest step of Holm's) it sees {family['smallest_effect']:.3f}, and {told['effect']:g} with "
        f"{100 * family['power']:.0f} %.",
    ]
    needed = ", ".join(
        f"{seeds} seeds: {'no number of prompts' if n is None else f'{n} prompts'}"
        for seeds, n in told["needed"].items()
    )
    seeds = sorted({entry["seeds"] for entry in told["grid"]})
    grid = [["prompts", *(f"{s} seeds" for s in seeds)]]
    by_prompts: dict[int, list[str]] = {}
    for entry in told["grid"]:
        by_prompts.setdefault(entry["prompts"], []).append(f"{entry['smallest_effect']:.3f}")
    grid += [[str(n), *row] for n, row in by_prompts.items()]
    said.append(
        f"Smallest effect seen in the family, by prompts and seeds; for {told['effect']:g}: {needed}."
    )
    prices: list[list[object]] = [["arm", "human hours, all seeds", "money"]]
    prices += [
        [a["arm"], hours(a["human_seconds"]), _coins(a["money"])] for a in told["arms"] if a["human_seconds"]
    ]
    prices.append(["all, shared answers once", hours(told["human_seconds"]), _coins(told["money"])])
    right = tuple(range(1, len(grid[0])))
    texts = [wrapped(text, width()) for text in said]
    return "\n\n".join([*texts, table(grid, right=right), table(prices, right=(1, 2)), "Nothing was run."])


def _coins(money: float | None) -> str:
    return "-" if money is None else f"{money:,.0f}"
