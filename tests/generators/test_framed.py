"""framed: what the other generator is asked, and how settings reach it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from ilf.config import find, resolve
from ilf.errors import UsageError
from ilf.generators.framed import Framed

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi {critique}"}]


@dataclass(frozen=True)
class Parrot:
    """Answers with what it is asked, and its seed."""

    def generate(self, prompts: Sequence[Any], n: int, seeds: Sequence[int]) -> list[list[str]]:
        return [
            [f"{prompt!r} {seed} {i}" for i in range(n)] for prompt, seed in zip(prompts, seeds, strict=True)
        ]


def test_prompts_are_framed_and_seeds_handed_on() -> None:
    policy = Framed(
        Parrot(), template="{prompt}\nFEEDBACK: {critique}\nTL;DR:", critique="Nothing to change."
    )
    asked = "'A {prompt}\\nFEEDBACK: Nothing to change.\\nTL;DR:'"
    assert policy.generate(["A {prompt}", "B"], 2, [7, 8])[0] == [f"{asked} 7 0", f"{asked} 7 1"]
    assert policy.generate([], 1, []) == []


def test_messages_stay_messages_where_nothing_is_added() -> None:
    """With words around them they become one text, as when a strategy fills its template."""
    assert Framed(Parrot()).framed(MESSAGES) is MESSAGES
    assert Framed(Parrot(), template="{prompt}\nBETTER:").framed(MESSAGES) == (
        "system: Be brief.\nuser: Hi {critique}\nBETTER:"
    )


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"template": "BETTER:"}, "framed.template: {prompt} must stand in it"),
        ({"template": "{prompt} {critique}"}, "belong together"),
        ({"template": "{prompt}", "critique": "Good."}, "belong together"),
        ({"template": "{prompt} {output}"}, "framed.template: the template wants {output}"),
    ],
)
def test_templates_that_cannot_be_filled_are_refused(how: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError) as error:
        Framed(Parrot(), **how)
    assert told in str(error.value)


def test_what_cannot_be_asked_is_refused() -> None:
    policy = Framed(Parrot(), template="{prompt}:")
    with pytest.raises(UsageError, match="framed: 0 completions"):
        policy.generate(["A"], 0, [1])
    with pytest.raises(UsageError, match="framed: 1 prompts and 2 seeds"):
        policy.generate(["A"], 1, [1, 2])


def test_a_recipes_model_reaches_the_generator_inside() -> None:
    """A step's ``model`` is a default for what is nested in it, and ``steps.train`` is found there."""
    given = {
        "template": "{prompt}\nBETTER:",
        "generator": {"name": "transformers_lm", "max_new_tokens": 8},
    }
    problems: list[str] = []
    defaults = {"model": "steps.train", "generator": "transformers_lm", "device": "cpu"}
    spec = resolve(find("Generator", "framed"), "framed", given, "answer.generator", defaults, problems)
    assert not problems
    assert list(spec.models()) == ["steps.train"]
    built = spec.build(lambda reference: f"/made/{reference}")
    assert built.generator.model == "/made/steps.train"
    assert built.generator.max_new_tokens == 8
