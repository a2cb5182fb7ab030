"""RLOO and GRPO: formulas against sums over all outcomes, the update against the definition, and what changes nothing."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import tiny_model, tiny_reward_model
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from ilf.errors import ComponentError, UsageError
from ilf.files import sha256_file
from ilf.strategies import rloo as module
from ilf.strategies._rl import kl_estimate, policy_loss
from ilf.strategies._rollouts import Episode
from ilf.strategies.rloo import RLOO, episode_weights, group_advantages, reinforce_loss

ROOT = Path(__file__).parent.parent.parent
ROWS = [
    {"prompt": "POST: My name is Tom. I broke the kettle.\nTL;DR:"},
    {"prompt": "A"},
    {"prompt": "Anna, a cook, had trouble with a lamp during a storm.\nTL;DR:"},
    {"prompt": "Short.\nTL;DR:"},
]
GRPO: dict[str, Any] = {"advantages": "group_normalised", "kl_in": "loss", "average": "completion"}
KINDS = ("leave_one_out", "group_normalised", "group_centred")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    start = tiny_model(folder / "start")
    return {"start": str(start), "reward": str(tiny_reward_model(folder / "reward", start, mean=0.25))}


def strategy(models: dict[str, str], **changed: Any) -> RLOO:
    small: dict[str, Any] = {
        "reward": models["reward"], "steps": 3, "prompts_per_step": 4, "samples_per_prompt": 3,
        "max_new_tokens": 10, "learning_rate": 1e-3, "device": "cpu", "missing_end_reward": None, "kl_coef": 0.2,
    }  # fmt: skip
    return RLOO(**{**small, **changed})


def train(
    rloo: RLOO, folder: Path, models: dict[str, str], n_rows: int | None = None
) -> list[dict[str, Any]]:
    """Reads ``n_rows`` of the log, resumes the generator and leaves it there; without a number all of them."""
    training = iter(rloo.train(ROWS, folder, start=models["start"], seed=0))
    if n_rows is None:
        return list(training)
    found = [next(training) for _ in range(n_rows + 1)][:n_rows]
    training.close()  # type: ignore[attr-defined]
    return found


def bytes_of(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): sha256_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}


# --- the formulas -----------------------------------------------------------------------------------------


def test_advantages_of_a_group_by_hand() -> None:
    """1, 2 and 6: the others' means are 4, 3.5 and 1.5; the mean is 3, the variance 14 / 2."""
    rewards = torch.tensor([[1.0, 2.0, 6.0], [5.0, 5.0, 5.0]])
    assert group_advantages(rewards, "leave_one_out").tolist() == [[-3.0, -1.5, 4.5], [0.0] * 3]
    assert group_advantages(rewards, "group_centred").tolist() == [[-2.0, -1.0, 3.0], [0.0] * 3]
    expected = torch.tensor([[-2.0, -1.0, 3.0], [0.0] * 3]) / 7**0.5
    assert torch.allclose(group_advantages(rewards, "group_normalised"), expected, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_advantages_add_up_to_nothing_and_see_their_own_group_alone(kind: Any) -> None:
    rewards = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).double()
    found = group_advantages(rewards, kind)
    assert found.sum(1).abs().max() < 1e-12
    assert torch.allclose(group_advantages(rewards + torch.arange(5.0)[:, None], kind), found)
    assert torch.allclose(group_advantages(rewards[2:3], kind)[0], found[2])
    scaled = group_advantages(3 * rewards, kind)
    assert torch.allclose(scaled, found if kind == "group_normalised" else 3 * found, atol=1e-3)


def objective(logits: torch.Tensor, reference: torch.Tensor, rewards: torch.Tensor, kl_coef: float) -> Any:
    """E[r] - kl_coef KL(policy || reference), summed over the arms."""
    policy = logits.softmax(0)
    return policy @ (rewards - kl_coef * (policy / reference).log())


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("kl", ["reward", "k2", "k3"])
def test_the_expected_gradient_is_that_of_the_objective(k: int, kl: str) -> None:
    """Leave-one-out is unbiased: the mean over all groups of k arms, each with its chance, of the loss's gradient.

    With the KL in the loss by k2 too; by k3 the gradient is that of the other KL.
    """
    rewards, reference = torch.tensor([0.3, 1.0, -0.5]).double(), torch.tensor([0.5, 0.2, 0.3]).double()
    logits = torch.tensor([0.2, -0.3, 0.5]).double().requires_grad_()
    logprobs, kl_coef = logits.log_softmax(0), 0.4
    total: Any = 0.0
    for group in itertools.product(range(3), repeat=k):
        arms = torch.tensor(group)
        taken, frozen = logprobs[arms][:, None], reference[arms].log()[:, None]
        d = kl_estimate(taken.detach(), frozen, "k1")[:, 0]
        earned = rewards[arms] - kl_coef * d if kl == "reward" else rewards[arms]
        worth = group_advantages(earned[None], "leave_one_out")[0, :, None]
        losses = reinforce_loss(taken, worth)
        if kl != "reward":
            losses = losses + kl_coef * kl_estimate(taken, frozen, kl)  # type: ignore[arg-type]
        weights = episode_weights(torch.ones(k), "sum")[:, None]
        total = total + logprobs[arms].sum().exp().detach() * (weights * losses).sum()
    [found] = torch.autograd.grad(total, logits, retain_graph=True)
    if kl == "k3":
        other = (reference * (reference / logits.softmax(0)).log()).sum()
        expected = torch.autograd.grad(logits.softmax(0) @ rewards - kl_coef * other, logits)[0]
    else:
        expected = torch.autograd.grad(objective(logits, reference, rewards, kl_coef), logits)[0]
    assert torch.allclose(found, -expected, atol=1e-12)


def test_weights_of_a_token() -> None:
    lengths = torch.tensor([1, 3, 4])
    assert episode_weights(lengths, "sum").tolist() == pytest.approx([1 / 3] * 3)
    assert episode_weights(lengths, "completion").tolist() == pytest.approx([1 / 3, 1 / 9, 1 / 12])
    assert episode_weights(lengths, "token").tolist() == pytest.approx([1 / 8] * 3)


def test_at_ratio_1_the_clipped_loss_has_reinforces_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    logprobs = torch.randn(4, 5, generator=generator).requires_grad_()
    advantages = torch.randn(4, 1, generator=generator)
    ratio = (logprobs - logprobs.detach()).exp()
    [one] = torch.autograd.grad(policy_loss(ratio, advantages, 0.2).sum(), logprobs)
    [other] = torch.autograd.grad(reinforce_loss(logprobs, advantages).sum(), logprobs)
    assert torch.allclose(one, other)


# --- an update --------------------------------------------------------------------------------------------


def by_hand(
    models: dict[str, str], episodes: list[Episode], k: int, settings: dict[str, Any]
) -> tuple[torch.Tensor, list[float], Any]:
    """Loss, rewards and model of a first update: one unpadded text after the other, from all logits."""
    policy = AutoModelForCausalLM.from_pretrained(models["start"])
    classifier = AutoModelForSequenceClassification.from_pretrained(models["reward"])
    rewards, logprobs = [], []
    for episode in episodes:
        ids = torch.tensor([[*episode.prompt, *episode.completion]])
        with torch.no_grad():
            rewards.append(classifier(ids).logits.item() - 0.25)
        found = (policy(ids).logits[0] / settings.get("temperature", 1.0)).log_softmax(-1)
        first = len(episode.prompt)
        logprobs.append(torch.stack([found[t - 1, ids[0, t]] for t in range(first, ids.shape[1])]))
    total = torch.zeros(())
    for i, taken in enumerate(logprobs):
        group = [rewards[j] for j in range(len(rewards)) if j // k == i // k]
        others = [rewards[j] for j in range(len(rewards)) if j // k == i // k and j != i]
        worth = rewards[i] - sum(others) / len(others)
        if settings.get("advantages") == "group_normalised":
            worth = (rewards[i] - sum(group) / k) / (torch.tensor(group).std().item() + 1e-4)
        share = len(taken) if settings.get("average") == "completion" else 1
        total = total - worth * taken.sum() / share / len(episodes)
    return total, rewards, policy


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.7}, GRPO], ids=["rloo", "temperature", "grpo"])
def test_the_first_update_is_the_definitions(
    models: dict[str, str], tmp_path: Path, settings: dict[str, Any]
) -> None:
    """At its start KL is 0, the ratio 1, nothing clipped; loss and gradient are those of the paper's formula."""
    rloo = strategy(models, steps=1, max_new_tokens=30, **settings)
    roles, prompts = rloo.prepare(ROWS, models["start"], 0)
    episodes = rloo.sample(1, roles, prompts, 0)
    assert [episodes[i].prompt for i in range(0, 12, 3)] == [episodes[i].prompt for i in range(2, 12, 3)]
    assert len({len(episode.completion) for episode in episodes}) > 1
    loss, rewards, policy = by_hand(models, episodes, 3, settings)
    loss.backward()
    norm = torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None]).norm().item()
    [row] = train(rloo, tmp_path, models)
    assert row["loss"] == pytest.approx(loss.item(), abs=1e-5)
    assert row["gradient_norm"] == pytest.approx(norm, rel=1e-4)
    assert row["reward"] == pytest.approx(sum(rewards) / 12, abs=1e-5)
    assert (row["kl"], row["kl_k3"]) == pytest.approx((0, 0), abs=1e-5)
    assert (row["ratio"], row["clip_fraction"], row["kl_update"]) == pytest.approx((1, 0, 0), abs=1e-5)
    assert (row["updates"], row["episodes"], row["learning_rate"]) == (1, 12, 1e-3)


def test_the_kl_costs_what_it_says(models: dict[str, str], tmp_path: Path) -> None:
    """In the loss it is kl_coef times the weighted k3 of the step's samples; in the reward it is not in the loss."""
    for average in ("sum", "completion", "token"):
        log = train(strategy(models, kl_in="loss", average=average), tmp_path / average, models)
        share = {"sum": 1, "token": 1 / log[1]["length_tokens"], "completion": None}[average]
        assert log[1]["kl_k3"] > 1e-3
        if share is not None:
            assert log[1]["kl_loss"] == pytest.approx(0.2 * log[1]["kl_k3"] * share, rel=1e-4)
        assert log[1]["loss"] == pytest.approx(log[1]["policy_loss"] + log[1]["kl_loss"], rel=1e-5)
    assert all(row["kl_loss"] == 0 for row in train(strategy(models), tmp_path / "reward", models))


@pytest.mark.parametrize(("kl_in", "total"), [("reward", "reward_total"), ("loss", "reward")])
def test_what_answers_are_compared_by(
    models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kl_in: str, total: str
) -> None:
    """Their scores, less what the KL of each costs where that is in the reward; the groups are the prompts'."""
    compared: list[torch.Tensor] = []

    def spy(rewards: torch.Tensor, kind: Any) -> torch.Tensor:
        compared.append(rewards)
        return group_advantages(rewards, kind)

    monkeypatch.setattr(module, "group_advantages", spy)
    log = train(strategy(models, kl_in=kl_in), tmp_path, models)
    assert [rewards.shape for rewards in compared] == [(4, 3)] * 3
    for row, rewards in zip(log, compared, strict=True):
        assert rewards.mean().item() == pytest.approx(row[total], abs=1e-5)
        assert row["reward_total"] == pytest.approx(row["reward"] - 0.2 * row["kl"], abs=1e-5)
    assert abs(log[2]["kl"]) > 0.01
    one = log[2]["samples"][0]
    expected = one["reward"] - (0.2 * one["kl"] if kl_in == "reward" else 0)
    assert compared[2][0, 0].item() == pytest.approx(expected, abs=1e-5)


def test_more_updates_move_away_from_the_policy_that_sampled(models: dict[str, str], tmp_path: Path) -> None:
    once, often = (
        train(strategy(models, steps=1, learning_rate=3e-3, **how), tmp_path / str(len(how)), models)[0]
        for how in ({}, {"epochs": 3, "minibatches": 2})
    )
    assert (once["updates"], often["updates"]) == (1, 6)
    assert often["kl_update"] > 1e-4
    assert often["ratio"] != pytest.approx(1, abs=1e-6)
    assert often["clip_fraction"] > 0
    with_more_room = strategy(models, steps=1, learning_rate=3e-3, epochs=3, minibatches=2, clip_range=0.9)
    assert train(with_more_room, tmp_path / "room", models)[0]["clip_fraction"] < often["clip_fraction"]


def test_minibatches_are_whole_groups_in_orders_of_their_own(models: dict[str, str]) -> None:
    rloo = strategy(models, prompts_per_step=5, epochs=2, minibatches=2)
    found = list(rloo.minibatches_of(15, "a key"))
    assert [len(minibatch) for minibatch in found] == [6, 9, 6, 9]
    for one, other in (found[:2], found[2:]):
        assert sorted(one + other) == list(range(15))
    assert all(
        minibatch[i : i + 3] == list(range(minibatch[i], minibatch[i] + 3))
        for minibatch in found
        for i in range(0, len(minibatch), 3)
    )
    assert found[:2] != found[2:]


@pytest.mark.parametrize("how", [{}, GRPO, {"average": "token", "epochs": 2, "minibatches": 2}])
def test_parts_are_one_big_batch(models: dict[str, str], tmp_path: Path, how: dict[str, Any]) -> None:
    whole = strategy(models, **how)
    logs = [
        train(rloo, tmp_path / str(i), models)
        for i, rloo in enumerate((whole, replace(whole, microbatch_tokens=1), replace(whole, batch_size=2)))
    ]
    for other in logs[1:]:
        for one_row, other_row in zip(logs[0], other, strict=True):
            one_row.pop("samples", None), other_row.pop("samples", None)
            assert other_row == pytest.approx(one_row, rel=2e-3, abs=1e-4)


def test_every_switch_is_connected(models: dict[str, str], tmp_path: Path) -> None:
    """The second update of each setting is one of its own."""
    changes: list[dict[str, Any]] = [
        {}, {"advantages": "group_normalised"}, {"advantages": "group_centred", "clip": 0.1}, {"kl_in": "loss"},
        {"kl_in": "loss", "kl_estimator": "k2"}, {"average": "completion"}, {"average": "token"}, {"epochs": 2},
        {"minibatches": 2}, {"kl_coef": 0.4}, {"missing_end_reward": -1.0}, {"temperature": 0.7},
    ]  # fmt: skip
    found = set()
    for i, changed in enumerate(changes):
        train(strategy(models, **changed), tmp_path / str(i), models)
        tensors = load_file(tmp_path / str(i) / "model" / "model.safetensors")
        found.add(tuple(round(tensor.double().sum().item(), 7) for tensor in tensors.values()))
    assert len(found) == len(changes)


# --- a training -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, GRPO, {"lora_rank": 2}], ids=["rloo", "grpo", "lora"])
def test_it_earns_what_it_learns(models: dict[str, str], tmp_path: Path, how: dict[str, Any]) -> None:
    rate = 3e-2 if "lora_rank" in how else 1e-2
    given = {
        "steps": 25,
        "samples_per_prompt": 8,
        "max_new_tokens": 5,
        "kl_coef": 0.02,
        "learning_rate": rate,
    }
    rloo = strategy(models, **given, **how)
    log = train(rloo, tmp_path, models)
    first, last = (sum(row["reward"] for row in part) / 5 for part in (log[:5], log[-5:]))
    assert last > first + 0.2, (first, last)
    assert log[-1]["kl"] > 0.1


@pytest.mark.parametrize("how", [{}, {"lora_rank": 2, **GRPO}])
def test_it_goes_on_from_every_step(models: dict[str, str], tmp_path: Path, how: dict[str, Any]) -> None:
    rloo = strategy(models, steps=4, checkpoint_every=1, **how)
    whole = train(rloo, tmp_path / "whole", models)
    for n_rows in (1, 3):
        folder = tmp_path / str(n_rows)
        assert train(rloo, folder, models, n_rows) + train(rloo, folder, models) == whole
        assert bytes_of(folder) == bytes_of(tmp_path / "whole")
        assert [path.name for path in folder.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"samples_per_prompt": 1},
            "rloo.samples_per_prompt: 1 must be 2 or more: an answer is judged beside",
        ),
        ({"clip_range": 0.0}, "rloo.clip_range: 0.0 must be above 0"),
        ({"minibatches": 5}, "rloo.minibatches: 5 are more than a step has prompts"),
        ({"epochs": 0, "minibatches": 0}, "rloo.epochs: 0 must be 1 or more.\nrloo.minibatches: 0"),
    ],
)
def test_settings_that_cannot_work(models: dict[str, str], changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        strategy(models, **changed)
    assert message in str(caught.value)


def test_what_runs_away_is_stopped(models: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(
        ComponentError, match=r"rloo: the policy is .* nats a text .* raise kl_coef|Raise kl_coef"
    ):
        train(strategy(models, steps=20, learning_rate=0.1, max_kl=1.0), tmp_path, models)
    with pytest.raises(ComponentError, match=r"rloo: .*one reward|rloo: no answer"):
        train(strategy(models, steps=9, max_new_tokens=1, missing_end_reward=-1.0), tmp_path / "flat", models)


_DRIVER = """
import json, sys
from pathlib import Path
import torch
from ilf import _ranks
from ilf.strategies.rloo import RLOO
torch.set_num_threads(1)
folder, rows, start, settings = json.loads(sys.argv[1])
log = list(RLOO(**settings).train(rows, Path(folder), start=start, seed=0))
(Path(folder) / f"log{_ranks.index()}.json").write_text(json.dumps(log))
_ranks.meet()
"""


@pytest.mark.slow
def test_two_processes_draw_the_curve_of_one(models: dict[str, str], tmp_path: Path) -> None:
    """Both log the same rows, the first alone writes the model, and float error is all that differs from one process."""
    (tmp_path / "driver.py").write_text(_DRIVER)
    settings = {
        "reward": models["reward"], "steps": 4, "prompts_per_step": 4, "samples_per_prompt": 3, "minibatches": 4,
        "max_new_tokens": 10, "learning_rate": 3e-4, "device": "cpu", "missing_end_reward": None, **GRPO,
    }  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    logs: list[Any] = []
    for n in (1, 2):
        folder = tmp_path / str(n)
        folder.mkdir()
        launched = [sys.executable] if n == 1 else [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
        ]  # fmt: skip
        given = json.dumps([str(folder), ROWS, models["start"], settings])
        subprocess.run([*launched, str(tmp_path / "driver.py"), given], env=environment, check=True)
        logs += [json.loads((folder / f"log{rank}.json").read_text()) for rank in range(n)]
    alone, first, second = logs
    assert first == second
    for one, other in zip(alone, first, strict=True):
        one.pop("samples", None), other.pop("samples", None)
        assert other == pytest.approx(one, rel=2e-3, abs=1e-4)
