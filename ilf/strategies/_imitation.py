"""What strategies that imitate texts share: the loss on some tokens of a text, how a run begins and ends."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ilf.errors import DataError, UsageError
from ilf.protocols import Row
from ilf.strategies._encode import Example
from ilf.strategies._models import learner, own_randomness
from ilf.strategies._tuning import PartLoss, Tuning
from rankers._lm import _PLACEHOLDER, LM, resolve_device
from rankers._logprobs import token_logprobs, trunk_and_head

if TYPE_CHECKING:
    import torch

#: What a model is made of: (ids and so on) -> states, and states -> logits.
Parts = tuple[Callable[..., Any], Callable[[Any], Any]]


@dataclass(frozen=True)
class Text:
    """A text in token ids and its ``loss_mask`` of the same length: 1 = this token is to be imitated.

    The first token is never one of those: nothing stands before it that could predict it.
    """

    ids: tuple[int, ...]
    loss_mask: tuple[int, ...]

    def __len__(self) -> int:
        """All tokens."""
        return len(self.ids)

    @property
    def n_targets(self) -> int:
        """Tokens that are to be imitated."""
        return sum(self.loss_mask)

    @classmethod
    def of(cls, example: Example) -> Text:
        """A prompt and its completion as one text, the completion to be imitated."""
        mask = (0,) * len(example.prompt) + (1,) * len(example.completion)
        return cls((*example.prompt, *example.completion), mask)


def batch_of(texts: Sequence[Text]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids (B, T), where states predict a token that counts (N,) in flat (B * T), and which one (N,).

    Padding is on the right, where no token that counts looks. A text's last token is never an input.
    """
    import torch

    longest = max(map(len, texts)) - 1
    ids = torch.zeros((len(texts), longest), dtype=torch.long)
    at: list[int] = []
    targets: list[int] = []
    for i, text in enumerate(texts):
        ids[i, : len(text) - 1] = torch.tensor(text.ids[:-1])
        counted = [t for t, counts in enumerate(text.loss_mask) if counts]
        at.extend(i * longest + t - 1 for t in counted)
        targets.extend(text.ids[t] for t in counted)
    return ids, torch.tensor(at), torch.tensor(targets)


def imitated_logprob(parts: Parts, texts: Sequence[Text], device: str, **inputs: Any) -> Any:
    """Sum of log p(token | all before it) over the tokens that count, in nats: a differentiable scalar.

    One forward; only states that predict a token that counts are projected to the vocabulary. ``inputs`` go
    to the trunk with the ids.
    """
    import torch

    trunk, head = parts
    ids, at, targets = batch_of(texts)
    states = trunk(input_ids=ids.to(device), use_cache=False, **inputs)[0]  # (B, T, hidden)
    return torch.sum(token_logprobs(states.flatten(0, 1)[at.to(device)], head, targets.to(device)))


def imitation_loss(
    parts: Parts,
    texts: Sequence[Text],
    device: str,
    inputs_of: Callable[[Sequence[int]], dict[str, Any]] | None = None,
) -> PartLoss:
    """Loss of a part of a batch: -log p in nats, a mean over all tokens that count in the batch.

    ``inputs_of`` (indices of the part) gives further inputs of the trunk.
    """

    def part_loss(part: Sequence[int], batch: Sequence[int]) -> tuple[Any, Mapping[str, float]]:
        inputs = inputs_of(part) if inputs_of else {}
        logprob = imitated_logprob(parts, [texts[i] for i in part], device, **inputs)
        n_targets = sum(texts[i].n_targets for i in batch)
        return -logprob / n_targets, {"tokens": sum(texts[i].n_targets for i in part)}

    return part_loss


def opened(strategy: Tuning, rows: Sequence[Row], start: str, seed: int) -> tuple[LM, Parts]:
    """The model to be trained and its trunk and head; DataError without rows, ComponentError without it."""
    import torch

    if not rows:
        raise DataError(f"{strategy.name}: there is no row to learn from.")
    with own_randomness(resolve_device(strategy.device), strategy.name, seed), torch.no_grad():
        lm = learner(start, strategy)
        return lm, trunk_and_head(lm.model)


def but_the_last(rows: Iterable[Row]) -> Generator[Row, None, list[Row]]:
    """Hands rows on once their successor is there, and returns them all.

    So a strategy can yield its last row when the model is saved: the log is whole only then.
    """
    log: list[Row] = []
    for row in rows:
        if log:
            yield log[-1]
        log.append(row)
    return log


def check_template(where: str, template: str, needed: Sequence[str], allowed: Sequence[str] = ()) -> None:
    """UsageError unless the template has all ``needed`` placeholders, and beside them only ``allowed``."""
    found = set(_PLACEHOLDER.findall(template))
    missing = [f"{{{name}}}" for name in needed if name not in found]
    unknown = [f"{{{name}}}" for name in sorted(found - {*needed, *allowed})]
    if missing:
        raise UsageError(f"{where}: {', '.join(missing)} must stand in the template; it is {template!r}.")
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in (*needed, *allowed))
        raise UsageError(
            f"{where}: {', '.join(unknown)} cannot be filled in, only {known}; the template is {template!r}."
        )
