"""The checkpoint that ships: whole, small, without traces of the machine that made it, and past its gates."""

from __future__ import annotations

import importlib.util
import json
import random
import statistics
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ilf.worlds import _nano_words as words
from ilf.worlds.nano import Nano

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "ilf" / "worlds" / "checkpoints" / "nano"


@pytest.fixture(scope="module")
def gates() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "nano_checkpoint", ROOT / "benchmarks" / "nano_checkpoint.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["nano_checkpoint"] = module
    spec.loader.exec_module(module)
    return module


def drawn(split: str, n: int) -> list[dict[str, Any]]:
    rng = random.Random(f"gate {split}")
    return [Nano().facts(rng, split) for _ in range(n)]


def test_it_loads_as_float32_without_network_and_is_small() -> None:
    model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype="float32")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert AutoModelForCausalLM.from_pretrained(FOLDER).dtype == torch.float32
    assert (FOLDER / "model.safetensors").stat().st_size <= 3_000_000
    assert 900_000 < model.num_parameters() < 1_000_000
    assert model.generation_config.eos_token_id == AutoTokenizer.from_pretrained(FOLDER).eos_token_id


def test_its_files_name_no_machine() -> None:
    for path in FOLDER.iterdir():
        if path.suffix in (".json", ".md"):
            text = path.read_text(encoding="utf-8")
            assert "_name_or_path" not in text
            assert "/home" not in text
            assert "/tmp" not in text
    assert json.loads((FOLDER / "config.json").read_text())["dtype"] == "float32"


def test_every_value_is_one_token_of_its_tokenizer() -> None:
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    pieces = {value: tokenizer.tokenize(f" {value}") for values in words.VALUES.values() for value in values}
    assert {value: found for value, found in pieces.items() if len(found) != 1} == {}
    assert tokenizer.pad_token_id not in (None, tokenizer.eos_token_id)
    assert tokenizer.model_max_length == 512


def test_every_word_of_a_judge_is_a_token() -> None:
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    openers = {tokenizer.tokenize(f" {opener}")[0] for opener in (*words.OPENERS, words.LOST)}
    nothing = tokenizer.tokenize(f" {words.NOTHING}")
    assert nothing[0] == "ĠNothing"
    assert nothing[0] not in openers


def test_it_copies_every_slot(gates: ModuleType) -> None:
    """A small sample; the slow test below has the gates."""
    checkpoint = gates.Checkpoint(FOLDER)
    accuracy = gates.per_slot_accuracy(checkpoint, Nano(), drawn("validation", 40), 0)
    assert set(accuracy) == set(words.VALUES)
    assert min(accuracy.values()) >= 0.9, accuracy


@pytest.mark.slow
def test_the_three_gates(gates: ModuleType) -> None:
    world, checkpoint, facts = Nano(), gates.Checkpoint(FOLDER), drawn("validation", 400)
    accuracy = gates.per_slot_accuracy(checkpoint, world, facts, 0)
    assert min(accuracy.values()) >= 0.97, accuracy

    def grade(of: list[dict[str, Any]], texts: list[str]) -> float:
        return statistics.fmean(world.grade(f, text)["grade"] for f, text in zip(of, texts, strict=True))

    assert grade(facts, checkpoint.write([world.prompt(f) for f in facts], 0.0)) < 0.75
    texts = gates.refinements(checkpoint, world, facts, 0)
    graded = {name: grade(facts, texts[name]) for name in texts}
    assert graded["real"] - graded["shuffled"] >= 0.08, graded
    assert graded["outputs"] < graded["shuffled"], graded
    assert graded["outputs"] < graded["no feedback"] < graded["real"] - 0.08, graded
