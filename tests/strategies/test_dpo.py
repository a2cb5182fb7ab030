"""DPO: losses by hand and by their symmetries, a reference that is the start, and batches that change nothing."""

from __future__ import annotations

import json
import logging
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import tiny_model

from ilf.errors import DataError, UsageError
from ilf.strategies import _shared_prompt
from ilf.strategies.dpo import DPO, preference_losses
from rankers._lm import LM, completion_logprobs, load

KINDS = ("llama", "qwen2", "gpt2")
POST = "POST: My name is Tom. I broke the kettle.\nTL;DR:"
TEXTS = (
    " Tom broke a kettle.",
    " Tom is a fool.",
    " It cost 270 coins, and there was a storm in Brimley.",
    "",
)
#: A ranking of four with all its pairs, and two pairs of prompts of their own.
ROWS = [
    *({"prompt": POST, "chosen": TEXTS[i], "rejected": TEXTS[j]} for i in range(4) for j in range(i + 1, 4)),
    {"prompt": "A", "chosen": " B, and at some length, with a lamp.", "rejected": " C"},
    {"prompt": "def add(a, b):\n", "chosen": "    return a + b\n", "rejected": "    return a\n"},
]
QUICK = DPO(batch_size=8, learning_rate=1e-3, device="cpu")


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("starts")
    return {kind: str(tiny_model(folder / kind, kind)) for kind in KINDS}


def tune(strategy: DPO, folder: Path, start: str, rows: Any = ROWS, seed: int = 0) -> list[dict[str, Any]]:
    return list(strategy.train(rows, folder, start=start, seed=seed))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def sum_by_hand(lm: LM, prompt: str, completion: str) -> tuple[torch.Tensor, int]:
    """Log p of completion and end token from all logits of one unpadded text, and how many tokens they are."""
    asked, told = (lm.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, completion))
    ids = [*asked, *told, lm.tokenizer.eos_token_id]
    logprobs = lm.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return sum(logprobs[t - 1, ids[t]] for t in range(len(asked), len(ids))), len(told) + 1


def gradient_of(lm: LM, loss: torch.Tensor) -> torch.Tensor:
    lm.model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in lm.model.parameters() if p.grad is not None])


# --- the losses -------------------------------------------------------------------------------------------


def test_losses_by_hand() -> None:
    """h = 2 nats, kl_coef .5: s(1) = .731058578630005, whose logarithm is -.313261687518223."""
    h = torch.tensor([2.0, -2.0], dtype=torch.float64)
    right, swapped = 0.313261687518223, 1.313261687518223
    assert preference_losses(h, 0.5).tolist() == pytest.approx([right, swapped])
    smooth = preference_losses(h, 0.5, label_smoothing=0.1)
    assert smooth.tolist() == pytest.approx([0.9 * right + 0.1 * swapped, 0.9 * swapped + 0.1 * right])
    robust = preference_losses(h, 0.5, loss="robust", label_smoothing=0.1)
    assert robust.tolist() == pytest.approx(
        [(0.9 * right - 0.1 * swapped) / 0.8, (0.9 * swapped - 0.1 * right) / 0.8]
    )
    assert preference_losses(h, 0.5, loss="ipo").tolist() == pytest.approx([1.0, 9.0])


def test_at_the_start_the_loss_is_log_2_and_swapping_negates_its_gradient() -> None:
    for how in ({}, {"label_smoothing": 0.2}, {"loss": "robust", "label_smoothing": 0.2}, {"loss": "ipo"}):
        gradients = []
        for sign in (1, -1):
            h = torch.zeros(3, dtype=torch.float64, requires_grad=True)
            losses = preference_losses(sign * h, 0.1, **how)
            losses.sum().backward()
            gradients.append(h.grad)
            if "loss" not in how:
                assert losses.tolist() == pytest.approx([math.log(2)] * 3)
        assert torch.allclose(gradients[0], -gradients[1])
        assert (gradients[0] < 0).all()


def test_no_smoothing_is_the_plain_loss() -> None:
    h = torch.linspace(-30, 30, 13, dtype=torch.float64)
    plain = preference_losses(h, 0.1)
    assert torch.equal(preference_losses(h, 0.1, label_smoothing=0.0), plain)
    assert torch.equal(preference_losses(h, 0.1, loss="robust"), plain)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_robust_loss_is_unbiased_under_swapped_pairs(share: float) -> None:
    """Its mean over pairs of which that share is swapped is the plain loss of the right ones; smoothing's is not."""
    h = torch.linspace(-5, 5, 11, dtype=torch.float64)

    def expected(loss: Any) -> torch.Tensor:
        right, wrong = (preference_losses(s * h, 0.4, loss=loss, label_smoothing=share) for s in (1, -1))
        return (1 - share) * right + share * wrong

    assert torch.allclose(expected("robust"), preference_losses(h, 0.4))
    assert not torch.allclose(expected("dpo"), preference_losses(h, 0.4), atol=1e-2)


def test_ipo_is_least_where_the_margin_is_what_it_asks_for() -> None:
    h = torch.linspace(-10, 10, 401)
    assert h[preference_losses(h, 0.1, loss="ipo").argmin()].item() == pytest.approx(5.0)


def test_losses_stay_finite_far_out() -> None:
    h = torch.tensor([-1e5, 1e5])
    assert torch.isfinite(preference_losses(h, 1.0)).all()


# --- what is trained --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_update_starts_from_the_reference(
    starts: dict[str, str], tmp_path: Path, kind: str
) -> None:
    """Loss log 2, no margin, half of the pairs right, the log p of the start; and the gradient is that of h."""
    [row] = tune(QUICK, tmp_path, starts[kind])
    assert row["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert row["reward_margin"] == pytest.approx(0, abs=1e-6)
    assert (row["pairs"], row["step"]) == (8, 1)
    lm = load(starts[kind], device="cpu")
    sums = [[sum_by_hand(lm, r["prompt"], r[key]) for key in ("chosen", "rejected")] for r in ROWS]
    for column, name in enumerate(("logprob_chosen", "logprob_rejected")):
        assert row[name] == pytest.approx(sum(pair[column][0].item() for pair in sums) / 8, rel=1e-5)
    assert row["tokens"] == sum(n for pair in sums for _, n in pair)
    # d(-log s(kl_coef h)) = -kl_coef / 2 dh at h = 0.
    h = sum(chosen - rejected for (chosen, _), (rejected, _) in sums)
    assert row["gradient_norm"] == pytest.approx(gradient_of(lm, -0.05 * h / 8).norm().item(), rel=1e-4)


def test_the_second_update_by_hand(starts: dict[str, str], tmp_path: Path) -> None:
    """The reference is still the start: loss, margin and accuracy from two models, text by text."""
    strategy = replace(QUICK, epochs=2, kl_coef=0.5)
    for loss in ("dpo", "ipo"):
        _, row = tune(replace(strategy, loss=loss, nll_coef=0.3), tmp_path / loss, starts["gpt2"])
        # A run of the same schedule that stops before its second update has the model of the first.
        once = replace(strategy, loss=loss, nll_coef=0.3, final_share=0.0)
        tune(once, tmp_path / f"{loss}-1", starts["gpt2"])
        tuned, start = (
            load(str(tmp_path / f"{loss}-1" / "model"), device="cpu"),
            load(starts["gpt2"], device="cpu"),
        )
        losses, margins = [], []
        for r in ROWS:
            (new_good, n_good), (new_bad, n_bad) = (
                sum_by_hand(tuned, r["prompt"], r[k]) for k in ("chosen", "rejected")
            )
            (old_good, _), (old_bad, _) = (
                sum_by_hand(start, r["prompt"], r[k]) for k in ("chosen", "rejected")
            )
            good, bad = (new_good - old_good).item(), (new_bad - old_bad).item()
            value = (
                math.log1p(math.exp(-0.5 * (good - bad)))
                if loss == "dpo"
                else (good / n_good - bad / n_bad - 1) ** 2
            )
            losses.append(value - 0.3 * new_good.item() / n_good)
            margins.append(good - bad)
        assert row["loss"] == pytest.approx(sum(losses) / 8, rel=1e-4)
        assert row["reward_margin"] == pytest.approx(0.5 * sum(margins) / 8, rel=1e-3)
        assert row["reward_accuracy"] == sum(m > 0 for m in margins) / 8
        assert row["reward_accuracy"] > 0


def test_swapped_pairs_pull_the_other_way(starts: dict[str, str], tmp_path: Path) -> None:
    swapped = [{**r, "chosen": r["rejected"], "rejected": r["chosen"]} for r in ROWS]
    sgd = replace(QUICK, learning_rate=1e-6)
    moved = []
    for name, rows in (("right", ROWS), ("swapped", swapped)):
        tune(sgd, tmp_path / name, starts["llama"], rows)
        before = load_file(Path(starts["llama"]) / "model.safetensors")
        moved.append(torch.cat([(weights(tmp_path / name)[k] - before[k]).flatten() for k in before]))
    # Adam's first step is the sign of the gradient.
    agree = (moved[0].sign() == -moved[1].sign()).float().mean().item()
    assert agree > 0.98


@pytest.mark.parametrize("kind", KINDS)
def test_how_texts_are_batched_changes_nothing(
    starts: dict[str, str], tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One big batch, one prompt at a time, every text by itself without shared prompts, rows in another order."""
    strategy = replace(QUICK, epochs=3, nll_coef=0.1)
    whole = tune(strategy, tmp_path / "whole", starts[kind])
    parts: list[int] = []
    original = _shared_prompt.Scorer.logprobs

    def spy(self: Any, examples: Sequence[Any]) -> Any:
        parts.append(len(examples))
        return original(self, examples)

    monkeypatch.setattr(_shared_prompt.Scorer, "logprobs", spy)
    found = {"split": tune(replace(strategy, microbatch_tokens=1), tmp_path / "split", starts[kind])}
    assert parts[-9:] != [16] * 9
    assert sorted(parts[-3:]) == [2, 2, 12]
    monkeypatch.setattr(_shared_prompt, "_can_share", lambda model: False)
    found["alone"] = tune(strategy, tmp_path / "alone", starts[kind])
    found["shuffled"] = tune(strategy, tmp_path / "shuffled", starts[kind], random.Random(1).sample(ROWS, 8))
    for name, log in found.items():
        for one, other in zip(whole, log, strict=True):
            assert other == pytest.approx(one, rel=1e-4, abs=1e-5), name
        for key, tensor in weights(tmp_path / "whole").items():
            # The bias of GPT-2's keys has no gradient but rounding, which Adam makes as large as any other.
            if key.endswith("weight"):
                assert torch.allclose(weights(tmp_path / name)[key], tensor, atol=1e-4), name


def test_a_text_of_several_pairs_is_run_once_and_the_reference_once(
    starts: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four texts of a ranking are four completions behind one prompt, not twelve texts."""
    projected: list[int] = []
    original = _shared_prompt.token_logprobs

    def spy(states: torch.Tensor, *rest: Any) -> torch.Tensor:
        projected.append(len(states))
        return original(states, *rest)

    rows, lm = ROWS[:6], load(starts["llama"], device="cpu")
    n_tokens = sum(len(lm.completion_ids(text, eos=True)) for text in TEXTS)
    monkeypatch.setattr(_shared_prompt, "token_logprobs", spy)
    tune(replace(QUICK, epochs=3), tmp_path, starts["llama"], rows)
    # What is tried out on loading apart: the reference, and three updates.
    assert projected[-4:] == [n_tokens] * 4
    assert max(projected[:-4]) < 10


@pytest.mark.parametrize("how", [{}, {"lora_rank": 2}])
def test_the_reference_gets_no_gradient_and_adapters_off_are_the_base(
    starts: dict[str, str], tmp_path: Path, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is cached is the log p of the untouched start model, for adapters as for all weights."""
    from ilf.strategies import dpo as module

    cached: list[Any] = []
    original = module.all_logprobs

    def spy(*args: Any, **more: Any) -> Any:
        cached.append(original(*args, **more))
        return cached[-1]

    monkeypatch.setattr(module, "all_logprobs", spy)
    tune(replace(QUICK, epochs=2, **how), tmp_path, starts["gpt2"])
    [reference] = cached
    expected = completion_logprobs(load(starts["gpt2"], device="cpu"), [(POST, text) for text in TEXTS])
    found = {len(e.completion): value for e, value in reference.items() if len(e.prompt) > 20}
    assert all(type(value) is float for value in reference.values())
    assert sorted(found.values()) == pytest.approx(sorted(expected), rel=1e-5)


# --- what comes out ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"lora_rank": 4, "learning_rate": 1e-2}, {"dtype": "bfloat16"}])
def test_it_learns_the_preferences(starts: dict[str, str], tmp_path: Path, how: dict[str, Any]) -> None:
    log = tune(replace(QUICK, epochs=30, batch_size=2, **how), tmp_path, starts["llama"])
    assert log[-1]["reward_accuracy"] == 1.0
    assert log[-1]["reward_margin"] > 1
    assert log[-1]["loss"] < 0.5 * log[0]["loss"]
    tuned, start = load(str(tmp_path / "model"), device="cpu"), load(starts["llama"], device="cpu")
    values = [completion_logprobs(lm, [(POST, text) for text in TEXTS]) for lm in (tuned, start)]
    rewards = [a - b for a, b in zip(*values, strict=True)]
    assert rewards == sorted(rewards, reverse=True)


def test_ipo_brings_pairs_to_the_margin_that_it_asks_for(starts: dict[str, str], tmp_path: Path) -> None:
    """1 / (2 kl_coef) nats a token, and no further, where -log s never has enough."""
    strategy = replace(QUICK, epochs=60, kl_coef=1.0, loss="ipo")
    log = tune(strategy, tmp_path, starts["llama"], ROWS[6:])
    assert log[0]["loss"] == pytest.approx(0.25)
    assert log[-1]["loss"] < 1e-3


def held_out(n: int = 6) -> list[dict[str, Any]]:
    return [
        {"prompt": f"P{i}", "chosen": f" Tom {i}", "rejected": f" lamp {i % 2}", "split": "validation"}
        for i in range(n)
    ]


def test_validation_pairs_are_measured_and_not_trained_on(starts: dict[str, str], tmp_path: Path) -> None:
    strategy = replace(QUICK, epochs=4, batch_size=2)
    alone = tune(strategy, tmp_path / "alone", starts["llama"])
    log = tune(strategy, tmp_path / "held", starts["llama"], [*held_out(), *ROWS])
    for key, tensor in weights(tmp_path / "alone").items():
        assert torch.equal(weights(tmp_path / "held")[key], tensor)
    assert log[:-1] == alone[:-1]
    tuned, start = load(str(tmp_path / "held" / "model"), device="cpu"), load(starts["llama"], device="cpu")
    rewards = [
        [a - b for a, b in zip(*(completion_logprobs(m, [(r["prompt"], r[k]) for r in held_out()]) for m in (tuned, start)), strict=True)]
        for k in ("chosen", "rejected")
    ]  # fmt: skip
    right = sum(good > bad for good, bad in zip(*rewards, strict=True))
    assert log[-1]["validation_accuracy"] == pytest.approx(right / 6)
    assert log[-1]["validation_accuracy_low"] < right / 6 < log[-1]["validation_accuracy_high"] or right in (
        0,
        6,
    )
    assert (log[-1]["validation_pairs"], log[-1]["validation_prompts"]) == (6, 6)
    assert (
        f"validation_accuracy {log[-1]['validation_accuracy']}"
        in (tmp_path / "held/model/README.md").read_text()
    )
    json.dumps(log, allow_nan=False)


def test_the_log_is_whole_only_when_the_model_is_written(starts: dict[str, str], tmp_path: Path) -> None:
    strategy = replace(QUICK, epochs=3)
    training = strategy.train(ROWS, tmp_path, start=starts["llama"], seed=0)
    assert [(tmp_path / "model" / "README.md").exists() for _ in training] == [False, False, True]


def test_dropout_is_off(tmp_path: Path) -> None:
    """Two passes over one text must agree, or no ratio is 1."""
    start = tiny_model(tmp_path / "start", "gpt2")
    config = json.loads((start / "config.json").read_text())
    config.update(resid_pdrop=0.3, embd_pdrop=0.3, attn_pdrop=0.3)
    (start / "config.json").write_text(json.dumps(config))
    [row] = tune(QUICK, tmp_path / "run", str(start))
    assert row["loss"] == pytest.approx(math.log(2), abs=1e-6)


# --- refusals ---------------------------------------------------------------------------------------------


def test_rows_that_teach_nothing_are_left_out_and_counted(
    starts: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    equal = {"prompt": "A", "chosen": " x", "rejected": " x"}
    tied = {"prompt": "A", "chosen": " x", "rejected": " y", "is_tied": True}
    log = tune(QUICK, tmp_path / "plain", starts["llama"])
    with caplog.at_level(logging.WARNING, logger="ilf"):
        assert tune(QUICK, tmp_path / "more", starts["llama"], [equal, tied, *ROWS]) == log
    assert caplog.messages == [
        "dpo: 1 of 10 pairs have equal texts: left out",
        "dpo: 1 of 10 pairs are ties: left out",
    ]
    with pytest.raises(DataError, match="no pair is left to learn from"):
        tune(QUICK, tmp_path / "none", starts["llama"], [equal, tied])
    with pytest.raises(DataError, match="no row to learn from"):
        tune(QUICK, tmp_path / "none", starts["llama"], [])
    with pytest.raises(DataError, match=r"row 2: has no 'rejected'"):
        tune(QUICK, tmp_path / "none", starts["llama"], [ROWS[0], {"prompt": "A", "chosen": "x"}])
    assert not (tmp_path / "none").exists()


def test_texts_beyond_the_context_are_named_by_row(tmp_path: Path) -> None:
    start = str(tiny_model(tmp_path / "m", "gpt2", positions=32))
    fitting = {"prompt": "z" * 20, "chosen": "y" * 12, "rejected": "x"}
    equal = {"prompt": "q", "chosen": "x", "rejected": "x"}
    assert len(tune(QUICK, tmp_path / "run", start, [fitting])) == 1
    long = {**fitting, "rejected": "y" * 13}
    with pytest.raises(
        DataError, match=r"longer than 33 tokens.*the model has 32 positions.*\n.*row 3: 34 tokens"
    ):
        tune(QUICK, tmp_path / "none", start, [equal, fitting, long])


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"kl_coef": 0.0}, "kl_coef"),
        ({"kl_coef": math.nan}, "kl_coef"),
        ({"nll_coef": -1.0}, "nll_coef"),
        ({"label_smoothing": 0.5}, "label_smoothing"),
        ({"label_smoothing": -0.1}, "label_smoothing"),
        ({"loss": "ipo", "label_smoothing": 0.1}, "ipo has none"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        DPO(**settings)
