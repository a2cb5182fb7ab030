"""Tiny random sequence classifiers with named labels, on the trunk of a tiny model or after RoBERTa."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

LABELS = ("fine", "toxic", "unclear")


def tiny_classifier(
    folder: Path, base: Path, *, labels: Sequence[str] = LABELS, seed: int = 0, **settings: Any
) -> Path:
    """Writes a classifier that is read at the last token, with a random head, and returns its folder."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_pretrained(
            base,
            id2label=dict(enumerate(labels)),
            label2id={name: i for i, name in enumerate(labels)},
            pad_token_id=tokenizer.pad_token_id,
            dtype=torch.float32,
            **settings,
        )
        torch.nn.init.normal_(model.score.weight)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_roberta(folder: Path, base: Path, *, positions: int = 40, seed: int = 0) -> Path:
    """Writes an encoder classifier whose positions begin behind the padding's, as RoBERTa's do."""
    import torch
    from transformers import AutoTokenizer, RobertaConfig, RobertaForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(base)
    config = RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=positions, pad_token_id=tokenizer.pad_token_id,
        id2label={0: "fine", 1: "toxic"}, label2id={"fine": 0, "toxic": 1}, initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = RobertaForSequenceClassification(config)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
