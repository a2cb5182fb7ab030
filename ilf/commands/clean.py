"""ilf clean: what runs take on disk, and removing what nothing refers to."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ilf.commands._parser import Subparsers, add_command, add_json, add_runs
from ilf.commands._terminal import json_text, size, table
from ilf.errors import IlfError

_RULE = """\
Kept is every step folder that the last `ilf run` or the last `ilf compare` of that run folder used or was
making; another step folder, finished or not, is removed. A run folder in which no such command was noted,
or in which a process is at work, is left alone; so is everything that is no step (pages, your own files).
What is removed can be made again by the command that made it, except what people wrote: their answers lie
in the file or on the server of their feedback source, which is never touched.
Models that you use by the path of their step folder: copy them first."""


class RunFolder(NamedTuple):
    """A run folder, its steps with their sizes, and those that may go; or why it is left alone."""

    run: Path
    sizes: dict[Path, int]
    unused: tuple[Path, ...]
    left_alone: str | None


def add(subparsers: Subparsers) -> None:
    """Adds ``ilf clean``."""
    parser = add_command(
        subparsers,
        "clean",
        clean,
        "say what runs take on disk, and remove what nothing refers to",
        more=_RULE,
        examples=("ilf clean --dry-run", "ilf clean", "ilf clean --runs scratch --yes"),
    )
    parser.add_argument("--yes", action="store_true", help="remove without asking")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be removed, and remove nothing"
    )
    add_runs(parser)
    add_json(parser)


def clean(arguments: argparse.Namespace) -> int:
    """Tells, asks, removes."""
    from ilf.commands._runs import runs_in

    found = [look(run) for run in runs_in(Path(arguments.runs))]
    n_unused = sum(len(f.unused) for f in found)
    if not arguments.json:
        print(_text(found, arguments.runs))
    removed: list[Path] = []
    if n_unused and not arguments.dry_run:
        if not arguments.yes:
            _confirm(n_unused)
        for folder in found:
            removed += remove(folder)
    freed = sum(f.sizes[step] for f in found for step in f.unused if step in removed)
    if arguments.json:
        print(json_text(_json(found, removed, freed)))
    elif removed:
        print(f"Removed {len(removed)} step folder(s), {size(freed)}.")
    elif arguments.dry_run:
        print("Nothing was removed.")
    return 0


def look(run: Path) -> RunFolder:
    """What a run folder takes and which of its steps nothing refers to."""
    from ilf.commands._runs import idle, steps_in, used
    from ilf.commands.show import disk_use

    sizes = {step: disk_use(step) for step in steps_in(run)}
    kept = used(run)
    if kept is None:
        return RunFolder(run, sizes, (), "no `ilf run` or `ilf compare` is noted in it")
    with idle(run) as busy:
        if busy:
            return RunFolder(run, sizes, (), f"a process is at work in it ({', '.join(busy)})")
    return RunFolder(run, sizes, tuple(step for step in sizes if step.name not in kept), None)


def remove(folder: RunFolder) -> list[Path]:
    """Removes the unused steps of a run folder, looking again first; returns those that went."""
    from ilf.commands._runs import idle, remove_marks, steps_in, used
    from ilf.store import MADE_BY

    if folder.left_alone:
        return []
    removed = []
    with idle(folder.run) as busy:
        kept = used(folder.run)
        if busy or kept is None:
            return []
        for step in folder.unused:
            if step.name not in kept and step.is_dir():
                # First what says that it is finished: half a removal leaves an unfinished step.
                (step / MADE_BY).unlink(missing_ok=True)
                shutil.rmtree(step)
                removed.append(step)
        remove_marks(folder.run, keep=(step.name for step in steps_in(folder.run)))
    return removed


def _confirm(n_unused: int) -> None:
    """Asks on the terminal; where nobody can answer, nothing is removed."""
    if not sys.stdin.isatty():
        raise IlfError("nothing was removed: nobody can be asked here. Add --yes to remove.")
    print(
        f"Remove the {n_unused} step folder(s) marked 'unused'? [y/N] ", end="", file=sys.stderr, flush=True
    )
    answer = ""
    with contextlib.suppress(EOFError):
        answer = sys.stdin.readline()
    if answer.strip().lower() not in ("y", "yes"):
        raise IlfError("nothing was removed.")


def _text(found: Sequence[RunFolder], runs: str) -> str:
    if not found:
        return f"no runs in {runs}."
    rows: list[list[object]] = [["step", "size", ""]]
    for folder in found:
        rows.append([f"{folder.run}/", size(sum(folder.sizes.values())), folder.left_alone or ""])
        for step, n_bytes in folder.sizes.items():
            rows.append([f"  {step.name}", size(n_bytes), "unused" if step in folder.unused else ""])
    unused = sum(f.sizes[step] for f in found for step in f.unused)
    n_unused = sum(len(f.unused) for f in found)
    return f"{table(rows, right=(1,))}\n\n{n_unused} step folder(s) unused, {size(unused)}."


def _json(found: Sequence[RunFolder], removed: Sequence[Path], freed: int) -> dict[str, Any]:
    return {
        "runs": [
            {
                "run": str(f.run),
                "bytes": sum(f.sizes.values()),
                "left_alone": f.left_alone,
                "steps": [
                    {"step": s.name, "bytes": n, "unused": s in f.unused, "removed": s in removed}
                    for s, n in f.sizes.items()
                ],
            }
            for f in found
        ],
        "freed_bytes": freed,
    }
