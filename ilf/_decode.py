"""Sampling from one prefill: the prompt is read once, its key-value cache repeated for every sample.

``model.generate`` repeats a prompt before it reads it, so that eight samples pay for eight prefills; and its
one global generator makes a row's samples depend on the batch. Here every row draws its uniforms beforehand,
and a token is the inverse of the cumulative distribution at the row's next uniform.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ilf.errors import ComponentError

if TYPE_CHECKING:
    import torch

#: Bytes of the key-value cache of a batch, roughly: large models get fewer sequences than ``batch_size``.
_CACHE_BYTES = 2**30
#: Finished sequences leave once they are this share of the batch: copying the cache of those that stay costs
#: more than decoding a few along (benchmarks/sampling.py).
_LEAVING_SHARE = 1 / 8


@dataclass(frozen=True)
class Request:
    """A prompt in token ids, the seed of its uniforms, and how many samples are wanted."""

    ids: list[int]
    seed: int
    copies: int


def decode(  # noqa: PLR0913 - how to sample, each setting once
    lm: Any,
    requests: Sequence[Request],
    *,
    temperature: float,
    top_p: float,
    max_new_tokens: int,
    stop: Sequence[str],
    batch_size: int,
    keep_end: bool = False,
) -> list[list[list[int]]]:
    """Sampled token ids per request and copy; ``temperature`` 0 is greedy.

    The end token is left out, or with ``keep_end`` the last token of every sample that came to an end.
    """
    import torch

    found: list[list[list[int]]] = [[] for _ in requests]
    with torch.inference_mode():
        for batch in _batches(requests, batch_size, _cache_tokens(lm.model), max_new_tokens):
            samples = _Batch(lm, [requests[i] for i in batch], max_new_tokens, keep_end)
            rows = samples.run(temperature, top_p, stop)
            for i in batch:
                found[i] = [next(rows) for _ in range(requests[i].copies)]
    return found


def _cache_tokens(model: Any) -> int:
    """How many tokens, of all sequences together, a cache of ``_CACHE_BYTES`` holds."""
    config = model.config.get_text_config()
    try:
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return int(_CACHE_BYTES // (2 * config.num_hidden_layers * heads * width * model.dtype.itemsize))
    except (AttributeError, TypeError):
        return 2**62  # layers of different shapes, or other names: ``batch_size`` alone decides


def _batches(
    requests: Sequence[Request], batch_size: int, cache_tokens: int, max_new_tokens: int
) -> Iterator[list[int]]:
    """Indices of requests of like length, as many sequences as both limits allow (one request at least)."""
    batch: list[int] = []
    size = 0
    # Ascending, so that the last of a batch is its longest.
    for i in sorted(range(len(requests)), key=lambda i: len(requests[i].ids)):
        request = requests[i]
        most = min(batch_size, cache_tokens // (len(request.ids) + max_new_tokens))
        if batch and size + request.copies > most:
            yield batch
            batch, size = [], 0
        batch.append(i)
        size += request.copies
    if batch:
        yield batch


class _Batch:
    """The state of one batch of B sequences while it is decoded; finished ones leave it, some at a time."""

    def __init__(self, lm: Any, requests: Sequence[Request], max_new_tokens: int, keep_end: bool) -> None:
        import torch

        self.lm, self.device, self.keep_end = lm, lm.device, keep_end
        # transformers 5.24 renames ``past_key_values`` to ``cache``, in arguments and in outputs.
        self.accepted = inspect.signature(lm.model.forward).parameters
        self.word = "cache" if "cache" in self.accepted else "past_key_values"
        self.ends = _end_ids(lm)
        copies = torch.tensor([request.copies for request in requests])
        # (B, T) uniforms, drawn before anything is known of the other rows.
        self.uniforms = torch.from_numpy(
            np.concatenate([_uniforms(request, max_new_tokens) for request in requests])
        ).to(self.device)
        self.cache: Any = None
        self.logits = self._prefill(requests, copies.to(self.device))
        n_sequences = int(copies.sum())
        #: Which sequences the batch still holds, in its order; some of them may be finished.
        self.held = torch.arange(n_sequences, device=self.device)
        self.is_finished = [False] * n_sequences
        self.tokens: list[list[int]] = [[] for _ in range(n_sequences)]

    def _prefill(self, requests: Sequence[Request], copies: torch.Tensor) -> torch.Tensor:
        """Reads the prompts, padded on the left, and repeats cache, mask and logits for every copy."""
        import torch

        longest = max(len(request.ids) for request in requests)
        ids = torch.zeros((len(requests), longest), dtype=torch.long)
        mask = torch.zeros((len(requests), longest), dtype=torch.long)
        for i, request in enumerate(requests):
            ids[i, longest - len(request.ids) :] = torch.tensor(request.ids)
            mask[i, longest - len(request.ids) :] = 1
        ids, mask = ids.to(self.device), mask.to(self.device)
        # Without positions of their own, models with learned positions would count the padding.
        positions = (mask.cumsum(1) - 1).clamp(0)
        last_logits = self._forward(ids, mask, positions)
        row = torch.arange(len(requests), device=self.device).repeat_interleave(copies)
        self.cache.batch_select_indices(row)
        self.mask, self.position = mask[row], positions[row, -1:]
        return last_logits[row]

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Feeds ids (B, t) behind what the cache holds; logits (B, V) of the last one."""
        wanted = {"position_ids": positions, "logits_to_keep": 1, self.word: self.cache}
        output = self.lm.model(
            input_ids=ids,
            attention_mask=mask,
            use_cache=True,
            # Models without a position table (Bloom, MPT) take no positions.
            **{name: value for name, value in wanted.items() if name in self.accepted},
        )
        self.cache = getattr(output, self.word)
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def run(self, temperature: float, top_p: float, stop: Sequence[str]) -> Iterator[list[int]]:
        """Decodes until every sequence has ended; yields the token ids of each."""
        steps = self.uniforms.shape[1]
        for step in range(steps):
            chosen = draw(self.logits, self.uniforms[self.held, step], temperature, top_p)
            going = self._note(chosen, stop)
            if not going or step == steps - 1:
                break
            self._step(chosen, going)
        return iter(self.tokens)

    def _note(self, chosen: torch.Tensor, stop: Sequence[str]) -> list[int]:
        """Adds the chosen tokens; returns the places (in the batch as it is now) of sequences that go on."""
        going = []
        for place, (sequence, token) in enumerate(zip(self.held.tolist(), chosen.tolist(), strict=True)):
            if self.is_finished[sequence]:
                continue
            is_end = token in self.ends
            if not is_end or self.keep_end:
                self.tokens[sequence].append(token)
            if not is_end and not (stop and self._has_stopped(self.tokens[sequence], stop)):
                going.append(place)
                continue
            self.is_finished[sequence] = True
        return going

    def _has_stopped(self, tokens: Sequence[int], stop: Sequence[str]) -> bool:
        text = self.lm.tokenizer.decode(tokens[-32:], clean_up_tokenization_spaces=False)
        return any(mark in text for mark in stop)

    def _step(self, chosen: torch.Tensor, going: Sequence[int]) -> None:
        """Feeds the chosen tokens; lets finished sequences go where that is worth the copying."""
        import torch

        if len(going) <= (1 - _LEAVING_SHARE) * len(self.held):
            kept = torch.tensor(going, device=self.device)
            self.cache.batch_select_indices(kept)
            self.held, chosen = self.held[kept], chosen[kept]
            self.mask, self.position = self.mask[kept], self.position[kept]
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], dim=1)
        self.position = self.position + 1
        self.logits = self._forward(chosen[:, None], self.mask, self.position)


def draw(logits: torch.Tensor, uniforms: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """One token per row of ``logits`` (B, V): the inverse cumulative distribution at ``uniforms`` (B,).

    ``top_p`` keeps the smallest set of likeliest tokens that holds at least that mass (Holtzman et al. 2020).
    Raises ComponentError where a row has no distribution.
    """
    import torch

    if not torch.isfinite(logits.amax(-1)).all():
        raise ComponentError(
            "the model's logits are not finite. Its weights are damaged, or do not fit the precision: sample "
            "with dtype=float32."
        )
    if temperature == 0:
        return logits.argmax(-1)
    probabilities = torch.softmax(logits.double() / temperature, dim=-1)
    if top_p < 1:
        ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
        is_tail = ordered.cumsum(-1) - ordered >= top_p
        probabilities = probabilities.masked_fill(is_tail.gather(-1, order.argsort(-1)), 0.0)
    cumulative = probabilities.cumsum(-1)
    target = uniforms[:, None] * cumulative[:, -1:]
    chosen = torch.searchsorted(cumulative, target, right=True).squeeze(1)
    return chosen.clamp(max=logits.shape[-1] - 1)


def _uniforms(request: Request, max_new_tokens: int) -> np.ndarray[Any, Any]:
    """(copies, T) uniforms of a request: copy i of 8 draws what copy i of 4 draws."""
    streams = np.random.SeedSequence(request.seed).spawn(request.copies)
    return np.stack([np.random.Generator(np.random.PCG64(s)).random(max_new_tokens) for s in streams])


def _end_ids(lm: Any) -> frozenset[int]:
    """Tokens that end a text: the tokenizer's and the generation config's (chat models have several)."""
    configured = getattr(getattr(lm.model, "generation_config", None), "eos_token_id", None)
    several = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in (lm.tokenizer.eos_token_id, *several) if i is not None)
