"""RLOO and GRPO: a policy learns from a reward model, each answer judged beside others to the same prompt."""

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
from ilf.strategies._rl import kl_estimate, masked_sum, policy_loss
from ilf.strategies._rollouts import Episode, parts

if TYPE_CHECKING:
    import torch

    from ilf.strategies._policy import Roles

Baseline = Literal["leave_one_out", "group_normalised", "group_centred"]
Average = Literal["sum", "completion", "token"]

#: Added to a group's standard deviation (TRL's value; DeepSeekMath prints none).
_LEAST_STD = 1e-4


@dataclass(frozen=True)
class RLOO(Online):
    """REINFORCE leave-one-out (RLOO), and by three settings GRPO, its group-normalised form.

    Ahmadian et al. 2024, arXiv 2402.14740: of K answers y_i to a prompt, with R_i = r_i - kl_coef sum_t
    (log p - log p_ref), the loss is -1/K sum_i (R_i - mean of the other R_j) log p(y_i). No value model, no
    clipping, one update for a step's answers. Differences from the paper:

    1. A text without an end token gets ``missing_end_reward`` (None: its score).
    2. AdamW with epsilon 1e-5, its rate linear to 0, gradients clipped at ``clip``, no dropout in any model.
    3. With more than one update a step (``epochs``, ``minibatches``) those after the first use the ratio of
       each token to the policy that sampled it, clipped as in PPO (``clip_range``).

    GRPO (Shao et al. 2024, DeepSeekMath, 2402.03300, eq. 3 and 4) is ``advantages: group_normalised``,
    ``kl_in: loss``, ``average: completion`` (there K 64, kl_coef .04, rate 1e-6, one update). What differs:

    4. ``advantages``: GRPO divides r_i - mean by the group's standard deviation (over K - 1, plus 1e-4, both
       TRL's; the paper says neither), so that prompts whose answers are nearly alike weigh as much as others.
       ``group_centred`` does not (Dr. GRPO, Liu et al. 2025, 2503.20783): leave-one-out times (K - 1) / K.
    5. ``kl_in``: the KL is part of the reward, detached (RLOO), or of the loss, by k3 (GRPO), whose gradient
       is that of KL(p_ref || p) instead of KL(p || p_ref); ``kl_estimator`` k2 has the latter's (2510.01555).
       Neither counts what a token does to the KL of later ones. In the reward the optimum is
       p_ref exp(r / kl_coef), whatever ``advantages`` are.
    6. ``average``: log p(y_i) is summed over its tokens (RLOO; Dr. GRPO up to a constant), averaged over them
       (GRPO: a token of a long answer counts for less), or the mean goes over all tokens of the step (PPO).
    """

    epochs: int = 1
    minibatches: int = 1
    advantages: Baseline = "leave_one_out"
    kl_in: Literal["reward", "loss"] = "reward"
    kl_estimator: Literal["k2", "k3"] = "k3"
    average: Average = "sum"
    clip_range: float = 0.2

    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuses settings with which nothing can be learnt."""
        super().__post_init__()
        if self.samples_per_prompt < 2:
            raise UsageError(f"{self.name}.samples_per_prompt: {self.samples_per_prompt} must be 2 or more: "
                             "an answer is judged beside others to the same prompt.")  # fmt: skip
        if not self.clip_range > 0:
            raise UsageError(f"{self.name}.clip_range: {self.clip_range} must be above 0.")
        if self.minibatches > self.prompts_per_step:
            raise UsageError(f"{self.name}.minibatches: {self.minibatches} are more than a step has prompts.")

    def _least(self) -> dict[str, float]:
        return {**super()._least(), "epochs": 1, "minibatches": 1}

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

        Goes on from ``folder/checkpoint`` where there is one. ``probe`` grades a step's samples for the log.
        ComponentError, with what to change, where training has gone wrong.
        """
        roles, prompts = self.prepare(rows, start, seed)
        optimizer = self.optimizer(roles.trained)
        checkpoint = self.checkpoint(folder, prompts, seed)
        kept = checkpoint.load(roles.load, optimizer) or {"n_flat": 0, "losses": []}
        n_flat, losses = kept["n_flat"], kept["losses"]

        with self.rescuing(checkpoint, roles, optimizer):
            for step in range(len(losses) + 1, self.steps + 1):
                # Answers, and what policy, reference and reward model say of them.
                episodes = self.sample(step, roles, prompts, seed)
                seen = self.look(roles, episodes)
                row = self.described(seen.logprobs, seen.reference, seen.scores, episodes, self.kl_coef)
                n_flat = self.check_rollouts(step, row, n_flat, seen.scores)

                # What each is worth beside the others to its prompt.
                kl = kl_estimate(seen.logprobs, seen.reference, "k1").sum(1)
                rewards = seen.scores - self.kl_coef * kl if self.kl_in == "reward" else seen.scores
                groups = rewards.view(-1, self.samples_per_prompt)
                advantages = group_advantages(groups, self.advantages).flatten()
                row["advantage_std"] = advantages.std().item()

                rate = self.rate(step)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                row |= self.improve(roles, optimizer, episodes, seen, advantages, f"rloo {seed} step {step}")
                row["learning_rate"] = rate

                row |= self.shown(step, rows, episodes, {"reward": seen.scores, "kl": kl}, roles.lm, probe)
                losses = [*losses, {"step": step, "loss": row["loss"]}]
                if step == self.steps:
                    self.finish(roles, folder, start=start, seed=seed, n_rows=len(rows), losses=losses)
                yield {"step": step, **row}
                if step < self.steps and step % self.checkpoint_every == 0:
                    checkpoint.save(step, roles.trained, optimizer, {"n_flat": n_flat, "losses": losses})
        checkpoint.remove()

    def look(self, roles: Roles, episodes: Sequence[Episode]) -> _Seen:
        """What policy, reference and reward model say of the answers, before anything is learnt from them.

        Every process reads its share, and all get all of it.
        """
        import torch

        found: dict[int, tuple[torch.Tensor, ...]] = {}
        mine = _ranks.share(range(len(episodes)))
        with torch.no_grad():
            for part in parts(episodes, mine, self.microbatch_tokens, can_share=roles.can_share):
                batch = roles.batch([episodes[i] for i in part])
                scores, _ = roles.scores(batch)
                logprobs = roles.logprobs(batch, self.temperature)
                reference = roles.reference_logprobs(batch, self.temperature)
                for row, i in enumerate(part):
                    n = len(episodes[i].completion)
                    found[i] = (logprobs[row, :n], reference[row, :n], scores[row])
        columns = list(zip(*_ranks.gathered([found[i] for i in mine]), strict=True))
        logprobs, reference = (
            torch.nn.utils.rnn.pad_sequence(list(column), batch_first=True) for column in columns[:2]
        )
        scores = self.end_checked(torch.stack(columns[2]), episodes)
        lengths = torch.tensor([len(episode.completion) for episode in episodes], device=scores.device)
        return _Seen(logprobs, reference, scores, lengths)

    def improve(
        self,
        roles: Roles,
        optimizer: Any,
        episodes: Sequence[Episode],
        seen: _Seen,
        advantages: torch.Tensor,
        key: str,
    ) -> Row:
        """The updates of a step, one by default; means over them, of the last its ``kl_update``."""
        logs: list[Row] = []
        for minibatch in self.minibatches_of(len(episodes), key):
            found = self.gradients(roles, episodes, minibatch, seen, advantages, is_first=not logs)
            logs.append(found | {"gradient_norm": self.take(optimizer, roles, found["loss"], key)})
        means = {name: sum(log[name] for log in logs) / len(logs) for name in logs[0]}
        return {**means, "kl_update": logs[-1]["kl_update"], "updates": len(logs)}

    def minibatches_of(self, n_episodes: int, key: str) -> Iterator[list[int]]:
        """Places of the episodes of every update: whole groups, in an order of each pass's own."""
        n_groups, k = n_episodes // self.samples_per_prompt, self.samples_per_prompt
        for number in range(self.epochs):
            order = random.Random(f"{key} pass {number}").sample(range(n_groups), n_groups)
            for at in range(self.minibatches):
                first, end = at * n_groups // self.minibatches, (at + 1) * n_groups // self.minibatches
                yield [group * k + i for group in order[first:end] for i in range(k)]

    def gradients(
        self,
        roles: Roles,
        episodes: Sequence[Episode],
        minibatch: Sequence[int],
        seen: _Seen,
        advantages: torch.Tensor,
        *,
        is_first: bool,
    ) -> Row:
        """Adds up the gradients of a minibatch, over its parts and over the processes; its losses and ratios.

        Before a step's first update the policy is the one that sampled: then the loss is REINFORCE's (3).
        """
        import torch

        lengths = seen.lengths[minibatch]
        weights = torch.zeros(len(episodes), device=lengths.device)
        weights[minibatch] = episode_weights(lengths, self.average)
        share = _ranks.share(range(len(episodes)))
        mine = [i for i in minibatch if i in share]
        measured = {name: torch.zeros((), device=roles.lm.device) for name in _MEASURED}
        for part in parts(episodes, mine, self.microbatch_tokens, can_share=roles.can_share):
            batch = roles.batch([episodes[i] for i in part])
            mask, width = batch.mask, batch.tokens.shape[1]
            logprobs, old = roles.logprobs(batch, self.temperature), seen.logprobs[part, :width]
            ratio, aim, weight = (logprobs - old).exp(), advantages[part, None], weights[part, None]
            policy = reinforce_loss(logprobs, aim) if is_first else policy_loss(ratio, aim, self.clip_range)
            losses = [masked_sum(weight * policy, mask)]
            if self.kl_in == "loss":
                kl = kl_estimate(logprobs, seen.reference[part, :width], self.kl_estimator)
                losses.append(self.kl_coef * masked_sum(weight * kl, mask))
            torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                is_clipped = (policy_loss(ratio, aim, self.clip_range) > -aim * ratio).float()
                per_token = ratio, is_clipped, kl_estimate(old, logprobs, "k3")
                found = [masked_sum(x, mask) / lengths.sum() for x in per_token] + losses
                for name, x in zip(_MEASURED, found, strict=False):
                    measured[name] = measured[name] + x
        _ranks.add_up([*roles.gradients(), *measured.values()])
        log = {name: tensor.item() for name, tensor in measured.items()}
        return {"loss": log["policy_loss"] + log["kl_loss"], **log}


#: What ``gradients`` measures, in its order; the fraction is of tokens where the clipped loss is the larger.
_MEASURED = ("ratio", "clip_fraction", "kl_update", "policy_loss", "kl_loss")


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the models said of B answers of at most T tokens when they were sampled; 0 where no token is.

    ``logprobs`` and ``reference`` (B, T), ``scores`` and ``lengths`` (B,).
    """

    logprobs: torch.Tensor
    reference: torch.Tensor
    scores: torch.Tensor
    lengths: torch.Tensor


# --- the formulas, as functions of tensors ----------------------------------------------------------------


def group_advantages(rewards: torch.Tensor, kind: Baseline) -> torch.Tensor:
    """What each of a prompt's K answers is worth beside the others, for rewards (prompts, K): the same shape.

    leave_one_out: r_i minus the mean of the others (2402.14740); group_centred: r_i minus the mean of all
    (2503.20783); group_normalised: that over the group's standard deviation (2402.03300). They add up to 0.
    """
    k = rewards.shape[1]
    centred = rewards - rewards.mean(1, keepdim=True)
    if kind == "leave_one_out":
        return centred * (k / (k - 1))
    if kind == "group_normalised":
        return centred / (rewards.std(1, keepdim=True) + _LEAST_STD)
    return centred


def episode_weights(lengths: torch.Tensor, average: Average) -> torch.Tensor:
    """What a token of each of n answers with ``lengths`` (n,) tokens weighs in the loss: (n,).

    sum: 1 / n, so that the tokens of an answer are added up; completion: 1 / (n length), their mean; token: 1
    over the tokens of all.
    """
    import torch

    n = len(lengths)
    if average == "sum":
        return torch.full((n,), 1 / n, device=lengths.device)
    if average == "completion":
        return 1 / (n * lengths.float())
    return torch.full((n,), 1 / lengths.sum().item(), device=lengths.device)


def reinforce_loss(logprobs: torch.Tensor, advantages: torch.Tensor) -> torch.Tensor:
    """-A log p per token (B, T), for log-probs (B, T) and advantages (B, 1) or (B, T): Williams 1992."""
    return -advantages * logprobs
