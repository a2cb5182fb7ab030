"""ilf show: runs, steps and rows, readable."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ilf.commands._parser import Subparsers, add_command, add_json, add_runs, count
from ilf.commands._terminal import json_text, number, paint, size, table, visible
from ilf.errors import UsageError

#: Rows (of a log, of a table) that are shown unless -n says otherwise.
_ROWS, _LOG_ROWS = 3, 20


def add(subparsers: Subparsers) -> None:
    """Adds ``ilf show``."""
    parser = add_command(
        subparsers,
        "show",
        show,
        "show a run's steps, or the rows of a step",
        more="A row: prompt, output, critique, refinements with their scores, the chosen one marked with >,\n"
        "completion, grade and parts. Control characters in texts are made visible.",
        examples=(
            "ilf show",
            "ilf show nano",
            "ilf show nano/choose",
            "ilf show choose-30649 -n 10 | less",
            "ilf show nano/choose --row 17 --all",
            "ilf show nano/evaluate --row 5d3c --json",
        ),
    )
    parser.add_argument(
        "target",
        nargs="?",
        metavar="RUN_OR_STEP",
        help="a run (nano), a step (nano/choose, or the beginning of its folder's name), or a path; "
        "left out: all runs",
    )
    parser.add_argument(
        "-n", "--rows", type=count, metavar="ROWS", help="how many rows (default: 3; of a log 20)"
    )
    parser.add_argument(
        "--row", metavar="ID|INDEX", help="one row: its number (from 1), or how its id begins"
    )
    parser.add_argument("--all", action="store_true", help="all columns")
    add_runs(parser)
    add_json(parser)


def show(arguments: argparse.Namespace) -> int:
    """Shows all runs, a run, or a step."""
    from ilf.commands import _runs

    runs = Path(arguments.runs)
    if arguments.target is None:
        return _show_runs(runs, arguments)
    folder, others = _runs.find(arguments.target, runs)
    if others:
        print(_runs.others_note(folder, others), file=sys.stderr)
    if not _runs.is_step(folder):
        if arguments.row:
            raise UsageError(f"{folder} is a run; --row needs one of its steps.")
        return _show_run(folder, arguments)
    return _show_step(folder, arguments)


def _show_runs(runs: Path, arguments: argparse.Namespace) -> int:
    from ilf.commands._runs import last, runs_in, steps_in

    found: list[dict[str, Any]] = [
        {
            "run": str(run),
            "steps": len(steps_in(run)),
            "last": {name: {"words": e.get("words"), "at": e.get("at")} for name, e in last(run).items()},
        }
        for run in runs_in(runs)
    ]
    if arguments.json:
        print(json_text(found))
    elif not found:
        print(f"no runs in {runs}. ilf run nano makes the first; --runs DIR looks elsewhere.")
    else:
        rows: list[list[object]] = [["run", "steps", "last command"]]
        for entry in found:
            at = max(entry["last"].values(), key=lambda e: str(e["at"]), default={"words": [], "at": ""})
            rows.append([entry["run"], entry["steps"], f"{at['at']}  {' '.join(at['words'] or [])}"])
        print(table(rows, right=(1,)))
    return 0


def _show_run(run: Path, arguments: argparse.Namespace) -> int:
    from ilf.commands._runs import steps_in, used

    kept = used(run)
    found = _lineage([_step_line(folder) for folder in steps_in(run)])
    if arguments.json:
        print(json_text({"run": str(run), "steps": found}))
        return 0
    rows: list[list[object]] = [["step", "rows", "size", "made from"]]
    for entry in found:
        state = [] if entry["is_finished"] else ["not finished"]
        state += [] if kept is None or entry["step"] in kept else ["not used last"]
        reads = f" <- {', '.join(entry['reads'])}" if entry["reads"] else ""
        note = "; ".join(filter(None, [*state, f"{entry['made_from']}{reads}"]))
        rows.append([entry["step"], entry["rows"], size(entry["bytes"]), note])
    print(table(rows, right=(1, 2)))
    print(f"\nilf show {run}/STEP shows the rows of a step.")
    return 0


def _step_line(folder: Path) -> dict[str, Any]:
    from ilf.commands._rows import settings_note
    from ilf.errors import DataError
    from ilf.store import Step

    step = Step(folder)
    made: dict[str, Any] = {}
    note = ""
    if step.is_finished:
        try:
            made = step.made_by
            note = settings_note(made)
        except DataError:
            note = "made_by.json is unreadable"
    return {
        "step": folder.name,
        "is_finished": bool(made),
        "rows": made.get("rows"),
        "bytes": disk_use(folder),
        "wall_seconds": step.measured.get("wall_seconds"),
        "made_from": note,
        "made_by": made,
    }


def _lineage(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Adds which steps of the run each one read, by the hashes of their rows and models."""
    made = [entry.pop("made_by") for entry in found]
    named = {
        m[key]: e["step"]
        for key in ("content", "model")
        for m, e in zip(made, found, strict=True)
        if key in m
    }
    for entry, own in zip(found, made, strict=True):
        hashes = [*own.get("content_read", ()), *_models(own.get("settings", {}))]
        entry["reads"] = [named[h] for h in hashes if h in named]
    return found


def _models(settings: Any) -> Iterator[str]:
    """The model hashes in a step's settings."""
    for key, value in settings.items() if isinstance(settings, dict) else ():
        if isinstance(value, dict):
            yield from _models(value)
        elif key in ("model", "start") and isinstance(value, str):
            yield value


def disk_use(folder: Path) -> int:
    """Bytes of all files in a folder; links are not followed."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def _show_step(folder: Path, arguments: argparse.Namespace) -> int:
    from ilf.commands._log_text import episodes_per_second
    from ilf.records import Rows
    from ilf.store import ROWS, Step

    path = folder / ROWS
    if not path.exists():
        print(f"{folder}: no rows yet; the step is not finished.", file=sys.stderr)
        return 0
    rows, step = Rows(path), Step(folder)
    if not step.is_finished:
        print(f"{folder}: not finished; the rows so far:", file=sys.stderr)
    chosen = list(_chosen(rows, arguments, folder))
    if arguments.json:
        told = {"step": str(folder), "is_finished": step.is_finished, "total": len(rows)}
        told["rows"] = [{"row": index + 1, **row} for index, row in chosen]
        speed = episodes_per_second(rows, step.measured) if _verb(step) == "train" else None
        print(json_text(told if speed is None else {**told, "episodes_per_second": speed}))
        return 0
    print(paint(visible(f"{folder}: {number(len(rows))} rows", one_line=True), "bold"), end="\n\n")
    print(_text(chosen, rows, step, arguments))
    return 0


def _verb(step: Any) -> str:
    from ilf.commands._runs import step_name

    return str(step.made_by.get("stage", "")) if step.is_finished else step_name(step.folder)


def _use_of(model: Path, step: Any) -> str:
    """What the model of a train step is for: a reward model marks answers, others write them."""
    config = model / "config.json"
    if config.exists() and "ForSequenceClassification" in config.read_text(encoding="utf-8"):
        return f"reward model: {model}\nThe ranker reward scores with it: {{name: reward, model: {model}}}"
    return f"model: {model}\nilf try {step.folder} answers with it."


def _text(
    chosen: Sequence[tuple[int, Any]], rows: Sequence[Any], step: Any, arguments: argparse.Namespace
) -> str:
    from ilf.commands._log_text import log_text
    from ilf.commands._rows import row_text
    from ilf.commands._tables import choice_table
    from ilf.store import MODEL

    verb = _verb(step)
    if verb == "choice" and not arguments.row:
        return choice_table(rows)
    is_log = verb == "train" or (bool(chosen) and "prompt" not in chosen[0][1])
    if is_log and not arguments.row:
        told = log_text(rows, arguments.rows or _LOG_ROWS, step.measured, everything=arguments.all)
        model = step.folder / MODEL
        return f"{told}\n\n{_use_of(model, step)}" if model.is_dir() else told
    blocks = [row_text(row, index, len(rows), everything=arguments.all) for index, row in chosen]
    more = len(rows) - len(chosen)
    if more > 0 and not arguments.row:
        blocks.append(paint(f"{number(more)} more rows: -n ROWS, or --row ID|INDEX", "dim"))
    return "\n\n".join(blocks)


def _chosen(rows: Any, arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[int, Any]]:
    """(index, row) of the rows to show."""
    if arguments.row is None:
        yield from enumerate(rows[: arguments.rows or _ROWS])
        return
    word = arguments.row
    # An id may consist of digits too; a number does not begin with 0.
    if word.isdecimal() and word[0] != "0" and int(word) <= len(rows):
        yield int(word) - 1, rows[int(word) - 1]
        return
    found = [index for index, row in enumerate(rows) if str(row.get("id", "")).startswith(word)]
    if not found:
        told = f"numbers go from 1 to {len(rows)}" if word.isdecimal() else "no id begins like this"
        raise UsageError(f"{folder}: no row '{visible(word, one_line=True)}'; {told}.")
    if len(found) > 1 and not any(str(rows[i].get("id")) == word for i in found):
        raise UsageError(f"{folder}: {len(found)} ids begin with '{word}'; write more of it.")
    at = next((i for i in found if str(rows[i].get("id")) == word), found[0])
    yield at, rows[at]
