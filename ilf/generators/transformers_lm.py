"""Any causal language model of transformers."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ilf._decode import Request, decode
from ilf.errors import ComponentError, DataError, UsageError, listed
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
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    batch_size: int = field(default=256, compare=False)

    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuses settings with which nothing can be sampled."""
        if not self.temperature >= 0 or not 0 < self.top_p <= 1:
            raise UsageError(
                f"temperature must be 0 or more, top_p in (0, 1]; they are {self.temperature}, {self.top_p}."
            )
        if self.max_new_tokens < 1 or self.batch_size < 1:
            raise UsageError("max_new_tokens and batch_size must be 1 or more.")
        if "" in self.stop:
            raise UsageError("stop: an empty text stands everywhere; leave it out.")

    @property
    def samples_per_answer(self) -> float:
        """Texts sampled for each one asked for."""
        return 1.0

    @functools.cached_property
    def lm(self) -> LM:
        """The model in evaluation mode with its tokenizer, loaded once. Raises ComponentError without one."""
        try:
            lm = load(self.model, device=self.device, dtype=self.dtype, who="transformers_lm")
        except RankerError as error:
            raise ComponentError(
                f"{error} Name a folder with config.json, weights and tokenizer, or a hub id that can be "
                "reached (or was downloaded before)."
            ) from None
        if getattr(lm.model, "_is_stateful", False):
            raise ComponentError(
                f"transformers_lm: '{self.model}' ({type(lm.model).__name__}) has recurrent states, which "
                "several samples cannot share. Use a model with attention alone."
            )
        return lm

    def __getstate__(self) -> dict[str, Any]:
        """Settings travel between processes, weights do not."""
        return settings_only(self)

    def generate(self, prompts: Sequence[Prompt], n: int, seeds: Sequence[int]) -> list[list[str]]:
        """``n`` completions per prompt, without the end token, with their leading space.

        Raises DataError for prompts that leave no room in the model's context or that the chat template
        refuses, ComponentError for messages where the tokenizer has no chat template.
        """
        if n < 1:
            raise UsageError(f"transformers_lm: {n} completions asked for, must be 1 or more.")
        ids = [self.prompt_ids(prompt) for prompt in prompts]
        self._check_room(prompts, [len(tokens) for tokens in ids])
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

    def has_room(self, prompt: Prompt) -> bool:
        """Whether the prompt leaves room for ``max_new_tokens`` in the model's context."""
        return len(self.prompt_ids(prompt)) <= self.lm.max_length - self.max_new_tokens

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt: rendered by the chat template, or the text as it is."""
        if isinstance(prompt, str):
            return self.lm.prompt_ids(prompt, self.chat)
        if not self.lm.has_chat_template:
            raise ComponentError(
                f"the prompts are messages, and the tokenizer of '{self.model}' has no chat template. "
                "Use an instruct model, or prompts that are strings."
            )
        from jinja2 import TemplateError

        render = self.lm.tokenizer.apply_chat_template
        try:
            rendered = render(prompt, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise DataError(f"the chat template of '{self.model}' refuses the messages: {error}") from None
        return self.lm.completion_ids(rendered, eos=False)

    def _check_room(self, prompts: Sequence[Prompt], lengths: Sequence[int]) -> None:
        room = self.lm.max_length - self.max_new_tokens
        # A caller may hand over a part of its rows: the text tells which one is meant.
        long = [
            f"row {i} of these {len(prompts)} ({str(prompt)[:40]!r}): {length} tokens"
            for i, (prompt, length) in enumerate(zip(prompts, lengths, strict=True), start=1)
            if length > room
        ]
        if long:
            raise DataError(
                f"{len(long)} prompt(s) leave no room for {self.max_new_tokens} new tokens in the model's "
                f"context of {self.lm.max_length}. Shorten them, or lower max_new_tokens:\n{listed(long)}"
            )

    @functools.cached_property
    def _letter(self) -> list[int]:
        return self.lm.completion_ids("a", eos=False)

    def _decoded(self, tokens: Sequence[int]) -> str:
        decode_ids = self.lm.tokenizer.decode
        return str(decode_ids(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _text(self, tokens: Sequence[int]) -> str:
        # Behind a letter, because some tokenizers (Llama 2's) drop the space that a text begins with.
        text = self._decoded([*self._letter, *tokens]).removeprefix(self._decoded(self._letter))
        ends = [text.index(stop) for stop in self.stop if stop in text]
        return text[: min(ends)] if ends else text
