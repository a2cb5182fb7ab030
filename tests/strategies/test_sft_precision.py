"""SFT in bfloat16: the arithmetic is coarse, the weights that are learnt are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import tiny_model
from transformers import AutoModelForCausalLM

from ilf.strategies.sft import SFT

ROWS = [
    {"prompt": "POST: My name is Tom. I broke the kettle.\nTL;DR:", "completion": " Tom broke a kettle."},
    {"prompt": "A", "completion": " B, and at some length, with a lamp and a storm in Brimley."},
]
COARSE = SFT(epochs=2, learning_rate=1e-5, device="cpu", dtype="bfloat16")


@pytest.mark.parametrize("rank", [None, 2])
def test_small_updates_are_not_lost(tmp_path: Path, rank: int | None) -> None:
    """Steps of 1e-5 are far below what bfloat16 can tell apart: the weights must be kept in float32."""
    start = tiny_model(tmp_path / "start")
    strategy = replace(COARSE, lora_rank=rank)
    coarse = list(strategy.train(ROWS, tmp_path / "coarse", start=str(start), seed=0))
    exact = list(replace(strategy, dtype="float32").train(ROWS, tmp_path / "exact", start=str(start), seed=0))
    before = load_file(start / "model.safetensors")
    after, aim = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("coarse", "exact"))
    assert {tensor.dtype for tensor in after.values()} == {torch.float32}
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "coarse" / "model").dtype == torch.float32
    moved, wanted = (
        torch.cat([(found[name] - tensor).flatten() for name, tensor in before.items()])
        for found in (after, aim)
    )
    assert torch.nn.functional.cosine_similarity(moved, wanted, dim=0) > 0.8
    # And it is bfloat16 that computed: near the exact loss, not at it.
    assert coarse[0]["loss"] == pytest.approx(exact[0]["loss"], rel=0.01)
    assert coarse[0]["loss"] != pytest.approx(exact[0]["loss"], rel=1e-6)
