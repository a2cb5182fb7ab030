"""ilf compare: what it plans, prints, writes and notes."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest


def test_a_dry_run_condenses_arms_and_seeds(ilf: Any, arms: Path) -> None:
    said = ilf("compare", "toy", "--dry-run")
    assert said.status == 0
    assert not Path("runs").exists()
    lines = {line.split()[0]: line.split()[1:] for line in said.out.splitlines() if line}
    # Two seeds; evaluate does not need train, and only choose and evaluate differ between the arms.
    assert lines["load"] == ["0", "2", "0"]
    assert lines["collect"] == ["0", "0", "2"]
    assert lines["choose"] == ["0", "0", "4"]
    assert "train" not in lines
    assert lines["base"] == lines["long"] == ["0.6"]
    assert "2 arms at seeds 0, 1; arms share annotations: 0.6 hours in all" in " ".join(said.out.split())
    told = json.loads(ilf("compare", "toy", "--dry-run", "--json").out)
    assert told["human_seconds"] == 2 * 6 * 182.5
    assert told["steps"][0] == {"step": "load", "reused": 0, "to_do": 2, "decided_later": 0}


def result(recipe: Any, folder: Path, progress: Any, **options: Any) -> dict[str, Any]:
    """What ilf.compare would return, without running anything."""
    result.workers = recipe.raw["compare"]["workers"]  # type: ignore[attr-defined]
    arm = {"arm": "base", "grade": 0.5, "low": 0.4, "high": float("nan"), "seeds": 2, "human_seconds": 0.0}
    return {"recipe": recipe.name, "about": "toy", "run": str(folder), "arms": [arm]}


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("ilf.compare"), "compare", result)


@pytest.mark.usefixtures("compared")
def test_tables_page_and_object(ilf: Any, arms: Path) -> None:
    said = ilf("compare", "toy", "--workers", "3")
    assert said.status == 0
    assert result.workers == 3  # type: ignore[attr-defined]
    assert "The page to open: runs/toy/report.html" in said.out
    assert "base" in said.out
    assert "<html" in Path("runs/toy/report.html").read_text()
    stored = json.loads(Path("runs/toy/result.json").read_text())
    assert stored["arms"][0]["high"] is None, "NaN is no JSON"
    said = ilf("compare", "toy", "--json")
    assert json.loads(said.out) == stored
    assert "page: runs/toy/report.html" in said.err
    assert ilf("compare", "toy", "--json", "--quiet").err == ""
    assert "compare" in json.loads(Path("runs/toy/last.json").read_text())


@pytest.mark.usefixtures("compared")
def test_open_shows_the_page(ilf: Any, arms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    ilf("compare", "toy", "--quiet")
    assert not opened
    ilf("compare", "toy", "--quiet", "--open")
    assert opened == [Path("runs/toy/report.html").resolve().as_uri()]


def test_a_recipe_without_arms_is_refused(ilf: Any, toy: Path) -> None:
    for words in ((), ("--workers", "3"), ("--dry-run",)):
        said = ilf("compare", "toy", *words)
        assert said.status == 2
        assert "no 'compare' section" in said.err


@pytest.mark.slow
def test_a_real_comparison(command: Any, arms: Path, tmp_path: Path) -> None:
    # The same posts at every seed, as a test set has to be.
    process = command("compare", "toy", "load.seed=0", "--json", cwd=tmp_path)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    told = json.loads(out)
    assert [arm["arm"] for arm in told["arms"]] == ["base", "long"]
    noted = json.loads((tmp_path / "runs/toy/last.json").read_text())["compare"]["steps"]
    assert noted == sorted(path.name for path in (tmp_path / "runs/toy").glob("*-*"))


def test_torchrun_is_refused_and_its_other_processes_keep_silent(
    ilf: Any, arms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    said = ilf("compare", "toy")
    assert said.status == 2
    assert "run it without torchrun" in said.err
    said = ilf("run", "toy", "--dry-run")
    assert (said.status, said.out) == (0, "")
