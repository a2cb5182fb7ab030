"""What the refiner would rather have written."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from rankers._api import Query
from rankers._cases import cases, check_form, placeholders, spread
from rankers._lm import LM, completion_logprobs, fill, load, settings_only


@dataclass(frozen=True)
class Likelihood:
    """Mean log-probability per token of the candidate as a refinement: log p(x1 | c, x0, f) / tokens.

    ``subtract_answer`` takes off log p(x1 | c) / tokens, what the model would have said unasked: what is left
    is what output and critique add. Favours short and generic texts; coded by Scheurer et al. 2023
    (2303.16755), no result there.
    """

    model: str = ""
    """The refiner: a folder or a hub id."""
    refine_form: str = "{prompt}{output}\nFEEDBACK: {critique}\nBETTER:"
    subtract_answer: bool = False
    answer_form: str = "{prompt}"
    chat: Literal["auto", "never"] = "auto"
    """``auto``: the filled form becomes one user message where the tokenizer has a chat template."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"
    batch_size: int = field(default=16, compare=False)

    revision: ClassVar[int] = 1
    __getstate__ = settings_only

    def __post_init__(self) -> None:
        check_form(self.refine_form, "likelihood.refine_form")
        check_form(self.answer_form, "likelihood.answer_form")

    @property
    def needs_critique(self) -> bool:
        """Whether critiques are read."""
        return "critique" in self._columns()

    @functools.cached_property
    def lm(self) -> LM:
        """The refiner, loaded when first used."""
        return load(self.model, device=self.device, dtype=self.dtype, who="likelihood")

    def score(self, queries: Sequence[Query], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """Nats per token (the end token is one) and candidate; at most 0 unless something is subtracted."""
        asked = cases(queries, candidates, self._columns(), "likelihood")
        if not asked:
            return spread([], asked, candidates)
        forms = (self.refine_form, self.answer_form) if self.subtract_answer else (self.refine_form,)
        pairs = [(fill(form, case.fields), case.text) for form in forms for case in asked]
        groups = [case.query + f * len(candidates) for f in range(len(forms)) for case in asked]
        flat = completion_logprobs(
            self.lm, pairs, mean=True, chat=self.chat, batch_size=self.batch_size, groups=groups
        )
        told, unasked = flat[: len(asked)], flat[len(asked) :] or [0.0] * len(asked)
        return spread([a - b for a, b in zip(told, unasked, strict=True)], asked, candidates)

    def _columns(self) -> set[str]:
        return placeholders(self.refine_form, *((self.answer_form,) if self.subtract_answer else ()))
