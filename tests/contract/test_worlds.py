"""What every closed world promises; a new file in ilf/worlds/ is tested without an edit here."""

from __future__ import annotations

import copy
import itertools
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from contract_cases import OUTPUTS, build, names, public_class

from ilf.protocols import World

pytestmark = pytest.mark.parametrize("name", names("World"))
POSTS = 40


@pytest.fixture
def world(name: str, tmp_path: Path) -> Any:
    found = build("World", name, tmp_path)
    assert isinstance(found, World)
    return found


def facts_of(world: Any, split: str = "train", n: int = POSTS) -> list[Any]:
    return [world.facts(random.Random(seed), split) for seed in range(n)]


def test_is_one_documented_frozen_dataclass(name: str) -> None:
    cls = public_class("World", name)
    methods = ("facts", "prompt", "faulty", "critique", "rank", "demonstrate", "twin", "grade", "episodes")
    assert all(getattr(cls, method).__doc__ for method in methods)


def test_splits_and_prices_are_told(world: Any) -> None:
    assert "train" in world.splits
    assert "test" in world.splits
    assert all(text.strip() for text in world.splits.values())
    assert set(world.prices) == {"critique", "comparison", "demonstration"}
    assert all(seconds > 0 for seconds in world.prices.values())


def test_facts_survive_a_file(world: Any) -> None:
    """Rows are JSON lines: what a grader reads back must be what was drawn."""
    for split in world.splits:
        for facts in facts_of(world, split, 10):
            assert json.loads(json.dumps(facts, allow_nan=False)) == facts
            assert world.prompt(json.loads(json.dumps(facts))) == world.prompt(facts)


def test_everything_is_drawn_from_the_generator_that_is_passed_in(world: Any) -> None:
    """The same seed gives the same, another seed something else, and the global generator is neither read nor moved."""

    def everything(seed: int) -> list[Any]:
        rng = random.Random(seed)
        facts = world.facts(rng, "train")
        faulty = world.faulty(rng, facts)
        return [
            facts, world.prompt(facts), faulty, world.critique(rng, facts, faulty, 0.3), world.demonstrate(rng, facts, 0.3),
            world.rank(rng, facts, [faulty, *OUTPUTS], 0.3), list(itertools.islice(world.episodes(rng), 5)),
        ]  # fmt: skip

    random.seed(1)
    state = random.getstate()
    runs = [everything(7), everything(7), everything(8)]
    assert random.getstate() == state
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_prompts_vary_and_test_prompts_are_not_those_of_training(world: Any) -> None:
    prompts = {
        split: {world.prompt(facts) for facts in facts_of(world, split, 200)} for split in world.splits
    }
    for split, found in prompts.items():
        assert len(found) > 100, f"{split}: prompts repeat"
        assert split == "train" or not found & prompts["train"]


def test_the_annotators_own_text_is_faultless(world: Any) -> None:
    for split in world.splits:
        for seed, facts in enumerate(facts_of(world, split)):
            text = world.demonstrate(random.Random(seed), facts)
            assert world.grade(facts, text)["grade"] == 1.0, text


def test_texts_continue_the_prompt(world: Any) -> None:
    """A prompt and its completion are joined with nothing between: one of them brings the space."""
    for facts in facts_of(world, n=10):
        for text in (world.demonstrate(random.Random(0), facts), world.faulty(random.Random(0), facts)):
            assert text.strip()
            assert world.prompt(facts)[-1:].isspace() != text[:1].isspace()


def test_faulty_texts_leave_room(world: Any) -> None:
    grades = [
        world.grade(facts, world.faulty(random.Random(i), facts))["grade"]
        for i, facts in enumerate(facts_of(world))
    ]
    assert sum(grades) / len(grades) < 0.8
    assert len(set(grades)) > 2


def test_grades_are_in_the_unit_interval_or_unknown_with_a_reason(world: Any) -> None:
    facts = facts_of(world, n=2)
    for output in (
        world.faulty(random.Random(0), facts[0]),
        world.demonstrate(random.Random(0), facts[1]),
        *OUTPUTS,
    ):
        verdict = world.grade(facts[0], output)
        parts = {part: value for part, value in verdict.items() if part != "reason"}
        assert parts["grade"] is None or 0.0 <= parts["grade"] <= 1.0
        assert all(value is None or math.isfinite(value) for value in parts.values())
        assert None not in parts.values() or verdict["reason"].strip()
        assert world.grade(facts[0], output) == verdict
    assert world.grade(facts[0], "")["grade"] in (0.0, None), "an empty text earns nothing"


def test_the_parts_are_the_same_for_every_text(world: Any) -> None:
    """A table with a column per part needs them all in every row."""
    facts = facts_of(world, n=1)[0]
    outputs = (world.faulty(random.Random(0), facts), world.demonstrate(random.Random(0), facts), *OUTPUTS)
    kinds = {frozenset(world.grade(facts, output)) - {"reason"} for output in outputs}
    assert len(kinds) == 1
    assert len(next(iter(kinds))) > 1, "a grade has named parts"


def test_critiques_are_words_about_the_output(world: Any) -> None:
    for i, facts in enumerate(facts_of(world, n=20)):
        good, bad = world.demonstrate(random.Random(i), facts), world.faulty(random.Random(i), facts)
        for output in (good, bad, *OUTPUTS):
            assert world.critique(random.Random(i), facts, output).strip()
            assert world.critique(random.Random(i), facts, output)[0].strip(), (
                "critiques bring no leading space"
            )
    texts = {world.critique(random.Random(seed), facts, bad) for seed in range(20)}
    assert len(texts) > 1, "the annotator's words vary"


def test_rankings_follow_the_grade(world: Any) -> None:
    for i, facts in enumerate(facts_of(world, n=20)):
        rng = random.Random(i)
        outputs = [world.demonstrate(rng, facts), world.faulty(rng, facts), world.faulty(rng, facts), "", ""]
        ranking = world.rank(rng, facts, outputs)
        assert sorted(index for group in ranking for index in group) == list(range(len(outputs)))
        marks = [
            {round(world.grade(facts, outputs[i])["grade"] or 0.0, 9) for i in group} for group in ranking
        ]
        assert all(len(group) == 1 for group in marks), "those in one group are tied"
        best_first = [next(iter(group)) for group in marks]
        assert best_first == sorted(best_first, reverse=True)
        assert len(set(best_first)) == len(best_first), "equal grades share a group"
    assert world.rank(random.Random(0), facts, []) == []
    assert world.rank(random.Random(0), facts, [""]) == [[0]]


def test_errors_of_the_annotator_show(world: Any) -> None:
    """An error rate of 1 changes critiques and demonstrations; a rate of 0 is the default."""
    cases = list(enumerate(facts_of(world)))
    bad = [world.faulty(random.Random(i), facts) for i, facts in cases]

    def critiques(**rate: float) -> list[str]:
        return [world.critique(random.Random(i), facts, bad[i], **rate) for i, facts in cases]

    assert critiques() == critiques(error_rate=0.0)
    assert critiques() != critiques(error_rate=1.0)
    texts = [world.demonstrate(random.Random(i), facts, error_rate=1.0) for i, facts in cases]
    grades = [world.grade(facts, texts[i])["grade"] for i, facts in cases]
    assert sum(grades) / len(grades) < 1.0


def test_a_twin_differs_in_the_group_alone(world: Any) -> None:
    for facts in facts_of(world, n=10):
        twin = world.twin(facts)
        if twin is None:
            continue
        assert world.prompt(twin) != world.prompt(facts)
        assert world.twin(twin) == facts
        text = world.demonstrate(random.Random(0), twin)
        assert world.grade(twin, text)["grade"] == 1.0
        assert world.grade(facts, text)["grade"] < 1.0


def test_arguments_are_left_as_they_are(world: Any) -> None:
    facts = facts_of(world, n=1)[0]
    before = copy.deepcopy(facts)
    outputs = [world.faulty(random.Random(0), facts), ""]
    world.prompt(facts)
    world.critique(random.Random(0), facts, outputs[0], 0.5)
    world.rank(random.Random(0), facts, outputs, 0.5)
    world.demonstrate(random.Random(0), facts, 0.5)
    world.twin(facts)
    world.grade(facts, outputs[0])
    assert (facts, outputs[1]) == (before, "")


def test_episodes_have_no_end_and_hold_texts(world: Any) -> None:
    pairs = list(itertools.islice(world.episodes(random.Random(0)), 300))
    assert len(pairs) == 300
    assert all(isinstance(text, str) and text.strip() for pair in pairs for text in pair)
    assert all(prompt[-1:].isspace() != completion[:1].isspace() for prompt, completion in pairs)
    assert len(set(pairs)) > 250
