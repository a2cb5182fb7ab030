"""Several completions behind one prompt in a row: the log p of each text by itself, and models that cannot."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from tiny_models import tiny_model

from ilf.strategies import _shared_prompt
from ilf.strategies._encode import Example, encode
from rankers._lm import LM, load

KINDS = ("llama", "qwen2", "gpt2")
POST = "POST: My name is Tom. I broke the kettle.\nTL;DR:"
PAIRS = [
    *(
        (POST, text)
        for text in (" Tom broke a kettle.", " Tom is a fool.", "", " It cost 270 coins in Brimley.")
    ),
    ("A", " B, and at some length, with a lamp."),
    (POST, " Tom broke a kettle."),
]


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("starts")
    return {kind: str(tiny_model(folder / kind, kind)) for kind in KINDS}


def by_hand(lm: LM, prompt: str, completion: str) -> float:
    """Log p of completion and end token from all logits of one unpadded text."""
    asked, told = (lm.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, completion))
    ids = [*asked, *told, lm.tokenizer.eos_token_id]
    logprobs = lm.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return sum(logprobs[t - 1, ids[t]].item() for t in range(len(asked), len(ids)))


def test_only_states_that_predict_a_completion_get_a_gradient(starts: dict[str, str]) -> None:
    """None of the prompt's but its last, none of padding; in rows that hold several completions as in plain ones."""
    lm = load(starts["llama"], device="cpu")
    examples = [Example((5, 6, 7), (8, 9, 0)), Example((5, 6, 7), (4, 0)), Example((3,), (0,))]
    kept: list[torch.Tensor] = []
    trunk, head = lm.parts

    def watched(**inputs: Any) -> Any:
        output = trunk(**inputs)
        output[0].retain_grad()
        kept.append(output[0])
        return output

    for can_share, expected in ((True, [[2, 3, 4, 5], [0]]), (False, [[2, 3, 4], [2, 3], [0]])):
        scorer = _shared_prompt.Scorer(watched, head, "cpu", can_share)
        scorer.logprobs(examples).sum().backward()
        pulled = kept[-1].grad.abs().sum(-1) > 0
        assert [[i for i, is_pulled in enumerate(row) if is_pulled] for row in pulled.tolist()] == expected
    lm.model.zero_grad()


@pytest.mark.parametrize("kind", KINDS)
def test_shared_prompts_give_the_log_p_of_texts_by_themselves(starts: dict[str, str], kind: str) -> None:
    lm = load(starts[kind], device="cpu")
    scorer = _shared_prompt.scorer_of(lm)
    assert scorer.can_share
    with torch.no_grad():
        found = scorer.logprobs([encode(*pair, lm) for pair in PAIRS]).tolist()
        expected = [by_hand(lm, *pair) for pair in PAIRS]
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_model_that_reads_trees_wrongly_is_found_out(
    starts: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that ignores masks or positions does."""
    lm = load(starts["llama"], device="cpu")
    trunk, head = lm.parts
    for ignored in ("attention_mask", "position_ids"):

        def deaf(*, position_ids: Any = None, _word: str = ignored, **inputs: Any) -> Any:
            inputs |= {"position_ids": position_ids}
            return trunk(**{k: v for k, v in inputs.items() if k != _word and v is not None})

        deaf.forward = deaf  # type: ignore[attr-defined]
        monkeypatch.setattr(_shared_prompt, "trunk_and_head", lambda model, deaf=deaf: (deaf, head))
        assert not _shared_prompt.scorer_of(lm).can_share


def test_all_texts_in_batches_of_any_size(starts: dict[str, str]) -> None:
    """Rows of a batch hold what fits; a prompt is read once, whatever the batch."""
    lm = load(starts["gpt2"], device="cpu")
    examples = [encode(*pair, lm) for pair in PAIRS]
    with torch.no_grad():
        expected = dict(zip(examples, (by_hand(lm, *pair) for pair in PAIRS), strict=True))
    trunk, head = lm.parts
    calls: list[int] = []

    def counted(**inputs: Any) -> Any:
        calls.append(inputs["input_ids"].shape[0])
        return trunk(**inputs)

    scorer = _shared_prompt.Scorer(counted, head, "cpu", can_share=True)
    for n_tokens, sizes in ((1, [1, 1]), (10_000, [2])):
        calls.clear()
        found = _shared_prompt.all_logprobs(
            scorer, examples, n_tokens=n_tokens, context=contextlib.nullcontext
        )
        assert found == pytest.approx(expected, rel=1e-5)
        assert len(found) == 5
        assert calls == sizes
