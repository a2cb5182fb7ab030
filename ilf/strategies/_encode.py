"""Prompts and completions as token ids, and batches of them: what counts comes from lengths, not from ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ilf.errors import ComponentError, DataError
from ilf.protocols import Prompt
from rankers import RankerError
from rankers._lm import LM, Chat
from rankers._sequence import MessagesRefusedError, sequence

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
    try:
        asked, answer = sequence(lm, prompt, completion, chat)
    except MessagesRefusedError as error:
        raise DataError(str(error)) from None
    except RankerError as error:
        raise ComponentError(str(error)) from None
    return Example(tuple(asked), tuple(answer))


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
