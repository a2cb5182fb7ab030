from __future__ import annotations

import hashlib
import json
import math
import random
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ilf.errors import ComponentError, UsageError
from ilf.protocols import Strategy
from ilf.strategies.pretrain import Pretrain
from ilf.worlds.nano import Nano

TINY = {
    "tokens": 6000,
    "tokenizer_episodes": 200,
    "vocabulary": 500,
    "hidden": 32,
    "intermediate": 64,
    "layers": 1,
    "heads": 2,
    "warmup_steps": 5,
    "batch_size": 8,
    "log_every": 3,
    "device": "cpu",
}


def tiny(**changed) -> Pretrain:
    return Pretrain(world=Nano(), **{**TINY, **changed})


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    folder = tmp_path_factory.mktemp("pretrain")
    return folder, list(tiny().train([], folder, start="", seed=3))


def test_the_folder_loads_as_float32_without_a_word_about_precision(run: tuple) -> None:
    folder = run[0] / "model"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.dtype == torch.float32
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert model.config.vocab_size == len(tokenizer)
    assert tokenizer.eos_token_id == model.config.eos_token_id == model.generation_config.eos_token_id
    assert tokenizer.pad_token_id == model.generation_config.pad_token_id != tokenizer.eos_token_id
    assert tokenizer.model_max_length == 512
    assert "_name_or_path" not in json.loads((folder / "config.json").read_text())
    text = " Alvo, a pilot, broke her lamp.\nBETTER: Ünlikely €"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_log_counts_tokens(run: tuple) -> None:
    _, log = run
    assert log[-1]["tokens"] >= TINY["tokens"] > log[-2]["tokens"]
    assert [row["step"] for row in log[:2]] == [3, 6]
    assert log[-1]["loss"] < log[0]["loss"] < math.log(600)
    assert not any("second" in key or "time" in key for key in log[0])


def test_same_seed_same_bytes_and_another_seed_others(run: tuple, tmp_path: Path) -> None:
    torch.manual_seed(99)  # the caller's generator neither matters nor moves
    before = torch.get_rng_state()
    log = list(tiny().train([], tmp_path / "again", start="", seed=3))
    assert torch.equal(before, torch.get_rng_state())
    assert hashes(tmp_path / "again" / "model") == hashes(run[0] / "model")
    assert [row["loss"] for row in log] == [row["loss"] for row in run[1]]
    list(tiny(tokens=1000).train([], tmp_path / "other", start="", seed=4))
    assert (
        hashes(tmp_path / "other" / "model")["model.safetensors"]
        != hashes(run[0] / "model")["model.safetensors"]
    )


def test_half_precision_halves_the_file(run: tuple, tmp_path: Path) -> None:
    list(tiny(stored="float32").train([], tmp_path, start="", seed=3))
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "model").state_dict()
    half = AutoModelForCausalLM.from_pretrained(run[0] / "model").state_dict()
    assert all(torch.equal(half[name], tensor.half().float()) for name, tensor in whole.items())
    sizes = [(folder / "model" / "model.safetensors").stat().st_size for folder in (run[0], tmp_path)]
    assert sizes[0] < 0.6 * sizes[1]


def test_loss_is_minus_the_log_probability_of_completions_and_their_end_alone(run: tuple) -> None:
    """Against the definition: one unpadded text at a time, full logits, a sum over the tokens that count."""
    model = AutoModelForCausalLM.from_pretrained(run[0] / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(run[0] / "model")
    batch = next(tiny()._batches(tokenizer, random.Random(1)))
    assert len({len(ids) for ids, _ in batch}) > 1
    expected, n = 0.0, 0
    for ids, n_prompt in batch:
        assert ids[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(ids[:n_prompt]).endswith((":",))
        assert tokenizer.decode(ids[n_prompt:]).startswith(" ")
        logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        expected -= sum(logprobs[t - 1, ids[t]].item() for t in range(n_prompt, len(ids)))
        n += len(ids) - n_prompt
    loss, count = tiny()._loss(model, batch, "cpu")
    assert count == n
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_rate_warms_up_holds_and_falls_along_a_cosine() -> None:
    strategy = Pretrain(world=Nano(), tokens=1000, learning_rate=1.0, warmup_steps=10, hold=0.5)
    assert strategy.rate(1, 0) == pytest.approx(0.1)
    assert strategy.rate(10, 20) == strategy.rate(40, 500) == 1.0
    assert strategy.rate(60, 750) == pytest.approx(0.51)
    assert strategy.rate(99, 1000) == pytest.approx(0.02)


def test_it_is_a_strategy_that_needs_no_rows() -> None:
    assert isinstance(tiny(), Strategy)
    assert tiny().needs == ()


def test_settings_that_make_no_schedule_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="hold"):
        tiny(hold=1.0)
    with pytest.raises(UsageError, match="tokens"):
        tiny(tokens=0)
    with pytest.raises(ComponentError, match="raise context_tokens"):
        list(tiny(context_tokens=40).train([], tmp_path, start="", seed=0))
