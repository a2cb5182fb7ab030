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

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Request:
    """A prompt in token ids, the seed of its uniforms, and how many samples are wanted."""

    ids: list[int]
    seed: int
    copies: int


def decode(
    lm: Any,
    requests: Sequence[Request],
    *,
    temperature: float,
    top_p: float,
    max_new_tokens: int,
    stop: Sequence[str],
    batch_size: int,
) -> list[list[list[int]]]:
    """Sampled token ids per request and copy, without the end token; ``temperature`` 0 is greedy."""
    import torch

    found: list[list[list[int]]] = [[] for _ in requests]
    with torch.inference_mode():
        for batch in _batches(requests, batch_size):
            samples = _Batch(lm, [requests[i] for i in batch], max_new_tokens)
            rows = samples.run(temperature, top_p, stop)
            for i in batch:
                found[i] = [next(rows) for _ in range(requests[i].copies)]
    return found


def _batches(requests: Sequence[Request], batch_size: int) -> Iterator[list[int]]:
    """Indices of requests of like length, ``batch_size`` sequences together (one request at least)."""
    order = sorted(range(len(requests)), key=lambda i: len(requests[i].ids))
    batch: list[int] = []
    size = 0
    for i in order:
        if batch and size + requests[i].copies > batch_size:
            yield batch
            batch, size = [], 0
        batch.append(i)
        size += requests[i].copies
    if batch:
        yield batch


class _Batch:
    """The state of one batch of B sequences while it is decoded; finished sequences leave the cache."""

    def __init__(self, lm: Any, requests: Sequence[Request], max_new_tokens: int) -> None:
        import torch

        self.lm, self.device = lm, lm.device
        # transformers 5.24 renames ``past_key_values`` to ``cache``, in arguments and in outputs.
        accepted = inspect.signature(lm.model.forward).parameters
        self.word = "cache" if "cache" in accepted else "past_key_values"
        self.ends = _end_ids(lm)
        copies = torch.tensor([request.copies for request in requests])
        # (B, T) uniforms, drawn before anything is known of the other rows.
        self.uniforms = torch.from_numpy(
            np.concatenate([_uniforms(request, max_new_tokens) for request in requests])
        ).to(self.device)
        self.logits = self._prefill(requests, copies.to(self.device))
        n_sequences = int(copies.sum())
        self.alive = torch.arange(n_sequences, device=self.device)
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
        output = self.lm.model(
            input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True, logits_to_keep=1
        )
        self.cache = getattr(output, self.word)
        row = torch.arange(len(requests), device=self.device).repeat_interleave(copies)
        self.cache.batch_select_indices(row)
        self.mask, self.position = mask[row], positions[row, -1:]
        logits: torch.Tensor = output.logits[row, -1]
        return logits

    def run(self, temperature: float, top_p: float, stop: Sequence[str]) -> Iterator[list[int]]:
        """Decodes until every sequence has ended; yields the token ids of each."""
        steps = self.uniforms.shape[1]
        for step in range(steps):
            uniforms = self.uniforms[self.alive, step]
            chosen = draw(self.logits, uniforms, temperature, top_p)
            going = self._note(chosen, stop)
            if not going or step == steps - 1:
                break
            self._forward(chosen, going)
        return iter(self.tokens)

    def _note(self, chosen: torch.Tensor, stop: Sequence[str]) -> list[int]:
        """Adds the chosen tokens; returns the places (in the batch as it is now) of sequences that go on."""
        going = []
        for place, (sequence, token) in enumerate(zip(self.alive.tolist(), chosen.tolist(), strict=True)):
            if token in self.ends:
                continue
            self.tokens[sequence].append(token)
            if not (stop and self._has_stopped(self.tokens[sequence], stop)):
                going.append(place)
        return going

    def _has_stopped(self, tokens: Sequence[int], stop: Sequence[str]) -> bool:
        text = self.lm.tokenizer.decode(tokens[-32:], clean_up_tokenization_spaces=False)
        return any(mark in text for mark in stop)

    def _forward(self, chosen: torch.Tensor, going: Sequence[int]) -> None:
        import torch

        if len(going) < len(self.alive):
            kept = torch.tensor(going, device=self.device)
            self.cache.batch_select_indices(kept)
            self.alive, chosen = self.alive[kept], chosen[kept]
            self.mask, self.position = self.mask[kept], self.position[kept]
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], dim=1)
        self.position = self.position + 1
        output = self.lm.model(
            input_ids=chosen[:, None],
            attention_mask=self.mask,
            position_ids=self.position,
            use_cache=True,
            logits_to_keep=1,
            **{self.word: self.cache},
        )
        self.cache, self.logits = getattr(output, self.word), output.logits[:, -1]


def draw(logits: torch.Tensor, uniforms: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """One token per row of ``logits`` (B, V): the inverse cumulative distribution at ``uniforms`` (B,).

    ``top_p`` keeps the smallest set of likeliest tokens that holds at least that mass (Holtzman et al. 2020).
    """
    import torch

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
