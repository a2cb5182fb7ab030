"""ilf clean: what the last commands used stays, what is in use stays, and nothing goes without being asked."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from ilf.commands import _runs, clean


def steps() -> set[str]:
    return {path.name for path in Path("runs/toy").glob("*-*")}


@pytest.fixture
def two(ilf: Any, toy: Path) -> set[str]:
    """Two runs that share load, sample and collect; the steps of the first alone."""
    ilf("run", "toy", "--quiet", "refine.n=2", "--until", "choose")
    before = steps()
    ilf("run", "toy", "--quiet", "--until", "choose")
    unused = before - set(json.loads(Path("runs/toy/last.json").read_text())["run"]["steps"])
    assert {name.partition("-")[0] for name in unused} == {"refine", "choose"}
    return unused


def test_what_the_last_run_did_not_use_goes(ilf: Any, two: set[str]) -> None:
    before = steps()
    said = ilf("clean", "--dry-run")
    assert said.out.count(" unused\n") == 2
    assert steps() == before
    said = ilf("clean", "--yes")
    assert said.status == 0
    assert "Removed 2 step folder(s)" in said.out
    assert steps() == before - two
    assert {path.stem for path in Path("runs/toy/.locks").glob("*")} == steps() | {"gate"}
    assert "0 step folder(s) unused" in ilf("clean").out
    assert "reused" in ilf("run", "toy", "--until", "choose").err


def test_what_the_last_comparison_used_stays(ilf: Any, two: set[str]) -> None:
    _runs.note_last(Path("runs/toy"), "compare", ["ilf"], two)
    ilf("clean", "--yes")
    assert two <= steps()


def test_an_unfinished_step_of_the_last_run_stays_and_another_goes(ilf: Any, two: set[str]) -> None:
    used = set(json.loads(Path("runs/toy/last.json").read_text())["run"]["steps"])
    mine = next(name for name in used if name.startswith("choose"))
    Path("runs/toy", mine, "made_by.json").unlink()
    leftover = Path("runs/toy/train-ffffffffff")
    leftover.mkdir()
    (leftover / "rows.jsonl").write_text("{}\n")
    ilf("clean", "--yes")
    assert Path("runs/toy", mine).exists()
    assert not leftover.exists()


def test_nothing_goes_without_a_yes(ilf: Any, two: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    said = ilf("clean")
    assert said.status == 1
    assert "nobody can be asked" in said.err
    for answer, remains in (("n\n", True), ("\n", True), ("", True), ("y\n", False)):
        terminal = io.StringIO(answer)
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        monkeypatch.setattr(sys, "stdin", terminal)
        assert ilf("clean").status == int(remains)
        assert (two <= steps()) == remains


def test_a_run_in_use_is_left_alone(ilf: Any, two: set[str]) -> None:
    lock = next(Path("runs/toy/.locks").glob("refine-*.lock"))
    with FileLock(lock):
        said = ilf("clean", "--yes")
    assert "a process is at work in it" in said.out
    assert two <= steps()
    with _runs.in_use(Path("runs/toy")):  # between two steps no step is locked
        ilf("clean", "--yes")
    assert two <= steps()


def test_a_run_says_that_it_is_at_work(ilf: Any, two: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also between two of its steps, where no step is locked."""
    seen: list[Any] = []

    def run_steps(*args: Any, **kwargs: Any) -> Any:
        seen.append(clean.look(Path("runs/toy")))
        raise KeyboardInterrupt

    monkeypatch.setattr("ilf.run.run_steps", run_steps)
    assert ilf("run", "toy").status == 130
    assert "a process is at work in it (in-use-" in seen[0].left_alone
    assert clean.look(Path("runs/toy")).left_alone is None


def test_a_run_that_starts_while_the_question_is_open_is_safe(
    ilf: Any, two: set[str], monkeypatch: Any
) -> None:
    held: list[Any] = []

    def ask(n: int) -> None:
        held.append(_runs.in_use(Path("runs/toy")))
        held[0].__enter__()

    monkeypatch.setattr("ilf.commands.clean._confirm", ask)
    assert ilf("clean").status == 0
    assert two <= steps()
    held[0].__exit__(None, None, None)


def test_what_nobody_noted_and_what_is_no_step_stays(ilf: Any, two: set[str], step: Any) -> None:
    step(Path("runs/python/choose-0123456789"), [{"id": "1"}])
    Path("runs/toy/report.html").write_text("page")
    Path("runs/toy/my-notes").mkdir()
    Path("outside").mkdir()
    Path("runs/toy/load-eeeeeeeeee").symlink_to(Path("outside").resolve())
    said = ilf("clean", "--yes")
    told = said.out
    assert said.status == 0, said.err
    assert "no `ilf run` or `ilf compare` is noted" in told
    assert Path("runs/python/choose-0123456789").exists()
    assert Path("runs/toy/report.html").exists()
    assert Path("runs/toy/my-notes").exists()
    assert Path("outside").exists()
    assert Path("runs/toy/load-eeeeeeeeee").is_symlink()


def test_a_removal_that_breaks_off_leaves_no_step_that_looks_finished(
    ilf: Any, two: set[str], monkeypatch: Any
) -> None:
    def break_off(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", break_off)
    assert ilf("clean", "--yes").status == 130
    assert any(not Path("runs/toy", name, "made_by.json").exists() for name in two)
    monkeypatch.undo()


def test_json(ilf: Any, two: set[str]) -> None:
    told = json.loads(ilf("clean", "--dry-run", "--json").out)
    (run,) = told["runs"]
    assert {entry["step"] for entry in run["steps"] if entry["unused"]} == two
    assert told["freed_bytes"] == 0
    told = json.loads(ilf("clean", "--yes", "--json").out)
    assert told["freed_bytes"] > 0


def test_no_runs(ilf: Any) -> None:
    assert ilf("clean").out == "no runs in runs.\n"
