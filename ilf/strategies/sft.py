"""Supervised fine-tuning on completions: the last step of ILF."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ilf.protocols import Row
from ilf.strategies._encode import Example, encode
from ilf.strategies._imitation import Text, but_the_last, imitated_logprob, opened
from ilf.strategies._models import save_model, write_card
from ilf.strategies._tuning import Tuning


@dataclass(frozen=True)
class SFT(Tuning):
    """Maximises log p(completion | prompt), its end token included (Scheurer et al. 2023, step 5).

    Differences from the paper: open weights instead of an API; no loss on prompts (the paper weighs them 0
    to 0.1). One epoch by default: the paper's dev perplexity rises from the second epoch on. AdamW without
    weight decay on biases and norms, linear warm-up, cosine to a tenth, gradients clipped at 1. All weights,
    or LoRA (``lora_rank``) merged into them at the end. A plain loop rather than ``transformers.Trainer``,
    which took 1.3 to 2.8 times as long at the same losses (benchmarks/sft.py).
    """

    needs: ClassVar[tuple[str, ...]] = ("prompt", "completion")
    revision: ClassVar[int] = 1

    def train(
        self,
        rows: Sequence[Row],
        folder: Path,
        *,
        start: str,
        seed: int,
        probe: Callable[[Sequence[Row]], Mapping[str, float]] | None = None,
    ) -> Iterator[Row]:
        """Tunes ``start`` on the rows' prompts and completions; one log row an update, loss in nats a token.

        ``probe`` is not asked: nothing is sampled.
        """
        lm, (trunk, head) = opened(self, rows, start, seed)
        examples = [encode(row["prompt"], row["completion"], lm, chat=self.chat) for row in rows]
        lengths = [len(example) for example in examples]
        self.check_lengths(lengths, lm)

        def part_loss(part: Sequence[int], batch: Sequence[int]) -> tuple[Any, Mapping[str, float]]:
            logprob = completion_logprob(trunk, head, [examples[i] for i in part], lm.device)
            n_targets = sum(len(examples[i].completion) for i in batch)
            return -logprob / n_targets, {"tokens": sum(len(examples[i].completion) for i in part)}

        log = yield from but_the_last(self.updates(lm, lengths, part_loss, seed=seed))
        save_model(lm.model, lm.tokenizer, folder / "model", merge=self.merge)
        write_card(folder / "model", self, start=start, seed=seed, n_rows=len(rows), log=log)
        yield log[-1]


def completion_logprob(
    trunk: Callable[..., Any], head: Callable[[Any], Any], examples: Sequence[Example], device: str
) -> Any:
    """Sum of log p over the completion tokens of the examples, in nats: a differentiable scalar.

    Prompts and padding have no part in it: only the states that predict a completion token are projected.
    """
    return imitated_logprob((trunk, head), [Text.of(example) for example in examples], device)
