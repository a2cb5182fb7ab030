"""What every generator promises; a new file in ilf/generators/ is tested without an edit here."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contract_cases import build, names, public_class

from ilf.errors import ComponentError, DataError, UsageError
from ilf.protocols import Generator
from ilf.refine import refine
from ilf.sample import sample

pytestmark = pytest.mark.parametrize("name", names("Generator"))

PROMPTS = [
    "My name is Tom. I broke the kettle. It cost me 270 coins.\nTL;DR:",
    "A",
    "Anna, a cook, had trouble with a lamp during a storm, and says so at some length, twice.\nTL;DR:",
    "{prompt} 日本 \u2028",
    "    return a + b\n",
]
SEEDS = [5, 2**63 - 1, 0, 7, 7]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("generators")


def generator_of(name: str, folder: Path, **given: Any) -> Any:
    known = {field.name for field in dataclasses.fields(public_class("Generator", name))}
    small = {"max_new_tokens": 12, **given}
    return build("Generator", name, folder, **{key: value for key, value in small.items() if key in known})


def test_is_one_documented_frozen_dataclass(name: str, folder: Path) -> None:
    assert public_class("Generator", name).generate.__doc__
    generator = generator_of(name, folder)
    assert isinstance(generator, Generator)
    assert hash(generator) == hash(generator_of(name, folder))


def test_n_texts_for_every_prompt(name: str, folder: Path) -> None:
    generator = generator_of(name, folder)
    for n in (1, 3):
        answers = generator.generate(PROMPTS, n, SEEDS)
        assert [len(row) for row in answers] == [n] * len(PROMPTS)
        assert all(type(text) is str for row in answers for text in row)
    assert generator.generate([], 3, []) == []


def test_a_row_depends_on_its_prompt_and_seed_alone(name: str, folder: Path) -> None:
    """Not on its neighbours, their order, what was asked before, or how many copies others get."""
    generate = generator_of(name, folder).generate
    together = generate(PROMPTS, 3, SEEDS)
    assert generate(PROMPTS[::-1], 3, SEEDS[::-1]) == together[::-1]
    assert [generate([prompt], 3, [seed])[0] for prompt, seed in zip(PROMPTS, SEEDS, strict=True)] == together
    assert generate([PROMPTS[2]] * 2, 3, [SEEDS[2]] * 2) == [together[2]] * 2


def test_more_copies_begin_like_fewer(name: str, folder: Path) -> None:
    generate = generator_of(name, folder).generate
    assert [row[:2] for row in generate(PROMPTS, 5, SEEDS)] == generate(PROMPTS, 2, SEEDS)


def test_speed_only_settings_change_nothing(name: str, folder: Path) -> None:
    expected = generator_of(name, folder).generate(PROMPTS, 3, SEEDS)
    for field in dataclasses.fields(public_class("Generator", name)):
        if not field.compare:
            assert isinstance(field.default, int), "the contract knows how to vary whole numbers"
            for value in (1, 4):
                changed = generator_of(name, folder, **{field.name: value})
                assert changed == generator_of(name, folder)
                assert changed.generate(PROMPTS, 3, SEEDS) == expected


def test_messages_are_answered_or_refused_with_advice(name: str, folder: Path) -> None:
    prompt = [{"role": "user", "content": "Hi there"}]
    try:
        [answers] = generator_of(name, folder).generate([prompt], 2, [1])
        told = ""
    except (ComponentError, DataError) as error:
        answers, told = [], str(error)
    assert len(answers) == 2 or "message" in told
    assert prompt == [{"role": "user", "content": "Hi there"}]


def test_prompts_are_left_as_they_are(name: str, folder: Path) -> None:
    prompts, seeds = copy.copy(PROMPTS), copy.copy(SEEDS)
    generator_of(name, folder).generate(prompts, 2, seeds)
    assert (prompts, seeds) == (PROMPTS, SEEDS)


def test_global_randomness_neither_matters_nor_moves(name: str, folder: Path) -> None:
    def states() -> tuple[Any, ...]:
        numpy_state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002 - the caller's
        return random.getstate(), str(numpy_state), torch.get_rng_state().tolist()

    generator = generator_of(name, folder)
    before = states()
    first = generator.generate(PROMPTS, 2, SEEDS)
    assert states() == before
    random.random(), torch.rand(1), np.random.rand()  # noqa: NPY002 - the caller's
    assert generator.generate(PROMPTS, 2, SEEDS) == first


def test_pickles_as_its_settings(name: str, folder: Path) -> None:
    """Worker processes get settings, no weights."""
    generator = generator_of(name, folder)
    expected = generator.generate(PROMPTS, 2, SEEDS)
    sent = pickle.dumps(generator)
    assert len(sent) < 4096
    arrived = pickle.loads(sent)  # noqa: S301 - our own bytes
    assert arrived == generator
    assert arrived.generate(PROMPTS, 2, SEEDS) == expected


def test_seeds_and_prompts_must_be_as_many(name: str, folder: Path) -> None:
    with pytest.raises((ValueError, UsageError)):
        generator_of(name, folder).generate(PROMPTS, 1, SEEDS[:-1])


def test_works_in_the_verbs(name: str, folder: Path) -> None:
    generator = generator_of(name, folder)
    asked = [{"id": f"r{i}", "prompt": prompt} for i, prompt in enumerate(PROMPTS)]
    sampled = list(sample(asked, generator=generator, n=2, seed=3))
    assert [row["prompt"] for row in sampled] == PROMPTS
    assert all(len(row["outputs"]) == 2 and row["output"] == row["outputs"][0] for row in sampled)
    told = [{**row, "output": row["output"] or "x", "critique": "Name the price."} for row in sampled]
    refined = list(refine(told, generator=generator, n=3, seed=3))
    assert all(len(row["refinements"]) == 3 for row in refined)
    # Facts are for graders: a generator gives the same texts without them.
    leaked = [{**row, "facts": {"answer": 42}} for row in asked]
    again = list(sample(leaked, generator=generator, n=2, seed=3))
    assert [row["outputs"] for row in again] == [row["outputs"] for row in sampled]
