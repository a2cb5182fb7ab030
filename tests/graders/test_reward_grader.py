"""A held-out reward model as grader: the ranker's rewards, as probabilities of being preferred."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tiny_models import tiny_model, tiny_reward_model

from ilf.errors import ComponentError
from ilf.graders.reward import Reward
from ilf.recipe import read_recipe
from rankers import Reward as RewardRanker

ROWS = [
    {"prompt": "POST: Tom broke his kettle.\nTL;DR:", "output": " Tom broke a kettle.", "best": " A kettle."},
    {"prompt": "POST: Anna paid 40 coins.\nTL;DR:", "output": " Anna is a fool.", "best": None},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tiny_model(tmp_path_factory.mktemp("reward") / "model")
    return tiny_reward_model(base.parent / "reward", base, mean=0.25)


def rewards(folder: Path, texts: list[str]) -> list[float]:
    return RewardRanker(model=str(folder)).score(ROWS[:1], [texts])[0]


def test_grade_is_the_sigmoid_of_the_reward(folder: Path) -> None:
    verdicts = Reward(reward=str(folder)).grade(ROWS)
    expected = RewardRanker(model=str(folder)).score(ROWS, [[row["output"]] for row in ROWS])
    for verdict, (value,) in zip(verdicts, expected, strict=True):
        assert verdict["reward"] == pytest.approx(value, abs=1e-4)
        assert verdict["grade"] == pytest.approx(1 / (1 + math.exp(-value)), abs=1e-4)
    assert verdicts[0]["grade"] != verdicts[1]["grade"]


def test_against_a_column_it_is_the_probability_of_being_preferred(folder: Path) -> None:
    grader = Reward(reward=str(folder), against="best")
    assert grader.needs == ("prompt", "best")
    verdict, without = grader.grade(ROWS)
    own, other = rewards(folder, [ROWS[0]["output"], ROWS[0]["best"]])
    assert verdict["grade"] == pytest.approx(1 / (1 + math.exp(other - own)), abs=1e-4)
    turned = grader.grade([{**ROWS[0], "output": ROWS[0]["best"], "best": ROWS[0]["output"]}])[0]
    assert verdict["grade"] + turned["grade"] == pytest.approx(1, abs=2e-4)
    assert without["grade"] is None
    assert without["reason"] == "no text in 'best'"


def test_a_text_too_long_has_no_grade(folder: Path) -> None:
    verdict = Reward(reward=str(folder)).grade([{"prompt": "p", "output": "word " * 2000}])[0]
    assert verdict["grade"] is None
    assert verdict["reason"] == "the text does not fit into the reward model"


def test_no_reward_model_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ComponentError, match="cannot be loaded"):
        Reward(reward=str(tmp_path / "nothing")).grade(ROWS)


def test_a_recipe_names_a_step_that_trained_it(tmp_path: Path) -> None:
    """A further evaluate step waits for the reward model that it names."""
    recipe = tmp_path / "recipe.yaml"
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    recipe.write_text(
        "start: nano\nsteps:\n"
        "  pairs: {do: load, path: pairs.jsonl}\n"
        "  held_out: {do: train, reads: pairs, strategy: reward}\n"
        "  test: {do: load, path: pairs.jsonl, columns: {prompt: prompt, output: chosen}}\n"
        "  preferred: {do: evaluate, reads: test, grader: {name: reward, reward: steps.held_out}}\n"
    )
    step = {one.name: one for one in read_recipe(str(recipe)).plan("preferred")}["preferred"]
    assert step.models_from == ("held_out",)
