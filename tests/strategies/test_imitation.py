"""What imitating strategies share: the loss on some tokens of a text, against all logits of single texts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_model

from ilf.errors import DataError, UsageError
from ilf.strategies import _imitation as module
from ilf.strategies._encode import Example, encode, padded
from ilf.strategies._imitation import (
    Text,
    batch_of,
    but_the_last,
    check_template,
    imitated_logprob,
    imitation_loss,
    opened,
)
from ilf.strategies.feedback_conditional import FeedbackConditional
from rankers._lm import LM, load
from rankers._logprobs import trunk_and_head

KINDS = ("llama", "gpt2")


@pytest.fixture(scope="module")
def lms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LM]:
    folder = tmp_path_factory.mktemp("models")
    return {kind: load(str(tiny_model(folder / kind, kind)), device="cpu") for kind in KINDS}


def texts_of(seed: int = 0, n: int = 5) -> list[Text]:
    """Random ids (0, which pads, among them) with random masks of at least one token that counts."""
    rng = random.Random(seed)
    texts = []
    for _ in range(n):
        n_tokens = rng.randint(3, 20)
        mask = [0, *(rng.randint(0, 1) for _ in range(n_tokens - 2)), 1]
        texts.append(Text(tuple(rng.randrange(40) for _ in range(n_tokens)), tuple(mask)))
    return texts


def by_hand(lm: LM, text: Text) -> torch.Tensor:
    """Log p of the tokens that count, from all logits of one unpadded text."""
    logprobs = lm.model(torch.tensor([text.ids])).logits[0].log_softmax(-1)
    counted = [logprobs[t - 1, text.ids[t]] for t in range(len(text)) if text.loss_mask[t]]
    return torch.stack(counted).sum()


def gradient(lm: LM) -> torch.Tensor:
    found = torch.cat([p.grad.flatten() for p in lm.model.parameters() if p.grad is not None])
    lm.model.zero_grad()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_sum_is_that_over_single_texts_whatever_the_order_and_padding(
    lms: dict[str, LM], kind: str
) -> None:
    lm = lms[kind]
    parts = trunk_and_head(lm.model)
    texts = texts_of()
    expected = torch.stack([by_hand(lm, text) for text in texts]).sum()
    expected.backward()
    pull = gradient(lm)
    long = Text(tuple(range(5, 120)), (*(0 for _ in range(114)), 1))
    by_hand(lm, long).backward()
    more = gradient(lm)
    for batch, extra in ((texts, 0.0), (texts[::-1], 0.0), ([*texts, long], by_hand(lm, long).item())):
        found = imitated_logprob(parts, batch, "cpu")
        assert found.item() == pytest.approx(expected.item() + extra, rel=1e-5)
        found.backward()
        assert torch.allclose(gradient(lm) - (more if extra else 0.0), pull, atol=1e-4, rtol=1e-3)


def test_only_states_that_predict_a_token_that_counts_get_a_gradient(
    lms: dict[str, LM], monkeypatch: Any
) -> None:
    """And no others are projected: not those of words between two answers, not those of padding."""
    lm = lms["llama"]
    trunk, head = trunk_and_head(lm.model)
    kept: list[torch.Tensor] = []
    widths: list[int] = []
    original = module.token_logprobs

    def watched(**inputs: Any) -> Any:
        output = trunk(**inputs)
        output[0].retain_grad()
        kept.append(output[0])
        return output

    def spy(states: torch.Tensor, *rest: Any) -> torch.Tensor:
        widths.append(len(states))
        return original(states, *rest)

    monkeypatch.setattr(module, "token_logprobs", spy)
    texts = [Text((7, 8, 9, 10, 11, 12, 13), (0, 0, 1, 1, 0, 0, 1)), Text((7, 8), (0, 1))]
    imitated_logprob((watched, head), texts, "cpu").backward()
    lm.model.zero_grad()
    pulled = kept[0].grad.abs().sum(-1) > 0
    assert pulled.tolist() == [[False, True, True, False, False, True], [True, *[False] * 5]]
    assert widths == [4]


def test_a_batch_is_what_its_lengths_and_masks_say() -> None:
    """The padding id may occur inside a text, and the last token is never an input."""
    ids, at, targets = batch_of([Text((0, 5, 0, 0, 2), (0, 1, 0, 0, 1)), Text((9, 0), (0, 1))])
    assert ids.tolist() == [[0, 5, 0, 0], [9, 0, 0, 0]]
    assert at.tolist() == [0, 3, 4]
    assert targets.tolist() == [5, 2, 0]


def test_a_prompt_and_its_completion_are_the_batch_that_sft_makes() -> None:
    examples = [Example((0, 0, 5), (0, 0, 2)), Example((1,), (2,)), Example((9,), (0, 7, 0, 0, 0, 2))]
    texts = [Text.of(example) for example in examples]
    assert [len(text) for text in texts] == [len(example) for example in examples]
    for one, other in zip(batch_of(texts), padded(examples), strict=True):
        assert torch.equal(one, other)


def test_parts_of_a_batch_add_up_to_the_mean_over_all_that_counts(lms: dict[str, LM]) -> None:
    """Weighted by tokens, not by texts: a text with one token that counts weighs a tenth of one with ten."""
    lm = lms["llama"]
    texts = texts_of(1)
    n_targets = sum(sum(text.loss_mask) for text in texts)
    mean = -sum(by_hand(lm, text).item() for text in texts) / n_targets
    loss = imitation_loss(trunk_and_head(lm.model), texts, "cpu")
    whole = range(len(texts))
    for parts in ([whole], [[4, 0], [1, 2, 3]], [[i] for i in whole]):
        found = [loss(part, whole) for part in parts]
        assert sum(value.item() for value, _ in found) == pytest.approx(mean, rel=1e-5)
        assert sum(sums["tokens"] for _, sums in found) == n_targets


def test_further_inputs_are_those_of_the_part(lms: dict[str, LM]) -> None:
    asked: list[Sequence[int]] = []
    seen: list[Any] = []

    def inputs_of(part: Sequence[int]) -> dict[str, Any]:
        asked.append(part)
        return {"position_ids": f"of {part}"}

    def trunk(**inputs: Any) -> Any:
        seen.append(inputs["position_ids"])
        return (torch.zeros(*inputs["input_ids"].shape, 3),)

    loss = imitation_loss((trunk, lambda states: states), [Text((0, 1), (0, 1))] * 3, "cpu", inputs_of)
    loss([2, 0], [0, 1, 2])
    assert asked == [[2, 0]]
    assert seen == ["of [2, 0]"]


def test_the_last_row_waits_until_all_are_known() -> None:
    made: list[int] = []

    def rows() -> Any:
        for step in range(3):
            made.append(step)
            yield {"step": step}

    training = but_the_last(rows())
    assert [next(training), next(training)] == [{"step": 0}, {"step": 1}]
    with pytest.raises(StopIteration) as end:
        next(training)
    assert end.value.value == [{"step": 0}, {"step": 1}, {"step": 2}]
    assert made == [0, 1, 2]


def test_a_run_needs_rows_and_draws_adapters_from_the_seed(tmp_path: Path) -> None:
    start = str(tiny_model(tmp_path / "start"))
    strategy = FeedbackConditional(device="cpu", lora_rank=2)
    with pytest.raises(DataError, match="feedback_conditional: there is no row"):
        opened(strategy, [], start, 0)
    # Adapters are drawn from the seed, whatever the caller drew.
    first, _ = opened(strategy, [{}], start, 1)
    torch.rand(1)
    again, _ = opened(strategy, [{}], start, 1)
    other, _ = opened(strategy, [{}], start, 2)
    drawn = [
        torch.cat([p.flatten() for n, p in lm.model.named_parameters() if "lora_A" in n])
        for lm in (first, again, other)
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{critique}", "x: {prompt} must stand in the template"),
        ("no braces", "x: {prompt}, {critique} must stand"),
        (
            "{prompt}{critique}{output}",
            r"x: {output} cannot be filled in, only {prompt}, {critique}, {style};",
        ),
    ],
)
def test_templates_have_what_they_need_and_nothing_unknown(template: str, told: str) -> None:
    with pytest.raises(UsageError) as error:
        check_template("x", template, ("prompt", "critique"), ("style",))
    assert told in str(error.value)
    check_template("x", '{prompt}{critique}{style}{"json": 1}', ("prompt", "critique"), ("style",))


def test_examples_of_chats_end_as_sft_ends_them(tmp_path: Path) -> None:
    lm = load(str(tiny_model(tmp_path / "chat", chat=True)), device="cpu")
    example = encode("Hi", "Tom", lm)
    text = Text.of(example)
    assert text.ids[-1] == lm.tokenizer.eos_token_id
    assert lm.tokenizer.decode(text.ids[: len(example.prompt)]) == "<|user|>Hi\n<|assistant|>"
