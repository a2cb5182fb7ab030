"""A step on disk: torn lines, whole windows, one rename that finishes, one writer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ilf import files
from ilf.errors import Busy, DataError
from ilf.records import Rows, line
from ilf.store import Step


def write(step: Step, count: int, window: int = 1, done: int = 0) -> None:
    step.folder.mkdir(parents=True, exist_ok=True)
    step.write_rows(iter({"id": str(i)} for i in range(done, count)), window, lambda n: None)


def test_a_torn_last_line_is_dropped_and_whole_windows_stay(tmp_path: Path) -> None:
    step = Step(tmp_path / "s-1")
    write(step, 7)
    path = step.folder / "rows.jsonl"
    path.write_bytes(path.read_bytes() + b'{"id": "torn')
    assert step.whole_rows(1) == 7
    path.write_bytes(path.read_bytes() + b'{"id": "torn')
    assert step.whole_rows(3) == 6
    assert [row["id"] for row in Rows(path)] == list("012345")


def checkpointed(folder: Path, rows: int, kept: str | None) -> Step:
    """An unfinished training: some log rows, half a model, and perhaps a checkpoint that counts its rows."""
    step = Step(folder)
    (folder / "model").mkdir(parents=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps({"step": i}) + "\n" for i in range(rows)) + '{"st')
    if kept is not None:
        (folder / "checkpoint").mkdir()
        (folder / "checkpoint" / "rows").write_text(kept)
    return step


def test_a_training_keeps_the_rows_that_its_checkpoint_follows_on(tmp_path: Path) -> None:
    step = checkpointed(tmp_path / "s-1", 5, "3")
    assert step.rows_of_checkpoint() == 3
    assert [row["step"] for row in Rows(step.folder / "rows.jsonl")] == [0, 1, 2]
    assert {path.name for path in step.folder.iterdir()} == {"rows.jsonl", "checkpoint"}, (
        "half a model is gone"
    )


@pytest.mark.parametrize("kept", [None, "6", "0", "-1", "many", ""])
def test_a_checkpoint_without_its_rows_is_worth_nothing(tmp_path: Path, kept: str | None) -> None:
    step = checkpointed(tmp_path / "s-1", 5, kept)
    assert step.rows_of_checkpoint() == 0
    assert list(step.folder.iterdir()) == []


def test_a_step_is_finished_by_made_by_alone(tmp_path: Path) -> None:
    step = Step(tmp_path / "s-1")
    write(step, 3)
    assert not step.is_finished
    step.finish({"stage": "toy"})
    assert step.is_finished
    assert step.made_by["rows"] == 3
    assert step.made_by["content"] == files.sha256_file(step.folder / "rows.jsonl")
    assert not list(step.folder.glob("*.tmp"))


def test_rows_that_changed_after_the_end_are_refused(tmp_path: Path) -> None:
    step = Step(tmp_path / "s-1")
    write(step, 3)
    step.finish({})
    path = step.folder / "rows.jsonl"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DataError, match="has 2 rows, made_by.json says 3"):
        step.rows()


def test_everything_is_on_disk_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Order of calls: every file and folder of the step is synced, then the rename, then the folder again."""
    calls: list[tuple[str, str]] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        calls.append(("fsync", str(Path(f"/proc/self/fd/{handle}").readlink())))
        real_fsync(handle)

    def replace(self: Path, target: Any) -> Path:
        calls.append(("rename", str(target)))
        return real_replace(self, target)

    step = Step(tmp_path / "s-1")
    write(step, 2)
    (step.folder / "model").mkdir()
    (step.folder / "model" / "weights").write_text("w")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    step.finish({})
    at = calls.index(("rename", str(step.folder / "made_by.json")))
    before = {path for kind, path in calls[:at] if kind == "fsync"}
    needed = [
        step.folder / "rows.jsonl",
        step.folder / "model" / "weights",
        step.folder / "model",
        step.folder,
        tmp_path,
    ]
    assert {str(path) for path in needed} <= before
    assert any("made_by.json" in path for path in before), "the temporary file itself"
    assert ("fsync", str(step.folder)) in calls[at:]


def test_rows_reach_the_disk_window_by_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(handle))
    ticks: list[int] = []
    step = Step(tmp_path / "s-1")
    step.folder.mkdir()
    step.write_rows(iter({"id": str(i)} for i in range(5)), 2, ticks.append)
    assert ticks == [1] * 5
    assert len(synced) == 3


HOLD = """
import sys, time
from pathlib import Path
from ilf.store import Step
with Step(Path(sys.argv[1])).lock(wait=True, say=print):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def hold(folder: Path, seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    process.stdout.close()
    return process


def test_a_second_process_is_told_who_works_and_leaves_or_waits(tmp_path: Path) -> None:
    step = Step(tmp_path / "s-1")
    other = hold(step.folder, 1.0)
    with (
        pytest.raises(Busy, match=f"s-1 is being made by process {other.pid} on "),
        step.lock(wait=False, say=print),
    ):
        pass
    said: list[str] = []
    with step.lock(wait=True, say=said.append):
        assert other.wait(timeout=10) == 0
    assert len(said) == 1
    assert said[0].endswith("waiting for it")


def test_a_killed_process_leaves_no_lock_behind(tmp_path: Path) -> None:
    step = Step(tmp_path / "s-1")
    other = hold(step.folder, 60)
    other.kill()
    other.wait()
    with step.lock(wait=False, say=print):
        pass


def test_what_a_killed_process_left_before_its_rename_is_swept(tmp_path: Path) -> None:
    step = Step(tmp_path / "s-1")
    step.folder.mkdir()
    (step.folder / ".made_by.json.123.tmp").write_text("half")
    with step.lock(wait=False, say=print):
        assert list(step.folder.iterdir()) == []


def test_hostile_text_survives_the_round_trip(tmp_path: Path) -> None:
    rows = [{"t": text} for text in ("\u2028\u2029", "\ud83d", "a\nb\r\n", "\x00", "😀", "\u202eabc", '"}\\')]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"".join(line(row) for row in rows))
    assert list(Rows(path)) == rows


def test_rows_is_a_sequence_that_names_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"i": i}) + "\n" for i in range(5)) + "not json\n")
    rows = Rows(path)
    assert len(rows) == 6
    assert rows[1]["i"] == 1
    assert rows[-2]["i"] == 4
    assert [row["i"] for row in rows[1:4]] == [1, 2, 3]
    with pytest.raises(DataError, match="line 6 is not JSON"):
        list(rows)
    with pytest.raises(IndexError):
        rows[6]
