"""Any causal language model of transformers."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ilf.errors import ComponentError, DataError, UsageError
from ilf.generators._decode import Request, decode
from ilf.protocols import Prompt
from rankers import RankerError
from rankers._lm import LM, load, settings_only


@dataclass(frozen=True)
class TransformersLM:
    """Samples from any causal LM: a folder or a hub id, with its chat template if it has one.

    N samples of a prompt come from one prefill (a shared key-value cache); every row draws from a generator
    of its own, so that its samples do not depend on the other rows. ``temperature`` 0 is greedy. In float32
    ``batch_size`` (sequences decoded together) changes speed alone.
    """

    model: str
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 128
    stop: tuple[str, ...] = ()
    chat: Literal["auto", "never"] = "auto"
    device: str = "auto"
    dtype: str = "float32"
    batch_size: int = field(default=256, compare=False)

    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuses settings with which nothing can be sampled."""
        if self.temperature < 0 or not 0 < self.top_p <= 1:
            raise UsageError(
                f"temperature must be 0 or more, top_p in (0, 1]; they are {self.temperature}, {self.top_p}."
            )
        if self.max_new_tokens < 1 or self.batch_size < 1:
            raise UsageError("max_new_tokens and batch_size must be 1 or more.")

    @functools.cached_property
    def lm(self) -> LM:
        """The model in evaluation mode with its tokenizer, loaded once. Raises ComponentError without one."""
        try:
            return load(self.model, device=self.device, dtype=self.dtype, who="transformers_lm")
        except RankerError as error:
            raise ComponentError(str(error)) from None

    def __getstate__(self) -> dict[str, Any]:
        """Settings travel between processes, weights do not."""
        return settings_only(self)

    def generate(self, prompts: Sequence[Prompt], n: int, seeds: Sequence[int]) -> list[list[str]]:
        """``n`` completions per prompt, without the end token, with their leading space.

        Raises DataError for prompts that leave no room in the model's context, ComponentError for messages
        where the tokenizer has no chat template.
        """
        ids = [self.prompt_ids(prompt) for prompt in prompts]
        self._check_room([len(tokens) for tokens in ids])
        copies = 1 if self.temperature == 0 else n
        requests = [Request(tokens, seed, copies) for tokens, seed in zip(ids, seeds, strict=True)]
        sampled = decode(
            self.lm,
            requests,
            temperature=self.temperature,
            top_p=self.top_p,
            max_new_tokens=self.max_new_tokens,
            stop=self.stop,
            batch_size=self.batch_size,
        )
        texts = [[self._text(tokens) for tokens in row] for row in sampled]
        return [row * n if copies < n else row for row in texts]

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt: rendered by the chat template, or the text as it is."""
        if isinstance(prompt, str):
            return self.lm.prompt_ids(prompt, self.chat)
        if not self.lm.has_chat_template:
            raise ComponentError(
                f"the prompts are messages, and the tokenizer of '{self.model}' has no chat template. "
                "Use an instruct model, or prompts that are strings."
            )
        rendered = self.lm.tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
        ids: list[int] = self.lm.tokenizer(rendered, add_special_tokens=False)["input_ids"]
        return ids

    def _check_room(self, lengths: Sequence[int]) -> None:
        room = self.lm.max_length - self.max_new_tokens
        long = [f"row {i + 1}: {length} tokens" for i, length in enumerate(lengths) if length > room]
        if long:
            raise DataError(
                f"{len(long)} prompt(s) leave no room for {self.max_new_tokens} new tokens in the model's "
                f"context of {self.lm.max_length}: {', '.join(long[:20])}. Shorten them, or lower max_new_tokens."
            )

    def _text(self, tokens: Sequence[int]) -> str:
        text: str = self.lm.tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        ends = [text.index(stop) for stop in self.stop if stop in text]
        return text[: min(ends)] if ends else text
