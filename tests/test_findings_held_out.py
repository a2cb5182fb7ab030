"""An arm that learnt from the very model that grades it, or picks by it, is named, from the plan alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from result_page import Page, a_full_result

from ilf import cards, report
from ilf._findings.early import withhold
from ilf._findings.held_out import followed_by, not_held_out
from ilf.compare import Cell, Comparison, design
from ilf.config import Spec
from ilf.recipe import read_recipe

OWN = {"name": "reward", "reward": "steps.reward"}


@dataclass
class Made:
    """Steps that are made, with the hash of their model's weights where one is given."""

    weights: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, cell: Cell, name: str) -> Any:
        return SimpleNamespace(made_by={"model": self.weights[name]} if name in self.weights else {})


def flagged(
    overrides: Mapping[str, Any], made: Made | None = None, **further: Any
) -> dict[str, tuple[str, list[Any]]]:
    """Arm of ``rlhf_nano`` -> (model, axes) under other graders, with further steps before the tested ones."""
    recipe = read_recipe("recipes/rlhf_nano")
    steps = dict(recipe.raw["steps"])
    tested = {name: steps.pop(name) for name in ("test", "answer", "evaluate")}
    recipe = dataclasses.replace(recipe, raw={**recipe.raw, "steps": {**steps, **further, **tested}})
    designed = design(recipe.override({"compare.seeds": [0], **overrides}))
    by_arm = {cell.arm: [cell] for cell in designed.arms}
    found = not_held_out(designed.comparison, by_arm, made or Made())
    assert {flag["kind"] for flag in found} <= {"not_held_out"}
    return {flag["arm"]: (flag["model"], flag["axes"]) for flag in found}


def test_arms_trained_on_their_grader_or_picking_by_it_are_named_and_no_other() -> None:
    told = flagged({"evaluate.grader": OWN})
    assert set(told) == {"ppo", "rloo", "best_of_8", "flipped", "overdone"}
    assert told["ppo"] == ("steps.reward", [None])


def test_ground_truth_and_a_held_out_model_are_no_matter() -> None:
    assert flagged({}) == {}
    other = {"do": "train", "reads": "pair", "strategy": {"name": "reward", "learning_rate": 2e-3}}
    grader = {"evaluate.grader": {"name": "reward", "reward": "steps.other"}}
    assert flagged(grader, other=other) == {}
    assert flagged(grader, Made({"other": "5c51", "reward": "77aa"}), other=other) == {}
    # The same weights under another name are the same model.
    same = flagged(grader, Made({"other": "5c51", "reward": "5c51"}), other=other)
    assert set(same) == {"ppo", "rloo", "best_of_8", "flipped", "overdone"}
    assert same["ppo"] == ("steps.other", [None])


def test_a_grader_among_others_and_that_of_an_axis_count_too() -> None:
    both = flagged({"evaluate.grader": {"name": "combined", "graders": ["world", OWN]}})
    assert set(both) == {"ppo", "rloo", "best_of_8", "flipped", "overdone"}
    axis = {"load": {"split": "test_phrasing"}, "grader": OWN, "text": "outputs"}
    told = flagged({"compare.axes": {"further": axis}})
    assert told["ppo"] == ("steps.reward", ["further"])
    assert "dpo" not in told


def test_a_grader_that_only_looks_on_and_a_model_that_writes_are_not_followed() -> None:
    strategy = Spec(dict, "ppo", {"reward": "steps.reward", "start": "steps.sft"})
    grader = Spec(dict, "reward", {"reward": "steps.other"})
    ranker = Spec(dict, "ensemble", {"rankers": (Spec(dict, "reward", {"model": "steps.third"}),)})
    step = Spec(dict, "train", {"strategy": strategy, "grader": grader, "start": "steps.sft"})
    assert list(followed_by(step)) == ["steps.reward"]
    generator = Spec(dict, "best_of_n", {"generator": Spec(dict, "lm", {"model": "m"}), "ranker": ranker})
    assert list(followed_by(Spec(dict, "sample", {"generator": generator}))) == ["steps.third"]


def test_a_look_before_the_data_are_in_keeps_what_the_plan_says() -> None:
    found = {
        "flags": [{"kind": "not_held_out", "arm": "ppo"}, {"kind": "worse_than_base", "arm": "ppo"}],
        "arms": [], "worth": [], "axes": [], "notes": [], "versus": [],
    }  # fmt: skip
    withhold(found, {"step": "collect", "now": 0.4, "planned": 1.0})
    assert found["flags"] == [{"kind": "not_held_out", "arm": "ppo"}]


# --- what a reader is told


def test_the_warning_stands_at_the_top_and_the_answer_claims_nothing() -> None:
    result = a_full_result()
    best = "ilf_fixpoint@200000"
    claimed = report.headline(result)[0]
    assert best in claimed
    assert "was worth paying for" in claimed
    flag = {"kind": "not_held_out", "arm": best, "model": "steps.reward", "axes": [None]}
    result["flags"].insert(0, flag)
    said = report.headline(result)
    assert best not in said[0] or "not shown that the feedback was worth its price" in said[0]
    assert any(f"{best} (0.880) is graded by a model whose marks it learnt from" in each for each in said)
    words = f"{best}: its grade was given by steps.reward, the very model whose marks it learnt from"
    page = Page(report.render(result)).text
    assert page.index("Not held out") < page.index(words) < page.index("Nothing bought")
    assert words.replace("_", "\\_").replace("@", "@\u200b") in report.markdown(result)
    assert words in " ".join(report.terminal(result).split())
    assert "It is graded by steps.reward" in cards.model_card(result, best)


def test_alone_it_is_told_why_nothing_is_claimed() -> None:
    result = a_full_result()
    for arm in result["arms"]:
        if arm["arm"].split("@")[0] in ("ilf_fixpoint", "dpo", "ppo", "innocent"):
            flag = {"kind": "not_held_out", "arm": arm["arm"], "model": "steps.reward", "axes": [None]}
            result["flags"].append(flag)
    answer = report.headline(result)[0]
    assert "not shown that the feedback was worth its price" in answer
    assert "but is graded by a model whose marks it learnt from or picks by" in answer


@pytest.mark.parametrize(
    ("axes", "words"), [(["further"], "axis further was"), ([None, "x"], "grade and axis x")]
)
def test_an_axis_alone_keeps_the_claim(axes: list[Any], words: str) -> None:
    result = a_full_result()
    flag = {"kind": "not_held_out", "arm": "ilf_fixpoint@200000", "model": "m", "axes": axes}
    result["flags"] = [flag]
    assert ("was worth paying for: ilf_fixpoint@200000" in report.headline(result)[0]) is (None not in axes)
    assert words in Page(report.render(result)).text


def test_a_comparison_of_no_graded_arm_says_nothing() -> None:
    assert not_held_out(Comparison("evaluate", (), (0,)), {}, Made()) == []
