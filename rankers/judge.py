"""Ask a model whether the candidate does what the critique asks for."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import ClassVar, Literal

from rankers._api import Query, RankerError
from rankers._cases import cases, check_form, placeholders, spread
from rankers._lm import LM, completion_logprobs, fill, load, settings_only

_FIRST = "Task:\n{prompt}\n\nFirst text:\n{output}\n\n"
_TEXTS = _FIRST + "Feedback on the first text:\n{critique}\n\nNew text:\n{refinement}\n\n"
_YES_NO = "does the new text take up the feedback? Answer with Yes or No."

#: Five ways to ask, after the five of Scheurer et al. 2023 (InstructRM): long framing, bare blocks,
#: improvement over the first text as regards the feedback, the question put twice, and the feedback both
#: first and last. The candidate comes late, so that what stands before it is read once for all candidates.
QUESTIONS = (
    "Somebody read a text that was written for a task and gave feedback on it. The text was then written "
    "anew. A good new text does what the task asks, is correct and easy to read, and takes up every point of "
    f"the feedback. Decide whether the new text does.\n\n{_TEXTS}Question: {_YES_NO}\n\nAnswer:",
    f"{_TEXTS}Does the new text take up the feedback? Yes or No:",
    "A text was written anew to make it better in the points that a reader's feedback names.\n\n"
    f"{_TEXTS}True or False: in what the feedback names, the new text is the better one.\n\nAnswer:",
    "Somebody gave feedback on a text, and the text was written anew.\n\n"
    f"{_FIRST}Question to keep in mind: {_YES_NO}\n\n"
    "Feedback on the first text:\n{critique}\n\nNew text:\n{refinement}\n\n"
    f"Question: {_YES_NO}\n\nAnswer:",
    "Feedback:\n{critique}\n\nIt was given on the first of these two texts.\n\n"
    + _FIRST
    + "New text:\n{refinement}\n\nThe feedback once more:\n{critique}\n\n"
    "True or False: the new text takes up the feedback.\n\nAnswer:",
)


@dataclass(frozen=True)
class Judge:
    """Log-odds of yes over no when a model is asked whether the candidate takes up the critique.

    After InstructRM (Scheurer et al. 2023, 2303.16755), which averages probabilities
    (``average="probability"``); there the five questions together picked a preferred refinement in 56 % of
    cases, and plain length in 65 %. Needs a model that follows instructions. Candidates of a query without a
    critique tie at 0.
    """

    model: str = ""
    """The judge: a folder or a hub id."""
    questions: tuple[str, ...] = QUESTIONS
    """Forms with ``{prompt}``, ``{output}``, ``{critique}``, ``{refinement}``."""
    yes: tuple[str, ...] = (" Yes", " Yes", " True", " Yes", " True")
    """The answer that speaks for a candidate: one per question, or one for all; its leading space goes in a
    chat."""
    no: tuple[str, ...] = (" No", " No", " False", " No", " False")
    """The other answer; an empty one is not asked for, and the score is log p(yes)."""
    average: Literal["log_odds", "probability"] = "log_odds"
    """What is averaged over questions: log p(yes) - log p(no), or p(yes) / (p(yes) + p(no))."""
    chat: Literal["auto", "never"] = "auto"
    """``auto``: the filled form becomes one user message where the tokenizer has a chat template."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"
    batch_size: int = field(default=16, compare=False)

    revision: ClassVar[int] = 1
    __getstate__ = settings_only

    def __post_init__(self) -> None:
        if not self.questions:
            raise RankerError("judge.questions: needs at least one question.")
        for question in self.questions:
            check_form(question, "judge.questions")
        for name, words in (("yes", self.yes), ("no", self.no)):
            if len(words) not in (1, len(self.questions)):
                raise RankerError(
                    f"judge.{name}: {len(words)} for {len(self.questions)} questions; give one, or one each."
                )
        if "" in self.yes:
            raise RankerError("judge.yes: an answer word is empty.")

    @property
    def needs_critique(self) -> bool:
        """Whether critiques are read."""
        return "critique" in placeholders(*self.questions)

    @functools.cached_property
    def lm(self) -> LM:
        """The judge, loaded when first used."""
        return load(self.model, device=self.device, dtype=self.dtype, who="judge")

    def score(self, queries: Sequence[Query], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """Log-odds in nats, or a probability, per candidate."""
        asked = cases(queries, candidates, placeholders(*self.questions) - {"refinement"}, "judge")
        if not asked:
            return spread([], asked, candidates)
        answers = self._answers()
        pairs: list[tuple[str, str]] = []
        groups: list[int] = []
        terms: list[tuple[int, int, float]] = []
        for i, case in enumerate(asked):
            for q, (question, yes, no) in enumerate(answers):
                prompt = fill(question, {**case.fields, "refinement": case.text})
                for word, sign in ((yes, 1.0), (no, -1.0)):
                    if word:
                        pairs.append((prompt, word))
                        groups.append(case.query * len(answers) + q)
                        terms.append((i, q, sign))
        flat = completion_logprobs(
            self.lm, pairs, eos=False, chat=self.chat, batch_size=self.batch_size, groups=groups
        )
        log_odds = [[0.0] * len(answers) for _ in asked]
        for (i, q, sign), value in zip(terms, flat, strict=True):
            log_odds[i][q] += sign * value
        return spread([fmean(map(self._scaled, of_case)) for of_case in log_odds], asked, candidates)

    def _answers(self) -> list[tuple[str, str, str]]:
        """(question, yes, no); in a chat an answer begins a message, so its leading space goes."""
        in_chat = self.chat == "auto" and self.lm.has_chat_template
        yes, no = ([w.lstrip() if in_chat else w for w in words] for words in (self.yes, self.no))
        n = len(self.questions)
        return list(zip(self.questions, yes * (n // len(yes)), no * (n // len(no)), strict=True))

    def _scaled(self, log_odds: float) -> float:
        """The log-odds, or the probability that they stand for (written so that no exponential overflows)."""
        return log_odds if self.average == "log_odds" else (1.0 + math.tanh(log_odds / 2)) / 2
