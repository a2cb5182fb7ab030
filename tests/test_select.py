"""select: the rows that people should look at first, and what an arm is billed for having looked."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from ilf import select
from ilf.errors import DataError, UsageError
from ilf.progress import Progress
from ilf.recipe import read_recipe
from ilf.select import columns
from ilf.selectors.chance import Chance
from ilf.selectors.disagreement import Disagreement
from ilf.selectors.uncertainty import Uncertainty

comparing = importlib.import_module("ilf.compare")  # `from ilf import compare` is the function

ROWS = [
    {"id": "same", "outputs": ["a b", "a b"], "facts": 1},
    {"id": "half", "outputs": ["a b", "a c"], "facts": 2},
    {"id": "apart", "outputs": ["a b", "c d"], "facts": 3},
]


def test_keeps_the_most_wanted_rows_whole_and_says_how_wanted() -> None:
    kept = list(select(ROWS, n=2, selector=Disagreement()))
    assert kept == [{**ROWS[2], "priority": 1.0}, {**ROWS[1], "priority": 0.5}]
    assert list(select(iter(ROWS), n=2, selector=Disagreement())) == kept, "rows may come as a stream"


def test_the_seed_is_the_lot() -> None:
    rows = [{"id": f"r{i}"} for i in range(20)]
    drawn = {seed: [row["id"] for row in select(rows, n=5, selector=Chance(), seed=seed)] for seed in (0, 1)}
    assert drawn[0] != drawn[1]
    assert all(row["priority"] is None for row in select(rows, n=5, selector=Chance()))


def test_more_rows_than_there_are_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"select: 4 rows were asked for and there are 3 .*load\.n.*select\.n"
    ):
        list(select(ROWS, n=4, selector=Chance()))
    for n in (0, -1):
        with pytest.raises(UsageError, match=rf"select\.n: {n} rows"):
            list(select(ROWS, n=n, selector=Chance()))
        with pytest.raises(UsageError, match=rf"select\.n: {n} rows"):
            columns({"selector": Chance(), "n": n})


def test_what_a_selector_needs_must_be_there() -> None:
    with pytest.raises(DataError, match="select: row 2: has no 'outputs'"):
        list(select([ROWS[0], {"id": "x"}], n=1, selector=Disagreement()))
    with pytest.raises(DataError, match="'outputs' must be list of texts"):
        list(select([{"id": "x", "outputs": "a"}], n=1, selector=Disagreement()))
    with pytest.raises(UsageError, match="Uncertainty needs model=<folder or hub id>"):
        columns({"selector": Uncertainty(), "n": 1})


def test_a_missing_column_is_found_before_anything_runs(recipe_file: Any) -> None:
    text = """
steps:
  load: {world: nano, n: 4}
  select: {n: 2, selector: {name: disagreement, text: refinements}}
"""
    with pytest.raises(UsageError, match="select: needs column 'refinements', which load does not give"):
        read_recipe(str(recipe_file(text))).plan()


RECIPE = """
world: nano
model: nano
form: nano
generator: {name: toys.model_echo}
steps:
  load: {n: 12}
  sample: {n: 2}
  select: {n: 5, selector: chance}
  collect: {feedback: simulated}
  refine: {reads: collect, n: 2}
  choose: {ranker: length}
  train: {start: nano, strategy: toys.slow_learner}
  test: {do: load, split: test, n: 4, seed: 0}
  answer: {do: sample, reads: test, n: 2, model: steps.train}
  evaluate: {grader: world}
compare:
  seeds: [0]
  budgets: [400]
  controls: {own_outputs: false, critiques_in_context: false, prompt_from_critiques: false, oracle: false, longest: false, shuffled: false, chance: false}
  control: lot
  arms:
    lot: {control: no_feedback}
    disagreement: {set: {select.selector: disagreement}}
"""


def test_an_arm_is_billed_for_what_it_bought_and_for_the_prompts_that_it_looked_at(
    recipe_file: Any, tmp_path: Path
) -> None:
    """400 s buy two critiques of 182.5 s; a selector that reads outputs has looked at the ten others, too."""
    result = comparing.compare(read_recipe(str(recipe_file(RECIPE))), tmp_path / "runs", Progress(quiet=True))
    arms = {arm["arm"]: arm for arm in result["arms"]}
    for name in ("lot@400", "disagreement@400"):
        assert arms[name]["human_seconds"] == 2 * 182.5
        assert arms[name]["rows"] == 2
    assert arms["lot@400"]["unlabelled_prompts"] == 0, "a lot needs no answers"
    assert arms["disagreement@400"]["unlabelled_prompts"] == 10
    assert arms["no_feedback@400"]["human_seconds"] == 0


ANSWERED = """
world: nano
model: nano
form: nano
generator: {name: toys.model_echo}
steps:
  load: {n: 8}
  sample: {n: 2}
  collect: {feedback: simulated}
  select: {n: 3, selector: disagreement}
  refine: {n: 2}
  choose: {ranker: length}
  train: {start: nano, strategy: toys.slow_learner}
  test: {do: load, split: test, n: 4, seed: 0}
  answer: {do: sample, reads: test, n: 2, model: steps.train}
  evaluate: {grader: world}
compare:
  seeds: [0]
  arms:
    base: {control: null, is_control: true, set: {answer.model: nano}}
    chosen: {control: base}
"""


def test_of_answers_that_are_there_those_that_were_selected_are_paid(
    recipe_file: Any, tmp_path: Path
) -> None:
    result = comparing.compare(
        read_recipe(str(recipe_file(ANSWERED))), tmp_path / "runs", Progress(quiet=True)
    )
    arms = {arm["arm"]: arm for arm in result["arms"]}
    assert arms["chosen"]["human_seconds"] == 3 * 182.5
    assert arms["chosen"]["unlabelled_prompts"] == 5
