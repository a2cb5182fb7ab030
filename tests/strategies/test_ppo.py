"""PPO's invariants: what must hold at the start, what never learns, what changes nothing, and where it stops."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import tiny_model, tiny_reward_model

from ilf.errors import ComponentError, DataError, UsageError
from ilf.strategies import _online
from ilf.strategies._policy import Roles
from ilf.strategies._rollouts import Episode, roll_out
from ilf.strategies.ppo import PPO, _Goal
from ilf.strategies.reward import Reward
from rankers._lm import load

ROWS = [
    {"prompt": "POST: My name is Tom. I broke the kettle.\nTL;DR:"},
    {"prompt": "A"},
    {"prompt": "Anna, a cook, had trouble with a lamp during a storm.\nTL;DR:"},
    {"prompt": "Short.\nTL;DR:"},
]
PAIRS = [
    {"prompt": row["prompt"], "chosen": f" Tom {i}.", "rejected": " A storm in Brimley."}
    for i, row in enumerate(ROWS)
]
#: Whole models, one trunk with the reward's adapter, the value with an adapter of its own, and a second trunk.
HOW: dict[str, dict[str, Any]] = {
    "whole": {},
    "zero": {"value": "zero"},
    "one trunk": {"lora_rank": 2},
    "value adapter": {"lora_rank": 2, "value_adapter": True},
    "zero on one trunk": {"lora_rank": 2, "value": "zero"},
    "two trunks": {"lora_rank": 2},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    made = {kind: str(tiny_model(folder / kind, kind)) for kind in ("llama", "gpt2")}  # type: ignore[arg-type]
    for kind in ("llama", "gpt2"):
        made[f"{kind} reward"] = str(tiny_reward_model(folder / f"{kind}-reward", made[kind], mean=0.25))
        strategy = Reward(lora_rank=2, learning_rate=1e-2, epochs=3, batch_size=2, device="cpu")
        list(strategy.train(PAIRS, folder / f"{kind}-adapter", start=made[kind], seed=0))
        made[f"{kind} adapter"] = str(folder / f"{kind}-adapter" / "model")
    return made


def strategy(models: dict[str, str], kind: str = "llama", how: str = "whole", **changed: Any) -> PPO:
    """Small and quick; the reward model has an adapter where one trunk is wanted."""
    has_adapter = HOW[how].get("lora_rank") and how != "two trunks"
    small: dict[str, Any] = {
        "reward": models[f"{kind} {'adapter' if has_adapter else 'reward'}"],
        "steps": 2, "prompts_per_step": 4, "samples_per_prompt": 3, "max_new_tokens": 10, "epochs": 2,
        "learning_rate": 1e-3, "device": "cpu", "missing_end_reward": None,
    }  # fmt: skip
    return PPO(**{**small, **HOW[how], **changed})


def train(ppo: PPO, folder: Path, start: str, *, seed: int = 0, **how: Any) -> list[dict[str, Any]]:
    return list(ppo.train(how.pop("rows", ROWS), folder, start=start, seed=seed, **how))


def first(ppo: PPO, start: str) -> tuple[Roles, list[Episode]]:
    roles, prompts = ppo.prepare(ROWS, start, 0, value=ppo.value, value_adapter=ppo.value_adapter)
    return roles, ppo.sample(1, roles, prompts, 0)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


# --- the start --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_nothing_has_moved_at_the_first_update(
    models: dict[str, str], tmp_path: Path, kind: str, how: str
) -> None:
    """KL 0, ratio 1, nothing clipped; at a temperature, and whatever the layout."""
    ppo = strategy(models, kind, how, steps=1, epochs=1, temperature=0.7)
    for changed in ({}, {"microbatch_tokens": 1}):
        [row] = train(replace(ppo, **changed), tmp_path / str(len(changed)), models[kind])
        assert row["kl"] == pytest.approx(0, abs=1e-4)
        assert row["kl_k3"] == pytest.approx(0, abs=1e-6)
        assert row["ratio"] == pytest.approx(1, abs=1e-5)
        assert row["kl_update"] == pytest.approx(0, abs=1e-6)
        assert (row["clip_fraction"], row["value_clip_fraction"]) == (0, 0)
        assert row["loss"] == pytest.approx(row["policy_loss"] + 0.1 * row["value_loss"])
        # Whitened advantages have mean 0, so the first policy loss is 0.
        assert row["policy_loss"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("how", ["whole", "one trunk", "value adapter", "two trunks"])
def test_values_start_as_the_reward(models: dict[str, str], how: str) -> None:
    """At the state behind the last token; and the mask has one place more than the tokens'."""
    ppo = strategy(models, how=how)
    roles, episodes = first(ppo, models["llama"])
    seen = ppo.look(roles, episodes)
    last = seen.values[torch.arange(len(episodes)), seen.lengths]
    assert torch.allclose(last, seen.scores, atol=1e-5)
    assert seen.scores.std() > 0.01
    assert (seen.state_mask.sum(1) == seen.mask.sum(1) + 1).all()
    assert torch.all(seen.values[~seen.state_mask] == 0)
    # Paid at the last token, nothing is behind it.
    seen = replace(ppo, score_after_end=False).look(roles, episodes)
    assert (seen.state_mask.sum(1) == seen.mask.sum(1)).all()
    assert torch.all(seen.values[torch.arange(len(episodes)), seen.lengths] == 0)


def test_a_head_of_zeros_says_nothing(models: dict[str, str]) -> None:
    for how in ("zero", "zero on one trunk"):
        ppo = strategy(models, how=how)
        roles, episodes = first(ppo, models["llama"])
        assert torch.all(ppo.look(roles, episodes).values == 0)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_one_trunk_scores_as_the_merged_model(models: dict[str, str], kind: str) -> None:
    """The reward's adapter on the policy's trunk is the reward model; the policy's is not in its way."""
    ppo = strategy(models, kind, "one trunk")
    roles, episodes = first(ppo, models[kind])
    whole, _ = first(strategy(models, kind, reward=models[f"{kind} adapter"]), models[kind])
    with torch.no_grad():
        for name, parameter in roles.trained.items():
            if name.startswith("policy"):
                parameter.normal_(std=0.5)
    one, other = (r.scores(r.batch(episodes))[0] for r in (roles, whole))
    assert torch.allclose(one, other, atol=1e-4)
    assert roles.said.startswith("one trunk")


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_sampling_merges_the_policy_s_adapter_and_leaves_no_trace(models: dict[str, str], kind: str) -> None:
    """While it samples, adapters are off and in the weights; afterwards, also after an error, not a bit differs."""
    ppo = strategy(models, kind, "one trunk")
    roles, _ = ppo.prepare(ROWS, models[kind], 0, value="reward")
    with torch.no_grad():
        for name, parameter in roles.trained.items():
            if "lora_B" in name:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
    ids = torch.tensor([[5, 9, 11, 3]])
    before = {name: p.clone() for name, p in roles.lm.model.named_parameters()}
    with torch.no_grad():
        wanted = roles.lm.model(ids).logits
        with roles.sampling():
            found = roles.lm.model(ids).logits
            weights = [n for n, p in roles.lm.model.named_parameters() if not torch.equal(p, before[n])]
        assert weights, "the adapter is in the weights"
        assert torch.allclose(found, wanted, atol=1e-4)
        with pytest.raises(KeyboardInterrupt), roles.sampling():
            raise KeyboardInterrupt
        assert torch.equal(roles.lm.model(ids).logits, wanted), "the adapter is on again"
    assert all(torch.equal(p, before[n]) for n, p in roles.lm.model.named_parameters())


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_adapters_off_is_the_start(models: dict[str, str], kind: str) -> None:
    """However far the policy has gone; and peft's switches leave what is trained as it was."""
    ppo = strategy(models, kind, "value adapter", temperature=0.7)
    roles, episodes = first(ppo, models[kind])
    with torch.no_grad():
        for name, parameter in roles.trained.items():
            if name.startswith("policy"):
                parameter.normal_(std=0.5)
    batch = roles.batch(episodes)
    flags = {name: p.requires_grad for name, p in roles.peft.named_parameters()}
    reference = roles.reference_logprobs(batch, 0.7)
    roles.scores(batch)
    roles.policy_and_values(batch, 0.7)
    assert flags == {name: p.requires_grad for name, p in roles.peft.named_parameters()}
    assert {name.split(".")[-2] for name, is_trained in flags.items() if is_trained} == {"default", "value"}
    # By hand, from a model that never had an adapter: log p of every token at the temperature.
    base = load(models[kind], device="cpu").model
    for row, episode in enumerate(episodes):
        ids = torch.tensor([[*episode.prompt, *episode.completion]])
        logprobs = (base(ids).logits[0] / 0.7).log_softmax(-1)
        for t, token in enumerate(episode.completion):
            wanted = logprobs[len(episode.prompt) + t - 1, token].item()
            assert reference[row, t].item() == pytest.approx(wanted, abs=1e-4)
    assert not torch.allclose(roles.logprobs(batch, 0.7), reference, atol=0.1)


def test_dropout_is_off_everywhere(models: dict[str, str], tmp_path: Path) -> None:
    folders = []
    for name in ("gpt2", "gpt2 reward"):
        folder = tmp_path / name
        folder.mkdir()
        for path in Path(models[name]).iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "resid_pdrop": 0.5, "embd_pdrop": 0.5}))
        folders.append(str(folder))
    ppo = strategy(models, "gpt2", steps=1, reward=folders[1])
    dropped = train(ppo, tmp_path / "one", folders[0])
    assert dropped == train(replace(ppo, reward=models["gpt2 reward"]), tmp_path / "two", models["gpt2"])


# --- what learns ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOW)
def test_frozen_models_get_no_gradient_and_the_others_do(models: dict[str, str], how: str) -> None:
    ppo = strategy(models, how=how)
    roles, episodes = first(ppo, models["llama"])
    seen = ppo.look(roles, episodes)
    rng = torch.Generator().manual_seed(0)
    goal = _Goal(torch.randn(seen.mask.shape, generator=rng), torch.randn(seen.values.shape, generator=rng))
    ppo.gradients(roles, episodes, range(len(episodes)), seen, goal)
    trained = {id(p) for p in roles.trained.values()}
    for role in (roles.policy, roles.reference, roles.reward):
        for module in (role.trunk, role.head):
            for parameter in module.parameters():  # type: ignore[attr-defined]
                assert id(parameter) in trained or parameter.grad is None
    names = {
        name.split(".")[0]
        for name, p in roles.trained.items()
        if p.grad is not None and p.grad.abs().sum() > 0
    }
    assert names == {"policy", "value"}


def test_only_states_that_predict_are_pulled(models: dict[str, str]) -> None:
    """Not the prompt's, not padding, none behind the end token; the value also pulls the state behind the last."""
    ppo = strategy(models)
    roles, episodes = first(ppo, models["llama"])
    batch = roles.batch(episodes)
    kept: list[torch.Tensor] = []

    def watched(role: Any) -> Any:
        def trunk(**inputs: Any) -> Any:
            output = role.trunk(**inputs)
            output[0].retain_grad()
            kept.append(output[0])
            return output

        return replace(role, trunk=trunk)

    assert roles.value is not None
    roles = replace(roles, policy=watched(roles.policy), value=watched(roles.value))
    logprobs, values = roles.policy_and_values(batch, 1.0)
    (logprobs.sum() + values[batch.state_mask].sum()).backward()
    for states, at in zip(kept, (batch.at[:, :-1][batch.mask], batch.at[batch.state_mask]), strict=True):
        assert states.grad is not None
        pulled = states.grad.flatten(0, 1).abs().sum(-1) > 0
        assert set(pulled.nonzero().flatten().tolist()) == set(at.tolist())


@pytest.mark.parametrize("how", ["whole", "one trunk", "zero"])
def test_parts_and_layout_are_one_big_batch(models: dict[str, str], tmp_path: Path, how: str) -> None:
    ppo = strategy(models, how=how, minibatches=2)
    whole = train(ppo, tmp_path / "whole", models["llama"])
    split = train(replace(ppo, microbatch_tokens=1), tmp_path / "split", models["llama"])
    for one, other in zip(whole, split, strict=True):
        samples = one.pop("samples", []), other.pop("samples", [])
        assert one == pytest.approx(other, rel=1e-3, abs=1e-5)
        assert [s["output"] for s in samples[0]] == [s["output"] for s in samples[1]]
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.allclose(weights(tmp_path / "split")[name], tensor, atol=1e-5)


def test_losses_are_means_over_the_tokens_of_the_minibatch(models: dict[str, str]) -> None:
    """Whatever else stands in the batch: by hand, from the episodes one by one."""
    ppo = strategy(models)
    roles, episodes = first(ppo, models["llama"])
    seen = ppo.look(roles, episodes)
    goal = _Goal(torch.ones(seen.mask.shape), torch.zeros(seen.values.shape))
    found = ppo.gradients(roles, episodes, [7, 2, 5], seen, goal)
    assert found["policy_loss"] == pytest.approx(-1)
    values = torch.cat([seen.values[i, : seen.lengths[i] + 1] for i in (7, 2, 5)])
    assert found["value_loss"] == pytest.approx((values**2).mean().item() / 2, rel=1e-5)


def test_every_pass_reads_every_episode_in_another_order(models: dict[str, str]) -> None:
    ppo = strategy(models, epochs=3, minibatches=2)
    found = list(ppo.minibatches_of(12, "key"))
    passes = [found[i] + found[i + 1] for i in (0, 2, 4)]
    assert [len(minibatch) for minibatch in found] == [6] * 6
    assert all(sorted(order) == list(range(12)) for order in passes)
    assert len({tuple(order) for order in passes}) == 3


@pytest.mark.parametrize("how", ["whole", "two trunks"])
def test_it_earns_what_it_learns(models: dict[str, str], tmp_path: Path, how: str) -> None:
    ppo = strategy(models, how=how, steps=25, epochs=4, learning_rate=2e-2, kl_coef=0.0)
    log = train(replace(ppo, prompts_per_step=8, samples_per_prompt=8), tmp_path, models["llama"])
    early, late = ([row["reward"] for row in part] for part in (log[:4], log[-4:]))
    assert sum(late) / 4 > sum(early) / 4 + 0.3
    assert log[-1]["kl"] > 0.5


# --- settings ---------------------------------------------------------------------------------------------


def test_the_rate_falls_linearly_to_nothing(models: dict[str, str], tmp_path: Path) -> None:
    ppo = strategy(models, steps=4, learning_rate=1e-3)
    assert [ppo.rate(step) for step in range(1, 5)] == pytest.approx([1e-3, 0.75e-3, 0.5e-3, 0.25e-3])
    assert [row["learning_rate"] for row in train(replace(ppo, steps=2), tmp_path, models["llama"])] == [
        1e-3,
        5e-4,
    ]
    # The first update moves every weight of the policy that has a gradient by the rate.
    train(replace(ppo, steps=1, epochs=1), tmp_path / "one", models["llama"])
    before = load_file(Path(models["llama"]) / "model.safetensors")
    moved = [(weights(tmp_path / "one")[name] - tensor).abs().max().item() for name, tensor in before.items()]
    assert max(moved) == pytest.approx(1e-3, rel=0.02)


def test_the_coefficient_adapts(models: dict[str, str], tmp_path: Path) -> None:
    ppo = strategy(models, kl_target=6.0, kl_horizon=100)
    log = train(ppo, tmp_path, models["llama"])
    # The first KL is 0, far below the target: .05 * (1 - .2 * 12 / 100).
    assert [row["kl_coef"] for row in log] == pytest.approx([0.05, 0.05 * (1 - 0.2 * 0.12)])


def test_passes_stop_when_the_policy_has_moved(models: dict[str, str], tmp_path: Path) -> None:
    ppo = strategy(models, steps=1, epochs=6, learning_rate=1e-2)
    [free] = train(ppo, tmp_path / "free", models["llama"])
    [held] = train(replace(ppo, kl_stop=1e-3), tmp_path / "held", models["llama"])
    assert (free["updates"], held["updates"]) == (6, 1)
    assert held["kl_update"] > 1e-3
    [once] = train(replace(ppo, epochs=1), tmp_path / "once", models["llama"])
    assert all(torch.equal(weights(tmp_path / "held")[n], t) for n, t in weights(tmp_path / "once").items())
    assert once["updates"] == 1


def test_texts_without_an_end_get_the_score_that_is_set(models: dict[str, str]) -> None:
    ppo = strategy(models, max_new_tokens=4, missing_end_reward=-3.0)
    roles, episodes = first(ppo, models["llama"])
    free = replace(ppo, missing_end_reward=None).look(roles, episodes).scores
    scores = ppo.look(roles, episodes).scores
    for i, episode in enumerate(episodes):
        assert scores[i].item() == (free[i].item() if episode.is_ended else -3.0)


@pytest.mark.parametrize(
    "changed",
    [
        {"whiten_rewards": True}, {"whiten_advantages": False}, {"score_after_end": False}, {"gamma": 0.9},
        {"kl_estimator": "k3"}, {"kl_coef": 0.5}, {"lam": 0.5}, {"value_coef": 0.9}, {"value": "zero"},
        {"clip_range": 0.001}, {"value_clip": 0.001}, {"epochs": 3}, {"minibatches": 3}, {"temperature": 0.8},
        {"clip": 0.01}, {"adam_epsilon": 1e-2}, {"final_share": 1.0},
    ],
)  # fmt: skip
def test_every_switch_is_connected(models: dict[str, str], tmp_path: Path, changed: dict[str, Any]) -> None:
    ppo = strategy(models, learning_rate=3e-3)
    plain, other = (
        train(p, tmp_path / n, models["llama"]) for n, p in (("a", ppo), ("b", replace(ppo, **changed)))
    )
    assert any(one.get(key) != two.get(key) for one, two in zip(plain, other, strict=True) for key in one)
    assert any(not torch.equal(weights(tmp_path / "a")[n], t) for n, t in weights(tmp_path / "b").items())


def test_the_log_and_its_samples(models: dict[str, str], tmp_path: Path) -> None:
    shown: list[Sequence[Any]] = []

    def probe(rows: Sequence[Any]) -> dict[str, float]:
        shown.append(rows)
        return {"grade": 0.5}

    rows = [{**row, "facts": {"n": i}} for i, row in enumerate(ROWS)]
    ppo = strategy(models, steps=5, samples_every=4, n_samples=2)
    log = train(ppo, tmp_path, models["llama"], rows=rows, probe=probe)
    assert [row["step"] for row in log] == [1, 2, 3, 4, 5]
    assert {len(rows) for rows in shown} == {12}
    assert all(row["facts"] == ROWS_FACTS[row["prompt"]] for rows in shown for row in rows)
    wanted = (
        "loss policy_loss value_loss reward reward_total kl kl_k3 kl_coef kl_update entropy ratio clip_fraction "
        "value_clip_fraction explained_variance length_tokens end_rate episodes learning_rate gradient_norm "
        "updates grade"
    )
    assert all(set(wanted.split()) <= set(row) for row in log)
    assert [len(row.get("samples", [])) for row in log] == [2, 0, 0, 2, 2]
    first_of_all = log[0]["samples"][0]
    assert first_of_all["output"] == shown[0][0]["output"]
    assert set(first_of_all) == {"prompt", "output", "reward", "kl"}
    for row in log:
        assert row["reward_total"] == pytest.approx(row["reward"] - row["kl_coef"] * row["kl"], abs=1e-5)
        assert 1 < row["entropy"] < 6
    card = (tmp_path / "model" / "README.md").read_text()
    assert "updates: 5" in card
    assert str(tmp_path) not in card


ROWS_FACTS = {row["prompt"]: {"n": i} for i, row in enumerate(ROWS)}


# --- what is refused, and where it stops ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": 0}, "ppo.steps"), ({"temperature": 0.0}, "ppo.temperature"), ({"gamma": 1.5}, "gamma"),
        ({"kl_target": 0.0}, "kl_target"), ({"minibatches": 13}, "minibatches"), ({"kl_coef": -1.0}, "kl_coef"),
        ({"value_adapter": True}, "lora_rank"), ({"lora_rank": 0}, "lora_rank"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work(models: dict[str, str], changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        strategy(models, **changed)
    with pytest.raises(UsageError, match=r"(?s)ppo.steps.*ppo.clip"):
        strategy(models, steps=0, clip=0.0)


def test_a_reward_model_with_another_tokenizer(models: dict[str, str], tmp_path: Path) -> None:
    other = tiny_model(tmp_path / "other", bos=True)
    reward = str(tiny_reward_model(tmp_path / "reward", other))
    for how in ({}, {"lora_rank": 2}):
        with pytest.raises(ComponentError, match="another tokenizer than the start.*strategy `reward`"):
            train(strategy(models, reward=reward, **how), tmp_path / "run", models["llama"])
    with pytest.raises(ComponentError, match="cannot be loaded.*ppo.reward"):
        train(strategy(models, reward=str(tmp_path / "nowhere")), tmp_path / "run", models["llama"])
    with pytest.raises(ComponentError, match="no reward model"):
        train(strategy(models, reward=models["llama"]), tmp_path / "run", models["llama"])
    assert not (tmp_path / "run").exists()


def test_an_adapter_of_another_trunk(models: dict[str, str], tmp_path: Path) -> None:
    other = str(tiny_model(tmp_path / "other", seed=7))
    with pytest.raises(ComponentError, match="trained on another trunk than the start"):
        train(strategy(models, how="one trunk"), tmp_path / "run", other)
    with pytest.raises(ComponentError, match="value_adapter: the reward model has no adapter"):
        train(strategy(models, how="two trunks", value_adapter=True), tmp_path / "run", models["llama"])


def test_prompts_that_leave_no_room_are_all_named(models: dict[str, str], tmp_path: Path) -> None:
    """Also where it is the reward model that is too short."""
    short = str(tiny_model(tmp_path / "short", positions=30))
    for start, reward in ((short, models["llama reward"]), (models["llama"], str(tmp_path / "reward"))):
        if start != short:
            tiny_reward_model(tmp_path / "reward", short)
        with pytest.raises(DataError, match=r"(?s)2 prompt.*10 new tokens.*row 1: .*row 3: "):
            train(strategy(models, reward=reward), tmp_path / "run", start)
    with pytest.raises(DataError, match="no row"):
        train(strategy(models), tmp_path / "run", models["llama"], rows=[])
    assert not (tmp_path / "run").exists()


def test_a_policy_that_runs_away_is_stopped_and_the_last_checkpoint_kept(
    models: dict[str, str], tmp_path: Path
) -> None:
    ppo = strategy(models, steps=30, learning_rate=3e-2, max_kl=3.0, kl_coef=0.0, checkpoint_every=1)
    with pytest.raises(
        ComponentError, match=r"nats a text.*max_kl.*Raise kl_coef.*policy of step (\d+) is in"
    ) as e:
        train(ppo, tmp_path, models["llama"])
    assert load(str(e.value).rpartition(" is in ")[2].rstrip("."), device="cpu").model
    assert not (tmp_path / "model").exists()


def test_losses_that_are_no_numbers_stop(models: dict[str, str], tmp_path: Path, monkeypatch: Any) -> None:
    ppo = strategy(models)
    monkeypatch.setattr("ilf.strategies.ppo.policy_loss", lambda ratio, *_: ratio * float("nan"))
    with pytest.raises(ComponentError, match="step 1: the loss is nan.*Lower learning_rate"):
        train(ppo, tmp_path, models["llama"])


def test_rewards_that_are_all_one_stop(models: dict[str, str], tmp_path: Path, monkeypatch: Any) -> None:
    """After five steps, with what to change: nobody comes to an end, or the reward model sees no difference."""
    ppo = strategy(models, steps=9, missing_end_reward=-1.0)
    monkeypatch.setattr(
        _online, "roll_out", lambda *a, **k: [replace(e, is_ended=False) for e in roll_out(*a, **k)]
    )
    with pytest.raises(
        ComponentError, match=r"step 5\) came to an end.*max_new_tokens.*missing_end_reward=null"
    ):
        train(ppo, tmp_path, models["llama"])
    scores = torch.zeros(12)
    row = {"kl": 0.0, "end_rate": 1.0, "reward": 0.0, "kl_coef": 0.05}
    assert ppo.check_rollouts(3, row, 3, scores) == 4
    assert ppo.check_rollouts(3, row, 3, torch.arange(12.0)) == 0
    with pytest.raises(ComponentError, match="have one reward, 0"):
        ppo.check_rollouts(5, row, 4, scores)
    with pytest.raises(ComponentError, match="not finite"):
        ppo.check_rollouts(1, row, 0, scores / 0)


def test_empty_answers_stop(models: dict[str, str], tmp_path: Path, monkeypatch: Any) -> None:
    empty = [Episode(0, (1,), (0,), True)] * 7 + [Episode(0, (1,), (5, 0), True)] * 5
    monkeypatch.setattr(_online, "roll_out", lambda *_, **__: empty)
    with pytest.raises(ComponentError, match="7 of 12 answers of step 1 are empty.*raise kl_coef"):
        train(strategy(models), tmp_path, models["llama"])
