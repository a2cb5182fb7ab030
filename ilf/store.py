"""A run on disk: one folder per step, named by what it was made from, finished by one rename.

    runs/nano/choose-30649c5c94/   rows.jsonl   made_by.json   measured.json   [model/]

A step is finished when ``made_by.json`` exists. Everything before that can be torn at any byte: the next
process keeps the whole rows and goes on. Clocks live in ``measured.json``, outside every hash.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ilf.errors import Busy, DataError
from ilf.files import folder_digest, sha256_file, sync, write_whole
from ilf.protocols import Row
from ilf.records import Rows, dumps, line

ROWS, MADE_BY, MEASURED, MODEL = "rows.jsonl", "made_by.json", "measured.json", "model"
#: Where a training may keep what it needs to go on after a kill, and the file in it that counts its log rows.
CHECKPOINT, CHECKPOINT_ROWS = "checkpoint", "rows"
#: Folder of the lock files of a run.
LOCKS = ".locks"


class Step:
    """The folder of one step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def is_finished(self) -> bool:
        """Whether everything of this step is on disk."""
        return (self.folder / MADE_BY).exists()

    @property
    def made_by(self) -> dict[str, Any]:
        """What the step was made from, how many rows it has, and the hash of its content."""
        path = self.folder / MADE_BY
        try:
            made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: unreadable ({error}). Remove the folder {self.folder} to make it again."
            ) from None
        return made

    @property
    def measured(self) -> dict[str, Any]:
        """Clocks of the step, all sittings together; empty when none were kept."""
        path = self.folder / MEASURED
        try:
            measured: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return measured

    def rows(self) -> Rows:
        """The rows of a finished step; a file that is not the one that was finished is refused."""
        rows = Rows(self.folder / ROWS)
        if len(rows) != self.made_by["rows"]:
            raise DataError(
                f"{rows.path} has {len(rows)} rows, {MADE_BY} says {self.made_by['rows']}: changed or torn. "
                f"Remove the folder to make it again."
            )
        return rows

    @contextlib.contextmanager
    def lock(self, *, wait: bool, say: Callable[[str], None]) -> Iterator[None]:
        """Holds the step for this process; another's work is waited for, or refused with Busy."""
        from filelock import FileLock, Timeout

        # Beside the step folders, not inside: an empty folder may be removed while somebody waits.
        locks = self.folder.parent / LOCKS
        locks.mkdir(parents=True, exist_ok=True)
        holder = locks / f"{self.folder.name}.json"
        lock = FileLock(locks / f"{self.folder.name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            who = f"{self.folder.name} is being made by {_holder(holder)}"
            if not wait:
                raise Busy(f"{who}. Run again when it has finished, or leave out --no-wait.") from None
            say(f"{who}; waiting for it")
            lock.acquire()
        try:
            me = {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "since": time.strftime("%Y-%m-%d %H:%M:%S"),
            }
            holder.write_text(dumps(me), encoding="utf-8")
            self.folder.mkdir(exist_ok=True)
            for leftover in self.folder.glob(".*.tmp"):  # of a process that was killed before its rename
                leftover.unlink()
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    def whole_rows(self, window: int) -> int:
        """How many rows of an unfinished step are kept: whole windows of whole lines; the rest is cut off."""
        path = self.folder / ROWS
        if not path.exists():
            return 0
        found = Rows(path)
        kept = len(found) // window * window
        with path.open("r+b") as file:
            file.truncate(found.end_of(kept))
        return kept

    def rows_of_checkpoint(self) -> int:
        """How many log rows of an unfinished training are kept: those that its checkpoint follows on.

        The rest is cut off. Without a checkpoint, or with one that is ahead of the rows, nothing is kept.
        """
        path, checkpoint = self.folder / ROWS, self.folder / CHECKPOINT
        try:
            kept = int((checkpoint / CHECKPOINT_ROWS).read_text(encoding="ascii"))
            found = Rows(path)
        except (OSError, ValueError):
            self.discard()
            return 0
        if not 0 < kept <= len(found):
            self.discard()
            return 0
        # What is there of a model was being written when the training was killed.
        shutil.rmtree(self.folder / MODEL, ignore_errors=True)
        with path.open("r+b") as file:
            file.truncate(found.end_of(kept))
        return kept

    def write_rows(self, rows: Iterator[Row], window: int, tick: Callable[[int], None]) -> None:
        """Appends rows, handing whole windows to the disk as they come."""
        with (self.folder / ROWS).open("ab") as file:
            pending: list[bytes] = []

            def commit() -> None:
                file.write(b"".join(pending))
                file.flush()
                os.fsync(file.fileno())
                pending.clear()

            for row in rows:
                pending.append(line(row))
                tick(1)
                if len(pending) >= window:
                    commit()
            commit()

    def discard(self) -> None:
        """Empties an unfinished step, so that it starts again."""
        (self.folder / ROWS).unlink(missing_ok=True)
        for name in (MODEL, CHECKPOINT):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def remove_if_empty(self) -> None:
        """Removes the folder of a step that wrote no row, so that a refused attempt leaves nothing behind."""
        rows = self.folder / ROWS
        if not self.is_finished and (not rows.exists() or rows.stat().st_size == 0):
            shutil.rmtree(self.folder, ignore_errors=True)

    def measure(self, wall_seconds: float, cpu_seconds: float) -> None:
        """Adds a sitting's clocks to ``measured.json``."""
        before = self.measured
        after = {
            "wall_seconds": before.get("wall_seconds", 0.0) + wall_seconds,
            "cpu_seconds": before.get("cpu_seconds", 0.0) + cpu_seconds,
            "sittings": before.get("sittings", 0) + 1,
        }
        write_whole(self.folder / MEASURED, dumps(after) + "\n")

    def finish(self, made_by: dict[str, Any]) -> None:
        """Acknowledges the step: every file and folder is on disk before the rename that finishes it."""
        rows = self.folder / ROWS
        rows.touch()
        content: dict[str, Any] = {"rows": len(Rows(rows)), "content": sha256_file(rows)}
        model = self.folder / MODEL
        if model.exists():
            content["model"] = folder_digest(model)
        for path in [rows, *sorted(model.rglob("*")), *([model] if model.exists() else [])]:
            sync(path)
        sync(self.folder)
        sync(self.folder.parent)
        write_whole(
            self.folder / MADE_BY, json.dumps({**made_by, **content}, indent=2, sort_keys=True) + "\n"
        )


def _holder(path: Path) -> str:
    try:
        who = json.loads(path.read_text(encoding="utf-8"))
        return f"process {who['pid']} on {who['host']} since {who['since']}"
    except (OSError, ValueError, KeyError):
        return "another process"
