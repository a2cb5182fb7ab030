"""The feedback-conditional policy: outputs under their critiques, asked as ``framed`` will ask."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_model

from ilf.errors import DataError, UsageError
from ilf.generators.framed import Framed
from ilf.generators.transformers_lm import TransformersLM
from ilf.strategies import feedback_conditional as module
from ilf.strategies._encode import Example
from ilf.strategies.feedback_conditional import FeedbackConditional
from rankers import fill
from rankers._lm import LM, load

ROWS = [
    {
        "prompt": "POST: I broke the kettle.\nTL;DR:",
        "output": " Tom broke it.",
        "critique": "the price is missing",
    },
    {"prompt": "A", "output": " B, and at some length, with a lamp.", "critique": "Nothing to change."},
    {"prompt": "Say {critique}.", "output": "", "critique": "there is no answer: {prompt}"},
]
QUICK = FeedbackConditional(batch_size=8, learning_rate=1e-3, device="cpu")
TEMPLATE = "{prompt}\nFEEDBACK: {critique}\nTL;DR:"


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("starts")
    made = {kind: str(tiny_model(folder / kind, kind)) for kind in ("llama", "gpt2")}
    return {**made, "chat": str(tiny_model(folder / "chat", chat=True))}


def by_hand(lm: LM, asked: str, answer: str) -> tuple[torch.Tensor, int]:
    """Sum of -log p over answer and end token from all logits of one unpadded text, and how many they are."""
    tokenise = lm.tokenizer
    prompt, completion = (tokenise(text, add_special_tokens=False)["input_ids"] for text in (asked, answer))
    ids = [*prompt, *completion, tokenise.eos_token_id]
    logprobs = lm.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    total = sum((-logprobs[t - 1, ids[t]] for t in range(len(prompt), len(ids))), torch.zeros(()))
    return total, len(completion) + 1


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_first_loss_is_that_of_outputs_under_their_critiques(
    starts: dict[str, str], tmp_path: Path, kind: str
) -> None:
    """Braces inside a row's texts stay what they are; an empty output is its end token."""
    lm = load(starts[kind], device="cpu")
    asked = [
        "POST: I broke the kettle.\nTL;DR:\nFEEDBACK: the price is missing\nTL;DR:",
        "A\nFEEDBACK: Nothing to change.\nTL;DR:",
        "Say {critique}.\nFEEDBACK: there is no answer: {prompt}\nTL;DR:",
    ]
    found = [by_hand(lm, text, row["output"]) for text, row in zip(asked, ROWS, strict=True)]
    mean = torch.stack([total for total, _ in found]).sum() / sum(n for _, n in found)
    mean.backward()
    gradient = torch.cat([p.grad.flatten() for p in lm.model.parameters()]).norm().item()
    lm.model.zero_grad()
    strategy = replace(QUICK, template=TEMPLATE)
    [row] = strategy.train(ROWS, tmp_path, start=starts[kind], seed=0)
    assert row["loss"] == pytest.approx(mean.item(), abs=1e-5)
    assert row["tokens"] == sum(n for _, n in found)
    assert row["gradient_norm"] == pytest.approx(gradient, rel=1e-4)


def test_what_is_trained_is_what_framed_asks(
    starts: dict[str, str], tmp_path: Path, monkeypatch: Any
) -> None:
    """For texts and for chats: the same ids, up to the first token of the answer."""
    seen: list[Example] = []
    original = module.encode

    def spy(*args: Any, **how: Any) -> Example:
        seen.append(original(*args, **how))
        return seen[-1]

    monkeypatch.setattr(module, "encode", spy)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    for kind in ("llama", "chat"):
        inner = TransformersLM(starts[kind], device="cpu")
        rows = [*ROWS[:2], {**ROWS[0], "prompt": messages}]
        list(QUICK.train(rows, tmp_path / kind, start=starts[kind], seed=0))
        for row, example in zip(rows, seen, strict=True):
            policy = Framed(inner, template=QUICK.template, critique=row["critique"])
            assert inner.prompt_ids(policy.framed(row["prompt"])) == list(example.prompt)
        seen.clear()


def test_the_critique_moves_what_the_model_learns(starts: dict[str, str], tmp_path: Path) -> None:
    """Tuned on one answer under praise and another under blame, it tells them apart by the critique alone."""
    rows = [
        {"prompt": "P", "output": " yes", "critique": "good"},
        {"prompt": "P", "output": " no", "critique": "bad"},
    ]
    strategy = replace(QUICK, template="{prompt} {critique}:", learning_rate=1e-2, epochs=40)
    list(strategy.train(rows, tmp_path, start=starts["llama"], seed=0))
    inner = TransformersLM(str(tmp_path / "model"), device="cpu", temperature=0.0, max_new_tokens=4)
    for row in rows:
        policy = Framed(inner, template=strategy.template, critique=row["critique"])
        assert policy.generate(["P"], 1, [0]) == [[row["output"]]]


def test_the_default_template_can_be_filled() -> None:
    text = fill(QUICK.template, {"prompt": "PROMPT", "critique": "CRITIQUE"})
    assert text.index("PROMPT") < text.index("CRITIQUE")


def test_templates_that_lack_a_part_or_show_the_answer_are_refused() -> None:
    for template in ("{prompt}", "{critique}", "{prompt}{critique}{output}"):
        with pytest.raises(UsageError, match=r"feedback_conditional\.template"):
            replace(QUICK, template=template)
    with pytest.raises(UsageError, match="epochs"):
        replace(QUICK, epochs=0)


def test_long_rows_are_named_before_training(starts: dict[str, str], tmp_path: Path) -> None:
    rows = [ROWS[0], {**ROWS[1], "critique": "x " * 600}]
    with pytest.raises(DataError, match=r"feedback_conditional: 1 row.*\n  row 2: \d+ tokens"):
        list(QUICK.train(rows, tmp_path, start=starts["llama"], seed=0))
    assert not (tmp_path / "model").exists()
