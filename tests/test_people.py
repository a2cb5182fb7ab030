"""Waiting for people, and what they change later: folders, snapshots, --wait and --refresh."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ilf import read_recipe
from ilf.errors import Waiting
from ilf.progress import Progress
from ilf.run import run_steps
from ilf.store import Step

RECIPE = """
world: nano
form: nano
generator: {name: toys.echo}
steps:
  load: {n: 4}
  sample: {}
  collect: {feedback: toys.mailbox}
  refine: {n: 2}
"""


@pytest.fixture
def runs(recipe_file: Any, tmp_path: Path) -> Path:
    recipe_file(RECIPE)
    return tmp_path / "runs"


def go(runs: Path, overrides: dict[str, Any] | None = None, *, refresh: bool = False) -> dict[str, Step]:
    recipe = read_recipe(str(runs.parent / "toy" / "recipe.yaml")).override(overrides or {})
    return run_steps(recipe.plan(), runs, Progress(quiet=True), refresh=refresh)


def mailboxes(runs: Path) -> list[Path]:
    return sorted((runs / "people").iterdir())


def answer(box: Path, text: str, n: int = 4) -> None:
    asked = json.loads((box / "asked.json").read_text())
    (box / "answers.json").write_text(json.dumps({row: f"{text} {i}" for i, row in enumerate(asked[:n])}))


def said(step: Step) -> list[str]:
    return [row["critique"] for row in step.rows()]


def test_waiting_leaves_no_step_and_says_how_far_people_are(runs: Path) -> None:
    with pytest.raises(Waiting, match="0 of 4") as found:
        go(runs)
    assert (found.value.done, found.value.total, found.value.exit_status) == (0, 4, 75)
    assert not list(runs.glob("collect-*"))
    (box,) = mailboxes(runs)
    answer(box, "first", n=3)
    with pytest.raises(Waiting, match="3 of 4"):
        go(runs)
    answer(box, "first")
    made = go(runs)
    assert said(made["collect"]) == ["first 0", "first 1", "first 2", "first 3"]
    assert made["collect"].made_by["people"] == box.name


def test_a_refresh_makes_a_snapshot_only_of_what_changed(runs: Path) -> None:
    with pytest.raises(Waiting):
        go(runs)
    (box,) = mailboxes(runs)
    answer(box, "first")
    first = go(runs)
    same = go(runs, refresh=True)
    assert {name: step.folder for name, step in same.items()} == {n: s.folder for n, s in first.items()}
    answer(box, "second")
    assert said(go(runs)["collect"])[0] == "first 0", "nobody asked again"
    second = go(runs, refresh=True)
    assert said(second["collect"])[0] == "second 0"
    assert second["collect"].made_by["snapshot"] == 1
    assert second["refine"].folder != first["refine"].folder, "what follows is made again"
    assert said(first["collect"])[0] == "first 0", "the earlier snapshot stays"
    assert go(runs)["collect"].folder == second["collect"].folder
    assert mailboxes(runs) == [box]
    assert not list(runs.glob(".refresh-*"))


def test_a_withdrawn_answer_is_waited_for_and_the_snapshot_stays(runs: Path) -> None:
    with pytest.raises(Waiting):
        go(runs)
    (box,) = mailboxes(runs)
    answer(box, "first")
    first = go(runs)
    answer(box, "second", n=2)
    with pytest.raises(Waiting, match="2 of 4"):
        go(runs, refresh=True)
    assert go(runs)["collect"].folder == first["collect"].folder
    assert not list(runs.glob(".refresh-*"))


def test_how_many_are_asked_makes_no_new_place_but_what_they_see_does(runs: Path) -> None:
    for overrides in ({}, {"collect.feedback.annotators": 2}, {"seed": 5, "load.seed": 0, "sample.seed": 0}):
        with pytest.raises(Waiting):
            go(runs, overrides)
    assert len(mailboxes(runs)) == 1
    with pytest.raises(Waiting):
        go(runs, {"collect.feedback.question": "Why?"})
    assert len(mailboxes(runs)) == 2


def test_run_waits_with_a_line_for_each_change_and_survives_a_server_that_is_gone(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ilf.__main__ import main

    monkeypatch.setattr("ilf.commands._wait.POLL_SECONDS", 0.05)
    folder = runs.parent / "out"

    def people() -> None:
        while not list(folder.glob("toy/people/*/asked.json")):
            time.sleep(0.02)
        (box,) = (folder / "toy" / "people").iterdir()
        time.sleep(0.2)
        (box / "down").touch()
        time.sleep(0.2)
        (box / "down").unlink()
        answer(box, "late")

    thread = threading.Thread(target=people)
    thread.start()
    status = main(["run", str(runs.parent / "toy"), "--runs", str(folder), "--wait"])
    thread.join()
    told = capsys.readouterr().err
    assert status == 0
    assert told.count("0 of 4 rows are answered.") == 1
    assert told.count("the mailbox is down. Trying again.") == 1
    assert told.count("sample") == 1, "a reused step is told once"
    assert main(["run", str(runs.parent / "toy"), "--runs", str(runs.parent / "other")]) == 75
