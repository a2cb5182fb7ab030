"""Prompts and completions as token ids, and batches of them: masks come from lengths, never from token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ilf.errors import ComponentError
from ilf.protocols import Prompt

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Example:
    """A prompt and the completion to imitate, in token ids; the completion ends with the end token."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]


def encode(prompt: Prompt, completion: str, tokenizer: Any, *, chat: bool = True) -> Example:
    """Tokenises prompt and completion apart, so that no token spans their border; adds the end token.

    With a chat template the prompt is rendered open for the answer, and the completion is what the template
    would put behind it. Raises ComponentError where the template rewrites the prompt once it has an answer, or
    where messages meet a tokenizer without a template.
    """
    if chat and getattr(tokenizer, "chat_template", None):
        return _chat(prompt, completion, tokenizer)
    if not isinstance(prompt, str):
        raise ComponentError(
            "the prompts are messages, and the tokenizer has no chat template. Use an instruct model, or strings."
        )
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    begin = tokenizer.bos_token_id
    if begin is not None and ids[:1] != [begin] and tokenizer("a")["input_ids"][:1] == [begin]:
        ids = [begin, *ids]
    answer = tokenizer(completion, add_special_tokens=False)["input_ids"]
    return Example(tuple(ids or [tokenizer.eos_token_id]), (*answer, tokenizer.eos_token_id))


def _chat(prompt: Prompt, completion: str, tokenizer: Any) -> Example:
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    asked = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    answered = tokenizer.apply_chat_template(
        [*messages, {"role": "assistant", "content": completion.strip()}], tokenize=False
    )
    if not answered.startswith(asked):
        raise ComponentError(
            "the chat template changes the prompt once an answer follows, so what is trained would not be what is "
            "sampled. Set train.strategy.chat=false, or use another model."
        )
    ids = tokenizer(asked, add_special_tokens=False)["input_ids"]
    answer = tokenizer(answered[len(asked) :], add_special_tokens=False)["input_ids"]
    end = tokenizer.eos_token_id
    # Behind the end token templates put line breaks and the like, which are never sampled.
    answer = [*answer[: answer.index(end)], end] if end in answer else [*answer, end]
    return Example(tuple(ids), tuple(answer))


def padded(
    examples: Sequence[Example],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids and mask (B, T), padded on the right; and flat: where states predict a completion token, and which (N,)."""
    import torch

    # The last token is never an input: it is only predicted.
    rows = [(*example.prompt, *example.completion[:-1]) for example in examples]
    longest = max(map(len, rows))
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    at: list[int] = []
    targets: list[int] = []
    for i, (row, example) in enumerate(zip(rows, examples, strict=True)):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
        first = i * longest + len(example.prompt) - 1
        at.extend(range(first, first + len(example.completion)))
        targets.extend(example.completion)
    return ids, mask, torch.tensor(at), torch.tensor(targets)
