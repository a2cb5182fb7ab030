"""Causal language models, and THE place for log-probabilities under one, for rankers and ilf alike.

lm = load("gpt2")
completion_logprobs(lm, [("The cat sat on the", " mat")])  # natural logs, summed over the completion's tokens
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import math
import re
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rankers._api import RankerError, messages_text

log = logging.getLogger("rankers")

Chat = Literal["auto", "never"]

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def fill(template: str, fields: Mapping[str, Any]) -> str:
    """Replaces ``{prompt}``, ``{output}`` and so on in one pass: braces inside texts stay as they are.

    A field is a string or a list of messages. RankerError for a placeholder without a field.
    """

    def value_of(match: re.Match[str]) -> str:
        value = fields.get(match[1])
        if value is None:
            known = ", ".join(f"{{{name}}}" for name, held in fields.items() if held is not None)
            raise RankerError(
                f"the template wants {match[0]}, which is not there; there are: {known or 'none'}"
            )
        return messages_text(value)

    return _PLACEHOLDER.sub(value_of, template)


@dataclass(frozen=True, eq=False)
class LM:
    """A causal language model in evaluation mode, with its tokenizer."""

    model: Any
    tokenizer: Any
    device: str

    @property
    def has_chat_template(self) -> bool:
        """Whether prompts can be rendered as messages."""
        return bool(getattr(self.tokenizer, "chat_template", None))

    @property
    def max_length(self) -> int:
        """Tokens that the model has positions for."""
        config = self.model.config.get_text_config()
        return int(getattr(config, "max_position_embeddings", None) or 2**31)

    @functools.cached_property
    def parts(self) -> tuple[Any, Any]:
        """The trunk that makes hidden states, and the head that projects them to the vocabulary."""
        from rankers._logprobs import trunk_and_head

        return trunk_and_head(self.model)

    def completion_ids(self, text: str, eos: bool) -> list[int]:
        """Tokens of a completion, tokenised apart from its prompt; ``eos`` adds the token that ends it."""
        ids = self._ids(text)
        return [*ids, self.tokenizer.eos_token_id] if eos else ids

    def prompt_ids(self, text: str, chat: Chat = "auto") -> list[int]:
        """Tokens of a prompt, never none: rendered as one user message, or as it is behind the begin token.

        The begin token stands there when the tokenizer puts one before every text, or when the prompt is
        empty.
        """
        if chat == "auto" and self.has_chat_template:
            return self._ids(self.rendered(text))
        ids = self._ids(text)
        begin = self.tokenizer.bos_token_id
        if begin is not None and ids[:1] != [begin] and self.tokenizer("a")["input_ids"][:1] == [begin]:
            ids = [begin, *ids]
        return ids or [self.tokenizer.eos_token_id if begin is None else begin]

    def rendered(self, text: str) -> str:
        """The text as one user message in the model's chat template, open for the answer."""
        messages = [{"role": "user", "content": text}]
        rendered = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return str(rendered)

    def _ids(self, text: str) -> list[int]:
        ids = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return [int(i) for i in ids]


#: Models in use, shared between rankers that name the same one; not kept alive for their own sake.
_LOADED: weakref.WeakValueDictionary[tuple[Any, ...], LM] = weakref.WeakValueDictionary()


def load(model: str, *, device: str = "auto", dtype: str = "float32", who: str = "this ranker") -> LM:
    """Loads a causal LM and its tokenizer from a folder or by hub id, in evaluation mode.

    Rankers that use the same model at the same time share one. RankerError where there is none to be had.
    """
    if not model:
        raise RankerError(f"{who} needs model=<folder or hub id>")
    device = resolve_device(device)
    key = (model, _stamp(Path(model)), device, dtype)
    if (lm := _LOADED.get(key)) is None:
        lm = _LOADED[key] = _loaded(model, device, dtype, who)
    return lm


def _loaded(model: str, device: str, dtype: str, who: str) -> LM:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with no_progress_bars():
            # The dtype is named, because from_pretrained takes the checkpoint's own otherwise.
            loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype))
            tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise RankerError(
            f"{who}: model '{model}' cannot be loaded, neither as a folder nor by hub id: {reason}"
        ) from error
    if tokenizer.eos_token_id is None:
        raise RankerError(f"{who}: model '{model}': its tokenizer has no end token (eos_token).")
    return LM(loaded.to(device).eval(), tokenizer, device)


def _stamp(folder: Path) -> tuple[Any, ...]:
    """What changes when the files of a folder do: a model trained again in place is another model."""
    if not folder.is_dir():
        return ()
    stats = ((path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file())
    return (str(folder.resolve()), *((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


def completion_logprobs(
    lm: LM,
    pairs: Sequence[tuple[str, str]],
    *,
    mean: bool = False,
    eos: bool = True,
    chat: Chat = "auto",
    batch_size: int = 16,
    groups: Sequence[int] | None = None,
) -> list[float]:
    """Log p(completion | prompt) in nats per (prompt, completion) pair, summed over tokens, or their mean.

    ``eos`` counts the end token as part of the completion: would the model stop there? ``groups`` numbers
    pairs whose prompts begin alike (the candidates of one query), so that what they share is computed once.
    Neither ``groups`` nor ``batch_size`` changes results beyond float error. A prompt too long for the model
    loses its beginning, which is counted and logged; NaN where not even the completion fits, and for the mean
    of a completion without tokens.
    """
    from rankers._logprobs import Sequence_, logprobs

    prompts = {text: lm.prompt_ids(text, chat) for text in dict.fromkeys(prompt for prompt, _ in pairs)}
    completions = {text: lm.completion_ids(text, eos) for text in dict.fromkeys(text for _, text in pairs)}
    sequences: list[Sequence_ | None] = []
    cut = 0
    for i, (prompt, completion) in enumerate(pairs):
        ids, answer = prompts[prompt], completions[completion]
        # The last token of a completion is never an input, so that much more fits.
        room = lm.max_length + 1 - len(answer)
        cut += len(ids) > room
        group = groups[i] if groups is not None else i
        sequences.append(Sequence_(tuple(ids[-room:]), tuple(answer), group) if room > 0 else None)
    if cut:
        log.warning(
            "%d of %d prompts are too long for the model (%d tokens) and lost their beginning",
            cut, len(pairs), lm.max_length,
        )  # fmt: skip
    fitting = [sequence for sequence in sequences if sequence is not None]
    sums = iter(logprobs(lm, fitting, batch_size))
    totals = [math.nan if sequence is None else next(sums) for sequence in sequences]
    if not mean:
        return totals
    counts = [len(completions[completion]) for _, completion in pairs]
    return [total / n if n else math.nan for total, n in zip(totals, counts, strict=True)]


def resolve_device(device: str) -> str:
    """``auto`` as the device that will be used; other names as they are."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@contextlib.contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keeps transformers from drawing a bar for every load; the user's own setting is put back."""
    from transformers.utils import logging

    bars: Any = logging
    was_enabled = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            bars.enable_progress_bar()


def settings_only(ranker: Any) -> dict[str, Any]:
    """``__getstate__`` of a ranker that holds a model: settings travel, weights are loaded on arrival."""
    return {field.name: getattr(ranker, field.name) for field in dataclasses.fields(ranker)}
