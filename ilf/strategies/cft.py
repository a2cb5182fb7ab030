"""Critique fine-tuning: the model learns to criticise, and is then asked to answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ilf._forms import form_template
from ilf.protocols import Row
from ilf.strategies._critic import asked_and_said
from ilf.strategies._encode import encode
from ilf.strategies._imitation import Text, but_the_last, imitation_loss, opened
from ilf.strategies._models import save_model, write_card
from ilf.strategies._tuning import Tuning


@dataclass(frozen=True)
class CFT(Tuning):
    """Maximises log p(critique | prompt, output): critique fine-tuning (Wang et al. 2025, arXiv 2501.17703).

    No answer is imitated. The tuned model is asked the plain prompt, and whatever it learnt about good
    answers by criticising bad ones must show there; it is a critic too (the ranker ``critique_perplexity``,
    or ``critique_reward`` with ``read: praise``).

    Differences from the paper:
    1. The critiques are people's, some hundred of them, and brief; the paper's 50,000 are GPT-4o's, with
       worked reasoning and a verdict. Its gains over imitation are on mathematics with models of 7B and more.
    2. The output is the model's own, the question that of the prompt form's ``critic`` (a recipe's ``form``).
    3. Loss, optimiser and schedule are those of ``sft``: a mean over the critiques' tokens and end tokens.
    """

    form: str = "instruct"
    """The prompt form in which a critic is asked."""

    needs: ClassVar[tuple[str, ...]] = ("prompt", "output", "critique")
    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuses forms that do not exist."""
        super().__post_init__()
        form_template(self.form, "critic", self.name)

    def train(
        self,
        rows: Sequence[Row],
        folder: Path,
        *,
        start: str,
        seed: int,
        probe: Callable[[Sequence[Row]], Mapping[str, float]] | None = None,
    ) -> Iterator[Row]:
        """Tunes ``start`` on the rows' critiques, each behind its prompt and output; one log row an update.

        The loss is in nats a token. ``probe`` is not asked: nothing is sampled.
        """
        lm, parts = opened(self, rows, start, seed)
        template = form_template(self.form, "critic", self.name)
        asked = [asked_and_said(template, row, row["critique"], lm, self.chat) for row in rows]
        texts = [Text.of(encode(question, critique, lm, chat=self.chat)) for question, critique in asked]
        lengths = [len(text) for text in texts]
        self.check_lengths(lengths, lm)
        updates = self.updates(lm, lengths, imitation_loss(parts, texts, lm.device), seed=seed)
        log = yield from but_the_last(updates)
        save_model(lm.model, lm.tokenizer, folder / "model", merge=self.merge)
        write_card(folder / "model", self, start=start, seed=seed, n_rows=len(rows), log=log)
        yield log[-1]
