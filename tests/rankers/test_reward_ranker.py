"""The ranker reward: the classifier's own logits, on the token ids that strategies train on."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import EOS, tiny_model, tiny_reward_model
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
)

from ilf.strategies._encode import encode
from rankers import Chance, RankerError, Reward
from rankers._reward import load_reward, rewards
from rankers._sequence import sequence

KINDS = ("llama", "qwen2", "gpt2")
MESSAGES = [
    {"role": "user", "content": "Who?"},
    {"role": "assistant", "content": "Tom."},
    {"role": "user", "content": "Why?"},
]
PROMPTS = (
    "POST: I am Tom. I broke the kettle.\nTL;DR:",
    "A",
    "Anna, a cook, had trouble with a lamp during a storm.",
)
TEXTS = (" Tom.", "", " Tom broke a kettle, which cost 270 coins.", f" Tom.{EOS}")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Reward models on tiny trunks; with a chat template, and with a begin token, too."""
    folder = tmp_path_factory.mktemp("models")
    how: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
    how |= {"chat": {"chat": True}, "bos": {"bos": True}, "short": {"positions": 16}}
    made = {}
    for name, settings in how.items():
        kind = name if name in KINDS else "llama"
        base = tiny_model(folder / f"{name}-base", kind, **settings)  # type: ignore[arg-type]
        made[name] = str(tiny_reward_model(folder / name, base, mean=0.25))
    return made


def by_classifier(folder: str, texts: list[list[int]]) -> list[float]:
    """Logits of transformers' own classifier, all texts padded into one batch."""
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="right")
    batch = tokenizer.pad({"input_ids": texts}, return_tensors="pt")
    with torch.no_grad():
        return model(**batch).logits[:, 0].tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", [*KINDS, "chat", "bos"])
def test_a_score_is_the_classifiers_logit_less_the_mean(models: dict[str, str], name: str) -> None:
    ranker = Reward(models[name], device="cpu")
    lm = ranker.reward_model
    texts = []
    for prompt in PROMPTS:
        for text in TEXTS[:3]:
            example = encode(prompt, text, lm)
            texts.append([*example.prompt, *example.completion])
    scores = ranker.score([{"prompt": prompt} for prompt in PROMPTS], [TEXTS[:3]] * 3)
    expected = [logit - 0.25 for logit in by_classifier(models[name], texts)]
    assert [score for row in scores for score in row] == pytest.approx(expected, abs=1e-5)
    assert len(set(expected)) == 9


@pytest.mark.parametrize("name", ["llama", "chat", "bos"])
@pytest.mark.parametrize("chat", ["auto", "never"])
def test_ids_are_those_that_strategies_train_on(models: dict[str, str], name: str, chat: Any) -> None:
    lm = load_reward(models[name], device="cpu")
    prompts = [*PROMPTS, ""] + ([MESSAGES] if name == "chat" else [])
    for prompt in prompts:
        for text in TEXTS:
            ids, completion = sequence(lm, prompt, text, chat)
            example = encode(prompt, text, lm, chat=chat)
            assert (tuple(ids), tuple(completion)) == (example.prompt, example.completion)
            assert completion[-1] == lm.tokenizer.eos_token_id


def test_the_chat_template_frames_prompt_and_answer(models: dict[str, str]) -> None:
    lm = load_reward(models["chat"], device="cpu")
    ids, completion = sequence(lm, MESSAGES, " Because. ")
    assert lm.tokenizer.decode(ids) == "<|user|>Who?\n<|assistant|>Tom.\n<|user|>Why?\n<|assistant|>"
    assert lm.tokenizer.decode(completion) == f"Because.{EOS}"
    score = Reward(models["chat"], device="cpu").score([{"prompt": MESSAGES}], [["Because."]])
    assert score == [pytest.approx(rewards(lm, [[*ids, *completion]], 1))]
    with pytest.raises(RankerError, match="messages, and the tokenizer has no chat template"):
        Reward(models["llama"], device="cpu").score([{"prompt": MESSAGES}], [["Because."]])


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_and_shared_prompts_change_nothing(models: dict[str, str], kind: str) -> None:
    lm = load_reward(models[kind], device="cpu")
    prompt = "Anna, a cook, had trouble with a lamp during a storm, and paid 40 coins.\nTL;DR:"
    texts = [[*ids, *completion] for ids, completion in (sequence(lm, prompt, text) for text in TEXTS)]
    # Without an end token too, which is what padding is made of here.
    texts += [texts[0], [9, 8, 7], texts[2][:-1]]
    alone = [rewards(lm, [text], 1)[0] for text in texts]
    assert len(set(alone)) == 6
    for batch_size in (1, 3, 64):
        for groups in (None, [0] * 7, list(range(7))):
            assert rewards(lm, texts, batch_size, groups=groups) == pytest.approx(alone, abs=1e-5)
    assert rewards(lm, [], 4) == []


def test_what_stands_behind_the_end_is_not_read(models: dict[str, str]) -> None:
    """A text with tokens behind its end is another text, but the state at its end is the same."""
    lm = load_reward(models["llama"], device="cpu")
    ids = [*sequence(lm, "A", " Tom.")[0], *sequence(lm, "A", " Tom.")[1]]
    with torch.no_grad():
        states = lm.trunk(input_ids=torch.tensor([[*ids, 9, 8, 7]]))[0][0, len(ids) - 1]
        found = lm.head(states).item() - lm.mean
    assert rewards(lm, [ids], 1)[0] == pytest.approx(found, abs=1e-5)


def test_long_prompts_lose_their_beginning_and_long_answers_are_unknown(
    models: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    ranker = Reward(models["short"], device="cpu")
    lm = ranker.reward_model
    with caplog.at_level(logging.WARNING, logger="rankers"):
        [[cut, unknown]] = ranker.score([{"prompt": "lamp " * 30}], [[" Tom.", " kettle" * 40]])
    assert "2 of 2 prompts are too long for the reward model (16 tokens)" in caplog.text
    ids, completion = sequence(lm, "lamp " * 30, " Tom.")
    assert cut == pytest.approx(rewards(lm, [[*ids, *completion][-16:]], 1)[0])
    assert math.isnan(unknown)


def test_what_is_no_reward_model_is_refused(models: dict[str, str], tmp_path: Path) -> None:
    causal = tiny_model(tmp_path / "causal")
    with pytest.raises(RankerError, match=r"'.*causal' is no reward model: .*score.weight.*strategy: reward"):
        Reward(str(causal), device="cpu").score([{"prompt": "A"}], [["B"]])
    classes = AutoModelForSequenceClassification.from_pretrained(causal, num_labels=3)
    classes.save_pretrained(tmp_path / "classes")
    AutoTokenizer.from_pretrained(causal).save_pretrained(tmp_path / "classes")
    config = BertConfig(
        vocab_size=300,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_labels=1,
    )
    BertForSequenceClassification(config).save_pretrained(tmp_path / "bert")
    AutoTokenizer.from_pretrained(causal).save_pretrained(tmp_path / "bert")
    for name in ("classes", "bert"):
        with pytest.raises(RankerError, match=r"classifier of another kind.*read at the last token"):
            load_reward(str(tmp_path / name), device="cpu")
    with pytest.raises(RankerError, match="cannot be loaded"):
        load_reward(str(tmp_path / "nowhere"))


def test_others_classifiers_load_without_a_mean(tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base", "qwen2")
    folder = tiny_reward_model(tmp_path / "reward", base)
    config = json.loads((folder / "config.json").read_text())
    del config["reward_mean"]
    (folder / "config.json").write_text(json.dumps(config))
    lm = load_reward(str(folder), device="cpu")
    assert lm.mean == 0.0
    assert load_reward(str(folder), device="cpu") is lm


def test_it_is_read_in_the_form_that_it_was_trained_in(models: dict[str, str], tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base", chat=True)
    folder = tiny_reward_model(tmp_path / "reward", base)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "reward_chat": "never"}))
    with pytest.raises(RankerError, match="trained with chat=never; set it here too"):
        Reward(str(folder), device="cpu").score([{"prompt": "A"}], [["B"]])
    assert Reward(str(folder), device="cpu", chat="never").score([{"prompt": "A"}], [["B"]])


def test_a_prompt_is_asked_for(models: dict[str, str]) -> None:
    ranker = Reward(models["llama"], device="cpu")
    assert ranker.needs_critique is Chance().needs_critique is False
    for query in ({"id": "r7"}, {"id": "r7", "prompt": None}, {"id": "r7", "prompt": []}):
        with pytest.raises(RankerError, match="query 'r7' has no prompt"):
            ranker.score([query], [["a"]])
