"""Supervised fine-tuning on completions: the last step of ILF."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ilf.errors import ComponentError, DataError, UsageError, listed
from ilf.protocols import Row
from ilf.strategies._encode import Example, encode, padded
from ilf.strategies._models import learner, save_model, write_card
from rankers._logprobs import token_logprobs, trunk_and_head

#: Examples that are sorted by length together, so that a batch has little padding.
_BATCHES_SORTED_TOGETHER = 6


@dataclass(frozen=True)
class SFT:
    """Maximises log p(completion | prompt), the completion's end token included (Scheurer et al. 2023, step 5).

    Differences from the paper: open weights instead of an API, no loss on prompts (the paper weighs them 0 to
    0.1). One epoch by default: the paper's dev perplexity rises from the second epoch on. AdamW without weight
    decay on biases and norms, linear warm-up, cosine to a tenth, gradients clipped at 1. All weights, or LoRA
    (``lora_rank``) merged into them at the end. ``batch_size`` examples make one update; ``microbatch_tokens``
    of them are in memory at once, which changes speed and memory alone.
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
    chat: bool = True
    device: str = "auto"
    dtype: str = "float32"
    microbatch_tokens: int = 16_384

    needs: ClassVar[tuple[str, ...]] = ("prompt", "completion")
    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuses settings with which nothing can be learnt."""
        for name in ("epochs", "batch_size", "max_tokens", "microbatch_tokens"):
            if getattr(self, name) < 1:
                raise UsageError(f"sft.{name}: {getattr(self, name)} must be 1 or more.")
        if not self.learning_rate > 0 or not 0 <= self.warmup_share < 1:
            raise UsageError("sft: learning_rate must be above 0, warmup_share in [0, 1).")

    def train(
        self,
        rows: Sequence[Row],
        folder: Path,
        *,
        start: str,
        seed: int,
        probe: Callable[[str], Mapping[str, float]] | None = None,
    ) -> Iterator[Row]:
        """Tunes ``start`` on the rows' ``prompt`` and ``completion``; one log row per update, losses in nats a token."""
        import torch

        if not rows:
            raise DataError("sft: there is no row to learn from.")
        with _own_randomness(seed):
            model, tokenizer, device = learner(start, self)
            examples = self._examples(rows, tokenizer)
            batches = list(self._batches(examples, seed))
            optimizer = self._optimizer(model)
            trunk, head = trunk_and_head(model)
            log: list[Row] = []
            for step, batch in enumerate(batches, start=1):
                rate = self.rate(step, len(batches))
                for group in optimizer.param_groups:
                    group["lr"] = rate
                n_targets = sum(len(example.completion) for example in batch)
                loss = 0.0
                for part in self._microbatches(batch):
                    part_loss = -completion_logprob(trunk, head, part, device) / n_targets
                    part_loss.backward()
                    loss += part_loss.item()
                if not math.isfinite(loss):
                    raise ComponentError(
                        f"sft: the loss is {loss} at update {step} of {len(batches)}. "
                        f"Lower learning_rate (now {self.learning_rate}), or train in float32."
                    )
                norm = torch.nn.utils.clip_grad_norm_(model.parameters(), self.clip)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                log.append(
                    {
                        "step": step,
                        "epoch": math.ceil(step * self.epochs / len(batches)),
                        "loss": loss,
                        "tokens": n_targets,
                        "learning_rate": rate,
                        "gradient_norm": float(norm),
                    }
                )
                yield log[-1]
            save_model(model, tokenizer, folder / "model", merge=self.merge)
            write_card(folder / "model", self, start=start, seed=seed, n_rows=len(rows), log=log)
            if probe:
                yield {"step": len(batches), "epoch": self.epochs, **probe(str(folder / "model"))}

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of an update (from 1): linear warm-up, then a cosine to ``final_share`` of it."""
        warmup = max(1, round(self.warmup_share * steps))
        if step <= warmup:
            return self.learning_rate * step / warmup
        progress = (step - warmup) / max(1, steps - warmup)
        cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
        return self.learning_rate * (self.final_share + (1.0 - self.final_share) * cosine)

    def _examples(self, rows: Sequence[Row], tokenizer: Any) -> list[Example]:
        examples, problems = [], []
        for number, row in enumerate(rows, start=1):
            example = encode(row["prompt"], row["completion"], tokenizer, chat=self.chat)
            length = len(example.prompt) + len(example.completion)
            if length > self.max_tokens:
                problems.append(f"row {number}: {length} tokens")
            examples.append(example)
        if problems:
            raise DataError(
                f"sft: {len(problems)} row(s) are longer than max_tokens = {self.max_tokens}; raise it or drop "
                f"them:\n{listed(problems)}"
            )
        return examples

    def _batches(self, examples: Sequence[Example], seed: int) -> Iterator[list[Example]]:
        """Every epoch in an order of its own; within a group of batches examples of like length are together."""
        for epoch in range(self.epochs):
            rng = random.Random(f"sft {seed} {epoch}")
            order = rng.sample(range(len(examples)), len(examples))
            size = self.batch_size * _BATCHES_SORTED_TOGETHER
            batches: list[list[Example]] = []
            for start in range(0, len(order), size):
                group = sorted(
                    order[start : start + size],
                    key=lambda i: len(examples[i].prompt) + len(examples[i].completion),
                )
                batches += [
                    [examples[i] for i in group[at : at + self.batch_size]]
                    for at in range(0, len(group), self.batch_size)
                ]
            rng.shuffle(batches)
            yield from batches

    def _microbatches(self, batch: Sequence[Example]) -> Iterator[list[Example]]:
        """Parts of a batch with at most ``microbatch_tokens`` tokens, padding counted (one example at least)."""
        part: list[Example] = []
        longest = 0
        for example in batch:
            length = len(example.prompt) + len(example.completion)
            if part and max(longest, length) * (len(part) + 1) > self.microbatch_tokens:
                yield part
                part, longest = [], 0
            part.append(example)
            longest = max(longest, length)
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

    ids, mask, at, targets = padded(examples)
    positions = (mask.cumsum(1) - 1).clamp(0)
    states = trunk(
        input_ids=ids.to(device),
        attention_mask=mask.to(device),
        position_ids=positions.to(device),
        use_cache=False,
    )[0]  # (B, T, hidden)
    picked = states.flatten(0, 1)[at.to(device)]
    return torch.sum(token_logprobs(picked, head, targets.to(device)))


@contextlib.contextmanager
def _own_randomness(seed: int) -> Iterator[None]:
    """Dropout and fresh adapter weights drawn from ``seed``; the caller's random state comes back afterwards."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
