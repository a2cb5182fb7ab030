"""Reward models: what is refused before training, and what is said about rewards afterwards."""

from __future__ import annotations

import logging
import math
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from tiny_models import tiny_model
from transformers import AutoTokenizer, CodeGenConfig, CodeGenForCausalLM

from ilf.errors import ComponentError, DataError, UsageError
from ilf.strategies._comparisons import Comparison
from ilf.strategies._encode import Example
from ilf.strategies._reward_report import calibration, report
from ilf.strategies.reward import Reward
from ilf.strategies.sft import SFT

PAIR = {"prompt": "P", "chosen": " Tom.", "rejected": " Anna."}
RANKING = {"prompt": "P", "outputs": [" Tom.", " Anna.", " A lamp."], "ranking": [[1], [0], [2]]}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("start") / "llama", positions=64))


def tune(rows: Any, folder: Path, start: str, **how: Any) -> list[dict[str, Any]]:
    return list(Reward(device="cpu", **how).train(rows, folder, start=start, seed=0))


# --- refused before training ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"merge": False}, r"reward.merge: .*leave it true.*model/adapter"),
        ({"label_smoothing": 0.5}, "label_smoothing must be in"),
        ({"margin": -1.0}, "margin 0 or more"),
        ({"loss": "plackett_luce", "margin": 1.0}, "settings of pairs"),
        ({"loss": "plackett_luce", "ties": "drop"}, "settings of pairs"),
        ({"loss": "plackett_luce", "label_smoothing": 0.1}, "settings of pairs"),
        ({"normalise": "none", "unit_variance": True}, "needs normalise"),
        ({"batch_size": 0}, "reward.batch_size"),
    ],
)
def test_settings_without_sense(how: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        Reward(**how)


def test_columns_are_those_of_the_loss() -> None:
    assert Reward().needs == ("prompt", "chosen", "rejected")
    assert Reward(loss="plackett_luce").needs == ("prompt", "outputs", "ranking")
    assert Reward(normalise="completion").needs == ("prompt", "chosen", "rejected", "completion")


@pytest.mark.parametrize(
    ("rows", "how", "match"),
    [
        ([], {}, "no row to learn from"),
        ([{**PAIR, "is_tied": True}] * 3, {}, "all 3 pairs to train on are ties.*higher temperature"),
        ([{**PAIR, "is_tied": True}] * 3, {"ties": "drop"}, "3 are ties"),
        ([{**PAIR, "rejected": " Tom."}], {}, "1 have equal texts"),
        ([{**PAIR, "split": "validation"}], {}, "no pair is left to learn from"),
        ([PAIR, {**PAIR, "split": "validation"}], {}, "in train and in validation"),
        (
            [PAIR, {**PAIR, "rejected": " Tom" * 80}],
            {},
            r"1 row.s. have texts longer than 64 tokens(.|\n)*row 2: ",
        ),
        ([PAIR], {"max_tokens": 2}, "longer than 2 tokens"),
        ([{"prompt": "P", "chosen": " Tom."}], {}, "row 1: has no 'rejected'"),
        ([{**PAIR, "margin": "far"}], {}, "row 1: 'margin' is 'far'"),
    ],
)
def test_pairs_that_teach_nothing(rows: Any, how: Any, match: str, start: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=match):
        tune(rows, tmp_path, start, **how)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (
            [RANKING, {**RANKING, "ranking": [[0], [3]]}],
            r"row 2: 'ranking' names \[3\], and 'outputs' has 0 to 2",
        ),
        ([{**RANKING, "ranking": [[0], [1, 0]]}], r"row 1: 'ranking' names \[0\] more than once"),
        ([{**RANKING, "ranking": [[0, 1, 2]]}], "no ranking is left.*1 of 1 are all ties"),
        ([{**RANKING, "outputs": [" Tom."], "ranking": [[0]]}], "no ranking is left"),
        ([{**RANKING, "outputs": [" Tom."] * 3}], "no ranking is left"),
        ([RANKING, {**RANKING, "split": "validation"}], "in train and in validation"),
        ([RANKING, {**RANKING, "split": "later"}], "row 2: 'split' is 'later'"),
        ([{**RANKING, "outputs": [" Tom", " Tom" * 80, " a"]}], "row 1: "),
        ([{"prompt": "P", "outputs": []}], "row 1: has no 'ranking'"),
    ],
)
def test_rankings_that_teach_nothing(rows: Any, match: str, start: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=match):
        tune(rows, tmp_path, start, loss="plackett_luce")
    assert not (tmp_path / "model").exists()


def test_rankings_that_order_nothing_are_counted(
    start: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        tune(
            [RANKING, {**RANKING, "prompt": "Q", "ranking": [[0, 1, 2]]}],
            tmp_path,
            start,
            loss="plackett_luce",
        )
    assert "1 of 2 rankings order no two texts: left out" in caplog.text


def test_an_empty_answer_is_an_answer(start: str, tmp_path: Path) -> None:
    """Its reward is read at its end token: a policy may well come to say nothing."""
    log = tune([{**PAIR, "rejected": ""}], tmp_path, start)
    assert log[-1]["pairs"] == 1


def test_a_start_that_cannot_become_a_classifier(start: str, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(start)
    config = CodeGenConfig(
        vocab_size=len(tokenizer), n_positions=64, n_embd=16, n_layer=1, n_head=4, rotary_dim=4
    )
    CodeGenForCausalLM(config).save_pretrained(tmp_path / "codegen")
    tokenizer.save_pretrained(tmp_path / "codegen")
    with pytest.raises(ComponentError, match=r"sequence classifier.*of an architecture.*\(Llama, Qwen2"):
        tune([PAIR], tmp_path, str(tmp_path / "codegen"))
    sft = SFT(device="cpu", lora_rank=2, merge=False)
    list(sft.train([{"prompt": "P", "completion": " Tom."}], tmp_path / "sft", start=start, seed=0))
    with pytest.raises(ComponentError, match=r"is an adapter by itself.*merge=true"):
        tune([PAIR], tmp_path, str(tmp_path / "sft" / "model"))
    shutil.copytree(start, tmp_path / "torn")
    kept = load_file(Path(start) / "model.safetensors")
    kept.pop("model.layers.1.mlp.up_proj.weight")
    save_file(kept, tmp_path / "torn" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ComponentError, match=r"no weights for model.layers.1.mlp.up_proj.weight"):
        tune([PAIR], tmp_path, str(tmp_path / "torn"))
    with pytest.raises(ComponentError, match="needs a model to start from"):
        tune([PAIR], tmp_path, "")
    with pytest.raises(ComponentError, match=r"lora_targets"):
        tune([PAIR], tmp_path, start, lora_rank=2, lora_targets=("nothing",))


# --- said afterwards --------------------------------------------------------------------------------------


def compared(n_prompts: int, lengths: tuple[int, ...] = (3, 1, 2)) -> list[Comparison]:
    """Rankings of three texts, best first, with completions of these lengths."""
    texts = [Example((1,), (5,) * n) for n in lengths]
    return [Comparison(f"g{i}", True, texts, [], [0, 1, 2]) for i in range(n_prompts)]


def test_accuracy_and_length_by_hand() -> None:
    """Of six pairs four are right and one is even; the longer text is the better in two of three."""
    found = report(compared(2), [[3.0, 2.0, 1.0], [1.0, 2.0, 1.0]], n_ties=5)
    assert found is not None
    assert (found["pairs"], found["prompts"], found["ties"]) == (6, 2, 5)
    assert found["accuracy"] == pytest.approx((3 + 0 + 0.5 + 1) / 6)
    assert found["length_accuracy"] == pytest.approx(2 / 3)
    # tau_b of (3, 2, 1) with (3, 1, 2), and of (1, 2, 1) with it: one pair agrees, two do not, and -2 of sqrt(2 3).
    assert found["length_agreement"] == pytest.approx((1 / 3 - 2 / math.sqrt(6)) / 2)
    assert report([], []) is None


def test_intervals_are_over_prompts() -> None:
    """The same pair said ten times is no more evidence; more prompts are."""
    rng = random.Random(0)
    values = [[rng.gauss(1, 1), 0.5, rng.gauss(0, 1)] for _ in range(40)]
    found = report(compared(40), values)
    assert found is not None
    again = report([c for c in compared(40) for _ in range(10)], [v for v in values for _ in range(10)])
    assert again is not None
    for key in ("accuracy_low", "accuracy_high", "calibration_slope_low", "calibration_slope_high"):
        assert again[key] == pytest.approx(found[key], abs=1e-9)
    assert found["accuracy_low"] < found["accuracy"] < found["accuracy_high"]


def test_calibration_of_rewards_that_are_true() -> None:
    """Pairs drawn with P = sigmoid(gap): a slope of 1, of 1/2 where gaps are doubled, and bins on the diagonal."""
    rng = np.random.default_rng(0)
    true = rng.normal(0, 1.5, 4000)
    gaps = np.where(rng.random(4000) < 1 / (1 + np.exp(-true)), true, -true)
    groups = [str(i // 4) for i in range(4000)]
    found = calibration(gaps.tolist(), groups)
    assert found["calibration_slope_low"] < 1 < found["calibration_slope_high"]
    assert found["calibration_slope_high"] - found["calibration_slope_low"] < 0.3
    assert found["calibration_error"] < 0.03
    assert sum(b["n"] for b in found["calibration"]) == 4000
    assert [b["low"] for b in found["calibration"]] == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9])
    doubled = calibration((2 * gaps).tolist(), groups)
    assert doubled["calibration_slope"] == pytest.approx(found["calibration_slope"] / 2)
    assert doubled["calibration_error"] > 0.05


def test_calibration_by_hand() -> None:
    """Three pairs at 3/4, two of them right; a slope of log 2 / log 3 makes them two thirds sure."""
    gap = math.log(3)
    found = calibration([gap, gap, -gap], ["a", "b", "c"])
    assert found["calibration"] == [
        {"low": 0.7, "high": 0.8, "n": 3, "predicted": pytest.approx(0.75), "observed": pytest.approx(2 / 3)}
    ]
    assert found["calibration_error"] == pytest.approx(0.75 - 2 / 3)
    assert found["calibration_slope"] == pytest.approx(math.log(2) / gap)
    # Scores gap (1/3, 1/3, -2/3), curvature 3 gap^2 2/9: a standard error of 1.5 / gap, and t at 2 degrees.
    reach = found["calibration_slope_high"] - found["calibration_slope"]
    assert reach == pytest.approx(4.302653 * 1.5 / gap, rel=1e-5)


@pytest.mark.parametrize("gaps", [[1.0, 2.0], [-1.0, -0.5], [0.0, 0.0]])
def test_a_slope_that_cannot_be_known_is_none(gaps: list[float]) -> None:
    found = calibration(gaps, ["a", "b"])
    assert found["calibration_slope"] is found["calibration_slope_low"] is None
    assert calibration([0.0], ["a"])["calibration_error"] == 0.0
    assert calibration([1.0, -2.0], ["a", "a"])["calibration_slope_high"] is None
