"""The controls that every comparison carries, added where a recipe has none of its own.

What each shows is said in ``ROLES``. A control that the recipe has already, under whatever name, is found by
what it does: an arm whose steps are the same is the same arm.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ilf._compare.terms import ROLES, Arm, Comparison
from ilf.errors import UsageError, listed, nearest
from ilf.plan import PlannedStep, keys
from ilf.recipe import Recipe

UNLABELLED, REMEMBERED, DISTILLED = "unlabelled", "remembered", "distilled"


@dataclass(frozen=True)
class Loop:
    """The steps of an ILF recipe by their part in it."""

    collect: PlannedStep
    refine: PlannedStep
    choose: PlannedStep
    train: PlannedStep
    answer: PlannedStep
    target: PlannedStep


def with_controls(recipe: Recipe, comparison: Comparison) -> tuple[Recipe, Comparison]:
    """Recipe and comparison with the controls that were missing, and every role's arm in ``controls``.

    A role that ``compare.controls`` gives to an arm, or switches off, is left as it is. Where the target does
    not come from a loop of collect, refine, choose and train nothing is added: the roles are those of arms
    that are called like them. UsageError for a role that does not exist.
    """
    for role in comparison.controls:
        if role not in ROLES:
            raise UsageError(
                f"compare.controls.{role}: no such control.{nearest(role, ROLES)} "
                f"Controls: {', '.join(ROLES)}"
            )
    found = _loop(recipe, comparison.target)
    overrides = {} if found is None else _overrides(found, recipe)
    recipe = recipe if found is None else _with_steps(recipe, found)
    roles: dict[str, str | None] = {}
    arms = list(comparison.arms)
    known = {_key(recipe, arm, comparison.target): arm.name for arm in reversed(arms)}
    names = {arm.name for arm in arms}
    for role in ROLES:
        if role in comparison.controls:
            roles[role] = comparison.controls[role]
        elif role in names:
            roles[role] = role
        elif role in overrides:
            arm = Arm(role, overrides[role], ROLES[role], None, is_control=True, of=role)
            roles[role] = known.get(_key(recipe, arm, comparison.target))
            if roles[role] is None:
                base = roles.get("base") if role != "base" else None
                arms.append(dataclasses.replace(arm, control=base))
                roles[role] = role
    _check_compared(recipe, arms)
    return recipe, dataclasses.replace(comparison, arms=tuple(arms), controls=roles)


def _check_compared(recipe: Recipe, arms: Sequence[Arm]) -> None:
    """UsageError where an arm is compared with a control that was switched off, or that cannot be told."""
    names = {arm.name for arm in arms}
    lost = [
        f"compare: arm {arm.name}: its control '{arm.control}' is not there: switched off, or the recipe has "
        "no steps for it. Name an arm."
        for arm in arms
        if arm.control and arm.control not in names
    ]
    if lost:
        raise UsageError(f"{recipe.folder / 'recipe.yaml'}: {len(lost)} problem(s):\n{listed(lost)}")


def _key(recipe: Recipe, arm: Arm, target: str) -> str:
    """What an arm does: equal for arms that do the same."""
    return keys(recipe.override(arm.overrides).plan(target))[target]


def _loop(recipe: Recipe, target: str) -> Loop | None:
    """The loop behind the target, from its end to its beginning; None where it is none."""
    steps = {step.name: step for step in recipe.plan(target)}

    def before(step: PlannedStep | None, *verbs: str) -> PlannedStep | None:
        found = steps.get(step.reads[0]) if step and len(step.reads) == 1 else None
        return found if found and found.verb in verbs else None

    end = steps[target]
    answer = before(end, "sample")
    trained = answer.models_from if answer else ()
    train = steps[trained[0]] if len(trained) == 1 else None
    choose = before(train, "choose")
    refine = before(choose, "refine")
    collect = before(refine, "collect", "settle", "load")
    if not (collect and refine and choose and train and answer):
        return None
    return Loop(collect, refine, choose, train, answer, end)


def _with_steps(recipe: Recipe, loop: Loop) -> Recipe:
    """The recipe with the steps that controls read, behind the one that collects."""
    further: dict[str, Any] = {
        UNLABELLED: {"do": "unlabel", "reads": loop.collect.name},
        REMEMBERED: {"do": "train", "reads": loop.collect.name, "strategy": "remember"},
        DISTILLED: {"do": "train", "reads": loop.collect.name, "strategy": {"name": "distil_prompt"}},
    }
    steps: dict[str, Any] = {}
    read_by_default = ""
    for name, given in recipe.raw["steps"].items():
        steps[name] = given
        if read_by_default and "reads" not in (given or {}):
            # It read the step before it, and goes on to do so.
            steps[name] = {**(given or {}), "reads": read_by_default}
        read_by_default = ""
        if name == loop.collect.name:
            read_by_default = name
            steps |= {key: entry for key, entry in further.items() if key not in recipe.raw["steps"]}
    return Recipe(recipe.name, recipe.folder, {**recipe.raw, "steps": steps})


def _overrides(loop: Loop, recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Role -> overrides of the arm that plays it."""
    refine, choose, answer = loop.refine.name, loop.choose.name, loop.answer.name
    start = str(loop.train.spec.settings["start"])
    untrained = {f"{answer}.model": start}
    generator = loop.answer.spec.settings["generator"].name

    def with_policy(**policy: Any) -> dict[str, Any]:
        plain = _plain(recipe, answer, generator)
        return {**untrained, f"{answer}.generator": {**policy, "generator": plain}}

    tie = {f"{choose}.without_critique": "tie"}
    found: dict[str, dict[str, Any]] = {
        "base": untrained,
        "own_outputs": {
            f"{choose}.reads": UNLABELLED,
            f"{choose}.candidates": "output",
            f"{choose}.ranker": "chance",
        },
        "no_feedback": {f"{refine}.reads": UNLABELLED, f"{refine}.feedback": "none", **tie},
        "shuffled": {f"{refine}.feedback": "shuffled"},
        "chance": {f"{choose}.ranker": "chance"},
        "longest": {f"{choose}.ranker": "length"},
        "critiques_in_context": with_policy(name="critiques_in_context", memory=f"steps.{REMEMBERED}"),
        "prompt_from_critiques": with_policy(name="prompt_from_critiques", memory=f"steps.{DISTILLED}"),
    }
    if loop.target.spec.settings["grader"].name == "world":
        oracle = {"name": "oracle", "grader": _grader(recipe, loop.target.name)}
        found["oracle"] = {f"{choose}.ranker": oracle}
    return found


def _plain(recipe: Recipe, step: str, name: str) -> Any:
    """The generator as the recipe gives it to a step."""
    own = recipe.raw["steps"].get(step) or {}
    return own.get("generator", recipe.raw.get("generator", name))


def _grader(recipe: Recipe, step: str) -> dict[str, Any]:
    """The step's grader with what the step gives to it, to stand in another step."""
    own = recipe.raw["steps"].get(step) or {}
    grader: Any = own.get("grader", recipe.raw.get("grader"))
    given = {"name": grader} if isinstance(grader, str) else dict(grader)
    return {**({"world": own["world"]} if "world" in own else {}), **given}
