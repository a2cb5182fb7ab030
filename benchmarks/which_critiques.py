"""Which critiques are worth most? Their lift by kind, length and informativeness, in both closed worlds.

    OMP_NUM_THREADS=1 python benchmarks/which_critiques.py [--outputs 300] [--seeds 0 1 2] [--write]

The lift of a critique is the mean true grade of 8 refinements that were told it minus the mean of 8
refinements of the same output that were told nothing: grades in [0, 1], validation posts, temperature 1, an
annotator that never errs and names every fault. Three tables a world:

types        the same outputs criticised in one way only (2 refinements each): lift, and its difference from
             critiques as they come
groups       critiques as they come, by what they name: an association, for outputs with many faults get
             other critiques than those with few
regression   least squares of the lift on the faults of each kind that are named, the right values told, the
             words of the critique and the grade of the output; in grades for one more of each

Intervals: 95 %, percentiles of a bootstrap over seeds and rows within them. A closed world, in which all this
is built in: no evidence about people. --write keeps the figures in benchmarks/results/which_critiques.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.nano_checkpoint import Checkpoint  # noqa: E402
from ilf.worlds import _nano_grammar, _nano_words, _word_grammar  # noqa: E402
from ilf.worlds.nano import Nano  # noqa: E402
from ilf.worlds.word_removal import WordRemoval  # noqa: E402

Array = np.ndarray[Any, Any]
RESULTS = Path(__file__).parent / "results" / "which_critiques.json"
CHECKPOINTS = ROOT / "ilf" / "worlds" / "checkpoints"
AS_THEY_COME, REFINEMENTS, RESAMPLES = "as they come", 8, 2000
#: Refinements of an output for each further type.
FEWER = 2
#: Tokens of a text; what is longer is outside the grammar of both worlds.
_LONGEST = 48
#: Lower bounds of the groups of outputs by grade.
GRADES = (0.0, 0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Setup:
    """A world, its model, the other ways to criticise, and the kinds of faults that an output has."""

    world: Any
    model: str
    types: Mapping[str, Any]
    kinds: tuple[str, ...]
    faults: Callable[[dict[str, Any], str], list[str] | None]


def nano_faults(facts: dict[str, Any], output: str) -> list[str] | None:
    """Kinds of the faults of a summary; None outside the grammar."""
    summary = _nano_grammar.parse(output)
    return None if summary is None else [fault.kind for fault in _nano_grammar.faults(facts, summary)]


def word_faults(facts: dict[str, Any], output: str) -> list[str] | None:
    """Kinds of the faults of a sentence; None outside the grammar."""
    stated = _word_grammar.parse(output)
    found = None if stated is None else _word_grammar.faults(facts["items"], facts["banned"], stated)
    return None if found is None else [fault.kind for fault in found]


SETUPS = {
    "nano": Setup(
        Nano(),
        "nano",
        {
            "right value told": Nano(critique_detail="tells"),
            "right value never told": Nano(critique_detail="points"),
            "worst fault only": Nano(critique_faults="one"),
            "worst fault only, right value told": Nano(critique_faults="one", critique_detail="tells"),
            "facts only": Nano(critique_faults="facts"),
            "tone only": Nano(critique_faults="tone"),
            "in unknown words": Nano(critique_phrasing="held_out"),
        },
        ("missing", "wrong", "invented", "detail", "insult", "pronoun"),
        nano_faults,
    ),
    "word_removal": Setup(
        WordRemoval(),
        "word_removal_large",
        {
            "worst fault only": WordRemoval(critique_faults="one"),
            "facts only": WordRemoval(critique_faults="facts"),
            "tone only": WordRemoval(critique_faults="tone"),
            "in unknown words": WordRemoval(critique_phrasing="held_out"),
        },
        ("left", "lost", "invented", "moved"),
        word_faults,
    ),
}


def _telling() -> list[re.Pattern[str]]:
    """The clauses of the nano world that tell the right value."""
    return [
        re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(clause)))
        for clauses in _nano_words.COMPLAINTS.values()
        for clause in clauses
        if any(field in clause for field in ("{truth}", "{right}", "{person}"))
    ]


TELLING = _telling()
_CLAUSES = re.compile("|".join(re.escape(joint) for joint in _nano_words.JOINERS))
_OPENER = re.compile("|".join(re.escape(o) for o in (*_nano_words.OPENERS, _nano_words.LOST)))


def values_told(critique: str) -> int:
    """How many clauses of a critique of the nano world tell the right value."""
    clauses = _CLAUSES.split(_OPENER.sub("", critique, count=1).removesuffix("."))
    return sum(any(pattern.fullmatch(clause) for pattern in TELLING) for clause in clauses)


def measure(name: str, seed: int, n: int) -> list[dict[str, Any]]:
    """One row an output: its grade, its faults, the lift of each type of critique, and what was said."""
    setup = SETUPS[name]
    rng = random.Random(f"posts validation {seed}")
    facts = [setup.world.facts(rng, "validation") for _ in range(n)]
    checkpoint = Checkpoint(CHECKPOINTS / setup.model, seed, batch_size=n, max_new_tokens=_LONGEST)
    prompts = [setup.world.prompt(fact) for fact in facts]
    outputs = checkpoint.write(prompts, 1.0)
    asked = [prompt + output for prompt, output in zip(prompts, outputs, strict=True)]

    def graded(texts: Sequence[str]) -> list[float]:
        return [float(setup.world.grade(f, t)["grade"] or 0.0) for f, t in zip(facts, texts, strict=True)]

    def refined(endings: Sequence[str], k: int) -> list[float]:
        """Mean grade of k refinements of each output."""
        told = [text + ending for text, ending in zip(asked, endings, strict=True)]
        drawn = [graded(checkpoint.write(told, 1.0)) for _ in range(k)]
        return [float(mean) for mean in np.mean(drawn, axis=0)]

    def criticised(world: Any) -> list[str]:
        said = random.Random(f"critiques {seed}")
        return [world.critique(said, fact, output) for fact, output in zip(facts, outputs, strict=True)]

    plain = criticised(setup.world)
    told = {AS_THEY_COME: refined(_endings(plain), REFINEMENTS)}
    told |= {name: refined(_endings(criticised(world)), FEWER) for name, world in setup.types.items()}
    told["another output's critique"] = refined(_endings(plain[1:] + plain[:1]), FEWER)
    untold = refined(["\nBETTER:"] * n, REFINEMENTS)
    before = graded(outputs)
    kinds = [setup.faults(fact, output) for fact, output in zip(facts, outputs, strict=True)]
    return [
        {
            "seed": seed,
            "before": before[i],
            "lifts": {name: told[name][i] - untold[i] for name in told},
            "kinds": kinds[i],
            "words": len(plain[i].split()),
            "told": values_told(plain[i]),
        }
        for i in range(n)
    ]


def _endings(critiques: Sequence[str]) -> list[str]:
    return [f"\nFEEDBACK: {critique}\nBETTER:" for critique in critiques]


def resamples(seeds: Sequence[int]) -> list[Array]:
    """Indices of rows: seeds with replacement, and rows of each with replacement."""
    rng = np.random.default_rng(0)
    of_seed = [np.flatnonzero(np.asarray(seeds) == seed) for seed in sorted(set(seeds))]
    return [
        np.concatenate(
            [rng.choice(of_seed[s], len(of_seed[s])) for s in rng.integers(len(of_seed), size=len(of_seed))]
        )
        for _ in range(RESAMPLES)
    ]


def interval(statistic: Callable[[Array], Any], drawn: Sequence[Array]) -> tuple[Any, Any]:
    """Percentiles 2.5 and 97.5 of a statistic of row indices; draws in which it is no number are left out."""
    low, high = np.nanpercentile([statistic(rows) for rows in drawn], [2.5, 97.5], axis=0)
    return low, high


def types(rows: Sequence[dict[str, Any]], drawn: Sequence[Array]) -> list[dict[str, Any]]:
    """Lift of every type, and its difference from critiques as they come on the same outputs."""
    plain = np.array([row["lifts"][AS_THEY_COME] for row in rows])
    found = []
    for name in rows[0]["lifts"]:
        both = np.stack([np.array([row["lifts"][name] for row in rows]), np.zeros(len(rows))], axis=1)
        both[:, 1] = both[:, 0] - plain
        low, high = interval(lambda r, both=both: both[r].mean(axis=0), drawn)  # type: ignore[misc]
        mean = both.mean(axis=0)
        found.append(
            {"type": name, "lift": mean[0], "low": low[0], "high": high[0]}
            | {"difference": mean[1], "difference_low": low[1], "difference_high": high[1]}
        )
    return found


def groups(setup: Setup, rows: Sequence[dict[str, Any]]) -> dict[str, Array]:
    """Title of a group -> which rows are in it."""
    parsed = [row for row in rows if row["kinds"] is not None]
    n_faults = np.array([-1 if row["kinds"] is None else len(row["kinds"]) for row in rows])
    words, told, before = (np.array([row[key] for row in rows]) for key in ("words", "told", "before"))
    is_parsed = n_faults >= 0
    found = {"all": np.ones(len(rows), bool), "outside the grammar, told all": ~is_parsed}
    for n in range(6):
        found[f"faults named: {n}{' or more' * (n == 5)}"] = n_faults == n if n < 5 else n_faults >= 5
    for kind in setup.kinds:
        found[f"names: {kind}"] = np.array([kind in (row["kinds"] or ()) for row in rows])
    short, long = np.percentile([row["words"] for row in parsed], [33, 67])
    found[f"words: at most {short:.0f}"] = is_parsed & (words <= short)
    found[f"words: {short + 1:.0f} to {long:.0f}"] = is_parsed & (words > short) & (words <= long)
    found[f"words: more than {long:.0f}"] = is_parsed & (words > long)
    if isinstance(setup.world, Nano):
        for n in range(4):
            found[f"right values told: {n}{' or more' * (n == 3)}"] = is_parsed & (
                told == n if n < 3 else told >= 3
            )
    for low, high in zip(GRADES, (*GRADES[1:], 1.01), strict=True):
        title = f"grade of the output: {low:g} to {min(high, 1.0):g}"
        found[title] = is_parsed & (before >= low) & (before < high)
    return {name: of for name, of in found.items() if of.any()}


def by_group(setup: Setup, rows: Sequence[dict[str, Any]], drawn: Sequence[Array]) -> list[dict[str, Any]]:
    """Rows, grade of the output and lift of every group."""
    lift = np.array([row["lifts"][AS_THEY_COME] for row in rows])
    before = np.array([row["before"] for row in rows])
    found = []
    for name, of in groups(setup, rows).items():

        def mean(r: Array, of: Array = of) -> float:
            return float(lift[r][of[r]].mean()) if of[r].any() else float("nan")

        low, high = interval(mean, drawn)
        found.append(
            {"group": name, "rows": int(of.sum()), "grade": before[of].mean(), "lift": lift[of].mean()}
            | {"low": low, "high": high}
        )
    return found


def regression(setup: Setup, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Least squares over outputs within the grammar; coefficients in grades, for one more of each."""
    rows = [row for row in rows if row["kinds"] is not None]
    tells = ("told",) if isinstance(setup.world, Nano) else ()
    names = ["intercept", *setup.kinds, *tells, "words", "before"]
    x = np.array(
        [
            [
                1.0,
                *(row["kinds"].count(kind) for kind in setup.kinds),
                *(row[name] for name in (*tells, "words", "before")),
            ]
            for row in rows
        ]
    )
    y = np.array([row["lifts"][AS_THEY_COME] for row in rows])

    def fit(r: Array) -> Array:
        return np.asarray(np.linalg.lstsq(x[r], y[r], rcond=None)[0])

    everything = np.arange(len(rows))
    low, high = interval(fit, resamples([row["seed"] for row in rows]))
    values = fit(everything)
    explained = 1.0 - np.var(y - x @ values) / np.var(y)
    return {
        "rows": len(rows),
        "explained": explained,
        "coefficients": [
            {"of": name, "value": values[i], "low": low[i], "high": high[i]} for i, name in enumerate(names)
        ],
    }


def show(world: str, found: dict[str, Any]) -> None:
    """The three tables of a world as Markdown."""

    def span(entry: dict[str, Any], value: str, prefix: str = "") -> str:
        return f"{entry[value]:+.3f} [{entry[prefix + 'low']:+.3f}, {entry[prefix + 'high']:+.3f}]"

    print(f"\n## {world}\n\n| critiques | lift [95 %] | minus as they come [95 %] |\n|---|---|---|")
    for entry in found["types"]:
        beside = "" if entry["type"] == AS_THEY_COME else span(entry, "difference", "difference_")
        print(f"| {entry['type']} | {span(entry, 'lift')} | {beside} |")
    print("\n| critiques as they come | outputs | grade of the output | lift [95 %] |\n|---|---|---|---|")
    for entry in found["groups"]:
        print(f"| {entry['group']} | {entry['rows']} | {entry['grade']:.3f} | {span(entry, 'lift')} |")
    fitted = found["regression"]
    print(
        f"\n| one more of (R² {fitted['explained']:.2f}, {fitted['rows']} outputs) | lift [95 %] |\n|---|---|"
    )
    for entry in fitted["coefficients"]:
        print(f"| {entry['of']} | {span(entry, 'value')} |")
    sys.stdout.flush()


def main() -> None:
    """Prints the tables; with --write keeps the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--outputs", type=int, default=300, help="criticised outputs of a seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--worlds", nargs="+", choices=SETUPS, default=list(SETUPS))
    parser.add_argument("--workers", type=int, default=2, help="processes at work")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    asked = parser.parse_args()
    kept: dict[str, Any] = {"outputs": asked.outputs, "seeds": asked.seeds, "split": "validation"}
    kept |= {"refinements": REFINEMENTS, "refinements of further types": FEWER, "worlds": {}}
    with ProcessPoolExecutor(asked.workers, multiprocessing.get_context("spawn")) as pool:
        measured = {
            name: pool.map(partial(measure, name, n=asked.outputs), asked.seeds) for name in asked.worlds
        }
    for name in asked.worlds:
        setup = SETUPS[name]
        rows = [row for part in measured[name] for row in part]
        drawn = resamples([row["seed"] for row in rows])
        found = {"model": setup.model, "types": types(rows, drawn), "groups": by_group(setup, rows, drawn)}
        kept["worlds"][name] = found | {"regression": regression(setup, rows)}
        show(name, kept["worlds"][name])
    if asked.write:
        rounded = json.loads(json.dumps(kept), parse_float=lambda text: round(float(text), 4))
        RESULTS.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
