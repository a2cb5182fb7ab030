"""Direct preference optimisation: a policy from pairs, without a reward model and without sampling."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ilf.errors import DataError, UsageError
from ilf.protocols import Row
from ilf.strategies._encode import Example
from ilf.strategies._imitation import but_the_last
from ilf.strategies._models import learner, own_randomness, save_model, write_card
from ilf.strategies._pairs import Pair, by_group, informative, pair_accuracy, read_pairs, texts_of
from ilf.strategies._shared_prompt import all_logprobs, scorer_of
from ilf.strategies._tuning import Tuning
from rankers._lm import resolve_device

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class DPO(Tuning):
    """Raises log p of chosen over rejected against a reference: -log s(kl_coef h) (Rafailov 2023, eq. 7).

    s is the sigmoid and h the difference, chosen minus rejected, of the log-ratios log p(completion) -
    log p_reference(completion), summed over its tokens and end token; the reference is the start model,
    ``kl_coef`` the paper's beta. ``loss: robust`` is unbiased when a share ``label_smoothing`` of the pairs
    is swapped by mistake (Chowdhury 2024, arXiv 2403.00409); with ``dpo`` it gives the conservative form.
    ``ipo`` (Azar 2023, eq. 17) takes log-ratios per token. ``nll_coef`` weighs -log p(chosen) per token
    beside it (Pang 2024, arXiv 2404.19733), for the log p of chosen texts falls too.

    Differences from the paper: (1) All pairs of a prompt are one element of a batch (Ouyang 2022, section
    3.5): ``batch_size`` counts prompts, and a text that is in several pairs is run once. (2) The reference's
    log-probabilities are computed once, before training: no second model is held. (3) AdamW (RMSprop there),
    linear warm-up and a cosine. (4) Ties and pairs of equal texts are left out and counted. (5) Dropout is
    off. The rate 1e-6 is the paper's, for all weights; adapters want 5e-6 to 5e-5, the nano world's model
    3e-4. Needs ``prompt``, ``chosen``, ``rejected``; reads ``group``, ``is_tied``, ``split`` if there.
    """

    learning_rate: float = 1e-6
    kl_coef: float = 0.1
    loss: Literal["dpo", "ipo", "robust"] = "dpo"
    label_smoothing: float = 0.0
    nll_coef: float = 0.0

    needs: ClassVar[tuple[str, ...]] = ("prompt", "chosen", "rejected")
    revision: ClassVar[int] = 1
    dropout: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuses settings with which nothing can be learnt."""
        super().__post_init__()
        if not self.kl_coef > 0:
            raise UsageError(f"dpo.kl_coef: {self.kl_coef} must be above 0.")
        if not self.nll_coef >= 0:
            raise UsageError(f"dpo.nll_coef: {self.nll_coef} must be 0 or more.")
        if not 0 <= self.label_smoothing < 0.5:
            raise UsageError(
                f"dpo.label_smoothing: {self.label_smoothing} must be in [0, 0.5): the share of pairs "
                "that are swapped by mistake."
            )
        if self.loss == "ipo" and self.label_smoothing:
            raise UsageError("dpo.label_smoothing: loss=ipo has none; use loss=dpo or loss=robust.")

    def train(  # noqa: PLR0915 - read from top to bottom
        self,
        rows: Sequence[Row],
        folder: Path,
        *,
        start: str,
        seed: int,
        probe: Callable[[Sequence[Row]], Mapping[str, float]] | None = None,
    ) -> Iterator[Row]:
        """Tunes ``start``; a log row an update, its means over the batch's pairs before the update.

        ``reward_margin`` is kl_coef h in nats, ``reward_accuracy`` the share of pairs where it is above 0 (at
        0: a half), ``logprob_chosen`` and ``logprob_rejected`` are summed over tokens. The last row has the
        accuracy on the pairs of the split validation, with a 95 % interval over prompts. ``probe`` is not
        asked: nothing is sampled.
        """
        import torch

        if not rows:
            raise DataError("dpo: there is no row to learn from.")
        device = resolve_device(self.device)
        with own_randomness(device, self.name, seed):
            lm = learner(start, self)
            scorer = scorer_of(lm)

        # 1. Pairs, and the elements of batches: the pairs of a prompt.
        pairs = read_pairs(rows, lm, who=self.name, chat=self.chat)
        self.check_lengths([pair.n_tokens for pair in pairs], lm)
        training, validation = informative(pairs, who=self.name)
        elements = by_group(training)
        lengths = [scorer.n_tokens(texts_of(element)) for element in elements]

        # 2. The reference, while the model still is the start: log p of every distinct text, once.
        def all_of(pairs: Sequence[Pair]) -> Mapping[Example, float]:
            return all_logprobs(
                scorer,
                texts_of(pairs),
                n_tokens=self.microbatch_tokens,
                context=lambda: self.autocast(device),
            )

        reference = all_of([*training, *validation])

        # 3. Updates.
        def part_loss(part: Sequence[int], batch: Sequence[int]) -> tuple[Any, Mapping[str, float]]:
            pairs = [pair for i in part for pair in elements[i]]
            n_pairs = sum(len(elements[i]) for i in batch)
            texts = texts_of(pairs)
            logprobs = scorer.logprobs(texts).view(-1, 2)  # (pairs, chosen and rejected)
            counts = torch.tensor([len(text.completion) for text in texts], device=device).view(-1, 2)
            frozen = torch.tensor([reference[text] for text in texts], device=device).view(-1, 2)
            ratios = logprobs - frozen
            h = _difference(ratios / counts if self.loss == "ipo" else ratios)
            losses = preference_losses(h, self.kl_coef, loss=self.loss, label_smoothing=self.label_smoothing)
            if self.nll_coef:
                losses = losses - self.nll_coef * logprobs[:, 0] / counts[:, 0]
            margins = _difference(ratios.detach())
            sums = {
                "reward_margin": self.kl_coef * margins.sum().item(),
                "reward_accuracy": (0.5 * (1 + margins.sign())).sum().item(),
                "logprob_chosen": logprobs[:, 0].sum().item(),
                "logprob_rejected": logprobs[:, 1].sum().item(),
            }
            means = {name: value / n_pairs for name, value in sums.items()}
            return losses.sum() / n_pairs, {**means, "pairs": len(pairs), "tokens": int(counts.sum())}

        log = yield from but_the_last(self.updates(lm, lengths, part_loss, seed=seed))

        # 4. How often the tuned model prefers what people preferred, on prompts that it was not trained on.
        notes = []
        if validation:
            tuned = all_of(validation)
            rewards = {text: self.kl_coef * (tuned[text] - reference[text]) for text in tuned}
            margins = [rewards[pair.chosen] - rewards[pair.rejected] for pair in validation]
            measured = pair_accuracy(margins, [pair.group for pair in validation])
            log[-1] |= measured
            notes.append("validation: " + ", ".join(f"{name} {value}" for name, value in measured.items()))
        save_model(lm.model, lm.tokenizer, folder / "model", merge=self.merge)
        write_card(folder / "model", self, start=start, seed=seed, n_rows=len(rows), log=log, notes=notes)
        yield log[-1]


def preference_losses(
    h: torch.Tensor,
    kl_coef: float,
    *,
    loss: Literal["dpo", "ipo", "robust"] = "dpo",
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """The loss of every pair (n,) from its h (n,), in nats; for ``ipo`` h is of log-ratios per token.

    dpo: -(1 - e) log s(kl_coef h) - e log s(-kl_coef h), s the sigmoid and e ``label_smoothing``; robust: the
    same with + e, divided by 1 - 2 e; ipo: (h - 1 / (2 kl_coef))^2.
    """
    from torch.nn.functional import logsigmoid

    if loss == "ipo":
        return (h - 1 / (2 * kl_coef)) ** 2
    right, swapped = -logsigmoid(kl_coef * h), -logsigmoid(-kl_coef * h)
    if loss == "robust":
        return ((1 - label_smoothing) * right - label_smoothing * swapped) / (1 - 2 * label_smoothing)
    return (1 - label_smoothing) * right + label_smoothing * swapped


def _difference(values: torch.Tensor) -> torch.Tensor:
    """Chosen minus rejected: (n, 2) to (n,)."""
    return values[:, 0] - values[:, 1]
