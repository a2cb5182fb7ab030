"""The ``compare:`` section: read and checked whole, before any arm runs; every mistake at once, nearest word beside it."""

from __future__ import annotations

import copy
import importlib
from typing import Any

import pytest

from ilf.errors import UsageError
from ilf.recipe import Recipe, read_recipe

# `from ilf import compare` is the function.
compare = importlib.import_module("ilf.compare")
cells_of = importlib.import_module("ilf._compare.cells")

RECIPE = """
world: nano
form: nano
generator: {name: toys.echo}
steps:
  load: {n: 4}
  sample: {}
  own: {do: sample, reads: load, n: 2}
  collect: {feedback: simulated}
  refine: {reads: collect, n: 2}
  graded: {do: evaluate, reads: refine, grader: world, text: refinements}
  choose: {reads: refine, ranker: length}
  train: {start: nano, strategy: toys.slow_learner}
  test: {do: load, split: test, n: 4, seed: 0}
  answer: {do: sample, reads: test}
  evaluate: {grader: world}
compare:
  seeds: [0, 1]
  control: base
  arms:
    base: {about: as it is, is_control: true}
    demo: {set: {refine.n: 3}}
    free: {control: null}
  grid:
    rankers:
      chance: {choose.ranker: chance}
      length: {choose.ranker: length}
    candidates:
      real: {control: bare}
      bare: {control: base, is_control: true, set: {refine.feedback: none, refine.reads: sample, refine.n: 4}}
    overrides:
      bare_length: {refine.n: 5, choose.ranker.prefer: short}
    worth: {real: real, none: bare}
  picks:
    graded: graded
    rankers: {chance: {choose.ranker: chance}, short: {choose.ranker.prefer: short}, as_it_is: null}
"""


@pytest.fixture
def recipe(recipe_file: Any) -> Recipe:
    return read_recipe(str(recipe_file(RECIPE)))


def changed(recipe: Recipe, where: str, value: Any) -> Recipe:
    """The recipe with one value of its section put in place, e.g. at ``arms.demo.control``."""
    raw = copy.deepcopy(recipe.raw)
    *parents, last = where.split(".")
    node = raw["compare"]
    for key in parents:
        node = node[key]
    node[last] = value
    return Recipe(recipe.name, recipe.folder, raw)


def problems_of(recipe: Recipe) -> list[str]:
    """The problems that are reported; none is said twice."""
    with pytest.raises(UsageError) as caught:
        compare.read_comparison(recipe)
    first, *problems = str(caught.value).splitlines()
    assert f"recipe.yaml: {len(problems)} problem(s)" in first
    assert len(set(problems)) == len(problems)
    return [problem.strip() for problem in problems]


def settings(recipe: Recipe, arm: str, step: str) -> dict[str, Any]:
    found = cells_of.cells(recipe, compare.read_comparison(recipe))
    (cell,) = [cell for cell in found if cell.arm == arm and cell.seed == 0]
    (planned,) = [planned for planned in cell.plan if planned.name == step]
    return dict(planned.spec.settings)


def test_arms_of_a_grid_are_called_source_ranker(recipe: Recipe) -> None:
    comparison = compare.read_comparison(recipe)
    assert [arm.name for arm in comparison.arms] == [
        *("base", "demo", "free"),
        *("real_chance", "real_length", "bare_chance", "bare_length"),
    ]
    controls = {arm.name: arm.control for arm in comparison.arms}
    assert controls["real_length"] == "bare_length", "a source is compared with the other source, same ranker"
    assert controls["bare_length"] == "base", "or with an arm"
    assert {arm.name for arm in comparison.arms if arm.is_control} == {"base", "bare_chance", "bare_length"}


def test_the_section_control_is_the_default_and_nothing_is_its_own(recipe: Recipe) -> None:
    controls = {arm.name: arm.control for arm in compare.read_comparison(recipe).arms}
    assert controls["demo"] == "base"
    assert controls["free"] is None
    assert controls["base"] is None


def test_an_arm_has_its_source_then_its_ranker_then_its_own_overrides(recipe: Recipe) -> None:
    recipe = changed(recipe, "target", "train")
    assert settings(recipe, "bare_chance", "refine")["n"] == 4
    assert settings(recipe, "bare_length", "refine")["n"] == 5, "its own overrides win"
    assert settings(recipe, "bare_length", "choose")["ranker"].settings["prefer"] == "short"
    assert settings(recipe, "real_length", "choose")["ranker"].settings["prefer"] == "long"
    over = changed(recipe, "grid.rankers.chance", {"choose.ranker": "chance", "refine.n": 7})
    assert settings(over, "bare_chance", "refine")["n"] == 7, "the ranker's win over the source's"


def test_every_arm_is_planned_at_every_seed(recipe: Recipe) -> None:
    cells = cells_of.cells(recipe, compare.read_comparison(recipe))
    assert [(cell.arm, cell.seed) for cell in cells[:8]] == [
        *(
            (arm, 0)
            for arm in ("base", "demo", "free", "real_chance", "real_length", "bare_chance", "bare_length")
        ),
        ("base", 1),
    ]
    assert {step.name: step.spec.settings.get("seed") for step in cells[7].plan}["answer"] == 1


def test_picks_are_planned_beside_the_grades_of_their_candidates(recipe: Recipe) -> None:
    cells = cells_of.pick_cells(recipe, compare.read_comparison(recipe))
    assert [cell.arm for cell in cells] == ["graded", "chance", "short", "as_it_is"] * 2
    graded, chance = cells[0], cells[1]
    assert graded.keys["refine"] == chance.keys["refine"], "one refinement serves both"
    assert cells_of.pick_cells(recipe, compare.read_comparison(changed(recipe, "picks", None))) == []


@pytest.mark.parametrize(
    ("where", "value", "problem"),
    [
        ("seds", [0], "compare.seds: unknown setting of compare. Did you mean 'seeds'?"),
        ("seeds", "all", "compare.seeds: 'all' is no list"),
        ("seeds", [], "compare.seeds: must name at least one seed, and none twice."),
        ("seeds", [1, 0, 1], "compare.seeds: must name at least one seed, and none twice."),
        ("workers", 0, "compare.workers: 0 must be 1 or more."),
        ("budgets", [2000, -1], "compare.budgets: [2000.0, -1.0]: each must be a number of seconds above 0."),
        ("budgets", [2000, 2000], "compare.budgets: [2000.0, 2000.0]: none may stand twice."),
        ("margin", 0, "compare.margin: 0.0 must be a difference of grades above 0."),
        ("axes", {"new": {"split": "x"}}, "compare.axes.new.split: unknown."),
        ("axes", {"new": {"n": 3}}, "compare.axes.new.load: says nothing"),
        (
            "axes",
            {"new": {"load": {"split": "x"}, "n": 0}},
            "compare.axes.new.n: 0 must be a whole number above 0.",
        ),
        ("axes", {"new": "x"}, "compare.axes.new: must be a mapping with about, load, n, samples"),
        (
            "controls",
            {"base": "bas"},
            "compare.controls.base: no arm 'bas'; name an arm, or false for none. Did you mean",
        ),
        (
            "arms.demo.buys",
            {"collect": 0.7, "rank": 0.4},
            "compare.arms.demo.buys: {'collect': 0.7, 'rank': 0.4} must be shares",
        ),
        ("arms.demo.buys", {"collect": 0}, "compare.arms.demo.buys: {'collect': 0} must be shares"),
        ("control", "bas", "compare: arm demo: no arm 'bas' to be its control. Did you mean 'base'?"),
        (
            "arms.demo.control",
            "fre",
            "compare: arm demo: no arm 'fre' to be its control. Did you mean 'free'?",
        ),
        ("arms.demo.sett", {}, "compare.arms.demo.sett: unknown. Did you mean 'set'?"),
        ("arms.demo.set", "refine.n=3", "compare.arms.demo.set: 'refine.n=3' is no mapping."),
        (
            "arms.demo",
            "refine.n=3",
            "compare.arms.demo: must be a mapping with about, control, is_control, set",
        ),
        ("arms", ["demo"], "compare.arms: ['demo'] is no mapping."),
        ("arms.real_chance", None, "compare: two arms are called 'real_chance'."),
        ("grid.ranker", {}, "compare.grid.ranker: unknown. Did you mean 'rankers'?"),
        ("grid.rankers", ["chance"], "compare.grid.rankers: ['chance'] is no mapping."),
        ("grid.rankers.length", "length", "compare.grid.rankers.length: 'length' is no mapping."),
        ("grid.candidates.real.sett", {}, "compare.grid.candidates.real.sett: unknown. Did you mean 'set'?"),
        ("grid.candidates.real.control", "bear", "no arm 'bear' to be its control. Did you mean 'base'?"),
        (
            "grid.overrides",
            {"bare_lenth": {}},
            "compare.grid.overrides.bare_lenth: no such arm of the grid. Did you mean 'bare_length'?",
        ),
        ("grid.overrides.bare_length", 3, "compare.grid.overrides.bare_length: 3 is no mapping."),
        ("grid.worth", {"reel": "real"}, "compare.grid.worth.reel: unknown. Did you mean 'real'?"),
        (
            "grid.worth.none",
            "bear",
            "compare.grid.worth.none: 'bear' is no source of candidates. Did you mean 'bare'?",
        ),
        ("picks.grade", "graded", "compare.picks.grade: unknown. Did you mean 'graded'?"),
        ("picks.rankers", "chance", "compare.picks.rankers: 'chance' is no mapping."),
        ("picks.graded", "", "compare.picks.graded: must name the evaluate step that grades all candidates."),
    ],
)
def test_a_mistake_is_found_and_the_nearest_word_offered(
    recipe: Recipe, where: str, value: Any, problem: str
) -> None:
    assert any(problem in line for line in problems_of(changed(recipe, where, value)))


def test_empty_parts_are_none(recipe: Recipe) -> None:
    """A key with nothing behind it is YAML for None; it is no reason for a traceback."""
    for where in (
        "grid",
        "picks",
        "grid.overrides",
        "grid.worth",
        "arms.demo",
        "arms.demo.set",
        "picks.rankers",
    ):
        assert compare.read_comparison(changed(recipe, where, None)).arms
    bare = changed(changed(recipe, "grid.rankers", None), "grid.worth", None)
    bare = changed(bare, "grid.overrides", None)
    assert [arm.name for arm in compare.read_comparison(bare).arms] == ["base", "demo", "free"]
    assert problems_of(changed(changed(recipe, "grid", None), "arms", {})) == [
        "compare.arms: names no arm, and there is no grid of them."
    ]


def test_all_mistakes_are_told_at_once(recipe: Recipe) -> None:
    wrong = {
        "seds": 3,
        "seeds": [],
        "workers": 0,
        "arms.demo.control": "fre",
        "arms.free.sett": {},
        "grid.overrides.bare_lenth": {},
        "grid.worth.none": "bear",
        "picks.grade": "x",
    }
    for where, value in wrong.items():
        recipe = changed(recipe, where, value)
    assert len(problems_of(recipe)) == len(wrong)


def test_a_recipe_without_the_section_says_so(recipe: Recipe) -> None:
    del recipe.raw["compare"]
    with pytest.raises(UsageError, match="no 'compare' section: nothing to compare"):
        compare.read_comparison(recipe)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("target", "evaluat", "arm base: the recipe has no step 'evaluat'. Did you mean 'evaluate'?"),
        ("arms.demo.set", {"refin.n": 3}, "arm demo: override 'refin.n': the recipe has no step 'refin'."),
        (
            "grid.rankers.length",
            {"choose.ranker": "lenght"},
            "arm real_length: .*no ranker 'lenght'. Did you mean",
        ),
    ],
)
def test_an_arm_that_does_not_fit_the_recipe_is_named(
    recipe: Recipe, where: str, value: Any, message: str
) -> None:
    wrong = changed(recipe, where, value)
    with pytest.raises(UsageError, match=f"(?s){message}"):
        cells_of.cells(wrong, compare.read_comparison(wrong))


@pytest.mark.parametrize(
    "overrides",
    [
        {"graded.text": "output"},
        {"choose.candidates": "output"},
        {"choose.reads": "own", "choose.candidates": "outputs", "graded.text": "outputs"},
        {"compare.picks.rankers.chance": {"refine.n": 9}},
    ],
)
def test_grades_of_other_texts_than_were_picked_from_are_refused(
    recipe: Recipe, overrides: dict[str, Any]
) -> None:
    """Two outputs zip with the grades of two refinements: the table would be wrong and look right."""
    picked = overrides.pop("compare.picks.rankers.chance", None)
    wrong = recipe.override(overrides)
    wrong = changed(wrong, "picks.rankers.chance", picked) if picked else wrong
    with pytest.raises(
        UsageError, match="compare.picks: chance: step 'graded' must grade what 'choose' chooses"
    ):
        cells_of.pick_cells(wrong, compare.read_comparison(wrong))
