"""ilf report and ilf plan: the page again from the rows, and what a comparison could see before anyone is paid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def compared(ilf: Any, arms: Path) -> Path:
    # The same posts at every seed, as a test set has to be.
    said = ilf("compare", "toy", "load.seed=0", "--quiet")
    assert said.status == 0, said.err
    return Path("runs/toy")


@pytest.mark.slow
def test_the_same_rows_give_the_same_page_byte_for_byte(ilf: Any, compared: Path, tmp_path: Path) -> None:
    page, result = (compared / "report.html").read_bytes(), json.loads((compared / "result.json").read_text())
    (compared / "report.html").unlink()
    assert ilf("report", "toy").status == 0
    assert (compared / "report.html").read_bytes() == page
    assert json.loads(ilf("report", str(compared), "--json").out) == result
    text = ilf("report", "toy", "--format", "text").out
    assert "long" in text
    assert "| " in ilf("report", "toy", "--format", "markdown").out
    assert ilf("report", "toy", "toy").status == 2, "several runs: where to?"
    assert ilf("report", "toy", "toy", "--out", str(tmp_path / "both.html")).status == 0
    assert ilf("report", "toy", "--cards", str(tmp_path / "cards")).status == 0
    cards = sorted(path.name for path in (tmp_path / "cards" / "toy").iterdir())
    assert cards == ["base.md", "data.md", "long.md"]
    card = (tmp_path / "cards/toy/long.md").read_text()
    assert f"{result['arms'][1]['grade']:.3f}" in card, "from the same numbers"
    gone = next(compared.glob("evaluate-*"))
    (gone / "made_by.json").unlink()
    said = ilf("report", "toy")
    assert said.status == 1
    assert (
        f"{gone.name} of this comparison are gone. Make them again: ilf compare toy load.seed=0" in said.err
    )


@pytest.mark.slow
def test_a_change_after_the_data_is_told(ilf: Any, compared: Path) -> None:
    plan = json.loads((compared / "plan.json").read_text())
    assert plan["graded_before"] == 0
    assert plan["plan"]["comparisons"] == [["long", "base"]]
    assert ilf("compare", "toy", "load.seed=0", "compare.seeds=[0]", "--quiet").status == 0
    (change,) = json.loads((compared / "plan.json").read_text())["changes"]
    assert change == {"what": ["seeds: [0,1] became [0]"], "graded_before": 2}
    assert ilf("compare", "toy", "load.seed=0", "--replan", "--quiet").status == 0
    again = json.loads((compared / "plan.json").read_text())
    assert (again["earlier"], again["changes"], again["graded_before"]) == (1, [], 4)


@pytest.mark.slow
def test_a_pilot_tells_what_could_be_seen(ilf: Any, compared: Path) -> None:
    told = json.loads(ilf("plan", "toy", "load.seed=0", "--json", "--wage", "36").out)
    assert told["from"] == "pilot"
    assert (told["pilot_prompts"], told["pilot_seeds"], told["seeds"]) == (6, 2, 2)
    assert told["family"]["comparisons"] == 1
    assert told["money"] == pytest.approx(told["human_seconds"] / 100)


def test_without_a_run_there_is_nothing_to_report(ilf: Any, arms: Path, tmp_path: Path) -> None:
    assert "no run 'nothing'" in ilf("report", "nothing").err
    Path("runs/toy").mkdir(parents=True)
    said = ilf("report", "toy")
    assert said.status == 1
    assert "nothing was compared in this run" in said.err


def test_a_world_gives_a_spread_and_the_assumption_is_said(ilf: Any, arms: Path) -> None:
    said = ilf("plan", "toy", "load.seed=0", "--effect", "0.2")
    assert said.status == 0, said.err
    text = " ".join(said.out.split())
    assert "how much trainings differ is assumed" in text
    assert "Nothing was run." in text
    assert not Path("runs").exists()
    told = json.loads(ilf("plan", "toy", "load.seed=0", "--seed-sd", "0.1", "--json").out)
    assert told["spread"]["seed_sd"] == 0.1
    more = json.loads(ilf("plan", "toy", "load.seed=0", "load.n=60", "--json").out)
    assert more["prompts"] == 60
    assert more["alone"]["smallest_effect"] < told["alone"]["smallest_effect"]
    assert ilf("plan", "toy", "--effect", "0").status == 2
