"""What strategies share that learn from their own samples: rollouts, checks, the log, what is kept."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ilf import _ranks
from ilf.errors import ComponentError, DataError, UsageError, listed
from ilf.protocols import Row
from ilf.strategies._checkpoint import Checkpoint
from ilf.strategies._models import own_randomness, write_card
from ilf.strategies._online_settings import OnlineSettings
from ilf.strategies._rl import kl_estimate, masked_mean
from ilf.strategies._rollouts import Episode, prompt_ids, roll_out, rows_of_step, text_of, token_mask
from rankers._lm import resolve_device

if TYPE_CHECKING:
    import torch

    from ilf.strategies._policy import Roles, ValueInit

log = logging.getLogger("ilf")

Probe = Callable[[Sequence[Row]], Mapping[str, float]]
#: Steps in a row whose texts all have one reward, after which there is nothing left to learn.
_FLAT_STEPS = 5
#: Share of a step's answers that may be empty.
_MOST_EMPTY = 0.5


@dataclass(frozen=True)
class Online(OnlineSettings):
    """A strategy that samples from the policy, has a reward model score the texts, and learns from that."""

    #: Whether the processes of torchrun share the work of a step.
    is_distributed: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("prompt",)

    # --- before any work ----------------------------------------------------------------------------------

    def prepare(
        self,
        rows: Sequence[Row],
        start: str,
        seed: int,
        *,
        value: ValueInit | None = None,
        value_adapter: bool = False,
    ) -> tuple[Roles, list[list[int]]]:
        """The roles and every row's prompt in token ids, once all of it has been found fit.

        DataError for rows that leave no room for an answer, ComponentError for models that do not fit each
        other.
        """
        from ilf.strategies._adapters import load_one_trunk
        from ilf.strategies._policy import load_whole

        if not rows:
            raise DataError(f"{self.name}: there is no row to learn from.")
        if self.prompts_per_step % _ranks.count():
            raise UsageError(
                f"{self.name}.prompts_per_step: {self.prompts_per_step} prompts cannot be shared evenly by "
                f"{_ranks.count()} processes."
            )
        if _ranks.count() > 1:
            _ranks.state()
        with own_randomness(resolve_device(self.device), self.name, seed):
            if self.lora_rank is None:
                roles = load_whole(start, self, value)
            else:
                roles = load_one_trunk(start, self, value, value_adapter=value_adapter)
        log.info("%s: %s", self.name, roles.said)
        prompts = [prompt_ids(row["prompt"], roles.lm, self.chat) for row in rows]
        self._check_room([len(prompt) for prompt in prompts], roles)
        return roles, prompts

    def _check_room(self, lengths: Sequence[int], roles: Roles) -> None:
        room = min(roles.lm.max_length, roles.reward_length) - self.max_new_tokens
        long = [f"row {i}: {n} tokens" for i, n in enumerate(lengths, start=1) if n > room]
        if long:
            raise DataError(
                f"{self.name}: {len(long)} prompt(s) leave no room for {self.max_new_tokens} new tokens "
                f"(max_new_tokens): the policy reads {roles.lm.max_length} tokens, the reward model "
                f"{roles.reward_length}. Shorten or drop them:\n{listed(long)}"
            )

    # --- a step -------------------------------------------------------------------------------------------

    def sample(self, step: int, roles: Roles, prompts: Sequence[Sequence[int]], seed: int) -> list[Episode]:
        """The episodes of a step, the same in every process; ComponentError where most answers are empty."""
        key = f"{self.name} {seed}"
        with roles.context(), roles.sampling():
            episodes = roll_out(
                roles.lm,
                prompts,
                rows_of_step(step, len(prompts), self.prompts_per_step, key=key),
                key=f"{key} step {step}",
                copies=self.samples_per_prompt,
                temperature=self.temperature,
                max_new_tokens=self.max_new_tokens,
                batch_size=self.batch_size,
            )
        n_empty = sum(episode.is_empty for episode in episodes)
        if n_empty > _MOST_EMPTY * len(episodes):
            raise ComponentError(
                f"{self.name}: {n_empty} of {len(episodes)} answers of step {step} are empty. The reward "
                "model likes empty answers, or the policy has lost its language: raise kl_coef (now "
                f"{self.kl_coef}), lower learning_rate (now {self.learning_rate}), or train the reward model "
                "on empty answers too."
            )
        return episodes

    def end_checked(self, scores: torch.Tensor, episodes: Sequence[Episode]) -> torch.Tensor:
        """The scores (B,), with ``missing_end_reward`` instead for texts that did not come to an end."""
        import torch

        if self.missing_end_reward is None:
            return scores
        is_ended = torch.tensor([episode.is_ended for episode in episodes], device=scores.device)
        return scores.masked_fill(~is_ended, self.missing_end_reward)

    def take(self, optimizer: Any, roles: Roles, loss: float, key: str) -> float:
        """One update with the gradients that are there; their norm before it was clipped."""
        import torch

        norm: float = torch.nn.utils.clip_grad_norm_(roles.trained.values(), self.clip).item()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise ComponentError(
                f"{key}: the loss is {loss} and its gradient {norm}. Lower learning_rate (now "
                f"{self.learning_rate}), raise kl_coef (now {self.kl_coef}), or train in float32 (now "
                f"{self.dtype})."
            )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return norm

    # --- the log and what is wrong with it ----------------------------------------------------------------

    def described(
        self,
        logprobs: torch.Tensor,
        reference: torch.Tensor,
        scores: torch.Tensor,
        episodes: Sequence[Episode],
        kl_coef: float,
    ) -> Row:
        """What a step's rollouts were like: reward, KL in nats a text, entropy in nats a token, length.

        ``logprobs`` and ``reference`` are (B, T), ``scores`` (B,). The entropy is estimated from what was
        sampled, as the mean of -log p, which is unbiased.
        """
        import torch

        lengths = torch.tensor([len(episode.completion) for episode in episodes], device=scores.device)
        mask = token_mask(lengths, logprobs.shape[1])
        kl = kl_estimate(logprobs, reference, "k1").sum(1)
        return {
            "reward": scores.mean().item(),
            "reward_total": (scores - kl_coef * kl).mean().item(),
            "kl": kl.mean().item(),
            "kl_k3": kl_estimate(logprobs, reference, "k3").sum(1).mean().item(),
            "kl_coef": kl_coef,
            "entropy": -masked_mean(logprobs, mask).item(),
            "length_tokens": lengths.double().mean().item(),
            "end_rate": sum(episode.is_ended for episode in episodes) / len(episodes),
            "episodes": len(episodes),
        }

    def check_rollouts(self, step: int, seen: Row, n_flat: int, scores: torch.Tensor) -> int:
        """How many steps in a row gave all texts one reward; ComponentError where training cannot go on."""
        import torch

        if not torch.isfinite(scores).all():
            raise ComponentError(
                f"{self.name}: the reward model's scores of step {step} are not finite. Its weights are "
                f"damaged, or do not fit the precision: train in float32 (now {self.dtype})."
            )
        if not seen["kl"] <= self.max_kl:
            raise ComponentError(
                f"{self.name}: the policy is {seen['kl']:.1f} nats a text from its start at step {step}, "
                f"more than max_kl ({self.max_kl}). Raise kl_coef (now {seen['kl_coef']:.3g}), lower "
                f"learning_rate (now {self.learning_rate}), or stop earlier (steps)."
            )
        if len(scores) > 1 and scores.std().item() > 1e-6:
            return 0
        if n_flat + 1 < _FLAT_STEPS:
            return n_flat + 1
        raise ComponentError(f"{self.name}: {self._flat(step, seen)}")

    def _flat(self, step: int, seen: Row) -> str:
        if seen["end_rate"] == 0 and self.missing_end_reward is not None:
            return (
                f"no answer of the last {_FLAT_STEPS} steps (to step {step}) came to an end, so all have "
                f"the reward {seen['reward']:.3g}. Raise max_new_tokens (now {self.max_new_tokens}), start "
                "from a model that was trained with end tokens, or score what is there: "
                "missing_end_reward=null."
            )
        return (
            f"all answers of the last {_FLAT_STEPS} steps (to step {step}) have one reward, "
            f"{seen['reward']:.3g}: there is nothing left to learn. The policy says always the same (raise "
            f"kl_coef, now {seen['kl_coef']:.3g}), or the reward model does not tell answers apart."
        )

    def shown(
        self,
        step: int,
        rows: Sequence[Row],
        episodes: Sequence[Episode],
        measured: Mapping[str, torch.Tensor],
        lm: Any,
        probe: Probe | None,
    ) -> Row:
        """What ``probe`` says of the step's texts, and every ``samples_every`` steps some of them.

        ``measured`` are numbers of every text (B,), shown beside it.
        """
        found: Row = {}
        is_shown = self.n_samples and (step % self.samples_every == 0 or step in (1, self.steps))
        if probe is None and not is_shown:
            return found
        texts = [text_of(episode, lm) for episode in episodes]
        if probe is not None:
            found |= probe([{**rows[e.row], "output": text} for e, text in zip(episodes, texts, strict=True)])
        if is_shown:
            # The first of every prompt, as far as they go.
            places = range(0, len(episodes), self.samples_per_prompt)[: self.n_samples]
            found["samples"] = [
                {
                    "prompt": rows[episodes[i].row]["prompt"],
                    "output": texts[i],
                    **{name: values[i].item() for name, values in measured.items()},
                }
                for i in places
            ]
        return found

    # --- what is kept -------------------------------------------------------------------------------------

    def checkpoint(self, folder: Path, prompts: Sequence[Sequence[int]], seed: int) -> Checkpoint:
        """The checkpoint of this training in ``folder``: of these settings, prompts and seed."""
        settings = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.compare}
        # Where a model lies is nobody's business: the same training may have moved.
        settings.pop("reward")
        read = hashlib.sha256(repr([list(prompt) for prompt in prompts]).encode()).hexdigest()
        return Checkpoint(
            folder / "checkpoint",
            {"strategy": self.name, "settings": settings, "prompts": read, "seed": seed},
        )

    @contextlib.contextmanager
    def rescuing(self, checkpoint: Checkpoint, roles: Roles, optimizer: Any) -> Iterator[None]:
        """Where training cannot go on, writes the policy of the last checkpoint beside it and says where."""
        try:
            yield
        except ComponentError as error:
            if _ranks.index() or not checkpoint.rows:
                raise
            checkpoint.load(roles.load, optimizer)
            roles.save(checkpoint.folder / "model", merge=self.merge)
            raise ComponentError(
                f"{error} The policy of step {checkpoint.rows} is in {checkpoint.folder / 'model'}."
            ) from None

    def finish(
        self, roles: Roles, folder: Path, *, start: str, seed: int, n_rows: int, losses: Sequence[Row]
    ) -> None:
        """Writes ``folder/model`` and its card, in the first process; ``losses`` have step and loss."""
        if _ranks.index():
            return
        roles.save(folder / "model", merge=self.merge)
        named = Path(self.reward).name if Path(self.reward).exists() else self.reward
        card = dataclasses.replace(self, reward=named)
        write_card(folder / "model", card, start=start, seed=seed, n_rows=n_rows, log=losses)
