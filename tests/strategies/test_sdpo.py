"""Self-distillation from the model that reads the critique: its losses against all logits in float64."""

from __future__ import annotations

import copy
import itertools
import logging
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from ilf._forms import form_template
from ilf.collect import collect
from ilf.errors import ComponentError, DataError, UsageError
from ilf.feedback.simulated import Simulated
from ilf.generators.transformers_lm import TransformersLM
from ilf.load import load
from ilf.sample import sample
from ilf.strategies import sdpo as module
from ilf.strategies._encode import Example
from ilf.strategies._exchange import with_critiques
from ilf.strategies._teacher import Teacher
from ilf.strategies.sdpo import SDPO, divergence, gathered
from ilf.worlds import nano as nano_module
from ilf.worlds.nano import Nano
from rankers import fill

KINDS = ("llama", "gpt2")
ROWS = [
    {"prompt": "POST: I broke the kettle.\nTL;DR:", "output": " Tom broke it.", "critique": "The price is missing."},
    {"prompt": "POST: I broke the kettle.\nTL;DR:", "output": " A lamp, {critique}.", "critique": "It was a kettle."},
    {"prompt": "A", "output": "", "critique": "Say {prompt} more."},
]  # fmt: skip
QUICK = SDPO(batch_size=8, learning_rate=1e-3, device="cpu", form="nano", teacher="start")


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("starts")
    return {kind: str(tiny_model(folder / kind, kind)) for kind in KINDS}


# --- the oracle: one text after the other, all logits, float64 ---------------------------------------------


def distributions(model: Any, folder: str, asked: str, output: str) -> tuple[torch.Tensor, list[int]]:
    """Log p of every token where the output's tokens and its end token stand, and these tokens."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt, answer = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (asked, output))
    answer = [*answer, tokenizer.eos_token_id]
    logits = model(torch.tensor([[*prompt, *answer]])).logits[0]
    return logits[len(prompt) - 1 : -1].log_softmax(-1), answer


def at_a_token(p: torch.Tensor, q: torch.Tensor, token: int, strategy: SDPO) -> torch.Tensor:
    """The loss at one token, from log p of student and teacher (V,), by the definitions."""
    if strategy.over == "token":
        return (p[token] - q[token]) ** 2 / 2
    if strategy.over == "top_k":
        kept = sorted(range(len(p)), key=lambda i: -p[i].item())[: strategy.k]
        rest = [i for i in range(len(p)) if i not in kept]
        p, q = (torch.stack([*(x[i] for i in kept), x[rest].exp().sum().log()]) for x in (p, q))
    if strategy.divergence == "jensen_shannon":
        middle = ((p.exp() + q.exp()) / 2).log()
        return ((p.exp() * (p - middle)).sum() + (q.exp() * (q - middle)).sum()) / 2
    return (p.exp() * (p - q)).sum() if strategy.divergence == "reverse" else (q.exp() * (q - p)).sum()


def by_hand(
    strategy: SDPO, folder: str, rows: Sequence[dict[str, Any]], student: Any, teacher: Any
) -> tuple[float, float]:
    """The loss of a batch of all rows and the norm of its gradient, nothing flowing through the teacher."""
    template = form_template("nano", "refine_no_feedback" if strategy.critiques == "none" else "refine", "x")
    losses = []
    for row in rows:
        mine, tokens = distributions(student, folder, row["prompt"], row["output"])
        with torch.no_grad():
            theirs, _ = distributions(teacher, folder, fill(template, row), row["output"])
        losses += [at_a_token(p, q, t, strategy) for p, q, t in zip(mine, theirs, tokens, strict=True)]
    student.zero_grad()
    mean = torch.stack(losses).mean()
    mean.backward()
    return mean.item(), torch.cat([p.grad.flatten() for p in student.parameters()]).norm().item()


def double(folder: str | Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()


SETTINGS = [
    *({"over": over, "divergence": kind, "k": 7} for over, kind in itertools.product(
        ("vocabulary", "top_k"), ("reverse", "forward", "jensen_shannon"))),
    {"over": "token"}, {"teacher": "live"}, {"teacher": "ema"}, {"critiques": "none"},
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
def test_loss_and_gradient_are_those_of_the_definition(
    starts: dict[str, str], tmp_path: Path, kind: str, settings: dict[str, Any]
) -> None:
    strategy = replace(QUICK, **settings)
    model = double(starts[kind])
    loss, gradient = by_hand(strategy, starts[kind], ROWS, model, model)
    [row] = strategy.train(ROWS, tmp_path, start=starts[kind], seed=0)
    assert row["loss"] == pytest.approx(loss, rel=1e-4)
    assert row["gradient_norm"] == pytest.approx(gradient, rel=1e-3)


def test_the_log_says_how_much_the_teacher_dislikes_the_output(
    starts: dict[str, str], tmp_path: Path
) -> None:
    model, ratios = double(starts["llama"]), []
    for row in ROWS:
        asked = fill(form_template("nano", "refine", "x"), row)
        with torch.no_grad():
            mine, tokens = distributions(model, starts["llama"], row["prompt"], row["output"])
            theirs, _ = distributions(model, starts["llama"], asked, row["output"])
        ratios += [(p[t] - q[t]).item() for p, q, t in zip(mine, theirs, tokens, strict=True)]
    [row] = QUICK.train(ROWS, tmp_path, start=starts["llama"], seed=0)
    assert row["log_ratio"] == pytest.approx(sum(ratios) / len(ratios), abs=1e-4)
    assert row["tokens"] == len(ratios)


@pytest.mark.parametrize("teacher", ["start", "live", "ema"])
def test_the_teacher_of_the_second_update(starts: dict[str, str], tmp_path: Path, teacher: Any) -> None:
    """As it was, as it is, or three quarters of the one and a quarter of the other."""
    strategy = replace(QUICK, teacher=teacher, ema_decay=0.75, learning_rate=1e-2)
    list(strategy.train(ROWS, tmp_path / "one", start=starts["llama"], seed=0))
    _, second = replace(strategy, epochs=2).train(ROWS, tmp_path / "two", start=starts["llama"], seed=0)
    before, student, taught = (double(x) for x in (starts["llama"], *[tmp_path / "one" / "model"] * 2))
    weight = {"start": 1.0, "live": 0.0, "ema": 0.75}[teacher]
    with torch.no_grad():
        for mine, old in zip(taught.parameters(), before.parameters(), strict=True):
            mine.copy_(weight * old + (1 - weight) * mine)
    loss, _ = by_hand(strategy, starts["llama"], ROWS, student, taught)
    assert second["loss"] == pytest.approx(loss, rel=1e-3)


def test_parts_of_a_batch_are_the_whole(starts: dict[str, str], tmp_path: Path) -> None:
    whole, parts = (
        list(
            replace(QUICK, microbatch_tokens=n, epochs=2).train(
                ROWS, tmp_path / str(n), start=starts["llama"], seed=0
            )
        )
        for n in (4096, 1)
    )
    for one, other in zip(whole, parts, strict=True):
        assert other == {key: pytest.approx(value, rel=1e-3, abs=1e-5) for key, value in one.items()}


def test_a_teacher_that_names_the_token_teaches_it(starts: dict[str, str], tmp_path: Path) -> None:
    """Student and teacher come to agree: the divergence nearly vanishes on what is trained on."""
    log = list(
        replace(QUICK, learning_rate=1e-2, epochs=40).train(ROWS, tmp_path, start=starts["llama"], seed=0)
    )
    assert log[-1]["loss"] < 0.2 * log[0]["loss"]


def test_adapters_alone_are_held_twice(starts: dict[str, str], tmp_path: Path, monkeypatch: Any) -> None:
    held: list[Teacher] = []
    original = module.Teacher

    def spy(*arguments: Any) -> Teacher:
        held.append(original(*arguments))
        return held[-1]

    monkeypatch.setattr(module, "Teacher", spy)
    strategy = replace(QUICK, lora_rank=2, epochs=3, learning_rate=1e-2)
    log = list(strategy.train(ROWS, tmp_path, start=starts["llama"], seed=0))
    model = double(starts["llama"])
    assert log[0]["loss"] == pytest.approx(
        by_hand(strategy, starts["llama"], ROWS, model, model)[0], rel=1e-4
    )
    assert 0 < sum(w.numel() for w in held[0]._weights) < 0.5 * sum(p.numel() for p in model.parameters())
    assert not list(tmp_path.rglob("adapter*"))


def test_a_teacher_speaks_and_gives_the_model_back() -> None:
    model = torch.nn.Linear(2, 2)
    student = {name: weight.clone() for name, weight in model.state_dict().items()}
    teacher = Teacher(model, "ema", 0.5)
    with torch.no_grad():
        model.weight.add_(1.0)
    with teacher.speaking():
        assert torch.equal(model.weight, student["weight"])
        assert not torch.is_grad_enabled()
    assert torch.equal(model.weight, student["weight"] + 1.0)
    teacher.follow()
    with teacher.speaking():
        assert torch.allclose(model.weight, student["weight"] + 0.5)
    with pytest.raises(KeyError), teacher.speaking():
        raise KeyError
    assert torch.equal(model.weight, student["weight"] + 1.0)
    assert torch.is_grad_enabled()
    live = Teacher(model, "live", 0.5)
    with live.speaking():
        assert torch.equal(model.weight, student["weight"] + 1.0)


# --- divergences --------------------------------------------------------------------------------------------


def test_divergences_vanish_at_equality_and_keep_their_bounds() -> None:
    p, q = (torch.tensor(x, dtype=torch.float64).log() for x in ([[0.5, 0.25, 0.25]], [[0.25, 0.5, 0.25]]))
    for kind in ("reverse", "forward", "jensen_shannon"):
        assert divergence(p, p, kind).item() == pytest.approx(0.0, abs=1e-12)  # type: ignore[arg-type]
        assert divergence(p, q, kind).item() > 0  # type: ignore[arg-type]
    assert divergence(p, q, "reverse").item() == pytest.approx(0.25 * math.log(2))
    far = torch.tensor([[0.0, -60.0]]).log_softmax(-1), torch.tensor([[-60.0, 0.0]]).log_softmax(-1)
    assert divergence(*far, "jensen_shannon").item() == pytest.approx(math.log(2), rel=1e-6)
    skewed = torch.tensor([[0.9, 0.05, 0.05]], dtype=torch.float64).log()
    assert (
        divergence(p, skewed, "reverse")
        == divergence(skewed, p, "forward")
        != divergence(p, skewed, "forward")
    )


def test_tokens_that_are_put_together_lose_what_tells_them_apart() -> None:
    """Never more than over the whole vocabulary, and the mass stays 1."""
    torch.manual_seed(0)
    p, q = (torch.randn(5, 12, dtype=torch.float64).log_softmax(-1) for _ in range(2))
    kept = p.topk(4).indices
    coarse = gathered(p, kept), gathered(q, kept)
    assert [part.exp().sum(-1).tolist() for part in coarse] == [[pytest.approx(1.0)] * 5] * 2
    assert (divergence(*coarse, "reverse") < divergence(p, q, "reverse")).all()


# --- controls -----------------------------------------------------------------------------------------------


def many(n_prompts: int = 6, n_outputs: int = 3) -> list[dict[str, Any]]:
    return [
        {"prompt": f"p{i}", "output": f"o{i}.{j}", "critique": f"c{i}.{j}"}
        for i, j in itertools.product(range(n_prompts), range(n_outputs))
    ]


@pytest.mark.parametrize("seed", range(4))
def test_exchanged_critiques_stay_with_their_prompt_and_leave_their_output(seed: int) -> None:
    rows = many()
    random.Random(seed).shuffle(rows)
    before = copy.deepcopy(rows)
    found = with_critiques(rows, "exchanged", who="sdpo", seed=seed)
    assert [(row["prompt"], row["output"]) for row in found] == [
        (row["prompt"], row["output"]) for row in rows
    ]
    assert all(new["critique"] != old["critique"] for new, old in zip(found, rows, strict=True))
    assert all(row["critique"][1] == row["prompt"][1] for row in found)
    assert Counter(row["critique"] for row in found) == Counter(row["critique"] for row in rows)
    assert found == with_critiques(rows, "exchanged", who="sdpo", seed=seed)
    assert rows == before
    shuffled = with_critiques(rows, "shuffled", who="sdpo", seed=seed)
    assert all(new["critique"] != old["critique"] for new, old in zip(shuffled, rows, strict=True))
    assert Counter(row["critique"] for row in shuffled) == Counter(row["critique"] for row in rows)
    assert any(row["critique"][1] != row["prompt"][1] for row in shuffled)
    assert with_critiques(rows, "own", who="sdpo", seed=seed) == rows


def test_two_critiques_of_one_output_are_never_exchanged_with_each_other(caplog: Any) -> None:
    """And a prompt with one output only has nobody to exchange with."""
    rows = [
        {"prompt": "p", "output": "a", "critique": "a1"}, {"prompt": "p", "output": "a", "critique": "a2"},
        {"prompt": "p", "output": "b", "critique": "b1"}, {"prompt": "q", "output": "c", "critique": "c1"},
        {"prompt": "q", "output": "c", "critique": "c2"},
    ]  # fmt: skip
    with caplog.at_level(logging.WARNING, "ilf"):
        found = with_critiques(rows, "exchanged", who="sdpo", seed=0)
    assert [row["critique"] for row in found] == ["b1", "b1", "a1"]
    assert "sdpo: 2 of 5 rows have nobody to exchange with" in caplog.text
    with pytest.raises(DataError, match="several different outputs"):
        with_critiques(rows[3:], "exchanged", who="sdpo", seed=0)
    with pytest.raises(DataError, match="at least two rows"):
        with_critiques(rows[:1], "shuffled", who="sdpo", seed=0)


def test_controls_read_what_they_say(starts: dict[str, str], tmp_path: Path) -> None:
    """Exchanged: the loss is that of the rows with their critiques exchanged; none: no critique is asked for."""
    rows = [{**row, "prompt": "A"} for row in ROWS]
    other = with_critiques(rows, "exchanged", who="sdpo", seed=5)
    control = replace(QUICK, critiques="exchanged")
    [row] = control.train(rows, tmp_path / "a", start=starts["llama"], seed=5)
    [same] = QUICK.train(other, tmp_path / "b", start=starts["llama"], seed=5)
    assert row == same
    assert control.needs == ("prompt", "output", "critique")
    assert replace(QUICK, critiques="none").needs == ("prompt", "output")
    bare = [{key: row[key] for key in ("prompt", "output")} for row in rows]
    assert list(replace(QUICK, critiques="none").train(bare, tmp_path / "c", start=starts["llama"], seed=0))
    weights = [load_file(tmp_path / name / "model" / "model.safetensors") for name in "ab"]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.slow
def test_in_the_nano_world_exchanging_critiques_takes_most_of_their_gain(tmp_path: Path) -> None:
    """What critiques add to a teacher that reads none, measured on validation posts with the forward KL.

    The reverse KL sharpens whatever the teacher says, which in this world alone gains a lot: there exchanging
    takes half of what critiques add (recipes/nano_full says how much).
    """
    world, nano = Nano(), str(next((Path(nano_module.__file__).parent / "checkpoints").glob("nano*")))
    generator = TransformersLM(nano, device="cpu", max_new_tokens=64)
    posts = list(load(world=world, split="train", n=60))
    rows = [row for seed in range(4) for row in sample(posts, generator=generator, seed=seed)]
    said = list(collect(rows, tmp_path / "people", feedback=Simulated(world=world), job="critique"))
    held_out = list(load(world=world, split="validation", n=150))
    grades = {}
    for critiques in ("own", "exchanged", "none"):
        strategy = SDPO(
            form="nano", divergence="forward", critiques=critiques, n_updates=30, learning_rate=1e-3, device="cpu"
        )  # fmt: skip
        assert list(strategy.train(said, tmp_path / critiques, start=nano, seed=0))
        student = replace(generator, model=str(tmp_path / critiques / "model"))
        answers = sample(held_out, generator=student, n=2)
        found = [world.grade(row["facts"], text)["grade"] for row in answers for text in row["outputs"]]
        grades[critiques] = sum(found) / len(found)
    assert grades["own"] - grades["exchanged"] > 0.05, grades
    assert grades["exchanged"] - grades["none"] < 0.5 * (grades["own"] - grades["none"]), grades


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"form": "instrct"}, r"sdpo\.form: no prompt form 'instrct'"),
        ({"ema_decay": 1.0}, r"sdpo\.ema_decay: 1\.0"),
        ({"k": 0}, r"sdpo\.k: 0"),
        ({"over": "token", "divergence": "forward"}, r"sdpo\.divergence: forward"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        SDPO(**settings)


def test_long_rows_are_named_as_the_teacher_reads_them(starts: dict[str, str], tmp_path: Path) -> None:
    rows = [ROWS[0], {**ROWS[1], "critique": "x " * 600}]
    with pytest.raises(DataError, match=r"sdpo: 1 row.*\n  row 2: \d+ tokens"):
        list(QUICK.train(rows, tmp_path, start=starts["llama"], seed=0))


def test_chat_templates_that_write_an_output_in_two_ways_are_refused(
    starts: dict[str, str], tmp_path: Path, monkeypatch: Any
) -> None:
    original = module.encode

    def uneven(prompt: Any, completion: str, *rest: Any, **how: Any) -> Example:
        found = original(prompt, completion, *rest, **how)
        return replace(found, completion=(5, *found.completion)) if "FEEDBACK" in prompt else found

    monkeypatch.setattr(module, "encode", uneven)
    with pytest.raises(ComponentError, match="sdpo: row 1: the chat template"):
        list(QUICK.train(ROWS, tmp_path, start=starts["llama"], seed=0))
