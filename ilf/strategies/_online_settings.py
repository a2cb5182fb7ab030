"""Settings that strategies share which learn from their own samples and a reward model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ilf.errors import UsageError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class OnlineSettings:
    """Settings of strategies that learn from their own samples, and what follows from them alone.

    A step samples ``samples_per_prompt`` texts for each of ``prompts_per_step`` prompts. ``max_kl`` (nats a
    text) stops a training that ran away. ``batch_size`` sequences are sampled together and
    ``microbatch_tokens`` are in memory together, which moves results by float error alone.
    """

    reward: str
    steps: int = 100
    prompts_per_step: int = 16
    samples_per_prompt: int = 4
    max_new_tokens: int = 64
    temperature: float = 1.0
    learning_rate: float = 3e-6
    final_share: float = 0.0
    adam_epsilon: float = 1e-5
    clip: float = 1.0
    kl_coef: float = 0.05
    missing_end_reward: float | None = -1.0
    max_kl: float = 50.0
    n_samples: int = 2
    samples_every: int = 10
    lora_rank: int | None = None
    lora_alpha: float = 32.0
    lora_targets: tuple[str, ...] = ()
    merge: bool = True
    chat: Literal["auto", "never"] = "auto"
    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    microbatch_tokens: int = 16_384
    batch_size: int = field(default=256, compare=False)
    checkpoint_every: int = field(default=10, compare=False)

    @property
    def name(self) -> str:
        """The strategy's name in a recipe, for errors and seeds."""
        return type(self).__module__.rpartition(".")[2]

    def __post_init__(self) -> None:
        """Refuses settings with which nothing can be learnt, all at once."""
        problems = [
            f"{self.name}.{key}: {getattr(self, key)} must be {least} or more."
            for key, least in self._least().items()
            if getattr(self, key) is not None and getattr(self, key) < least
        ]
        problems += [
            f"{self.name}.{key}: {getattr(self, key)} must be above 0."
            for key in ("temperature", "learning_rate", "adam_epsilon", "clip", "max_kl", "lora_alpha")
            if not getattr(self, key) > 0
        ]
        if problems:
            raise UsageError("\n".join(problems))

    def _least(self) -> dict[str, float]:
        counts = "steps prompts_per_step samples_per_prompt max_new_tokens samples_every lora_rank"
        counts += " microbatch_tokens batch_size checkpoint_every"
        return {**dict.fromkeys(counts.split(), 1), "kl_coef": 0, "final_share": 0, "n_samples": 0}

    def rate(self, step: int) -> float:
        """The learning rate of a step (from 1): linear to ``final_share`` of it, without warm-up."""
        done = (step - 1) / self.steps
        return self.learning_rate * (1 - (1 - self.final_share) * done)

    def optimizer(self, trained: Mapping[str, torch.Tensor]) -> Any:
        """AdamW without weight decay."""
        import torch

        return torch.optim.AdamW(
            list(trained.values()), lr=self.learning_rate, eps=self.adam_epsilon, weight_decay=0.0, fused=True
        )

    def autocast(self, device: str) -> Any:
        """The context in which the arithmetic is done in ``dtype``."""
        import torch

        return torch.autocast(
            torch.device(device).type, dtype=torch.bfloat16, enabled=self.dtype == "bfloat16"
        )
