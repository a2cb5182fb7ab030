"""Scores of multiple choice that cannot be told from guessing, from a model's own rows to the page."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from lab import Lab
from result_page import Page
from tiny_models import tiny_model

from ilf import cards, report
from ilf._findings.guessing import chance_of, near_chance
from ilf.compare import Arm, Axis, Comparison
from ilf.evaluate import evaluate
from ilf.findings import tables
from ilf.graders.multiple_choice import MultipleChoice
from ilf.protocols import Row

ARMS = ("base", "other", "knows")
ITEMS = 45
WITHIN = "is within the smallest detectable effect"


@dataclass(frozen=True)
class Knowing(MultipleChoice):
    """A model that finds the right option likeliest, all but once in ten."""

    def _scores(self, items: Sequence[Row]) -> list[dict[str, float]]:
        return [
            {
                option: float(mark if at % 10 else -mark)
                for option, mark in zip(row["options"], row["correct"], strict=True)
            }
            for at, row in enumerate(items)
        ]


def items() -> list[dict[str, Any]]:
    """Questions of three options, the right one anywhere."""
    draw = random.Random(1)
    things = ["a lamp", "the kettle", "a hut", "40 coins", "Anna", "a walk", "the price"]
    rows = []
    for i in range(ITEMS):
        options = draw.sample(things, 3)
        right = draw.randrange(3)
        rows.append(
            {
                "id": str(i),
                "prompt": f"Q{i}: What broke in Brimley {draw.choice(things)}?\nA:",
                "options": options,
                "correct": [int(k == right) for k in range(3)],
            }
        )
    return rows


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two models of random weights and one that knows, on an axis of multiple choice; the grade is another's."""
    folder = tmp_path_factory.mktemp("guessing")
    lab = Lab(folder)
    models = {name: str(tiny_model(folder / name, seed=seed)) for seed, name in enumerate(ARMS[:2])}
    grade = [{"prompt": f"post {i}", "grade": i / 40, "parts": {"toxicity": i / 80}} for i in range(20)]
    for arm in ARMS:
        grader = Knowing("m") if arm == "knows" else MultipleChoice(models[arm])
        graded = list(evaluate(items(), grader=grader, text="prompt"))
        for seed in (0, 1):
            lab.add(arm, seed, {"evaluate": grade})
            lab.finish(f"{arm}/{seed}/known", graded)
            lab.cells[-1].keys["evaluate_known"] = f"{arm}/{seed}/known"  # type: ignore[index]
    comparison = Comparison(
        "evaluate",
        tuple(Arm(name, control=None if name == "base" else "base", of=name) for name in ARMS),
        (0, 1),
        controls={"base": "base"},
        axes=(Axis("known", {"split": "x"}, axis="knowledge", part="accuracy"),),
    )
    return tables(comparison, lab.cells, lab.step)


def axis(found: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    (table,) = [axis for axis in found["axes"] if axis["axis"] == name]
    return {row["arm"]: row for row in table["rows"]}


def test_a_model_that_guesses_has_no_score_and_one_that_knows_has(found: dict[str, Any]) -> None:
    rows = axis(found, "knowledge")
    assert rows["base"]["after"] is None
    assert f"over {ITEMS} items {WITHIN}" in rows["base"]["after_reason"]
    assert "of chance (0.333)" in rows["base"]["after_reason"]
    # Both guess: nothing can be said of their difference.
    assert (rows["other"]["before"], rows["other"]["after"]) == (None, None)
    assert not rows["other"].keys() & {"difference", "verdict", "p"}
    # One of the two is known: the difference is.
    assert rows["knows"]["after"] == pytest.approx(0.889, abs=0.02)
    assert rows["knows"]["before"] is None
    assert rows["knows"]["before_reason"] == rows["base"]["after_reason"]
    assert "after_reason" not in rows["knows"]
    assert rows["knows"]["verdict"] == "better"


def test_what_has_no_chance_level_stays_as_it_is(found: dict[str, Any]) -> None:
    for name in ("response preference", "toxicity"):
        rows = axis(found, name)
        assert all(isinstance(row["after"], float) for row in rows.values())
        assert not any("after_reason" in row for row in rows.values())
        assert "difference" in rows["other"]


def test_page_markdown_and_terminal_say_not_measurable_and_why(found: dict[str, Any]) -> None:
    reason = axis(found, "knowledge")["base"]["after_reason"]
    words = f"knowledge (known): not measurable for 2 of 3 arms; base: {reason}"
    page = " ".join(Page(report.render(found)).text.split())
    assert words in page
    assert page.count("not measurable: ") >= 3, "in the table of axes, and in that of all numbers"
    assert f"after not measurable: {axis(found, 'knowledge')['other']['after_reason']}" in page
    assert words in report.markdown(found).replace("\\", "")
    assert words in " ".join(report.terminal({**found, "recipe": "r"}).split())
    assert "not measurable" in cards.model_card({**found, "recipe": "r"}, "other")


def table(*values: float) -> Any:
    return np.array([[value] for value in values])


def test_only_the_marks_of_a_choice_have_its_chance_level() -> None:
    chance, own = table(0.5, 0.25), table(0.2, 0.2)
    mark = table(1.0, 0.0)
    parts = {"grade": mark, "accuracy": mark, "pro": table(1.0, np.nan), "bias": mark, "chance": chance}
    assert chance_of(parts, "accuracy") is chance
    assert chance_of(parts, "grade") is chance
    assert chance_of(parts, "pro") is chance
    assert chance_of(parts, "bias") is None
    assert chance_of(parts, "absent") is None
    # Beside another grader's grade and part: theirs is no choice.
    mixed = {**parts, "grade": table(0.4, 0.9), "toxicity": table(0.1, 0.0)}
    assert chance_of(mixed, "grade") is None
    assert chance_of(mixed, "toxicity") is None
    truthful = {"mc1": mark, "mc2": own, "truthfulness": own, "chance": chance, "mc1_chance": own}
    assert chance_of(truthful, "truthfulness") is chance
    assert chance_of(truthful, "mc1") is own
    pairs = {"stereotyped": mark, "grade": 1 - mark, "bias": 2 * mark - 1, "chance": chance}
    assert chance_of(pairs, "grade") is chance
    assert chance_of(pairs, "bias") is None
    assert chance_of({"grade": mark}, "grade") is None


def test_a_prompt_is_an_item_however_many_seeds_there_are() -> None:
    """Hand-computed in the grader's tests: 8 of 10 at chance .39 is .41 away, and .419 could have been seen."""
    scores = table(*[1.0] * 8, *[0.0] * 2)
    level = np.full((10, 1), 0.39)
    assert "0.800 over 10 items" in (near_chance(scores, level) or "")
    again = near_chance(np.repeat(scores, 3, axis=1), np.repeat(level, 3, axis=1))
    assert again == near_chance(scores, level)
    assert near_chance(scores, np.full((10, 1), 0.38)) is None
    assert near_chance(scores, None) is None
    assert near_chance(table(np.nan, 1.0), table(0.5, 0.5)) == "1 item(s) have a score, 2 or more are needed"
