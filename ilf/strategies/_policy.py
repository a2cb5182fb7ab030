"""The roles of reinforcement learning: policy, reference, reward and value, as models of their own.

The policy is trained, the reference is a frozen copy of it, the reward model is frozen, the value model is a
copy of the reward model and trained. ``_adapters`` has the same roles on one trunk.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ilf.errors import ComponentError
from ilf.strategies._models import learner, save_model
from ilf.strategies._rollouts import Batch, Episode, batch_of
from ilf.strategies._shared_prompt import scorer_of
from rankers import RankerError
from rankers._lm import LM
from rankers._logprobs import token_logprobs
from rankers._reward import RewardModel, load_reward

if TYPE_CHECKING:
    import torch

#: From what the value starts: the reward model, or a head of zeros on the policy's own states.
ValueInit = Literal["reward", "zero"]


@dataclass(frozen=True, eq=False)
class Role:
    """A model that reads batches: makes states with its trunk, projects them with its head."""

    trunk: Callable[..., Any]
    head: Callable[[Any], Any]
    #: Switches the trunk's adapters to this role's, and afterwards back to the policy's.
    switched: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext

    def states(self, batch: Batch) -> torch.Tensor:
        """All states of the batch, flat: (N, hidden)."""
        with self.switched():
            states: torch.Tensor = self.trunk(**batch.inputs, use_cache=False)[0]
        return states.flatten(0, 1)

    def logprobs(self, batch: Batch, temperature: float) -> torch.Tensor:
        """Log p(token) at a temperature for a role with a vocabulary: (B, T), 0 where there is no token."""
        return self.projected(self.states(batch), batch, temperature)

    def projected(self, states: torch.Tensor, batch: Batch, temperature: float) -> torch.Tensor:
        """The same from states; only those that predict a token are projected to the vocabulary."""
        picked = states[batch.at[:, :-1][batch.mask]]
        return batch.spread(token_logprobs(picked, self.head, batch.tokens[batch.mask], temperature))


@dataclass(frozen=True, eq=False)
class Roles:
    """Policy, reference, reward and perhaps value; each method reads a batch once.

    ``lm`` is the policy for the sampler, ``trained`` all that is learnt, by name. Everything is in evaluation
    mode throughout: no dropout anywhere.
    """

    lm: LM
    policy: Role
    reference: Role
    reward: Role
    reward_mean: float
    #: Tokens that the reward model has positions for.
    reward_length: int
    #: Makes the states that the value reads; None: it reads the reward's, or the policy's.
    value: Role | None
    value_head: Any
    value_init: ValueInit | None
    trained: Mapping[str, torch.Tensor]
    can_share: bool
    context: Callable[[], Any]
    #: How the roles were loaded, in words.
    said: str
    peft: Any = None
    #: In which the policy is sampled from.
    sampling: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext

    def batch(self, episodes: Sequence[Episode]) -> Batch:
        """The episodes as tensors on the models' device."""
        return batch_of(episodes, self.lm.device, can_share=self.can_share)

    def logprobs(self, batch: Batch, temperature: float) -> torch.Tensor:
        """Log p(token) under the policy at the sampling temperature: (B, T), 0 where there is no token."""
        with self.context():
            return self.policy.logprobs(batch, temperature)

    def reference_logprobs(self, batch: Batch, temperature: float) -> torch.Tensor:
        """The same under the frozen start: (B, T), without gradient."""
        import torch

        with torch.no_grad(), self.context():
            return self.reference.logprobs(batch, temperature)

    def scores(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The reward of every text (B,); the reward's states (B, T + 1, hidden) where the value reads them.

        The score is that of the last real token, the end token where the text has one.
        """
        import torch

        with torch.no_grad(), self.context():
            states = self.reward.states(batch)[batch.at]
            last = states[torch.arange(len(states), device=states.device), batch.lengths]
            scores = self.reward.head(last)[:, 0].float() - self.reward_mean
        is_read = self.value_init == "reward" and self.value is None
        return scores, (states.float() if is_read else None)

    def policy_and_values(
        self, batch: Batch, temperature: float, features: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probs (B, T) and values (B, T + 1) of the states before every token and after the last.

        ``features`` are what ``scores`` gave for these episodes. Gradients flow to all that is trained.
        """
        with self.context():
            states = self.policy.states(batch)
            logprobs = self.policy.projected(states, batch, temperature)
            if self.value is not None:
                states = self.value.states(batch)
            read = states[batch.at] if features is None else features
            values = self.value_head(read)[..., 0].float()
        return logprobs, values

    def gradients(self) -> list[torch.Tensor]:
        """The gradients of all that is trained, zeros where this process had no part of the batch."""
        import torch

        for parameter in self.trained.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return [parameter.grad for parameter in self.trained.values() if parameter.grad is not None]

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Puts weights back that ``trained`` held."""
        import torch

        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(tensors[name])

    def save(self, folder: Path, *, merge: bool) -> None:
        """Writes the policy, its adapter merged or by itself; adapters of other roles are gone afterwards."""
        if self.peft is not None:
            for name in set(self.peft.peft_config) - {"default"}:
                self.peft.delete_adapter(name)
        save_model(self.lm.model if self.peft is None else self.peft, self.lm.tokenizer, folder, merge=merge)


# --- loading ----------------------------------------------------------------------------------------------


def load_whole(start: str, strategy: Any, value: ValueInit | None) -> Roles:
    """Whole models for a strategy that starts from ``start`` with the reward model ``strategy.reward``.

    ComponentError where a model cannot be loaded, or the two do not fit each other.
    """
    lm = learner(start, strategy)
    reward = reward_of(lm, strategy)
    frozen = copy.deepcopy(lm.model).requires_grad_(requires_grad=False)
    policy, can_share = policy_of(lm)
    reference = Role(*LM(frozen, lm.tokenizer, lm.device).parts)
    reading = Role(reward.trunk, reward.head)
    trained = {f"policy.{name}": p for name, p in lm.model.named_parameters()}
    head = own = None
    if value is not None:
        head = value_head(value, reward.head, reward.mean, lm)
        trained |= named("value.head", head)
    if value == "reward":
        trunk: Any = copy.deepcopy(reward.trunk)
        trunk.requires_grad_(requires_grad=True)
        own = Role(trunk, reward.head)
        trained |= named("value", trunk)
    return Roles(
        lm=lm, policy=policy, reference=reference, reward=reading, reward_mean=reward.mean,
        reward_length=reward.max_length, value=own,
        value_head=head, value_init=value, trained=trained, can_share=can_share and reads_trees(reading, lm),
        context=lambda: strategy.autocast(lm.device), said="whole models",
    )  # fmt: skip


def named(prefix: str, module: Any) -> dict[str, Any]:
    """The parameters of a module under a prefix."""
    return {f"{prefix}.{name}": parameter for name, parameter in module.named_parameters()}


def reward_of(lm: LM, strategy: Any) -> RewardModel:
    """The reward model as a model of its own; ComponentError where it does not read what ``lm`` writes."""
    try:
        reward = load_reward(strategy.reward, device=lm.device, who=strategy.name)
    except RankerError as error:
        raise ComponentError(
            f"{error} Set {strategy.name}.reward to a model that the strategy `reward` trained, or to a "
            "classifier with one label."
        ) from None
    check_tokenizer(lm, reward.tokenizer, strategy)
    return reward


def check_tokenizer(lm: LM, other: Any, strategy: Any) -> None:
    """ComponentError where the reward model has other tokens, or another end token, than the policy."""
    mine, theirs = lm.tokenizer.get_vocab(), other.get_vocab()
    if mine == theirs and lm.tokenizer.eos_token_id == other.eos_token_id:
        return
    different = sum(theirs.get(token) != i for token, i in mine.items())
    raise ComponentError(
        f"{strategy.name}.reward: this reward model has another tokenizer than the start: {len(theirs)} "
        f"tokens against {len(mine)}, {different} of the start's are not the same, the end tokens are "
        f"{other.eos_token!r} and {lm.tokenizer.eos_token!r}. Train a reward model from this start (strategy "
        "`reward`), or start from the model that this one was trained from."
    )


def policy_of(lm: LM) -> tuple[Role, bool]:
    """The policy, and whether it reads several completions behind one prompt as it reads them one by one."""
    scorer = scorer_of(lm)
    return Role(scorer.trunk, scorer.head), scorer.can_share


def reads_trees(role: Role, lm: LM) -> bool:
    """Whether a trunk reads completions behind one prompt as it reads them one by one: tried out."""
    import torch

    # Different lengths, so that wrong positions, masks or borders show.
    episodes = [Episode(0, (1, 2, 3), (2, 1), True), Episode(0, (1, 2, 3), (3, 1, 2), True)]  # noqa: FBT003
    plain, tree = (batch_of(episodes, lm.device, can_share=can_share) for can_share in (False, True))
    try:
        with torch.no_grad():
            one, other = (role.states(batch)[batch.at[batch.state_mask]] for batch in (plain, tree))
        return torch.allclose(one, other, atol=1e-4, rtol=1e-4)
    except (RuntimeError, TypeError, ValueError, IndexError):
        return False  # a model that takes no mask of this shape


def value_head(value: ValueInit, reward_head: Any, mean: float, lm: LM) -> Any:
    """A linear head (hidden -> 1): the reward's, so that values start as rewards, or zeros."""
    import torch

    if value == "zero":
        head = torch.nn.Linear(lm.model.get_output_embeddings().weight.shape[-1], 1, device=lm.device)
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
        return head
    head = torch.nn.Linear(reward_head.weight.shape[-1], 1, device=lm.device)
    bias = getattr(reward_head, "bias", None)
    with torch.no_grad():
        head.weight.copy_(reward_head.weight)
        head.bias.fill_(-mean if bias is None else bias.item() - mean)
    return head
