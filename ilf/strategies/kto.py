"""Kahneman-Tversky optimisation: a policy from texts that are called good or bad, one by one."""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ilf.errors import DataError, UsageError
from ilf.protocols import Row
from ilf.strategies._encode import Example
from ilf.strategies._imitation import but_the_last
from ilf.strategies._labels import read_labels
from ilf.strategies._models import learner, own_randomness, save_model, write_card
from ilf.strategies._pairs import by_group, informative, pair_accuracy, read_pairs
from ilf.strategies._shared_prompt import all_logprobs, scorer_of
from ilf.strategies._tuning import Tuning
from rankers._lm import LM, resolve_device

if TYPE_CHECKING:
    import torch

log = logging.getLogger("ilf")

#: Where w_D n_D / (w_U n_U) should be, desirable over undesirable (Ethayarajh et al. 2024, equation 9).
_BALANCE = (1.0, 4 / 3)

#: A text and whether it is desirable.
Marked = tuple[Example, bool]


@dataclass(frozen=True)
class KTO(Tuning):
    """Raises the value of good texts and lowers that of bad ones: w (1 - s(+-kl_coef (d - z0))).

    Ethayarajh 2024, arXiv 2402.01306, section 4: d is the log-ratio log p(completion) - log p_reference(
    completion), summed over its tokens and end token, s the sigmoid, + for desirable texts; ``kl_coef`` is
    the paper's beta. z0 estimates the KL from the reference: the mean log-ratio of completions behind prompts
    that they do not belong to, at least 0, without gradient. The weights w balance the two kinds: where
    neither ``desirable_weight`` nor ``undesirable_weight`` is given, they bring w_D n_D / (w_U n_U) into
    [1, 4/3].

    With ``data: pairs`` chosen texts are desirable and rejected ones not (``prompt``, ``chosen``,
    ``rejected``; ``group``, ``is_tied``, ``split`` if there); with ``labels`` every row has a ``completion``
    and a ``label``, true or false. Differences from the paper: (1) All texts of a prompt are one element of a
    batch: ``batch_size`` counts prompts, 2 at least. (2) A completion for z0 comes from the next element of
    the batch that has another prompt, not from the next text, whose prompt may be the same. (3) The
    reference's log-probabilities are computed once, before training: no second model is held. (4) AdamW
    (RMSprop there), linear warm-up and a cosine. (5) Ties and pairs of equal texts are left out and counted.
    (6) Dropout is off.
    """

    learning_rate: float = 1e-6
    kl_coef: float = 0.1
    data: Literal["pairs", "labels"] = "pairs"
    desirable_weight: float | None = None
    undesirable_weight: float | None = None

    revision: ClassVar[int] = 1
    dropout: ClassVar[bool] = False

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that training reads."""
        return ("prompt", "chosen", "rejected") if self.data == "pairs" else ("prompt", "completion", "label")

    def __post_init__(self) -> None:
        """Refuses settings with which nothing can be learnt."""
        super().__post_init__()
        for name in ("kl_coef", "desirable_weight", "undesirable_weight"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"kto.{name}: {value} must be above 0.")
        if self.batch_size < 2:
            raise UsageError("kto.batch_size: must be 2 or more: z0 is measured across prompts.")

    def train(  # noqa: PLR0915 - read from top to bottom
        self,
        rows: Sequence[Row],
        folder: Path,
        *,
        start: str,
        seed: int,
        probe: Callable[[Sequence[Row]], Mapping[str, float]] | None = None,
    ) -> Iterator[Row]:
        """Tunes ``start``; a log row an update, its values over the batch's texts before the update.

        ``kl_baseline`` is z0, ``reward_desirable`` and ``reward_undesirable`` are means of kl_coef d (a batch
        that has none of a kind has no such value). The last row has the accuracy on the split validation: how
        often a desirable text of a prompt has the higher reward, with a 95 % interval over prompts. ``probe``
        is not asked: nothing is sampled.
        """
        import torch

        if not rows:
            raise DataError("kto: there is no row to learn from.")
        device = resolve_device(self.device)
        with own_randomness(device, self.name, seed):
            lm = learner(start, self)
            scorer = scorer_of(lm)

        # 1. Texts that are desirable or not, those of a prompt together, and what each kind weighs.
        elements, validation = self._read(rows, lm)
        if len({element[0][0].prompt for element in elements}) < 2:
            raise DataError("kto: there is one prompt only, and z0 is measured across prompts; add others.")
        lengths = [scorer.n_tokens([text for text, _ in element]) for element in elements]
        weights = self._weights([is_good for element in elements for _, is_good in element])

        # 2. The reference, while the model still is the start: log p of every text that training will meet.
        most = min(self.max_tokens, lm.max_length + 1)
        strangers = {tuple(batch): mismatched(elements, batch, most) for batch in self.batches(lengths, seed)}
        all_of = functools.partial(
            all_logprobs,
            scorer,
            n_tokens=self.microbatch_tokens,
            context=functools.partial(self.autocast, device),
        )
        met = [text for element in elements for text, _ in element]
        held_out = [text for good, bad, _ in validation for text in (good, bad)]
        reference = all_of([*met, *held_out, *(text for texts in strangers.values() for text in texts)])

        # 3. Updates. z0 belongs to the whole batch: the first of its parts measures it for all.
        z0 = 0.0

        def part_loss(part: Sequence[int], batch: Sequence[int]) -> tuple[Any, Mapping[str, float]]:
            nonlocal z0
            if part[0] == batch[0]:
                z0 = baseline(all_of, strangers[tuple(batch)], reference)
            marked = [item for i in part for item in elements[i]]
            is_desirable = torch.tensor([is_good for _, is_good in marked], device=device)
            frozen = torch.tensor([reference[text] for text, _ in marked], device=device)
            log_ratios = scorer.logprobs([text for text, _ in marked]) - frozen
            losses = kto_losses(log_ratios, is_desirable, z0, self.kl_coef, weights)
            kinds = [is_good for i in batch for _, is_good in elements[i]]
            sums = {"kl_baseline": z0 * len(marked) / len(kinds)}
            for kind, name in ((True, "reward_desirable"), (False, "reward_undesirable")):
                if kind in kinds:
                    total = log_ratios.detach()[is_desirable == kind].sum().item()
                    sums[name] = self.kl_coef * total / kinds.count(kind)
            n_tokens = sum(len(text.completion) for text, _ in marked)
            return losses.sum() / len(kinds), {**sums, "texts": len(marked), "tokens": n_tokens}

        rows_of_log = yield from but_the_last(self.updates(lm, lengths, part_loss, seed=seed))

        # 4. How often the tuned model prefers what people preferred, on prompts that it was not trained on.
        notes = []
        if validation:
            tuned = all_of(held_out)
            rewards = {text: self.kl_coef * (tuned[text] - reference[text]) for text in tuned}
            margins = [rewards[good] - rewards[bad] for good, bad, _ in validation]
            measured = pair_accuracy(margins, [group for *_, group in validation])
            rows_of_log[-1] |= measured
            notes.append("validation: " + ", ".join(f"{name} {value}" for name, value in measured.items()))
        save_model(lm.model, lm.tokenizer, folder / "model", merge=self.merge)
        write_card(
            folder / "model", self, start=start, seed=seed, n_rows=len(rows), log=rows_of_log, notes=notes
        )
        yield rows_of_log[-1]

    def _read(
        self, rows: Sequence[Row], lm: LM
    ) -> tuple[list[list[Marked]], list[tuple[Example, Example, str]]]:
        """Elements to train on, and (desirable, undesirable, group) of the split validation."""
        if self.data == "pairs":
            pairs = read_pairs(rows, lm, who=self.name, chat=self.chat)
            self.check_lengths([pair.n_tokens for pair in pairs], lm)
            training, held_out = informative(pairs, who=self.name)
            return (
                [
                    [marked for pair in element for marked in ((pair.chosen, True), (pair.rejected, False))]
                    for element in by_group(training)
                ],
                [(pair.chosen, pair.rejected, pair.group) for pair in held_out],
            )
        labels = read_labels(rows, lm, who=self.name, chat=self.chat)
        self.check_lengths([len(label.text) for label in labels], lm)
        return (
            [
                [(label.text, label.is_desirable) for label in element]
                for element in by_group([label for label in labels if not label.is_validation])
            ],
            [
                (good.text, bad.text, good.group)
                for element in by_group([label for label in labels if label.is_validation])
                for good, bad in itertools.product(element, repeat=2)
                if good.is_desirable and not bad.is_desirable
            ],
        )

    def _weights(self, kinds: Sequence[bool]) -> tuple[float, float]:
        """What a desirable and an undesirable text weigh; DataError where there is none of a kind."""
        n_good = sum(kinds)
        n_bad = len(kinds) - n_good
        if not n_good or not n_bad:
            raise DataError(
                f"kto: {n_good} desirable and {n_bad} undesirable texts to learn from; it needs both kinds. "
                "From desirable texts alone, use sft."
            )
        low, high = _BALANCE
        if self.desirable_weight is None and self.undesirable_weight is None:
            ratio = n_good / n_bad
            return max(1.0, low / ratio), max(1.0, ratio / high)
        weights = (self.desirable_weight or 1.0, self.undesirable_weight or 1.0)
        ratio = weights[0] * n_good / (weights[1] * n_bad)
        if not low - 1e-9 <= ratio <= high + 1e-9:
            log.warning(
                "kto: desirable texts weigh %.2f times what undesirable ones do (%d and %d of them); 1 to "
                "1.33 is advised: leave both weights out, and they are set so",
                ratio, n_good, n_bad,
            )  # fmt: skip
        return weights


def kto_losses(
    log_ratios: torch.Tensor,
    is_desirable: torch.Tensor,
    z0: float,
    kl_coef: float,
    weights: tuple[float, float] = (1.0, 1.0),
) -> torch.Tensor:
    """The loss w (1 - s(+-kl_coef (d - z0))) of every text (n,), from its d (n,) and z0 in nats.

    A desirable text has + and the first of the ``weights``.
    """
    import torch

    sign = torch.where(is_desirable, 1.0, -1.0)
    weight = torch.where(is_desirable, *weights)
    return weight * (1 - torch.sigmoid(sign * kl_coef * (log_ratios - z0)))


def mismatched(
    elements: Sequence[Sequence[Marked]], batch: Sequence[int], n_tokens: int = 2**31
) -> list[Example]:
    """Prompts of a batch with completions of the next of its elements, in turn, that has other prompts.

    As many as the batch has texts. An element that has no such neighbour in the batch takes the next of all.
    Where a prompt and a strange completion have more than ``n_tokens``, the prompt loses its beginning.
    """
    found = []
    prompts = [element[0][0].prompt for element in elements]
    for place, i in enumerate(batch):
        near = itertools.chain(batch[place + 1 :], batch[:place])
        all_others = (j % len(elements) for j in range(i + 1, i + len(elements)))
        partner = elements[next(j for j in itertools.chain(near, all_others) if prompts[j] != prompts[i])]
        for k, (text, _) in enumerate(elements[i]):
            stranger, _ = partner[k % len(partner)]
            room = n_tokens - len(stranger.completion)
            found.append(Example(text.prompt[-room:], stranger.completion))
    return found


def baseline(
    logprobs: Callable[[Sequence[Example]], Mapping[Example, float]],
    texts: Sequence[Example],
    reference: Mapping[Example, float],
) -> float:
    """z0 in nats: the mean log-ratio of mismatched texts, at least 0, as a KL is."""
    policy = logprobs(texts)
    return max(0.0, sum(policy[text] - reference[text] for text in texts) / len(texts))
