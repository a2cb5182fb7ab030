"""Reward models: one forward a text, the mean over prompts of the mean over pairs, and what is left on disk."""

from __future__ import annotations

import itertools
import json
import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file
from tiny_models import tiny_model
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

import rankers
from ilf.files import sha256_file
from ilf.strategies import _end_states
from ilf.strategies._encode import Example, encode
from ilf.strategies._end_states import EndStates, end_states_of
from ilf.strategies._fingerprint import fingerprint
from ilf.strategies.reward import Reward, bradley_terry_loss, plackett_luce_loss
from rankers._lm import load
from rankers._reward import load_reward

KINDS = ("llama", "qwen2", "gpt2")
PROMPTS = ("POST: I am Tom. I broke the kettle.\nTL;DR:", "Anna has a lamp.\nTL;DR:", "Short.")
TEXTS = (" Tom broke a kettle.", " Tom.", " A lamp, which cost 40 coins, in Brimley.", "")
RANKINGS = ([[2], [0], [1], [3]], [[0], [1, 3], [2]], [[3, 2], [1, 0]])
QUICK = Reward(batch_size=8, learning_rate=1e-3, device="cpu")
STILL = replace(QUICK, learning_rate=1e-30, normalise="none")


def rankings(**more: Any) -> list[dict[str, Any]]:
    return [
        {"prompt": prompt, "outputs": list(TEXTS), "ranking": ranking, **more}
        for prompt, ranking in zip(PROMPTS, RANKINGS, strict=True)
    ]


def pairs(rows: Sequence[dict[str, Any]] | None = None, **more: Any) -> list[dict[str, Any]]:
    """All pairs of the rankings, ties among them."""
    found = []
    for row in rankings() if rows is None else rows:
        ranks = {i: rank for rank, group in enumerate(row["ranking"]) for i in group}
        for i, j in itertools.combinations(sorted(ranks, key=lambda i: ranks[i]), 2):
            pair = {"chosen": row["outputs"][i], "rejected": row["outputs"][j]}
            is_tied = ranks[i] == ranks[j]
            margin = (ranks[j] - ranks[i]) / 3
            found.append({"prompt": row["prompt"], **pair, "is_tied": is_tied, "margin": margin, **more})
    return found


def tune(
    strategy: Reward, folder: Path, start: str, rows: Any = None, *, seed: int = 0
) -> list[dict[str, Any]]:
    if rows is None:
        rows = pairs() if strategy.loss == "pairwise" else rankings()
    return list(strategy.train(rows, folder, start=start, seed=seed))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def bytes_of(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def by_classifier(folder: Path) -> dict[tuple[str, str], float]:
    """Rewards of all texts as transformers reads them, one by one and without padding."""
    model = AutoModelForSequenceClassification.from_pretrained(folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    found = {}
    for prompt, text in itertools.product(PROMPTS, TEXTS):
        ids = [tokenizer(part, add_special_tokens=False)["input_ids"] for part in (prompt, text)]
        with torch.no_grad():
            logits = model(torch.tensor([[*ids[0], *ids[1], tokenizer.eos_token_id]])).logits
        found[prompt, text] = logits.item()
    return found


def said(gap: float, *, tied: bool = False, margin: float = 0.0, **how: Any) -> float:
    return bradley_terry_loss(torch.tensor([gap]), torch.tensor([tied]), torch.tensor([margin]), **how).item()


def placed(rewards: Sequence[float], levels: Sequence[int]) -> float:
    return plackett_luce_loss(torch.tensor([rewards]), torch.tensor([levels])).item()


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("starts")
    return {kind: str(tiny_model(folder / kind, kind)) for kind in KINDS}


# --- training on them -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_loss_is_the_mean_over_prompts_of_the_mean_over_pairs(
    starts: dict[str, str], tmp_path: Path, kind: str
) -> None:
    """Against the classifier that was saved, read by transformers one text after the other."""
    strategy = replace(STILL, margin=0.5, label_smoothing=0.1)
    [row] = tune(strategy, tmp_path, starts[kind])
    read = by_classifier(tmp_path)
    by_prompt = [
        [
            said(
                read[pair["prompt"], pair["chosen"]] - read[pair["prompt"], pair["rejected"]],
                tied=pair["is_tied"],
                margin=0.5 * pair["margin"],
                label_smoothing=0.1,
            )
            for pair in pairs()
            if pair["prompt"] == prompt
        ]
        for prompt in PROMPTS
    ]
    assert [len(losses) for losses in by_prompt] == [6, 6, 6]
    assert row["loss"] == pytest.approx(sum(sum(losses) / 6 for losses in by_prompt) / 3, abs=1e-5)
    untied = [pair for pair in pairs() if not pair["is_tied"]]
    gaps = [read[p["prompt"], p["chosen"]] - read[p["prompt"], p["rejected"]] for p in untied]
    assert row["pairs"] == len(gaps) == 15
    assert row["accuracy"] == pytest.approx(sum(gap > 0 for gap in gaps) / 15)
    assert row["reward_gap"] == pytest.approx(sum(gaps) / 15, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_whole_rankings_too(starts: dict[str, str], tmp_path: Path, kind: str) -> None:
    [row] = tune(replace(STILL, loss="plackett_luce"), tmp_path, starts[kind])
    read = by_classifier(tmp_path)
    losses = []
    for prompt, ranking in zip(PROMPTS, RANKINGS, strict=True):
        order = [(i, level) for level, group in enumerate(ranking) for i in group]
        losses.append(placed([read[prompt, TEXTS[i]] for i, _ in order], [level for _, level in order]))
    assert row["loss"] == pytest.approx(sum(losses) / 3, abs=1e-5)
    assert row["pairs"] == 15


def test_every_text_is_run_once(starts: dict[str, str], tmp_path: Path, monkeypatch: Any) -> None:
    """Six pairs of four texts: four forwards; and a prompt is read once for its completions."""
    seen: list[list[int]] = []
    original = EndStates.__call__

    def spy(self: EndStates, groups: Sequence[Sequence[Example]]) -> torch.Tensor:
        seen.append([len(group) for group in groups])
        return original(self, groups)

    monkeypatch.setattr(EndStates, "__call__", spy)
    rows: list[int] = []
    tree_of = _end_states.tree_of
    monkeypatch.setattr(_end_states, "tree_of", lambda texts: rows.append(len(texts)) or tree_of(texts))
    tune(QUICK, tmp_path, starts["llama"])
    # The first are a trial of whether the model can.
    assert seen == [[2, 1], [4, 4, 4]]
    assert rows == [2, 3]
    # Long answers to a short prompt are read one by one: attention over all of them would cost more.
    reader = EndStates(lambda **_: None, "cpu", can_share=True)
    short, long = [[Example((1,) * n, (2, 2, 2, 2, i)) for i in range(4)] for n in (1, 9)]
    assert [reader.n_tokens(group) for group in (short, long)] == [24, 29]
    assert replace(reader, can_share=False).n_tokens(long) == 56


@pytest.mark.parametrize("loss", ["pairwise", "plackett_luce"])
def test_microbatches_are_one_big_batch(starts: dict[str, str], tmp_path: Path, loss: Any) -> None:
    strategy = replace(QUICK, loss=loss, epochs=3)
    whole = tune(strategy, tmp_path / "whole", starts["llama"])
    split = tune(replace(strategy, microbatch_tokens=1), tmp_path / "split", starts["llama"])
    for one, other in zip(whole[:-1], split[:-1], strict=True):
        assert other == pytest.approx(one, rel=1e-4)
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.allclose(weights(tmp_path / "split")[name], tensor, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_states_do_not_depend_on_padding_neighbours_or_a_shared_prompt(
    starts: dict[str, str], kind: str
) -> None:
    """Forward and backward: one text after the other, all in a batch, and as trees."""
    lm = load(starts[kind], device="cpu")
    trunk = lm.model.base_model
    shared = end_states_of(lm, trunk)
    assert shared.can_share
    plain = EndStates(trunk, "cpu", can_share=False)
    groups = [[encode(prompt, text, lm) for text in TEXTS] for prompt in (*PROMPTS, "A", "A " * 60)]
    # Nothing keeps a group to one prompt.
    groups.append([encode(prompt, " Tom.", lm) for prompt in (*PROMPTS, "A " * 60)])
    pull = torch.randn(24, 24, generator=torch.Generator().manual_seed(0))

    def states_and_gradient(reader: EndStates, batches: Any) -> tuple[torch.Tensor, torch.Tensor]:
        states = torch.cat([reader(batch) for batch in batches])
        (states * pull).sum().backward()
        found = torch.cat([p.grad.flatten() for p in lm.model.parameters() if p.grad is not None])
        lm.model.zero_grad()
        return states.detach(), found

    expected = states_and_gradient(plain, [[[text]] for group in groups for text in group])
    for reader, batches in ((plain, [groups]), (shared, [groups]), (shared, [[g] for g in groups])):
        states, gradient = states_and_gradient(reader, batches)
        assert torch.allclose(states, expected[0], atol=1e-5, rtol=1e-4)
        assert torch.allclose(gradient, expected[1], atol=1e-3, rtol=1e-3)


def test_dropout_is_off_and_the_epsilon_is_large(starts: dict[str, str], tmp_path: Path) -> None:
    start = tmp_path / "start"
    tiny_model(start, "gpt2")
    config = json.loads((start / "config.json").read_text())
    (start / "config.json").write_text(json.dumps({**config, "resid_pdrop": 0.5, "embd_pdrop": 0.5}))
    log = tune(replace(QUICK, epochs=2), tmp_path / "one", str(start))
    assert log == tune(replace(QUICK, epochs=2), tmp_path / "two", starts["gpt2"])
    assert QUICK.optimizer([torch.nn.Parameter(torch.zeros(1))]).defaults["eps"] == 1e-5


def test_ties_are_halves_modelled_or_left_out(
    starts: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = tune(replace(STILL, head="zero"), tmp_path / "half", starts["llama"])
    assert kept[0]["loss"] == pytest.approx(math.log(2))
    with caplog.at_level(logging.WARNING):
        dropped = tune(replace(STILL, ties="drop"), tmp_path / "drop", starts["llama"])
    assert "3 of 18 pairs are ties: left out" in caplog.text
    untied = [pair for pair in pairs() if not pair["is_tied"]]
    assert dropped == tune(replace(STILL, ties="half"), tmp_path / "untied", starts["llama"], untied)
    # At equal rewards a tie is as likely as ties were: 3.5 of 19.
    share = 3.5 / 19
    [row] = tune(replace(STILL, ties="davidson", head="zero"), tmp_path / "davidson", starts["llama"])
    assert row["tie_parameter"] == pytest.approx(2 * share / (1 - share))
    by_prompt = [-(n * math.log(share) + (6 - n) * math.log((1 - share) / 2)) / 6 for n in (0, 1, 2)]
    assert row["loss"] == pytest.approx(sum(by_prompt) / 3, rel=1e-5)
    moved = tune(
        replace(QUICK, ties="davidson", epochs=3, learning_rate=1e-2), tmp_path / "moved", starts["llama"]
    )
    assert moved[-1]["tie_parameter"] != pytest.approx(row["tie_parameter"], rel=1e-3)


def held_out() -> list[dict[str, Any]]:
    return [{**row, "prompt": f"{row['prompt']} Really?", "split": "validation"} for row in pairs()]


def test_held_out_pairs_are_measured_and_never_trained_on(starts: dict[str, str], tmp_path: Path) -> None:
    alone = tune(replace(QUICK, epochs=2), tmp_path / "alone", starts["llama"])
    both = tune(replace(QUICK, epochs=2), tmp_path / "both", starts["llama"], [*held_out(), *pairs()])
    assert alone[-1]["validation"] is None
    assert both[-1]["validation"]["pairs"] == 15
    assert both[-1]["validation"]["prompts"] == 3
    assert both[-1]["validation"]["ties"] == 3
    assert weights(tmp_path / "alone").keys() == weights(tmp_path / "both").keys()
    assert all(torch.equal(weights(tmp_path / "both")[k], w) for k, w in weights(tmp_path / "alone").items())
    assert [row["loss"] for row in alone] == [row["loss"] for row in both]
    card = (tmp_path / "both" / "model" / "README.md").read_text()
    assert f"validation: accuracy {both[-1]['validation']['accuracy']:.3f}" in card
    assert "validation: no pair was measured" in (tmp_path / "alone" / "model" / "README.md").read_text()


@pytest.mark.parametrize("loss", ["pairwise", "plackett_luce"])
def test_it_learns_an_order_that_is_there(starts: dict[str, str], tmp_path: Path, loss: Any) -> None:
    """Kettles are best and Anna is worst, whoever asks: learnt from 40 prompts, true of 20 others."""
    outputs = [" Tom broke a kettle.", " Tom had a lamp.", " Anna."]
    rows = [
        {"prompt": f"P{i}:", "outputs": outputs, "ranking": [[0], [1], [2]], "split": split}
        for i, split in enumerate(["train"] * 40 + ["validation"] * 20)
    ]
    made = [{**p, "split": r["split"]} for r in rows for p in pairs([r])] if loss == "pairwise" else rows
    strategy = replace(QUICK, loss=loss, epochs=6, learning_rate=3e-3)
    log = tune(strategy, tmp_path, starts["llama"], made)
    assert log[-1]["validation"]["accuracy"] == 1.0
    assert log[-1]["training"]["accuracy"] == 1.0
    assert log[-1]["loss"] < log[0]["loss"] / 2
    ranker = rankers.Reward(str(tmp_path / "model"), device="cpu")
    assert rankers.rank(ranker, {"prompt": "P99:"}, outputs[::-1]) == [2, 1, 0]


# --- where zero is, and what is written -------------------------------------------------------------------


def read_back(folder: Path, texts: Sequence[str] = TEXTS) -> torch.Tensor:
    ranker = rankers.Reward(str(folder / "model"), device="cpu")
    return torch.tensor(ranker.score([{"prompt": prompt} for prompt in PROMPTS], [texts] * 3))


def test_rewards_are_zero_on_average_where_they_should_be(starts: dict[str, str], tmp_path: Path) -> None:
    demonstration = " Tom broke his kettle, paid 40 coins."
    rows = [{**row, "completion": demonstration} for row in pairs()]
    for name, how in (
        ("none", {"normalise": "none"}),
        ("outputs", {}),
        ("completion", {"normalise": "completion"}),
        ("unit", {"unit_variance": True}),
    ):
        tune(replace(QUICK, epochs=2, **how), tmp_path / name, starts["llama"], rows)
    raw = read_back(tmp_path / "none")
    assert raw.mean().abs() > 1e-3
    assert torch.allclose(read_back(tmp_path / "outputs"), raw - raw.mean(), atol=1e-5)
    others = read_back(tmp_path / "none", [demonstration]).mean()
    assert torch.allclose(read_back(tmp_path / "completion"), raw - others, atol=1e-5)
    unit = read_back(tmp_path / "unit")
    assert torch.allclose(unit, (raw - raw.mean()) / raw.std(correction=0), atol=1e-4)


def test_the_head_is_drawn_small_zero_or_kept(starts: dict[str, str], tmp_path: Path) -> None:
    heads = []
    for seed in range(12):
        tune(STILL, tmp_path / str(seed), starts["llama"], seed=seed)
        heads.append(weights(tmp_path / str(seed))["score.weight"])
    assert torch.cat(heads).std().item() == pytest.approx((24 + 1) ** -0.5, rel=0.15)
    tune(replace(STILL, head="zero"), tmp_path / "zero", starts["llama"])
    assert weights(tmp_path / "zero")["score.weight"].abs().max() < 1e-20
    # The trunk is the start's; a reward model that goes on learning keeps its head.
    start = load_file(Path(starts["llama"]) / "model.safetensors")
    assert all(torch.equal(weights(tmp_path / "0")[k], w) for k, w in start.items() if k != "lm_head.weight")
    tune(STILL, tmp_path / "on", str(tmp_path / "0" / "model"), seed=7)
    assert torch.equal(weights(tmp_path / "on")["score.weight"], heads[0])


def test_it_is_read_in_the_form_that_it_was_trained_in(tmp_path: Path) -> None:
    """Messages through the chat template, strings with it or without: the mean reward read back is 0."""
    start = str(tiny_model(tmp_path / "start", chat=True))
    messages = [{**row, "prompt": [{"role": "user", "content": row["prompt"]}]} for row in pairs()]
    for name, rows, chat in (
        ("chat", messages, "auto"),
        ("text", pairs(), "auto"),
        ("never", pairs(), "never"),
    ):
        tune(replace(QUICK, chat=chat), tmp_path / name, start, rows)
        ranker = rankers.Reward(str(tmp_path / name / "model"), device="cpu", chat=chat)
        queries = [{"prompt": prompt} for prompt in dict.fromkeys(json.dumps(r["prompt"]) for r in rows)]
        queries = [{"prompt": json.loads(query["prompt"])} for query in queries]
        assert torch.tensor(ranker.score(queries, [TEXTS] * 3)).mean().abs() < 1e-5
    assert weights(tmp_path / "chat").keys() == weights(tmp_path / "text").keys()
    for key, tensor in weights(tmp_path / "chat").items():
        assert torch.equal(weights(tmp_path / "text")[key], tensor)
    with pytest.raises(rankers.RankerError, match="trained with chat=never"):
        read_back(tmp_path / "never")


@pytest.mark.parametrize("kind", KINDS)
def test_the_adapter_on_the_trunk_is_the_merged_model(
    starts: dict[str, str], tmp_path: Path, kind: str
) -> None:
    strategy = replace(QUICK, epochs=4, learning_rate=1e-2, lora_rank=4, unit_variance=True)
    tune(strategy, tmp_path, starts[kind])
    causal = AutoModelForCausalLM.from_pretrained(starts[kind])
    adapter = tmp_path / "model" / "adapter"
    base = json.loads((adapter / "base.json").read_text())
    assert base["fingerprint"] == fingerprint(causal)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert base["reward_mean"] == config["reward_mean"] != 0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        adapted = peft.PeftModel.from_pretrained(causal, adapter, adapter_name="reward")
    assert fingerprint(adapted) == base["fingerprint"]
    lm = load_reward(str(tmp_path / "model"), device="cpu")
    ids = torch.tensor([[*lm.prompt_ids(PROMPTS[0]), *lm.completion_ids(TEXTS[0], eos=True)]])
    head = load_file(adapter / "head.safetensors")["weight"]
    assert head.shape == (1, 24)
    with torch.no_grad():
        found = adapted.get_base_model().base_model(input_ids=ids)[0][0, -1] @ head[0] - base["reward_mean"]
    assert found.item() == pytest.approx(read_back(tmp_path)[0, 0].item(), abs=1e-4)
    assert fingerprint(lm.model) != base["fingerprint"]
    for path in (tmp_path / "model").rglob("*"):
        for place in (tmp_path, Path(starts[kind]).parent, Path.cwd(), Path.home()):
            assert path.is_dir() or str(place).encode() not in path.read_bytes(), path.name


def test_same_seed_same_bytes_and_only_the_asked_layers_learn(starts: dict[str, str], tmp_path: Path) -> None:
    strategy = replace(QUICK, epochs=2, lora_rank=2, lora_targets=("q_proj",))
    logs = [tune(strategy, tmp_path / name, starts["llama"], seed=5) for name in ("one", "two")]
    assert logs[0] == logs[1]
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")
    tune(replace(STILL, lora_rank=2), tmp_path / "still", starts["llama"], seed=5)
    still = weights(tmp_path / "still")["score.weight"]
    assert not torch.allclose(weights(tmp_path / "one")["score.weight"], still, atol=1e-4)
    start = load_file(Path(starts["llama"]) / "model.safetensors")
    moved = {
        name for name, w in weights(tmp_path / "one").items() if not torch.equal(w, start.get(name, w + 1))
    }
    assert moved == {"score.weight", *(f"model.layers.{i}.self_attn.q_proj.weight" for i in (0, 1))}
