"""ilf forget: says what it would erase, asks, erases, and leaves alone what others are at work in."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from ilf import __main__ as command_line
from ilf.commands import _runs
from ilf.label_studio import events

WHO = "p-0123456789"
TEXT = "It leaves out the walrus of the first sentence."


@pytest.fixture(autouse=True)
def run(step: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with a collect step, a model trained on it, and what people said."""
    if "forget" not in command_line.GROUPS:
        monkeypatch.setattr(command_line, "GROUPS", (*command_line.GROUPS, "forget"))
    folder = Path("runs/toy")
    rows = [
        {
            "id": str(i),
            "job": "critique",
            "annotator": who,
            "annotation_id": f"a{i}",
            "critique": f"{TEXT} {i}",
        }
        for i, who in enumerate([WHO, "p-ffffffffff", WHO, "p-ffffffffff"])
    ]
    rows[1]["critique"] = rows[3]["critique"] = "Fine."
    step(folder / "collect-0000000001", rows, stage="collect")
    content = json.loads((folder / "collect-0000000001/made_by.json").read_text())["content"]
    trained = folder / "train-0000000002"
    (trained / "model").mkdir(parents=True)
    (trained / "model/weights").write_text("1")
    (trained / "rows.jsonl").write_text('{"loss":1.0}\n')
    from ilf.store import Step

    Step(trained).finish({"stage": "train", "content_read": [content], "settings": {}})
    said = {"kind": "answer", "annotation": 1, "annotator": WHO, "item": "i", "state": "usable"}
    people = folder / "people/collect-00000000aa"
    events.append(people, [{**said, "said": {"critique": f"{TEXT} 0"}}])
    (people / "project.json").write_text(
        json.dumps({"server": "http://127.0.0.1:1", "project": 3, "title": "toy"})
    )
    _runs.note_last(folder, "run", ["ilf", "run", "toy", "seed=2"], [trained.name])
    return folder


def left() -> list[Path]:
    return [p for p in Path("runs").rglob("*") if p.is_file() and b"walrus" in p.read_bytes()]


def test_a_dry_run_tells_all_and_changes_nothing(ilf: Any) -> None:
    before = {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()}
    said = ilf("forget", WHO, "--dry-run")
    assert said.status == 0
    text = " ".join(said.out.split())
    for piece in (
        "2 4 rows of a step toy/collect-0000000001",
        "1 1 events toy/people/collect-00000000aa/events.jsonl",
        "runs/toy/train-0000000002 2 of 4 rows",
        "train again: ilf run toy seed=2",
        "Label Studio still has what they said in these projects (--server deletes it",
        "http://127.0.0.1:1 project 3 (toy)",
        "Nothing was erased.",
    ):
        assert piece in text, piece
    assert max(map(len, said.out.splitlines())) <= 80
    assert {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()} == before


def test_erased_and_told_as_json(ilf: Any, run: Path) -> None:
    said = ilf("forget", WHO, "--yes", "--json")
    assert said.status == 0
    told = json.loads(said.out)
    assert told["erased"] is True
    assert [model["rows"] for model in told["models"]] == [2]
    assert left() == []
    assert events.heard(run / "people/collect-00000000aa").forgotten == {WHO}
    assert (run / "train-0000000002/model/weights").exists()
    again = ilf("forget", WHO, "--yes")
    assert again.status == 0
    assert f"nothing of {WHO} in runs." in again.out
    assert "runs/toy/train-0000000002" in again.out  # the model still is what it was trained on


def test_nothing_goes_without_a_yes(ilf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said = ilf("forget", WHO)
    assert (said.status, "nobody can be asked" in said.err) == (1, True)
    for answer, remains in (("n\n", True), ("", True), ("y\n", False)):
        terminal = io.StringIO(answer)
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        monkeypatch.setattr(sys, "stdin", terminal)
        assert ilf("forget", WHO).status == int(remains)
        assert bool(left()) == remains


def test_a_run_in_which_a_process_works_is_refused(ilf: Any, run: Path) -> None:
    (run / ".locks").mkdir(exist_ok=True)
    with FileLock(run / ".locks/collect-0000000001.lock"):
        said = ilf("forget", WHO, "--yes")
    assert (said.status, "a process is at work in runs/toy" in said.err) == (1, True)
    with _runs.in_use(run):
        assert ilf("forget", WHO, "--yes").status == 1
    assert left()
    assert ilf("forget", WHO, "--yes").status == 0


def test_an_email_needs_the_server(ilf: Any, monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "k" * 40)
    monkeypatch.setattr("ilf.commands._people_server.PATIENCE_SECONDS", 0.0)
    events.pseudonym(run / "people/collect-00000000aa", 1)  # makes the salt
    said = ilf("forget", "ann@example.org", "--yes")
    assert said.status == 1
    assert "give the pseudonym" in said.err
    assert left()


def test_nobody_of_that_name(ilf: Any) -> None:
    said = ilf("forget", "nobody", "--yes")
    assert said.status == 0
    assert "nothing of nobody in runs." in said.out
    assert left()
