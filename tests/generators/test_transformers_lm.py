"""Sampling: against ``model.generate``, against softmax, and independent of everything but prompt and seed."""

from __future__ import annotations

import collections
import json
import pickle
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from tiny_models import EOS, tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer, MambaConfig, MistralConfig

from ilf._decode import Request, decode, draw
from ilf.errors import ComponentError, DataError, UsageError
from ilf.generators.transformers_lm import TransformersLM

KINDS = ("llama", "qwen2", "gpt2", "mistral")
PROMPTS = [
    "POST: My name is Tom. I broke the kettle. It cost me 270 coins.\nTL;DR:",
    "A",
    "Anna, a cook, had trouble with a lamp during a storm in Brimley, and says so at some length.\nTL;DR:",
    "def add(a, b):\n",
]
SEEDS = [11, 12, 13, 14]
SIZES = {
    "vocab_size": 300, "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "initializer_range": 0.2,
    "eos_token_id": 0, "pad_token_id": 1, "bos_token_id": None,
}  # fmt: skip


def saved(config: Any, folder: Path, tokenizer: Any) -> Path:
    """A random model of a shape that ``tiny_model`` does not have."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    made = {kind: tiny_model(folder / kind, kind) for kind in KINDS[:3]}
    # A window shorter than the prompts, so that it matters.
    windowed = MistralConfig(sliding_window=16, num_attention_heads=2, num_key_value_heads=2, **SIZES)
    made["mistral"] = saved(windowed, folder / "mistral", AutoTokenizer.from_pretrained(made["llama"]))
    return made


@pytest.fixture(scope="module")
def generators(folders: dict[str, Path]) -> dict[str, TransformersLM]:
    return {
        kind: TransformersLM(str(folder), max_new_tokens=16, device="cpu") for kind, folder in folders.items()
    }


def by_generate(generator: TransformersLM, prompt: str, **how: Any) -> str:
    """What ``model.generate`` says greedily to one unpadded prompt."""
    ids = torch.tensor([generator.lm.prompt_ids(prompt)])
    asked = {"attention_mask": torch.ones_like(ids), "do_sample": False, "max_new_tokens": 16, **how}
    answer = generator.lm.model.generate(ids, **asked)[0, ids.shape[1] :]
    return str(generator.lm.tokenizer.decode(answer, skip_special_tokens=True))


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_is_what_generate_says(generators: dict[str, TransformersLM], kind: str) -> None:
    """Prompts of unequal length in one batch, padded on the left, against one by one without padding."""
    greedy = replace(generators[kind], temperature=0.0)
    expected = [[by_generate(greedy, prompt)] * 3 for prompt in PROMPTS]
    assert greedy.generate(PROMPTS, 3, SEEDS) == expected
    assert len({row[0] for row in expected}) > 2


@pytest.mark.parametrize("kind", KINDS)
def test_batches_and_order_change_nothing(generators: dict[str, TransformersLM], kind: str) -> None:
    whole = generators[kind].generate(PROMPTS, 4, SEEDS)
    assert len({text for row in whole for text in row}) > 12
    for size in (1, 3, 256):
        assert replace(generators[kind], batch_size=size).generate(PROMPTS, 4, SEEDS) == whole
    assert generators[kind].generate(PROMPTS[::-1], 4, SEEDS[::-1]) == whole[::-1]
    assert [generators[kind].generate([p], 4, [s])[0] for p, s in zip(PROMPTS, SEEDS, strict=True)] == whole


def test_a_copy_does_not_depend_on_how_many_there_are(generators: dict[str, TransformersLM]) -> None:
    eight = generators["llama"].generate(PROMPTS, 8, SEEDS)
    assert [row[:4] for row in eight] == generators["llama"].generate(PROMPTS, 4, SEEDS)
    assert all(len(set(row)) > 4 for row in eight)


def test_the_seed_decides(generators: dict[str, TransformersLM]) -> None:
    generate = generators["llama"].generate
    assert generate(PROMPTS, 2, SEEDS) == generate(PROMPTS, 2, SEEDS)
    assert generate(PROMPTS, 2, [s + 1 for s in SEEDS]) != generate(PROMPTS, 2, SEEDS)
    assert generate(["A", "A"], 1, [1, 2])[0] != generate(["A", "A"], 1, [1, 2])[1]


def p_value(counts: collections.Counter[int], expected: torch.Tensor) -> float:
    """Of Pearson's chi-square, tokens expected fewer than five times pooled."""
    rare = expected < 5
    observed = torch.tensor([float(counts[token]) for token in range(len(expected))])
    statistic = ((observed - expected) ** 2 / expected)[~rare].sum()
    statistic += (observed[rare].sum() - expected[rare].sum()) ** 2 / expected[rare].sum()
    return float(chi2.sf(statistic.item(), int((~rare).sum())))


@pytest.mark.parametrize("temperature", [0.3, 0.6])
def test_frequencies_are_those_of_softmax(generators: dict[str, TransformersLM], temperature: float) -> None:
    """First tokens, and second tokens behind the commonest first one: 6,000 samples from one prefill."""
    lm = generators["gpt2"].lm
    ids = lm.prompt_ids(PROMPTS[0])
    how = {"temperature": temperature, "top_p": 1.0, "max_new_tokens": 2, "stop": (), "batch_size": 256}
    samples = decode(lm, [Request(ids, 5, 6000)], **how)[0]
    end = lm.tokenizer.eos_token_id

    def expected(context: list[int], n: int) -> torch.Tensor:
        with torch.no_grad():
            logits = lm.model(torch.tensor([context])).logits[0, -1].double()
        return n * torch.softmax(logits / temperature, -1)

    firsts = collections.Counter((sample or [end])[0] for sample in samples)
    assert p_value(firsts, expected(ids, len(samples))) > 1e-3
    common = max((n, token) for token, n in firsts.items() if token != end)[1]
    seconds = collections.Counter((s[1:] or [end])[0] for s in samples if s[:1] == [common])
    assert seconds.total() > 300
    assert p_value(seconds, expected([*ids, common], seconds.total())) > 1e-3
    # The other temperature would not pass.
    assert p_value(firsts, len(samples) * torch.softmax(expected(ids, 1).log() * 1.2, -1)) < 1e-6


def kept_by_definition(probabilities: list[float], top_p: float) -> dict[int, float]:
    """The likeliest tokens, taken one by one until they hold ``top_p``; their probabilities, made to sum to one."""
    kept: dict[int, float] = {}
    for token in sorted(range(len(probabilities)), key=lambda i: -probabilities[i]):
        if sum(kept.values()) >= top_p:
            break
        kept[token] = probabilities[token]
    return {token: p / sum(kept.values()) for token, p in kept.items()}


@pytest.mark.parametrize("top_p", [1e-9, 0.3, 0.62, 0.95, 1.0])
@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_top_p_keeps_the_likeliest_and_no_more(top_p: float, temperature: float) -> None:
    """Evenly spaced uniforms must find every kept token as often as its probability says, and no other."""
    generator = torch.Generator().manual_seed(1)
    n = 4000
    uniforms = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    for logits in 2 * torch.randn(5, 12, generator=generator):
        probabilities = torch.softmax(logits.double() / temperature, -1).tolist()
        expected = kept_by_definition(probabilities, top_p)
        found = collections.Counter(draw(logits.expand(n, -1), uniforms, temperature, top_p).tolist())
        assert set(found) <= set(expected)
        for token, p in expected.items():
            assert found[token] / n == pytest.approx(p, abs=1.1 / n)


def test_equal_logits_share_the_mass_and_the_ends_of_the_unit_interval_are_tokens() -> None:
    ends = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    assert draw(torch.tensor([[-1e9, 0.0, 0.0, -1e9]]).expand(2, -1), ends, 1.0, 1.0).tolist() == [1, 2]
    # Which of equals stays under top_p must not depend on the batch: the first.
    assert draw(torch.zeros(2, 50), ends, 1.0, 0.01).tolist() == [0, 0]


def test_one_prefill_serves_all_samples_and_finished_ones_leave(
    generators: dict[str, TransformersLM],
) -> None:
    generator, shapes = generators["llama"], []
    hook = generator.lm.model.model.register_forward_hook(
        lambda _, args, kwargs, out: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    try:
        texts = replace(generator, max_new_tokens=120, temperature=2.0).generate(PROMPTS, 8, SEEDS)
    finally:
        hook.remove()
    assert shapes[0][0] == len(PROMPTS)
    rows = [rows for rows, length in shapes[1:] if length == 1]
    assert rows[0] == 8 * len(PROMPTS)
    assert rows == sorted(rows, reverse=True)
    assert rows[-1] < rows[0]
    assert not any(EOS in text for row in texts for text in row)


def test_every_end_token_ends_a_text(folders: dict[str, Path], tmp_path: Path) -> None:
    """A chat model has several: the tokenizer's and those of its generation config."""
    plain = TransformersLM(str(folders["llama"]), temperature=0.0, max_new_tokens=16, device="cpu")
    [tokens] = decode_greedily(plain, PROMPTS[0])
    later = next(token for token in tokens[3:] if token not in tokens[:3])
    folder = tiny_model(tmp_path / "ends", "llama")
    config = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**config, "eos_token_id": [299, later]}))
    ends = TransformersLM(str(folder), temperature=0.0, max_new_tokens=16, device="cpu")
    assert decode_greedily(ends, PROMPTS[0]) == [tokens[: tokens.index(later)]]
    assert ends.generate(PROMPTS[:1], 1, [0]) == [
        [by_generate(ends, PROMPTS[0]).removesuffix(ends._decoded([later]))]
    ]


def test_the_tokenizers_end_token_ends_a_text_too(folders: dict[str, Path], tmp_path: Path) -> None:
    plain = TransformersLM(str(folders["llama"]), temperature=0.0, max_new_tokens=16, device="cpu")
    [tokens] = decode_greedily(plain, PROMPTS[0])
    folder = tiny_model(tmp_path / "end", "llama")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(tokens[2])
    tokenizer.save_pretrained(folder)
    ends = TransformersLM(str(folder), temperature=0.0, max_new_tokens=16, device="cpu")
    assert decode_greedily(ends, PROMPTS[0]) == [tokens[: tokens.index(tokens[2])]]


def decode_greedily(generator: TransformersLM, prompt: str) -> list[list[int]]:
    request = Request(generator.prompt_ids(prompt), 0, 1)
    how = {"temperature": 0.0, "top_p": 1.0, "max_new_tokens": 16, "stop": generator.stop, "batch_size": 4}
    return decode(generator.lm, [request], **how)[0]


def test_stop_texts_cut_at_the_first_and_end_the_work(generators: dict[str, TransformersLM]) -> None:
    sampler = replace(generators["gpt2"], max_new_tokens=60)
    [[text]] = sampler.generate(PROMPTS[:1], 1, [3])
    # Pairs of letters whose second one stands there for the first time.
    news = [
        i for i in range(5, len(text) - 1) if text[i : i + 2].isascii() and text[i + 1] not in text[: i + 1]
    ]
    first, second = (text[i : i + 2] for i in (news[0], news[-1]))
    assert 5 <= text.index(first) < text.index(second)
    stopping = replace(sampler, stop=(second, first))
    assert stopping.generate(PROMPTS[:1], 1, [3]) == [[text[: text.index(first)]]]
    assert replace(sampler, stop=("never said",)).generate(PROMPTS[:1], 1, [3]) == [[text]]
    # Two that end with the same token: the one that begins first.
    assert replace(sampler, stop=(first[1], first)).generate(PROMPTS[:1], 1, [3]) == [
        [text[: text.index(first)]]
    ]
    # Neighbours go on.
    together = stopping.generate(PROMPTS, 3, [3, *SEEDS[1:]])
    assert [row[1:] for row in together] == [
        [cut(t, (first, second)) for t in row[1:]] for row in sampler.generate(PROMPTS, 3, [3, *SEEDS[1:]])
    ]
    request = [Request(sampler.prompt_ids(PROMPTS[0]), 3, 1)]
    how = {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 60, "batch_size": 1}
    [[short]], [[long]] = (
        decode(sampler.lm, request, stop=(first,), **how),
        decode(sampler.lm, request, stop=(), **how),
    )
    assert len(short) < len(long)


def cut(text: str, stops: tuple[str, ...]) -> str:
    return min((text.partition(stop)[0] for stop in stops), key=len)


def test_messages_are_rendered_by_the_template(tmp_path: Path) -> None:
    chat = TransformersLM(
        str(tiny_model(tmp_path / "m", chat=True, bos=True)), max_new_tokens=8, device="cpu"
    )
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "A"},
    ]
    decoded = chat.lm.tokenizer.decode
    assert decoded(chat.prompt_ids(messages)) == "<|user|>Hi\n<|assistant|>Yes?\n<|user|>A\n<|assistant|>"
    one = [{"role": "user", "content": "Hi there"}]
    assert chat.generate(["Hi there", one], 2, [1, 1])[0] == chat.generate([one], 2, [1])[0]
    never = replace(chat, chat="never")
    assert decoded(never.prompt_ids("Hi")) == "<|begin|>Hi"
    assert decoded(never.prompt_ids(one)) == "<|user|>Hi there\n<|assistant|>"


def test_messages_without_a_template_are_refused(generators: dict[str, TransformersLM]) -> None:
    with pytest.raises(
        ComponentError, match="no chat template.*Use an instruct model, or prompts that are strings"
    ):
        generators["llama"].generate(["A", [{"role": "user", "content": "Hi"}]], 1, [0, 1])


def test_messages_that_the_template_refuses_are_named(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "m", chat=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    tokenizer.save_pretrained(folder)
    with pytest.raises(DataError, match="refuses the messages: roles must alternate"):
        TransformersLM(str(folder), device="cpu").generate([[{"role": "user", "content": "Hi"}]], 1, [0])


def test_prompts_that_leave_no_room_are_named(tmp_path: Path) -> None:
    generator = TransformersLM(
        str(tiny_model(tmp_path / "m", "gpt2", positions=32)), max_new_tokens=12, device="cpu"
    )
    fitting = "z" * 20
    assert len(generator.prompt_ids(fitting)) == 20
    assert len(generator.generate([fitting], 2, [0])[0]) == 2
    with pytest.raises(DataError) as refused:
        generator.generate([fitting, fitting + "z", "A", "y" * 30], 2, [0, 1, 2, 3])
    told = str(refused.value)
    assert told.startswith("2 prompt(s) leave no room for 12 new tokens in the model's context of 32. ")
    assert "row 2 of these 4 ('zzzzz" in told
    assert "row 4 of these 4 ('yyyyy" in told
    assert "30 tokens" in told
    assert "row 1 " not in told
    assert "row 3 " not in told


@pytest.mark.parametrize("scheme", ["first", "never"])
def test_a_leading_space_is_kept(folders: dict[str, Path], tmp_path: Path, scheme: str) -> None:
    """Also by tokenizers in the manner of Llama 2, whose decoder drops the space that a text begins with."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    raw.decoder = decoders.Metaspace(prepend_scheme=scheme)
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=[EOS], show_progress=False)
    raw.train_from_iterator(["a TL;DR: Tom broke his kettle."] * 3, trainer)
    folder = tiny_model(tmp_path / "m")
    PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=EOS).save_pretrained(folder)
    generator = TransformersLM(str(folder), device="cpu")
    spaced, close = (generator.lm.completion_ids(f"a{t}", eos=False) for t in (" Tom broke", "TL;DR: Tom"))
    before = generator.lm.completion_ids("a", eos=False)
    assert spaced[: len(before)] == before
    assert generator._text(spaced[len(before) :]) == " Tom broke"
    assert generator._text([]) == ""
    assert "TL;DR: Tom" in generator._text(close)


def test_a_leading_space_is_kept_by_byte_level_tokenizers(generators: dict[str, TransformersLM]) -> None:
    generator = generators["llama"]
    for text in (" Tom broke", "Tom", "\n Tom ", "  ,. don 't", "日本 €"):
        assert generator._text(generator.lm.completion_ids(text, eos=True)) == text


def test_random_states_and_modes_are_untouched(folders: dict[str, Path]) -> None:
    def states() -> tuple[Any, ...]:
        numpy_state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002 - the caller's
        return random.getstate(), str(numpy_state), torch.get_rng_state().tolist()

    generator = TransformersLM(str(folders["gpt2"]), max_new_tokens=8, device="cpu")
    before = states()
    generator.generate(PROMPTS, 2, SEEDS)
    assert states() == before
    assert not any(module.training for module in generator.lm.model.modules())
    assert all(parameter.grad is None for parameter in generator.lm.model.parameters())
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_a_greedy_row_is_computed_once_for_all_its_copies(generators: dict[str, TransformersLM]) -> None:
    greedy, sizes = replace(generators["llama"], temperature=0.0), []
    hook = greedy.lm.model.model.register_forward_hook(
        lambda _, args, kwargs, out: sizes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    try:
        texts = greedy.generate(PROMPTS, 5, SEEDS)
    finally:
        hook.remove()
    assert all(len(row) == 5 and len(set(row)) == 1 for row in texts)
    assert max(sizes) == len(PROMPTS)
    assert texts == greedy.generate(PROMPTS, 5, [0, 0, 0, 0])
    texts[0][0] = "changed"
    assert texts[0][1] != "changed"


def test_pickles_carry_settings_only(generators: dict[str, TransformersLM]) -> None:
    generator = replace(generators["llama"], top_p=0.9, stop=("\n",), batch_size=7)
    expected = generator.generate(PROMPTS, 2, SEEDS)
    sent = pickle.dumps(generator)
    assert len(sent) < 1000
    arrived = pickle.loads(sent)  # noqa: S301 - our own bytes
    assert arrived == generator
    assert arrived.batch_size == 7
    assert "lm" not in vars(arrived)
    assert arrived.generate(PROMPTS, 2, SEEDS) == expected


def test_batch_size_is_no_part_of_what_it_is(generators: dict[str, TransformersLM]) -> None:
    assert replace(generators["llama"], batch_size=1) == generators["llama"]
    assert replace(generators["llama"], top_p=0.5) != generators["llama"]


def test_an_unknown_model_is_refused_with_a_remedy(tmp_path: Path) -> None:
    missing = TransformersLM(str(tmp_path / "nowhere"))
    with pytest.raises(
        ComponentError, match=r"nowhere' cannot be loaded.*Name a folder with config.json, weights"
    ):
        missing.generate(["A"], 1, [0])
    with pytest.raises(ComponentError, match="needs model=<folder or hub id>"):
        TransformersLM("").generate(["A"], 1, [0])


@pytest.mark.filterwarnings("ignore")
def test_recurrent_models_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    config = MambaConfig(vocab_size=300, hidden_size=24, state_size=4, num_hidden_layers=1, eos_token_id=0)
    folder = saved(config, tmp_path / "mamba", AutoTokenizer.from_pretrained(folders["llama"]))
    with pytest.raises(ComponentError, match=r"MambaForCausalLM.*Use a model with attention alone"):
        TransformersLM(str(folder), device="cpu").generate(["A"], 2, [0])


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"batch_size": 0}, "batch_size"),
        ({"stop": ("x", "")}, "stop"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        TransformersLM("m", **settings)


def test_how_many_and_for_whom(generators: dict[str, TransformersLM]) -> None:
    assert generators["llama"].generate([], 3, []) == []
    with pytest.raises(UsageError, match="0 completions"):
        generators["llama"].generate(PROMPTS, 0, SEEDS)
    with pytest.raises(ValueError, match="shorter"):
        generators["llama"].generate(PROMPTS, 1, SEEDS[:2])
