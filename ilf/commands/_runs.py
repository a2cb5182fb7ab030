"""Runs on disk: finding a run or a step by part of its name, what the last command used, who is at work.

``runs/nano/last.json`` lists the steps that the last ``ilf run`` and ``ilf compare`` used;
``runs/nano/.locks/in-use-PID-X.lock`` is held while a command works in ``runs/nano``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ilf.commands._terminal import redacted
from ilf.errors import UsageError, nearest
from ilf.files import write_whole
from ilf.store import LOCKS, MADE_BY, MODEL, ROWS

LAST = "last.json"
_STEP_NAME = re.compile(r"(?P<step>.+)-(?P<address>[0-9a-f]{10})")
_IN_USE, _GATE = "in-use-", "gate.lock"


def step_name(folder: Path) -> str:
    """``choose`` of ``choose-30649c5c94``."""
    match = _STEP_NAME.fullmatch(folder.name)
    return match["step"] if match else folder.name


def is_step(folder: Path) -> bool:
    """Whether a folder is a step's, finished or not."""
    parts = (ROWS, MADE_BY, MODEL)
    return folder.is_dir() and any((folder / part).exists() for part in parts)


def steps_in(run: Path) -> list[Path]:
    """The step folders of a run, in the order in which they were last written."""
    found = [p for p in run.glob("*-*") if _STEP_NAME.fullmatch(p.name) and not p.is_symlink() and p.is_dir()]
    return sorted(found, key=lambda p: (_time_of(p), p.name))


def _time_of(folder: Path) -> float:
    for name in (MADE_BY, ROWS, "."):
        with contextlib.suppress(OSError):
            return (folder / name).stat().st_mtime
    return 0.0


def runs_in(runs: Path) -> list[Path]:
    """The run folders below ``runs``, those that hold steps, by name."""
    return [p for p in sorted(runs.glob("*")) if p.is_dir() and not p.is_symlink() and steps_in(p)]


def find(text: str, runs: Path) -> tuple[Path, list[Path]]:
    """The run or step folder that a text names, and other steps that it could have meant.

    A path; a run (``nano``); a step of one (``nano/choose``); the beginning of a step folder's name
    (``choose-30649``). Of several steps the one that the last ``ilf run`` used, else the newest. UsageError
    where nothing, or steps of several runs, answer.
    """
    path = Path(text)
    for folder in (runs / text, path):
        folder = folder.parent if folder.name == ROWS and folder.is_file() else folder
        if is_step(folder) or (folder.is_dir() and steps_in(folder)):
            return folder, []
    parent, _, name = text.strip("/").rpartition("/")
    # A folder called like the run may be the recipe's: only one that holds steps is meant.
    where = [run for run in (runs / parent, Path(parent)) if steps_in(run)][:1] if parent else runs_in(runs)
    every = [step for run in where for step in steps_in(run)]
    found = [s for s in every if name and step_name(s) == name]
    found = found or [s for s in every if name and s.name.startswith(name)]
    if not found:
        known = [*(r.name for r in runs_in(runs)), *(step_name(s) for s in every), *(s.name for s in every)]
        raise UsageError(f"no run or step '{text}' in {runs}.{nearest(name, known)} See: ilf show")
    if len({step.parent for step in found}) > 1:
        names = ", ".join(sorted({f"{s.parent.name}/{s.name}" for s in found})[:6])
        raise UsageError(f"'{text}' is in several runs; name one: {names}")
    used = _used_by_run(found[0].parent)
    best = next((s for s in reversed(found) if s.name in used), found[-1])
    return best, [s for s in found if s != best]


def find_step(text: str, runs: Path) -> tuple[Path, list[Path]]:
    """As ``find``, for a step; UsageError where the text names a run."""
    folder, others = find(text, runs)
    if not is_step(folder):
        steps = ", ".join(dict.fromkeys(step_name(s) for s in steps_in(folder)))
        raise UsageError(f"{folder} is a run; name one of its steps, such as {folder}/STEP: {steps}")
    return folder, others


def others_note(folder: Path, others: Sequence[Path]) -> str:
    """What to tell when a name fitted several steps."""
    shown = ", ".join(s.name for s in others[:3]) + (", ..." if len(others) > 3 else "")
    return f"{folder} ({len(others)} other(s) of this name: {shown})"


# --- what the last command used


def last(run: Path) -> dict[str, Any]:
    """Command -> {words, at, steps} of the last ``run`` and the last ``compare``; empty where unknown."""
    try:
        found = json.loads((run / LAST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def used(run: Path) -> set[str] | None:
    """Names of all step folders that the last commands used; None where no command noted any."""
    noted = last(run)
    if not noted:
        return None
    return {str(step) for entry in noted.values() for step in entry.get("steps", ())}


def _used_by_run(run: Path) -> set[str]:
    return set(last(run).get("run", {}).get("steps", ()))


def note_last(run: Path, command: str, words: Sequence[str], steps: Iterable[str]) -> None:
    """Writes down which step folders a command used or is making; ``ilf clean`` keeps them."""
    entry = {
        "words": [redacted(word) for word in words],
        "at": time.strftime("%Y-%m-%d %H:%M:%S"),
        "steps": sorted(set(steps)),
    }
    with _gate(run):
        write_whole(run / LAST, json.dumps({**last(run), command: entry}, indent=2) + "\n")


# --- who is at work


@contextlib.contextmanager
def in_use(run: Path) -> Iterator[None]:
    """Marks a run folder as being worked in by this process, so that ``ilf clean`` leaves it alone."""
    from filelock import FileLock

    # Random, not only the pid: the mark of a killed process must never be taken for a later one's.
    mark = run / LOCKS / f"{_IN_USE}{os.getpid()}-{secrets.token_hex(4)}.lock"
    lock = FileLock(mark)
    with _gate(run):
        lock.acquire()
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)
        lock.release()


@contextlib.contextmanager
def idle(run: Path) -> Iterator[list[str]]:
    """Holds a run folder so that no command starts in it; yields the names of locks that others hold."""
    with _gate(run):
        locks = [path for path in sorted((run / LOCKS).glob("*.lock")) if path.name != _GATE]
        yield [path.stem for path in locks if not _is_free(path)]


def _is_free(path: Path) -> bool:
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    lock.release()
    return True


def remove_marks(run: Path, keep: Iterable[str]) -> None:
    """Removes lock files of killed processes and of steps that are gone; inside ``idle``, none held."""
    kept = set(keep)
    for path in sorted((run / LOCKS).glob("*")):
        if path.name != _GATE and path.stem not in kept:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _gate(run: Path) -> Iterator[None]:
    """One process at a time registers, notes what it used, or cleans."""
    from filelock import FileLock

    (run / LOCKS).mkdir(parents=True, exist_ok=True)
    with FileLock(run / LOCKS / _GATE):
        yield


def run_folder(name: str, runs: Path) -> Path:
    """A run by its name below the folder of runs, or by its path; UsageError where there is none."""
    for folder in (runs / name, Path(name)):
        if folder.is_dir():
            return folder
    raise UsageError(
        f"no run '{name}': neither one in {runs}, nor a folder. Compare first: ilf compare {name}"
    )
