"""`ilf compare nano` as a user types it, made small: the object it prints, the page, reuse, and the same bytes twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SMALL = [
    *("compare.seeds=[0, 1]", "load.n=6", "test.n=8", "own.n=2", "refine.n=2", "train.strategy.epochs=1"),
    *("practice.n=40", "ppo.strategy.steps=2", "reward.strategy.epochs=1", "dpo.strategy.epochs=1"),
    *("compare.axes.phrasing.n=4", "compare.axes.twins.n=4"),
]


def ilf(*words: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ilf", *words], capture_output=True, text=True, check=False, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def contents(runs: Path) -> dict[str, bytes]:
    files = (p for p in sorted(runs.rglob("*")) if p.is_file() and ".locks" not in p.parts)
    kept = {
        str(p.relative_to(runs)): p
        for p in files
        if p.name in ("rows.jsonl", "made_by.json", "model.safetensors")
    }
    return {name: path.read_bytes() for name, path in kept.items()}


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("compare")
    return folder, json.loads(ilf("compare", "nano", *SMALL, "--json", "--quiet", cwd=folder))


def test_the_object_has_the_promised_keys(compared: tuple[Path, dict[str, Any]]) -> None:
    _, result = compared
    assert {"recipe", "arms", "run"} <= set(result)
    names = {
        "arm",
        "grade",
        "low",
        "high",
        "parts",
        "seeds",
        "rows",
        "human_seconds",
        "compute_seconds",
        "vs",
    }
    for arm in result["arms"]:
        assert names <= set(arm)
        assert {"recall", "truthfulness", "toxicity", "bias"} <= set(arm["parts"])
        if arm["vs"]:
            assert {"control", "difference", "low", "high", "p"} <= set(arm["vs"])


def test_every_control_is_there_and_pays_what_it_used(compared: tuple[Path, dict[str, Any]]) -> None:
    """The controls that could prove the idea wrong: taken out of the recipe, this fails."""
    arms = {arm["arm"]: arm for arm in compared[1]["arms"]}
    assert arms["base"]["vs"] is None
    assert arms["base"]["rows"] == 0
    assert arms["sft_initial"]["human_seconds"] == 0
    assert arms["sft_demo"]["human_seconds"] == 6 * 195.5
    for ranker in ("chance", "similarity", "fixpoint", "oracle"):
        assert arms[f"ilf_{ranker}"]["vs"]["control"] == f"no_feedback_{ranker}"
        assert arms[f"ilf_{ranker}"]["human_seconds"] == 6 * 182.5
        assert arms[f"shuffled_{ranker}"]["human_seconds"] == 6 * 182.5
        assert arms[f"no_feedback_{ranker}"]["human_seconds"] == 0
        assert arms[f"own_{ranker}"]["human_seconds"] == 0
        assert arms[f"ilf_{ranker}"]["rows"] == arms[f"own_{ranker}"]["rows"] == 6
    assert {entry["ranker"] for entry in compared[1]["worth"]} == {
        "chance",
        "similarity",
        "fixpoint",
        "oracle",
    }
    roles = {row["control"]: row for row in compared[1]["controls"]}
    assert roles["longest"]["arm"] == "longest", "added, since the recipe has none of its own"
    assert arms["longest"]["human_seconds"] == arms["critiques_in_context"]["human_seconds"] == 6 * 182.5
    assert arms["cued"]["human_seconds"] == 0
    assert arms["ppo"]["unlabelled_prompts"] > 0


def test_axes_are_measured_for_every_arm_before_and_after(compared: tuple[Path, dict[str, Any]]) -> None:
    axes = {axis["axis"]: axis for axis in compared[1]["axes"]}
    assert set(axes) == {
        *("response preference", "truthfulness", "toxicity", "bias", "generalisation", "bias between twins")
    }
    for axis in axes.values():
        assert {row["arm"] for row in axis["rows"]} == {arm["arm"] for arm in compared[1]["arms"]}


def test_the_plan_was_written_before_anything_was_graded(compared: tuple[Path, dict[str, Any]]) -> None:
    plan = compared[1]["plan"]
    assert plan["graded_before"] == 0
    assert plan["changes"] == []
    assert all(arm["vs"]["planned"] for arm in compared[1]["arms"] if arm["vs"])


def test_picks_lie_between_chance_and_oracle(compared: tuple[Path, dict[str, Any]]) -> None:
    picks = {entry["ranker"]: entry for entry in compared[1]["picks"]}
    assert picks["oracle"]["headroom"] == pytest.approx(1.0)
    assert all(entry["grade"] <= picks["oracle"]["grade"] + 1e-9 for entry in picks.values())


def test_a_page_without_network_is_written(compared: tuple[Path, dict[str, Any]]) -> None:
    page = (compared[0] / "runs" / "nano" / "report.html").read_text(encoding="utf-8")
    assert "ilf_fixpoint" in page
    assert "<script src" not in page
    assert "no evidence about people" in page


def test_a_second_run_makes_nothing(compared: tuple[Path, dict[str, Any]]) -> None:
    folder, result = compared
    before = {p: p.stat().st_mtime_ns for p in (folder / "runs").glob("nano/*/made_by.json")}
    again = json.loads(ilf("compare", "nano", *SMALL, "--json", "--quiet", cwd=folder))
    assert again == result
    assert {p: p.stat().st_mtime_ns for p in (folder / "runs").glob("nano/*/made_by.json")} == before


def test_the_same_seeds_give_the_same_bytes_elsewhere(
    compared: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    ilf("compare", "nano", *SMALL, "--quiet", cwd=tmp_path)
    assert contents(tmp_path / "runs") == contents(compared[0] / "runs")
