"""remember: what is kept, what is left out and counted, and the control that exchanges critiques."""

from __future__ import annotations

import json
import logging
import random
from pathlib import Path
from typing import Any

import pytest
from toys.echo import Echo

from ilf import Nano, Simulated, collect, load, sample
from ilf.config import find
from ilf.errors import DataError
from ilf.run import run_recipe
from ilf.strategies import remember as module
from ilf.strategies.remember import Remember
from ilf.train import train

ROWS: list[dict[str, Any]] = [
    {"prompt": f"p{i}", "output": f"o{i}", "critique": f"c{i}", "facts": {"price": i}} for i in range(7)
]

RECIPE = """
world: nano
form: nano
steps:
  load: {n: 6}
  sample: {generator: toys.echo}
  collect: {feedback: simulated}
  keep: {do: train, strategy: remember}
  distil: {do: train, reads: collect, strategy: {name: distil_prompt, by: extraction}}
  test: {do: load, split: validation, n: 3}
  near: {do: sample, reads: test, generator: {name: critiques_in_context, memory: steps.keep, k: 1, generator: toys.echo}}
  told: {do: sample, reads: test, generator: {name: prompt_from_critiques, memory: steps.distil, generator: toys.echo}}
"""


def kept(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "model" / "critiques.jsonl").read_text().splitlines()]


def test_three_columns_are_kept_in_their_order_and_blank_critiques_are_counted(tmp_path: Path) -> None:
    rows = [*ROWS[:2], {**ROWS[2], "critique": " \n"}, {**ROWS[3], "critique": None}, ROWS[4]]
    assert list(Remember().train(rows, tmp_path, start="", seed=0)) == [
        {"step": 1, "loss": None, "kept": 3, "blank": 2}
    ]
    expected = [{key: ROWS[i][key] for key in ("prompt", "output", "critique")} for i in (0, 1, 4)]
    assert kept(tmp_path) == expected
    assert [list(row) for row in kept(tmp_path)] == [["prompt", "output", "critique"]] * 3


def test_shuffled_gives_every_row_anothers_critique(tmp_path: Path) -> None:
    found = set()
    for seed in range(60):
        list(Remember(feedback="shuffled").train(ROWS[:4], tmp_path, start="", seed=seed))
        rows = kept(tmp_path)
        assert [(row["prompt"], row["output"]) for row in rows] == [(f"p{i}", f"o{i}") for i in range(4)]
        critiques = tuple(row["critique"] for row in rows)
        assert sorted(critiques) == ["c0", "c1", "c2", "c3"]
        assert all(critique != f"c{i}" for i, critique in enumerate(critiques))
        found.add(critiques)
    assert len(found) == 6, "every cycle through four rows comes up"


def test_the_seed_alone_decides_and_the_callers_random_numbers_stay(tmp_path: Path) -> None:
    shuffled = Remember(feedback="shuffled")
    before = random.getstate()
    for name in ("one", "two"):
        list(shuffled.train(ROWS, tmp_path / name, start="", seed=3))
        random.random()
    assert kept(tmp_path / "one") == kept(tmp_path / "two")
    random.setstate(before)
    list(Remember().train(ROWS, tmp_path / "real", start="", seed=3))
    list(Remember().train(ROWS, tmp_path / "other", start="anything", seed=4))
    assert kept(tmp_path / "real") == kept(tmp_path / "other")


def test_too_few_critiques_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"remember: 1 row\(s\), 0 of them with a critique"):
        list(Remember().train([{**ROWS[0], "critique": ""}], tmp_path, start="", seed=0))
    with pytest.raises(DataError, match="too few to keep shuffled critiques"):
        list(Remember(feedback="shuffled").train(ROWS[:1], tmp_path, start="", seed=0))
    assert not (tmp_path / "model").exists()


def test_the_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there before its log row is, and a write that fails leaves none."""
    steps = Remember().train(ROWS, tmp_path, start="", seed=0)
    next(steps)
    assert len(kept(tmp_path)) == 7

    def full(path: Path, text: str) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(module, "write_whole", full)
    with pytest.raises(OSError, match="no space"):
        list(Remember().train(ROWS, tmp_path / "full", start="", seed=0))
    assert not list((tmp_path / "full" / "model").iterdir())


def test_the_verb_leaves_out_rows_that_wait_for_a_critique(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="ilf"):
        [row] = train([*ROWS[:2], {**ROWS[2], "critique": None}], tmp_path, strategy=Remember())
    assert row["kept"] == 2
    assert "1 of 3 rows have nothing to learn from" in caplog.text
    with pytest.raises(DataError, match="'critique' is empty"):
        train([{**ROWS[2], "critique": " "}], tmp_path, strategy=Remember())


def test_a_recipe_answers_with_what_it_remembers(tmp_path: Path) -> None:
    """From critiques to answers: the memory is found by its step, and its content is part of the address."""
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    made = run_recipe(str(tmp_path), runs=tmp_path / "runs", quiet=True)
    assert made["near"].made_by["settings"]["generator"]["memory"] == made["keep"].made_by["model"]
    assert made["told"].made_by["settings"]["generator"]["memory"] == made["distil"].made_by["model"]
    assert len(made["near"].rows()) == len(made["told"].rows()) == 3
    shuffled = {"keep.strategy.feedback": "shuffled"}
    again = run_recipe(str(tmp_path), shuffled, runs=tmp_path / "runs", quiet=True)
    assert again["near"].folder != made["near"].folder
    assert again["told"].folder == made["told"].folder


def test_it_keeps_no_weights_and_says_so() -> None:
    assert find("Strategy", "remember").has_weights is False  # type: ignore[attr-defined]
    rows = list(
        collect(list(sample(list(load(world=Nano(), n=3)), generator=Echo())), feedback=Simulated(Nano()))
    )
    assert all(set(Remember.needs) <= set(row) for row in rows)
