"""States at the end token of texts, differentiable: several completions of a prompt read the prompt once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ilf.strategies._encode import Example
from ilf.strategies._shared_prompt import tree_of
from rankers._lm import LM
from rankers._logprobs import _can_share

if TYPE_CHECKING:
    import torch

#: The share of its tokens that a group may still have as a tree.
_WORTH = 0.8


@dataclass(frozen=True, eq=False)
class EndStates:
    """A trunk, and whether a row of its batches can hold a prompt with several completions (a tree)."""

    trunk: Callable[..., Any]
    device: str
    can_share: bool

    def __call__(self, groups: Sequence[Sequence[Example]]) -> torch.Tensor:
        """Groups of distinct texts to hidden states at their last tokens, (texts of all groups, hidden)."""
        import torch

        is_tree = [self._is_tree(group) for group in groups]
        parts: dict[bool, Iterator[torch.Tensor]] = {}
        for way, run in ((True, self._of_trees), (False, self._one_by_one)):
            chosen = [group for group, tree in zip(groups, is_tree, strict=True) if tree == way]
            if chosen:
                parts[way] = iter(torch.split(run(chosen), [len(group) for group in chosen]))
        return torch.cat([next(parts[tree]) for tree in is_tree])

    def n_tokens(self, group: Sequence[Example]) -> int:
        """Tokens that a group takes in a batch, padding to its longest text counted."""
        return _tree_tokens(group) if self._is_tree(group) else max(map(len, group)) * len(group)

    def _is_tree(self, group: Sequence[Example]) -> bool:
        """Whether one row for all is worth its longer attention: long answers to a short prompt are not."""
        has_one_prompt = all(example.prompt == group[0].prompt for example in group)
        return self.can_share and has_one_prompt and _tree_tokens(group) <= _WORTH * sum(map(len, group))

    def _one_by_one(self, groups: Sequence[Sequence[Example]]) -> torch.Tensor:
        import torch

        examples = [example for group in groups for example in group]
        # Padding is on the right, where no token that counts looks: no mask is needed.
        ids = torch.zeros((len(examples), max(map(len, examples))), dtype=torch.long)
        for i, example in enumerate(examples):
            ids[i, : len(example)] = torch.tensor((*example.prompt, *example.completion))
        states: torch.Tensor = self.trunk(input_ids=ids.to(self.device), use_cache=False)[0]  # (B, T, hidden)
        ends = torch.tensor([len(example) - 1 for example in examples], device=states.device)
        return states[torch.arange(len(examples), device=states.device), ends]

    def _of_trees(self, groups: Sequence[Sequence[Example]]) -> torch.Tensor:
        import torch

        # As if a token behind each text were predicted: its state is that of the text's last token.
        tree = tree_of([[replace(e, completion=(*e.completion, 0)) for e in group] for group in groups])
        states: torch.Tensor = self.trunk(
            input_ids=tree.ids.to(self.device),
            position_ids=tree.positions.to(self.device),
            attention_mask=tree.mask.to(self.device),
            use_cache=False,
        )[0]
        sizes = torch.tensor([len(example.completion) + 1 for group in groups for example in group])
        return states.flatten(0, 1)[tree.at[sizes.cumsum(0) - 1].to(self.device)]


def end_states_of(lm: LM, trunk: Callable[..., Any]) -> EndStates:
    """The reader of a trunk; whether it reads trees as it reads texts one by one is found out by trying."""
    import torch

    plain = EndStates(trunk, lm.device, can_share=False)
    if not _can_share(lm.model):
        return plain
    tree = replace(plain, can_share=True)
    # Different lengths, so that wrong positions, masks or borders show.
    probe = [[Example((1, 2, 3), (2, 1)), Example((1, 2, 3), (3, 1, 2))], [Example((2,), (3,))]]
    try:
        with torch.no_grad():
            is_equal = torch.allclose(tree._of_trees(probe), plain(probe), atol=1e-4, rtol=1e-4)
    except (RuntimeError, TypeError, ValueError, IndexError):
        return plain  # a model that takes no positions, or no mask of this shape
    return tree if is_equal else plain


def _tree_tokens(group: Sequence[Example]) -> int:
    return len(group[0].prompt) + sum(len(example.completion) for example in group)
