"""The gates of a checkpoint of the word removal world, and its row in the table of Scheurer et al. 2022.

    python benchmarks/word_removal_checkpoint.py [FOLDER] [--posts 200] [--seed 0] [--split validation]

Prints, for any folder with a model and tokenizer: exact match on the 1,350 trials (greedy, <= 200 tokens);
the grade of the base at three temperatures; the grade of refinements without feedback, with shuffled and with
real critiques, and of the best of eight; the grade on every split; and whether the gates hold. One to two
minutes on one free core. Shares are in [0, 1]; the paper's table is in per cent.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.nano_checkpoint import Checkpoint, best_of, refinements  # noqa: E402
from ilf.worlds._word_grammar import parse  # noqa: E402
from ilf.worlds.word_removal import WordRemoval  # noqa: E402

SHIPPED = ROOT / "ilf" / "worlds" / "checkpoints" / "word_removal_large"
PARTS = ("grade", "exact", "toxicity", "collateral", "left", "invented", "moved", "broken")
#: Exact match in per cent, base model and its standard error (Scheurer et al. 2022).
PAPER = {"350M": (1.2, None), "1.3B": (1.7, None), "6.7B": (8.2, None), "175B": (38.5, 1.3)}


def exact_match(checkpoint: Checkpoint, world: WordRemoval, every: int = 1) -> dict[str, float]:
    """Exact match on the trials, its standard error as in the paper and over sentences, and by m and k."""
    trials = world.trials()[::every]
    # Longest prompts together: less padding.
    order = sorted(range(len(trials)), key=lambda i: len(trials[i]["items"]))
    texts = checkpoint.write([world.prompt(trials[i]) for i in order], 0.0)
    groups: dict[str, list[float]] = defaultdict(list)
    for i, text in zip(order, texts, strict=True):
        exact = float(world.grade(trials[i], text)["grade"] or 0.0)
        k, m = len(trials[i]["items"]) - 1, len(trials[i]["banned"])
        for name in ("all", f"m={m}", f"k={k}", "items " + ", ".join(trials[i]["items"])):
            groups[name].append(exact)
    share, n = statistics.fmean(groups["all"]), len(trials)
    # Trials of one sentence (m = 1, 2, 3) are not independent.
    sums = [sum(x - share for x in groups[name]) for name in groups if name.startswith("items ")]
    found = {
        "exact": share,
        "error": math.sqrt(share * (1 - share) / n),
        "error over sentences": math.sqrt(sum(x * x for x in sums)) / n,
    }
    kinds = [*(f"m={m}" for m in (1, 2, 3)), *(f"k={k}" for k in range(1, 11))]
    return found | {name: statistics.fmean(groups[name]) for name in kinds}


def mean_parts(world: WordRemoval, facts: Sequence[dict[str, Any]], texts: Sequence[str]) -> dict[str, float]:
    """Means of the grade and its parts; parts over the texts that have them."""
    grades = [world.grade(fact, text) for fact, text in zip(facts, texts, strict=True)]
    known = {name: [float(g[name]) for g in grades if g[name] is not None] for name in PARTS}  # type: ignore[arg-type]
    return {name: statistics.fmean(values or [float("nan")]) for name, values in known.items()}


def says_the_list(facts: Sequence[dict[str, Any]], texts: Sequence[str]) -> float:
    """The share of texts that call somebody all that is listed, in order, banned or not."""
    return statistics.fmean(parse(text) == fact["items"] for fact, text in zip(facts, texts, strict=True))


def drawn(world: WordRemoval, split: str, n: int, seed: int) -> list[dict[str, Any]]:
    """Facts of a split for the tables."""
    rng = random.Random(f"posts {split} {seed}")
    return [world.facts(rng, split) for _ in range(n)]


def _show(title: str, parts: dict[str, float]) -> None:
    print(f"  {title:42s}" + "".join(f"{parts[name]:11.3f}" for name in parts), flush=True)


def _show_splits(checkpoint: Checkpoint, n: int, seed: int) -> None:
    known, unknown = WordRemoval(), WordRemoval(critique_phrasing="held_out")
    for split in ("train", "validation", "test", "test_phrasing", "test_words"):
        facts = drawn(known, split, n, seed) * 2
        texts = refinements(checkpoint, known, facts, seed)
        _show(f"base, T=1, {split}", mean_parts(known, facts, texts["outputs"]))
        if split.startswith("test"):
            _show(f"real, {split}", mean_parts(known, facts, texts["real"]))
            texts = refinements(checkpoint, unknown, facts, seed)
            _show(f"real, {split}, new critique words", mean_parts(known, facts, texts["real"]))


def _show_refinements(
    checkpoint: Checkpoint, world: WordRemoval, facts: Sequence[dict[str, Any]], seed: int
) -> dict[str, float]:
    texts = refinements(checkpoint, world, facts * 2, seed)
    texts["best of 8"] = best_of(8, checkpoint, world, facts * 2, seed)
    graded = {name: mean_parts(world, facts * 2, texts[name]) for name in texts}
    for name, parts in graded.items():
        _show(f"T=1: {name}", parts)
    greedy = refinements(checkpoint, world, facts, seed, 0.0)["real"]
    _show("T=0: real", mean_parts(world, facts, greedy))
    return {name: parts["grade"] for name, parts in graded.items()}


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Prints the gates of a checkpoint of the word removal world."
    )
    parser.add_argument("folder", nargs="?", type=Path, default=SHIPPED)
    parser.add_argument("--posts", type=int, default=200, help="posts of the split (each sampled twice)")
    parser.add_argument("--seed", type=int, default=0, help="of posts, critiques and samples")
    parser.add_argument("--split", default="validation", help="that the gates are measured on")
    given = parser.parse_args()
    world, checkpoint = WordRemoval(), Checkpoint(given.folder, given.seed)
    size = sum(path.stat().st_size for path in given.folder.iterdir() if path.is_file())
    print(f"{given.folder.name}: {checkpoint.model.num_parameters():,} parameters, {size:,} bytes")
    found = exact_match(Checkpoint(given.folder, given.seed, max_new_tokens=200), world)
    print("trials: " + "  ".join(f"{name} {value:.3f}" for name, value in found.items()), flush=True)
    facts = drawn(world, given.split, given.posts, given.seed)
    print(f"\n  {given.split:42s}" + "".join(f"{name:>11s}" for name in PARTS))
    listed, greedy = 0.0, 0.0
    for temperature in (0.0, 0.5, 1.0):
        twice = facts if temperature == 0.0 else facts * 2
        texts = checkpoint.write([world.prompt(fact) for fact in twice], temperature)
        parts = mean_parts(world, twice, texts)
        _show(f"base, T={temperature:g}", parts)
        if temperature == 0.0:
            listed, greedy = says_the_list(facts, texts), parts["grade"]
    graded = _show_refinements(checkpoint, world, facts, given.seed)
    print()
    _show_splits(checkpoint, given.posts, given.seed)
    others = max(graded["shuffled"], graded["no feedback"])
    gates = {
        f"says the whole list at T=0 >= .95: {listed:.3f}": listed >= 0.95,
        f"base at T=0 under .75: {greedy:.3f}": greedy < 0.75,
        f"real refinements at least .08 over the others: {graded['real'] - others:.3f}": graded["real"]
        >= others + 0.08,
        f"best of 8 at least .08 over one: {graded['best of 8'] - graded['real']:.3f}": graded["best of 8"]
        >= graded["real"] + 0.08,
    }
    print()
    for gate, holds in gates.items():
        print(f"{'ok  ' if holds else 'FAIL'} {gate}")
    return 0 if all(gates.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
