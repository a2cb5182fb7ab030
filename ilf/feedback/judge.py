"""Verdicts of a language model, each pair shown in both orders."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar, Literal

from ilf.errors import ComponentError, DataError, UsageError
from ilf.protocols import Row
from ilf.records import messages_text, row_id
from rankers import RankerError, fill
from rankers._cases import placeholders
from rankers._lm import LM, completion_logprobs, load, settings_only

log = logging.getLogger("ilf")

_TEXTS = "Task:\n{{prompt}}\n\n{a}:\n{{first}}\n\n{b}:\n{{second}}\n\n"
#: Three ways to ask, with other names for the two answers, as models favour some names. The texts come
#: first: what both orders begin with is read once.
QUESTIONS = (
    _TEXTS.format(a="Answer A", b="Answer B")
    + "Which answer does the task better, A or B?\n\nBetter answer:",
    _TEXTS.format(a="Answer 1", b="Answer 2") + "A careful reader finds better, of 1 and 2, answer",
    _TEXTS.format(a="First", b="Second") + "Question: is the first or the second better?\n\nAnswer: the",
)
#: (index of the answer shown first, of the one shown second).
_Order = tuple[int, int]


@dataclass(frozen=True)
class Judge:
    """A language model as annotator: which answer is better, asked in both orders; nobody's time.

    An answer wins where both orders say so; else it is a tie and ``flipped`` is true. ``probability``, of
    pairs, is the mean over both orders that the first output is better: p(its word) over that of both words,
    averaged over ``questions``. Rankings of more outputs count what each wins, a tie half. Equal texts tie
    unasked. Pairs too long for the model get no row and are counted in a warning. It is a model's opinion:
    `ilf verdict --judge` checks it against people's.
    """

    model: str
    """The judge: a folder or a hub id; it should follow instructions."""
    questions: tuple[str, ...] = QUESTIONS
    """Forms with ``{prompt}``, ``{first}`` and ``{second}``."""
    first: tuple[str, ...] = (" A", " 1", " first")
    """The word for the answer shown first, one per question or one for all; its leading space goes in a
    chat."""
    second: tuple[str, ...] = (" B", " 2", " second")
    """The word for the other one."""
    chat: Literal["auto", "never"] = "auto"
    """``auto``: the filled form becomes one user message where the tokenizer has a chat template."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"

    revision: ClassVar[int] = 1
    jobs: ClassVar[tuple[str, ...]] = ("verdict", "pairwise", "rank")
    __getstate__ = settings_only

    def __post_init__(self) -> None:
        """Refuses questions that do not show both answers, and words that do not fit the questions."""
        if not self.questions:
            raise UsageError("judge.questions: needs at least one question.")
        for question in self.questions:
            named = placeholders(question)
            if unknown := sorted(named - {"prompt", "first", "second"}):
                raise UsageError(f"judge.questions: nothing fills {{{unknown[0]}}}.")
            if not {"first", "second"} <= named:
                raise UsageError("judge.questions: every question needs {first} and {second}.")
        for name, words in (("first", self.first), ("second", self.second)):
            if len(words) not in (1, len(self.questions)) or not all(word.strip() for word in words):
                raise UsageError(
                    f"judge.{name}: needs one word, or one for each of the {len(self.questions)} questions."
                )

    @functools.cached_property
    def lm(self) -> LM:
        """The model in evaluation mode, loaded once. Raises ComponentError where there is none to be had."""
        try:
            return load(self.model, device=self.device, dtype=self.dtype, who="judge")
        except RankerError as error:
            raise ComponentError(
                f"{error} Name a folder with config.json, weights and tokenizer, or a hub id that can be "
                "reached (or was downloaded before)."
            ) from None

    @property
    def annotator(self) -> str:
        """``judge:`` and the model's name: a hub id, or the name of its folder, of the step for a step's."""
        folder = Path(self.model)
        if not folder.is_dir():
            return f"judge:{self.model}"
        folder = folder.resolve()
        return f"judge:{folder.parent.name if folder.name == 'model' else folder.name}"

    def price(self, job: str, n_outputs: int) -> float:
        """No seconds: nobody is asked."""
        return 0.0

    def push(self, rows: Sequence[Row], job: str, seed: int, folder: Path) -> None:
        """Nothing to ask for: the model answers when pulled."""

    def pull(self, rows: Sequence[Row], job: str, seed: int, folder: Path) -> Iterator[Row]:
        """One annotation per row, which depends on the row alone; DataError where no pair fits the model."""
        too_long = 0
        for row in rows:
            if job != "rank" and len(row["outputs"]) != 2:
                raise DataError(f"judge: row {row['id']} has {len(row['outputs'])} outputs; {job} needs two.")
            first = self._shown_first(row)
            if first is None:
                too_long += 1
                continue
            annotation = row_id("judge", job, row["id"], self.annotator, self.questions)
            yield {
                **row,
                "id": row_id(row["id"], annotation),
                "annotation_id": annotation,
                "job": job,
                "annotator": self.annotator,
                "seconds": 0.0,
                **_said(first, len(row["outputs"]), job),
            }
        if rows and too_long == len(rows):
            raise DataError(
                f"judge: all {len(rows)} rows are too long for {self.model} ({self.lm.max_length} tokens). "
                "Name a model with a longer context."
            )
        if too_long:
            log.warning(
                "judge: %d of %d rows are too long for the model (%d tokens) and were not judged",
                too_long, len(rows), self.lm.max_length,
            )  # fmt: skip

    def _shown_first(self, row: Row) -> dict[_Order, float] | None:
        """Order -> the probability that the answer shown first is the better one; None where it is too long.

        All that is asked about a row is one batch, so that other rows change nothing, not even rounding.
        """
        texts = [text.strip() for text in row["outputs"]]
        orders = [(i, j) for i, j in permutations(range(len(texts)), 2) if texts[i] != texts[j]]
        answers = self._answers()
        pairs: list[tuple[str, str]] = []
        groups: list[int] = []
        for i, j in orders:
            fields = {"prompt": messages_text(row["prompt"]), "first": texts[i], "second": texts[j]}
            for q, (question, *words) in enumerate(answers):
                pairs += [(fill(question, fields), word) for word in words]
                groups += [q, q]
        if not all(self._fits(prompt, word) for prompt, word in pairs):
            return None
        flat = completion_logprobs(self.lm, pairs, eos=False, chat=self.chat, groups=groups)
        # p / (p + q) from the difference of logs, written so that no exponential overflows.
        found = [(1 + math.tanh((a - b) / 2)) / 2 for a, b in zip(flat[::2], flat[1::2], strict=True)]
        n = len(answers)
        asked = {order: round(fmean(found[k * n : (k + 1) * n]), 6) for k, order in enumerate(orders)}
        return {order: asked.get(order, 0.5) for order in permutations(range(len(texts)), 2)}

    def _answers(self) -> list[tuple[str, str, str]]:
        """(question, first word, second word); in a chat an answer begins a message: no leading space."""
        in_chat = self.chat == "auto" and self.lm.has_chat_template
        n = len(self.questions)
        words = [
            [w.lstrip() if in_chat else w for w in given] * (n // len(given))
            for given in (self.first, self.second)
        ]
        return list(zip(self.questions, *words, strict=True))

    def _fits(self, prompt: str, word: str) -> bool:
        length = len(self.lm.prompt_ids(prompt, self.chat)) + len(self.lm.completion_ids(word, eos=False))
        return length <= self.lm.max_length + 1


def _said(first: Mapping[_Order, float], n_outputs: int, job: str) -> dict[str, Any]:
    """The ranking by what each output wins in pairs; of a pair also probability and flip."""
    points = [0.0] * n_outputs
    is_flipped = False
    for i, j in combinations(range(n_outputs), 2):
        # What each order says of output i.
        told = {_winner(first[i, j]), _winner(1 - first[j, i])}
        is_flipped = len(told) == 2
        won = 0.5 if is_flipped else told.pop()
        points[i] += won
        points[j] += 1 - won
    ranking = [[i for i, p in enumerate(points) if p == best] for best in sorted(set(points), reverse=True)]
    if job == "rank":
        return {"ranking": ranking}
    probability = round((first[0, 1] + 1 - first[1, 0]) / 2, 6)
    return {"ranking": ranking, "probability": probability, "flipped": is_flipped}


def _winner(probability: float) -> float:
    """1 for the answer that the probability is of, 0 for the other, 0.5 for neither."""
    return 0.5 if abs(probability - 0.5) < 5e-7 else float(probability > 0.5)
