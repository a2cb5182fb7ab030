"""Each selector against its definition, on rows where the answer can be worked out by hand."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import tiny_model

from ilf.errors import DataError
from ilf.selectors._order import by_score
from ilf.selectors.chance import Chance
from ilf.selectors.disagreement import Disagreement
from ilf.selectors.diversity import Diversity, _k_center
from ilf.selectors.uncertainty import Uncertainty
from ilf.selectors.worst import Worst
from rankers import RankerError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("selectors") / "llama", "llama"))


def rows_of(column: str, values: list[Any], **more: Any) -> list[dict[str, Any]]:
    return [{"id": f"r{i}", column: value, **more} for i, value in enumerate(values)]


def test_scores_that_differ_by_rounding_alone_are_equal() -> None:
    """Batches of another size move the last digits; they must not move the order."""
    rows = rows_of("output", ["x"] * 6)
    equal = by_score(rows, [0.5] * 6, 6, 0)
    assert by_score(rows, [0.5 + 1e-8 * i for i in range(6)], 6, 0) == equal
    assert by_score(rows, [0.5 + 1e-4 * i for i in range(6)], 6, 0) != equal


def test_chance_takes_every_row_equally_often() -> None:
    rows = rows_of("output", ["a", "b", "c", "d"])
    counts = [0] * 4
    for seed in range(400):
        for index, score in Chance().order(rows, 2, seed):
            counts[index] += 1
            assert score is None
    assert all(160 < count < 240 for count in counts), "200 expected, standard deviation 10"


def test_chance_keeps_its_picks_when_other_rows_are_added() -> None:
    rows = rows_of("output", ["x"] * 30)
    few = [rows[i]["id"] for i, _ in Chance().order(rows[:10], 10, 0)]
    many = [rows[i]["id"] for i, _ in Chance().order(rows, 30, 0)]
    assert [name for name in many if name in few] == few


def test_uncertainty_is_the_mean_negative_log_probability_of_the_tokens_of_the_output(model: str) -> None:
    """Against the model's own logits, token by token, the end token among them."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    outputs = [" Anna the cook.", " 40 coins", "", " trouble with her lamp, paid"]
    rows = rows_of("output", outputs, prompt="POST: My name is Tom.\nTL;DR:")
    tokenizer = AutoTokenizer.from_pretrained(model)
    lm = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    expected = []
    for row in rows:
        prompt = tokenizer(row["prompt"], add_special_tokens=False)["input_ids"]
        said = [*tokenizer(row["output"], add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        with torch.no_grad():
            logits = lm(torch.tensor([prompt + said])).logits[0].double().log_softmax(-1)
        taken = [float(logits[len(prompt) + i - 1, token]) for i, token in enumerate(said)]
        expected.append(-sum(taken) / len(taken))
    found = Uncertainty(model, device="cpu").order(rows, len(rows), 0)
    assert [index for index, _ in found] == sorted(range(4), key=lambda i: -expected[i])
    for index, score in found:
        assert score == pytest.approx(expected[index], abs=1e-4)


def test_uncertainty_of_messages_is_that_of_the_rendered_prompt(tmp_path: Path, model: str) -> None:
    chat = str(tiny_model(tmp_path / "chat", "llama", chat=True))
    outputs = [" Anna.", " 40 coins", " the lamp"]
    said = "I broke the kettle."
    as_messages = rows_of("output", outputs, prompt=[{"role": "user", "content": said}])
    as_text = rows_of("output", outputs, prompt=said)
    scorer = Uncertainty(chat, device="cpu")
    assert scorer.order(as_messages, 3, 0) == scorer.order(as_text, 3, 0), "one user message either way"
    mixed = [as_messages[0], as_text[1], as_messages[2]]
    assert scorer.order(mixed, 3, 0) == scorer.order(as_text, 3, 0)
    with pytest.raises(DataError, match="no chat template. Name the model that answered them"):
        Uncertainty(model, device="cpu").order(as_messages, 1, 0)


def test_an_output_that_the_model_has_no_room_for_is_last_and_has_no_score(tmp_path: Path) -> None:
    short = str(tiny_model(tmp_path / "short", "llama", positions=16))
    rows = rows_of("output", [" lamp" * 60, " lamp"], prompt="POST:")
    found = Uncertainty(short, device="cpu").order(rows, 2, 0)
    assert [index for index, _ in found] == [1, 0]
    assert found[1][1] is None


def test_uncertainty_without_a_model_says_so() -> None:
    with pytest.raises(RankerError, match=r"uncertainty needs model=<folder or hub id>"):
        Uncertainty().order(rows_of("output", ["a"], prompt="b"), 1, 0)


def test_disagreement_is_one_minus_the_mean_overlap_of_all_pairs() -> None:
    """Pairs of "a b", "a c", "d e": one of two words in common, none, none; so 1 - (1/2 + 0 + 0) / 3."""
    rows = rows_of("outputs", [["a b", "A, b!"], ["a b", "a c", "d e"], ["a", "b"], ["", ""]])
    found = Disagreement().order(rows, 4, 0)
    scores = dict(found)
    assert scores[1] == pytest.approx(5 / 6, abs=1e-6)
    assert scores[0] == scores[3] == 0.0
    assert scores[2] == 1.0
    assert [index for index, _ in found][:2] == [2, 1]


def test_disagreement_by_common_subsequence_sees_the_order_of_words() -> None:
    rows = rows_of("refinements", [["a b c", "c b a"]])
    assert Disagreement("refinements").order(rows, 1, 0) == [(0, 0.0)]
    assert Disagreement("refinements", "rouge_l").order(rows, 1, 0) == [(0, pytest.approx(2 / 3, abs=1e-6))]


@pytest.mark.parametrize(("text", "verb"), [("outputs", "sample"), ("refinements", "refine")])
def test_one_text_disagrees_with_nobody(text: Any, verb: str) -> None:
    rows = rows_of(text, [["a", "b"], ["a"]])
    with pytest.raises(DataError, match=rf"row r1 has 1 of '{text}'.*{verb}\.n: 4"):
        Disagreement(text).order(rows, 1, 0)


def test_k_center_takes_the_point_furthest_from_all_that_were_taken() -> None:
    """Against the definition, every step looked up among all points."""
    points = np.random.default_rng(0).normal(size=(40, 3))
    found = _k_center(points, 12)
    assert found[0] == (0, None)
    for step in range(1, 12):
        taken = [index for index, _ in found[:step]]
        away = [min(math.dist(point, points[t]) for t in taken) for point in points]
        index, distance = found[step]
        assert distance == pytest.approx(max(away), abs=1e-6)
        assert away[index] == pytest.approx(max(away), abs=1e-6)


def test_k_center_covers_within_twice_the_best_radius() -> None:
    """Gonzalez 1985, theorem 2.2: brute force over all sets of three centres."""
    points = np.random.default_rng(1).normal(size=(14, 2))

    def radius(centres: Any) -> float:
        return max(min(math.dist(p, points[c]) for c in centres) for p in points)

    best = min(radius(centres) for centres in itertools.combinations(range(14), 3))
    assert radius([index for index, _ in _k_center(points, 3)]) <= 2 * best


def test_diversity_takes_a_text_of_each_kind_before_a_second_of_any() -> None:
    kinds = ["The kettle broke.", "Interest rates rose.", "Photosynthesis needs light."]
    rows = rows_of("output", [kind for kind in kinds for _ in range(5)])
    for seed in range(3):
        found = Diversity(device="cpu").order(rows, 5, seed)
        assert {rows[index]["output"] for index, _ in found[:3]} == set(kinds)
        assert [score for _, score in found[3:]] == [0.0, 0.0], "only copies are left"
        assert len({index for index, _ in found}) == 5
    prompts = rows_of("prompt", [[{"role": "user", "content": kind}] for kind in kinds])
    assert len(Diversity("prompt", device="cpu").order(prompts, 3, 0)) == 3


class _Grader:
    needs = ("facts",)

    def grade(self, rows: Any) -> list[dict[str, Any]]:
        return [{"grade": row["facts"], "reason": "?" if row["facts"] is None else None} for row in rows]


def test_worst_takes_the_lowest_grades_and_what_has_none_last() -> None:
    rows = rows_of("facts", [0.5, None, 0.0, 1.0], output="x")
    assert Worst(_Grader()).needs == ("output", "facts")  # type: ignore[arg-type]
    assert Worst(_Grader()).order(rows, 4, 0) == [(2, 1.0), (0, 0.5), (3, 0.0), (1, None)]  # type: ignore[arg-type]
