"""Settings: checked against type hints, all problems at once, with the nearest word."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import pytest

from ilf.config import find, modules, resolve, summary
from ilf.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Thing:
    """A thing."""

    rate: float
    n: int = 3
    kind: Literal["a", "b"] = "a"
    words: tuple[str, ...] = ()
    size: int | None = None
    is_on: bool = False
    batch: int = dataclasses.field(default=8, compare=False)


def settle(given: dict[str, Any], **defaults: Any) -> tuple[Any, list[str]]:
    problems: list[str] = []
    return resolve(Thing, "thing", given, "step", defaults, problems), problems


def test_yaml_numbers_become_what_the_hint_says() -> None:
    spec, problems = settle({"rate": "1e-5", "words": ["x"]})
    assert not problems
    assert spec.build() == Thing(rate=1e-5, words=("x",))
    assert settle({"rate": 2})[0].build().rate == 2.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rate": 1.0, "n": True}, "step.n: True is bool"),
        ({"rate": 1.0, "n": 1.5}, "step.n: 1.5 is float"),
        ({"rate": "fast"}, "step.rate: 'fast' is str"),
        ({"rate": 1.0, "kind": "c"}, "step.kind: 'c' is none of: a, b"),
        ({"rate": 1.0, "words": "x"}, "step.words: 'x' is no list"),
        ({"rate": 1.0, "words": [1]}, "step.words[0]: 1 is int"),
        ({"rate": 1.0, "size": "big"}, "step.size: 'big' is str"),
        ({"rate": 1.0, "is_on": 1}, "step.is_on: 1 is int"),
        ({}, "step.rate: thing needs this setting (float)"),
        ({"rate": 1.0, "wods": []}, "step.wods: unknown setting of thing. Did you mean 'words'?"),
    ],
)
def test_wrong_settings_are_named(given: dict[str, Any], message: str) -> None:
    assert any(problem.startswith(message) for problem in settle(given)[1]), settle(given)[1]


def test_all_problems_at_once() -> None:
    assert len(settle({"n": "x", "kind": 1, "nosuch": 2})[1]) == 4


def test_recipe_defaults_reach_settings_of_the_same_name() -> None:
    assert settle({}, rate=0.5, n=7)[0].build() == Thing(rate=0.5, n=7)
    assert settle({"n": 1}, rate=0.5, n=7)[0].build().n == 1


def test_speed_only_settings_stay_out_of_the_address() -> None:
    one, other = settle({"rate": 1.0, "batch": 1})[0], settle({"rate": 1.0, "batch": 64})[0]
    assert one.described() == other.described()
    assert one.described(speed_only=True) != other.described(speed_only=True)
    assert settle({"rate": 1.0, "n": 4})[0].described() != one.described()


def test_models_are_described_by_content() -> None:
    from rankers.fixpoint import Fixpoint

    problems: list[str] = []
    spec = resolve(Fixpoint, "fixpoint", {"model": "steps.train"}, "step", {}, problems)
    assert list(spec.models()) == ["steps.train"]
    assert spec.described(lambda name: f"content of {name}")["model"] == "content of steps.train"
    assert spec.build(lambda name: "/folder").model == "/folder"


def test_components_are_found_by_file_and_misspelt_ones_get_the_nearest() -> None:
    assert find("Ranker", "length").__name__ == "Length"
    assert find("Ranker", "oracle").__module__ == "ilf.rankers.oracle"
    assert find("Generator", "toys.echo").__name__ == "Echo"
    with pytest.raises(UsageError, match="no ranker 'lenght'. Did you mean 'length'"):
        find("Ranker", "lenght")
    with pytest.raises(UsageError, match="no ranker 'nosuch.module'"):
        find("Ranker", "nosuch.module")


def test_every_component_has_one_line_about_it() -> None:
    for family in ("Ranker", "Selector", "Generator", "FeedbackSource", "Strategy", "Grader", "World"):
        for name, module in modules(family).items():
            assert summary(module), f"{family} {name}"


def test_a_revision_changes_the_address() -> None:
    @dataclasses.dataclass(frozen=True)
    class Other(Thing):
        """The same after a change of results."""

        revision = 2

    problems: list[str] = []
    before = resolve(Thing, "thing", {"rate": 1.0}, "s", {}, problems).described()
    assert resolve(Other, "thing", {"rate": 1.0}, "s", {}, problems).described() != before
