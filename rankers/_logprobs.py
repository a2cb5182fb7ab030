"""The forward passes behind ``rankers._lm.completion_logprobs``.

Only the states that predict a completion token are projected to the vocabulary, equal inputs are run once,
and what the candidates of a query share at their beginning is run once and kept as a key-value cache.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from rankers._lm import LM

#: Shared tokens from which a key-value cache is worth its second forward pass (benchmarks/rankers.py).
MIN_SHARED = 16
#: Elements of a block of logits: projecting is done in blocks, so that a large vocabulary costs no memory.
_LOGITS = 2**25


@dataclass(frozen=True)
class Sequence_:
    """One prompt with its completion, in token ids; sequences of one group may share their beginning."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    group: int

    @property
    def inputs(self) -> tuple[int, ...]:
        """What the model reads: all but the last token, which is only predicted."""
        return (*self.prompt, *self.completion[:-1])


@dataclass
class _Row:
    """Inputs of one row of a batch; several completions may need it (a judge's yes and no)."""

    inputs: tuple[int, ...]
    first: int
    """Index of the input that predicts the first completion token."""
    wanted: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    """(index of the sequence, its completion)."""


@dataclass(frozen=True)
class _Block:
    """Rows with the same first ``shared`` inputs."""

    shared: int
    rows: tuple[_Row, ...]

    @property
    def prefix(self) -> tuple[int, ...]:
        return self.rows[0].inputs[: self.shared]


def logprobs(lm: LM, sequences: Sequence[Sequence_], batch_size: int, *, share: bool = True) -> list[float]:
    """Sum of log p(token) over each sequence's completion, in nats; accumulated in float64."""
    import torch

    totals = [0.0] * len(sequences)
    if not sequences:
        return totals
    with torch.inference_mode():
        trunk, head = lm.parts
        blocks = _blocks(sequences, batch_size, share=share and _can_share(lm.model))
        for batch in _batches(blocks, batch_size):
            _add_up(totals, batch, _states(lm, trunk, batch), head)
    return totals


def token_logprobs(
    states: torch.Tensor,
    head: Callable[[torch.Tensor], torch.Tensor],
    targets: torch.Tensor,
    temperature: float = 1.0,
) -> torch.Tensor:
    """Log p(target) for states (n, hidden) and targets (n,): (n,) float32, in nats; differentiable.

    ``temperature`` divides the logits: the distribution that is sampled from at that temperature.

    Only these states are projected to the vocabulary, which is exact and saves most of the work where
    completions are short; in blocks, so that memory does not grow with the vocabulary.
    """
    import torch

    if not len(targets):
        return torch.zeros(0)
    if temperature != 1.0 and isinstance(head, torch.nn.Linear) and getattr(head, "bias", None) is None:
        # The same logits for less: states are narrower than the vocabulary.
        states, temperature = states / temperature, 1.0
    vocabulary = head(states[:1]).shape[-1]
    size = max(1, _LOGITS // vocabulary)
    parts = []
    for start in range(0, len(targets), size):
        aims = targets[start : start + size]
        logits = head(states[start : start + size]).float()
        if temperature != 1.0:
            logits = logits / temperature
        parts.append(logits.gather(-1, aims[:, None]).squeeze(-1) - logits.logsumexp(-1))
    return torch.cat(parts)


def trunk_and_head(model: Any) -> tuple[Callable[..., Any], Callable[[torch.Tensor], torch.Tensor]]:
    """What makes states (called like the model), and what projects them to the vocabulary.

    A model that does more than that (caps or scales its logits) is found out by trying, and then projects
    everything.
    """
    import torch

    trunk, head = model.get_decoder(), model.get_output_embeddings()
    probe = torch.arange(4, device=model.device)[None]
    expected = model(input_ids=probe, use_cache=False).logits
    found = head(trunk(input_ids=probe, use_cache=False)[0])
    if found.shape == expected.shape and torch.allclose(found, expected, atol=1e-4, rtol=1e-4):
        return trunk, head
    return (lambda **inputs: (model(**inputs).logits,)), (lambda logits: logits)


def _can_share(model: Any) -> bool:
    """Whether a key-value cache can be repeated and masked: no recurrent states, no sliding window."""
    config = model.config.get_text_config()
    layers = getattr(config, "layer_types", None) or ["full_attention"]
    is_windowed = getattr(config, "sliding_window", None) is not None or set(layers) != {"full_attention"}
    return not is_windowed and not getattr(model, "_is_stateful", False)


def _blocks(sequences: Sequence[Sequence_], batch_size: int, *, share: bool) -> Iterator[_Block]:
    """Equal inputs become one row, rows of a group that begin alike one block (of ``batch_size`` at most)."""
    rows: dict[tuple[tuple[int, ...], int], _Row] = {}
    groups: dict[int, list[_Row]] = {}
    for i, sequence in enumerate(sequences):
        if not sequence.completion:
            continue
        key = (sequence.inputs, len(sequence.prompt) - 1)
        if key not in rows:
            rows[key] = _Row(*key)
            groups.setdefault(sequence.group, []).append(rows[key])
        rows[key].wanted.append((i, sequence.completion))
    for members in groups.values():
        members.sort(key=lambda row: len(row.inputs))
        for start in range(0, len(members), batch_size):
            part = tuple(members[start : start + batch_size])
            shared = _shared(part) if share and len(part) > 1 else 0
            if shared >= MIN_SHARED:
                yield _Block(shared, part)
            else:
                yield from (_Block(0, (row,)) for row in part)


def _shared(rows: Sequence[_Row]) -> int:
    """Length of the common beginning, which stops before the first state that predicts a completion."""
    low, high = min(row.inputs for row in rows), max(row.inputs for row in rows)
    # In the order of tuples, what the lowest and the highest share is shared by all between them.
    alike = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    return min(alike, *(row.first for row in rows))


def _batches(blocks: Iterator[_Block], batch_size: int) -> Iterator[list[_Block]]:
    """Blocks of like lengths together, those with a shared beginning apart from those without."""
    batch: list[_Block] = []
    for block in sorted(
        blocks, key=lambda b: (b.shared == 0, b.shared, len(b.rows[-1].inputs)), reverse=True
    ):
        full = sum(len(b.rows) for b in batch) + len(block.rows) > batch_size
        if batch and (full or (batch[0].shared == 0) != (block.shared == 0)):
            yield batch
            batch = []
        batch.append(block)
    if batch:
        yield batch


def _states(lm: LM, trunk: Callable[..., Any], batch: Sequence[_Block]) -> torch.Tensor:
    """Last hidden states (rows, rest, hidden) of a batch, from after what its blocks share."""
    import torch

    rests = [row.inputs[block.shared :] for block in batch for row in block.rows]
    ids, mask = _padded(rests, left=False, device=lm.device)
    positions = (mask.cumsum(1) - 1).clamp(0)
    if not batch[0].shared:
        return trunk(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False)[0]  # type: ignore[no-any-return]
    cache, before = _prefilled(lm, trunk, batch)
    shared = torch.tensor([block.shared for block in batch for _ in block.rows], device=lm.device)
    output = trunk(
        input_ids=ids,
        attention_mask=torch.cat([before, mask], dim=1),
        position_ids=positions + shared[:, None],
        use_cache=True,
        **{_cache_word(trunk): cache},
    )
    return output[0]  # type: ignore[no-any-return]


def _prefilled(lm: LM, trunk: Callable[..., Any], batch: Sequence[_Block]) -> tuple[Any, torch.Tensor]:
    """The cache of the shared beginnings, one entry per row, and its mask (rows, longest beginning)."""
    import torch
    from transformers import DynamicCache

    ids, mask = _padded([block.prefix for block in batch], left=True, device=lm.device)
    cache = DynamicCache(config=lm.model.config)
    positions = (mask.cumsum(1) - 1).clamp(0)
    word = _cache_word(trunk)
    trunk(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True, **{word: cache})
    sizes = torch.tensor([len(block.rows) for block in batch], device=lm.device)
    repeated = torch.arange(len(batch), device=lm.device).repeat_interleave(sizes)
    cache.batch_select_indices(repeated)
    return cache, mask[repeated]


def _cache_word(trunk: Any) -> str:
    """What the model calls its cache: ``past_key_values``, which transformers 5.24 renames to ``cache``."""
    return "cache" if "cache" in inspect.signature(trunk.forward).parameters else "past_key_values"


def _padded(rows: Sequence[Sequence[int]], *, left: bool, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask (rows, longest): padded with token 0, and the mask comes from lengths, not from ids."""
    import torch

    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for i, row in enumerate(rows):
        where = slice(longest - len(row), longest) if left else slice(0, len(row))
        ids[i, where] = torch.tensor(row)
        mask[i, where] = 1
    return ids.to(device), mask.to(device)


def _add_up(
    totals: list[float],
    batch: Sequence[_Block],
    states: torch.Tensor,
    head: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    """Adds log p of every wanted completion of the batch to ``totals``, in place."""
    import torch

    rows = [(block.shared, row) for block in batch for row in block.rows]
    where: list[int] = []
    which: list[int] = []
    targets: list[int] = []
    for r, (shared, row) in enumerate(rows):
        for i, completion in row.wanted:
            start = r * states.shape[1] + row.first - shared
            where.extend(range(start, start + len(completion)))
            which.extend([i] * len(completion))
            targets.extend(completion)
    picked = states.flatten(0, 1)[torch.tensor(where, device=states.device)]
    values = token_logprobs(picked, head, torch.tensor(targets, device=states.device))
    for i, value in zip(which, values.double().tolist(), strict=True):
        totals[i] += value
