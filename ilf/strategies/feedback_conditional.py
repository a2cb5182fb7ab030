"""Feedback-conditional policy: answers under the critique that they got, to be asked under praise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ilf.protocols import Row
from ilf.strategies._encode import encode
from ilf.strategies._imitation import Text, but_the_last, check_template, imitation_loss, opened
from ilf.strategies._models import save_model, write_card
from ilf.strategies._tuning import Tuning
from rankers import fill


@dataclass(frozen=True)
class FeedbackConditional(Tuning):
    """Maximises log p(output | prompt, critique): Luo et al. 2025 (arXiv 2509.22638), its offline stage.

    The model learns which answers get which critiques, worse ones included; it is then asked under a critique
    that praises, through the generator ``framed`` with the same ``template`` and that ``critique``. Some of
    the critiques must therefore praise, or the model has nothing to go by.

    Differences from the paper:
    1. The offline stage alone. Its online stage (asking under praise, fresh critiques, training again) is a
       recipe's next round: ``sample`` through ``framed``, ``collect``, and this strategy again.
    2. The template is ours, and a setting; the critique stands behind the prompt by default. Prompts of
       several messages become one text.
    3. The critiques are people's own words; the paper's are written by a language model.
    4. Loss, optimiser and schedule are those of ``sft``: a mean over the tokens of outputs and end tokens.
    """

    template: str = "{prompt}\n\nWhat a reader says about the answer:\n{critique}\n\nThe answer:\n"
    """What the model is asked: ``{prompt}`` and ``{critique}``; the output follows with nothing between."""

    needs: ClassVar[tuple[str, ...]] = ("prompt", "output", "critique")
    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuses templates that lack a part, or that would show the answer."""
        super().__post_init__()
        check_template(f"{self.name}.template", self.template, ("prompt", "critique"))

    def train(
        self,
        rows: Sequence[Row],
        folder: Path,
        *,
        start: str,
        seed: int,
        probe: Callable[[Sequence[Row]], Mapping[str, float]] | None = None,
    ) -> Iterator[Row]:
        """Tunes ``start`` on the rows' outputs, each under its critique; one log row an update.

        The loss is in nats a token. ``probe`` is not asked: nothing is sampled.
        """
        lm, parts = opened(self, rows, start, seed)
        texts = [Text.of(encode(fill(self.template, row), row["output"], lm, chat=self.chat)) for row in rows]
        lengths = [len(text) for text in texts]
        self.check_lengths(lengths, lm)
        updates = self.updates(lm, lengths, imitation_loss(parts, texts, lm.device), seed=seed)
        log = yield from but_the_last(updates)
        save_model(lm.model, lm.tokenizer, folder / "model", merge=self.merge)
        write_card(folder / "model", self, start=start, seed=seed, n_rows=len(rows), log=log)
        yield log[-1]
