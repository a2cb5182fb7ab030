"""What the model was least sure of when it wrote it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ilf.errors import DataError
from ilf.protocols import Prompt, Row
from ilf.records import windows
from ilf.selectors._order import by_score
from rankers._lm import LM, completion_logprobs, load, settings_only

#: Rows that are scored together; it bounds memory and changes no score.
_WINDOW = 256


@dataclass(frozen=True)
class Uncertainty:
    """Highest mean negative log-probability per token of the output, under the model that wrote it.

    Uncertainty sampling: least confidence of a sequence (Culotta and McCallum 2005; Settles and Craven 2008,
    D08-1112, section 3.1), with two differences: it is taken per token, so that long outputs are not
    preferred for their length, and of the output that was sampled, not of the likeliest one, which makes it
    an estimate from one sample of the entropy per token. The end token counts as one: would the model stop
    there? Name the model that ``sample`` used; another one's surprise is another question.
    """

    model: str = ""
    """The model that wrote the outputs: a folder or a hub id."""
    chat: Literal["auto", "never"] = "auto"
    """As the generator's: ``auto`` is one user message where the tokenizer has a chat template."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"
    batch_size: int = field(default=16, compare=False)

    needs: ClassVar[tuple[str, ...]] = ("prompt", "output")
    revision: ClassVar[int] = 1

    def __getstate__(self) -> dict[str, Any]:
        """Settings travel between processes, weights do not."""
        return settings_only(self)

    @functools.cached_property
    def lm(self) -> LM:
        """The model, loaded when first used."""
        return load(self.model, device=self.device, dtype=self.dtype, who="uncertainty")

    def order(self, rows: Sequence[Row], n: int, seed: int) -> list[tuple[int, float | None]]:
        """``n`` rows with their nats per token, 0 or more; an output that the model has no room for is last.

        RankerError without a model, DataError for messages where the tokenizer has no chat template.
        """
        scores: list[float | None] = []
        for window in windows(rows, _WINDOW):
            scores += [-mean for mean in self._means(window)]
        return by_score(rows, scores, n, seed)

    def _means(self, window: Sequence[Row]) -> list[float]:
        """Mean log-probability per token of each output; a prompt of messages is rendered as it was asked."""
        means = [0.0] * len(window)
        for is_text, chat in ((True, self.chat), (False, "never")):
            at = [i for i, row in enumerate(window) if isinstance(row["prompt"], str) is is_text]
            pairs = [(self._text(window[i]["prompt"]), window[i]["output"]) for i in at]
            found = completion_logprobs(self.lm, pairs, mean=True, chat=chat, batch_size=self.batch_size)
            for i, mean in zip(at, found, strict=True):
                means[i] = mean
        return means

    def _text(self, prompt: Prompt) -> str:
        if isinstance(prompt, str):
            return prompt
        if not self.lm.has_chat_template:
            raise DataError(
                f"uncertainty: the prompts are messages, and the tokenizer of '{self.model}' has no chat "
                "template. Name the model that answered them, or use prompts that are strings."
            )
        render = self.lm.tokenizer.apply_chat_template
        return str(render(prompt, tokenize=False, add_generation_prompt=True))
