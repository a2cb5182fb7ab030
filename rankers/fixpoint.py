"""Would the refiner leave this text as it is?"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from rankers._api import Query
from rankers._cases import cases, check_form, placeholders, spread
from rankers._lm import LM, completion_logprobs, fill, load, settings_only


@dataclass(frozen=True)
class Fixpoint:
    """Summed log-probability that the refiner, given the same critique, would leave the candidate as it is.

    log p(x1 | refine prompt with x1 in the place of the output), its end token included. It finds what the
    model holds likely. In the nano world that is what is right: it equals the oracle there AND gains nothing
    from the critique. In the word removal world, where only the critique tells, it picks like a coin without
    one, and behind ``heeded`` with it. A ``refine_form`` without ``{critique}`` is that control; with it,
    candidates of a query without a critique tie at 0.
    """

    model: str = ""
    """The refiner: a folder or a hub id."""
    refine_form: str = "{prompt}{output}\nFEEDBACK: {critique}\nBETTER:"
    chat: Literal["auto", "never"] = "auto"
    """``auto``: the filled form becomes one user message where the tokenizer has a chat template."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"
    batch_size: int = field(default=16, compare=False)

    revision: ClassVar[int] = 1
    __getstate__ = settings_only

    def __post_init__(self) -> None:
        check_form(self.refine_form, "fixpoint.refine_form")

    @property
    def needs_critique(self) -> bool:
        """Whether critiques are read."""
        return "critique" in placeholders(self.refine_form)

    @functools.cached_property
    def lm(self) -> LM:
        """The refiner, loaded when first used."""
        return load(self.model, device=self.device, dtype=self.dtype, who="fixpoint")

    def score(self, queries: Sequence[Query], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """The natural logarithm of a probability per candidate, at most 0."""
        columns = placeholders(self.refine_form) - {"output", "refinement"}
        asked = cases(queries, candidates, columns, "fixpoint")
        if not asked:
            return spread([], asked, candidates)
        pairs = [
            (fill(self.refine_form, {**case.fields, "output": case.text, "refinement": case.text}), case.text)
            for case in asked
        ]
        groups = [case.query for case in asked]
        flat = completion_logprobs(self.lm, pairs, chat=self.chat, batch_size=self.batch_size, groups=groups)
        return spread(flat, asked, candidates)
