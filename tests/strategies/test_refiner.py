"""The trained refiner: learns to answer what ``refine`` asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_model

from ilf._forms import form_template, prompt_forms
from ilf.errors import DataError, UsageError
from ilf.generators.transformers_lm import TransformersLM
from ilf.refine import refine
from ilf.strategies import refiner as module
from ilf.strategies.refiner import Refiner
from rankers._lm import load

ROWS = [
    {"id": "a", "prompt": "POST: It broke.\nTL;DR:", "output": " Tom.", "critique": "Say what.", "completion": " Tom broke it."},
    {"id": "b", "prompt": "A", "output": " B and {prompt}", "critique": "Shorter, {output}.", "completion": " B"},
    {"id": "c", "prompt": [{"role": "user", "content": "Hi"}], "output": "", "critique": "Say hi.", "completion": "Hi"},
]  # fmt: skip
QUICK = Refiner(batch_size=8, learning_rate=1e-3, device="cpu", form="nano")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("starts") / "llama"))


@dataclass(frozen=True)
class Recorder:
    """A generator that notes what it is asked."""

    asked: list[Any]

    def generate(self, prompts: Sequence[Any], n: int, seeds: Sequence[int]) -> list[list[str]]:
        self.asked.extend(prompts)
        return [["x"] * n for _ in prompts]


@pytest.mark.parametrize("form", list(prompt_forms()))
def test_what_is_trained_is_what_refine_asks(start: str, tmp_path: Path, form: str, monkeypatch: Any) -> None:
    """The same text in every form, messages and braces included, and the completion behind it."""
    seen: list[tuple[Any, str]] = []
    original = module.encode

    def spy(prompt: Any, completion: str, *rest: Any, **how: Any) -> Any:
        seen.append((prompt, completion))
        return original(prompt, completion, *rest, **how)

    monkeypatch.setattr(module, "encode", spy)
    list(replace(QUICK, form=form).train(ROWS, tmp_path, start=start, seed=0))
    recorder = Recorder([])
    list(refine(ROWS, generator=recorder, n=1, form=form))
    assert [prompt for prompt, _ in seen] == recorder.asked
    assert [completion for _, completion in seen] == [row["completion"] for row in ROWS]


def test_the_first_loss_is_that_of_completions_after_output_and_critique(start: str, tmp_path: Path) -> None:
    lm = load(start, device="cpu")
    asked = "POST: It broke.\nTL;DR: Tom.\nFEEDBACK: Say what.\nBETTER:"
    prompt, answer = (lm.tokenizer(text)["input_ids"] for text in (asked, " Tom broke it."))
    ids = [*prompt, *answer, lm.tokenizer.eos_token_id]
    with torch.no_grad():
        logprobs = lm.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    mean = -sum(logprobs[t - 1, ids[t]].item() for t in range(len(prompt), len(ids))) / (len(answer) + 1)
    [row] = QUICK.train(ROWS[:1], tmp_path, start=start, seed=0)
    assert row["loss"] == pytest.approx(mean, abs=1e-5)
    assert row["tokens"] == len(answer) + 1


def test_its_model_refines(start: str, tmp_path: Path) -> None:
    """Tuned long enough on three triples, it gives their completions when ``refine`` asks."""
    list(replace(QUICK, learning_rate=1e-2, epochs=60).train(ROWS, tmp_path, start=start, seed=0))
    generator = TransformersLM(str(tmp_path / "model"), device="cpu", temperature=0.0, max_new_tokens=8)
    refined = list(refine(ROWS, generator=generator, n=1, form="nano"))
    assert [row["refinements"] for row in refined] == [[row["completion"]] for row in ROWS]


def test_forms_that_do_not_exist_are_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"refiner\.form: no prompt form 'instrct'.*'instruct'.*Forms: nano"):
        Refiner(form="instrct")
    with pytest.raises(UsageError, match="batch_size"):
        Refiner(batch_size=0)
    assert Refiner().form == "instruct"


def test_forms_have_a_template_for_every_use() -> None:
    for form in prompt_forms():
        assert "{critique}" in form_template(form, "refine", "x")
        assert "{critique}" not in form_template(form, "refine_no_feedback", "x")


def test_long_rows_are_named_before_training(start: str, tmp_path: Path) -> None:
    rows = [ROWS[0], {**ROWS[1], "output": "x " * 600}]
    with pytest.raises(DataError, match=r"refiner: 1 row.*\n  row 2: \d+ tokens"):
        list(QUICK.train(rows, tmp_path, start=start, seed=0))
