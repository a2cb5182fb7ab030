"""Sequence classifiers of transformers: loading, the label that is meant, probabilities in batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ilf.errors import ComponentError, nearest


@dataclass(frozen=True, eq=False)
class Loaded:
    """A classifier in evaluation mode with its tokenizer; ``room`` is the most tokens that it reads."""

    name: str
    model: Any
    tokenizer: Any
    device: str
    room: int


@dataclass(frozen=True)
class Classified:
    """Probability of the label (NaN where the text of a pair alone is too long), and whether it was cut."""

    probability: float
    is_truncated: bool


def load_classifier(model: str, dtype: str, device: str) -> Loaded:
    """Loads a classifier and its tokenizer from a folder or by hub id.

    ComponentError where there is none: no model, or one without a trained head.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from rankers._lm import resolve_device
    from rankers._reward import quiet_loading

    if not model:
        raise ComponentError("classifier.model: name a folder or a hub id.")
    try:
        with quiet_loading():
            loaded, info = AutoModelForSequenceClassification.from_pretrained(
                model, dtype=getattr(torch, dtype), output_loading_info=True
            )
            tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ComponentError(
            f"classifier: '{model}' cannot be loaded, neither as a folder nor by hub id: {reason}"
        ) from None
    if info["missing_keys"]:
        missing = ", ".join(sorted(info["missing_keys"])[:3])
        raise ComponentError(
            f"classifier: '{model}' is no classifier: it has no weights for {missing}. Name a model that was "
            "tuned to classify, not one that writes."
        )
    device = resolve_device(device)
    return Loaded(model, loaded.to(device).eval(), tokenizer, device, _room(loaded, tokenizer))


def _room(model: Any, tokenizer: Any) -> int:
    """What tokenizer and positions both allow; models after RoBERTa use up positions for padding."""
    import torch

    config = model.config.get_text_config()
    positions = int(getattr(config, "max_position_embeddings", None) or 2**31)
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            reserved = 0 if module.padding_idx is None else module.padding_idx + 1
            positions = min(positions, module.num_embeddings - reserved)
    return min(positions, int(min(tokenizer.model_max_length, 2**31)))


def label_index(loaded: Loaded, label: str) -> int:
    """The number of a label, given by its name in any case or by its number; ComponentError for none."""
    names = {int(i): str(name) for i, name in loaded.model.config.id2label.items()}
    by_name = {name.casefold(): i for i, name in names.items()}
    if label.casefold() in by_name:
        return by_name[label.casefold()]
    if label.isdecimal() and int(label) in names:
        return int(label)
    raise ComponentError(
        f"classifier.label: '{loaded.name}' has no label '{label}'.{nearest(label, names.values())} "
        f"It has: {', '.join(names[i] for i in sorted(names))}"
    )


def classified(
    loaded: Loaded,
    texts: Sequence[tuple[str, str | None]],
    index: int,
    *,
    scores: str,
    max_tokens: int | None,
    batch_size: int,
) -> list[Classified]:
    """One probability per (text, premise), equal ones computed once; long texts together."""
    import torch

    room = min(loaded.room, max_tokens or loaded.room)
    inputs_of = {one: _encoded(loaded, *one, room) for one in dict.fromkeys(texts)}
    found = {one: Classified(math.nan, is_truncated=True) for one in inputs_of}
    distinct = [one for one, inputs in inputs_of.items() if inputs is not None]
    encoded = [inputs for inputs in inputs_of.values() if inputs is not None]
    order = sorted(range(len(distinct)), key=lambda i: (len(encoded[i][0]["input_ids"]), i), reverse=True)
    # Without a padding token texts of different lengths cannot stand in one batch.
    pad = loaded.tokenizer.pad_token_id
    size = 1 if pad is None or loaded.model.config.pad_token_id is None else batch_size
    with torch.inference_mode():
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            inputs = _padded([encoded[i][0] for i in batch], pad or 0)
            tensors = {name: torch.tensor(rows, device=loaded.device) for name, rows in inputs.items()}
            logits = loaded.model(**tensors).logits.double()
            for i, probability in zip(batch, _probabilities(loaded, logits, scores, index), strict=True):
                found[distinct[i]] = Classified(probability, encoded[i][1])
    return [found[one] for one in texts]


def _encoded(loaded: Loaded, text: str, premise: str | None, room: int) -> tuple[dict[str, Any], bool] | None:
    """Inputs of one text, and whether it had to be cut; None where a pair's premise is too short to cut."""
    pair = (text,) if premise is None else (premise, text)
    whole = loaded.tokenizer(*pair, verbose=False)
    if not whole["input_ids"]:
        # Nothing to read: a lone end token stands for the empty text.
        lone = loaded.tokenizer.eos_token_id or 0
        return {"input_ids": [lone], "attention_mask": [1]}, False
    if len(whole["input_ids"]) <= room:
        return dict(whole), False
    if premise is not None:
        spare = len(loaded.tokenizer(premise, add_special_tokens=False, verbose=False)["input_ids"])
        if spare <= len(whole["input_ids"]) - room:
            return None
    settings = {"truncation": True if premise is None else "only_first", "max_length": room}
    return dict(loaded.tokenizer(*pair, **settings)), True


def _padded(inputs: Sequence[dict[str, list[int]]], pad: int) -> dict[str, list[list[int]]]:
    """Inputs of one length, filled up behind their ends."""
    longest = max(len(one["input_ids"]) for one in inputs)
    fill = {"input_ids": pad}
    return {
        name: [one[name] + [fill.get(name, 0)] * (longest - len(one[name])) for one in inputs]
        for name in inputs[0]
    }


def _probabilities(loaded: Loaded, logits: Any, scores: str, index: int) -> list[float]:
    config = loaded.model.config
    each = config.num_labels == 1 or getattr(config, "problem_type", None) == "multi_label_classification"
    if scores == "sigmoid" or (scores == "auto" and each):
        return [float(p) for p in logits.sigmoid()[:, index]]
    return [float(p) for p in logits.softmax(-1)[:, index]]
