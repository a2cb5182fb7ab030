"""compare: many arms of one recipe, each an override, at several seeds, with the controls beside them.

Arms share every step whose settings and inputs are equal, so an arm costs only what differs.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ilf import findings
from ilf.config import Spec, resolve
from ilf.errors import UsageError, listed, nearest
from ilf.plan import PlannedStep
from ilf.plan import keys as keys_of
from ilf.progress import Progress
from ilf.recipe import Recipe
from ilf.run import version
from ilf.store import Step
from ilf.workers import graph, run_graph


@dataclass(frozen=True)
class Arm:
    """A set of overrides under a name, and the arm that it is compared with."""

    name: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""
    control: str | None = None
    is_control: bool = False


@dataclass(frozen=True)
class Comparison:
    """The ``compare:`` section of a recipe, checked: arms, seeds, the step whose grade counts, tables."""

    target: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    workers: int = 2
    note: str = ""
    worth: Mapping[str, str] = field(default_factory=dict)
    grid: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    picks: tuple[str, ...] = ()
    picks_step: str = "choose"
    graded_step: str = ""


def settings(  # noqa: PLR0913 - the keys of a recipe's section
    *,
    target: str = "evaluate",
    seeds: tuple[int, ...] = (0, 1, 2),
    workers: int = 2,
    note: str = "",
    control: str = "",
    arms: dict[str, Any],
    grid: dict[str, Any] | None = None,
    picks: dict[str, Any] | None = None,
) -> None:
    """The keys of ``compare:`` and their types (read by ``read_comparison``)."""


def read_comparison(recipe: Recipe) -> Comparison:
    """Reads and checks ``compare:``; UsageError lists every problem at once."""
    raw = recipe.raw.get("compare")
    if not isinstance(raw, Mapping):
        raise UsageError(
            f"{recipe.folder / 'recipe.yaml'}: no 'compare' section: nothing to compare. See: ilf recipes"
        )
    problems: list[str] = []
    given: Spec = resolve(settings, "compare", raw, "compare", {}, problems)
    chosen = given.settings
    entries, grid, picks = (_mapping(chosen, key, "compare", problems) for key in ("arms", "grid", "picks"))
    control = chosen["control"]
    arms = [_arm(f"compare.arms.{name}", name, entry, control, problems) for name, entry in entries.items()]
    arms += _grid(grid, problems)
    _check_arms(arms, problems)
    _check_picks(picks, problems)
    seeds = chosen["seeds"]
    if isinstance(seeds, tuple) and len(set(map(str, seeds))) < max(len(seeds), 1):
        problems.append("compare.seeds: must name at least one seed, and none twice.")
    if isinstance(chosen["workers"], int) and chosen["workers"] < 1:
        problems.append(f"compare.workers: {chosen['workers']} must be 1 or more.")
    if problems:
        raise UsageError(f"{recipe.folder / 'recipe.yaml'}: {len(problems)} problem(s):\n{listed(problems)}")
    return Comparison(
        target=chosen["target"],
        arms=tuple(arms),
        seeds=seeds,
        workers=chosen["workers"],
        note=chosen["note"],
        worth=dict(grid.get("worth") or {}),
        grid=(tuple(grid.get("rankers") or {}), tuple(grid.get("candidates") or {})),
        picks=tuple(picks.get("rankers") or {}),
        picks_step=picks.get("step", "choose"),
        graded_step=picks.get("graded", ""),
    )


#: What a source of candidates stands for in the table of what feedback adds.
_WORTH = ("real", "shuffled", "none", "own")
_ARM, _GRID, _PICKS = (
    ("about", "control", "is_control", "set"),
    ("rankers", "candidates", "overrides", "worth"),
    ("step", "graded", "rankers"),
)


def _mapping(section: Mapping[str, Any], key: str, where: str, problems: list[str]) -> Mapping[str, Any]:
    """A mapping inside of a section; nothing is an empty one, and so is what is none, with a problem."""
    value = section.get(key)
    if value is not None and not isinstance(value, Mapping):
        problem = f"{where}.{key}: {value!r} is no mapping."
        problems += [problem] if problem not in problems else []
        return {}
    return value or {}


def _unknown(section: Mapping[str, Any], known: Sequence[str], where: str) -> list[str]:
    return [f"{where}.{key}: unknown.{nearest(key, known)}" for key in section if key not in known]


def _arm(where: str, name: str, entry: Any, control: str, problems: list[str]) -> Arm:
    entry = {} if entry is None else entry
    if not isinstance(entry, Mapping):
        problems.append(f"{where}: must be a mapping with {', '.join(_ARM)}; is {entry!r}.")
        return Arm(name)
    problems += _unknown(entry, _ARM, where)
    against = entry.get("control", control if control != name else None)
    return Arm(
        name,
        dict(_mapping(entry, "set", where, problems)),
        str(entry.get("about", "")),
        against,
        bool(entry.get("is_control")),
    )


def _grid(grid: Mapping[str, Any], problems: list[str]) -> list[Arm]:
    """Every ranker on every source of candidates: the arm ``SOURCE_RANKER``, its own overrides last."""
    problems += _unknown(grid, _GRID, "compare.grid")
    parts = (_mapping(grid, key, "compare.grid", problems) for key in _GRID)
    rankers, candidates, overrides, worth = parts
    sources = {
        source: _arm(f"compare.grid.candidates.{source}", source, entry, "", problems)
        for source, entry in candidates.items()
    }
    by_ranker = {ranker: _mapping(rankers, ranker, "compare.grid.rankers", problems) for ranker in rankers}
    arms = []
    for source, ranker in itertools.product(sources, by_ranker):
        arm, name = sources[source], f"{source}_{ranker}"
        control = f"{arm.control}_{ranker}" if arm.control in candidates else arm.control
        own = _mapping(overrides, name, "compare.grid.overrides", problems)
        settings = {**arm.overrides, **by_ranker[ranker], **own}
        arms.append(Arm(name, settings, arm.about, control, arm.is_control))
    names = [arm.name for arm in arms]
    problems += [
        f"compare.grid.overrides.{name}: no such arm of the grid.{nearest(name, names)}"
        for name in overrides
        if name not in names
    ]
    problems += _unknown(worth, _WORTH, "compare.grid.worth")
    known = [str(source) for source in candidates]
    problems += [
        f"compare.grid.worth.{role}: {source!r} is no source of candidates.{nearest(source, known)}"
        for role, source in worth.items()
        if source not in known
    ]
    return arms


def _check_arms(arms: Sequence[Arm], problems: list[str]) -> None:
    names = [str(arm.name) for arm in arms]
    if not names and not problems:
        problems.append("compare.arms: names no arm, and there is no grid of them.")
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    problems += [f"compare: two arms are called '{name}'." for name in twice]
    problems += [
        f"compare: arm {arm.name}: no arm '{arm.control}' to be its control.{nearest(arm.control, names)}"
        for arm in arms
        if arm.control and arm.control not in names
    ]


def _check_picks(picks: Mapping[str, Any], problems: list[str]) -> None:
    problems += _unknown(picks, _PICKS, "compare.picks")
    rankers = _mapping(picks, "rankers", "compare.picks", problems)
    for ranker in rankers:
        _mapping(rankers, ranker, "compare.picks.rankers", problems)
    if rankers and not picks.get("graded"):
        problems.append("compare.picks.graded: must name the evaluate step that grades all candidates.")


@dataclass(frozen=True)
class Cell:
    """One arm at one seed: its steps in order, and the key of each in the graph."""

    arm: str
    seed: int
    plan: Sequence[PlannedStep]
    keys: Mapping[str, str]


def cells(recipe: Recipe, comparison: Comparison) -> list[Cell]:
    """Plans every arm at every seed, seeds outermost; everything is checked before anything runs."""
    planned = []
    for seed, arm in itertools.product(comparison.seeds, comparison.arms):
        try:
            plan = recipe.override({**arm.overrides, "seed": seed}).plan(comparison.target)
        except UsageError as error:
            raise UsageError(f"arm {arm.name}: {error}") from None
        planned.append(Cell(arm.name, seed, plan, keys_of(plan)))
    return planned


def pick_cells(recipe: Recipe, comparison: Comparison) -> list[Cell]:
    """The choices compared in the table of picks, and the grades of all candidates, at every seed."""
    if not comparison.graded_step:
        return []
    rankers = (recipe.raw["compare"]["picks"] or {})["rankers"]
    planned = []
    for seed in comparison.seeds:
        base = recipe.override({"seed": seed})
        graded = base.plan(comparison.graded_step)
        planned.append(Cell(comparison.graded_step, seed, graded, keys_of(graded)))
        for name in comparison.picks:
            plan = base.override(rankers[name] or {}).plan(comparison.picks_step)
            planned.append(Cell(name, seed, plan, keys_of(plan)))
            _check_candidates(planned[-1], graded)
    return planned


def _check_candidates(pick: Cell, graded: Sequence[PlannedStep]) -> None:
    """Refuses grades of other texts than those that were picked from."""
    chosen, truth, truth_keys = pick.plan[-1], graded[-1], keys_of(graded)
    same_rows = [pick.keys[name] for name in chosen.reads] == [truth_keys[name] for name in truth.reads]
    if not same_rows or chosen.spec.settings.get("candidates") != truth.spec.settings.get("text"):
        raise UsageError(
            f"compare.picks: {pick.arm}: step '{truth.name}' must grade what '{chosen.name}' chooses from: "
            "the same 'reads', and as 'text' its 'candidates'. Change both, or set compare.picks=null."
        )


def compare(
    recipe: Recipe, runs: Path, progress: Progress | None = None, *, wait_for_others: bool = True
) -> dict[str, Any]:
    """Runs every arm at every seed and returns the result as one JSON object (see ``docs/comparing.md``).

    Raises UsageError before any work where the recipe is wrong.
    """
    comparison = read_comparison(recipe)
    arms = cells(recipe, comparison)
    picks = pick_cells(recipe, comparison)
    nodes = graph(cell.plan for cell in (*arms, *picks))
    made = run_graph(
        nodes,
        runs,
        progress or Progress(quiet=True),
        workers=comparison.workers,
        wait_for_others=wait_for_others,
    )

    def step(cell: Cell, name: str) -> Step:
        return made[cell.keys[name]]

    result: dict[str, Any] = {
        "recipe": recipe.name,
        "about": recipe.about,
        "run": str(runs),
        "version": version(),
        "world_note": comparison.note,
        "p_correction": "Holm",
        **findings.arm_tables(comparison, arms, step),
        "curves": findings.learning_curves(comparison, arms, step),
        "picks": findings.pick_table(comparison, picks, step),
        "examples": findings.examples(comparison, arms, picks, step),
    }
    return result
