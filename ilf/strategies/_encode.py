"""Prompts and completions as token ids, and batches of them: what counts comes from lengths, not from ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ilf.errors import ComponentError, DataError
from ilf.protocols import Prompt
from rankers._lm import LM, Chat

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Example:
    """A prompt and the completion to imitate, in token ids; the completion ends with the end token."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]

    def __len__(self) -> int:
        """Tokens of both."""
        return len(self.prompt) + len(self.completion)


def encode(prompt: Prompt, completion: str, lm: LM, *, chat: Chat = "auto") -> Example:
    """Tokenises prompt and completion apart, so that no token spans their border; adds the end token.

    With a chat template the prompt is rendered open for the answer, and the completion is what the template
    would put behind it. Raises ComponentError where the template rewrites the prompt once it has an answer,
    or where messages meet a tokenizer without a template; DataError where the template refuses the messages.
    """
    if isinstance(prompt, str) and (chat == "never" or not lm.has_chat_template):
        return Example(tuple(lm.prompt_ids(prompt, "never")), tuple(lm.completion_ids(completion, eos=True)))
    if not lm.has_chat_template:
        raise ComponentError(
            "the prompts are messages, and the tokenizer has no chat template. "
            "Use an instruct model, or prompts that are strings."
        )
    return _chat(prompt, completion, lm)


def _chat(prompt: Prompt, completion: str, lm: LM) -> Example:
    from jinja2 import TemplateError

    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    answer = {"role": "assistant", "content": completion.strip()}
    render = lm.tokenizer.apply_chat_template
    try:
        asked = render(messages, tokenize=False, add_generation_prompt=True)
        answered = render([*messages, answer], tokenize=False)
    except TemplateError as error:
        raise DataError(f"the chat template refuses these messages: {error}") from None
    if not answered.startswith(asked):
        raise ComponentError(
            "the chat template changes the prompt once an answer follows, so what is trained would not be "
            "what is sampled. Set train.strategy.chat=never (prompts must be strings then), or use another "
            "model."
        )
    # Rendered texts have their begin token already.
    ids = lm.completion_ids(asked, eos=False)
    # Behind an answer and its end token templates put line breaks, which are never sampled.
    target = lm.completion_ids(answered[len(asked) :].rstrip(), eos=True)
    return Example(tuple(ids), tuple(target[: target.index(target[-1]) + 1]))


def padded(examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids (B, T), where states predict a completion token (N,) in flat (B * T), and which one (N,).

    Padding is on the right, where no token that counts looks: no mask is needed.
    """
    import torch

    # The last token is never an input: it is only predicted.
    rows = [(*example.prompt, *example.completion[:-1]) for example in examples]
    longest = max(map(len, rows))
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    at: list[int] = []
    targets: list[int] = []
    for i, (row, example) in enumerate(zip(rows, examples, strict=True)):
        ids[i, : len(row)] = torch.tensor(row)
        first = i * longest + len(example.prompt) - 1
        at.extend(range(first, first + len(example.completion)))
        targets.extend(example.completion)
    return ids, torch.tensor(at), torch.tensor(targets)
