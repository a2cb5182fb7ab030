"""A reward model from critiques: each is read as a number, and no ranking is asked for."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ilf._forms import form_template
from ilf.errors import DataError, UsageError
from ilf.protocols import Row
from ilf.strategies._classifier import fresh_classifier, rewards_of, save_adapter, save_head, with_adapter
from ilf.strategies._comparisons import check_text_lengths
from ilf.strategies._critique_reader import (
    PRAISE,
    Told,
    checked,
    faults_named,
    praise_expected,
    rating_of,
    told,
)
from ilf.strategies._end_states import end_states_of
from ilf.strategies._fingerprint import fingerprint
from ilf.strategies._imitation import but_the_last
from ilf.strategies._models import own_randomness, save_model, write_card
from ilf.strategies._number_report import number_report
from ilf.strategies._reward_losses import bradley_terry_loss
from ilf.strategies._tuning import Tuning
from rankers._lm import resolve_device
from rankers._reward import RewardModel

if TYPE_CHECKING:
    import torch

#: Texts trained on whose rewards give the mean reward, and the report on training.
_MEASURED = 1024


@dataclass(frozen=True)
class CritiqueReward(Tuning):
    """A scalar head that gives outputs the number read from their critique; used like ``reward``'s model.

    Ours; there is no paper behind it. It answers what critiques are worth as rankings would be used: for the
    ranker ``reward``, best of n, PPO, RLOO. ``read``:

    1. ``clauses``: minus the number of clauses (ends of sentences, semicolons, commas before and, also, but)
       that match no pattern of ``praise``, each taken for one fault named. Crude, and it hears no weight: an
       insult counts as much as a missing price.
    2. ``ratings``: the number in ``column``, or in a mapping the one called ``rating`` (none: their mean).
    3. ``praise``: log p(``praised`` | prompt, output) under the critic ``model`` (strategy ``cft``, or the
       start itself), asked in this ``form``: critiques are then read where the critic learnt from them.

    ``loss``: ``squared``, (reward - number)^2 with numbers brought to mean 0 and standard deviation 1 over
    what is trained on; or ``bradley_terry``, -log sigmoid(r_i - r_j) over all pairs of a batch of which i has
    the higher number, a mean over the pairs, prompts mixed. The share ``validation`` of the prompts is held
    out (or rows whose ``split`` is validation) and measured. Head, end token, mean reward 0 over training
    texts, no dropout, Adam's epsilon and what is saved are as in ``reward``.
    """

    read: Literal["clauses", "ratings", "praise"] = "clauses"
    praise: tuple[str, ...] = PRAISE
    """Patterns, in lower case with ``*`` for anything, of clauses that name no fault."""
    column: str = "ratings"
    rating: str = ""
    model: str = ""
    """The critic of ``read: praise``: a folder or a hub id."""
    form: str = "instruct"
    """The prompt form in which the critic is asked."""
    praised: str = "Nothing to change."
    """What the critic would say about a faultless output."""
    loss: Literal["squared", "bradley_terry"] = "squared"
    head: Literal["normal", "zero"] = "normal"
    validation: float = 0.0

    dropout: ClassVar[bool] = False
    adam_epsilon: ClassVar[float] = 1e-5
    revision: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that are read; ``group`` and ``split`` too where rows bring them."""
        return ("prompt", "output", *self._said)

    @property
    def _said(self) -> tuple[str, ...]:
        return {"clauses": ("critique",), "ratings": (self.column,), "praise": ()}[self.read]

    def __post_init__(self) -> None:
        """Refuses settings with which nothing can be learnt."""
        super().__post_init__()
        form_template(self.form, "critic", self.name)
        if not self.merge:
            raise UsageError(
                "critique_reward.merge: false would save a classifier that cannot be read by itself; leave "
                "it true: the adapter is saved beside the merged model, in model/adapter."
            )
        if not 0.0 <= self.validation < 1.0:
            raise UsageError(f"critique_reward.validation: {self.validation} is no share in [0, 1).")
        if self.loss == "bradley_terry" and self.batch_size < 2:
            raise UsageError(
                "critique_reward.batch_size: bradley_terry compares the rows of a batch: 2 or more."
            )
        if self.read == "praise" and not (self.model and self.praised.strip()):
            raise UsageError(
                "critique_reward: read=praise needs model=<a model that can criticise> and the words of "
                "praise (praised)."
            )

    def train(
        self,
        rows: Sequence[Row],
        folder: Path,
        *,
        start: str,
        seed: int,
        probe: Callable[[Sequence[Row]], Mapping[str, float]] | None = None,
    ) -> Iterator[Row]:
        """Trains on the rows' outputs; a log row an update, its loss a mean over rows (or nats a pair).

        The last row says how numbers were read (``numbers_mean``, ``numbers_std``, ``numbers_highest``: the
        share of rows with the highest number) and how well rewards order texts as the numbers do:
        ``training`` and, where prompts are held out, ``validation`` (else None). ``probe`` is not asked.
        """
        import torch

        if not rows:
            raise DataError("critique_reward: there is no row to learn from.")
        device = resolve_device(self.device)
        with own_randomness(device, self.name, seed):
            reward_model = fresh_classifier(start, device, self.head, self.name)
            base = fingerprint(reward_model.model)
            end_states = end_states_of(reward_model, reward_model.trunk)
            training, validation = self._read(rows, reward_model, seed)
            adapter = None if self.lora_rank is None else with_adapter(reward_model.model, self)
        mean, spread = _moments([one.number for one in training])
        targets = torch.tensor([(one.number - mean) / spread for one in training], device=device)

        def rewards(part: Sequence[int]) -> torch.Tensor:
            states = end_states([[training[i].text] for i in part])
            return reward_model.head(states).float().squeeze(-1)

        def part_loss(part: Sequence[int], batch: Sequence[int]) -> tuple[Any, Mapping[str, float]]:
            values = rewards(part)
            if self.loss == "squared":
                losses = (values - targets[torch.tensor(part)]) ** 2
                return losses.sum() / len(batch), {"texts": len(part)}
            return self._compared(values, part, batch, rewards, targets)

        lengths = [len(one.text) for one in training]
        updates = self.updates(reward_model, lengths, part_loss, seed=seed)
        log = yield from but_the_last(updates)
        reward_model.model.eval()
        if adapter is not None:
            save_adapter(adapter, folder / "model" / "adapter")
            adapter.merge_and_unload()
        last = _measured(reward_model, training, validation, random.Random(f"{self.name} measured {seed}"))
        log[-1] |= {**_numbers(training), **last}
        reward_model.model.config.reward_mean = last["reward_mean"]
        reward_model.model.config.reward_chat = self.chat
        if adapter is not None:
            save_head(reward_model, folder / "model" / "adapter", base, last["reward_mean"])
        save_model(reward_model.model, reward_model.tokenizer, folder / "model", merge=True)
        notes = [_note(name, last[name]) for name in ("training", "validation")]
        # Where the critic lies is nobody's business.
        named = Path(self.model).name if Path(self.model).exists() else self.model
        card = replace(self, model=named)
        write_card(folder / "model", card, start=start, seed=seed, n_rows=len(rows), log=log, notes=notes)
        yield log[-1]

    def _read(self, rows: Sequence[Row], lm: RewardModel, seed: int) -> tuple[list[Told], list[Told]]:
        """What is trained on and what is held out; DataError where all numbers are equal."""
        checked(rows, self.needs, self.name)
        found = told(
            rows, self._numbers(rows), lm, chat=self.chat, share=self.validation, key=f"{self.name} {seed}"
        )
        most = min(self.max_tokens, lm.max_length)
        check_text_lengths([(i, len(one.text)) for i, one in enumerate(found, start=1)], most, self.name)
        training = [one for one in found if not one.is_validation]
        if len({one.number for one in training}) < 2:
            raise DataError(
                f"critique_reward: all {len(training)} rows to train on are read as the same number, so "
                "nothing says which output is better. Criticise more outputs, or read them otherwise (read)."
            )
        return training, [one for one in found if one.is_validation]

    def _numbers(self, rows: Sequence[Row]) -> Sequence[float | str]:
        """The number of every row, or why it has none."""
        if self.read == "clauses":
            return [-float(faults_named(row["critique"], self.praise)) for row in rows]
        if self.read == "ratings":
            return [rating_of(row, self.column, self.rating) for row in rows]
        template = form_template(self.form, "critic", self.name)
        return praise_expected(
            rows, template, self.praised, model=self.model, device=self.device, chat=self.chat, who=self.name
        )

    def _compared(
        self,
        values: torch.Tensor,
        part: Sequence[int],
        batch: Sequence[int],
        rewards: Callable[[Sequence[int]], torch.Tensor],
        targets: torch.Tensor,
    ) -> tuple[Any, Mapping[str, float]]:
        """Bradley-Terry over the pairs of a batch, of which ``part`` is in memory with its graph.

        The rewards of the others are constants here, as theirs are where they are the part: the gradients of
        the parts add up to that of the whole batch, and the losses by their shares to its loss.
        """
        import torch

        here = set(part)
        others = [i for i in batch if i not in here]
        if others:
            with torch.no_grad():
                constants = rewards(others)
            values = torch.cat([values, constants])
        numbers = targets[torch.tensor([*part, *others])]
        better, worse = torch.nonzero(numbers[:, None] > numbers[None, :], as_tuple=True)
        gaps = values[better] - values[worse]
        zeros = torch.zeros_like(gaps)
        losses = bradley_terry_loss(gaps, zeros.bool(), zeros)
        n_pairs = max(1, len(gaps))
        loss, share = losses.sum() / n_pairs, len(part) / len(batch)
        right = (gaps > 0).sum().item() + 0.5 * (gaps == 0).sum().item()
        measured = {"texts": len(part), "pairs": len(gaps) * share, "accuracy": right / n_pairs * share}
        return loss - (1.0 - share) * loss.detach(), measured


def _moments(numbers: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (over n)."""
    return statistics.fmean(numbers), statistics.pstdev(numbers)


def _numbers(training: Sequence[Told]) -> Row:
    numbers = [one.number for one in training]
    mean, spread = _moments(numbers)
    highest = numbers.count(max(numbers)) / len(numbers)
    return {"numbers_mean": mean, "numbers_std": spread, "numbers_highest": highest}


def _measured(
    reward_model: RewardModel, training: Sequence[Told], validation: Sequence[Told], rng: random.Random
) -> Row:
    """The last log row's part about rewards."""
    sample = rng.sample(list(training), min(_MEASURED, len(training)))
    found: Row = {}
    for name, some in (("training", sample), ("validation", validation)):
        values = [value for [value] in rewards_of(reward_model, [[one.text] for one in some])]
        if name == "training":
            found["reward_mean"], found["reward_std"] = _moments(values)
        lengths = [len(one.text.completion) for one in some]
        numbers, groups = [one.number for one in some], [one.group for one in some]
        found[name] = number_report(values, numbers, lengths, groups) if some else None
    return found


def _note(name: str, found: Mapping[str, Any] | None) -> str:
    """A line of the model card on how well rewards order texts."""
    if found is None:
        return f"{name}: no pair was measured, so nothing is known about prompts like these"
    interval = (
        ""
        if found["accuracy_low"] is None
        else f" (95 % interval over prompts {found['accuracy_low']:.3f} to {found['accuracy_high']:.3f})"
    )
    return (
        f"{name}: {found['accuracy']:.3f}{interval} of {found['pairs']} pairs of {found['rows']} texts to "
        f"{found['prompts']} prompts ordered as the critiques were read; the shorter text alone "
        f"{found['length_accuracy']:.3f}"
    )
