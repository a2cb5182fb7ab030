"""The decoding loop: who is decoded together, when finished sequences leave, and models that are unlike the others."""

from __future__ import annotations

import inspect
import itertools
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_models import tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer, BloomConfig, GraniteConfig, MptConfig

from ilf import _decode
from ilf._decode import Request, _batches, _cache_tokens, decode, draw
from ilf.errors import ComponentError
from ilf.generators.transformers_lm import TransformersLM

PROMPTS = [
    "POST: My name is Tom. I broke the kettle. It cost me 270 coins.\nTL;DR:",
    "A",
    "Anna, a cook, had trouble with a lamp during a storm in Brimley, and says so at some length.\nTL;DR:",
]
SEEDS = [11, 12, 13]
#: Shapes without a table of positions (their forward takes none), and one that scales its logits.
UNLIKE: dict[str, Any] = {
    "bloom": BloomConfig(hidden_size=24, n_layer=2, n_head=2, hidden_dropout=0.0, attention_dropout=0.0),
    "mpt": MptConfig(d_model=24, n_layers=2, n_heads=2, max_seq_len=512),
    "granite": GraniteConfig(
        hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        logits_scaling=0.2, max_position_embeddings=512,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> TransformersLM:
    folder = tiny_model(tmp_path_factory.mktemp("models") / "llama")
    return TransformersLM(str(folder), max_new_tokens=200, temperature=3.0, device="cpu")


@pytest.mark.parametrize("kind", UNLIKE)
def test_unlike_models_say_greedily_what_generate_says(
    generator: TransformersLM, tmp_path: Path, kind: str
) -> None:
    config, tokenizer = UNLIKE[kind], AutoTokenizer.from_pretrained(generator.model)
    for name, value in {"vocab_size": 300, "initializer_range": 0.2, "eos_token_id": 0}.items():
        setattr(config, name, value)
    config.bos_token_id, config.pad_token_id = 0, 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    greedy = TransformersLM(str(tmp_path), temperature=0.0, max_new_tokens=12, device="cpu")
    expected = []
    for prompt in PROMPTS:
        ids = torch.tensor([greedy.prompt_ids(prompt)])
        asked = {"attention_mask": torch.ones_like(ids), "do_sample": False, "max_new_tokens": 12}
        answer = greedy.lm.model.generate(ids, **asked)[0, ids.shape[1] :]
        expected.append([tokenizer.decode(answer, skip_special_tokens=True)])
    assert greedy.generate(PROMPTS, 1, SEEDS) == expected
    sampler = replace(greedy, temperature=1.0)
    alone = [sampler.generate([p], 3, [s])[0] for p, s in zip(PROMPTS, SEEDS, strict=True)]
    assert sampler.generate(PROMPTS, 3, SEEDS) == alone


def test_a_model_gets_only_what_it_takes(generator: TransformersLM) -> None:
    """Also one that knows its cache by the name that transformers gave it before 5.24."""
    inner = generator.lm.model
    word = "cache" if "cache" in inspect.signature(inner.forward).parameters else "past_key_values"

    class Strict(torch.nn.Module):
        config, dtype, generation_config = inner.config, inner.dtype, inner.generation_config

        def forward(
            self, input_ids: Any, attention_mask: Any, use_cache: bool, past_key_values: Any = None
        ) -> Any:
            positions = (attention_mask.cumsum(1) - 1).clamp(0)[:, -input_ids.shape[1] :]
            output = inner(
                input_ids, attention_mask=attention_mask, position_ids=positions, use_cache=use_cache,
                **{word: past_key_values},
            )  # fmt: skip
            return SimpleNamespace(logits=output.logits, past_key_values=getattr(output, word))

    requests = [Request(generator.prompt_ids(p), s, 2) for p, s in zip(PROMPTS, SEEDS, strict=True)]
    how = {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 8, "stop": (), "batch_size": 256}
    assert decode(replace(generator.lm, model=Strict()), requests, **how) == decode(
        generator.lm, requests, **how
    )


@pytest.mark.parametrize("stop", [(), ("To",)])
def test_when_finished_sequences_leave_changes_nothing(
    generator: TransformersLM, monkeypatch: pytest.MonkeyPatch, stop: tuple[str, ...]
) -> None:
    """Token for token, also of those that stopped at a text and stay a while."""
    requests = [Request(generator.prompt_ids(p), s, 8) for p, s in zip(PROMPTS, SEEDS, strict=True)]
    how = {"temperature": 3.0, "top_p": 1.0, "max_new_tokens": 200, "stop": stop, "batch_size": 256}
    found, passes = [], []
    for share in (1e-9, 1 / 8, 0.5, 1.1):
        monkeypatch.setattr(_decode, "_LEAVING_SHARE", share)
        rows: list[int] = []
        hook = generator.lm.model.model.register_forward_hook(
            lambda _, args, kwargs, out, rows=rows: rows.append(len(kwargs["input_ids"])), with_kwargs=True
        )
        try:
            found.append(decode(generator.lm, requests, **how))
        finally:
            hook.remove()
        passes.append(rows[1:])
    assert all(tokens == found[0] for tokens in found)
    lengths = {len(tokens) for row in found[0] for tokens in row}
    assert len(lengths) > 4, "sequences that end at different times, or nothing is tested"
    at_once, by_eighths, by_halves, never = passes
    assert set(never) == {24}
    assert sum(at_once) < sum(by_eighths) < sum(by_halves) < sum(never)
    # Copies of the cache, which is what waiting saves.
    changes = [sum(a != b for a, b in itertools.pairwise(rows)) for rows in passes]
    assert changes[0] >= changes[1] > changes[2] > changes[3] == 0


def test_batches_are_bounded_by_count_and_by_memory() -> None:
    requests = [Request([1] * length, 0, 4) for length in (30, 10, 10, 50, 10, 300)]

    def cut(batch_size: int, cache_tokens: int) -> list[list[int]]:
        return list(_batches(requests, batch_size, cache_tokens, max_new_tokens=10))

    assert cut(100, 10**6) == [[1, 2, 4, 0, 3, 5]]
    assert cut(8, 10**6) == [[1, 2], [4, 0], [3, 5]]
    # 12 sequences of 20 tokens are 240, the next one would make it 16 of 40.
    assert cut(100, 639) == [[1, 2, 4], [0, 3], [5]]
    assert cut(100, 640) == [[1, 2, 4, 0], [3], [5]]
    # One request is decoded however large it is.
    assert cut(1, 1) == [[1], [2], [4], [0], [3], [5]]
    assert list(_batches([], 8, 8, 8)) == []


def test_a_small_cache_changes_nothing(generator: TransformersLM, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = generator.generate(PROMPTS, 8, SEEDS)
    monkeypatch.setattr(_decode, "_CACHE_BYTES", 1)
    sizes: list[int] = []
    hook = generator.lm.model.model.register_forward_hook(
        lambda _, args, kwargs, out: sizes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    try:
        assert generator.generate(PROMPTS, 8, SEEDS) == expected
    finally:
        hook.remove()
    assert max(sizes) == 8


def test_the_cache_of_a_model_is_counted_as_it_is_made(generator: TransformersLM) -> None:
    """Against the tensors of a real cache; grouped heads, and configurations that say nothing."""
    model = generator.lm.model
    with torch.no_grad():
        cache = model(torch.arange(40)[None], use_cache=True)
    layers = getattr(cache, "cache", None) or cache.past_key_values
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in layers.layers)
    assert _cache_tokens(model) == _decode._CACHE_BYTES // (held // 40)

    def fake(**names: Any) -> Any:
        config = SimpleNamespace(**names)
        return SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: config), dtype=torch.bfloat16)

    named = {"num_hidden_layers": 24, "num_attention_heads": 14, "hidden_size": 896}
    assert _cache_tokens(fake(**named, num_key_value_heads=2)) == 2**30 // (2 * 24 * 2 * 64 * 2)
    assert _cache_tokens(fake(**named, head_dim=128)) == 2**30 // (2 * 24 * 14 * 128 * 2)
    assert _cache_tokens(fake(n_layers=3)) > 2**50


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_no_numbers_are_refused(temperature: float, bad: float) -> None:
    """They would be drawn as the last token of the vocabulary, again and again, without a word."""
    logits = torch.zeros(3, 7)
    uniforms = torch.full((3,), 0.5, dtype=torch.float64)
    assert len(draw(logits, uniforms, temperature, 1.0)) == 3
    logits[1, 4] = bad
    with pytest.raises(ComponentError, match="not finite.*dtype=float32"):
        draw(logits, uniforms, temperature, 1.0)
    # A token that a model rules out is nothing to complain about.
    ruled_out = torch.zeros(1, 3)
    ruled_out[0, :2] = -math.inf
    assert draw(ruled_out, uniforms[:1], temperature, 0.9).tolist() == [2]
