"""Critique fine-tuning: critiques behind the question that a critic is asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_model

import rankers
from ilf._forms import form_template, prompt_forms
from ilf.errors import DataError, UsageError
from ilf.generators.framed import Framed
from ilf.generators.transformers_lm import TransformersLM
from ilf.records import messages_text
from ilf.strategies import cft as module
from ilf.strategies.cft import CFT
from rankers._lm import load

ROWS = [
    {"id": "a", "prompt": "POST: It broke.\nTL;DR:", "output": " Tom.", "critique": "Say what broke."},
    {"id": "b", "prompt": "A", "output": " B and {prompt}", "critique": "Shorter, {output}."},
    {"id": "c", "prompt": [{"role": "user", "content": "Hi"}], "output": "", "critique": "Say hi."},
]  # fmt: skip
QUICK = CFT(batch_size=8, learning_rate=1e-3, device="cpu", form="nano")


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("starts")
    return {
        "plain": str(tiny_model(folder / "plain")),
        "chat": str(tiny_model(folder / "chat", chat=True)),
    }


@pytest.mark.parametrize("kind", ["plain", "chat"])
@pytest.mark.parametrize("form", list(prompt_forms()))
def test_what_is_trained_is_what_critique_perplexity_reads(
    starts: dict[str, str], tmp_path: Path, form: str, kind: str, monkeypatch: Any
) -> None:
    """The same question and the same critique behind it, in every form, with and without a chat template."""
    seen: list[tuple[str, str]] = []
    original = module.encode

    def spy(prompt: str, completion: str, *rest: Any, **how: Any) -> Any:
        seen.append((prompt, completion))
        return original(prompt, completion, *rest, **how)

    monkeypatch.setattr(module, "encode", spy)
    list(replace(QUICK, form=form).train(ROWS, tmp_path, start=starts[kind], seed=0))
    template = form_template(form, "critic", "test")
    reader = rankers.CritiquePerplexity(model=starts[kind], critic_form=template, device="cpu")
    texts = [{**row, "prompt": messages_text(row["prompt"])} for row in ROWS]
    assert seen == [reader._pair(row, row["output"]) for row in texts]


def test_the_first_loss_is_that_of_critiques_after_prompt_and_output(
    starts: dict[str, str], tmp_path: Path
) -> None:
    lm = load(starts["plain"], device="cpu")
    asked = "POST: It broke.\nTL;DR: Tom.\nFEEDBACK:"
    prompt, said = (lm.tokenizer(text)["input_ids"] for text in (asked, " Say what broke."))
    ids = [*prompt, *said, lm.tokenizer.eos_token_id]
    with torch.no_grad():
        logprobs = lm.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    mean = -sum(logprobs[t - 1, ids[t]].item() for t in range(len(prompt), len(ids))) / (len(said) + 1)
    [row] = QUICK.train(ROWS[:1], tmp_path, start=starts["plain"], seed=0)
    assert row["loss"] == pytest.approx(mean, abs=1e-5)
    assert row["tokens"] == len(said) + 1


def test_its_model_criticises(starts: dict[str, str], tmp_path: Path) -> None:
    """Tuned long enough on three critiques, it gives them when it is asked as a critic."""
    list(replace(QUICK, learning_rate=1e-2, epochs=60).train(ROWS, tmp_path, start=starts["plain"], seed=0))
    plain = TransformersLM(str(tmp_path / "model"), device="cpu", temperature=0.0, max_new_tokens=24)
    framed = Framed(template="{prompt}\nFEEDBACK:", generator=plain)
    about = [f"{messages_text(row['prompt'])}{row['output']}" for row in ROWS]
    assert framed.generate(about, 1, [0, 0, 0]) == [[f" {row['critique']}"] for row in ROWS]


def test_settings_and_rows_that_cannot_be_used_are_refused(starts: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cft\.form: no prompt form 'instrct'.*'instruct'.*Forms: nano"):
        CFT(form="instrct")
    with pytest.raises(UsageError, match="batch_size"):
        CFT(batch_size=0)
    rows = [ROWS[0], {**ROWS[1], "output": "x " * 600}]
    with pytest.raises(DataError, match=r"cft: 1 row.*\n  row 2: \d+ tokens"):
        list(QUICK.train(rows, tmp_path, start=starts["plain"], seed=0))
