"""Self-refine: a model answers, criticises its answer and rewrites it, each time that a text is asked for."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ilf._forms import form_template
from ilf.errors import UsageError
from ilf.generators._nested import check_asked, fits, samples_of
from ilf.protocols import Generator, Prompt
from ilf.records import seed_of
from rankers import fill

log = logging.getLogger("ilf")

#: Beyond these the paper gained next to nothing.
_MOST_ROUNDS = 3


@dataclass
class _Draft:
    """A text in the making: what was asked, the row's seed, which of the row's copies it is."""

    prompt: Prompt
    seed: int
    copy: int
    text: str
    is_open: bool = True

    def seed_for(self, stage: str, turn: int) -> int:
        return seed_of(self.seed, "self_refine", stage, turn, self.copy)


@dataclass(frozen=True)
class SelfRefine:
    """Answers, then up to ``rounds`` times: a critique of the answer and a rewrite that is told it.

    A policy without training and without people (Madaan et al. 2023, arXiv 2303.17651, algorithm 1), at
    1 + 2 * ``rounds`` samples an answer. The first answers are those of ``generator`` with the same seeds. A
    text whose critique has ``stop_phrase`` in it (whatever its case) is not rewritten any more. A blank
    critique ends a text's rounds as well, and a blank rewrite leaves the text as it was: both are counted and
    logged, and so are texts that leave no room in the model's context to be criticised or rewritten.

    Differences from the paper:
    1. The words are those of ``form`` (its uses ``critic`` and ``refine``), without examples; a rewrite is
       told the last text and critique, not all before them.
    2. ``critic`` and ``refiner`` may be other generators, such as a trained refiner.
    3. The last text is the answer; the paper's tasks with a score let that choose among the rounds.
    """

    generator: Generator
    rounds: int = 1
    form: str = "instruct"
    stop_phrase: str | None = None
    critic: Generator | None = None
    """Who writes critiques; the generator itself by default."""
    refiner: Generator | None = None
    """Who rewrites; the generator itself by default."""

    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuses settings with which nothing can be refined."""
        if not 1 <= self.rounds <= _MOST_ROUNDS:
            raise UsageError(f"self_refine.rounds: {self.rounds} must be from 1 to {_MOST_ROUNDS}.")
        if self.stop_phrase is not None and not self.stop_phrase.strip():
            raise UsageError("self_refine.stop_phrase: a blank text stands everywhere; leave it out.")
        form_template(self.form, "critic", "self_refine")

    @property
    def samples_per_answer(self) -> float:
        """At most how many texts are sampled for each one asked for: answer, critiques and rewrites."""
        per_round = samples_of(self.critic or self.generator) + samples_of(self.refiner or self.generator)
        return samples_of(self.generator) + self.rounds * per_round

    def has_room(self, prompt: Prompt) -> bool:
        """Whether the prompt leaves the generator room for the first answer."""
        return fits(self.generator, prompt)

    def generate(self, prompts: Sequence[Prompt], n: int, seeds: Sequence[int]) -> list[list[str]]:
        """``n`` completions per prompt, each refined by itself from the generator's of its number."""
        check_asked("self_refine", prompts, n, seeds)
        answers = self.generator.generate(prompts, n, seeds)
        drafts = [
            _Draft(prompt, seed, copy, text)
            for prompt, seed, row in zip(prompts, seeds, answers, strict=True)
            for copy, text in enumerate(row)
        ]
        count: Counter[str] = Counter()
        for turn in range(self.rounds):
            self._refine(drafts, turn, count)
        self._tell(count, len(drafts))
        texts = iter(draft.text for draft in drafts)
        return [[next(texts) for _ in row] for row in answers]

    def _refine(self, drafts: Sequence[_Draft], turn: int, count: Counter[str]) -> None:
        """One round: every open draft is criticised, and rewritten unless its critique ends its rounds."""
        asked = [
            (draft, self._asked("critic", draft, ""), draft.seed_for("critique", turn))
            for draft in drafts
            if draft.is_open
        ]
        told = []
        for draft, critique in _answers(self.critic or self.generator, asked, count):
            is_stop = bool(self.stop_phrase) and str(self.stop_phrase).casefold() in critique.casefold()
            if is_stop or not critique.strip():
                draft.is_open = False
                count["stopped" if is_stop else "blank critiques"] += 1
            else:
                # A completion brings a leading space, and templates have their own.
                question = self._asked("refine", draft, critique.strip())
                told.append((draft, question, draft.seed_for("rewrite", turn)))
        for draft, rewrite in _answers(self.refiner or self.generator, told, count):
            count["blank rewrites"] += not rewrite.strip()
            draft.text = rewrite if rewrite.strip() else draft.text

    def _asked(self, use: str, draft: _Draft, critique: str) -> str:
        template = form_template(self.form, use, "self_refine")
        return fill(template, {"prompt": draft.prompt, "output": draft.text, "critique": critique})

    def _tell(self, count: Counter[str], n: int) -> None:
        if count["stopped"]:
            log.info("self_refine: %d of %d texts were found good enough", count["stopped"], n)
        trouble = [f"{number} {what}" for what, number in count.items() if number and what != "stopped"]
        if trouble:
            log.warning(
                "self_refine: of %d texts in %d round(s): %s; these texts stayed as they were",
                n, self.rounds, ", ".join(trouble),
            )  # fmt: skip


def _answers(
    generator: Generator, asked: Sequence[tuple[_Draft, str, int]], count: Counter[str]
) -> list[tuple[_Draft, str]]:
    """What a generator answers about every draft; drafts without room for it are closed and counted."""
    fitting = []
    for draft, question, seed in asked:
        if fits(generator, question):
            fitting.append((draft, question, seed))
        else:
            draft.is_open = False
            count["without room in the context"] += 1
    found = generator.generate([q for _, q, _ in fitting], 1, [seed for _, _, seed in fitting])
    return [(draft, row[0]) for (draft, _, _), row in zip(fitting, found, strict=True)]
