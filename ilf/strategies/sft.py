"""Supervised fine-tuning on completions: the last step of ILF."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from ilf.errors import ComponentError, DataError, UsageError, listed
from ilf.protocols import Row
from ilf.strategies._encode import Example, encode, padded
from ilf.strategies._models import learner, own_randomness, save_model, write_card
from rankers._lm import LM, resolve_device
from rankers._logprobs import token_logprobs, trunk_and_head

#: Examples that are sorted by length together, so that a batch has little padding.
_BATCHES_SORTED_TOGETHER = 6


@dataclass(frozen=True)
class SFT:
    """Maximises log p(completion | prompt), its end token included (Scheurer et al. 2023, step 5).

    Differences from the paper: open weights instead of an API; no loss on prompts (the paper weighs them 0
    to 0.1). One epoch by default: the paper's dev perplexity rises from the second epoch on. AdamW without
    weight decay on biases and norms, linear warm-up, cosine to a tenth, gradients clipped at 1. All weights,
    or LoRA (``lora_rank``) merged into them at the end. ``batch_size`` examples make one update; as many of
    them as have ``microbatch_tokens`` with padding are in memory at once, which moves results by float error
    alone (and by other dropout, where the model has dropout). Weights are kept and saved in float32;
    ``dtype`` is that of the arithmetic (autocast). A plain loop rather than ``transformers.Trainer``, which
    took 1.3 to 2.8 times as long at the same losses (benchmarks/sft.py).
    """

    epochs: int = 1
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

    needs: ClassVar[tuple[str, ...]] = ("prompt", "completion")
    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuses settings with which nothing can be learnt."""
        for name in ("epochs", "batch_size", "max_tokens", "microbatch_tokens", "lora_rank"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"sft.{name}: {value} must be 1 or more.")
        for name in ("learning_rate", "clip", "lora_alpha"):
            if not getattr(self, name) > 0:
                raise UsageError(f"sft.{name}: {getattr(self, name)} must be above 0.")
        if not (0 <= self.warmup_share < 1 and 0 <= self.final_share <= 1 and self.weight_decay >= 0):
            raise UsageError(
                "sft: warmup_share must be in [0, 1), final_share in [0, 1], weight_decay 0 or more; they "
                f"are {self.warmup_share}, {self.final_share}, {self.weight_decay}."
            )

    def train(
        self,
        rows: Sequence[Row],
        folder: Path,
        *,
        start: str,
        seed: int,
        probe: Callable[[str], Mapping[str, float]] | None = None,
    ) -> Iterator[Row]:
        """Tunes ``start`` on the rows' prompts and completions; one log row an update, loss in nats a token.

        ``probe`` grades the written model once, for the last row.
        """
        import torch

        if not rows:
            raise DataError("sft: there is no row to learn from.")
        device = resolve_device(self.device)
        with own_randomness(device, "sft", seed), torch.no_grad():
            lm = learner(start, self)
            trunk, head = trunk_and_head(lm.model)
        batches = list(self._batches(self._examples(rows, lm), seed))
        autocast = torch.autocast(
            torch.device(device).type, dtype=torch.bfloat16, enabled=self.dtype == "bfloat16"
        )
        optimizer = self._optimizer(lm.model)
        lm.model.train()
        log: list[Row] = []
        for step, batch in enumerate(batches, start=1):
            rate = self.rate(step, len(batches))
            for group in optimizer.param_groups:
                group["lr"] = rate
            n_targets = sum(len(example.completion) for example in batch)
            loss = 0.0
            with own_randomness(device, "sft", seed, step):
                for part in self._microbatches(batch):
                    with autocast:
                        part_loss = -completion_logprob(trunk, head, part, device) / n_targets
                    part_loss.backward()
                    loss += part_loss.item()
            norm = torch.nn.utils.clip_grad_norm_(lm.model.parameters(), self.clip).item()
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise ComponentError(
                    f"sft: the loss is {loss} and its gradient {norm} at update {step} of {len(batches)}. "
                    f"Lower learning_rate (now {self.learning_rate}), or train in float32 (now {self.dtype})."
                )
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            log.append(
                {
                    "step": step,
                    "epoch": math.ceil(step * self.epochs / len(batches)),
                    "loss": loss,
                    "tokens": n_targets,
                    "learning_rate": rate,
                    "gradient_norm": norm,
                }
            )
            if step < len(batches):
                yield log[-1]
        save_model(lm.model, lm.tokenizer, folder / "model", merge=self.merge)
        write_card(folder / "model", self, start=start, seed=seed, n_rows=len(rows), log=log)
        yield {**log[-1], **(probe(str(folder / "model")) if probe else {})}

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of an update (from 1): linear warm-up, then a cosine to ``final_share`` of it."""
        warmup = max(1, round(self.warmup_share * steps))
        if step <= warmup:
            return self.learning_rate * step / warmup
        progress = (step - warmup) / max(1, steps - warmup)
        cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
        return self.learning_rate * (self.final_share + (1.0 - self.final_share) * cosine)

    def _examples(self, rows: Sequence[Row], lm: LM) -> list[Example]:
        examples = [encode(row["prompt"], row["completion"], lm, chat=self.chat) for row in rows]
        # The last token is never an input, so one more than the model has positions for.
        most = min(self.max_tokens, lm.max_length + 1)
        long = [f"row {i}: {len(e)} tokens" for i, e in enumerate(examples, start=1) if len(e) > most]
        if long:
            raise DataError(
                f"sft: {len(long)} row(s) are longer than {most} tokens (max_tokens is {self.max_tokens}, "
                f"the model has {lm.max_length} positions); shorten or drop them:\n{listed(long)}"
            )
        return examples

    def _batches(self, examples: Sequence[Example], seed: int) -> Iterator[list[Example]]:
        """Every epoch in an order of its own; within a group of batches like lengths are together."""
        for epoch in range(self.epochs):
            rng = random.Random(f"sft {seed} {epoch}")
            order = rng.sample(range(len(examples)), len(examples))
            size = self.batch_size * _BATCHES_SORTED_TOGETHER
            batches: list[list[Example]] = []
            for start in range(0, len(order), size):
                group = sorted(order[start : start + size], key=lambda i: len(examples[i]))
                batches += [
                    [examples[i] for i in group[at : at + self.batch_size]]
                    for at in range(0, len(group), self.batch_size)
                ]
            rng.shuffle(batches)
            yield from batches

    def _microbatches(self, batch: Sequence[Example]) -> Iterator[list[Example]]:
        """Parts of a batch with at most ``microbatch_tokens``, padding counted (one example at least)."""
        part: list[Example] = []
        longest = 0
        for example in batch:
            if part and max(longest, len(example)) * (len(part) + 1) > self.microbatch_tokens:
                yield part
                part, longest = [], 0
            part.append(example)
            longest = max(longest, len(example))
        if part:
            yield part

    def _optimizer(self, model: Any) -> Any:
        import torch

        trained = [p for p in model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.learning_rate, fused=True)


def completion_logprob(
    trunk: Callable[..., Any], head: Callable[[Any], Any], examples: Sequence[Example], device: str
) -> Any:
    """Sum of log p over the completion tokens of the examples, in nats: a differentiable scalar.

    Prompts and padding have no part in it: only the states that predict a completion token are projected.
    """
    import torch

    ids, at, targets = padded(examples)
    states = trunk(input_ids=ids.to(device), use_cache=False)[0]  # (B, T, hidden)
    return torch.sum(token_logprobs(states.flatten(0, 1)[at.to(device)], head, targets.to(device)))
