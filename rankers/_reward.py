"""Reward models: sequence classifiers with one label, read at a text's last token.

    reward_model = load_reward("runs/.../model")
    rewards(reward_model, [[*prompt_ids, *completion_ids]], batch_size=16)

Whatever is padded, batched or shared between texts, a text's reward depends on its own tokens alone.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rankers._api import RankerError
from rankers._lm import LM, _stamp, no_progress_bars, resolve_device

if TYPE_CHECKING:
    import torch

log = logging.getLogger("rankers")

_REMEDY = (
    "Train one (strategy: reward), or take a causal model with a linear head `score` and one label that is "
    "read at the last token (AutoModelForSequenceClassification)."
)


@dataclass(frozen=True, eq=False)
class RewardModel(LM):
    """A trunk with a linear head of one output; ``mean`` is taken off, so that rewards are about 0."""

    mean: float = 0.0

    @property
    def trunk(self) -> Callable[..., Any]:
        """What makes hidden states, called like the model."""
        return self.model.base_model  # type: ignore[no-any-return]

    @property
    def head(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Hidden states (..., hidden) to rewards (..., 1), before ``mean`` is taken off."""
        return self.model.score  # type: ignore[no-any-return]

    @functools.cached_property
    def parts(self) -> tuple[Any, Any]:
        """Trunk and head."""
        return self.trunk, self.head


#: Reward models in use, shared between those that name the same one; not kept alive for their own sake.
_LOADED: weakref.WeakValueDictionary[tuple[Any, ...], RewardModel] = weakref.WeakValueDictionary()


def load_reward(
    model: str, *, device: str = "auto", dtype: str = "float32", who: str = "this ranker"
) -> RewardModel:
    """Loads a reward model and its tokenizer from a folder or by hub id, in evaluation mode.

    Raises RankerError where there is none: no model, a causal model without a trained head, several labels,
    or a classifier that is not read by a linear head at the last token.
    """
    if not model:
        raise RankerError(f"{who} needs model=<folder or hub id>")
    device = resolve_device(device)
    key = (model, _stamp(Path(model)), device, dtype)
    if (found := _LOADED.get(key)) is None:
        found = _LOADED[key] = _loaded(model, device, dtype, who)
    return found


def _loaded(model: str, device: str, dtype: str, who: str) -> RewardModel:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        with quiet_loading():
            loaded, info = AutoModelForSequenceClassification.from_pretrained(
                model, dtype=getattr(torch, dtype), output_loading_info=True
            )
            tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise RankerError(
            f"{who}: reward model '{model}' cannot be loaded, neither as a folder nor by hub id: {reason}"
        ) from error
    if info["missing_keys"]:
        missing = ", ".join(sorted(info["missing_keys"])[:3])
        raise RankerError(f"{who}: '{model}' is no reward model: it has no weights for {missing}. {_REMEDY}")
    if tokenizer.eos_token_id is None:
        raise RankerError(f"{who}: reward model '{model}': its tokenizer has no end token (eos_token).")
    mean = float(getattr(loaded.config, "reward_mean", 0.0))
    found = RewardModel(loaded.to(device).eval(), tokenizer, device, mean)
    if not is_read_at_the_last_token(found):
        raise RankerError(f"{who}: '{model}' is a classifier of another kind. {_REMEDY}")
    return found


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """No bars, and no report on a head that is new: what is missing is looked at by the caller."""
    from transformers.utils import logging

    theirs: Any = logging
    level = theirs.get_verbosity()
    theirs.set_verbosity_error()
    try:
        with no_progress_bars():
            yield
    finally:
        theirs.set_verbosity(level)


def is_read_at_the_last_token(found: RewardModel) -> bool:
    """Found out by trying: one text without padding, by the classifier and by our own reading of it."""
    import torch

    head = getattr(found.model, "score", None)
    if not callable(head) or found.model.config.num_labels != 1:
        return False
    with torch.inference_mode():
        # Padding would end the text.
        ids = [i for i in range(5) if i != found.model.config.get_text_config().pad_token_id][:4]
        probe = torch.tensor([ids], device=found.device)
        expected = found.model(input_ids=probe, use_cache=False).logits[0]
        state = found.trunk(input_ids=probe, use_cache=False)[0][0, -1]
        return torch.allclose(head(state), expected, atol=1e-2, rtol=1e-2)


def rewards(
    reward_model: RewardModel,
    sequences: Sequence[Sequence[int]],
    batch_size: int,
    *,
    groups: Sequence[int] | None = None,
) -> list[float]:
    """The reward of every text in token ids, read at its last one; ``mean`` is taken off.

    ``groups`` numbers texts that begin alike (the candidates of one query), so that what they share is
    computed once; neither it nor ``batch_size`` changes results beyond float error.
    """
    import torch

    if not sequences:
        return []
    with torch.inference_mode():
        states = last_states(reward_model, sequences, batch_size, groups=groups)
        return [float(r) - reward_model.mean for r in reward_model.head(states).float().squeeze(-1).tolist()]


def last_states(
    reward_model: LM,
    sequences: Sequence[Sequence[int]],
    batch_size: int,
    *,
    groups: Sequence[int] | None = None,
) -> torch.Tensor:
    """Hidden states at the last token of every text, (n, hidden), n at least 1; without gradients."""
    import torch

    from rankers._logprobs import Sequence_, _batches, _blocks, _can_share, _states

    # As if a token behind each text were predicted: its state is that of the text's last token.
    asked = [
        Sequence_(tuple(ids), (0,), groups[i] if groups is not None else i) for i, ids in enumerate(sequences)
    ]
    found: list[torch.Tensor | None] = [None] * len(asked)
    blocks = _blocks(asked, batch_size, share=_can_share(reward_model.model))
    for batch in _batches(blocks, batch_size):
        states = _states(reward_model, reward_model.parts[0], batch)
        rows = [(block.shared, row) for block in batch for row in block.rows]
        for r, (shared, row) in enumerate(rows):
            for i, _ in row.wanted:
                found[i] = states[r, row.first - shared]
    return torch.stack([state for state in found if state is not None])
