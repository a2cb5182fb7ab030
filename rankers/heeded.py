"""Would the refiner write it, and would the person no longer say it?"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar, Literal

from rankers._api import Query, RankerError
from rankers._cases import Case, cases, check_form, placeholders, spread
from rankers._lm import LM, completion_logprobs, fill, load, settings_only

#: Between the clauses of a critique, behind punctuation.
_GAPS = re.compile(r"(?<=[.;,!?])\s+")


@dataclass(frozen=True)
class Heeded:
    """The critique read twice: log p(x1 | c, x0, f), and for each clause of f whether x1 still deserves it.

    The first term is ``likelihood`` summed: would the refiner, told the critique, write this? To it is added,
    for every clause k, log(1 - (1 - ``forgiven``) min(1, p(f_k | c, x1) / p(f_k | c, x0))): a clause that a
    critic of x1 finds as likely as one of the output costs log ``forgiven``, one that has become unlikely
    nothing, however unlikely it is (there ``critique_perplexity`` goes on counting).

    Not from the literature. In the word removal world it wins by the critique over every ranker without one;
    in the nano world, where all can be read off the prompt, ``fixpoint`` stays ahead
    (``benchmarks/rankers_apart.py``). Candidates of a query without a critique tie at 0.
    """

    model: str = ""
    """The refiner, who must be able to criticise too: a folder or a hub id."""
    refine_form: str = "{prompt}{output}\nFEEDBACK: {critique}\nBETTER:"
    critic_form: str = "{prompt}{output}\nFEEDBACK:"
    """The candidate takes the place of the output; a space joins the critique, unless form or chat template
    end open."""
    forgiven: float = 0.1
    """In (0, 1]: what a candidate that earns a clause as much as the output did is multiplied by; 1 leaves
    the critic out."""
    chat: Literal["auto", "never"] = "auto"
    """``auto``: the filled form becomes one user message where the tokenizer has a chat template."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"
    batch_size: int = field(default=16, compare=False)

    needs_critique: ClassVar[bool] = True
    revision: ClassVar[int] = 1
    __getstate__ = settings_only

    def __post_init__(self) -> None:
        check_form(self.refine_form, "heeded.refine_form")
        check_form(self.critic_form, "heeded.critic_form")
        if not 0.0 < self.forgiven <= 1.0:
            raise RankerError(f"heeded.forgiven: {self.forgiven} is not in (0, 1].")

    @functools.cached_property
    def lm(self) -> LM:
        """The model, loaded when first used."""
        return load(self.model, device=self.device, dtype=self.dtype, who="heeded")

    def score(self, queries: Sequence[Query], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """Nats per candidate, at most 0; NaN where a text does not fit into the model."""
        columns = placeholders(self.refine_form, self.critic_form) | {"output", "critique"}
        asked = cases(queries, candidates, columns - {"refinement"}, "heeded")
        if not asked:
            return spread([], asked, candidates)
        written = completion_logprobs(
            self.lm,
            [(fill(self.refine_form, {**case.fields, "refinement": case.text}), case.text) for case in asked],
            chat=self.chat,
            batch_size=self.batch_size,
            groups=[case.query for case in asked],
        )
        return spread([a + b for a, b in zip(written, self._unearned(asked), strict=True)], asked, candidates)

    def _unearned(self, asked: Sequence[Case]) -> list[float]:
        """Per case: the log-probability that no clause of the critique is deserved any more."""
        if self.forgiven == 1.0:
            return [0.0] * len(asked)
        # The output is criticised once per query, and each candidate as if it were the output.
        firsts = {case.query: case.fields for case in asked}
        texts = [(query, fields, fields["output"]) for query, fields in firsts.items()]
        said = self._said([*texts, *((case.query, case.fields, case.text) for case in asked)])
        of_output = dict(zip(firsts, said, strict=False))
        of_cases = said[len(firsts) :]
        return [
            sum(map(self._log_unearned, now, of_output[case.query]))
            for case, now in zip(asked, of_cases, strict=True)
        ]

    def _said(self, texts: Sequence[tuple[int, dict[str, str], str]]) -> list[list[float]]:
        """Log p of every clause of the critique, given the clauses before it, as said of a text."""
        pairs: list[tuple[str, str]] = []
        groups: list[int] = []
        sizes: list[int] = []
        for query, fields, text in texts:
            prompt = fill(self.critic_form, {**fields, "output": text, "refinement": text})
            beginnings = self._beginnings(prompt, fields["critique"])
            pairs += [(prompt, beginning) for beginning in beginnings]
            groups += [query] * len(beginnings)
            sizes.append(len(beginnings))
        flat = iter(
            completion_logprobs(
                self.lm, pairs, eos=False, chat=self.chat, batch_size=self.batch_size, groups=groups
            )
        )
        return [[b - a for a, b in pairwise([0.0, *(next(flat) for _ in range(size))])] for size in sizes]

    def _beginnings(self, prompt: str, critique: str) -> list[str]:
        """The critique up to the end of each clause."""
        opens = (self.chat == "auto" and self.lm.has_chat_template) or prompt[-1:].isspace()
        critique = critique.strip()
        ends = (*(gap.start() for gap in _GAPS.finditer(critique)), len(critique))
        return [critique[:end] if opens else f" {critique[:end]}" for end in ends]

    def _log_unearned(self, now: float, before: float) -> float:
        """log(1 - (1 - forgiven) min(1, p_now / p_before))."""
        return math.log1p(-(1.0 - self.forgiven) * math.exp(min(now - before, 0.0)))
