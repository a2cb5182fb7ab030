"""The tables of a comparison, against what one computes by hand from the rows of finished steps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab import LOOP, Lab, by_hand
from scipy.stats import t

from ilf import findings
from ilf.compare import Arm, Comparison
from ilf.errors import DataError


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def graded(grades: Sequence[float | None], **parts: Sequence[float | None]) -> list[dict[str, Any]]:
    return [
        {"prompt": f"post {i}", "grade": grade, "parts": {name: values[i] for name, values in parts.items()}}
        for i, grade in enumerate(grades)
    ]


ARMS = (
    Arm("base", is_control=True),
    Arm("initial", control="base", is_control=True),
    Arm("ilf", control="initial"),
    Arm("demo", control="initial"),
)
TRAINED = ("initial", "ilf", "demo")
MEANS = {"base": 0.4, "initial": 0.42, "ilf": 0.5, "demo": 0.6}


def drawn(seeds: Sequence[int], n: int = 12) -> dict[tuple[str, int], list[float | None]]:
    """Grades of every arm and seed, in [0, 1], with spread between prompts, and between arms at a seed."""
    rng = np.random.default_rng(5)
    hard = rng.normal(0, 0.1, n)
    return {
        (arm.name, seed): list(
            np.clip(MEANS[arm.name] + hard + rng.normal(0, 0.05) + rng.normal(0, 0.1, n), 0, 1)
        )
        for arm in ARMS
        for seed in seeds
    }


def measure(lab: Lab, grades: Mapping[tuple[str, int], Sequence[float | None]], seeds: Sequence[int]) -> Any:
    for arm in ARMS:
        for seed in seeds:
            steps: dict[str, Any] = {"evaluate": graded(grades[arm.name, seed])}
            if arm.name in TRAINED:
                steps["train"] = []
            lab.add(arm.name, seed, steps)
    return lab.tables(Comparison("evaluate", ARMS, tuple(seeds)))


def table(grades: Mapping[tuple[str, int], Sequence[Any]], arm: str, seeds: Sequence[int]) -> Any:
    return np.array([grades[arm, seed] for seed in seeds], dtype=float).T


def test_grades_and_differences_are_those_of_the_rows(lab: Lab) -> None:
    seeds = (0, 1, 2)
    grades = drawn(seeds)
    found = measure(lab, grades, seeds)
    own = {name: table(grades, name, seeds) for name in MEANS}
    pairs = [own[a] - own[b] for a, b in itertools.combinations(TRAINED, 2)]
    assert found["seeds"] == [0, 1, 2]
    assert found["test_prompts"] == 12
    assert [entry["arm"] for entry in found["arms"]] == list(MEANS)
    for entry in found["arms"]:
        mean, low, high, _ = by_hand(own[entry["arm"]])
        assert (entry["grade"], entry["low"], entry["high"]) == pytest.approx((mean, low, high))
        assert entry["seeds"] == 3
    for entry in found["arms"][1:]:
        vs = entry["vs"]
        pooled = pairs if vs["control"] in TRAINED else ()
        wanted = by_hand(own[entry["arm"]] - own[vs["control"]], pooled)
        assert (vs["difference"], vs["low"], vs["high"], vs["p"]) == pytest.approx(wanted)
    assert found["arms"][0]["vs"] is None
    assert "pooled over 3 arms" in found["notes"][1]


def test_p_values_are_corrected_over_all_comparisons_of_the_table(lab: Lab) -> None:
    found = measure(lab, drawn((0, 1, 2)), (0, 1, 2))
    entries = sorted((e["vs"] for e in found["arms"] if e["vs"]), key=lambda vs: vs["p"])
    for i, vs in enumerate(entries):
        wanted = max(min(1.0, (3 - j) * entries[j]["p"]) for j in range(i + 1))
        assert vs["p_holm"] == pytest.approx(wanted)
    assert any(vs["p_holm"] > vs["p"] for vs in entries)


def test_rows_are_matched_by_prompt_not_by_place(lab: Lab) -> None:
    values = drawn((0, 1))
    for arm in ARMS[:2]:
        for seed in (0, 1):
            rows = graded(values[arm.name, seed])
            lab.add(arm.name, seed, {"evaluate": rows[::-1] if arm.name == "initial" and seed else rows})
    found = lab.tables(Comparison("evaluate", ARMS[:2], (0, 1)))
    difference = table(values, "initial", (0, 1)) - table(values, "base", (0, 1))
    vs = found["arms"][1]["vs"]
    assert (vs["low"], vs["high"]) == pytest.approx(by_hand(difference)[1:3])


def test_rows_of_one_prompt_are_one_unit(lab: Lab) -> None:
    """Two answers to one post are no two posts: the prompt stays the statistical unit."""
    rows = [
        {"prompt": f"post {i // 2}", "grade": value, "parts": {}}
        for i, value in enumerate((0.0, 1.0, 0.5, 0.7))
    ]
    lab.add("base", 0, {"evaluate": rows})
    found = lab.tables(Comparison("evaluate", ARMS[:1], (0,)))
    assert found["test_prompts"] == 2
    assert found["arms"][0]["grade"] == pytest.approx((0.5 + 0.6) / 2)


def test_a_prompt_that_one_arm_left_ungraded_is_left_out_of_all_and_counted(lab: Lab) -> None:
    seeds = (0, 1)
    grades = drawn(seeds)
    grades["ilf", 1][3] = None
    grades["ilf", 0][3] = None
    grades["base", 0][7] = None
    found = measure(lab, grades, seeds)
    kept = [p for p in range(12) if p not in (3, 7)]
    assert found["test_prompts"] == 10
    for entry in found["arms"]:
        assert entry["grade"] == pytest.approx(np.mean(table(grades, entry["arm"], seeds)[kept]))
    prompts, answers = found["counts"].items()
    assert prompts == (
        "test prompts left out of every arm, because an arm's answer could not be graded",
        2,
    )
    assert answers[1] == 3


def test_where_nothing_could_be_graded_there_is_a_reason_and_no_number(lab: Lab) -> None:
    seeds = (0, 1)
    grades = drawn(seeds)
    grades["demo", 0] = [None] * 12
    found = measure(lab, grades, seeds)
    for entry in found["arms"]:
        assert (entry["grade"], entry["low"], entry["reason"]) == (None, None, "no graded rows")
    assert found["arms"][2]["vs"]["p"] is None
    assert found["arms"][2]["vs"]["p_holm"] is None


def test_parts_are_means_of_what_could_be_measured(lab: Lab) -> None:
    lab.add("base", 0, {"evaluate": graded([0.1, 0.2, 0.3], recall=[0.5, None, 1.0], bias=[None] * 3)})
    lab.add("base", 1, {"evaluate": graded([0.1, 0.2, 0.4], recall=[0.0, None, None], bias=[None] * 3)})
    found = lab.tables(Comparison("evaluate", ARMS[:1], (0, 1)))
    assert found["arms"][0]["parts"] == {"recall": pytest.approx(1.5 / 3), "bias": None}


def test_other_test_prompts_cannot_be_paired(lab: Lab) -> None:
    lab.add("base", 0, {"evaluate": graded([0.1, 0.2])})
    other = [{**row, "prompt": f"other {row['prompt']}"} for row in graded([0.1, 0.2])]
    lab.add("base", 1, {"evaluate": other})
    with pytest.raises(DataError, match="arm base, seed 1: .*nothing can be paired.*its own seed"):
        lab.tables(Comparison("evaluate", ARMS[:1], (0, 1)))


def test_one_seed_says_that_training_variance_is_unknown(lab: Lab) -> None:
    grades = drawn((4,))
    found = measure(lab, grades, (4,))
    d = table(grades, "ilf", (4,)) - table(grades, "initial", (4,))
    reach = t.ppf(0.975, 11) * np.std(d, ddof=1) / math.sqrt(12)
    vs = found["arms"][2]["vs"]
    assert (vs["low"], vs["high"]) == pytest.approx((d.mean() - reach, d.mean() + reach))
    assert vs["note"] == "training variance unknown"
    (note,) = found["notes"]
    assert "training variance unknown" in note
    assert "both as random effects" not in note


# --- what an arm cost


def annotated(*ids: str, seconds: float | None = 100.0) -> list[dict[str, Any]]:
    return [{"annotation_id": name, "seconds": seconds} for name in ids]


def cost(lab: Lab, *arms: str, seeds: Sequence[int] = (0,)) -> list[dict[str, Any]]:
    comparison = Comparison("evaluate", tuple(Arm(name) for name in arms), tuple(seeds))
    return list(lab.tables(comparison)["arms"])


def test_an_annotation_is_paid_once_however_often_it_is_read(lab: Lab) -> None:
    # Two rows of one annotation (rows multiply), and a critique that came in with the posts and is still there.
    lab.add(
        "ilf",
        0,
        {
            "load": annotated("a", "b", seconds=7.0),
            "collect": [*annotated("c", "c", "d"), *annotated("a", seconds=7.0)],
            "train": [],
            "evaluate": graded([0.5, 0.6]),
        },
        {"collect": ["load"]},
    )
    (arm,) = cost(lab, "ilf")
    assert arm["human_seconds"] == 7 + 7 + 100 + 100


def test_critiques_that_came_in_by_load_count(lab: Lab) -> None:
    lab.add(
        "ilf", 0, {"load": annotated("a", "b", "c", seconds=5.5), "train": [], "evaluate": graded([0.5, 0.6])}
    )
    assert cost(lab, "ilf")[0]["human_seconds"] == 16.5


def test_an_unknown_price_makes_the_sum_unknown(lab: Lab) -> None:
    for seed, seconds in ((0, 5.0), (1, None)):
        rows = annotated("a") + annotated("b", seconds=seconds)
        lab.add("ilf", seed, {"collect": rows, "train": [], "evaluate": graded([0.5, 0.6])})
    lab.add("own", 0, {"load": [{"annotation_id": "x"}], "train": [], "evaluate": graded([0.5, 0.6])})
    lab.add(
        "own",
        1,
        {"load": [{"annotation_id": "x", "seconds": 3.0}], "train": [], "evaluate": graded([0.5, 0.6])},
    )
    ilf, own = cost(lab, "ilf", "own", seeds=(0, 1))
    assert ilf["human_seconds"] is None, "one seed without a price, no price of the arm"
    assert own["human_seconds"] is None


def test_seeds_are_averaged_and_controls_that_read_samples_cost_nobody_anything(lab: Lab) -> None:
    for seed, n in ((0, 1), (1, 3)):
        names = [f"{seed}-{i}" for i in range(n)]
        lab.add(
            "ilf",
            seed,
            {"sample": [], "collect": annotated(*names), "train": [], "evaluate": graded([0.5, 0.6])},
        )
        lab.add(
            "initial",
            seed,
            {"load": [{"id": "x"}], "sample": [{"id": "x"}], "train": [], "evaluate": graded([0.5, 0.6])},
        )
    ilf, initial = cost(lab, "ilf", "initial", seeds=(0, 1))
    assert ilf["human_seconds"] == (100 + 300) / 2
    assert initial["human_seconds"] == 0


def test_compute_is_that_of_the_model_and_not_of_its_test(lab: Lab) -> None:
    empty: dict[str, Any] = {name: [] for name in LOOP}
    clocks: Any = {name: float(2**i) for i, name in enumerate(LOOP)}
    for seed in (0, 1):
        lab.add("ilf", seed, {**empty, "evaluate": graded([0.5, 0.6])}, **clocks)
        untrained: dict[str, Any] = {name: [] for name in ("test", "answer")}
        lab.add("base", seed, {**untrained, "evaluate": graded([0.5, 0.6])}, **clocks)
    ilf, base = cost(lab, "ilf", "base", seeds=(0, 1))
    assert ilf["compute_seconds"] == sum(2**i for i, name in enumerate(LOOP) if name not in LOOP[-3:])
    assert base["compute_seconds"] == 0


def test_rows_are_those_that_were_trained_on(lab: Lab) -> None:
    steps: dict[str, Any] = {"sample": [{}] * 9, "choose": [{}] * 4, "train": [{}] * 7}
    lab.add("ilf", 0, {**steps, "evaluate": graded([0.5, 0.6])}, {"choose": ["sample"]})
    both: dict[str, Any] = {"sample": [{}] * 9, "choose": [{}] * 4, "train": [{}] * 7}
    lab.add("both", 0, {**both, "evaluate": graded([0.5, 0.6])}, {"train": ["sample", "choose"]})
    lab.add("base", 0, {"sample": [{}] * 9, "evaluate": graded([0.5, 0.6])})
    assert [arm["rows"] for arm in cost(lab, "ilf", "both", "base")] == [4, 13, 0]


# --- what feedback is worth


def test_worth_is_real_minus_each_control_with_the_same_ranker(lab: Lab) -> None:
    rng = np.random.default_rng(1)
    names = [f"{source}_{ranker}" for ranker in ("chance", "long") for source in ("ilf", "mixed", "bare")]
    seeds = (0, 1, 2)
    grades = {(name, seed): list(rng.uniform(0, 1, 9)) for name in names for seed in seeds}
    for name, seed in grades:
        lab.add(name, seed, {"train": [], "evaluate": graded(grades[name, seed])})
    comparison = Comparison(
        "evaluate",
        tuple(Arm(name) for name in names),
        seeds,
        worth={"real": "ilf", "shuffled": "mixed", "none": "bare"},
        grid=(("chance", "long"), ("ilf", "mixed", "bare")),
    )
    worth = lab.tables(comparison)["worth"]
    own = {name: table(grades, name, seeds) for name in names}
    pairs = [own[a] - own[b] for a, b in itertools.combinations(names, 2)]
    assert [entry["ranker"] for entry in worth] == ["chance", "long"]
    for entry in worth:
        for role, source in (("real", "ilf"), ("shuffled", "mixed"), ("none", "bare")):
            assert entry[role] == pytest.approx(own[f"{source}_{entry['ranker']}"].mean())
        for role, source in (("shuffled", "mixed"), ("none", "bare")):
            vs = entry[f"vs_{role}"]
            d = own[f"ilf_{entry['ranker']}"] - own[f"{source}_{entry['ranker']}"]
            assert (vs["difference"], vs["low"], vs["high"], vs["p"]) == pytest.approx(by_hand(d, pairs))
    for role in ("vs_shuffled", "vs_none"):
        low, high = sorted((entry[role] for entry in worth), key=lambda vs: vs["p"])
        assert low["p_holm"] == pytest.approx(min(1, 2 * low["p"])), (
            "Holm over the rankers, one family a role"
        )
        assert high["p_holm"] == pytest.approx(max(low["p_holm"], high["p"]))


def test_without_real_refinements_there_is_no_table_of_worth(lab: Lab) -> None:
    lab.add("base", 0, {"evaluate": graded([0.1, 0.5])})
    comparison = Comparison("evaluate", ARMS[:1], (0,), worth={"none": "bare"}, grid=(("chance",), ("bare",)))
    assert lab.tables(comparison)["worth"] == []


def test_kl_and_curves_are_those_of_the_training_logs(lab: Lab) -> None:
    """KL is the last row's; curves are there for arms whose every seed followed a reward, and for no other."""
    seeds = (0, 1)
    grades = drawn(seeds)
    for arm in ARMS:
        for seed in seeds:
            steps: dict[str, Any] = {"evaluate": graded(grades[arm.name, seed])}
            if arm.name == "ilf":
                steps["train"] = [
                    {"step": s, "loss": 0.5, "reward": s / 10, "kl": s + seed, "samples": []} for s in (1, 2)
                ]
            elif arm.name in TRAINED:
                steps["train"] = [{"step": 1, "loss": 0.5}]
            lab.add(arm.name, seed, steps)
    comparison = Comparison("evaluate", ARMS, seeds)
    kl = {entry["arm"]: entry["kl"] for entry in lab.tables(comparison)["arms"]}
    assert kl == {"base": None, "initial": None, "ilf": 2.5, "demo": None}
    curves = findings.learning_curves(comparison, lab.cells, lab.step)
    assert list(curves) == ["ilf"]
    assert [[row["kl"] for row in rows] for rows in curves["ilf"]] == [[1, 2], [2, 3]]
    assert all("samples" not in row for rows in curves["ilf"] for row in rows)
