"""Chain of hindsight: which tokens count, both answers in one forward, hidden tokens really hidden."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import EOS, tiny_model

from ilf.errors import ComponentError, DataError, UsageError
from ilf.generators.framed import Framed
from ilf.generators.transformers_lm import TransformersLM
from ilf.strategies._imitation import Text, imitated_logprob
from ilf.strategies.chain_of_hindsight import ChainOfHindsight, chain, visible_tokens
from rankers._lm import LM, load
from rankers._logprobs import trunk_and_head

ROWS = [
    {
        "prompt": "POST: It broke.\nTL;DR:",
        "output": " Tom.",
        "critique": "Say what.",
        "completion": " Tom broke it.",
    },
    {"prompt": "A", "output": " B and {prompt}", "critique": "Shorter, {output}.", "completion": " B"},
    {"prompt": [{"role": "user", "content": "Hi"}], "output": "", "critique": "Say hi.", "completion": "Hi"},
]
CHAIN = "{prompt}{output}\nFEEDBACK: {critique}\nBETTER:{completion}"
CUE = "{prompt}\nBETTER:{completion}"
QUICK = ChainOfHindsight(batch_size=8, learning_rate=1e-3, device="cpu", templates=(CHAIN,))


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("starts")
    made = {kind: str(tiny_model(folder / kind, kind)) for kind in ("llama", "gpt2", "qwen2")}
    return {**made, "bos": str(tiny_model(folder / "bos", bos=True))}


def pieces(lm: LM, text: Text) -> list[tuple[str, int]]:
    """Runs of tokens with the same mask, decoded."""
    found: list[tuple[list[int], int]] = []
    for token, counts in zip(text.ids, text.loss_mask, strict=True):
        if not found or found[-1][1] != counts:
            found.append(([], counts))
        found[-1][0].append(token)
    return [(lm.tokenizer.decode(ids), counts) for ids, counts in found]


# --- which tokens count -----------------------------------------------------------------------------------


def test_answers_count_and_nothing_else_does(starts: dict[str, str]) -> None:
    """The end token stands behind the completion alone, and braces inside a row's texts stay what they are."""
    lm = load(starts["llama"], device="cpu")
    assert pieces(lm, chain(CHAIN, ROWS[0], lm)) == [
        ("POST: It broke.\nTL;DR:", 0),
        (" Tom.", 1),
        ("\nFEEDBACK: Say what.\nBETTER:", 0),
        (f" Tom broke it.{EOS}", 1),
    ]
    assert pieces(lm, chain(CHAIN, ROWS[1], lm))[1:3] == [
        (" B and {prompt}", 1),
        ("\nFEEDBACK: Shorter, {output}.\nBETTER:", 0),
    ]
    # An empty answer has no token that counts.
    assert pieces(lm, chain(CHAIN, ROWS[2], lm)) == [
        ("user: Hi\nFEEDBACK: Say hi.\nBETTER:", 0),
        (f"Hi{EOS}", 1),
    ]
    assert pieces(lm, chain(CUE, ROWS[0], lm)) == [
        ("POST: It broke.\nTL;DR:\nBETTER:", 0),
        (f" Tom broke it.{EOS}", 1),
    ]


def test_a_tokenizer_with_a_begin_token_puts_one_at_the_front_alone(starts: dict[str, str]) -> None:
    lm = load(starts["bos"], device="cpu")
    text = chain(CHAIN, ROWS[0], lm)
    begin = lm.tokenizer.bos_token_id
    assert [i for i, token in enumerate(text.ids) if token == begin] == [0]
    assert text.loss_mask[0] == 0


def test_the_cue_is_what_framed_asks_with(starts: dict[str, str]) -> None:
    """The same ids as behind the prompt in training, for texts with and without a begin token."""
    for kind in ("llama", "bos"):
        lm = load(starts[kind], device="cpu")
        inner = TransformersLM(starts[kind], device="cpu", chat="never")
        policy = Framed(inner, template=CUE.removesuffix("{completion}"))
        for row in ROWS:
            text = chain(CUE, row, lm)
            n_asked = text.loss_mask.index(1)
            assert inner.prompt_ids(policy.framed(row["prompt"])) == list(text.ids[:n_asked])


# --- the loss ---------------------------------------------------------------------------------------------


def by_hand(lm: LM, row: dict[str, Any]) -> tuple[torch.Tensor, int]:
    """Sum of -log p over both answers and the last end token, each answer by a text of its own."""
    tokenise = lambda text: lm.tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    prompt, output = tokenise(row["prompt"]), tokenise(row["output"])
    told = tokenise(f"\nFEEDBACK: {row['critique']}\nBETTER:")
    answer = [*tokenise(row["completion"]), lm.tokenizer.eos_token_id]
    total = torch.zeros(())
    for before, learnt in ((prompt, output), ([*prompt, *output, *told], answer)):
        ids = [*before, *learnt]
        logprobs = lm.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        for t in range(len(before), len(ids)):
            total = total - logprobs[t - 1, ids[t]]
    return total, len(output) + len(answer)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_first_loss_is_the_mean_over_the_tokens_of_both_answers(
    starts: dict[str, str], tmp_path: Path, kind: str
) -> None:
    """One forward for what are two texts by hand, also in parts and whatever the order of the rows."""
    lm = load(starts[kind], device="cpu")
    found = [by_hand(lm, row) for row in ROWS[:2]]
    mean = (found[0][0] + found[1][0]) / (found[0][1] + found[1][1])
    mean.backward()
    norm = torch.cat([p.grad.flatten() for p in lm.model.parameters()]).norm().item()
    lm.model.zero_grad()
    for name, rows, how in (
        ("a", ROWS[:2], {}),
        ("b", ROWS[1::-1], {}),
        ("c", ROWS[:2], {"microbatch_tokens": 1}),
    ):
        [row] = replace(QUICK, **how).train(rows, tmp_path / name, start=starts[kind], seed=0)
        assert row["loss"] == pytest.approx(mean.item(), abs=1e-5)
        assert row["tokens"] == found[0][1] + found[1][1]
        assert row["gradient_norm"] == pytest.approx(norm, rel=1e-4)


def test_every_row_is_read_in_every_template_once_an_epoch(starts: dict[str, str], tmp_path: Path) -> None:
    both = replace(QUICK, templates=(CHAIN, CUE))
    [row] = both.train(ROWS, tmp_path / "both", start=starts["llama"], seed=0)
    apart = [
        next(iter(replace(QUICK, templates=(t,)).train(ROWS, tmp_path / name, start=starts["llama"], seed=0)))
        for name, t in (("chain", CHAIN), ("cue", CUE))
    ]
    n_targets = [found["tokens"] for found in apart]
    assert row["tokens"] == sum(n_targets)
    weighted = sum(found["loss"] * n for found, n in zip(apart, n_targets, strict=True)) / sum(n_targets)
    assert row["loss"] == pytest.approx(weighted, rel=1e-5)
    card = (tmp_path / "both" / "model" / "README.md").read_text()
    assert "on 3 rows, seed 0" in card


def test_it_learns_to_answer_behind_the_cue_and_to_end(starts: dict[str, str], tmp_path: Path) -> None:
    strategy = replace(QUICK, templates=(CHAIN, CUE), learning_rate=1e-2, epochs=60)
    rows = ROWS[:2]
    list(strategy.train(rows, tmp_path, start=starts["llama"], seed=0))
    inner = TransformersLM(str(tmp_path / "model"), device="cpu", temperature=0.0, max_new_tokens=12)
    answers = Framed(inner, template="{prompt}\nBETTER:").generate([row["prompt"] for row in rows], 1, [0, 0])
    assert answers == [[row["completion"]] for row in rows]


# --- forgetting -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
def test_a_hidden_token_is_seen_by_no_other_and_moves_none(starts: dict[str, str], kind: str) -> None:
    """Any token may stand in its place, and positions are counted over all tokens."""
    lm = load(starts[kind], device="cpu")
    parts = trunk_and_head(lm.model)
    loss_mask = (0, 0, 0, 0, 0, 1, 1)

    def logprob(hidden: int | None, token: int) -> float:
        ids = [5, 6, 7, 8, 9, 10, 11]
        ids[2] = token
        visible = torch.tensor([[int(i != hidden) for i in range(6)]])
        inputs = {"attention_mask": visible, "position_ids": torch.arange(6)[None]}
        with torch.no_grad():
            return float(imitated_logprob(parts, [Text(tuple(ids), loss_mask)], "cpu", **inputs))

    assert logprob(2, 7) == pytest.approx(logprob(2, 30), abs=1e-5)
    assert abs(logprob(None, 7) - logprob(None, 30)) > 1e-3
    assert abs(logprob(2, 7) - logprob(None, 7)) > 1e-3
    # Not as if the text were shorter: the others keep their places.
    with torch.no_grad():
        cut = float(imitated_logprob(parts, [Text((5, 6, 8, 9, 10, 11), (0, 0, 0, 0, 1, 1))], "cpu"))
    assert abs(cut - logprob(2, 7)) > 1e-4


def test_shares_are_drawn_between_nothing_and_the_most() -> None:
    """Mean share half of the most, the first token never hidden."""
    rng = random.Random(0)
    masks = [visible_tokens(101, 0.4, rng) for _ in range(400)]
    assert all(len(mask) == 101 and mask[0] == 1 for mask in masks)
    shares = [mask[1:].count(0) / 100 for mask in masks]
    assert sum(shares) / 400 == pytest.approx(0.2, abs=0.02)
    assert min(shares) < 0.03
    assert 0.35 < max(shares) < 0.55
    assert visible_tokens(1, 0.4, rng) == [1]


def test_hiding_changes_the_loss_by_seed_and_epoch_not_by_parts(
    starts: dict[str, str], tmp_path: Path
) -> None:
    strategy = replace(QUICK, forget_share=0.5, epochs=3, final_share=1.0, learning_rate=1e-12)

    def losses(name: str, seed: int = 0, **how: Any) -> list[float]:
        return [
            row["loss"]
            for row in replace(strategy, **how).train(ROWS, tmp_path / name, start=starts["llama"], seed=seed)
        ]

    forgetful, plain = losses("a"), losses("b", forget_share=0.0)
    # The rate is next to nothing: only what is hidden differs between epochs.
    assert max(plain) - min(plain) < 1e-4
    assert min(abs(a - b) for a, b in ((forgetful[0], forgetful[1]), (forgetful[1], forgetful[2]))) > 1e-3
    assert abs(forgetful[0] - plain[0]) > 1e-3
    assert losses("c", microbatch_tokens=1) == pytest.approx(forgetful, abs=1e-5)
    assert abs(losses("d", seed=1)[0] - forgetful[0]) > 1e-3


def test_positions_are_counted_over_hidden_tokens_too(starts: dict[str, str]) -> None:
    """Said to the model, because some (OPT) would count the visible ones."""
    texts = [Text(tuple(range(5, 45)), (0,) * 39 + (1,)), Text((5, 6, 7), (0, 0, 1))]
    lm = load(starts["llama"], device="cpu")
    inputs = replace(QUICK, forget_share=0.9)._forgetful(texts, lm, 0)([1, 0])
    assert inputs["position_ids"].tolist() == [list(range(39))] * 2
    visible = inputs["attention_mask"]
    assert visible[:, 0].tolist() == [1, 1]
    assert 0 < visible[1].sum() < 39


def test_hiding_is_seeded_down_to_the_bytes_also_with_adapters(
    starts: dict[str, str], tmp_path: Path
) -> None:
    strategy = replace(QUICK, forget_share=0.3, lora_rank=2, epochs=2)
    for name in ("one", "two"):
        list(strategy.train(ROWS, tmp_path / name, start=starts["gpt2"], seed=3))
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    assert all(torch.equal(two[key], tensor) for key, tensor in one.items())


def test_a_model_that_counts_visible_tokens_is_refused(
    starts: dict[str, str], tmp_path: Path, monkeypatch: Any
) -> None:
    from transformers import LlamaForCausalLM

    monkeypatch.setattr(
        LlamaForCausalLM, "forward", lambda self, input_ids, use_cache=False: LlamaForCausalLM.__call__
    )
    strategy = replace(QUICK, forget_share=0.3)
    lm = load(starts["llama"], device="cpu")
    with pytest.raises(ComponentError, match="chain_of_hindsight: LlamaForCausalLM.*forget_share=0"):
        strategy._forgetful([], lm, 0)


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"templates": ()}, "templates: at least one"),
        ({"templates": (CHAIN, "{prompt}{output}")}, r"templates\[1\]: {completion} must stand"),
        ({"templates": ("{output}{completion}",)}, r"templates\[0\]: {prompt} must stand in"),
        ({"templates": ("{output}{prompt}{completion}",)}, r"{prompt} must stand before the answers"),
        ({"templates": ("{prompt}{completion}\nWORSE:{output}",)}, "must end with {completion}"),
        ({"templates": ("{prompt}{completion}.",)}, "must end with {completion}"),
        ({"templates": ("{prompt}{output}{output}{completion}",)}, "each answer once"),
        ({"templates": ("{prompt}{facts}{completion}",)}, "{facts} cannot be filled in"),
        ({"forget_share": 1.0}, "forget_share: 1.0 must be in"),
        ({"forget_share": -0.1}, "forget_share"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_settings_that_teach_nothing_are_refused(how: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=f"chain_of_hindsight.*{told}"):
        replace(QUICK, **how)


def test_the_defaults_are_a_chain_and_its_cue() -> None:
    first, second = ChainOfHindsight().templates
    places = [first.index(f"{{{name}}}") for name in ("prompt", "output", "critique", "completion")]
    assert places == sorted(places)
    # What stands right before the better answer is the same in both, or the cue would be another.
    cue = second.removeprefix("{prompt}")
    assert first.endswith(cue)


def test_long_rows_are_named_by_their_longest_text(starts: dict[str, str], tmp_path: Path) -> None:
    rows = [ROWS[0], {**ROWS[1], "output": "x " * 600}]
    with pytest.raises(DataError, match=r"chain_of_hindsight: 1 row.*\n  row 2: \d+ tokens"):
        list(replace(QUICK, templates=(CUE, CHAIN)).train(rows, tmp_path, start=starts["llama"], seed=0))
