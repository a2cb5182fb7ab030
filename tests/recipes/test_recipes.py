"""Every packaged recipe: the whole check that a run begins with, and a README that says what it costs and gives."""

from __future__ import annotations

import re
import shlex

import pytest

from ilf.compare import design
from ilf.recipe import packaged, read_overrides, read_recipe

RECIPES = packaged()
#: Words of which each must stand in a heading of a recipe's README.
HEADINGS = ("command", "time", "memory", "numbers")

each = pytest.mark.parametrize("name", RECIPES)


def readme(name: str) -> str:
    path = RECIPES[name] / "README.md"
    assert path.exists(), f"recipes/{name}/README.md is missing"
    return path.read_text(encoding="utf-8")


@each
def test_says_what_it_does(name: str) -> None:
    about = read_recipe(name).about
    assert 20 < len(about) <= 160
    assert about.endswith(".")
    assert "\n" not in about


@each
def test_passes_the_whole_check(name: str) -> None:
    assert read_recipe(name).plan()


@each
def test_every_arm_passes_the_whole_check(name: str) -> None:
    recipe = read_recipe(name)
    if "compare" not in recipe.raw:
        return
    designed = design(recipe)
    comparison, planned = designed.comparison, designed.arms
    assert len(planned) == len(comparison.arms) * len(comparison.seeds)
    assert comparison.note.strip(), "a table says what it is, and is not, evidence of"
    assert any(arm.is_control for arm in comparison.arms), "the control stands beside the method"


@each
def test_arms_differ(name: str) -> None:
    """Two arms with the same steps would be one arm under two names."""
    recipe = read_recipe(name)
    if "compare" not in recipe.raw:
        return
    designed = design(recipe)
    comparison = designed.comparison
    first = [cell for cell in designed.arms if cell.seed == comparison.seeds[0]]
    kinds: dict[str, str] = {}
    for cell in first:
        twin = kinds.setdefault(cell.keys[comparison.target], cell.arm)
        assert twin == cell.arm, f"{cell.arm} does what {twin} does"


@each
def test_readme_has_command_time_memory_and_numbers(name: str) -> None:
    text = readme(name)
    headings = " ".join(re.findall(r"^#+ (.*)$", text, re.MULTILINE)).lower()
    assert [word for word in HEADINGS if word not in headings] == []
    assert re.search(rf"ilf (run|compare) {name}\b", text), "the command that makes the numbers"


@each
def test_commands_of_the_readme_are_right(name: str) -> None:
    """Each ``ilf run`` or ``ilf compare`` of this recipe in a code block, planned with its overrides."""
    for line in re.findall(rf"^(?:\$ )?(ilf (?:run|compare) {name}\b.*)$", readme(name), re.MULTILINE):
        _, command, _, *words = shlex.split(line, comments=True)
        overrides = read_overrides(word for word in words if "=" in word and not word.startswith("-"))
        files = [value for key, value in overrides.items() if key.rpartition(".")[2] == "path"]
        if files:  # somebody's own file; the recipe's own test runs these with one
            continue
        recipe = read_recipe(name).override(overrides)
        recipe.plan()
        if command == "compare":
            design(recipe)


@each
def test_ships_no_more_than_a_recipe_needs(name: str) -> None:
    files = [path for path in RECIPES[name].rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 1_000_000
    assert not [path for path in files if path.suffix in (".safetensors", ".bin", ".pt")]
