"""A trained refiner: prompt, output, critique -> completion, for models too small to refine when asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ilf._forms import form_template
from ilf.protocols import Row
from ilf.strategies._encode import encode
from ilf.strategies._imitation import Text, but_the_last, imitation_loss, opened
from ilf.strategies._models import save_model, write_card
from ilf.strategies._tuning import Tuning
from rankers import fill


@dataclass(frozen=True)
class Refiner(Tuning):
    """Maximises log p(completion | prompt, output, critique): the refiner of Chen et al. 2023.

    arXiv 2303.16749: 44 triples written by people turned a refiner that passed 2 % of its tasks into one that
    passed 19 %. The model is used by the verb ``refine`` (``refine.model=steps.refiner``), on prompts other
    than those it learnt from; people's seconds for the triples belong to the bill.

    Differences from the paper:
    1. The question is that of ``refine`` with the same ``form`` (a recipe's ``form`` sets both), not the
       paper's headings for code.
    2. The completion may be anybody's: a person's rewrite or demonstration, or a ranker's pick.
    3. Loss, optimiser and schedule are those of ``sft``: one epoch by default (theirs: 1, 2 or 5).
    """

    form: str = "instruct"
    """The prompt form in which ``refine`` will ask."""

    needs: ClassVar[tuple[str, ...]] = ("prompt", "output", "critique", "completion")
    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuses forms that do not exist."""
        super().__post_init__()
        form_template(self.form, "refine", self.name)

    def train(
        self,
        rows: Sequence[Row],
        folder: Path,
        *,
        start: str,
        seed: int,
        probe: Callable[[Sequence[Row]], Mapping[str, float]] | None = None,
    ) -> Iterator[Row]:
        """Tunes ``start`` on the rows' completions after output and critique; one log row an update.

        The loss is in nats a token. ``probe`` is not asked: nothing is sampled.
        """
        lm, parts = opened(self, rows, start, seed)
        template = form_template(self.form, "refine", self.name)
        texts = [Text.of(encode(fill(template, row), row["completion"], lm, chat=self.chat)) for row in rows]
        lengths = [len(text) for text in texts]
        self.check_lengths(lengths, lm)
        updates = self.updates(lm, lengths, imitation_loss(parts, texts, lm.device), seed=seed)
        log = yield from but_the_last(updates)
        save_model(lm.model, lm.tokenizer, folder / "model", merge=self.merge)
        write_card(folder / "model", self, start=start, seed=seed, n_rows=len(rows), log=log)
        yield log[-1]
