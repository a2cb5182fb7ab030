"""ilf curves: how training went, as one page with pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ilf.commands._parser import Subparsers, add_command, add_json, add_runs
from ilf.commands._terminal import json_text, visible, width, wrapped
from ilf.errors import DataError, UsageError

if TYPE_CHECKING:
    from ilf.protocols import Row

PAGE = "curves.html"


def add(subparsers: Subparsers) -> None:
    """Adds ``ilf curves``."""
    parser = add_command(
        subparsers,
        "curves",
        curves,
        "draw the learning curves of train steps",
        more="Writes a page to open: reward beside the true grade, by step and by distance from the\n"
        "reference (is the reward over-optimised?), KL, entropy, length, every other column, and answers.\n"
        "A step may still be at work. Steps of one NAME are seeds of one arm: their mean is drawn too.",
        examples=(
            "ilf curves nano/ppo",
            "ilf curves nano/ppo nano/rloo --open",
            "ilf curves ppo=nano/ppo-30649 ppo=nano/ppo-f5b06 rloo=nano/rloo-1c2d3",
            "ilf curves nano/ppo --out ppo.html",
            "ilf curves nano/ppo --json",
        ),
    )
    parser.add_argument(
        "targets",
        nargs="+",
        metavar="[NAME=]RUN/STEP",
        help="a train step as ilf show finds it (nano/ppo, or how its folder's name begins), or a path; "
        "NAME is what the page calls it",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="the page (default: curves.html in the first step's run)"
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    add_runs(parser)
    add_json(parser)


def curves(arguments: argparse.Namespace) -> int:
    """Reads the logs, writes the page, says where grades turned."""
    import shlex

    from ilf import curves as drawing

    found = [_step(target, Path(arguments.runs)) for target in arguments.targets]
    arms: dict[str, list[Sequence[Row]]] = {}
    sources: dict[str, list[str]] = {}
    for name, folder in found:
        if str(folder) in sources.setdefault(name, []):
            raise UsageError(f"{folder} is named twice as '{name}'.")
        arms.setdefault(name, []).append(_log(folder))
        sources[name].append(str(folder))
    page = Path(arguments.out) if arguments.out else found[0][1].parent / PAGE
    command = shlex.join(["ilf", "curves", *arguments.targets])
    drawing.write(page, arms, ", ".join(arms), sources=sources, command=command)
    if arguments.json:
        told = [{**one, "folders": sources[one["run"]]} for one in drawing.numbers(arms)]
        print(json_text({"runs": told, "page": str(page)}))
    else:
        for line in drawing.sentences(arms):
            print(wrapped(line, width()), end="\n\n")
        print(f"The page to open: {visible(page, one_line=True)}")
    if arguments.open:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
    return 0


def _step(target: str, runs: Path) -> tuple[str, Path]:
    """(name on the page, folder) of ``[NAME=]RUN/STEP``."""
    from ilf.commands import _runs

    name, _, text = target.rpartition("=")
    folder, others = _runs.find_step(text, runs)
    if others:
        print(_runs.others_note(folder, others), file=sys.stderr)
    return name or f"{folder.parent.name}/{folder.name}", folder


def _log(folder: Path) -> Sequence[Row]:
    """The log so far; DataError where the rows are none of a train step."""
    from ilf.records import Rows
    from ilf.store import ROWS

    path = folder / ROWS
    rows = list(Rows(path)) if path.exists() else []
    if not any("step" in row for row in rows):
        raise DataError(
            f"{folder}: no log of training ('step' in its rows){'' if rows else ' yet'}. "
            "Name a train step; ilf show lists the steps of a run."
        )
    return rows
