"""Our PPO, with everything that passes through its functions written down: for ppo.py."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.parity._ppo_loops import Step
from benchmarks.parity._proof import NANO


def watched(strategy: Any, texts: Sequence[str], episodes: Sequence[Any] | None = None) -> list[Step]:
    """Trains; what every step had in hand. ``episodes`` take the place of what would be sampled."""
    steps: list[Step] = []
    with watching(steps, episodes), tempfile.TemporaryDirectory() as folder:
        rows = [{"prompt": text} for text in texts]
        log = list(strategy.train(rows, Path(folder), start=NANO, seed=0))
    for step, row in zip(steps, log, strict=True):
        step["log"] = row
    return steps


@contextlib.contextmanager
def watching(steps: list[Step], episodes: Sequence[Any] | None) -> Iterator[None]:
    """Writes down what passes through PPO's functions."""
    import torch

    from ilf.strategies import ppo

    sample, gae, improve, gradients = ppo.PPO.sample, ppo.gae, ppo.PPO.improve, ppo.PPO.gradients

    def sampling(self: Any, step: int, *given: Any) -> Any:
        steps.append({"updates": []})
        return sample(self, step, *given) if episodes is None else episodes[step - 1]

    def estimating(rewards: Any, values: Any, **how: Any) -> Any:
        steps[-1]["rewards"] = rewards
        return gae(rewards, values, **how)

    def improving(self: Any, roles: Any, optimizer: Any, given: Any, seen: Any, goal: Any, key: str) -> Any:
        held = {"advantages": goal.advantages, "returns": goal.returns, "rewards": steps[-1]["rewards"]}
        held |= {"logprobs": seen.logprobs, "reference": seen.reference, "values": seen.values}
        n_states = seen.state_mask.sum(1).tolist()
        for name, tensor in held.items():
            lengths = n_states if name in ("values", "rewards", "returns") else seen.lengths.tolist()
            rows = zip(tensor.tolist(), lengths, strict=True)
            steps[-1][name] = [row[:n] for row, n in rows]
        steps[-1] |= {"scores": seen.scores.tolist(), "is_ended": [episode.is_ended for episode in given]}
        return improve(self, roles, optimizer, given, seen, goal, key)

    def going_down(self: Any, roles: Any, given: Any, minibatch: Any, seen: Any, goal: Any) -> Any:
        batch = roles.batch([given[i] for i in minibatch])
        with torch.no_grad():
            features = seen.part(minibatch, batch.tokens.shape[1]).features
            logprobs, values = roles.policy_and_values(batch, self.temperature, features)
        log = gradients(self, roles, given, minibatch, seen, goal)
        update = {"minibatch": list(minibatch), "losses": [log["policy_loss"], log["value_loss"]]}
        steps[-1]["updates"].append(update | {"logprobs": logprobs.tolist(), "values": values.tolist()})
        steps[-1].setdefault("losses", []).append(update["losses"])
        return log

    with (
        mock.patch.object(ppo.PPO, "sample", sampling),
        mock.patch.object(ppo, "gae", estimating),
        mock.patch.object(ppo.PPO, "improve", improving),
        mock.patch.object(ppo.PPO, "gradients", going_down),
    ):
        yield
