"""Does memory stay flat? Peak RSS of load, choose and export at 1,000 and at 100,000 rows.

    python benchmarks/memory.py              about two minutes; --rows 1000 20000 for a quick look

A row has a post of 120 words, an output, a critique and four refinements. load reads a user's file (checked,
hashed, duplicates looked for), choose runs the ranker `length`, export writes the formats: each in its own
process. The status is 1 where a stage takes over 100 MiB more for the larger number of rows. Measured on two
busy cores, Python 3.11:

    stage              1000 rows   100000 rows      more    rows/s
    load jsonl          29.0 MiB      31.2 MiB   2.2 MiB      7764
    load csv            29.0 MiB      31.0 MiB   2.0 MiB      5607
    load parquet       103.6 MiB     130.9 MiB  27.3 MiB     10309
    choose              27.5 MiB      28.4 MiB   0.9 MiB     10994
    export jsonl        22.4 MiB      23.2 MiB   0.8 MiB     24695
    export trl-sft      22.3 MiB      23.2 MiB   0.9 MiB     38200
    export parquet     144.5 MiB     176.6 MiB  32.1 MiB     10970
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: What the larger run may take on top of the smaller, in MiB.
ALLOWED = 100.0
WORDS = [f"{a}{b}{c}" for a in ("ka", "lo", "mi", "su", "te") for b in "bdfgklmn" for c in ("ar", "en", "is")]
RECIPE = """
seed: 0
steps:
  load: {{path: rows.{format}}}
  choose: {{ranker: length}}
"""
RUN = "import sys; from ilf.run import run_recipe; run_recipe(sys.argv[1], runs=sys.argv[2], quiet=True)"


def rows(n: int) -> Iterator[dict[str, Any]]:
    for index in range(n):
        rng = random.Random(index)

        def text(length: int, rng: random.Random = rng) -> str:
            return " ".join(rng.choices(WORDS, k=length))

        yield {
            "prompt": f"{index} {text(120)}\nTL;DR:",
            "output": f" {text(25)}",
            "critique": text(30),
            "refinements": [f" {text(rng.randint(15, 30))}" for _ in range(4)],
            "annotator": f"w{index % 11}",
            "seconds": float(60 + index % 300),
        }


def write(path: Path, n: int) -> None:
    if path.suffix == ".jsonl":
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows(n))
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(next(rows(1))))
            writer.writeheader()
            writer.writerows({**row, "refinements": json.dumps(row["refinements"])} for row in rows(n))
    else:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows(n))), path)


def measured(command: list[str]) -> tuple[float, float]:
    """Peak RSS in MiB and wall seconds of a command in a process of its own."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"memory.py: {' '.join(command)}: exit status {process.returncode}")
    return usage.ru_maxrss / 1024, time.perf_counter() - started


def stages(folder: Path, n: int) -> Iterator[tuple[str, float, float]]:
    """Runs every stage; the child that runs choose finds load's rows made."""
    for kind in ("jsonl", "csv", "parquet"):
        name = f"{kind}-{n}"
        recipe = folder / name / "recipe.yaml"
        recipe.parent.mkdir()
        # Elsewhere: a process starts with its parent's peak, so this one stays small.
        measured([__file__, "--write", str(recipe.parent / f"rows.{kind}"), str(n)])
        text = RECIPE.format(format=kind)
        recipe.write_text(text.partition("  choose")[0], encoding="utf-8")
        yield f"load {kind}", *measured(["-c", RUN, str(recipe), str(folder / "runs")])
    recipe = folder / f"jsonl-{n}" / "recipe.yaml"
    recipe.write_text(RECIPE.format(format="jsonl"), encoding="utf-8")
    yield "choose", *measured(["-c", RUN, str(recipe), str(folder / "runs")])
    (step,) = (folder / "runs" / f"jsonl-{n}").glob("choose-*")
    for kind in ("jsonl", "trl-sft", "parquet"):
        file = str(folder / f"{kind}-{n}.exported")
        yield f"export {kind}", *measured(["-m", "ilf", "export", str(step), "--format", kind, "-o", file])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs=2, default=[1000, 100_000], metavar=("FEW", "MANY"))
    parser.add_argument("--write", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        write(Path(arguments.write[0]), int(arguments.write[1]))
        return 0
    few, many = arguments.rows
    with tempfile.TemporaryDirectory() as name:
        found = {n: {stage: (mib, s) for stage, mib, s in stages(Path(name), n)} for n in (few, many)}
    print(f"{'stage':<14}{f'{few} rows':>14}{f'{many} rows':>14}{'more':>10}{'rows/s':>10}")
    is_flat = True
    for stage, (peak_few, _) in found[few].items():
        peak_many, seconds = found[many][stage]
        more = peak_many - peak_few
        is_flat &= more <= ALLOWED
        print(
            f"{stage:<14}{peak_few:>10.1f} MiB{peak_many:>10.1f} MiB{more:>6.1f} MiB{many / seconds:>10.0f}"
        )
    print(f"flat: at most {ALLOWED:.0f} MiB more" if is_flat else f"NOT flat: over {ALLOWED:.0f} MiB more")
    return 0 if is_flat else 1


if __name__ == "__main__":
    sys.exit(main())
