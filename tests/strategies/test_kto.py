"""KTO: losses by hand and by their invariants, z0 of the whole batch, weights that balance, rows of two kinds."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import tiny_model

from ilf.errors import DataError, UsageError
from ilf.strategies import kto as module
from ilf.strategies._encode import Example
from ilf.strategies.kto import KTO, baseline, kto_losses, mismatched
from rankers._lm import completion_logprobs, load

POST = "POST: My name is Tom. I broke the kettle.\nTL;DR:"
TEXTS = (" Tom broke a kettle.", " Tom is a fool.", " It cost 270 coins.")
PAIRS = [
    *({"prompt": POST, "chosen": TEXTS[i], "rejected": TEXTS[j]} for i, j in ((0, 1), (0, 2), (1, 2))),
    {"prompt": "A", "chosen": " B, and at some length, with a lamp.", "rejected": " C"},
    {"prompt": "def add(a, b):\n", "chosen": "    return a + b\n", "rejected": "    return a\n"},
]
#: The same texts one by one.
LABELS = [
    {"prompt": row["prompt"], "completion": row[key], "label": key == "chosen"}
    for row in PAIRS
    for key in ("chosen", "rejected")
]
QUICK = KTO(batch_size=8, learning_rate=1e-3, device="cpu")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("kto") / "start", "gpt2"))


def tune(strategy: KTO, folder: Path, start: str, rows: Any = PAIRS, seed: int = 0) -> list[dict[str, Any]]:
    return list(strategy.train(rows, folder, start=start, seed=seed))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Without biases: that of GPT-2's keys has no gradient but rounding, which Adam makes as large as any other."""
    found = load_file(folder / "model" / "model.safetensors")
    return {name: tensor for name, tensor in found.items() if name.endswith("weight")}


# --- the formula ------------------------------------------------------------------------------------------


def test_losses_by_hand() -> None:
    """d - z0 = 2 and kl_coef .5: s(1) = .731058578630005, s(-1) = .268941421369995."""
    ratios = torch.tensor([3.0, 3.0, -1.0], dtype=torch.float64)
    good = torch.tensor([True, False, False])
    found = kto_losses(ratios, good, 1.0, 0.5, (2.0, 3.0))
    assert found.tolist() == pytest.approx(
        [2 * 0.268941421369995, 3 * 0.731058578630005, 3 * 0.268941421369995]
    )


def test_at_the_start_every_loss_is_a_half_and_kinds_pull_against_each_other() -> None:
    ratios = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    losses = kto_losses(ratios, torch.tensor([True, False]), 0.0, 0.1)
    assert losses.tolist() == [0.5, 0.5]
    losses.sum().backward()
    assert ratios.grad.tolist() == pytest.approx([-0.025, 0.025])


def test_a_loss_is_bounded_and_saturates() -> None:
    """Unlike DPO's: a text that is far from the reference already pulls no more."""
    ratios = torch.tensor([-500.0, 0.0, 500.0], requires_grad=True)
    losses = kto_losses(ratios, torch.tensor([True] * 3), 0.0, 0.1)
    assert losses.tolist() == pytest.approx([1.0, 0.5, 0.0])
    losses.sum().backward()
    assert ratios.grad[0].abs() < 1e-6
    assert ratios.grad[2].abs() < 1e-6


def text(prompt: int, completion: int) -> Example:
    return Example((prompt,), (completion, 0))


def test_completions_for_z0_stand_behind_prompts_of_others() -> None:
    elements = [
        [(text(1, 11), True), (text(1, 12), False), (text(1, 13), False)],
        [(text(1, 14), True)],  # the same prompt, in an element of its own
        [(text(2, 21), True), (text(2, 22), False)],
        [(text(3, 31), True)],
    ]
    found = mismatched(elements, [0, 1, 2, 3])
    assert found == [
        text(1, 21),
        text(1, 22),
        text(1, 21),
        text(1, 21),
        text(2, 31),
        text(2, 31),
        text(3, 11),
    ]
    # Where the batch has no other prompt, the next of all.
    assert mismatched(elements, [1]) == [text(1, 21)]
    assert mismatched(elements, [1, 0]) == [text(1, 21), text(1, 21), text(1, 22), text(1, 21)]


def test_z0_is_a_mean_that_never_falls_below_nothing() -> None:
    texts = [text(1, 2), text(1, 2), text(3, 4)]
    reference = {texts[0]: -4.0, texts[2]: -2.0}
    assert baseline(lambda _: {texts[0]: -1.0, texts[2]: -5.0}, texts, reference) == pytest.approx(1.0)
    assert baseline(lambda _: {texts[0]: -5.0, texts[2]: -2.0}, texts, reference) == 0.0


# --- training ---------------------------------------------------------------------------------------------


def test_the_first_update_starts_from_the_reference(start: str, tmp_path: Path) -> None:
    [row] = tune(QUICK, tmp_path, start)
    assert row["loss"] == pytest.approx(0.5, abs=1e-6)
    for name in ("kl_baseline", "reward_desirable", "reward_undesirable"):
        assert row[name] == pytest.approx(0.0, abs=1e-5)
    assert row["texts"] == 10


def log_ratios(tuned: str, start: str, pairs: Sequence[tuple[str, str]]) -> list[float]:
    values = [completion_logprobs(load(m, device="cpu"), pairs) for m in (tuned, start)]
    return [a - b for a, b in zip(*values, strict=True)]


def test_the_second_update_by_hand(start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and z0 from two models; a rate at which z0 is above nothing."""
    strategy = replace(QUICK, epochs=2, kl_coef=0.5)
    _, row = tune(strategy, tmp_path / "run", start)
    # A run of the same schedule that ends at rate 0 has the model of the first update.
    tune(replace(strategy, final_share=0.0), tmp_path / "once", start)
    tuned = str(tmp_path / "once" / "model")
    asked: list[tuple[str, str]] = []
    lm = load(start, device="cpu")
    original = module.mismatched

    def spy(*args: Any) -> list[Example]:
        found = original(*args)
        asked[:] = [(lm.tokenizer.decode(e.prompt), lm.tokenizer.decode(e.completion[:-1])) for e in found]
        return found

    monkeypatch.setattr(module, "mismatched", spy)
    tune(strategy, tmp_path / "again", start)
    assert len(asked) == 10
    own = {(r["prompt"], r[key]) for r in PAIRS for key in ("chosen", "rejected")}
    assert not own.intersection(asked)
    z0 = max(0.0, sum(log_ratios(tuned, start, asked)) / 10)
    good, bad = (
        log_ratios(tuned, start, [(r["prompt"], r[key]) for r in PAIRS]) for key in ("chosen", "rejected")
    )
    values = [1 / (1 + math.exp(0.5 * (d - z0))) for d in good]
    values += [1 / (1 + math.exp(-0.5 * (d - z0))) for d in bad]
    assert row["kl_baseline"] == pytest.approx(z0, rel=1e-3, abs=1e-4)
    assert row["loss"] == pytest.approx(sum(values) / 10, rel=1e-4)
    assert row["reward_desirable"] == pytest.approx(0.5 * sum(good) / 5, rel=1e-3)
    assert row["reward_undesirable"] == pytest.approx(0.5 * sum(bad) / 5, rel=1e-3)


def test_microbatches_are_one_batch(start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """z0 is that of the whole batch in each of its parts, and so it matters here."""
    given: list[float] = []
    original = module.kto_losses

    def spy(ratios: Any, good: Any, z0: float, *rest: Any) -> Any:
        given.append(z0)
        return original(ratios, good, z0, *rest)

    monkeypatch.setattr(module, "baseline", lambda *args: baseline(*args) + 0.7)
    monkeypatch.setattr(module, "kto_losses", spy)
    strategy = replace(QUICK, epochs=3)
    whole = tune(strategy, tmp_path / "whole", start)
    assert len(given) == 3
    given.clear()
    split = tune(replace(strategy, microbatch_tokens=1), tmp_path / "split", start)
    assert [len(set(given[at : at + 3])) for at in (0, 3, 6)] == [1, 1, 1]
    assert len(given) == 9
    for one, other in zip(whole, split, strict=True):
        assert other == pytest.approx(one, rel=1e-4, abs=1e-5)
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.allclose(weights(tmp_path / "split")[name], tensor, atol=1e-4)


def test_z0_and_the_reference_get_no_gradient(
    start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are numbers; and the gradient is that of the log-ratios alone: kl_coef / 4, pushed up or down."""
    seen: list[Any] = []

    def spy(ratios: Any, good: Any, z0: Any, *rest: Any) -> Any:
        seen.append((z0, ratios))
        return kto_losses(ratios, good, z0, *rest)

    monkeypatch.setattr(module, "kto_losses", spy)
    [row] = tune(QUICK, tmp_path, start)
    [(z0, ratios)] = seen
    assert type(z0) is float
    assert ratios.requires_grad
    lm = load(start, device="cpu")
    total = torch.zeros(())
    for r in PAIRS:
        for key, sign in (("chosen", -1), ("rejected", 1)):
            asked = lm.prompt_ids(r["prompt"])
            ids = [*asked, *lm.completion_ids(r[key], eos=True)]
            logprobs = lm.model(torch.tensor([ids])).logits[0].log_softmax(-1)
            total = total + sign * sum(logprobs[t - 1, ids[t]] for t in range(len(asked), len(ids)))
    (0.1 / 4 * total / 10).backward()
    norm = torch.cat([p.grad.flatten() for p in lm.model.parameters() if p.grad is not None]).norm().item()
    lm.model.zero_grad()
    assert row["gradient_norm"] == pytest.approx(norm, rel=1e-4)


@pytest.mark.parametrize(
    "how", [{}, {"lora_rank": 4, "learning_rate": 1e-2}, {"dtype": "bfloat16"}, {"data": "labels"}]
)
def test_it_learns_what_is_good(start: str, tmp_path: Path, how: Mapping[str, Any]) -> None:
    rows = LABELS if "data" in how else PAIRS
    log = tune(replace(QUICK, epochs=30, batch_size=2, **how), tmp_path, start, rows)
    good, bad = (
        log_ratios(str(tmp_path / "model"), start, [(r["prompt"], r[key]) for r in PAIRS])
        for key in ("chosen", "rejected")
    )
    assert min(a - b for a, b in zip(good, bad, strict=True)) > 1
    assert log[-1]["loss"] < 0.4


def test_pairs_and_their_labels_are_the_same_data(start: str, tmp_path: Path) -> None:
    strategy = replace(QUICK, epochs=2)
    logs = [
        tune(strategy, tmp_path / "pairs", start),
        tune(replace(strategy, data="labels"), tmp_path / "labels", start, LABELS),
    ]
    assert logs[0] == logs[1]
    assert KTO().needs == ("prompt", "chosen", "rejected")
    assert KTO(data="labels").needs == ("prompt", "completion", "label")


def test_validation_rows_are_measured_and_not_trained_on(start: str, tmp_path: Path) -> None:
    held = [
        {"prompt": f"P{i}", "chosen": f" Tom {i}", "rejected": f" lamp {i % 2}", "split": "validation"}
        for i in range(6)
    ]
    labels = [
        {"prompt": r["prompt"], "completion": r[key], "label": key == "chosen", "split": "validation"}
        for r in held
        for key in ("chosen", "rejected")
    ]
    strategy = replace(QUICK, epochs=4, batch_size=2)
    tune(strategy, tmp_path / "alone", start)
    log = tune(strategy, tmp_path / "held", start, [*held, *PAIRS])
    by_label = tune(replace(strategy, data="labels"), tmp_path / "labels", start, [*labels, *LABELS])
    for name, tensor in weights(tmp_path / "alone").items():
        assert torch.equal(weights(tmp_path / "held")[name], tensor)
        assert torch.equal(weights(tmp_path / "labels")[name], tensor)
    good, bad = (
        log_ratios(str(tmp_path / "held" / "model"), start, [(r["prompt"], r[key]) for r in held])
        for key in ("chosen", "rejected")
    )
    right = sum(a > b for a, b in zip(good, bad, strict=True)) / 6
    assert log[-1]["validation_accuracy"] == by_label[-1]["validation_accuracy"] == pytest.approx(right)
    assert log[-1]["validation_prompts"] == 6
    assert (
        f"validation_accuracy {log[-1]['validation_accuracy']}"
        in (tmp_path / "held/model/README.md").read_text()
    )


# --- weights ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_good", "n_bad", "expected"),
    [(5, 5, (1.0, 1.0)), (4, 3, (1.0, 1.0)), (2, 8, (4.0, 1.0)), (8, 2, (1.0, 3.0))],
)
def test_weights_balance_the_kinds(n_good: int, n_bad: int, expected: tuple[float, float]) -> None:
    found = KTO()._weights([True] * n_good + [False] * n_bad)
    assert found == pytest.approx(expected)
    assert 1 - 1e-9 <= found[0] * n_good / (found[1] * n_bad) <= 4 / 3 + 1e-9


def test_weights_are_used_and_their_balance_is_checked(
    start: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="ilf"):
        [row] = tune(replace(QUICK, desirable_weight=1.2), tmp_path / "fine", start)
    assert row["loss"] == pytest.approx(0.5 * (5 * 1.2 + 5) / 10)
    assert not caplog.messages
    with caplog.at_level(logging.WARNING, logger="ilf"):
        [row] = tune(replace(QUICK, undesirable_weight=2.0), tmp_path / "odd", start)
    assert row["loss"] == pytest.approx(0.5 * (5 + 5 * 2) / 10)
    [told] = caplog.messages
    assert "desirable texts weigh 0.50 times what undesirable ones do (5 and 5 of them)" in told
    # Set from the counts where none is given: one good text to two bad ones.
    rows = [*LABELS, {"prompt": "A", "completion": " D", "label": False}]
    [row] = tune(replace(QUICK, data="labels"), tmp_path / "counts", start, rows)
    assert row["loss"] == pytest.approx(0.5 * (5 * 1.2 + 6) / 11)


# --- refusals ---------------------------------------------------------------------------------------------


def test_rows_that_cannot_be_used_are_refused(start: str, tmp_path: Path) -> None:
    labelled = replace(QUICK, data="labels")
    with pytest.raises(DataError, match="no row to learn from"):
        tune(QUICK, tmp_path, start, [])
    with pytest.raises(DataError, match="one prompt only, and z0 is measured across prompts"):
        tune(QUICK, tmp_path, start, PAIRS[:3])
    with pytest.raises(DataError, match=r"5 desirable and 0 undesirable texts.*use sft"):
        tune(labelled, tmp_path, start, [row for row in LABELS if row["label"]])
    broken = [{**LABELS[0], "label": 1}, {"prompt": "A", "completion": "x"}, {**LABELS[0], "completion": 3}]
    with pytest.raises(DataError) as refused:
        tune(labelled, tmp_path, start, broken)
    for line in ("row 1: 'label' is 1, neither", "row 2: has no 'label'", "row 3: 'completion' must be text"):
        assert line in str(refused.value)
    with pytest.raises(DataError, match=r"row 1: .* tokens"):
        tune(replace(labelled, max_tokens=5), tmp_path, start, LABELS)
    with pytest.raises(DataError, match=r"row 4: .* tokens"):
        tune(replace(QUICK, max_tokens=5), tmp_path, start)
    equal = {"prompt": "A", "chosen": " x", "rejected": " x"}
    with pytest.raises(DataError, match="no pair is left"):
        tune(QUICK, tmp_path, start, [equal, {**PAIRS[0], "is_tied": True}])
    assert not (tmp_path / "model").exists()


def test_a_mismatched_text_may_not_be_too_long(tmp_path: Path) -> None:
    """A long prompt and a long completion, which fit apart, meet in z0."""
    start = str(tiny_model(tmp_path / "m", "gpt2", positions=32))
    rows = [
        {"prompt": "z" * 28, "chosen": "y", "rejected": "x"},
        {"prompt": "q", "chosen": "y" * 28, "rejected": "x"},
    ]
    assert len(tune(QUICK, tmp_path, start, rows)) == 1


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"kl_coef": 0.0}, "kl_coef"),
        ({"desirable_weight": 0.0}, "desirable_weight"),
        ({"undesirable_weight": -1.0}, "undesirable_weight"),
        ({"batch_size": 1}, "batch_size"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        KTO(**settings)


def test_same_seed_same_bytes(start: str, tmp_path: Path) -> None:
    strategy = replace(QUICK, epochs=2, batch_size=2)
    logs = [tune(strategy, tmp_path / name, start, seed=5) for name in ("one", "two")]
    assert logs[0] == logs[1]
    for name, tensor in weights(tmp_path / "one").items():
        assert torch.equal(weights(tmp_path / "two")[name], tensor)
    shuffled = random.Random(0).sample(PAIRS, len(PAIRS))
    assert tune(QUICK, tmp_path / "whole", start, shuffled)[0]["loss"] == pytest.approx(0.5, abs=1e-6)
