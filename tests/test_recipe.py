"""Recipes: everything that is wrong is found before any work, with place and nearest word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ilf.errors import UsageError
from ilf.plan import keys
from ilf.recipe import read_overrides, read_recipe

TOY = """
about: a toy
generator: {name: toys.echo, words: [red, blue]}
steps:
  load: {path: in.jsonl, columns: {prompt: prompt, output: output, critique: critique}}
  refine: {n: 3}
  choose: {ranker: length}
"""


def plan(recipe_file: Any, text: str = TOY, **overrides: Any) -> Any:
    path = recipe_file(text)
    source = path.parent / "in.jsonl"
    source.write_text('{"prompt": "Colour?", "output": " red", "critique": "say blue"}\n')
    return read_recipe(str(path)).override(overrides).plan()


def test_a_step_reads_the_one_before(recipe_file: Any) -> None:
    steps = plan(recipe_file)
    assert [(s.name, s.reads) for s in steps] == [
        ("load", ()),
        ("refine", ("load",)),
        ("choose", ("refine",)),
    ]
    assert steps[0].spec.settings["path"] == str(steps[0].spec.settings["path"])
    assert Path(steps[0].spec.settings["path"]).is_absolute()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ranker: length", "ranker: lenght", "choose.ranker: no ranker 'lenght'. Did you mean 'length'"),
        ("choose: {", "chose: {", "chose: no verb 'chose'. Did you mean 'choose'"),
        ("n: 3", "m: 3", "refine.m: unknown setting of refine"),
        ("n: 3", "n: true", "refine.n: True is bool, must be int"),
        ("n: 3", "n: 3, reads: laod", "refine.reads: no earlier step 'laod'. Did you mean 'load'"),
        (
            "words: [red, blue]",
            "wrds: [red]",
            "refine.generator.wrds: unknown setting of toys.echo. Did you mean 'words'",
        ),
        ("about: a toy", "sed: 3", "sed: no step has a setting of this name. Did you mean 'seed'"),
        (
            "n: 3}\n",
            "n: 3}\n  other: {do: choose, ranker: length, reads: load}\n",
            "other: needs column 'refinements', which load does not give. It is added by: refine.",
        ),
        ("ranker: length", "ranker: fixpoint", "choose: Fixpoint needs model="),
        ("ranker: length", "candidates: output", "choose.ranker: choose needs this setting"),
        ("n: 3", "n: 3, n: 4", "n stands twice"),
    ],
)
def test_mistakes_are_found_before_work(recipe_file: Any, old: str, new: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan(recipe_file, TOY.replace(old, new))
    assert message in str(caught.value)
    assert "recipe.yaml" in str(caught.value)


def test_all_mistakes_are_reported_at_once(recipe_file: Any) -> None:
    text = TOY.replace("n: 3", "m: 3, feedback: rael").replace("ranker: length", "ranker: lenght")
    with pytest.raises(UsageError, match=r"3 problem\(s\), nothing was run"):
        plan(recipe_file, text)


def test_overrides_reach_into_components(recipe_file: Any) -> None:
    steps = plan(
        recipe_file, **{"choose.ranker": "chance", "choose.ranker.seed": 3, "refine.generator.words": ["x"]}
    )
    assert steps[2].spec.settings["ranker"].build().seed == 3
    assert steps[1].spec.settings["generator"].settings["words"] == ("x",)
    assert plan(recipe_file)[1].spec.settings["generator"].settings["words"] == ("red", "blue")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"chose.ranker": "chance"}, "no step 'chose'. Did you mean 'choose'"),
        ({"choose.ranker.sed": 1}, "choose.ranker.sed: unknown setting"),
        ({"choose": "chance"}, "name one setting"),
        ({"refine.n.x": 1}, "'n' has no settings of its own"),
        ({"seeds": 1}, "seeds: no step has a setting of this name"),
    ],
)
def test_wrong_overrides_are_refused(recipe_file: Any, override: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan(recipe_file, **override)
    assert message in str(caught.value)


def test_words_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = read_overrides(["a.n=3", "a.rate=1e-5", "b=[1, 2]", "load.path=x.jsonl", "c=text: more"])
    assert found["a.n"] == 3
    assert found["b"] == [1, 2]
    assert found["load.path"] == str(tmp_path / "x.jsonl")
    with pytest.raises(UsageError, match="write key=value"):
        read_overrides(["choose.ranker"])


def test_equal_work_has_equal_keys(recipe_file: Any) -> None:
    one, other = keys(plan(recipe_file)), keys(plan(recipe_file, **{"choose.ranker": "chance"}))
    assert one["refine"] == other["refine"]
    assert one["choose"] != other["choose"]
    changed = keys(plan(recipe_file, **{"refine.n": 4}))
    assert one["choose"] != changed["choose"], "what a step depends on is part of its key"


def test_a_recipe_that_does_not_exist_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="no recipe 'nanno'.*Did you mean 'nano'"):
        read_recipe("nanno")


def extending(recipe_file: Any, text: str) -> Any:
    """The toy in a folder of its own, and a recipe beside it that extends it."""
    toy = recipe_file(TOY)
    (toy.parent / "in.jsonl").write_text('{"prompt": "Colour?", "output": " red", "critique": "say blue"}\n')
    other = toy.parent / "other" / "recipe.yaml"
    other.parent.mkdir()
    other.write_text(text.replace("TOY", ".."))
    return read_recipe(str(other))


def test_a_recipe_extends_another(recipe_file: Any) -> None:
    found = extending(
        recipe_file, "about: two of them\nextends: TOY\nset: {refine.n: 2, choose.ranker: chance}\n"
    )
    assert (found.name, found.about) == ("other", "two of them")
    steps = found.plan()
    assert steps[1].spec.settings["n"] == 2
    # What the other one names by a relative path lies beside the other one.
    assert steps[0].spec.settings["path"] == str(found.folder.parent / "in.jsonl")
    same = plan(recipe_file, **{"refine.n": 2, "choose.ranker": "chance"})
    assert keys(steps) == keys(same)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: TOY\nsteps: {}\n", "steps: a recipe that extends another says about, extends, set"),
        ("extends: TOY\nset: [refine.n]\n", "set: must be a mapping of dotted keys"),
        ("extends: TOY\nset: {refin.n: 2}\n", "no step 'refin'. Did you mean 'refine'"),
        ("extends: nanno\n", "no recipe 'nanno'"),
        ("extends: .\n", "extends itself"),
    ],
)
def test_a_recipe_that_extends_nothing_is_refused(recipe_file: Any, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        extending(recipe_file, text)
    assert message in str(caught.value)
    assert "other/recipe.yaml" in str(caught.value)


def test_null_takes_a_setting_out(recipe_file: Any) -> None:
    text = TOY.replace("n: 3", "n: 3, seed: 5")
    assert plan(recipe_file, text)[1].spec.settings["seed"] == 5
    assert (
        plan(recipe_file, text, **{"refine.seed": None})[1].spec.settings
        == plan(recipe_file)[1].spec.settings
    )
    assert plan(recipe_file, text, **{"refine.seed": None, "refine.form": None})


def test_an_override_means_one_place_even_where_an_anchor_stands_in_two(recipe_file: Any) -> None:
    text = TOY.replace("ranker: length}", "ranker: &one {name: length}}").rstrip()
    text += "\n  other: {do: choose, reads: refine, ranker: *one}\n"
    steps = plan(recipe_file, text, **{"choose.ranker.prefer": "short"})
    assert [step.spec.settings["ranker"].build().prefer for step in steps[2:]] == ["short", "long"]
