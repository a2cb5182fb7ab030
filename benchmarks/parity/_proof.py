"""What the parity proofs share: rows of the nano world, both sides on the same batches, and the verdict."""

from __future__ import annotations

import argparse
import contextlib
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks._other_environment import ROOT, call, save, versions

NANO = str(ROOT / "ilf" / "worlds" / "checkpoints" / "nano")
#: What a loss may differ by.
TOLERANCE = 1e-5
#: The packages whose versions are kept with a result.
PACKAGES = ("torch", "transformers")

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A strategy of ours, and the settings with which a trainer of TRL does the same."""

    name: str
    strategy: Any
    settings: Mapping[str, Any]
    rows: Sequence[Row]
    batch_size: int
    start: str = NANO
    #: The rows as TRL must have them, where that is not as they are.
    their_rows: Sequence[Row] | None = None
    #: A column of our log that is above 0 somewhere, or the case proves less than it seems to.
    witness: str | None = None


def options(doc: str | None) -> argparse.Namespace:
    """``--trl PYTHON`` and ``--save``."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trl", required=True, metavar="PYTHON", help="an interpreter that has TRL")
    parser.add_argument(
        "--save", action="store_true", help="keep the result in benchmarks/results/parity.json"
    )
    return parser.parse_args()


def posts(n: int) -> Iterator[tuple[random.Random, Any, str]]:
    """Posts of the nano world: a generator, the facts, and the prompt."""
    from ilf.worlds.nano import Nano

    world = Nano()
    for i in range(n):
        rng = random.Random(i)
        facts = world.facts(rng, "train")
        yield rng, facts, world.prompt(facts)


def pairs(n: int) -> list[Row]:
    """A demonstration preferred to a faulty output, one pair a post."""
    from ilf.worlds.nano import Nano

    world = Nano()
    rows = []
    for rng, facts, prompt in posts(n):
        chosen, rejected = world.demonstrate(rng, facts), world.faulty(rng, facts)
        if chosen != rejected:
            rows.append({"prompt": prompt, "chosen": chosen, "rejected": rejected})
    return rows


@contextlib.contextmanager
def in_order(strategy: Any) -> Iterator[None]:
    """``strategy`` takes its batches from the rows as they stand, as TRL is told to."""

    def batches(self: Any, lengths: Sequence[int], seed: int) -> Iterator[list[int]]:
        size = self.batch_size
        return ([*range(at, min(at + size, len(lengths)))] for at in range(0, len(lengths), size))

    with mock.patch.object(type(strategy), "batches", batches):
        yield


def differences(kind: str, cases: Sequence[Case], python: str) -> dict[str, Any]:
    """For every case the losses of all updates by both, and the largest difference."""
    found: dict[str, Any] = {}
    for case in cases:
        with tempfile.TemporaryDirectory() as folder, in_order(case.strategy):
            log = list(case.strategy.train(case.rows, Path(folder), start=case.start, seed=0))
        if case.witness and not max(row[case.witness] for row in log) > 0:
            raise SystemExit(f"{kind}: {case.name}: {case.witness} never was above 0")
        ours = [row["loss"] for row in log]
        theirs = call(
            python,
            Path(__file__).with_name("_trl.py"),
            "updates",
            kind=kind,
            rows=list(case.their_rows or case.rows),
            model=case.start,
            rates=[row["learning_rate"] for row in log],
            batch_size=case.batch_size,
            settings=dict(case.settings),
        )
        found[case.name] = {
            "difference": max(abs(a - b) for a, b in zip(ours, theirs, strict=True)),
            "ours": ours,
            "theirs": theirs,
        }
    return found


def conclude(name: str, found: Mapping[str, Mapping[str, Any]], python: str, *, keep: bool) -> int:
    """Prints the largest difference of every case, keeps all; the status: 1 where one is above TOLERANCE."""
    width = max(map(len, found))
    for case, figures in found.items():
        ours = figures["ours"]
        print(f"{name}: {case:{width}}  {len(ours):2} losses, {ours[0]:.4f} to {ours[-1]:.4f}, within "
              f"{figures['difference']:.1e}")  # fmt: skip
    worst = max(figures["difference"] for figures in found.values())
    print(f"{name}: largest difference {worst:.1e}, allowed {TOLERANCE:.0e}")
    if keep:
        theirs = call(python, Path(__file__).with_name("_trl.py"), "installed")
        kept = {"versions": versions(*PACKAGES), "their_versions": theirs, "cases": found}
        save("parity", name, {"largest_difference": worst, "tolerance": TOLERANCE, **kept})
    return int(not worst <= TOLERANCE)
