"""PPO: a policy learns from a reward model and is held to its start by a KL penalty. Classic RLHF's end."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ilf import _ranks
from ilf.errors import UsageError
from ilf.protocols import Row
from ilf.strategies._online import Online
from ilf.strategies._rl import adapted_kl_coef, kl_estimate, masked_sum, policy_loss, whiten
from ilf.strategies._rollouts import Episode, parts, token_mask

if TYPE_CHECKING:
    import torch

    from ilf.strategies._policy import Roles


@dataclass(frozen=True)
class PPO(Online):
    """Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347, eq. 7 and 11) on a reward model.

    For language models as in Ziegler et al. 2019 (1909.08593, Z19) and Huang et al. 2024 (2403.17031, the
    "N+ implementation details", H24), whose values are the defaults. What matters, by number; the code below
    refers to it:

    1. Reward of a token: -kl_coef (log p - log p_ref), or the estimator k3. The reward model's score is paid
       one place behind the last token (H24: where there is room; here there always is), or at the last token
       (``score_after_end`` False). kl_coef is fixed, or with ``kl_target`` adapts (Z19).
    2. End of text: sampling stops at the first end token, which has the distribution of cutting there
       afterwards. A text without one gets ``missing_end_reward`` (None: its own score). The end token is
       scored, penalised and learnt. No pad token is ever looked for: masks come from lengths.
    3. One ``temperature`` in rollouts, reference and update; no top-p, no top-k.
    4. Old log-probs come from the function that the update calls: evaluation mode, the same precision.
    5. The value starts as the reward model, or (``value`` zero) as a head of zeros on the policy's states. It
       is read at the state before every token and after the last: its mask is one longer than the tokens'.
    6. Advantages by GAE (``gamma``, ``lam``), returns = advantages + values, then advantages whitened over
       all tokens of the step. ``whiten_rewards`` scales rewards without shifting the mean (Z19 on, H24 off).
    7. Clipped policy loss, clipped value loss, ``value_coef``; means over real tokens.
    8. ``epochs`` passes over a step's episodes, reshuffled, ``minibatches`` each. AdamW, epsilon 1e-5, its
       rate linear to 0; no dropout in any model; no entropy bonus. ``kl_stop`` ends the passes of a step.
       Left out: InstructGPT's mix of pretraining batches, because that data is not at hand.
    9. Padding is on the right only, positions start at 0 in sampling and in the update alike.
    10. Logged: reward, reward_total, kl (nats a text), kl_coef, entropy (nats a token, from the samples),
        ratio, clip fractions, explained variance, end rate, length; every ``samples_every`` steps some texts.

    Differences from H24: gradients are clipped at ``clip``; a prompt is read once for all its samples; with
    LoRA all roles are adapters on one trunk, and the value is a head on the states that the reward model read
    (with ``value_adapter`` on an adapter of its own). Processes of torchrun share the episodes of a step.
    """

    epochs: int = 4
    minibatches: int = 1
    kl_target: float | None = None
    kl_horizon: float = 10_000
    kl_estimator: Literal["k1", "k3"] = "k1"
    kl_stop: float | None = None
    gamma: float = 1.0
    lam: float = 0.95
    clip_range: float = 0.2
    value_clip: float = 0.2
    value_coef: float = 0.1
    whiten_advantages: bool = True
    whiten_rewards: bool = False
    score_after_end: bool = True
    value: Literal["reward", "zero"] = "reward"
    value_adapter: bool = False

    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuses settings with which nothing can be learnt."""
        super().__post_init__()
        if not (0 <= self.gamma <= 1 and 0 <= self.lam <= 1):
            raise UsageError(f"ppo: gamma and lam must be in [0, 1]; they are {self.gamma}, {self.lam}.")
        for key in ("kl_target", "kl_horizon", "kl_stop", "clip_range", "value_clip"):
            if getattr(self, key) is not None and not getattr(self, key) > 0:
                raise UsageError(f"ppo.{key}: {getattr(self, key)} must be above 0.")
        if self.minibatches > self.prompts_per_step * self.samples_per_prompt:
            raise UsageError(f"ppo.minibatches: {self.minibatches} are more than a step has episodes.")
        if self.value_adapter and (self.lora_rank is None or self.value == "zero"):
            raise UsageError("ppo.value_adapter: it needs lora_rank, and value: reward.")

    def _least(self) -> dict[str, float]:
        return {**super()._least(), "epochs": 1, "minibatches": 1, "value_coef": 0}

    def train(
        self,
        rows: Sequence[Row],
        folder: Path,
        *,
        start: str,
        seed: int,
        probe: Callable[[Sequence[Row]], Mapping[str, float]] | None = None,
    ) -> Iterator[Row]:
        """Samples answers to the rows' prompts and learns from their rewards; one log row a step.

        Goes on from ``folder/checkpoint`` where there is one. ``probe`` grades the samples for the log.
        Raises ComponentError, with what to change, where training has gone wrong.
        """
        roles, prompts = self.prepare(rows, start, seed, value=self.value, value_adapter=self.value_adapter)
        optimizer = self.optimizer(roles.trained)
        checkpoint = self.checkpoint(folder, prompts, seed)
        kept = checkpoint.load(roles.load, optimizer) or {"kl_coef": self.kl_coef, "n_flat": 0, "losses": []}
        kl_coef, n_flat, losses = kept["kl_coef"], kept["n_flat"], kept["losses"]

        with self.rescuing(checkpoint, roles, optimizer):
            for step in range(len(losses) + 1, self.steps + 1):
                # Rollouts, and what all models say of them (2, 3, 4, 5, 9).
                episodes = self.sample(step, roles, prompts, seed)
                seen = self.look(roles, episodes)
                row = self.described(seen.logprobs, seen.reference, seen.scores, episodes, kl_coef)
                n_flat = self.check_rollouts(step, row, n_flat, seen.scores)

                # Rewards of tokens (1), then advantages and returns (6).
                penalty = kl_coef * kl_estimate(seen.logprobs, seen.reference, self.kl_estimator)
                rewards = token_rewards(penalty, seen.scores, seen.lengths, after_end=self.score_after_end)
                if self.whiten_rewards:
                    rewards = whiten(rewards, seen.state_mask, shift_mean=False)
                advantages = gae(rewards, seen.values, gamma=self.gamma, lam=self.lam)
                returns = advantages + seen.values
                advantages = advantages[:, :-1]  # behind the last token nothing is chosen
                if self.whiten_advantages:
                    advantages = whiten(advantages, seen.mask)

                # Passes over the step's episodes (7, 8).
                rate = self.rate(step)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                goal = _Goal(advantages, returns)
                row |= self.improve(roles, optimizer, episodes, seen, goal, f"ppo {seed} step {step}")

                # The log (10), the next coefficient (1), the model or a checkpoint.
                row["explained_variance"] = explained_variance(seen.values, returns, seen.state_mask)
                row["learning_rate"] = rate
                measured = {"reward": seen.scores, "kl": (seen.logprobs - seen.reference).sum(1)}
                row |= self.shown(step, rows, episodes, measured, roles.lm, probe)
                losses = [*losses, {"step": step, "loss": row["loss"]}]
                if self.kl_target is not None:
                    kl_coef = adapted_kl_coef(
                        kl_coef, row["kl"], target=self.kl_target, horizon=self.kl_horizon,
                        n_episodes=len(episodes),
                    )  # fmt: skip
                if step == self.steps:
                    self.finish(roles, folder, start=start, seed=seed, n_rows=len(rows), losses=losses)
                yield {"step": step, **row}
                if step < self.steps and step % self.checkpoint_every == 0:
                    numbers = {"kl_coef": kl_coef, "n_flat": n_flat, "losses": losses}
                    checkpoint.save(step, roles.trained, optimizer, numbers)
        checkpoint.remove()

    def look(self, roles: Roles, episodes: Sequence[Episode]) -> _Seen:
        """What policy, reference, reward and value say of the episodes, before anything is learnt from them.

        Every process reads its share, and all get all of it.
        """
        import torch

        found: dict[int, tuple[torch.Tensor, ...]] = {}
        features: dict[int, torch.Tensor] = {}
        mine = _ranks.share(range(len(episodes)))
        with torch.no_grad():
            for part in parts(episodes, mine, self.microbatch_tokens, can_share=roles.can_share):
                batch = roles.batch([episodes[i] for i in part])
                scores, states = roles.scores(batch)
                # 3, 4, 5: by the function that the update calls, at the temperature that was sampled at.
                logprobs, values = roles.policy_and_values(batch, self.temperature, states)
                reference = roles.reference_logprobs(batch, self.temperature)
                for row, i in enumerate(part):
                    n = len(episodes[i].completion)
                    found[i] = (logprobs[row, :n], reference[row, :n], values[row, : n + 1], scores[row])
                    if states is not None:
                        features[i] = states[row, : n + 1]
        columns = list(zip(*_ranks.gathered([found[i] for i in mine]), strict=True))
        logprobs, reference, values = (
            torch.nn.utils.rnn.pad_sequence(list(column), batch_first=True) for column in columns[:3]
        )
        scores = self.end_checked(torch.stack(columns[3]), episodes)  # 2
        lengths = torch.tensor([len(episode.completion) for episode in episodes], device=scores.device)
        if not self.score_after_end:  # then nothing comes after the last token
            values = values.masked_fill(~token_mask(lengths, values.shape[1]), 0.0)
        # 5: one longer than the actions' mask.
        state_mask = token_mask(lengths + self.score_after_end, values.shape[1])
        mask = token_mask(lengths, logprobs.shape[1])
        return _Seen(logprobs, reference, values, scores, lengths, mask, state_mask, features)

    def improve(
        self, roles: Roles, optimizer: Any, episodes: Sequence[Episode], seen: _Seen, goal: _Goal, key: str
    ) -> Row:
        """The passes of a step; means over its updates, and the KL from the old policy at the last (7, 8)."""
        logs: list[Row] = []
        norms: list[float] = []
        for minibatch in self.minibatches_of(len(episodes), key):
            logs.append(self.gradients(roles, episodes, minibatch, seen, goal))
            if self.kl_stop is not None and logs[-1]["kl_update"] > self.kl_stop:  # 8
                optimizer.zero_grad(set_to_none=True)
                break
            norms.append(self.take(optimizer, roles, logs[-1]["loss"], key))
        means = {name: sum(log[name] for log in logs) / len(logs) for name in logs[0]}
        norm = sum(norms) / len(norms) if norms else 0.0
        return {**means, "kl_update": logs[-1]["kl_update"], "updates": len(norms), "gradient_norm": norm}

    def minibatches_of(self, n_episodes: int, key: str) -> Iterator[list[int]]:
        """Places of the episodes of every update: each pass has an order of its own (8)."""
        for number in range(self.epochs):
            order = random.Random(f"{key} pass {number}").sample(range(n_episodes), n_episodes)
            for k in range(self.minibatches):
                yield order[k * n_episodes // self.minibatches : (k + 1) * n_episodes // self.minibatches]

    def gradients(
        self, roles: Roles, episodes: Sequence[Episode], minibatch: Sequence[int], seen: _Seen, goal: _Goal
    ) -> Row:
        """Adds up the gradients of a minibatch, over its parts and over the processes; its losses and ratios.

        Losses are means over the real tokens (policy) and states (value) of the whole minibatch (7).
        """
        import torch

        n_tokens = seen.mask[minibatch].sum()
        n_states = seen.state_mask[minibatch].sum()
        share = _ranks.share(range(len(episodes)))
        mine = [i for i in minibatch if i in share]
        measured = {name: torch.zeros((), device=roles.lm.device) for name in _MEASURED}
        for part in parts(episodes, mine, self.microbatch_tokens, can_share=roles.can_share):
            batch = roles.batch([episodes[i] for i in part])
            old, aim = seen.part(part, batch.tokens.shape[1]), goal.part(part, batch.tokens.shape[1])
            logprobs, values = roles.policy_and_values(batch, self.temperature, old.features)
            ratio = (logprobs - old.logprobs).exp()
            policy = policy_loss(ratio, aim.advantages, self.clip_range)
            value = value_loss(values, old.values, aim.returns, self.value_clip)
            losses = masked_sum(policy, old.mask) / n_tokens, masked_sum(value, old.state_mask) / n_states
            loss: Any = losses[0] + self.value_coef * losses[1]
            loss.backward()
            with torch.no_grad():
                is_clipped = (policy > -aim.advantages * ratio).float()
                is_value_clipped = (value > (values - aim.returns) ** 2 / 2).float()
                per_token = ratio, is_clipped, kl_estimate(old.logprobs, logprobs, "k3")
                found = [*losses, *(masked_sum(x, old.mask) / n_tokens for x in per_token)]
                found.append(masked_sum(is_value_clipped, old.state_mask) / n_states)
                measured = {name: measured[name] + x for name, x in zip(_MEASURED, found, strict=True)}
        _ranks.add_up([*roles.gradients(), *measured.values()])
        log = {name: tensor.item() for name, tensor in measured.items()}
        return {"loss": log["policy_loss"] + self.value_coef * log["value_loss"], **log}


#: What ``gradients`` measures, in its order; clip fractions: where the clipped loss is the larger.
_MEASURED = ("policy_loss", "value_loss", "ratio", "clip_fraction", "kl_update", "value_clip_fraction")


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the models said of B episodes of at most T tokens before the update; 0 where there is no token.

    ``logprobs`` and ``reference`` (B, T), ``values`` (B, T + 1), ``scores`` and ``lengths`` (B,).
    """

    logprobs: torch.Tensor
    reference: torch.Tensor
    values: torch.Tensor
    scores: torch.Tensor
    lengths: torch.Tensor
    mask: torch.Tensor
    state_mask: torch.Tensor
    features: Any

    def part(self, places: Sequence[int], width: int) -> _Seen:
        """Some of the episodes, of at most ``width`` tokens, with the features of this process's."""
        import torch

        states = [self.features[i] for i in places if i in self.features]
        return _Seen(
            self.logprobs[places, :width],
            self.reference[places, :width],
            self.values[places, : width + 1],
            self.scores[places],
            self.lengths[places],
            self.mask[places, :width],
            self.state_mask[places, : width + 1],
            torch.nn.utils.rnn.pad_sequence(states, batch_first=True) if states else None,
        )


@dataclass(frozen=True, eq=False)
class _Goal:
    """What a step aims at: ``advantages`` (B, T) for the policy, ``returns`` (B, T + 1) for the value."""

    advantages: torch.Tensor
    returns: torch.Tensor

    def part(self, places: Sequence[int], width: int) -> _Goal:
        """Some of the episodes, of at most ``width`` tokens."""
        return _Goal(self.advantages[places, :width], self.returns[places, : width + 1])


# --- the formulas, as functions of tensors ----------------------------------------------------------------


def token_rewards(
    penalty: torch.Tensor, scores: torch.Tensor, lengths: torch.Tensor, *, after_end: bool
) -> torch.Tensor:
    """Rewards (B, T + 1): minus the KL ``penalty`` (B, T) of every token, and the score (B,) at the end.

    The score is paid one place behind the last token with ``after_end``, else at the last token.
    """
    import torch

    rewards = torch.nn.functional.pad(-penalty, (0, 1))
    at = (lengths if after_end else lengths - 1)[:, None]
    return rewards.scatter_add(1, at, scores[:, None])


def gae(rewards: torch.Tensor, values: torch.Tensor, *, gamma: float, lam: float) -> torch.Tensor:
    """Advantages (B, W): A_t = delta_t + gamma lam A_(t+1), delta_t = r_t + gamma V_(t+1) - V_t.

    Generalised advantage estimation (Schulman et al. 2016, 1506.02438, eq. 16); what lies behind a text must
    be 0 in ``rewards`` and ``values`` (B, W).
    """
    import torch

    later = torch.zeros_like(values[:, 0])
    following = torch.zeros_like(later)
    advantages = []
    for t in reversed(range(values.shape[1])):
        later = rewards[:, t] + gamma * following - values[:, t] + gamma * lam * later
        following = values[:, t]
        advantages.append(later)
    return torch.stack(advantages[::-1], dim=1)


def value_loss(
    values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor, value_clip: float
) -> torch.Tensor:
    """Half of max((V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2) per state (H24)."""
    import torch

    clipped = values.clamp(old_values - value_clip, old_values + value_clip)
    return torch.maximum((values - returns) ** 2, (clipped - returns) ** 2) / 2


def explained_variance(values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor) -> float:
    """1 - Var(R - V) / Var(R) over what counts: 1 is perfect, 0 no better than a constant."""
    errors, kept = (returns - values)[mask], returns[mask]
    return 1 - (errors.var(correction=0) / kept.var(correction=0).clamp(min=1e-12)).item()
