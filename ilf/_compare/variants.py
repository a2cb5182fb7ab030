"""A recipe at a budget of people's seconds, and on the prompts of further axes: steps added, none changed."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from ilf._compare.terms import Arm, Axis
from ilf.errors import UsageError
from ilf.plan import PlannedStep
from ilf.recipe import Recipe

#: Before the name of a step whose answers are bought.
BOUGHT = "bought_"


def sources(plan: Sequence[PlannedStep], target: str) -> list[str]:
    """Steps behind a target where people's answers come from, in order: what a budget can buy.

    Those that ask people, and those that load answers which were given before; not what nobody reads but a
    step that buys from it.
    """
    return [
        step.name
        for step in plan
        if step.name != target
        and (step.verb == "collect" or (step.verb == "load" and "annotation_id" in _loaded(step)))
    ]


def _loaded(step: PlannedStep) -> Sequence[str]:
    return step.module.columns(step.spec.arguments())[1] or ()


def at_budget(recipe: Recipe, arm: Arm, target: str, seconds: float) -> Recipe | None:
    """The recipe in which the arm learns from what the budget pays for; None where it asks nobody.

    Behind every step that it buys from stands a step that buys, and whatever read the one reads the other.
    UsageError where it is not said how a budget is shared.
    """
    found = sources(recipe.plan(target), target)
    if not found:
        return None
    buys = arm.buys or ({found[0]: 1.0} if len(found) == 1 else {})
    unknown = [name for name in buys if name not in found]
    if unknown or set(found) - set(buys):
        raise UsageError(
            f"it learns from what people said at {', '.join(found)}; its 'buys' must give each a "
            f"share of the budget{' and names ' + ', '.join(unknown) if unknown else ''}. "
            f"For example: buys: {{{', '.join(f'{name}: {1 / len(found):.2g}' for name in found)}}}"
        )
    steps: dict[str, Any] = {}
    for name, given in recipe.raw["steps"].items():
        steps[name] = _reading(given, {source: BOUGHT + source for source in buys})
        if name in buys:
            steps[BOUGHT + name] = {"do": "buy", "reads": name, "seconds": buys[name] * seconds}
    return Recipe(recipe.name, recipe.folder, {**recipe.raw, "steps": steps})


def _reading(given: Any, renamed: Mapping[str, str]) -> Any:
    """A step's settings with what it reads renamed."""
    if not isinstance(given, Mapping) or "reads" not in given:
        return given
    reads = given["reads"]
    return {
        **given,
        "reads": renamed.get(reads, reads)
        if isinstance(reads, str)
        else [renamed.get(name, name) for name in reads],
    }


def with_axes(recipe: Recipe, target: str, axes: Sequence[Axis]) -> Recipe:
    """The recipe with the steps from the test prompts to the target once more for every axis.

    Called when an arm's overrides are in place, so that an axis asks the same policy. Raises UsageError where
    the target does not come from one ``load`` step.
    """
    if not axes:
        return recipe
    chain = _chain(recipe, target)
    steps = dict(recipe.raw["steps"])
    for axis in axes:
        for step in chain:
            entry = copy.deepcopy(steps[step.name]) or {}
            entry = {**entry, "do": step.verb}
            if step.verb == "load":
                entry |= {"n": axis.n, **axis.load}
            else:
                entry["reads"] = f"{step.reads[0]}_{axis.name}"
            if step.verb == "sample":
                entry["n"] = axis.samples
            if step.name == target:
                own = {"grader": axis.grader, "text": axis.text}
                entry |= {key: value for key, value in own.items() if value}
            if f"{step.name}_{axis.name}" in steps:
                raise UsageError(
                    f"compare.axes.{axis.name}: the recipe has a step '{step.name}_{axis.name}' of its own; "
                    "call one of the two otherwise."
                )
            steps[f"{step.name}_{axis.name}"] = entry
    return Recipe(recipe.name, recipe.folder, {**recipe.raw, "steps": steps})


def _chain(recipe: Recipe, target: str) -> list[PlannedStep]:
    """From the step that loads the test prompts to the target."""
    by_name = {step.name: step for step in recipe.plan(target)}
    chain = [by_name[target]]
    while chain[0].reads:
        if len(chain[0].reads) > 1:
            raise UsageError(
                f"compare.axes: step '{chain[0].name}' reads several steps; an axis needs test prompts that "
                "come from one load step."
            )
        chain.insert(0, by_name[chain[0].reads[0]])
    return chain
