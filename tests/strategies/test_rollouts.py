"""Episodes and their batches: what is drawn, where states and tokens stand, and that layout changes nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_model

from ilf.strategies._rollouts import (
    Episode,
    batch_of,
    parts,
    prompt_ids,
    roll_out,
    rows_of_step,
    text_of,
    token_mask,
)  # fmt: skip
from rankers._lm import LM, load

EPISODES = [
    Episode(0, (5, 6, 7), (9, 8, 0), True),
    Episode(0, (5, 6, 7), (0,), True),
    Episode(1, (4,), (3, 3, 3, 3, 3), False),
    Episode(0, (5, 6, 7), (11, 12, 13, 14), False),
    Episode(2, (1, 2, 3, 4, 5, 6), (7, 0), True),
]


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> LM:
    return load(str(tiny_model(tmp_path_factory.mktemp("models") / "llama")), device="cpu")


def sampled(lm: LM, rows: list[int], **changed: Any) -> list[Episode]:
    how: dict[str, Any] = {"key": "k", "copies": 3, "temperature": 1.0, "max_new_tokens": 9, "batch_size": 64}
    return roll_out(lm, [[5, 6, 7], [4, 9], [8] * 20], rows, **{**how, **changed})


def test_masks_come_from_lengths() -> None:
    """Token 0 is the end token, the padding, and may stand anywhere; a text has one more state than tokens."""
    batch = batch_of(EPISODES, "cpu", can_share=False)
    assert batch.mask.sum(1).tolist() == [3, 1, 5, 4, 2]
    assert batch.state_mask.sum(1).tolist() == [4, 2, 6, 5, 3]
    assert batch.tokens.tolist()[0] == [9, 8, 0, 0, 0]
    # The state before the first token is the prompt's last, the one after the last token is that token's own.
    width = batch.inputs["input_ids"].shape[1]
    assert batch.at[0].tolist()[:4] == [2, 3, 4, 5]
    assert batch.at[4].tolist()[:3] == [4 * width + 5, 4 * width + 6, 4 * width + 7]
    ids = batch.inputs["input_ids"].flatten()
    for can_share in (False, True):
        batch = batch_of(EPISODES, "cpu", can_share=can_share)
        ids = batch.inputs["input_ids"].flatten()
        for i, episode in enumerate(EPISODES):
            at = batch.at[i][batch.state_mask[i]]
            assert ids[at].tolist() == [episode.prompt[-1], *episode.completion]
    assert token_mask(torch.tensor([0, 2]), 2).tolist() == [[False, False], [True, True]]


def test_a_prompt_is_read_once_for_all_its_samples() -> None:
    shared = batch_of(EPISODES, "cpu", can_share=True)
    assert shared.inputs["input_ids"].shape[0] == 3
    first = shared.inputs["position_ids"][0].tolist()
    assert first == [0, 1, 2, 3, 4, 5, 3, 3, 4, 5, 6]


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
def test_states_do_not_depend_on_layout_neighbours_and_order(tmp_path: Path, kind: Any) -> None:
    model = load(str(tiny_model(tmp_path / kind, kind)), device="cpu")
    trunk = model.parts[0]

    def states(episodes: list[Episode], can_share: bool) -> list[torch.Tensor]:
        batch = batch_of(episodes, "cpu", can_share=can_share)
        with torch.no_grad():
            found = trunk(**batch.inputs, use_cache=False)[0].flatten(0, 1)
        return [found[at[mask]] for at, mask in zip(batch.at, batch.state_mask, strict=True)]

    alone = [states([episode], can_share=False)[0] for episode in EPISODES]
    order = [3, 0, 4, 2, 1]
    for can_share in (False, True):
        for places in (range(5), order):
            together = states([EPISODES[i] for i in places], can_share)
            for i, found in zip(places, together, strict=True):
                assert torch.allclose(found, alone[i], atol=1e-5)


def test_parts_hold_everything_once_within_the_limit() -> None:
    for can_share in (False, True):
        for limit in (1, 10, 20, 1000):
            found = list(parts(EPISODES, [4, 0, 1, 3], limit, can_share=can_share))
            assert sorted(i for part in found for i in part) == [0, 1, 3, 4]
    assert len(list(parts(EPISODES, range(5), 1000, can_share=False))) == 1
    assert len(list(parts(EPISODES, range(5), 1, can_share=False))) == 5
    # The samples of a prompt stay together: 3 tokens and 3 + 1 + 4.
    assert list(parts(EPISODES, [0, 1, 3], 1, can_share=True)) == [[0, 1, 3]]
    # Padding counts: rows of 4, 6 and 8 tokens in 16.
    assert list(parts(EPISODES, [0, 1, 4], 16, can_share=False)) == [[1, 0], [4]]


def test_long_rows_do_not_make_short_ones_wait() -> None:
    """A part that is large already takes no row that would leave much padding."""
    short = [Episode(i, tuple([7] * 40), (1,) * 10, False) for i in range(30)]
    long = [Episode(99, tuple([7] * 40), (1,) * 30, False)]
    assert [len(part) for part in parts(short + long, range(31), 10**6, can_share=False)] == [30, 1]


def test_every_pass_asks_every_row_once_in_an_order_of_its_own() -> None:
    asked = [i for step in range(1, 6) for i in rows_of_step(step, 10, 4, key="s")]
    assert sorted(asked[:10]) == sorted(asked[10:]) == list(range(10))
    assert asked[:10] != asked[10:]
    assert rows_of_step(3, 10, 4, key="s") == asked[8:12]
    assert rows_of_step(3, 10, 4, key="other") != asked[8:12]
    # Fewer rows than a step asks.
    assert sorted(rows_of_step(1, 2, 6, key="s")) == [0, 0, 0, 1, 1, 1]


def test_what_is_drawn_depends_on_the_key_and_the_place_alone(lm: LM) -> None:
    found = sampled(lm, [0, 1, 2, 0])
    assert [episode.row for episode in found] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 0, 0, 0]
    assert sampled(lm, [0, 1, 2, 0], batch_size=1) == found
    assert sampled(lm, [0, 1])[:6] == found[:6]
    # A prompt that is asked twice in a step gets other samples, and so does another step.
    assert [e.completion for e in found[:3]] != [e.completion for e in found[9:]]
    assert sampled(lm, [0, 1, 2, 0], key="other") != found


def test_an_episode_knows_whether_it_ended(lm: LM) -> None:
    end = lm.tokenizer.eos_token_id
    found = sampled(lm, [0, 1, 2] * 20, copies=8)
    assert {episode.is_ended for episode in found} == {True, False}
    for episode in found:
        assert (episode.completion[-1] == end) == episode.is_ended
        assert end not in episode.completion[:-1]
        assert episode.is_ended or len(episode.completion) == 9
    assert Episode(0, (1,), (end,), True).is_empty
    assert not Episode(0, (1,), (7,), False).is_empty


def test_texts_have_no_end_token_and_keep_their_space(lm: LM) -> None:
    ids = lm.completion_ids(" Tom broke a kettle.", eos=True)
    assert text_of(Episode(0, (1,), tuple(ids), True), lm) == " Tom broke a kettle."


def test_prompts_are_rendered_as_the_sampler_renders_them(tmp_path: Path, lm: LM) -> None:
    chat = load(str(tiny_model(tmp_path / "chat", chat=True)), device="cpu")
    messages = [{"role": "user", "content": "Tom"}]
    assert chat.tokenizer.decode(prompt_ids(messages, chat, "auto")) == "<|user|>Tom\n<|assistant|>"
    assert prompt_ids("Tom", chat, "auto") == prompt_ids(messages, chat, "auto")
    assert prompt_ids("Tom", chat, "never") == lm.prompt_ids("Tom")
    from ilf.errors import ComponentError

    with pytest.raises(ComponentError, match="chat template"):
        prompt_ids(messages, lm, "auto")
    assert dataclasses.is_dataclass(EPISODES[0])
