"""pair: every order that people gave, none that they did not, and no prompt on both sides of a split."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import Any

import pytest

from ilf import pair
from ilf.errors import DataError, UsageError
from ilf.pair import columns

TEXTS = ["best", "good", "fair", "poor"]


def ranked(ranking: list[list[int]] | None = None, *, prompt: str = "P", **more: Any) -> dict[str, Any]:
    return {
        "id": f"{prompt}-{more.get('annotator', 'a')}",
        "prompt": prompt,
        "outputs": TEXTS,
        "ranking": [[0], [1], [2], [3]] if ranking is None else ranking,
        **more,
    }


def made(*rows: dict[str, Any], **how: Any) -> list[tuple[str, str]]:
    return [(row["chosen"], row["rejected"]) for row in pair(rows, **how)]


def test_all_pairs_of_a_ranking_are_the_orders_that_it_holds() -> None:
    assert made(ranked()) == list(itertools.combinations(TEXTS, 2))
    shuffled = ranked([[2], [0], [3], [1]])
    order = [TEXTS[i] for i in (2, 0, 3, 1)]
    assert made(shuffled) == list(itertools.combinations(order, 2))


def test_adjacent_and_best_take_fewer() -> None:
    assert made(ranked(), take="adjacent") == list(itertools.pairwise(TEXTS))
    assert made(ranked(), take="best") == [("best", other) for other in TEXTS[1:]]
    tied_top = ranked([[0, 1], [2], [3]])
    assert made(tied_top, take="best") == [
        ("best", "fair"), ("best", "poor"), ("good", "fair"), ("good", "poor"),
    ]  # fmt: skip
    assert made(tied_top, take="adjacent") == [("best", "fair"), ("good", "fair"), ("fair", "poor")]


def test_margins_are_distances_in_ranks() -> None:
    rows = list(pair([ranked([[0, 1], [2], [3]])]))
    assert [row["margin"] for row in rows] == [0.5, 1.0, 0.5, 1.0, 0.5]
    assert not any(row["is_tied"] for row in rows)


def test_ties_are_left_out_and_counted_or_kept_with_a_mark(caplog: pytest.LogCaptureFixture) -> None:
    row = ranked([[0, 1], [2, 3]])
    with caplog.at_level(logging.WARNING, "ilf"):
        assert len(made(row)) == 4
    assert "2 tied" in caplog.text
    kept = list(pair([row], ties="keep"))
    assert [(r["chosen"], r["rejected"], r["margin"]) for r in kept if r["is_tied"]] == [
        ("best", "good", 0.0), ("fair", "poor", 0.0),
    ]  # fmt: skip
    assert len(kept) == 6


def test_equal_texts_are_no_pair(caplog: pytest.LogCaptureFixture) -> None:
    row = ranked() | {"outputs": ["same", "other", "same ", "last"]}
    with caplog.at_level(logging.WARNING, "ilf"):
        assert ("same", "same ") not in made(row)
    assert "1 of equal texts" in caplog.text


def test_flipped_turns_every_preference_round_and_nothing_else() -> None:
    row = ranked([[1], [0, 3], [2]])
    given, flipped = list(pair([row])), list(pair([row], order="flipped"))
    assert [(r["rejected"], r["chosen"], r["margin"]) for r in flipped] == [
        (r["chosen"], r["rejected"], r["margin"]) for r in given
    ]
    (whole,) = pair([row], take="groups", order="flipped")
    assert whole["ranking"] == [[2], [0, 3], [1]]


def test_groups_keep_whole_rankings() -> None:
    (row,) = pair([ranked([[1], [0, 3], [2]])], take="groups")
    assert row["ranking"] == [[1], [0, 3], [2]]
    assert row["outputs"] == TEXTS
    assert "chosen" not in row
    with pytest.raises(DataError, match="Nothing is left to learn from"):
        list(pair([ranked([[0, 1, 2, 3]])], take="groups"))


def test_a_prompt_is_on_one_side_of_the_split_whoever_ranked_it() -> None:
    rows = [
        ranked(prompt=f"P{i}", annotator=who, **{"sample_id": f"{i}{who}"}) for i in range(20) for who in "ab"
    ]
    found = list(pair(rows, validation=0.25, seed=1))
    sides = {row["prompt"]: {r["split"] for r in found if r["prompt"] == row["prompt"]} for row in found}
    assert all(len(side) == 1 for side in sides.values())
    held_out = {prompt for prompt, side in sides.items() if side == {"validation"}}
    assert len(held_out) == 5
    assert len({row["group"] for row in found}) == 20
    again = {
        row["prompt"] for row in pair(rows[::-1], validation=0.25, seed=1) if row["split"] == "validation"
    }
    assert again == held_out, "the order of the rows decides nothing"
    other = {row["prompt"] for row in pair(rows, validation=0.25, seed=2) if row["split"] == "validation"}
    assert other != held_out
    assert {row["split"] for row in pair(rows)} == {"train"}


def test_a_refinement_stands_over_the_output_that_it_rewrites() -> None:
    row = {"id": "r", "prompt": "P", "output": "first", "completion": "better", "critique": "c"}
    (found,) = pair([row], source="refinement")
    assert (found["chosen"], found["rejected"], found["critique"]) == ("better", "first", "c")
    same = row | {"id": "s", "completion": "first"}
    assert len(list(pair([row, same], source="refinement"))) == 1
    with pytest.raises(DataError, match="1 of equal texts"):
        list(pair([same], source="refinement"))


def test_pairs_that_are_there_get_group_and_split() -> None:
    rows = [
        {"id": str(i), "prompt": f"P{i}", "chosen": "a", "rejected": "b", "margin": 0.3} for i in range(10)
    ]
    found = list(pair(rows, source="pairs", validation=0.2))
    assert [row["split"] for row in found].count("validation") == 2
    assert {row["margin"] for row in found} == {0.3}


def test_ids_differ_and_say_where_they_come_from() -> None:
    rows = [ranked(prompt="P"), ranked(prompt="Q")]
    ids = [row["id"] for row in pair(rows)]
    assert len(set(ids)) == 12
    assert ids == [row["id"] for row in pair(rows)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ranked([[0], [1], [2], [4]]), "names output 4, and there are 0 to 3"),
        (ranked([[0], [1], [-1], [2]]), "names output -1"),
        (ranked([[0], [1], [1], [2]]), "names output 1 twice"),
        (ranked([[0], [1], [3]]), r"leaves out \[2\]"),
        (ranked([[0]]) | {"outputs": ["one"]}, "1 output"),
    ],
)
def test_rankings_that_cannot_be_are_all_named_before_a_pair_is_made(
    row: dict[str, Any], message: str
) -> None:
    rows = [ranked(prompt="fine"), row | {"id": "bad"}, row | {"id": "worse"}]
    made = pair(rows)
    with pytest.raises(DataError, match=message) as error:
        next(made)
    assert "2 ranking(s)" in str(error.value)
    assert "row 2 (bad)" in str(error.value)
    assert "row 3 (worse)" in str(error.value)


def test_all_ties_and_tiny_splits_are_refused_with_a_remedy() -> None:
    with pytest.raises(DataError, match="6 tied.*ties=keep"):
        list(pair([ranked([[0, 1, 2, 3]])]))
    with pytest.raises(DataError, match="leaves 0 for validation"):
        list(pair([ranked()], validation=0.1))


def test_a_missing_column_names_row_and_column() -> None:
    row = ranked()
    del row["ranking"]
    with pytest.raises(DataError, match="row 1: has no 'ranking'"):
        list(pair([row]))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"source": "refinement", "take": "best"}, "pair.take"),
        ({"source": "refinement", "ties": "keep"}, "pair.ties"),
        ({"validation": 1.0}, "pair.validation"),
    ],
)
def test_settings_that_do_not_go_together_are_found_when_planned(how: dict[str, Any], message: str) -> None:
    settings = {"source": "ranking", "take": "all", "ties": "drop", "validation": 0.0, **how}
    with pytest.raises(UsageError, match=message):
        columns(settings)


def test_from_the_world_to_pairs_in_a_recipe(tmp_path: Path, recipe_file: Any) -> None:
    from ilf import run_recipe

    recipe = recipe_file(
        "world: nano\ngenerator: toys.echo\nsteps:\n  load: {split: train, n: 6}\n  sample: {n: 4}\n"
        "  collect: {feedback: simulated, job: rank}\n  pair: {validation: 0.5, ties: keep}\n"
    )
    made = run_recipe(str(recipe), runs=tmp_path / "runs", quiet=True)
    rows = list(made["pair"].rows())
    assert rows
    assert {row["split"] for row in rows} == {"train", "validation"}
