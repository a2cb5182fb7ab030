"""What strategies with gradient updates share: their settings, schedule, batches, and the loop of updates."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ilf.errors import ComponentError, DataError, UsageError, listed
from ilf.protocols import Row
from ilf.strategies._models import own_randomness
from rankers._lm import LM

#: Batches whose examples are sorted by length together, so that a batch has little padding.
_BATCHES_SORTED_TOGETHER = 6
#: Loss of a part of a batch, and what is logged of it: (indices of the part, indices of the whole batch) ->
#: (scalar, sums). Losses and sums of the parts are added up, so both must be divided by the whole batch.
PartLoss = Callable[[Sequence[int], Sequence[int]], tuple[Any, Mapping[str, float]]]


@dataclass(frozen=True)
class Tuning:
    """Settings of strategies that tune a model: AdamW, warm-up and cosine, clipped gradients, LoRA or all.

    ``batch_size`` examples make one update; as many of them as have ``microbatch_tokens`` with padding are in
    memory at once, which moves results by float error alone (and by other dropout, where the model has
    dropout). Weights are kept and saved in float32; ``dtype`` is that of the arithmetic (autocast).
    """

    epochs: int = 1
    n_updates: int | None = None
    """Updates in all, in place of ``epochs``: what budgets of different sizes are to have in common."""
    batch_size: int = 16
    learning_rate: float = 1e-5
    warmup_share: float = 0.1
    final_share: float = 0.1
    weight_decay: float = 0.0
    clip: float = 1.0
    max_tokens: int = 2048
    lora_rank: int | None = None
    lora_alpha: float = 32.0
    lora_targets: tuple[str, ...] = ()
    merge: bool = True
    chat: Literal["auto", "never"] = "auto"
    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    microbatch_tokens: int = 16_384

    #: Whether dropout, where the model has any, is on in updates.
    dropout: ClassVar[bool] = True
    adam_epsilon: ClassVar[float] = 1e-8

    @property
    def name(self) -> str:
        """The strategy's name in a recipe, for errors and seeds."""
        return type(self).__module__.rpartition(".")[2]

    def __post_init__(self) -> None:
        """Refuses settings with which nothing can be learnt."""
        for name in ("epochs", "n_updates", "batch_size", "max_tokens", "microbatch_tokens", "lora_rank"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{self.name}.{name}: {value} must be 1 or more.")
        for name in ("learning_rate", "clip", "lora_alpha"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{self.name}.{name}: {getattr(self, name)} must be above 0.")
        if not (0 <= self.warmup_share < 1 and 0 <= self.final_share <= 1 and self.weight_decay >= 0):
            raise UsageError(
                f"{self.name}: warmup_share must be in [0, 1), final_share in [0, 1], weight_decay 0 or "
                f"more; they are {self.warmup_share}, {self.final_share}, {self.weight_decay}."
            )

    def updates(
        self,
        lm: LM,
        lengths: Sequence[int],
        part_loss: PartLoss,
        *,
        seed: int,
        parameters: Sequence[Any] | None = None,
    ) -> Iterator[Row]:
        """Trains ``lm`` (or the ``parameters`` given) over all epochs; one log row an update.

        ``lengths`` are the tokens of every example. Raises ComponentError where loss or gradient are not
        finite.
        """
        import torch

        batches = list(self.batches(lengths, seed))
        per_epoch = math.ceil(len(lengths) / self.batch_size)
        trained = [p for p in parameters or lm.model.parameters() if p.requires_grad]
        optimizer = self.optimizer(trained)
        lm.model.train(self.dropout)
        for step, batch in enumerate(batches, start=1):
            rate = self.rate(step, len(batches))
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = 0.0
            sums: dict[str, float] = {}
            with own_randomness(lm.device, self.name, seed, step):
                for part in self.microbatches(batch, lengths):
                    with self.autocast(lm.device):
                        found, measured = part_loss(part, batch)
                    found.backward()
                    loss += found.item()
                    sums = {key: sums.get(key, 0) + value for key, value in measured.items()}
            norm = torch.nn.utils.clip_grad_norm_(trained, self.clip).item()
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise ComponentError(
                    f"{self.name}: the loss is {loss} and its gradient {norm} at update {step} of "
                    f"{len(batches)}. Lower learning_rate (now {self.learning_rate}), or train in float32 "
                    f"(now {self.dtype})."
                )
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            yield {
                "step": step,
                "epoch": math.ceil(step / per_epoch),
                "loss": loss,
                **sums,
                "learning_rate": rate,
                "gradient_norm": norm,
            }

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of an update (from 1): linear warm-up, then a cosine to ``final_share`` of it."""
        warmup = max(1, round(self.warmup_share * steps))
        if step <= warmup:
            return self.learning_rate * step / warmup
        progress = (step - warmup) / max(1, steps - warmup)
        cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
        return self.learning_rate * (self.final_share + (1.0 - self.final_share) * cosine)

    def batches(self, lengths: Sequence[int], seed: int) -> Iterator[list[int]]:
        """Indices of every update; each epoch in an order of its own, like lengths together in a batch."""
        epochs = range(self.epochs) if self.n_updates is None else itertools.count()
        found = itertools.chain.from_iterable(self._epoch(lengths, seed, epoch) for epoch in epochs)
        return itertools.islice(found, self.n_updates)

    def _epoch(self, lengths: Sequence[int], seed: int, epoch: int) -> list[list[int]]:
        rng = random.Random(f"{self.name} {seed} {epoch}")
        order = rng.sample(range(len(lengths)), len(lengths))
        size = self.batch_size * _BATCHES_SORTED_TOGETHER
        batches: list[list[int]] = []
        for start in range(0, len(order), size):
            group = sorted(order[start : start + size], key=lambda i: lengths[i])
            batches += [group[at : at + self.batch_size] for at in range(0, len(group), self.batch_size)]
        rng.shuffle(batches)
        return batches

    def microbatches(self, batch: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
        """Parts of a batch with at most ``microbatch_tokens``, padding counted (one example at least)."""
        part: list[int] = []
        longest = 0
        for i in batch:
            if part and max(longest, lengths[i]) * (len(part) + 1) > self.microbatch_tokens:
                yield part
                part, longest = [], 0
            part.append(i)
            longest = max(longest, lengths[i])
        if part:
            yield part

    def optimizer(self, trained: Sequence[Any]) -> Any:
        """AdamW, without weight decay on biases and norms."""
        import torch

        groups = [
            {"params": [p for p in trained if p.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.learning_rate, eps=self.adam_epsilon, fused=True)

    def autocast(self, device: str) -> Any:
        """The context in which the arithmetic is done in ``dtype``."""
        import torch

        return torch.autocast(
            torch.device(device).type, dtype=torch.bfloat16, enabled=self.dtype == "bfloat16"
        )

    def check_lengths(self, lengths: Sequence[int], lm: LM) -> None:
        """DataError naming the rows that are longer than ``max_tokens`` or the model's context.

        ``lengths`` count a text's last token, which is never an input, so one more fits than the model has
        positions for.
        """
        most = min(self.max_tokens, lm.max_length + 1)
        long = [f"row {i}: {n} tokens" for i, n in enumerate(lengths, start=1) if n > most]
        if long:
            raise DataError(
                f"{self.name}: {len(long)} row(s) are longer than {most} tokens (max_tokens is "
                f"{self.max_tokens}, the model has {lm.max_length} positions); shorten or drop them:\n"
                f"{listed(long)}"
            )
