"""ilf try: which model is meant, prompts from everywhere, answers side by side."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ilf.commands import try_model


class Model:
    """Answers with its own name; remembers what it was asked."""

    asked: list[tuple[str, str, int, int]] = []  # noqa: RUF012

    def __init__(self, model: str) -> None:
        self.model = model

    def generate(self, prompts: Sequence[str], n: int, seeds: Sequence[int]) -> list[list[str]]:
        Model.asked += [(self.model, prompt, n, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
        return [[f" {Path(self.model).name} answers {i} \x1b[2J" for i in range(n)] for _ in prompts]


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int, int]]:
    Model.asked = []
    monkeypatch.setattr(try_model, "_loaded", lambda model, arguments: Model(model))
    return Model.asked


@pytest.fixture
def trained(tmp_path: Path, step: Any) -> Path:
    folder = Path(
        step(tmp_path / "runs" / "nano" / "train-0123456789", [{"step": 1, "loss": 1.0}], stage="train")
    )
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    step(tmp_path / "runs" / "nano" / "choose-0123456789", [{"id": "1"}])
    return folder


@pytest.mark.parametrize(
    "name",
    ["nano/train", "train-0123", "train", "runs/nano/train-0123456789", "runs/nano/train-0123456789/model"],
)
def test_a_trained_step_is_found(ilf: Any, trained: Path, models: Any, name: str) -> None:
    assert ilf("try", name, "--prompt", "Why?").status == 0
    assert Path(models[0][0]).resolve() == (trained / "model").resolve()


def test_shipped_folder_and_hub_id(ilf: Any, trained: Path, models: Any) -> None:
    Path("mine").mkdir()
    Path("mine/config.json").write_text("{}")
    for name, model in (
        ("nano", "worlds/checkpoints/nano"),
        ("mine", "mine"),
        ("gpt2", "gpt2"),
        ("me/lm", "me/lm"),
    ):
        assert ilf("try", name, "--prompt", "Why?").status == 0
        assert models[-1][0].endswith(model)


@pytest.mark.parametrize("name", ["nanno", "nano/chose", "nano/choose", "a/b/c", "runs", "train-999"])
def test_what_is_no_model_is_refused(ilf: Any, trained: Path, models: Any, name: str) -> None:
    said = ilf("try", name, "--prompt", "Why?")
    assert said.status == 2
    assert not models
    if name == "nanno":
        assert "Did you mean 'nano'?" in said.err


def test_two_models_side_by_side(ilf: Any, trained: Path, models: Any) -> None:
    said = ilf(
        "try", "train", "--against", "nano", "--prompt", "Why?", "--prompt", "How?", "-n", "2", "--seed", "7"
    )
    heads = next(line for line in said.out.splitlines() if " | " in line)
    assert heads.split(" | ") == ["train".ljust(38), "nano"]
    assert "model answers 1" in said.out
    assert "\x1b" not in said.out
    assert all(len(line) <= 80 for line in said.out.splitlines())
    by_prompt = {prompt: {seed for _, p, _, seed in models if p == prompt} for prompt in ("Why?", "How?")}
    assert all(len(seeds) == 1 for seeds in by_prompt.values()), "both models draw with the same seed"
    assert by_prompt["Why?"] != by_prompt["How?"]


def test_prompts_from_stdin(ilf: Any, models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\n\ntwo"))
    told = json.loads(ilf("try", "nano", "--json", "--form", r"POST: {prompt}\nTL;DR:").out)
    assert [answer["prompt"] for answer in told["answers"]] == ["POST: one\nTL;DR:", "POST: two\nTL;DR:"]
    assert told["answers"][0]["models"][0]["outputs"] == [" nano answers 0 \x1b[2J"]
    assert ilf("try", "nano", "--form", "POST:").status == 2


def test_examples_of_the_world_are_graded(ilf: Any, models: Any) -> None:
    said = ilf("try", "nano", "--example", "2")
    assert said.out.count("POST:") == 2
    assert said.out.count("[grade 0.000]") == 2
    first = [prompt for _, prompt, _, _ in models]
    assert ilf("try", "nano", "--example", "2").out == said.out
    ilf("try", "nano", "--example", "2", "--seed", "1")
    assert [prompt for _, prompt, _, _ in models][4:] != first
    assert ilf("try", "nano", "--example", "--prompt", "x").status == 2
    assert ilf("try", "nano", "--temperature", "-1").status == 2


@pytest.mark.slow
def test_the_shipped_model_answers(command: Any) -> None:
    process = command("try", "nano", "--example", "2", "--temperature", "0", "--json")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    grades = [answer["models"][0]["grades"][0] for answer in json.loads(out)["answers"]]
    assert all(0.0 <= grade <= 1.0 for grade in grades)
    assert max(grades) > 0, "a model that knows its world"
