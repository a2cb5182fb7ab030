"""Reward models from comparisons: a scalar head on the trunk of a causal model, read at the end token."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ilf.errors import ComponentError, DataError, UsageError
from ilf.protocols import Row
from ilf.strategies._classifier import fresh_classifier, rewards_of, save_adapter, save_head, with_adapter
from ilf.strategies._comparisons import Comparison, Comparisons, of_pairs, of_rankings
from ilf.strategies._encode import Example, encode
from ilf.strategies._end_states import end_states_of
from ilf.strategies._fingerprint import fingerprint
from ilf.strategies._imitation import but_the_last
from ilf.strategies._models import own_randomness, save_model, write_card
from ilf.strategies._reward_losses import bradley_terry_loss, plackett_luce_loss
from ilf.strategies._reward_report import report
from ilf.strategies._tuning import Tuning
from rankers._lm import resolve_device
from rankers._reward import RewardModel

if TYPE_CHECKING:
    import torch

#: Prompts trained on whose texts give the mean reward, and the accuracy in training (Ziegler et al.: 256).
_MEASURED = 256


@dataclass(frozen=True)
class Reward(Tuning):
    """Bradley-Terry reward models: -log sigmoid(r(chosen) - r(rejected)) (Ouyang et al. 2022, eq. 1).

    All pairs of a prompt are one element of a batch, weighted by one over their number (ibid., section 3.5),
    so ``batch_size`` counts prompts, and a text that is in several pairs is run once: four forwards for a
    ranking of four, not twelve. ``loss="plackett_luce"`` reads whole rankings (``pair.take=groups``) and
    maximises the probability of choosing their texts one by one, best first.

    Differences from the paper, and switches. (1) Ties are kept: target one half (``ties="half"``),
    Davidson's model with a trained tie parameter (1970), or left out; tied places of a whole ranking are
    read by Efron's method. (2) ``margin`` times the row's margin is taken off the gap (Touvron et al. 2023,
    eq. 2). (3) ``label_smoothing``: the share of pairs that are taken to be the wrong way round. (4) The head
    has no bias (rewards are shifted anyway) and starts from N(0, 1 / (hidden + 1)) (Huang et al. 2024), or
    from 0. (5) ``normalise``: the mean reward is 0 on texts that were compared, on demonstrations
    (``completion``, as in the paper), or left; ``unit_variance`` scales it to 1 there too (Ziegler et al.
    2019). (6) No dropout, and Adam's epsilon 1e-5 (Huang et al.). (7) Completions of a prompt share one
    reading of it where the architecture allows. LoRA trains adapters on the trunk and the whole head, and is
    saved merged, with the adapter beside it in ``adapter/``.
    """

    loss: Literal["pairwise", "plackett_luce"] = "pairwise"
    ties: Literal["half", "davidson", "drop"] = "half"
    margin: float = 0.0
    label_smoothing: float = 0.0
    head: Literal["normal", "zero"] = "normal"
    normalise: Literal["outputs", "completion", "none"] = "outputs"
    unit_variance: bool = False

    dropout: ClassVar[bool] = False
    adam_epsilon: ClassVar[float] = 1e-5
    revision: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns read; pairs may bring ``margin is_tied group split`` too, rankings ``group split``."""
        compared = ("chosen", "rejected") if self.loss == "pairwise" else ("outputs", "ranking")
        return ("prompt", *compared, *(("completion",) if self.normalise == "completion" else ()))

    def __post_init__(self) -> None:
        """Refuses settings with which nothing can be learnt, and those that would have no effect."""
        super().__post_init__()
        if not self.merge:
            raise UsageError(
                "reward.merge: false would save a classifier that cannot be read by itself; leave it true: "
                "the adapter is saved beside the merged model, in model/adapter."
            )
        if not (0.0 <= self.label_smoothing < 0.5 and self.margin >= 0.0):
            raise UsageError(
                "reward: label_smoothing must be in [0, 0.5), margin 0 or more; they are "
                f"{self.label_smoothing}, {self.margin}."
            )
        if self.loss == "plackett_luce" and (self.margin or self.label_smoothing or self.ties != "half"):
            raise UsageError(
                "reward: margin, label_smoothing and ties are settings of pairs; leave them out with "
                "loss=plackett_luce, which reads whole rankings, ties by Efron's method."
            )
        if self.unit_variance and self.normalise == "none":
            raise UsageError("reward.unit_variance: needs normalise=outputs or completion.")

    def train(  # noqa: PLR0915 - reads from top to bottom
        self,
        rows: Sequence[Row],
        folder: Path,
        *,
        start: str,
        seed: int,
        probe: Callable[[Sequence[Row]], Mapping[str, float]] | None = None,
    ) -> Iterator[Row]:
        """Trains on the rows' comparisons; a log row an update, the loss in nats a pair (or a ranking).

        The last row says how well rewards order texts: ``training`` and, where rows have the split
        ``validation``, ``validation`` (else None). ``probe`` is not asked: nothing is sampled.
        """
        import torch

        if not rows:
            raise DataError("reward: there is no row to learn from.")
        device = resolve_device(self.device)
        with own_randomness(device, self.name, seed):
            reward_model = fresh_classifier(start, device, self.head)
            base = fingerprint(reward_model.model)
            end_states = end_states_of(reward_model, reward_model.trunk)
            found = self._read(rows, reward_model)
            adapter = None if self.lora_rank is None else with_adapter(reward_model.model, self)
        training = found.training
        log_nu = _tie_parameter(training, device) if self.ties == "davidson" else None

        def part_loss(part: Sequence[int], batch: Sequence[int]) -> tuple[Any, Mapping[str, float]]:
            ones = [training[i] for i in part]
            values = reward_model.head(end_states([one.texts for one in ones])).float().squeeze(-1)
            per_prompt = self._losses(values, ones, log_nu)
            gaps = values.detach()[torch.tensor(_ordered(ones), device=values.device)]  # (pairs, 2)
            n_pairs = sum(len(training[i].ordered) for i in batch)
            right = (gaps[:, 0] > gaps[:, 1]).sum().item() + 0.5 * (gaps[:, 0] == gaps[:, 1]).sum().item()
            measured = {
                "pairs": len(gaps),
                "accuracy": right / n_pairs,
                "reward_gap": (gaps[:, 0] - gaps[:, 1]).sum().item() / n_pairs,
            }
            return per_prompt.sum() / len(batch), measured

        lengths = [end_states.n_tokens(one.texts) for one in training]
        trained = [p for p in reward_model.model.parameters() if p.requires_grad]
        parameters = trained if log_nu is None else [*trained, log_nu]
        updates = self.updates(reward_model, lengths, part_loss, seed=seed, parameters=parameters)
        log = yield from but_the_last(updates)
        reward_model.model.eval()
        if adapter is not None:
            save_adapter(adapter, folder / "model" / "adapter")
            adapter.merge_and_unload()
        last, mean = self._measured(reward_model, found, rows, seed)
        if log_nu is not None:
            last["tie_parameter"] = log_nu.exp().item()
        log[-1].update(last)
        reward_model.model.config.reward_mean = mean
        reward_model.model.config.reward_chat = self.chat
        if adapter is not None:
            save_head(reward_model, folder / "model" / "adapter", base, mean)
        save_model(reward_model.model, reward_model.tokenizer, folder / "model", merge=True)
        write_card(
            folder / "model", self, start=start, seed=seed, n_rows=len(rows), log=log, notes=_notes(last)
        )
        yield log[-1]

    def _read(self, rows: Sequence[Row], lm: RewardModel) -> Comparisons:
        most = min(self.max_tokens, lm.max_length)
        if self.loss == "plackett_luce":
            return of_rankings(rows, lm, who=self.name, chat=self.chat, most_tokens=most)
        keep = self.ties != "drop"
        return of_pairs(rows, lm, who=self.name, chat=self.chat, ties=keep, most_tokens=most)

    def _losses(
        self, values: torch.Tensor, ones: Sequence[Comparison], log_nu: torch.Tensor | None
    ) -> torch.Tensor:
        """Rewards of all texts of some prompts to the losses of the prompts, (n,)."""
        import torch

        sizes = [len(one.texts) for one in ones]
        if self.loss == "plackett_luce":
            pad = torch.nn.utils.rnn.pad_sequence
            ranked = pad(list(torch.split(values, sizes)), batch_first=True)
            levels = pad([torch.tensor(one.levels) for one in ones], batch_first=True, padding_value=-1)
            return plackett_luce_loss(ranked, levels.to(values.device))
        first = [sum(sizes[:i]) for i in range(len(sizes))]
        better, worse, margins, is_tied, owner, weights = zip(
            *(
                (first[n] + i, first[n] + j, margin, tied, n, 1.0 / len(one.pairs))
                for n, one in enumerate(ones)
                for i, j, margin, tied in one.pairs
            ),
            strict=True,
        )
        gaps = values[torch.tensor(better)] - values[torch.tensor(worse)]
        losses = bradley_terry_loss(
            gaps,
            torch.tensor(is_tied, device=values.device),
            self.margin * torch.tensor(margins, device=values.device),
            label_smoothing=self.label_smoothing,
            log_nu=log_nu,
        )
        weighted = losses * torch.tensor(weights, device=values.device)
        return torch.zeros(len(ones), device=values.device).index_add(
            0, torch.tensor(owner, device=values.device), weighted
        )

    def _measured(
        self, reward_model: RewardModel, found: Comparisons, rows: Sequence[Row], seed: int
    ) -> tuple[Row, float]:
        """The last log row's part about rewards, and the mean to take off; scales the head where asked."""
        import torch

        rng = random.Random(f"{self.name} measured {seed}")
        sample = rng.sample(found.training, min(_MEASURED, len(found.training)))
        values = rewards_of(reward_model, [one.texts for one in sample])
        zero = [value for of_one in values for value in of_one]
        if self.normalise == "completion":
            texts = self._demonstrations(rows, reward_model)
            zero = rewards_of(reward_model, [rng.sample(texts, min(4 * _MEASURED, len(texts)))])[0]
        mean = sum(zero) / len(zero)
        spread = math.sqrt(sum((value - mean) ** 2 for value in zero) / len(zero))
        scale = 1.0
        if self.unit_variance:
            if spread < 1e-6:
                raise ComponentError(
                    "reward.unit_variance: all texts have the same reward, nothing was learnt. Train longer, "
                    "raise learning_rate, or set unit_variance=false."
                )
            scale = 1.0 / spread
            with torch.no_grad():
                reward_model.model.score.weight.mul_(scale)
        held_out = rewards_of(reward_model, [one.texts for one in found.validation])
        trained_on = [[value * scale for value in of_one] for of_one in values]
        told: Row = {
            "reward_mean": mean,
            "reward_std": spread,
            "training": report(sample, trained_on),
            "validation": report(found.validation, held_out, n_ties=found.n_validation_ties),
        }
        return told, 0.0 if self.normalise == "none" else mean * scale

    def _demonstrations(self, rows: Sequence[Row], lm: RewardModel) -> list[Example]:
        training = [row for row in rows if row.get("split") != "validation"]
        found = [encode(row["prompt"], row["completion"], lm, chat=self.chat) for row in training]
        return list(dict.fromkeys(found))


def _ordered(ones: Sequence[Comparison]) -> list[tuple[int, int]]:
    """(better, worse) among the texts of all prompts together."""
    found: list[tuple[int, int]] = []
    first = 0
    for one in ones:
        found += [(first + i, first + j) for i, j in one.ordered]
        first += len(one.texts)
    return found


def _tie_parameter(ones: Sequence[Comparison], device: str) -> torch.Tensor:
    """Davidson's log nu to start from: the share of ties that was observed, for texts of equal reward."""
    import torch

    n_pairs = sum(len(one.pairs) for one in ones)
    n_ties = n_pairs - sum(len(one.ordered) for one in ones)
    # One half of a tie more, so that there may be none.
    share = (n_ties + 0.5) / (n_pairs + 1.0)
    return torch.tensor(math.log(2 * share / (1 - share)), device=device, requires_grad=True)


def _notes(told: Row) -> list[str]:
    """Lines of the model card on how well the rewards order texts."""
    notes = []
    for name in ("training", "validation"):
        found = told[name]
        if found is None:
            notes.append(f"{name}: no pair was measured, so nothing is known about prompts like these")
            continue
        interval = (
            ""
            if found["accuracy_low"] is None
            else (
                f" (95 % interval over prompts {found['accuracy_low']:.3f} to {found['accuracy_high']:.3f})"
            )
        )
        slope = found["calibration_slope"]
        notes.append(
            f"{name}: accuracy {found['accuracy']:.3f}{interval} on {found['pairs']} pairs of "
            f"{found['prompts']} prompts; the longer text alone {found['length_accuracy']:.3f}; calibration "
            f"error {found['calibration_error']:.3f}, slope {'unknown' if slope is None else f'{slope:.2f}'}"
        )
    return notes
