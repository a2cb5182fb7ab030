"""SFT: losses against the definition, nothing learnt from prompts and padding, bytes that only the seed decides."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import EOS, tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from ilf.errors import ComponentError, DataError, UsageError
from ilf.files import sha256_file
from ilf.generators.transformers_lm import TransformersLM
from ilf.strategies import _imitation
from ilf.strategies import sft as module
from ilf.strategies._encode import Example, encode, padded
from ilf.strategies.sft import SFT, completion_logprob
from rankers import RankerError
from rankers._lm import LM, completion_logprobs, load
from rankers._logprobs import trunk_and_head

KINDS = ("llama", "qwen2", "gpt2")
ROWS = [
    {"prompt": "POST: My name is Tom. I broke the kettle.\nTL;DR:", "completion": " Tom broke a kettle."},
    {"prompt": "A", "completion": " B, and at some length, with a lamp and a storm in Brimley."},
    {"prompt": "Anna, a cook, had trouble with a lamp during a storm.\nTL;DR:", "completion": " Anna."},
    {"prompt": "def add(a, b):\n", "completion": "    return a + b\n"},
    {"prompt": "Short.\nTL;DR:", "completion": " It is short."},
]
QUICK = SFT(batch_size=8, learning_rate=1e-3, device="cpu")


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("starts")
    made = {kind: str(tiny_model(folder / kind, kind)) for kind in KINDS}
    made["chat"] = str(tiny_model(folder / "chat", chat=True))
    return made


def tune(strategy: SFT, folder: Path, start: str, *, rows: Any = ROWS, seed: int = 0) -> list[dict[str, Any]]:
    return list(strategy.train(rows, folder, start=start, seed=seed))


def bytes_of(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir())}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def by_hand(lm: LM, row: dict[str, Any]) -> tuple[torch.Tensor, int]:
    """Sum of -log p over completion and end token from all logits of one unpadded text, and how many they are."""
    prompt, completion = (
        lm.tokenizer(row[key], add_special_tokens=False)["input_ids"] for key in ("prompt", "completion")
    )
    ids = [*prompt, *completion, lm.tokenizer.eos_token_id]
    logprobs = lm.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    total = sum((-logprobs[t - 1, ids[t]] for t in range(len(prompt), len(ids))), torch.zeros(()))
    return total, len(completion) + 1


def gradients(lm: LM) -> torch.Tensor:
    """All gradients as one vector, and none left behind."""
    found = torch.cat([p.grad.flatten() for p in lm.model.parameters() if p.grad is not None])
    lm.model.zero_grad()
    return found


# --- the loss ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_loss_is_the_mean_over_completion_tokens(
    starts: dict[str, str], tmp_path: Path, kind: str
) -> None:
    """And its gradient has the logged norm: brute force over single texts, with all logits."""
    lm = load(starts[kind], device="cpu")
    sums, counts = zip(*(by_hand(lm, row) for row in ROWS), strict=True)
    mean = sum(sums[1:], sums[0]) / sum(counts)
    mean.backward()
    [row] = tune(QUICK, tmp_path, starts[kind])
    assert row["loss"] == pytest.approx(mean.item(), abs=1e-5)
    assert row["tokens"] == sum(counts)
    assert row["gradient_norm"] == pytest.approx(gradients(lm).norm().item(), rel=1e-4)
    assert (row["step"], row["epoch"], row["learning_rate"]) == (1, 1, 1e-3)


def test_rankers_agree_on_what_a_completion_costs(starts: dict[str, str], tmp_path: Path) -> None:
    lm = load(starts["gpt2"], device="cpu")
    total = sum(completion_logprobs(lm, [(row["prompt"], row["completion"]) for row in ROWS]))
    [row] = tune(QUICK, tmp_path, starts["gpt2"])
    assert row["loss"] * row["tokens"] == pytest.approx(-total, abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_neighbours_change_nothing(starts: dict[str, str], kind: str) -> None:
    lm = load(starts[kind], device="cpu")
    trunk, head = trunk_and_head(lm.model)
    examples = [encode(row["prompt"], row["completion"], lm) for row in ROWS]
    longest = Example(tuple(range(5, 200)), (7, 8, 9))

    def loss_and_gradient(batch: Sequence[Example]) -> tuple[float, torch.Tensor]:
        loss = completion_logprob(trunk, head, batch, "cpu")
        loss.backward()
        return loss.item(), gradients(lm)

    alone = [loss_and_gradient([example]) for example in examples]
    total, gradient = sum(loss for loss, _ in alone), sum(g for _, g in alone)
    for batch in (examples, examples[::-1], [examples[i] for i in (3, 0, 4, 2, 1)]):
        loss, found = loss_and_gradient(batch)
        assert loss == pytest.approx(total, rel=1e-5)
        assert torch.allclose(found, gradient, atol=1e-4, rtol=1e-4)
    more, pulled = loss_and_gradient([longest])
    loss, found = loss_and_gradient([*examples, longest])
    assert loss - more == pytest.approx(total, rel=1e-5)
    assert torch.allclose(found - pulled, gradient, atol=1e-4, rtol=1e-4)


def test_only_states_that_predict_a_completion_get_a_gradient(starts: dict[str, str]) -> None:
    """Not those that predict the prompt or padding, and none behind the end token."""
    lm = load(starts["llama"], device="cpu")
    trunk, head = trunk_and_head(lm.model)
    examples = [encode(row["prompt"], row["completion"], lm) for row in ROWS]
    kept: list[torch.Tensor] = []

    def watched(**inputs: Any) -> Any:
        output = trunk(**inputs)
        output[0].retain_grad()
        kept.append(output[0])
        return output

    completion_logprob(watched, head, examples, "cpu").backward()
    pulled = kept[0].grad.abs().sum(-1) > 0
    for row, example in zip(pulled.tolist(), examples, strict=True):
        first, last = len(example.prompt) - 1, len(example) - 2
        assert [i for i, is_pulled in enumerate(row) if is_pulled] == list(range(first, last + 1))
    lm.model.zero_grad()


def test_targets_are_what_follows_and_masks_come_from_lengths() -> None:
    """The padding id, the end token and equal ids may all occur inside a text."""
    examples = [Example((0, 0, 5), (0, 0, 2)), Example((1,), (2,)), Example((9,), (0, 7, 0, 0, 0, 2))]
    ids, at, targets = padded(examples)
    assert ids.tolist() == [[0, 0, 5, 0, 0, 0], [1, 0, 0, 0, 0, 0], [9, 0, 7, 0, 0, 0]]
    assert at.tolist() == [2, 3, 4, 6, 12, 13, 14, 15, 16, 17]
    assert targets.tolist() == [0, 0, 2, 2, 0, 7, 0, 0, 0, 2]


def test_only_completion_states_are_projected(
    starts: dict[str, str], tmp_path: Path, monkeypatch: Any
) -> None:
    """Also in a model with dropout, in which two passes never agree."""
    widths: list[tuple[int, ...]] = []
    original = _imitation.token_logprobs

    def spy(states: torch.Tensor, *rest: Any) -> torch.Tensor:
        widths.append(tuple(states.shape))
        return original(states, *rest)

    monkeypatch.setattr(_imitation, "token_logprobs", spy)
    for kind in ("plain", "dropout"):
        start = starts["gpt2"] if kind == "plain" else str(with_dropout(tmp_path / "start"))
        [row] = tune(QUICK, tmp_path / kind, start)
        assert widths.pop() == (row["tokens"], 24)


def test_microbatches_are_one_big_batch(starts: dict[str, str], tmp_path: Path, monkeypatch: Any) -> None:
    parts: list[int] = []
    original = module.completion_logprob

    def spy(trunk: Any, head: Any, part: Sequence[Example], device: str) -> Any:
        parts.append(len(part))
        return original(trunk, head, part, device)

    monkeypatch.setattr(module, "completion_logprob", spy)
    strategy = replace(QUICK, epochs=3)
    whole = tune(strategy, tmp_path / "whole", starts["llama"])
    assert parts == [5, 5, 5]
    parts.clear()
    split = tune(replace(strategy, microbatch_tokens=1), tmp_path / "split", starts["llama"])
    assert parts == [1] * 15
    for one, other in zip(whole, split, strict=True):
        assert other == pytest.approx(one, rel=1e-5)
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.allclose(weights(tmp_path / "split")[name], tensor, atol=1e-5)
    # Padding counts: two rows of 30 and 70 tokens take 140.
    lengths, batch = [10, 30, 70], [0, 1, 2]
    assert list(replace(QUICK, microbatch_tokens=140).microbatches(batch, lengths)) == [[0, 1], [2]]
    assert list(replace(QUICK, microbatch_tokens=210).microbatches(batch, lengths)) == [[0, 1, 2]]


# --- batches and learning rate ----------------------------------------------------------------------------


def test_a_number_of_updates_takes_the_place_of_epochs(starts: dict[str, str], tmp_path: Path) -> None:
    lengths = list(range(1, 51))
    fixed = replace(QUICK, epochs=9, batch_size=4)
    whole = list(replace(fixed, n_updates=30).batches(lengths, 3))
    assert len(whole) == 30
    assert whole[:26] == list(replace(fixed, epochs=2).batches(lengths, 3)), "the same batches, cut off"
    assert len(list(replace(fixed, n_updates=5).batches(lengths, 3))) == 5
    log = tune(replace(QUICK, n_updates=4, batch_size=2), tmp_path, starts["llama"])
    assert [row["epoch"] for row in log] == [1, 1, 1, 2], "five rows in batches of two are three updates"
    with pytest.raises(UsageError, match="n_updates: 0 must be 1 or more"):
        replace(QUICK, n_updates=0)


def test_every_epoch_reads_every_row_once_in_an_order_of_its_own() -> None:
    rng = random.Random(0)
    lengths = [rng.randint(2, 81) for _ in range(50)]
    strategy = replace(QUICK, epochs=2, batch_size=4)
    batches = list(strategy.batches(lengths, 3))
    assert [len(batch) for batch in batches].count(4) == 24
    epochs = [[i for batch in half for i in batch] for half in (batches[:13], batches[13:])]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert list(strategy.batches(lengths, 3)) == batches
    assert list(strategy.batches(lengths, 4)) != batches
    # Like lengths together: at least two thirds of a batch is text, in random order 60 % would be.
    padded_to = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    assert 2 * sum(lengths) / padded_to > 0.75


def test_the_rate_warms_up_and_falls_along_a_cosine() -> None:
    strategy = replace(QUICK, learning_rate=1.0, warmup_share=0.1, final_share=0.2)
    rates = [strategy.rate(step, 42) for step in range(1, 43)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4 + 19 - 1] == pytest.approx(0.6)
    assert rates[-1] == pytest.approx(0.2)
    assert rates[3:] == sorted(rates[3:], reverse=True)
    # A quarter of the way down a cosine: cos(pi / 4).
    assert strategy.rate(4 + 10, 44) == pytest.approx(0.2 + 0.8 * (1 + math.sqrt(0.5)) / 2)
    assert strategy.rate(1, 1) == 1.0
    assert replace(strategy, warmup_share=0.0).rate(1, 10) == 1.0
    assert [replace(strategy, final_share=1.0).rate(s, 10) for s in (2, 10)] == [1.0, 1.0]


def test_updates_are_taken_at_the_rate_that_is_logged(starts: dict[str, str], tmp_path: Path) -> None:
    """The first AdamW step moves every weight that has a gradient by the rate (up to its epsilon)."""
    tune(replace(QUICK, learning_rate=1e-3), tmp_path, starts["llama"])
    before = load_file(Path(starts["llama"]) / "model.safetensors")
    moved = torch.cat([(weights(tmp_path)[name] - tensor).abs().flatten() for name, tensor in before.items()])
    assert moved.max().item() == pytest.approx(1e-3, rel=1e-3)
    assert moved.median().item() == pytest.approx(1e-3, rel=0.02)
    # And the second at the rate 0 moves nothing.
    log = tune(replace(QUICK, epochs=2, final_share=0.0), tmp_path / "two", starts["llama"])
    assert [row["learning_rate"] for row in log] == [1e-3, 0.0]
    assert all(
        torch.equal(weights(tmp_path / "two")[name], tensor) for name, tensor in weights(tmp_path).items()
    )


# --- what is written --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"lora_rank": 2}, {"lora_rank": 2, "merge": False}])
def test_same_seed_same_bytes_of_every_file(
    starts: dict[str, str], tmp_path: Path, how: dict[str, Any]
) -> None:
    strategy = replace(QUICK, epochs=2, batch_size=2, **how)
    logs = [tune(strategy, tmp_path / name, starts["gpt2"], seed=5) for name in ("one", "two")]
    assert logs[0] == logs[1]
    assert bytes_of(tmp_path / "one" / "model") == bytes_of(tmp_path / "two" / "model")
    tune(strategy, tmp_path / "other", starts["gpt2"], seed=6)
    [weight_file] = [path.name for path in (tmp_path / "one" / "model").glob("*.safetensors")]
    assert (
        bytes_of(tmp_path / "other" / "model")[weight_file]
        != bytes_of(tmp_path / "one" / "model")[weight_file]
    )


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(starts: dict[str, str], tmp_path: Path) -> None:
    """Sets and dictionaries are hashed differently there."""
    code = (
        "import sys; from pathlib import Path; from ilf.strategies.sft import SFT\n"
        "start, folder, *_ = sys.argv[1:]\n"
        "for name, how in (('full', {}), ('adapters', {'lora_rank': 2, 'merge': False})):\n"
        "    rows = [{'prompt': f'P{i}', 'completion': ' Tom.'} for i in range(6)]\n"
        "    strategy = SFT(batch_size=2, device='cpu', **how)\n"
        "    list(strategy.train(rows, Path(folder) / name, start=start, seed=1))\n"
    )
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-c", code, starts["llama"], str(tmp_path / hash_seed)]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": hash_seed}, timeout=240)
    for name in ("full", "adapters"):
        one, two = (bytes_of(tmp_path / hash_seed / name / "model") for hash_seed in ("1", "2"))
        assert one == two
        assert len(one) >= 5


def with_dropout(folder: Path) -> Path:
    tiny_model(folder, "gpt2")
    config = json.loads((folder / "config.json").read_text())
    config.update(resid_pdrop=0.3, embd_pdrop=0.3, attn_pdrop=0.3)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_dropout_is_on_and_drawn_from_the_seed(starts: dict[str, str], tmp_path: Path) -> None:
    """Whatever the caller draws while he reads the log."""
    start = str(with_dropout(tmp_path / "start"))
    strategy = replace(QUICK, epochs=3)
    log = tune(strategy, tmp_path / "one", start, seed=5)
    torch.manual_seed(77)
    again = []
    for row in strategy.train(ROWS, tmp_path / "two", start=start, seed=5):
        torch.rand(100)
        again.append(row)
    assert again == log
    assert bytes_of(tmp_path / "one" / "model") == bytes_of(tmp_path / "two" / "model")
    assert tune(strategy, tmp_path / "three", start, seed=6)[0]["loss"] != log[0]["loss"]
    # The weights are those of the model without dropout: its first loss is another.
    assert abs(tune(strategy, tmp_path / "four", starts["gpt2"], seed=5)[0]["loss"] - log[0]["loss"]) > 1e-3


@pytest.mark.parametrize("how", [{}, {"lora_rank": 2}])
def test_no_file_says_where_it_was_made(starts: dict[str, str], tmp_path: Path, how: dict[str, Any]) -> None:
    tune(replace(QUICK, **how), tmp_path, starts["llama"])
    files = list((tmp_path / "model").iterdir())
    assert {path.name for path in files} == {
        "README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
    for path in files:
        for place in (tmp_path, Path(starts["llama"]).parent, Path.cwd(), Path.home()):
            assert str(place).encode() not in path.read_bytes(), path.name


def test_the_card_says_what_was_done(starts: dict[str, str], tmp_path: Path) -> None:
    log = tune(replace(QUICK, epochs=2), tmp_path, starts["llama"], seed=9)
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "Tuned from `llama` with `SFT` on 5 rows, seed 9." in card
    assert f"completion tokens: {sum(row['tokens'] for row in log)}" in card
    assert f"first update {log[0]['loss']:.4f}, last {log[-1]['loss']:.4f}" in card
    assert '"learning_rate": 0.001' in card


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_a_checkpoint_in_half_precision_is_trained_and_saved_in_float32(
    starts: dict[str, str], tmp_path: Path, stored: torch.dtype
) -> None:
    start = tmp_path / "half"
    AutoModelForCausalLM.from_pretrained(starts["llama"]).to(stored).save_pretrained(start)
    AutoTokenizer.from_pretrained(starts["llama"]).save_pretrained(start)
    assert AutoModelForCausalLM.from_pretrained(start).dtype == stored
    tune(replace(QUICK, learning_rate=1e-5), tmp_path, str(start))
    assert {tensor.dtype for tensor in weights(tmp_path).values()} == {torch.float32}
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model").dtype == torch.float32
    # Steps of 1e-5 are below what half precision can tell apart.
    before = load_file(start / "model.safetensors")
    moved = [(weights(tmp_path)[name] - tensor.float()).abs().max().item() for name, tensor in before.items()]
    assert max(moved) == pytest.approx(1e-5, rel=0.05)


def test_models_that_are_in_use_do_not_change(starts: dict[str, str], tmp_path: Path) -> None:
    """A ranker and a generator hold the start model while it is trained, in full and with adapters."""
    ranker, generator = load(starts["llama"], device="cpu"), TransformersLM(starts["llama"], device="cpu")
    assert generator.lm is ranker
    before = {name: tensor.clone() for name, tensor in ranker.model.state_dict().items()}
    texts = generator.generate(["Tom"], 2, [1])
    for how in ({}, {"lora_rank": 2}):
        for row in replace(QUICK, epochs=2, **how).train(ROWS, tmp_path, start=starts["llama"], seed=0):
            assert not any(part.training for part in ranker.model.modules()), row
    after = ranker.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(parameter.grad is None for parameter in ranker.model.parameters())
    assert generator.generate(["Tom"], 2, [1]) == texts
    assert load(starts["llama"], device="cpu") is ranker


def test_the_log_is_whole_only_when_the_model_is_written(starts: dict[str, str], tmp_path: Path) -> None:
    strategy = replace(QUICK, epochs=3)
    states = [
        (tmp_path / "model" / "README.md").exists()
        for _ in strategy.train(ROWS, tmp_path, start=starts["llama"], seed=0)
    ]
    assert states == [False, False, True]


# --- adapters ---------------------------------------------------------------------------------------------


def logits_of(folder: Path, prompt: str = ROWS[0]["prompt"]) -> torch.Tensor:
    lm = load(str(folder), device="cpu")
    with torch.no_grad():
        return lm.model(torch.tensor([lm.prompt_ids(prompt)])).logits


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_merged_and_by_themselves_are_the_same_model(
    starts: dict[str, str], tmp_path: Path, kind: str, monkeypatch: Any
) -> None:
    strategy = replace(QUICK, epochs=4, batch_size=2, learning_rate=1e-2, lora_rank=4)
    start = bytes_of(Path(starts[kind]))
    merged = tune(strategy, tmp_path / "merged", starts[kind])
    apart = tune(replace(strategy, merge=False), tmp_path / "apart", starts[kind])
    assert bytes_of(Path(starts[kind])) == start
    assert merged == apart
    assert merged[-1]["loss"] < merged[0]["loss"]
    assert not (tmp_path / "apart" / "model" / "model.safetensors").exists()
    adapters = logits_of(tmp_path / "apart" / "model")
    texts = TransformersLM(str(tmp_path / "apart" / "model"), device="cpu", max_new_tokens=8).generate(
        ["A"], 3, [1]
    )
    # Merged weights need no peft.
    monkeypatch.setitem(sys.modules, "peft", None)
    assert not list((tmp_path / "merged" / "model").glob("adapter*"))
    found = logits_of(tmp_path / "merged" / "model")
    assert torch.allclose(found, adapters, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found, logits_of(Path(starts[kind])), atol=1e-2)
    merged_lm = TransformersLM(str(tmp_path / "merged" / "model"), device="cpu", max_new_tokens=8)
    assert merged_lm.generate(["A"], 3, [1]) == texts


def test_adapter_files_do_not_depend_on_the_order_of_sets(starts: dict[str, str], tmp_path: Path) -> None:
    """peft keeps the names of layers in a set, whose order changes from process to process."""
    tune(replace(QUICK, lora_rank=2, merge=False), tmp_path, starts["llama"])
    config = json.loads((tmp_path / "model" / "adapter_config.json").read_text())
    assert config["target_modules"] == sorted(config["target_modules"])
    assert len(config["target_modules"]) == 14
    card = (tmp_path / "model" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers")


def test_adapters_on_named_layers_move_those_alone(starts: dict[str, str], tmp_path: Path) -> None:
    tune(replace(QUICK, lora_rank=2, lora_targets=("q_proj",)), tmp_path, starts["llama"])
    before = load_file(Path(starts["llama"]) / "model.safetensors")
    moved = {name for name, tensor in before.items() if not torch.equal(tensor, weights(tmp_path)[name])}
    assert moved == {f"model.layers.{i}.self_attn.q_proj.weight" for i in range(2)}
    with pytest.raises(ComponentError, match=r"lora_targets.*no_such_layer"):
        tune(replace(QUICK, lora_rank=2, lora_targets=("no_such_layer",)), tmp_path / "x", starts["llama"])


# --- chats ------------------------------------------------------------------------------------------------


def chat_lm(folder: Path, template: str, eos: str = EOS) -> LM:
    """The tiny chat model with another template."""
    tiny_model(folder, chat=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return load(str(folder), device="cpu")


MESSAGES = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Yes?"},
    {"role": "user", "content": "Go"},
]
TURNS = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}"
OPEN = "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"


def told(lm: LM, example: Example) -> tuple[str, str]:
    return lm.tokenizer.decode(example.prompt), lm.tokenizer.decode(example.completion)


def test_a_chat_ends_with_the_end_token_and_nothing_behind_it(tmp_path: Path) -> None:
    lm = chat_lm(tmp_path / "m", TURNS + EOS + "\n" + OPEN)
    assert told(lm, encode("Hi", "  Tom broke it. \n", lm)) == (
        f"<user>Hi{EOS}\n<assistant>",
        f"Tom broke it.{EOS}",
    )
    assert told(lm, encode(MESSAGES, "Gone", lm)) == (
        f"<user>Hi{EOS}\n<assistant>Yes?{EOS}\n<user>Go{EOS}\n<assistant>",
        f"Gone{EOS}",
    )


def test_a_template_without_an_end_token_gets_one(starts: dict[str, str]) -> None:
    lm = load(starts["chat"], device="cpu")
    assert told(lm, encode("Hi", "Tom", lm)) == ("<|user|>Hi\n<|assistant|>", f"Tom{EOS}")


def test_what_is_trained_is_what_is_sampled(starts: dict[str, str]) -> None:
    """The prompt's ids are those that the generator asks with, for texts, chats and nothing at all."""
    for name in ("chat", "llama", "gpt2"):
        generator = TransformersLM(starts[name], device="cpu")
        for prompt in ("Hi there", "", *([MESSAGES] if name == "chat" else [])):
            assert list(encode(prompt, " x", generator.lm).prompt) == generator.prompt_ids(prompt)
    never = TransformersLM(starts["chat"], device="cpu", chat="never")
    assert list(encode("Hi", " x", never.lm, chat="never").prompt) == never.prompt_ids("Hi")


def test_a_begin_token_stands_before_the_prompt_and_nowhere_else(tmp_path: Path) -> None:
    lm = load(str(tiny_model(tmp_path / "m", bos=True)), device="cpu")
    assert told(lm, encode("Tom", " broke", lm)) == ("<|begin|>Tom", f" broke{EOS}")
    assert told(lm, encode("", " broke", lm)) == ("<|begin|>", f" broke{EOS}")


def test_a_template_that_rewrites_the_prompt_is_refused(tmp_path: Path) -> None:
    """As reasoning templates do, which strip earlier turns once an answer follows."""
    rewriting = "{% if messages|length > 1 %}<short>{% endif %}" + TURNS + OPEN
    lm = chat_lm(tmp_path / "m", rewriting)
    with pytest.raises(ComponentError, match=r"changes the prompt once an answer follows.*chat=never"):
        encode("Hi", "Tom", lm)
    assert encode("Hi", " Tom", lm, chat="never").prompt
    with pytest.raises(ComponentError, match="changes the prompt"):
        tune(QUICK, tmp_path, str(tmp_path / "m"))


def test_messages_need_a_template_and_its_consent(starts: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ComponentError, match="no chat template.*Use an instruct model"):
        encode(MESSAGES, "x", load(starts["llama"], device="cpu"))
    lm = chat_lm(tmp_path / "m", "{{ raise_exception('roles must alternate') }}")
    with pytest.raises(DataError, match="refuses these messages: roles must alternate"):
        encode(MESSAGES, "x", lm)


# --- refusals ---------------------------------------------------------------------------------------------


def test_no_rows_and_rows_that_are_too_long_are_refused(starts: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no row to learn from"):
        tune(QUICK, tmp_path, starts["llama"], rows=[])
    lm = load(starts["llama"], device="cpu")
    lengths = [len(encode(row["prompt"], row["completion"], lm)) for row in ROWS]
    most = sorted(lengths)[-2]
    with pytest.raises(DataError) as refused:
        tune(replace(QUICK, max_tokens=most - 1), tmp_path, starts["llama"])
    for i, length in enumerate(lengths, start=1):
        assert (f"row {i}: {length} tokens" in str(refused.value)) == (length >= most)
    assert f"max_tokens is {most - 1}" in str(refused.value)
    assert not (tmp_path / "model").exists()


def test_rows_beyond_the_models_positions_are_refused(tmp_path: Path) -> None:
    """33 tokens fit into 32 positions, since the last one is only predicted."""
    start = str(tiny_model(tmp_path / "m", "gpt2", positions=32))
    fitting = {"prompt": "z" * 20, "completion": "y" * 12}
    assert len(tune(QUICK, tmp_path, start, rows=[fitting])) == 1
    with pytest.raises(
        DataError, match=r"longer than 33 tokens.*the model has 32 positions.*\n.*row 2: 34 tokens"
    ):
        tune(QUICK, tmp_path, start, rows=[fitting, {**fitting, "completion": "y" * 13}])


def test_a_loss_that_is_no_number_ends_training_with_advice(starts: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ComponentError, match=r"at update \d+ of 6.*Lower learning_rate \(now 1e\+30\)"):
        tune(replace(QUICK, epochs=6, learning_rate=1e30), tmp_path, starts["llama"])
    assert not (tmp_path / "model").exists()


def test_a_gradient_that_is_no_number_ends_it_too(
    starts: dict[str, str], tmp_path: Path, monkeypatch: Any
) -> None:
    """A finite loss may have one, and the weights would be lost without a word if the update were the last."""
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda parameters, clip: torch.tensor(math.inf))
    with pytest.raises(ComponentError, match=r"its gradient inf at update 1 of 1"):
        tune(QUICK, tmp_path, starts["llama"])


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"microbatch_tokens": 0}, "microbatch_tokens"),
        ({"lora_rank": 0}, "lora_rank"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"clip": 0.0}, "clip"),
        ({"warmup_share": 1.0}, "warmup_share"),
        ({"final_share": -0.1}, "final_share"),
        ({"weight_decay": -1.0}, "weight_decay"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        SFT(**settings)


def test_an_unknown_start_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ComponentError, match=r"nowhere' cannot be loaded.*Start from a folder"):
        tune(QUICK, tmp_path, str(tmp_path / "nowhere"))
    with pytest.raises(RankerError):
        load(str(tmp_path / "nowhere"))


# --- it learns --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2", "chat"])
def test_it_learns_what_it_is_shown(starts: dict[str, str], tmp_path: Path, kind: str) -> None:
    """Twenty equal rows: the loss falls, and the answer is the completion, its leading space kept, and then stops."""
    row = ROWS[0] if kind != "chat" else {**ROWS[0], "completion": ROWS[0]["completion"].strip()}
    strategy = SFT(epochs=16, batch_size=4, learning_rate=1e-2, device="cpu")
    log = tune(strategy, tmp_path, starts[kind], rows=[row] * 20)
    assert len(log) == 80
    assert log[-1]["loss"] < 0.1 * log[0]["loss"]
    tuned = TransformersLM(str(tmp_path / "model"), temperature=0.0, max_new_tokens=40, device="cpu")
    [[answer]] = tuned.generate([row["prompt"]], 1, [0])
    assert answer == row["completion"]
