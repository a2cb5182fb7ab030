"""distil_prompt: sentences picked by counting, and a model asked in chunks until one instruction is left."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_model

from ilf._decode import decode
from ilf._forms import form_template, prompt_forms
from ilf.errors import ComponentError, DataError, UsageError
from ilf.strategies import distil_prompt as module
from ilf.strategies.distil_prompt import DistilPrompt, extracted
from rankers._lm import load
from rankers._words import Words, dot

CRITIQUES = [
    "The price is missing. You call her a fool!",
    "The price is missing, and more; the town is Ulmere.",
    "Say the price.\nThe price is missing.",
    "You call him a fool.",
]


def distilled(folder: Path, rows: Sequence[Any], start: str = "", **how: Any) -> tuple[list[Any], str]:
    log = list(DistilPrompt(device="cpu", **how).train(rows, folder, start=start, seed=0))
    return log, (folder / "model" / "instruction.txt").read_text(encoding="utf-8")


def rows_of(critiques: Sequence[str | None]) -> list[dict[str, Any]]:
    return [{"critique": critique} for critique in critiques]


# --- by: extraction ---------------------------------------------------------------------------------------


def test_what_many_said_comes_first_and_once() -> None:
    assert extracted(CRITIQUES, 4) == "The price is missing."
    found = extracted(CRITIQUES, 30)
    assert found.startswith("The price is missing. ")
    assert (found.count("missing"), found.count("a fool")) == (1, 1), "nor in other words"


def test_scores_are_centrality_times_the_rarest_words_count() -> None:
    """By counting: the cosines to all sentences one by one, and in how many sentences each word stands."""
    sentences = ["say the price", "the price is wrong", "say the town", "the lamp", "the price"]
    vectors = Words(sentences).vectors
    scores = []
    for i, sentence in enumerate(sentences):
        central = sum(dot(vectors[i], other) for other in vectors)
        scores.append(central * min(sum(w in s.split() for s in sentences) for w in sentence.split()))
    best = max(range(5), key=lambda i: scores[i])
    assert sentences[best] == "the price"
    assert extracted([f"{s}." for s in sentences], 2) == "the price."


def test_names_of_a_single_task_lose_against_what_is_general() -> None:
    critiques = [f"The name is {name}; leave out the insult." for name in ("Ebri", "Valo", "Tilda", "Oren")]
    assert extracted(critiques, 4) == "leave out the insult."
    # Nearer to more others are those that give a name, and each of them concerns one task.
    told = [f"Say that the name is {name}." for name in ("Ebri", "Valo", "Tilda", "Oren")]
    assert extracted([*told, "Be kind.", "Be kind."], 6) == "Be kind."


def test_words_are_counted_and_the_first_is_cut_where_nothing_fits() -> None:
    for most in range(1, 30):
        assert 1 <= len(extracted(CRITIQUES, most).split()) <= most
    assert extracted(["one two three four five"], 3) == "one two three"
    with pytest.raises(DataError, match="hold no word"):
        extracted(["...", "?!"], 5)


def test_the_instruction_is_written_and_logged_without_a_model(tmp_path: Path) -> None:
    rows = rows_of([*CRITIQUES, " ", None])
    log, text = distilled(tmp_path, rows, by="extraction", max_words=4)
    assert text == "The price is missing.\n"
    assert log == [
        {"step": 1, "loss": None, "made_of": 4, "instruction": text.strip(), "words": 4, "blank": 2}
    ]


def test_half_an_emoji_does_not_end_it(tmp_path: Path) -> None:
    log, text = distilled(tmp_path, rows_of(["half \ud83d of it"]), by="extraction")
    assert text == "half ? of it.\n"
    assert log[0]["instruction"] == "half ? of it."


# --- by: model --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("starts") / "llama", positions=256))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, start: str) -> list[str]:
    """Every question put to the model, as text; it answers ``I1.``, ``I2.`` and so on."""
    questions: list[str] = []
    tokenizer = load(start, device="cpu").tokenizer

    def answer(lm: Any, requests: Sequence[Any], **how: Any) -> list[list[list[int]]]:
        assert how["temperature"] == 0.0
        assert len(requests[0].ids) + how["max_new_tokens"] <= lm.max_length, "it fits"
        questions.append(tokenizer.decode(requests[0].ids))
        return [[tokenizer(f" I{len(questions)}.\n")["input_ids"]]]

    monkeypatch.setattr(module, "decode", answer)
    return questions


HOW: dict[str, Any] = {"by": "model", "form": "nano", "max_new_tokens": 16}


def test_critiques_that_fit_are_asked_about_at_once(start: str, asked: list[str], tmp_path: Path) -> None:
    log, text = distilled(tmp_path, rows_of(["Say {this}.", "Be\n  kind."]), start, **HOW)
    assert asked == ["FEEDBACK: - Say {this}.\n- Be kind.\nFEEDBACK:"]
    assert text == "I1.\n"
    assert [(row["made_of"], row["instruction"]) for row in log] == [(2, "I1.")]


def test_more_are_asked_about_in_chunks_and_merged(start: str, asked: list[str], tmp_path: Path) -> None:
    """Every critique stands in one question, in order; what they gave is merged until one is left."""
    critiques = [f"Remark number {i} on this, that and the other thing." for i in range(30)]
    log, text = distilled(tmp_path, rows_of(critiques), start, **{**HOW, "max_new_tokens": 96})
    chunks = asked[:-1]
    assert len(chunks) > 3
    lines = [line for chunk in chunks for line in chunk.splitlines() if "- Remark" in line]
    assert [line.partition("- ")[2] for line in lines] == critiques
    merged = "\n".join(f"- I{i + 1}." for i in range(len(chunks)))
    assert asked[-1] == f"FEEDBACK: {merged}\nFEEDBACK:"
    assert text == f"I{len(asked)}.\n"
    assert sum(row["made_of"] for row in log[:-1]) == 30
    assert [row["step"] for row in log] == list(range(1, len(asked) + 1))
    assert log[-1] == {
        "step": len(asked), "loss": None, "made_of": len(chunks), "instruction": text.strip(), "words": 1, "blank": 0,
    }  # fmt: skip


def test_chunks_are_as_large_as_the_context_lets_them_be(
    start: str, asked: list[str], tmp_path: Path
) -> None:
    critiques = [f"Remark number {i}." for i in range(40)]
    distilled(tmp_path, rows_of(critiques), start, **HOW)
    lm = load(start, device="cpu")
    first, second = asked[:2]
    following = second.splitlines()[0].removeprefix("FEEDBACK: ")
    more = first.replace("\nFEEDBACK:", f"\n{following}\nFEEDBACK:")
    # One token for each joint is kept free.
    assert len(lm.prompt_ids(more)) + first.count("- ") + 2 > 256 - 16


def test_a_critique_without_room_is_left_out_and_counted(
    start: str, asked: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="ilf"):
        log, _ = distilled(tmp_path, rows_of(["word " * 400, "Be kind."]), start, **HOW)
    assert "1 of 2 texts are too long for the model and were left out" in caplog.text
    assert [row["made_of"] for row in log] == [1]
    with pytest.raises(ComponentError, match="no critique leaves room"):
        distilled(tmp_path / "none", rows_of(["word " * 400]), start, **HOW)
    assert not (tmp_path / "none" / "model").exists()


def test_what_the_model_writes_is_its_greedy_answer(start: str, tmp_path: Path) -> None:
    log, text = distilled(tmp_path / "one", rows_of(CRITIQUES), start, **HOW)
    again, same = distilled(tmp_path / "two", rows_of(CRITIQUES), start, **HOW)
    assert (log, text) == (again, same)
    lm = load(start, device="cpu")
    lines = "\n".join(f"- {' '.join(critique.split())}" for critique in CRITIQUES)
    ids = lm.prompt_ids(f"FEEDBACK: {lines}\nFEEDBACK:")
    generated = lm.model.generate(
        input_ids=load_tensor([ids]), max_new_tokens=16, do_sample=False, pad_token_id=1
    )[0, len(ids) :]
    assert text.strip() == lm.tokenizer.decode(generated, skip_special_tokens=True).strip()
    assert decode is module.decode


def load_tensor(ids: Any) -> Any:
    import torch

    return torch.tensor(ids)


def test_a_model_that_writes_nothing_is_named(
    start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "decode", lambda lm, requests, **how: [[[]]])
    with pytest.raises(ComponentError, match="wrote nothing"):
        distilled(tmp_path, rows_of(CRITIQUES), start, **HOW)


@pytest.mark.parametrize("form", list(prompt_forms()))
def test_every_form_has_words_for_it(form: str) -> None:
    assert "{critiques}" in form_template(form, "distil", "x")
    assert "{instructions}" in form_template(form, "merge", "x")


def test_what_cannot_work_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"distil_prompt\.form: no prompt form 'nan'"):
        DistilPrompt(form="nan")
    for how in ({"max_words": 0}, {"max_new_tokens": 0}):
        with pytest.raises(UsageError, match="must be 1 or more"):
            DistilPrompt(**how)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"none of 2 row\(s\) has a critique"):
        distilled(tmp_path, rows_of(["", None]), by="extraction")
    for nowhere in ("", str(tmp_path / "nowhere")):
        with pytest.raises(ComponentError, match=r"distil_prompt \(by: model\).*start=.*by: extraction"):
            distilled(tmp_path, rows_of(CRITIQUES), nowhere, **HOW)
    assert not (tmp_path / "model").exists()
    assert json.dumps(DistilPrompt.needs) == '["critique"]'
