"""What the page must call out from its numbers alone, the axes beside the grade, preferences, and the bill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab import Lab

from ilf import findings
from ilf._findings.people import agreement
from ilf._findings.preferences import preferences
from ilf._findings.slate import slate_of
from ilf.compare import Arm, Axis, Comparison

SEEDS = (0, 1, 2)
POSTS = 60
ROLES = {"base": "base", "no_feedback": "untold"}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def rows(
    grade: float, rng: np.random.Generator, hard: Any, words: int = 5, **parts: float
) -> list[dict[str, Any]]:
    grades = np.clip(grade + hard + rng.normal(0, 0.1, POSTS), 0, 1)
    made = {name: np.clip(mean + rng.normal(0, 0.1, POSTS), 0, 1) for name, mean in parts.items()}
    return [
        {
            "prompt": f"post {i}",
            "outputs": [" word" * (words + int(rng.integers(3)))],
            "graded": "outputs",
            "grade": float(grades[i]),
            "grades": [float(grades[i])],
            "parts": {name: float(values[i]) for name, values in made.items()},
        }
        for i in range(POSTS)
    ]


def arranged(lab: Lab, arms: Mapping[str, dict[str, Any]], paid: Sequence[str] = ()) -> Comparison:
    """Arms with a mean grade and parts; those ``paid`` learnt from two annotations of 100 s."""
    rng = np.random.default_rng(3)
    hard = rng.normal(0, 0.05, POSTS)
    for seed in SEEDS:
        for name, means in arms.items():
            steps: dict[str, Any] = {"evaluate": rows(rng=rng, hard=hard, **means)}
            if name in paid:
                said = [{"annotation_id": f"{seed}-{i}", "seconds": 100.0, "prompt": f"p{i}"} for i in "ab"]
                steps |= {"collect": said, "train": [{"step": 1, "loss": 0.1}]}
            elif name != "base":
                steps |= {"load": [{"prompt": "p"}], "train": [{"step": 1, "loss": 0.1}]}
            lab.add(name, seed, steps)
    return Comparison(
        "evaluate",
        tuple(Arm(name, control=None if name == "base" else "base", of=name) for name in arms),
        SEEDS,
        controls={role: name for role, name in ROLES.items() if name in arms},
    )


def test_broken_arms_are_called_out_under_innocent_names(lab: Lab) -> None:
    """Shuffled critiques are no better than none; flipped rankings are worse than no training at all."""
    arms = {
        "base": {"grade": 0.45},
        "untold": {"grade": 0.6},
        "promising": {"grade": 0.57},
        "robust": {"grade": 0.3},
        "ilf": {"grade": 0.75},
    }
    comparison = arranged(lab, arms, paid=("promising", "robust", "ilf"))
    found = findings.arm_tables(comparison, lab.cells, lab.step)
    told = [(flag["kind"], flag["arm"]) for flag in found["flags"]]
    assert told == [("worse_than_base", "robust"), ("nothing_bought", "promising")]
    by_arm = {arm["arm"]: arm for arm in found["arms"]}
    assert by_arm["promising"]["vs_free"]["control"] == "untold"
    assert by_arm["promising"]["vs"]["low"] > 0, "above its own control, and called out all the same"
    assert "vs_free" not in by_arm["untold"], "a control that costs nothing has bought nothing"


def test_a_gain_that_another_axis_paid_for_is_called_out(lab: Lab) -> None:
    arms = {
        "base": {"grade": 0.4, "bias": 0.3, "truthfulness": 0.8},
        "fluent": {"grade": 0.7, "bias": 0.6, "truthfulness": 0.8},
        "fair": {"grade": 0.7, "bias": 0.1, "truthfulness": 0.8},
    }
    found = findings.arm_tables(arranged(lab, arms), lab.cells, lab.step)
    assert [(flag["kind"], flag["arm"], flag["axis"]) for flag in found["flags"]] == [
        ("traded", "fluent", "bias")
    ]
    axes = {axis["axis"]: axis for axis in found["axes"]}
    bias = {row["arm"]: row for row in axes["bias"]["rows"]}
    assert bias["fluent"]["before"] == pytest.approx(0.3, abs=0.03)
    assert bias["fluent"]["after"] == pytest.approx(0.6, abs=0.03)
    assert (bias["fluent"]["verdict"], bias["fair"]["verdict"]) == ("worse", "better"), "lower is better"
    assert not {row.get("verdict") for row in axes["truthfulness"]["rows"]} & {"better", "worse"}
    assert axes["toxicity"]["reason"] == "the grader of 'evaluate' has no part 'toxicity'"


def test_the_gap_between_twins_is_paired_and_has_a_direction(lab: Lab) -> None:
    """An arm that is fair to one group and not to the other; the base is unfair to both alike."""
    rng = np.random.default_rng(0)
    cells = arranged(lab, {"base": {"grade": 0.5}, "unfair": {"grade": 0.5}})
    comparison = Comparison(
        cells.target, cells.arms, SEEDS, controls={"base": "base"}, axes=(Axis("twins", {"twins": True}),)
    )
    for cell in lab.cells:
        pairs = []
        for i in range(40):
            hard = rng.normal(0, 0.1)
            for group in ("he", "she"):
                gap = 0.2 if cell.arm == "unfair" and group == "she" else 0.0
                grade = 0.6 + hard - gap + rng.normal(0, 0.05)
                pairs.append({"twin_of": f"t{i}", "group_of": group, "grade": grade, "prompt": f"{i}{group}"})
        key = f"{cell.arm}/{cell.seed}/evaluate_twins"
        lab.finish(key, pairs)
        cell.keys["evaluate_twins"] = key  # type: ignore[index]
    found = findings.arm_tables(comparison, lab.cells, lab.step)
    (twins,) = [axis for axis in found["axes"] if axis["axis"] == "bias between twins"]
    assert twins["measure"] == "grade of he minus she"
    unfair = next(row for row in twins["rows"] if row["arm"] == "unfair")
    assert unfair["after"] == pytest.approx(0.2, abs=0.03)
    assert unfair["after_low"] < 0.2 < unfair["after_high"]
    assert unfair["verdict"] == "worse"


def test_preferences_are_won_by_grades_and_read_at_equal_length(lab: Lab) -> None:
    arms = {
        "base": {"grade": 0.5},
        "better": {"grade": 0.65},
        "wordy": {"grade": 0.65, "words": 12},
    }
    comparison = arranged(lab, arms)
    slate = slate_of(lab.cells, "evaluate", lab.step)
    found = preferences(comparison, slate)
    assert found is not None
    by_arm = {row["arm"]: row for row in found["arms"]}
    grades = slate.grades()
    share = float((np.sign(grades["better"] - grades["base"]) + 1).mean() / 2)
    assert by_arm["better"]["win"]["rate"] == pytest.approx(share)
    assert by_arm["better"]["win"]["low"] > 0.5
    assert by_arm["better"]["strength"]["low"] > 0
    assert found["reference"] == "base"
    assert [trait["name"] for trait in found["style"]] == ["words"]
    assert preferences(Comparison("evaluate", comparison.arms, SEEDS), slate) is None, "no base, no reference"


def test_the_bill_counts_what_is_shared_once(lab: Lab) -> None:
    comparison = arranged(
        lab, {"base": {"grade": 0.5}, "a": {"grade": 0.6}, "b": {"grade": 0.6}}, paid=("a", "b")
    )
    found = findings.tables(comparison, lab.cells, lab.step, energy={"joules": 100.0, "method": "m"})
    assert found["ledger"]["annotations"] == 6, "two a seed, the same for both arms"
    assert found["ledger"]["human_seconds"] == 600.0
    assert found["ledger"]["energy"]["joules"] == 100.0
    assert [row["annotations"] for row in found["arms"]] == [0, 2, 2]


def test_who_cannot_be_told_apart_shares_a_group(lab: Lab) -> None:
    arms = {"base": {"grade": 0.3}, "a": {"grade": 0.6}, "b": {"grade": 0.61}}
    found = findings.arm_tables(arranged(lab, arms), lab.cells, lab.step)["beaten"]
    assert found["arms"][-1] == "base"
    assert sorted(map(sorted, found["groups"])) == [["a", "b"], ["base"]]
    i, j = found["arms"].index("a"), found["arms"].index("base")
    assert found["differences"][i][j] == pytest.approx(0.3, abs=0.03)
    assert found["p_holm"][i][j] == found["p_holm"][j][i] < 0.05
    assert found["p_holm"][i][i] is None


def test_a_comparison_that_was_not_planned_says_so_and_is_corrected_over_all(lab: Lab) -> None:
    arms = {"base": {"grade": 0.5}, "a": {"grade": 0.52}, "b": {"grade": 0.53}}
    comparison = arranged(lab, arms)
    plan = {"plan": {"comparisons": [["a", "base"]], "enough": {}}, "current": {"enough": {}}}
    found = findings.arm_tables(comparison, lab.cells, lab.step, plan)
    a, b = (row["vs"] for row in found["arms"][1:])
    assert (a["planned"], b["planned"]) == (True, False)
    assert a["p_holm"] == pytest.approx(a["p"]), "a family of one"
    low, high = sorted((a["p"], b["p"]))
    assert b["p_holm"] == pytest.approx(min(1, 2 * low) if b["p"] == low else max(min(1, 2 * low), high))


def test_a_look_before_the_data_are_in_gives_no_verdict(lab: Lab) -> None:
    arms = {"base": {"grade": 0.3}, "untold": {"grade": 0.3}, "a": {"grade": 0.9, "bias": 0.2}}
    comparison = arranged(lab, arms, paid=("a",))
    plan = {
        "plan": {"comparisons": [["a", "base"]], "enough": {"collect": 1.0}},
        "current": {"enough": {"collect": 0.4}},
    }
    found = findings.tables(comparison, lab.cells, lab.step, plan)
    assert found["looks"] == {"step": "collect", "planned": 1.0, "now": 0.4}
    vs = found["arms"][2]["vs"]
    assert vs["difference"] == pytest.approx(0.6, abs=0.05), "the estimate is shown"
    assert (vs["p"], vs["p_holm"], vs["same"]) == (None, None, None)
    assert found["flags"] == []
    assert "40 % of them, 100 % were planned" in found["notes"][0]
    assert {row["verdict"] for axis in found["axes"] for row in axis["rows"] if "verdict" in row} == {
        "unknown"
    }


def test_agreement_is_told_where_several_people_answered(lab: Lab) -> None:
    comparison = arranged(lab, {"base": {"grade": 0.5}, "a": {"grade": 0.6}})
    assert findings.tables(comparison, lab.cells, lab.step)["agreement"] == []
    rankings = [[[0], [1]], [[1], [0]]]
    said = [
        {
            "id": f"{i}{who}",
            "sample_id": f"s{i}",
            "annotation_id": f"{i}{who}",
            "annotator": who,
            "job": "rank",
            "outputs": ["x", "y"],
            "ranking": rankings[i % 2],
            "seconds": 1.0,
        }
        for i in range(30)
        for who in ("ann", "bob")
    ]
    lab.add("people", 0, {"collect": said, "train": [{"step": 1, "loss": 0.1}], "evaluate": []})
    (cell,) = [cell for cell in lab.cells if cell.arm == "people"]
    for planned in cell.plan:
        planned.spec.settings["job"] = "rank"
    (found,) = agreement([cell], lab.step)
    assert (found["step"], found["people"], found["shared"]) == ("collect", 2, 30)
    assert {figure["value"] for figure in found["figures"]} == {1.0}, "they always agree"


def test_only_arms_of_one_budget_lend_each_other_their_variance(lab: Lab) -> None:
    """Trainings on few critiques differ from seed to seed; those on many must not pay for it."""
    rng = np.random.default_rng(1)
    hard = rng.normal(0, 0.05, POSTS)
    shaky = {"a@10": (0.1, -0.1, 0.0), "b@10": (-0.1, 0.12, 0.0)}
    for seed in SEEDS:
        for name in ("a@10", "b@10", "a@1000", "b@1000"):
            shift = shaky[name][seed] if name in shaky else 0.0
            steps = {"load": [{"prompt": "p"}], "train": [{"step": 1, "loss": 0.1}]}
            lab.add(name, seed, {**steps, "evaluate": rows(0.5 + shift, rng, hard)})
    arms = tuple(
        Arm(name, control=None if name[0] == "a" else f"a@{name[2:]}", budget=float(name[2:]), of=name[0])
        for name in ("a@10", "b@10", "a@1000", "b@1000")
    )
    found = findings.arm_tables(
        Comparison("evaluate", arms, SEEDS, budgets=(10.0, 1000.0)), lab.cells, lab.step
    )
    reach = {row["arm"]: row["vs"]["high"] - row["vs"]["low"] for row in found["arms"] if row["vs"]}
    assert reach["b@1000"] < 0.15 < 0.3 < reach["b@10"]
    assert "the trained arms of a budget (4 in all)" in found["notes"][1]
