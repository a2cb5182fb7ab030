"""ilf export: a step's rows as a file for TRL, datasets or anything else."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ilf.commands._parser import Subparsers, add_command, add_runs
from ilf.commands._terminal import number
from ilf.errors import UsageError

FORMATS = {
    "trl-sft": "prompt and completion",
    "trl-dpo": "prompt, chosen (the completion) and rejected (the output)",
    "jsonl": "all columns, JSON lines",
    "parquet": "all columns",
}


def add(subparsers: Subparsers) -> None:
    """Adds ``ilf export``."""
    parser = add_command(
        subparsers,
        "export",
        export,
        "write the rows of a step as a file for other tools",
        more="formats:\n" + "\n".join(f"  {name:<9} {about}" for name, about in FORMATS.items()) + "\n\n"
        "datasets.load_dataset reads each of them. The file is whole or not there.",
        examples=(
            "ilf export nano/choose --format trl-sft",
            "ilf export nano/choose --format trl-dpo --drop-equal -o pairs.jsonl",
            "ilf export choose-30649 --format jsonl -o - | head -1",
            "ilf export nano/evaluate --format parquet -o graded.parquet --force",
        ),
    )
    parser.add_argument("step", metavar="STEP", help="a step, named as for `ilf show`")
    parser.add_argument("--format", required=True, choices=list(FORMATS), help="see above")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="where to (default: RUN-STEP.FORMAT.jsonl here; - is stdout)"
    )
    parser.add_argument("--force", action="store_true", help="replace a file that exists")
    parser.add_argument(
        "--drop-equal",
        action="store_true",
        help="trl-dpo: leave out rows whose chosen and rejected are equal",
    )
    add_runs(parser)


def export(arguments: argparse.Namespace) -> int:
    """Streams the rows into a file and says how many."""
    from ilf.commands import _runs
    from ilf.commands._exports import Counts, to_stdout, write
    from ilf.store import Step

    if arguments.drop_equal and arguments.format != "trl-dpo":
        raise UsageError("--drop-equal belongs to --format trl-dpo.")
    folder, others = _runs.find_step(arguments.step, Path(arguments.runs))
    if others:
        print(_runs.others_note(folder, others), file=sys.stderr)
    step = Step(folder)
    if not step.is_finished:
        raise UsageError(f"{folder} is not finished; run its recipe again first.")
    counts = Counts()
    if arguments.output == "-":
        if arguments.format == "parquet":
            raise UsageError("parquet cannot go to stdout; name a file with -o.")
        to_stdout(step.rows(), arguments.format, counts, drop_equal=arguments.drop_equal)
        target = "stdout"
    else:
        path = _target(arguments, folder)
        write(
            step.rows(),
            arguments.format,
            path,
            counts,
            drop_equal=arguments.drop_equal,
            force=arguments.force,
        )
        target = str(path)
    for line in counts.notes():
        print(line, file=sys.stderr)
    print(f"{target}: {number(counts.written)} rows", file=sys.stderr if target == "stdout" else sys.stdout)
    return 0


def _target(arguments: argparse.Namespace, folder: Path) -> Path:
    if arguments.output:
        return Path(arguments.output)
    form = arguments.format
    ending = {"jsonl": "jsonl", "parquet": "parquet"}.get(form, f"{form}.jsonl")
    return Path(f"{folder.resolve().parent.name}-{folder.name}.{ending}")
