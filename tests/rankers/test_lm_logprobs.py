"""Log-probabilities: against one plain forward pass per text, whatever the batches, padding and shared beginnings."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from tiny_models import tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from rankers import RankerError, _logprobs, fill
from rankers._lm import completion_logprobs, load

KINDS = ("llama", "qwen2", "gpt2")
POSTS = [
    "My name is Tom. I broke the kettle. It cost me 270 coins.\nTL;DR:",
    "Anna, a cook, had trouble with a lamp during a storm in Brimley, and says so at some length.\nTL;DR:",
    "Short.\nTL;DR:",
]
PAIRS = [
    (
        f"{post} Tom broke a{i}\nFEEDBACK: the price is missing\nBETTER:",
        f" Tom broke his kettle, {'very ' * i}old",
    )
    for post in POSTS
    for i in range(4)
] + [("a", " b"), ("", " Tom"), ("Tom", "")]
GROUPS = [*(g for g in range(3) for _ in range(4)), 3, 4, 5]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {kind: load(str(tiny_model(folder / kind, kind))) for kind in KINDS}


def by_hand(lm, prompt, completion, *, eos=True):
    """Sum of log softmax at each completion token, from all logits of one forward pass without padding."""
    tokenizer, end = lm.tokenizer, [lm.tokenizer.eos_token_id]
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"] or end
    answer = tokenizer(completion, add_special_tokens=False)["input_ids"] + (end if eos else [])
    with torch.no_grad():
        logprobs = lm.model(torch.tensor([(ids + answer)[:-1]])).logits[0].log_softmax(-1)
    return sum(logprobs[len(ids) + i - 1, token].item() for i, token in enumerate(answer))


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("groups", [None, GROUPS])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_one_plain_forward_pass_per_text(models, kind, groups, batch_size):
    expected = [by_hand(models[kind], *pair) for pair in PAIRS]
    found = completion_logprobs(models[kind], PAIRS, groups=groups, batch_size=batch_size)
    assert found == pytest.approx(expected, abs=1e-5, rel=1e-5)


def test_the_shared_beginning_is_really_shared(models, monkeypatch):
    """The cases above mean something only if the cache is used for several beginnings of unequal lengths at once."""
    seen = []
    original = _logprobs._prefilled

    def spy(lm, trunk, batch):
        seen.append([block.shared for block in batch])
        return original(lm, trunk, batch)

    monkeypatch.setattr(_logprobs, "_prefilled", spy)
    completion_logprobs(models["gpt2"], PAIRS, groups=GROUPS, batch_size=64)
    assert len(seen) == 1
    assert len(set(seen[0])) > 1


def test_order_does_not_matter(models):
    forward = completion_logprobs(models["llama"], PAIRS, groups=GROUPS)
    backward = completion_logprobs(models["llama"], PAIRS[::-1], groups=GROUPS[::-1])
    assert backward[::-1] == pytest.approx(forward, abs=1e-5)


def test_mean_is_per_token_and_counts_the_end(models):
    lm = models["llama"]
    pair = ("The kettle", " broke")
    tokens = len(lm.tokenizer(" broke")["input_ids"])
    assert completion_logprobs(lm, [pair], mean=True)[0] == pytest.approx(by_hand(lm, *pair) / (tokens + 1))
    without = completion_logprobs(lm, [pair], mean=True, eos=False)[0]
    assert without == pytest.approx(by_hand(lm, *pair, eos=False) / tokens)
    assert completion_logprobs(lm, [("a", "")], eos=False) == [0.0]
    assert math.isnan(completion_logprobs(lm, [("a", "")], mean=True, eos=False)[0])


def test_probabilities_of_all_next_tokens_sum_to_one(models):
    lm = models["qwen2"]
    ids = torch.tensor([lm.prompt_ids("The kettle")])
    with torch.no_grad():
        state = lm.parts[0](input_ids=ids)[0][0, -1:]
        everything = torch.arange(lm.model.config.vocab_size)
        total = (
            _logprobs.token_logprobs(state.expand(len(everything), -1), lm.parts[1], everything).exp().sum()
        )
    assert total.item() == pytest.approx(1.0, abs=1e-5)


def test_blocks_of_logits_change_nothing(models, monkeypatch):
    whole = completion_logprobs(models["llama"], PAIRS)
    monkeypatch.setattr(_logprobs, "_LOGITS", 1000)
    assert completion_logprobs(models["llama"], PAIRS) == pytest.approx(whole, abs=1e-5)


def test_equal_pairs_and_equal_inputs_run_once(models, monkeypatch):
    lm, rows = models["llama"], []
    original = _logprobs._padded

    def spy(batch, **how):
        rows.extend(batch)
        return original(batch, **how)

    monkeypatch.setattr(_logprobs, "_padded", spy)
    scores = completion_logprobs(
        lm, [("The kettle", " broke")] * 3 + [("A lamp", "b"), ("A lamp", "T")], eos=False
    )
    # Two answers of one token are predicted by the same inputs.
    assert len(rows) == 2
    assert scores[0] == scores[1] == scores[2]
    assert scores[3] != scores[4]


def test_only_completion_positions_are_projected(models):
    lm = models["llama"]
    projected = []
    hook = lm.model.get_output_embeddings().register_forward_hook(
        lambda _, inputs, __: projected.append(inputs[0])
    )
    pairs = [(POSTS[1], " Tom")] * 5 + [(POSTS[0], " Anna")]
    completion_logprobs(lm, pairs, eos=False, batch_size=8)
    hook.remove()
    wanted = {text: len(lm.completion_ids(text, eos=False)) for _, text in pairs}
    # One row of each head call asks for the size of the vocabulary.
    assert sum(len(states) for states in projected if len(states) > 1) <= 6 * max(wanted.values())
    assert max(map(len, projected)) < len(lm.prompt_ids(POSTS[1]))


def test_gradients_flow_through_token_logprobs(models):
    lm = models["llama"]
    states = lm.model.model(torch.tensor([[5, 6, 7]])).last_hidden_state[0]
    loss = -_logprobs.token_logprobs(states[:2], lm.model.lm_head, torch.tensor([6, 7])).mean()
    expected = torch.nn.functional.cross_entropy(lm.model.lm_head(states[:2]), torch.tensor([6, 7]))
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    (gradient,) = torch.autograd.grad(loss, [lm.model.lm_head.weight], retain_graph=True)
    (correct,) = torch.autograd.grad(expected, [lm.model.lm_head.weight])
    assert torch.allclose(gradient, correct, atol=1e-6)


def test_a_model_that_caps_its_logits_is_projected_by_itself(tmp_path):
    """Gemma 2 applies a tanh after its head, and slides a window: neither head nor cache may be used on their own."""
    from transformers import Gemma2Config

    tokenizer = AutoTokenizer.from_pretrained(tiny_model(tmp_path / "llama", "llama"))
    config = Gemma2Config(
        vocab_size=300, hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=12, final_logit_softcapping=0.5, initializer_range=0.2, sliding_window=16,
        eos_token_id=0, pad_token_id=1, bos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    folder = tmp_path / "gemma"
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    lm = load(str(folder))
    found = completion_logprobs(lm, PAIRS, groups=GROUPS)
    assert found == pytest.approx([by_hand(lm, *pair) for pair in PAIRS], abs=1e-5, rel=1e-5)


def test_a_begin_token_stands_before_the_prompt_once(tmp_path):
    lm = load(str(tiny_model(tmp_path / "m", "llama", bos=True)))
    plain = lm.tokenizer("Tom", add_special_tokens=False)["input_ids"]
    assert lm.prompt_ids("Tom") == lm.tokenizer("Tom")["input_ids"] == [2, *plain]
    assert lm.prompt_ids("<|begin|>Tom") == [2, *plain]
    assert lm.prompt_ids("") == [2]
    assert lm.completion_ids("Tom", eos=False) == plain


def test_a_chat_template_is_used_where_there_is_one(tmp_path, models):
    lm = load(str(tiny_model(tmp_path / "m", "llama", chat=True, bos=True)))
    assert lm.tokenizer.decode(lm.prompt_ids("Hi there")) == "<|user|>Hi there\n<|assistant|>"
    assert lm.tokenizer.decode(lm.prompt_ids("Hi there", chat="never")) == "<|begin|>Hi there"
    assert completion_logprobs(lm, [("Hi", " Tom")]) != completion_logprobs(
        lm, [("Hi", " Tom")], chat="never"
    )
    assert models["llama"].tokenizer.decode(models["llama"].prompt_ids("Hi there")) == "Hi there"


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_prompts_beyond_the_model_lose_their_beginning_and_are_counted(tmp_path, kind, caplog):
    lm = load(str(tiny_model(tmp_path / "m", kind, positions=32)))
    long = "x" * 40
    with caplog.at_level(logging.WARNING, logger="rankers"):
        cut, fitting, hopeless = completion_logprobs(lm, [(long, "abc"), ("y", "abc"), ("y", "z" * 60)])
    assert "2 of 3 prompts" in caplog.text
    # 32 inputs predict 33 tokens: three letters and the end leave room for 29 letters.
    assert cut == pytest.approx(by_hand(lm, "x" * 29, "abc"), abs=1e-4)
    assert fitting == pytest.approx(by_hand(lm, "y", "abc"), abs=1e-5)
    assert math.isnan(hopeless)


def test_loading_says_float32_eval_and_shares(tmp_path):
    folder = tiny_model(tmp_path / "m", "llama")
    AutoModelForCausalLM.from_pretrained(folder).to(torch.bfloat16).save_pretrained(folder)
    lm = load(str(folder), device="cpu")
    assert lm.model.dtype == torch.float32
    assert not lm.model.training
    assert load(str(folder)) is lm
    tiny_model(folder, "llama", seed=1)
    assert load(str(folder)) is not lm


def test_models_are_not_kept_alive(tmp_path):
    import gc
    import weakref

    lm = load(str(tiny_model(tmp_path / "m", "llama")))
    completion_logprobs(lm, PAIRS, groups=GROUPS)
    gone = weakref.ref(lm)
    del lm
    gc.collect()
    assert gone() is None


def test_no_model_is_said_clearly(tmp_path):
    with pytest.raises(RankerError, match="fixpoint needs model=<folder or hub id>"):
        load("", who="fixpoint")
    with pytest.raises(RankerError, match="judge: model '.*nowhere' cannot be loaded"):
        load(str(tmp_path / "nowhere"), who="judge")


def test_fill_replaces_in_one_pass():
    assert fill("{prompt} / {output}", {"prompt": "{output}", "output": "{prompt}"}) == "{output} / {prompt}"
    assert fill("{prompt}", {"prompt": [{"role": "user", "content": "Hi"}]}) == "user: Hi"
    assert fill("{'a': {}} {Prompt}", {}) == "{'a': {}} {Prompt}"
    with pytest.raises(RankerError, match=r"wants \{critique\}.*there are: \{prompt\}"):
        fill("{prompt}{critique}", {"prompt": "x", "critique": None})
