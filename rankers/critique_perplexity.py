"""Would the person still say it?"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from rankers._api import Query
from rankers._cases import cases, check_form, placeholders, spread
from rankers._lm import LM, completion_logprobs, fill, load, settings_only


@dataclass(frozen=True)
class CritiquePerplexity:
    """How unlikely the critique has become: minus the mean log p(critique | prompt to criticise this).

    A text that heeds the critique no longer earns it (the sign of Scheurer et al. 2023, 2303.16755; no result
    there). ``subtract_output`` takes off the value at the output: the same order within a query, comparable
    across queries. Candidates of a query without a critique tie at 0.
    """

    model: str = ""
    """A model that can criticise: a folder or a hub id."""
    critic_form: str = "{prompt}{output}\nFEEDBACK:"
    """The candidate takes the place of the output; a space joins the critique, unless form or chat template
    end open."""
    subtract_output: bool = False
    chat: Literal["auto", "never"] = "auto"
    """``auto``: the filled form becomes one user message where the tokenizer has a chat template."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"
    batch_size: int = field(default=16, compare=False)

    needs_critique: ClassVar[bool] = True
    revision: ClassVar[int] = 1
    __getstate__ = settings_only

    def __post_init__(self) -> None:
        check_form(self.critic_form, "critique_perplexity.critic_form")

    @functools.cached_property
    def lm(self) -> LM:
        """The critic, loaded when first used."""
        return load(self.model, device=self.device, dtype=self.dtype, who="critique_perplexity")

    def score(self, queries: Sequence[Query], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """Nats per token of the critique, its end token among them, per candidate; higher is better."""
        columns = (placeholders(self.critic_form) - {"output", "refinement"}) | {"critique"}
        if self.subtract_output:
            columns |= {"output"}
        asked = cases(queries, candidates, columns, "critique_perplexity")
        if not asked:
            return spread([], asked, candidates)
        pairs = [self._pair(case.fields, case.text) for case in asked]
        if self.subtract_output:
            pairs += [self._pair(case.fields, case.fields["output"]) for case in asked]
        groups = [case.query for case in asked] * (2 if self.subtract_output else 1)
        flat = completion_logprobs(
            self.lm, pairs, mean=True, chat=self.chat, batch_size=self.batch_size, groups=groups
        )
        at_candidate, at_output = flat[: len(asked)], flat[len(asked) :] or [0.0] * len(asked)
        return spread([b - a for a, b in zip(at_candidate, at_output, strict=True)], asked, candidates)

    def _pair(self, fields: dict[str, str], text: str) -> tuple[str, str]:
        prompt = fill(self.critic_form, {**fields, "output": text, "refinement": text})
        opens = (self.chat == "auto" and self.lm.has_chat_template) or prompt[-1:].isspace()
        return prompt, fields["critique"] if opens else f" {fields['critique']}"
