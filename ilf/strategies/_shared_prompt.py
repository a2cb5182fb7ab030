"""Log-probabilities of completions, a prompt that several of them share read once, in one row of a batch.

A row is the prompt and behind it its completions, each at the positions that follow the prompt and none
seeing another (a mask of a tree). What a completion costs is then its own tokens alone, forward and backward:
half the work where prompts are as long as completions and there are four of them (benchmarks/dpo.py).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ilf.strategies._encode import Example, padded
from rankers._lm import LM
from rankers._logprobs import _can_share, token_logprobs, trunk_and_head

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Scorer:
    """The parts of a model that score completions, and whether its rows can hold several of a prompt."""

    trunk: Callable[..., Any]
    head: Callable[[Any], Any]
    device: str
    can_share: bool

    def logprobs(self, examples: Sequence[Example]) -> torch.Tensor:
        """Log p(completion | prompt) in nats, summed over its tokens and its end token: (n,), differentiable.

        Equal examples are run once; only states that predict a completion token are projected.
        """
        import torch

        rows = [list(dict.fromkeys(row)) for row in _by_prompt(examples)] if self.can_share else []
        if not rows or all(len(row) == 1 for row in rows):
            rows = [[example] for example in dict.fromkeys(examples)]
            ids, at, targets = padded([row[0] for row in rows])
            states = self.trunk(input_ids=ids.to(self.device), use_cache=False)[0]  # (B, T, hidden)
        else:
            tree = tree_of(rows)
            at, targets = tree.at, tree.targets
            states = self.trunk(
                input_ids=tree.ids.to(self.device),
                position_ids=tree.positions.to(self.device),
                attention_mask=tree.mask.to(self.device),
                use_cache=False,
            )[0]
        values = token_logprobs(states.flatten(0, 1)[at.to(self.device)], self.head, targets.to(self.device))
        order = [example for row in rows for example in row]
        sums = torch.stack([part.sum() for part in torch.split(values, [len(e.completion) for e in order])])
        place = {example: i for i, example in enumerate(order)}
        return sums[torch.tensor([place[example] for example in examples], device=sums.device)]

    def n_tokens(self, examples: Sequence[Example]) -> int:
        """Tokens that a batch of these takes with padding, roughly; shared prompts count once."""
        distinct = list(dict.fromkeys(examples))
        if not self.can_share:
            return max(map(len, distinct)) * len(distinct)
        return sum(len(row[0].prompt) + sum(len(e.completion) for e in row) for row in _by_prompt(distinct))


def scorer_of(lm: LM) -> Scorer:
    """The model's scorer; whether it reads trees of completions as it reads them one by one is tried out."""
    import torch

    with torch.no_grad():
        trunk, head = trunk_and_head(lm.model)
        plain = Scorer(trunk, head, lm.device, can_share=False)
        forward = getattr(trunk, "forward", lm.model.forward)
        if not _can_share(lm.model) or "position_ids" not in inspect.signature(forward).parameters:
            return plain
        tree = Scorer(trunk, head, lm.device, can_share=True)
        # Different lengths, so that wrong positions, masks or borders show.
        examples = [Example((1, 2, 3), (2, 1)), Example((1, 2, 3), (3, 1, 2)), Example((2,), (3,))]
        try:
            is_equal = torch.allclose(tree.logprobs(examples), plain.logprobs(examples), atol=1e-4, rtol=1e-4)
        except (RuntimeError, TypeError, ValueError, IndexError):
            return plain  # a model that takes no mask of this shape
    return tree if is_equal else plain


@dataclass(frozen=True, eq=False)
class Tree:
    """A batch of rows that each hold a prompt and its completions.

    ``ids`` and ``positions`` (B, T), ``mask`` (B, 1, T, T) true where a token sees another; ``at`` (N,) are
    the states in flat (B * T) that predict a completion token, ``targets`` (N,) those tokens.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    at: torch.Tensor
    targets: torch.Tensor


def tree_of(rows: Sequence[Sequence[Example]]) -> Tree:
    """Lays out rows of examples with one prompt each; padding is on the right, where no token looks."""
    import torch

    # The last token of a completion is never an input.
    widths = [len(row[0].prompt) + sum(len(e.completion) - 1 for e in row) for row in rows]
    longest = max(widths)
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    positions = torch.zeros((len(rows), longest), dtype=torch.long)
    #: 0 in prompts, 1, 2, ... in their completions, -1 in padding.
    branch = torch.full((len(rows), longest), -1)
    at: list[int] = []
    targets: list[int] = []
    for i, row in enumerate(rows):
        prompt = row[0].prompt
        n = len(prompt)
        ids[i, :n] = torch.tensor(prompt)
        positions[i, :n] = torch.arange(n)
        branch[i, :n] = 0
        here = n
        for number, example in enumerate(row, start=1):
            inputs = example.completion[:-1]
            end = here + len(inputs)
            ids[i, here:end] = torch.tensor(inputs, dtype=torch.long)
            positions[i, here:end] = torch.arange(n, n + len(inputs))
            branch[i, here:end] = number
            # The first token of every completion is predicted by the last state of the prompt.
            at += [i * longest + n - 1, *range(i * longest + here, i * longest + end)]
            targets += example.completion
            here = end
    sees = (branch[:, None, :] == 0) | (branch[:, None, :] == branch[:, :, None])
    mask = (sees & torch.ones(longest, longest, dtype=torch.bool).tril())[:, None]
    return Tree(ids, positions, mask, torch.tensor(at), torch.tensor(targets))


def _by_prompt(examples: Sequence[Example]) -> list[list[Example]]:
    rows: dict[tuple[int, ...], list[Example]] = {}
    for example in examples:
        rows.setdefault(example.prompt, []).append(example)
    return list(rows.values())


def all_logprobs(
    scorer: Scorer, examples: Sequence[Example], *, n_tokens: int, context: Any
) -> Mapping[Example, float]:
    """Log p of every distinct example, without gradients, in batches of ``n_tokens`` under ``context()``."""
    import torch

    found: dict[Example, float] = {}
    with torch.no_grad():
        for batch in _batches(scorer, examples, n_tokens):
            with context():
                values = scorer.logprobs(batch)
            found.update(zip(batch, values.tolist(), strict=True))
    return found


def _batches(scorer: Scorer, examples: Sequence[Example], n_tokens: int) -> Iterator[list[Example]]:
    """Distinct examples, those of a prompt together, rows of like width in a batch."""
    rows = _by_prompt(list(dict.fromkeys(examples)))
    if not scorer.can_share:
        rows = [[example] for row in rows for example in row]
    rows.sort(key=scorer.n_tokens)
    batch: list[list[Example]] = []
    for row in rows:
        # Ascending, so that this row is the widest.
        if batch and scorer.n_tokens(row) * (len(batch) + 1) > n_tokens:
            yield [example for row in batch for example in row]
            batch = []
        batch.append(row)
    if batch:
        yield [example for row in batch for example in row]
