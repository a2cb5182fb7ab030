"""PPO's numbers once more, token by token in float64, from the formulas (Huang et al. 2024): for ppo.py."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

#: A step as lists: of every episode the tokens' logprobs, reference (n), values, rewards, returns (n + 1
#: where the state after the end counts), advantages (n); scores; the losses of every update.
Step = dict[str, Any]


def again(step: Step, strategy: Any, kl_coef: float) -> Step:
    """Rewards, advantages, returns and losses from log-probs, values and scores, from the formulas."""
    rewards, advantages, returns = [], [], []
    for b, score in enumerate(step["scores"]):
        d = [x - y for x, y in zip(step["logprobs"][b], step["reference"][b], strict=True)]
        kl = d if strategy.kl_estimator == "k1" else [math.exp(-x) - 1 + x for x in d]
        rewards.append([-kl_coef * x for x in kl] + [0.0] * strategy.score_after_end)
        rewards[-1][-1] += score
    if strategy.whiten_rewards:
        mean, root = _moments(rewards)
        rewards = [[(x - mean) / root + mean for x in row] for row in rewards]
    for row, values in zip(rewards, step["values"], strict=True):
        found = []
        for t in range(len(row)):  # the sum that the recursion stands for
            total = 0.0
            for k in range(t, len(row)):
                later = values[k + 1] if k + 1 < len(row) else 0.0
                delta = row[k] + strategy.gamma * later - values[k]
                total += (strategy.gamma * strategy.lam) ** (k - t) * delta
            found.append(total)
        returns.append([a + v for a, v in zip(found, values, strict=True)])
        advantages.append(found[: len(found) - strategy.score_after_end])
    mean, root = _moments(advantages)
    advantages = [[(x - mean) / root for x in row] for row in advantages]
    losses = [
        [_policy(step, update, advantages, strategy), _value(step, update, returns, strategy)]
        for update in step["updates"]
    ]
    same = {name: step[name] for name in ("logprobs", "reference", "values")}
    return {**same, "rewards": rewards, "advantages": advantages, "returns": returns, "losses": losses}


def _moments(rows: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Mean, and root of the variance (divided by n) and 1e-8."""
    flat = [x for row in rows for x in row]
    mean = math.fsum(flat) / len(flat)
    return mean, math.sqrt(math.fsum((x - mean) ** 2 for x in flat) / len(flat) + 1e-8)


def _policy(step: Step, update: Any, advantages: Sequence[Sequence[float]], strategy: Any) -> float:
    """The mean over tokens of max(-A r, -A clip(r, 1 - c, 1 + c))."""
    found = []
    for place, b in enumerate(update["minibatch"]):
        for t, advantage in enumerate(advantages[b]):
            ratio = math.exp(update["logprobs"][place][t] - step["logprobs"][b][t])
            clipped = min(max(ratio, 1 - strategy.clip_range), 1 + strategy.clip_range)
            found.append(max(-advantage * ratio, -advantage * clipped))
    return math.fsum(found) / len(found)


def _value(step: Step, update: Any, returns: Sequence[Sequence[float]], strategy: Any) -> float:
    """The mean over states of half of max((V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2)."""
    found = []
    for place, b in enumerate(update["minibatch"]):
        for t, aim in enumerate(returns[b]):
            value, old = update["values"][place][t], step["values"][b][t]
            clipped = min(max(value, old - strategy.value_clip), old + strategy.value_clip)
            found.append(0.5 * max((value - aim) ** 2, (clipped - aim) ** 2))
    return math.fsum(found) / len(found)


def adapted(step: Step, strategy: Any, kl_coef: float) -> float:
    """Ziegler 2019: beta (1 + clip(KL / target - 1, -0.2, 0.2) n / horizon)."""
    if strategy.kl_target is None:
        return kl_coef
    texts = zip(step["logprobs"], step["reference"], strict=True)
    kls = [math.fsum(x - y for x, y in zip(*rows, strict=True)) for rows in texts]
    error = math.fsum(kls) / len(kls) / strategy.kl_target - 1
    return kl_coef * (1 + min(max(error, -0.2), 0.2) * len(kls) / strategy.kl_horizon)
