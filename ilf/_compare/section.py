"""The ``compare:`` section of a recipe, read and checked whole."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ilf._compare.terms import (
    AXIS_PROMPTS,
    AXIS_SAMPLES,
    BETTER,
    MARGIN,
    ROLES,
    Arm,
    Axis,
    Comparison,
    Versus,
)
from ilf.config import Spec, resolve
from ilf.errors import UsageError, listed, nearest
from ilf.recipe import Recipe


def settings(  # noqa: PLR0913 - the keys of a recipe's section
    *,
    target: str = "evaluate",
    seeds: tuple[int, ...] = (0, 1, 2),
    workers: int = 2,
    note: str = "",
    control: str = "",
    budgets: tuple[float, ...] = (),
    margin: float = MARGIN,
    wage_per_hour: float = 0.0,
    arms: dict[str, Any],
    controls: dict[str, Any] | None = None,
    axes: dict[str, Any] | None = None,
    versus: dict[str, Any] | None = None,
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
    keys = ("arms", "grid", "picks", "axes", "controls", "versus")
    entries, grid, picks, axes, controls, versus = (
        _mapping(chosen, key, "compare", problems) for key in keys
    )
    control = chosen["control"]
    arms = [_arm(f"compare.arms.{name}", name, entry, control, problems) for name, entry in entries.items()]
    arms += _grid(grid, problems)
    _check_arms(arms, problems)
    _check_picks(picks, problems)
    seeds = chosen["seeds"]
    if isinstance(seeds, tuple) and len(set(map(str, seeds))) < max(len(seeds), 1):
        problems.append("compare.seeds: must name at least one seed, and none twice.")
    _check_numbers(chosen, problems)
    roles = {str(role): _played(role, name, arms, problems) for role, name in controls.items()}
    checked_axes = tuple(_axis(f"compare.axes.{name}", name, entry, problems) for name, entry in axes.items())
    checked_versus = _versus(versus, [arm.name for arm in arms], problems)
    if problems:
        raise UsageError(f"{recipe.folder / 'recipe.yaml'}: {len(problems)} problem(s):\n{listed(problems)}")
    return Comparison(
        target=chosen["target"],
        arms=tuple(arms),
        seeds=seeds,
        workers=chosen["workers"],
        note=chosen["note"],
        budgets=tuple(sorted(chosen["budgets"])),
        controls=roles,
        axes=checked_axes,
        margin=chosen["margin"],
        wage_per_hour=chosen["wage_per_hour"],
        versus=checked_versus,
        worth=dict(grid.get("worth") or {}),
        grid=(tuple(grid.get("rankers") or {}), tuple(grid.get("candidates") or {})),
        picks=tuple(picks.get("rankers") or {}),
        picks_step=picks.get("step", "choose"),
        graded_step=picks.get("graded", ""),
    )


#: What a source of candidates stands for in the table of what feedback adds.
_WORTH = ("real", "shuffled", "none", "own")
_ARM, _GRID, _PICKS, _VERSUS, _AXIS = (
    ("about", "control", "is_control", "set", "buys"),
    ("rankers", "candidates", "overrides", "worth"),
    ("step", "graded", "rankers"),
    ("about", "rows", "columns"),
    ("about", "load", "n", "samples", "grader", "text", "axis", "part", "better"),
)


def _check_numbers(chosen: Mapping[str, Any], problems: list[str]) -> None:
    """Workers, budgets and margin; a value of another type was reported when the section was read."""
    workers, budgets, margin = chosen["workers"], chosen["budgets"], chosen["margin"]
    if isinstance(workers, int) and workers < 1:
        problems.append(f"compare.workers: {workers} must be 1 or more.")
    if isinstance(budgets, tuple) and not all(_is_positive(one) for one in budgets):
        problems.append(f"compare.budgets: {list(budgets)}: each must be a number of seconds above 0.")
    elif len(set(budgets)) < len(budgets):
        problems.append(f"compare.budgets: {list(budgets)}: none may stand twice.")
    if not _is_positive(margin):
        problems.append(f"compare.margin: {margin!r} must be a difference of grades above 0.")


def _is_positive(value: Any) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
    )


def _played(role: Any, name: Any, arms: Sequence[Arm], problems: list[str]) -> str | None:
    """The arm that plays the role of a control; None where the role is switched off."""
    if name is False or name is None:
        return None
    names = [arm.name for arm in arms]
    if name not in names:
        problems.append(
            f"compare.controls.{role}: no arm {name!r}; name an arm, or false for none."
            f"{nearest(str(name), names)}"
        )
    return str(name)


def _axis(where: str, name: str, entry: Any, problems: list[str]) -> Axis:
    if not isinstance(entry, Mapping):
        problems.append(f"{where}: must be a mapping with {', '.join(_AXIS)}; is {entry!r}.")
        return Axis(name, {})
    problems += _unknown(entry, _AXIS, where)
    n, samples = entry.get("n", AXIS_PROMPTS), entry.get("samples", AXIS_SAMPLES)
    for key, value in (("n", n), ("samples", samples)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            problems.append(f"{where}.{key}: {value!r} must be a whole number above 0.")
    load = _mapping(entry, "load", where, problems)
    if not load:
        problems.append(f"{where}.load: says nothing; name what its prompts have of their own, as in split.")
    words = {key: str(entry[key]) for key in ("about", "text", "axis", "part", "better") if key in entry}
    if words.get("better", "higher") not in BETTER:
        problems.append(f"{where}.better: {words['better']!r} must be one of: {', '.join(BETTER)}.")
    return Axis(name, dict(load), n=n, samples=samples, grader=entry.get("grader"), **words)


def _versus(section: Mapping[str, Any], arms: Sequence[str], problems: list[str]) -> Versus | None:
    """The table of arms against arms; None where the section says nothing of one."""
    if not section:
        return None
    problems += _unknown(section, _VERSUS, "compare.versus")
    sides: list[tuple[str, ...]] = []
    for key in ("rows", "columns"):
        names = section.get(key)
        if not isinstance(names, list) or not names or len(set(map(str, names))) < len(names):
            problems.append(f"compare.versus.{key}: must be a list of arms, none twice; is {names!r}.")
            names = []
        problems += [
            f"compare.versus.{key}: no arm '{name}'.{nearest(str(name), arms)}"
            for name in names
            if name not in arms
        ]
        sides.append(tuple(map(str, names)))
    problems += [f"compare.versus: arm '{name}' is on both sides." for name in sides[0] if name in sides[1]]
    return Versus(sides[0], sides[1], str(section.get("about", "")))


def _buys(where: str, entry: Mapping[str, Any], problems: list[str]) -> dict[str, float] | None:
    """Step -> share of a budget; None where an arm says nothing of it."""
    if entry.get("buys") is None:
        return None
    found = {str(step): share for step, share in _mapping(entry, "buys", where, problems).items()}
    if not found or not all(map(_is_positive, found.values())) or sum(found.values()) > 1 + 1e-9:
        problems.append(
            f"{where}.buys: {found} must be shares of the budget, above 0 and at most 1 together."
        )
        return None
    return found


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
        against or None,
        bool(entry.get("is_control")),
        _buys(where, entry, problems),
        of=name,
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
        arms.append(Arm(name, settings, arm.about, control, arm.is_control, arm.buys, of=name))
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
        if arm.control and arm.control not in names and arm.control not in ROLES
    ]


def _check_picks(picks: Mapping[str, Any], problems: list[str]) -> None:
    problems += _unknown(picks, _PICKS, "compare.picks")
    rankers = _mapping(picks, "rankers", "compare.picks", problems)
    for ranker in rankers:
        _mapping(rankers, ranker, "compare.picks.rankers", problems)
    if rankers and not picks.get("graded"):
        problems.append("compare.picks.graded: must name the evaluate step that grades all candidates.")
