"""ilf report: the page of one or more comparisons, made again from the rows that they left."""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ilf.commands._parser import Subparsers, add_command
from ilf.commands._runs import run_folder
from ilf.commands._terminal import json_text, width
from ilf.errors import UsageError

PAGE = "report.html"


def add(subparsers: Subparsers) -> None:
    """Adds ``ilf report``."""
    parser = add_command(
        subparsers,
        "report",
        report,
        "make the page of a comparison again from its rows",
        more="RUN is the folder of a comparison (runs/nano) or its name below --runs. Nothing is run: the\n"
        "same rows give the same page, byte for byte. Several runs become one page with a section for each.",
        examples=(
            "ilf report nano",
            "ilf report runs/nano --format markdown > summary.md",
            "ilf report nano nano_full --out both.html",
            "ilf report nano --json",
            "ilf report nano --cards cards",
        ),
    )
    parser.add_argument("run_names", nargs="+", metavar="RUN", help="folder or name of a comparison's run")
    parser.add_argument("--runs", default="runs", help="folder of the runs (default: runs)")
    parser.add_argument(
        "--out", metavar="FILE", help="where to write the page (default: report.html in the run)"
    )
    parser.add_argument(
        "--format", choices=("html", "markdown", "text"), default="html",
        help="html writes a page; markdown (for a pull request) and text are printed",
    )  # fmt: skip
    parser.add_argument(
        "--cards",
        metavar="FOLDER",
        help="also write a model card of every arm, and a data card, into a folder",
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON instead")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")


def report(arguments: argparse.Namespace) -> int:
    """Reads every run's rows, and writes or prints what is asked for."""
    from ilf import report as reporting

    comparing = importlib.import_module("ilf.compare")  # `from ilf import compare` is the function
    folders = [run_folder(name, Path(arguments.runs)) for name in arguments.run_names]
    if len(folders) > 1 and not arguments.out and arguments.format == "html" and not arguments.json:
        raise UsageError("several runs make one page: say where, with --out FILE.")
    results: list[dict[str, Any]] = [comparing.stored(folder) for folder in folders]
    if arguments.cards:
        _write_cards(results, Path(arguments.cards))
    if arguments.json:
        print(json_text(results[0] if len(results) == 1 else results))
    elif arguments.format == "html":
        page = Path(arguments.out) if arguments.out else folders[0] / PAGE
        reporting.write(results[0] if len(results) == 1 else results, page)
        print(f"The page to open: {page}")
        if arguments.open:
            import webbrowser

            webbrowser.open(page.resolve().as_uri())
    else:
        print("\n\n".join(_as_text(result, arguments.format) for result in results))
    return 0


def _write_cards(results: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """``FOLDER/RECIPE/ARM.md`` for every arm, and ``FOLDER/RECIPE/data.md``."""
    from ilf.cards import data_card, model_card
    from ilf.files import write_whole

    for result in results:
        own = folder / result["recipe"]
        own.mkdir(parents=True, exist_ok=True)
        write_whole(own / "data.md", data_card(result))
        for row in result["arms"]:
            write_whole(own / f"{_file_name(row['arm'])}.md", model_card(result, row["arm"]))


def _as_text(result: Mapping[str, Any], form: str) -> str:
    from ilf import report as reporting

    return reporting.markdown(result) if form == "markdown" else reporting.terminal(result, width())


def _file_name(arm: str) -> str:
    """The arm's name with nothing in it that a file's name cannot hold."""
    return re.sub(r"[^\w.@-]", "_", arm).lstrip(".") or "_"
