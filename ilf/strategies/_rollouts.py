"""Episodes: what a policy answers to prompts, sampled by the fast sampler, and batches of them as tensors.

An episode is a prompt and a completion in token ids, which ends with the end token where one was sampled.
Nothing is ever found by looking for a pad id: batches are padded on the right and masks come from lengths.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ilf import _ranks
from ilf._decode import Request, _end_ids, decode
from ilf.errors import ComponentError, DataError
from ilf.protocols import Prompt
from ilf.strategies._encode import Example, padded
from ilf.strategies._shared_prompt import tree_of
from rankers._lm import LM, Chat

if TYPE_CHECKING:
    import torch

#: Tokens of a row that holds several completions of one prompt: attention costs their square.
_ROW_TOKENS = 512
#: A part with more tokens than this takes no further row that would make more than this share of it padding.
_FULL, _PADDING = 768, 0.06


@dataclass(frozen=True)
class Episode:
    """A completion sampled for a prompt: ``row`` is the prompt's place in the data, from 0.

    ``completion`` has its end token where ``is_ended``; else it was cut at the limit of new tokens. It is
    never empty.
    """

    row: int
    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    is_ended: bool

    @property
    def is_empty(self) -> bool:
        """Whether the answer is the end token alone."""
        return self.is_ended and len(self.completion) == 1


def prompt_ids(prompt: Prompt, lm: LM, chat: Chat) -> list[int]:
    """Token ids of a prompt: rendered by the chat template, open for the answer, or the text as it is."""
    if isinstance(prompt, str):
        return lm.prompt_ids(prompt, chat)
    if not lm.has_chat_template:
        raise ComponentError(
            "the prompts are messages, and the tokenizer has no chat template. "
            "Use an instruct model, or prompts that are strings."
        )
    from jinja2 import TemplateError

    try:
        rendered = lm.tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    except TemplateError as error:
        raise DataError(f"the chat template refuses these messages: {error}") from None
    return lm.completion_ids(rendered, eos=False)


def rows_of_step(step: int, n_rows: int, n_wanted: int, *, key: object) -> list[int]:
    """Which rows a step (from 1) asks, as places from 0: each pass over the data has an order of its own.

    A pass that ends within a step is followed by the next, so that every step has ``n_wanted`` of them.
    """
    first = (step - 1) * n_wanted
    orders = {
        number: random.Random(f"{key} pass {number}").sample(range(n_rows), n_rows)
        for number in range(first // n_rows, (first + n_wanted - 1) // n_rows + 1)
    }
    return [orders[at // n_rows][at % n_rows] for at in range(first, first + n_wanted)]


def roll_out(  # noqa: PLR0913 - how to sample, each setting once
    lm: LM,
    prompts: Sequence[Sequence[int]],
    rows: Sequence[int],
    *,
    key: object,
    copies: int,
    temperature: float,
    max_new_tokens: int,
    batch_size: int,
) -> list[Episode]:
    """``copies`` episodes for every one of ``rows`` (places in ``prompts``), those of a prompt together.

    The prompts are shared between the processes of torchrun, and every process gets all episodes. The
    uniforms of a completion come from ``key`` and its place in ``rows`` alone: neither the number of
    processes nor ``batch_size`` changes what is drawn.
    """
    mine = _ranks.share(list(enumerate(rows)))
    requests = [
        Request(list(prompts[row]), random.Random(f"{key} sample {place}").getrandbits(63), copies)
        for place, row in mine
    ]
    sampled = decode(
        lm, requests, temperature=temperature, top_p=1.0, max_new_tokens=max_new_tokens, stop=(),
        batch_size=batch_size, keep_end=True,
    )  # fmt: skip
    ends = _end_ids(lm)
    episodes = [
        Episode(row, tuple(prompts[row]), tuple(tokens), tokens[-1] in ends)
        for (_, row), texts in zip(mine, sampled, strict=True)
        for tokens in texts
    ]
    return _ranks.gathered(episodes)


def text_of(episode: Episode, lm: LM) -> str:
    """The completion as text, without its end token, with its leading space."""
    letter = lm.completion_ids("a", eos=False)

    def decoded(ids: Sequence[int]) -> str:
        return str(lm.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    # Behind a letter, because some tokenizers (Llama 2's) drop the space that a text begins with.
    return decoded([*letter, *episode.completion]).removeprefix(decoded(letter))


@dataclass(frozen=True, eq=False)
class Batch:
    """Episodes as tensors: B of them, at most T tokens in a completion.

    ``inputs`` is what a trunk is called with; its states, flat, are picked by ``at`` (B, T + 1): the state
    BEFORE every token of the completion and, one further, the state after its last. ``tokens`` (B, T) are the
    completions, ``lengths`` (B,) their tokens.
    """

    inputs: Mapping[str, torch.Tensor]
    at: torch.Tensor
    tokens: torch.Tensor
    lengths: torch.Tensor

    @property
    def mask(self) -> torch.Tensor:
        """True where there is a token: (B, T). Prompts are not in it, nor anything behind the end token."""
        return token_mask(self.lengths, self.tokens.shape[1])

    @property
    def state_mask(self) -> torch.Tensor:
        """True where there is a state, one more than there are tokens: (B, T + 1)."""
        return token_mask(self.lengths + 1, self.at.shape[1])

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """Values (N,) of all tokens in the order of ``mask`` as (B, T), 0 where there is no token."""
        import torch

        return torch.zeros(self.mask.shape, device=values.device).masked_scatter(self.mask, values)


def token_mask(lengths: torch.Tensor, width: int) -> torch.Tensor:
    """True in the first ``lengths[b]`` places of row b: (B, width)."""
    import torch

    return torch.arange(width, device=lengths.device) < lengths[:, None]


def batch_of(episodes: Sequence[Episode], device: str, *, can_share: bool) -> Batch:
    """The episodes, in their order, as tensors on ``device``.

    With ``can_share`` a row of the inputs holds a prompt once and behind it several of its completions, which
    do not see each other; otherwise a row is one episode. States are the same up to float error.
    """
    import torch

    lengths = torch.tensor([len(episode.completion) for episode in episodes])
    rows = _rows(episodes, range(len(episodes)), can_share=can_share)
    # With one more token, which is never an input, the state after the last real one has its place too.
    examples = [[Example(episodes[i].prompt, (*episodes[i].completion, 0)) for i in row] for row in rows]
    if all(len(row) == 1 for row in rows):
        ids, flat, _ = padded([row[0] for row in examples])
        inputs = {"input_ids": ids}
    else:
        tree = tree_of(examples)
        flat = tree.at
        inputs = {"input_ids": tree.ids, "position_ids": tree.positions, "attention_mask": tree.mask}
    width = int(lengths.max())
    tokens = torch.zeros((len(episodes), width), dtype=torch.long)
    at = torch.zeros((len(episodes), width + 1), dtype=torch.long)
    first = 0
    for i in (i for row in rows for i in row):
        n = len(episodes[i].completion)
        at[i, : n + 1] = flat[first : first + n + 1]
        tokens[i, :n] = torch.tensor(episodes[i].completion)
        first += n + 1
    return Batch(
        {name: tensor.to(device) for name, tensor in inputs.items()},
        at.to(device),
        tokens.to(device),
        lengths.to(device),
    )


def parts(
    episodes: Sequence[Episode], chosen: Sequence[int], n_tokens: int, *, can_share: bool
) -> Iterator[list[int]]:
    """The ``chosen`` places of ``episodes`` in parts of at most ``n_tokens`` with padding (a row at least).

    Rows of like length stand together, so that a part has little padding.
    """
    rows = sorted(_rows(episodes, chosen, can_share=can_share), key=lambda row: _row_tokens(episodes, row))
    part: list[list[int]] = []
    used = 0
    for row in rows:
        # Ascending, so that this row is the longest.
        n = _row_tokens(episodes, row)
        padded = n * (len(part) + 1)
        is_wasteful = used > _FULL and padded - used - n > _PADDING * padded
        if part and (padded > n_tokens or is_wasteful):
            yield [i for row in part for i in row]
            part, used = [], 0
        part.append(row)
        used += n
    if part:
        yield [i for row in part for i in row]


def _rows(episodes: Sequence[Episode], chosen: Sequence[int], *, can_share: bool) -> list[list[int]]:
    """Places of the episodes that a row of inputs holds: with one prompt, as many as are worth it."""
    if not can_share:
        return [[i] for i in chosen]
    rows: list[list[int]] = []
    last: dict[tuple[int, ...], list[int]] = {}
    for i in chosen:
        row = last.get(episodes[i].prompt)
        if row is None or _row_tokens(episodes, [*row, i]) > _ROW_TOKENS:
            row = last[episodes[i].prompt] = []
            rows.append(row)
        row.append(i)
    return rows


def _row_tokens(episodes: Sequence[Episode], row: Sequence[int]) -> int:
    return len(episodes[row[0]].prompt) + sum(len(episodes[i].completion) for i in row)
