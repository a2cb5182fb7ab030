"""prompt_from_critiques: the instruction stands with every prompt."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys.recorder import Recorder

from ilf._forms import prompt_forms
from ilf.errors import ComponentError, DataError, UsageError
from ilf.generators.prompt_from_critiques import PromptFromCritiques
from ilf.strategies.distil_prompt import DistilPrompt


@pytest.fixture
def memory(tmp_path: Path) -> str:
    rows = [{"critique": "Name the {prompt}."}]
    list(DistilPrompt(by="extraction").train(rows, tmp_path, start="", seed=0))
    return str(tmp_path / "model")


def test_prompts_are_asked_with_the_instruction_and_seeds_handed_on(memory: str) -> None:
    recorder = Recorder()
    policy = PromptFromCritiques(recorder, memory, template="{instruction}\n{prompt}:")
    found = policy.generate(["A", [{"role": "user", "content": "B"}]], 2, [3, 4])
    assert found == [[" g3.0", " g3.1"], [" g4.0", " g4.1"]]
    assert recorder.asked == [("Name the {prompt}.\nA:", 2, 3), ("Name the {prompt}.\nuser: B:", 2, 4)]


@pytest.mark.parametrize("form", list(prompt_forms()))
def test_every_form_has_words_for_it(memory: str, form: str) -> None:
    asked = PromptFromCritiques(Recorder(), memory, form=form).asked("Task {instruction}")
    assert asked.count("Name the {prompt}.") == 1
    assert asked.count("Task {instruction}") == 1


def test_room_is_that_of_the_whole_prompt(memory: str) -> None:
    policy = PromptFromCritiques(Recorder(room=24), memory, template="{instruction} {prompt}")
    assert policy.has_room("12345")
    assert not policy.has_room("123456")


def test_what_cannot_work_is_refused(memory: str, tmp_path: Path) -> None:
    for template, told in (
        ("{prompt}", r"prompt_from_critiques\.template: \{instruction\} must stand in it"),
        ("{instruction}", r"prompt_from_critiques\.template: \{prompt\} must stand in it"),
        ("{instruction}{prompt}{output}", r"prompt_from_critiques\.template: the template wants \{output\}"),
    ):
        with pytest.raises(UsageError, match=told):
            PromptFromCritiques(Recorder(), memory, template=template)
    with pytest.raises(UsageError, match=r"prompt_from_critiques\.form: no prompt form 'nono'.*'nano'"):
        PromptFromCritiques(Recorder(), memory, form="nono")
    with pytest.raises(UsageError, match="prompt_from_critiques: 0 completions"):
        PromptFromCritiques(Recorder(), memory).generate(["a"], 0, [1])
    with pytest.raises(ComponentError, match=r"prompt_from_critiques\.memory: .*strategy distil_prompt"):
        PromptFromCritiques(Recorder(), str(tmp_path)).generate(["a"], 1, [1])
    (tmp_path / "instruction.txt").write_text(" \n")
    with pytest.raises(DataError, match="is empty"):
        PromptFromCritiques(Recorder(), str(tmp_path)).generate(["a"], 1, [1])
