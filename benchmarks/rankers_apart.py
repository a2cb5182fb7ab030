r"""Rankers taken apart: which of them read the critique, and what is left of them where the world is harder.

    OMP_NUM_THREADS=1 python benchmarks/rankers_apart.py --out benchmarks/results/rankers_apart.json
    python benchmarks/rankers_apart.py --conditions plain,plain_refiner --plain nano=FOLDER \
        --plain word_removal=FOLDER --out benchmarks/results/rankers_apart.json
    python benchmarks/rankers_apart.py --table benchmarks/results/rankers_apart.json

On both closed worlds, for each seed: 100 posts, 8 candidates each, picked by every ranker while it is shown
the right critique, another row's, and none (``choose.feedback``). The grade of the pick is the truth of the
world. A ranker reads the critique where the right one gives better picks than another row's; it wins by it
where it is better, too, than every ranker that sees no critique. ``--out`` adds to what is in the file.

A closed world: who criticises is a program, and what rankers can know is built into the checkpoint. It says
how rankers behave there, and is no evidence about people's critiques.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

ROOT = Path(__file__).resolve().parents[1]
# A script's own folder comes first on the path, and there a neighbour would be found as ``rankers``.
sys.path[0] = str(ROOT)

import numpy as np  # noqa: E402

import ilf  # noqa: E402
import rankers as r  # noqa: E402
from ilf._shuffle import others  # noqa: E402
from ilf.stats import mean_interval, paired_interval  # noqa: E402
from ilf.strategies.refiner import Refiner  # noqa: E402

Rows = list[dict[str, Any]]
SHOWN = ("real", "shuffled", "none")
#: World -> (class, the model that answers, refines and ranks, the weaker one, its sampling temperature).
WORLDS: dict[str, tuple[Any, str, str, float]] = {
    "nano": (ilf.Nano, "nano", "nano", 1.4),
    "word_removal": (ilf.WordRemoval, "word_removal_large", "word_removal_small", 1.0),
}
#: Name -> what it is.
CONDITIONS = {
    "right": "refinements that were told the right critique",
    "wrong_0.3": "of the faults, three in ten are missed or misnamed",
    "wrong_0.6": "six in ten",
    "another": "refiner and ranker get another row's critique",
    "not_told": "refinements without feedback; the ranker sees the right critique",
    "weak": "a weaker refiner: temperature 1.4 (nano), 0.14M parameters (word removal), which ranks too",
    "first": "eight first answers; the critique is about the first of them",
    "long": "of `right`, the third of the rows with the longest candidates",
    "plain": "a checkpoint whose pretraining has no refinements, nor critiques",
    "plain_refiner": "the same, tuned to refine on 50 triples of other posts (strategy `refiner`)",
}
_NO_CRITIQUE = "{prompt}{output}\nBETTER:"


@dataclass(frozen=True)
class Known:
    """Scores that were computed before, by the row's id: members of an ensemble are not asked twice."""

    scores: Mapping[str, list[float]]

    needs_critique: ClassVar[bool] = False

    def score(self, queries: Sequence[Any], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """The known scores of the queries."""
        return [self.scores[query["id"]] for query in queries]


@dataclass(frozen=True)
class Lab:
    """One world at one seed: what it takes to make rows and rank them."""

    world: str
    seed: int
    posts: int
    folder: Path
    plain: str | None

    @property
    def model(self) -> str:
        """The checkpoint of the world."""
        return str(ilf.shipped(WORLDS[self.world][1]))

    def load(self, n: int, skip: int = 0) -> Rows:
        """Posts to train on."""
        return list(ilf.load(world=WORLDS[self.world][0](), split="train", n=n, skip=skip, seed=self.seed))

    def sample(self, rows: Rows, n: int, model: str = "") -> Rows:
        """First answers."""
        return list(ilf.sample(rows, generator=self.lm(model or self.model), n=n, seed=self.seed))

    def collect(self, rows: Rows, job: Any, error_rate: float = 0.0) -> Rows:
        """What the annotator of the world says."""
        source = ilf.Simulated(WORLDS[self.world][0](), error_rate=error_rate)
        return list(ilf.collect(rows, self.folder / "people", feedback=source, job=job, seed=self.seed))

    def refine(self, rows: Rows, model: str = "", temperature: float = 1.0, feedback: Any = "real") -> Rows:
        """Eight refinements a row."""
        generator = self.lm(model or self.model, temperature)
        return list(
            ilf.refine(rows, generator=generator, n=8, form="nano", feedback=feedback, seed=self.seed)
        )

    def lm(self, model: str, temperature: float = 1.0) -> Any:
        """The sampler."""
        return ilf.TransformersLM(model=model, temperature=temperature, max_new_tokens=64)

    def reward(self) -> str:
        """A reward model trained on a ranking of four first answers to each of as many posts."""
        rows = self.collect(self.sample(self.load(self.posts), 4), "rank")
        strategy = ilf.Reward(learning_rate=1e-3, epochs=4, head="zero")
        return self.trained(strategy, list(ilf.pair(rows, seed=self.seed)), self.model)

    def refiner(self, start: str) -> str:
        """The plain checkpoint tuned on 50 triples: output, critique, and what the annotator would write."""
        rows = self.collect(self.sample(self.load(50, skip=self.posts), 1, start), "critique")
        written = self.collect(rows, "demonstrate")
        triples = [{**row, "completion": w["completion"]} for row, w in zip(rows, written, strict=True)]
        return self.trained(Refiner(form="nano", learning_rate=1e-3, epochs=5), triples, start)

    def trained(self, strategy: Any, rows: Rows, start: str) -> str:
        """The folder of the model that a strategy makes of the rows."""
        folder = self.folder / strategy.name
        folder.mkdir()
        for _ in strategy.train(rows, folder, start=start, seed=self.seed):
            pass
        return str(folder / "model")


def rankers_of(model: str, reward: str, cache: str) -> dict[str, Any]:
    """Name -> ranker; those below the line read a critique."""
    lm: dict[str, Any] = {"model": model, "batch_size": 32}
    praise: dict[str, Any] = {
        "questions": ("{prompt}{refinement}\nFEEDBACK:",),
        "yes": (" Nothing to change.",),
        "no": ("",),
    }
    return {
        "chance": r.Chance(),
        "length": r.Length(),
        "overlap": r.Overlap(),
        "consensus": r.Consensus(),
        "similarity_prompt": r.Similarity(against="prompt", cache=cache),
        "judge": r.Judge(**lm, **praise),
        "reward": r.Reward(model=reward, batch_size=32),
        "likelihood_no_critique": r.Likelihood(**lm, refine_form=_NO_CRITIQUE),
        "fixpoint_no_critique": r.Fixpoint(**lm, refine_form=_NO_CRITIQUE),
        # ---
        "similarity": r.Similarity(cache=cache),
        "similarity_direction": r.SimilarityDirection(cache=cache),
        "critique_perplexity": r.CritiquePerplexity(**lm),
        "likelihood": r.Likelihood(**lm),
        "likelihood_minus_answer": r.Likelihood(**lm, subtract_answer=True),
        "fixpoint": r.Fixpoint(**lm),
        "heeded": r.Heeded(**lm),
    }


#: Mean rank of three that read the critique in three ways.
ENSEMBLE = ("likelihood", "critique_perplexity", "fixpoint")


def candidates_of(lab: Lab, condition: str, first: Rows) -> tuple[Rows, str, str]:
    """Rows with candidates and critique, the column of the candidates, and the model that ranks them.

    ``first`` are the rows with eight first answers, and what the annotator says of the first of them.
    """
    _, _, weak, temperature = WORLDS[lab.world]
    if condition == "first":
        return first, "outputs", lab.model
    if condition.startswith("wrong_"):
        error_rate = float(condition.removeprefix("wrong_"))
        return lab.refine(lab.collect(first, "critique", error_rate)), "refinements", lab.model
    if condition == "another":
        swapped = others([row["critique"] for row in first], lab.seed)
        told = [{**row, "critique": other} for row, other in zip(first, swapped, strict=True)]
        return lab.refine(told), "refinements", lab.model
    if condition == "not_told":
        return lab.refine(first, feedback="none"), "refinements", lab.model
    if condition == "weak":
        return lab.refine(first, ilf.shipped(weak), temperature), "refinements", ilf.shipped(weak)
    if condition in ("plain", "plain_refiner"):
        assert lab.plain is not None
        model = lab.plain if condition == "plain" else lab.refiner(lab.plain)
        said = lab.collect(lab.sample(lab.load(lab.posts), 1, lab.plain), "critique")
        return lab.refine(said, model), "refinements", model
    return lab.refine(first), "refinements", lab.model


def measured(lab: Lab, conditions: Sequence[str]) -> dict[str, Any]:
    """Condition -> the grades of all candidates, and of every ranker's picks by what it was shown."""
    import torch

    torch.set_num_threads(1)
    started = time.process_time()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(lab.world, lab.seed, lab.posts, Path(folder), lab.plain)
        first = lab.collect(lab.sample(lab.load(lab.posts), 8), "critique")
        reward = lab.reward()
        for condition in conditions:
            if condition == "long":
                continue
            rows, column, model = candidates_of(lab, condition, first)
            found[condition] = picks(lab, rows, column, rankers_of(model, reward, folder))
            spent = time.process_time() - started
            print(f"{lab.world}, seed {lab.seed}: {condition} ({spent:.0f} processor s)", flush=True)
        if "long" in conditions and "right" in found:
            found["long"] = longest_third(found["right"])
    return {"found": found, "seconds": time.process_time() - started}


def picks(lab: Lab, rows: Rows, column: str, rankers: Mapping[str, Any]) -> dict[str, Any]:
    """The grades of the candidates, their mean lengths in words, and the grade of every pick."""
    grader = ilf.WorldGrader(WORLDS[lab.world][0]())
    grades = [row["grades"] for row in ilf.evaluate(rows, grader=grader, text=column)]
    picked: dict[str, dict[str, list[float]]] = {}
    scores: dict[tuple[str, str], dict[str, list[float]]] = {}
    for name, ranker in rankers.items():
        for shown in SHOWN if ranker.needs_critique else SHOWN[:1]:
            chosen = chosen_by(lab, rows, column, ranker, shown)
            picked.setdefault(name, {})[shown] = graded(chosen, grades)
            if name in ENSEMBLE:
                scores[name, shown] = {row["id"]: numbers(row["scores"]) for row in chosen}
    for shown in SHOWN:
        together = r.Ensemble(members=tuple(Known(scores[name, shown]) for name in ENSEMBLE))
        picked.setdefault("ensemble", {})[shown] = graded(
            chosen_by(lab, rows, column, together, shown), grades
        )
    lengths = [fmean(len(text.split()) for text in row[column]) for row in rows]
    return {"grades": grades, "lengths": lengths, "picked": picked}


def chosen_by(lab: Lab, rows: Rows, column: str, ranker: Any, shown: str) -> Rows:
    """The rows with a ranker's picks; one that needs a critique and sees none ties them all."""
    how: dict[str, Any] = {"candidates": column, "feedback": shown, "without_critique": "tie"}
    return list(ilf.choose(rows, ranker=ranker, people="ignore", seed=lab.seed, **how))


def numbers(scores: Sequence[float | None]) -> list[float]:
    """Scores with NaN for what is unknown."""
    return [math.nan if score is None else score for score in scores]


def graded(chosen: Rows, grades: Sequence[Sequence[float]]) -> list[float]:
    """The grade of each row's pick; the mean of all where no candidate had any text."""
    return [
        fmean(of_row) if row["picked"] is None else of_row[row["picked"]]
        for row, of_row in zip(chosen, grades, strict=True)
    ]


def longest_third(found: Mapping[str, Any]) -> dict[str, Any]:
    """The rows whose candidates are longest."""
    order = sorted(range(len(found["lengths"])), key=lambda i: found["lengths"][i], reverse=True)
    kept = sorted(order[: len(order) // 3])

    def some(values: Sequence[Any]) -> list[Any]:
        return [values[i] for i in kept]

    picked = {name: {shown: some(v) for shown, v in by.items()} for name, by in found["picked"].items()}
    return {"grades": some(found["grades"]), "lengths": some(found["lengths"]), "picked": picked}


def summed(seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A condition over its seeds: means, headroom, and intervals over the rows of all seeds.

    Differences are paired by row. Every seed has other posts, and the same checkpoint ranks them all: rows
    are one sample, and no variance of training is in the intervals (not that of the reward models either,
    nor of the refiners of ``plain_refiner``, of which every seed has its own).
    """
    coin = np.array([[fmean(row)] for seed in seeds for row in seed["grades"]])
    ceiling = float(np.mean([[max(row) for row in seed["grades"]] for seed in seeds]))
    cells = {
        name: {
            shown: np.concatenate([seed["picked"][name][shown] for seed in seeds])[:, None] for shown in by
        }
        for name, by in seeds[0]["picked"].items()
    }
    real = {name: by["real"] for name, by in cells.items()}
    # The reward model has had a hundred rankings beside: it is compared with apart.
    unread = (name for name in cells if "none" not in cells[name] and name != "reward")
    free = max(unread, key=lambda name: float(real[name].mean()))

    def difference(a: Any, b: Any) -> list[float | None]:
        found = paired_interval(a - b, within=(-1.0, 1.0))
        return rounded(found.estimate, found.low, found.high)

    # Candidates that are all as bad (a plain checkpoint's) leave no room.
    middle = float(coin.mean())
    room = ceiling - middle > 1e-9
    rows = {}
    for name, by in cells.items():
        own = mean_interval(by["real"], within=(0.0, 1.0))
        rows[name] = {
            "real": rounded(own.estimate, own.low, own.high),
            "headroom": round((float(by["real"].mean()) - middle) / (ceiling - middle), 3) if room else None,
            "minus_coin": difference(by["real"], coin),
        }
        if "none" in by:
            rows[name] |= {
                "shuffled": round(float(by["shuffled"].mean()), 4),
                "none": round(float(by["none"].mean()), 4),
                "reads": difference(by["real"], by["shuffled"]),
                "minus_free": difference(by["real"], real[free]),
                "minus_reward": difference(by["real"], real["reward"]),
            }
    return {
        "coin": round(middle, 4),
        "oracle": round(ceiling, 4),
        "rows": len(coin),
        "seeds": len(seeds),
        "best_without_critique": free,
        "rankers": rows,
    }


def rounded(*values: float | None) -> list[float | None]:
    return [None if value is None else round(float(value), 4) for value in values]


def tables(results: Mapping[str, Any]) -> str:
    """The results as Markdown: one table of what the right critique is worth, one of all conditions."""
    parts = []
    for world, conditions in results["worlds"].items():
        known = [name for name in CONDITIONS if name in conditions]
        parts += [
            f"**{world}, {name}**: {CONDITIONS[name]}.\n\n" + one_condition(conditions[name])
            for name in ("right", "first", "not_told")
            if name in known
        ]
        parts.append(
            f"**{world}**, headroom; in brackets real minus shuffled, * where its interval excludes 0.\n\n"
            + grid(conditions, known)
        )
    return "\n\n".join(parts) + "\n"


def one_condition(found: Mapping[str, Any]) -> str:
    """Grade of every ranker's pick by the critique it was shown."""
    free = found["best_without_critique"]
    heads = ("ranker", "real [95 %]", "headroom", "shuffled", "none", "reads: real - shuffled")
    lines = [
        f"| {' | '.join(heads)} | real - `{free}` | real - `reward` |",
        "|---" * (len(heads) + 2) + "|",
    ]
    order = sorted(found["rankers"].items(), key=lambda item: -item[1]["real"][0])
    for name, row in order:
        start = f"| `{name}` | {span(row['real'], '.3f')} | {share(row['headroom'])} |"
        rest = " | | | | |"
        if "reads" in row:
            spans = " | ".join(span(row[key]) for key in ("reads", "minus_free", "minus_reward"))
            rest = f" {row['shuffled']:.3f} | {row['none']:.3f} | {spans} |"
        lines.append(start + rest)
    ends = f"A coin {found['coin']:.3f}, the best of eight {found['oracle']:.3f}"
    return "\n".join([*lines, "", f"{ends}; {found['rows']} rows of {found['seeds']} seeds."])


def grid(conditions: Mapping[str, Any], known: Sequence[str]) -> str:
    """Share of headroom in every condition; a star where real minus shuffled is not 0."""
    names = list(conditions[known[0]]["rankers"])
    lines = [
        "| ranker | " + " | ".join(f"`{name}`" for name in known) + " |",
        "|---" * (len(known) + 1) + "|",
    ]
    for name in names:
        cells = []
        for condition in known:
            row = conditions[condition]["rankers"][name]
            reads = row.get("reads")
            star = "*" if reads and reads[1] is not None and reads[1] * reads[2] > 0 else ""
            cells.append(share(row["headroom"]) + (f" ({reads[0]:+.3f}{star})" if reads else ""))
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    ends = [f"{conditions[c]['coin']:.3f} - {conditions[c]['oracle']:.3f}" for c in known]
    return "\n".join([*lines, "| coin - best of eight | " + " | ".join(ends) + " |"])


def share(headroom: float | None) -> str:
    return "no room" if headroom is None else f"{headroom:+.2f}"


def span(values: Sequence[float | None], form: str = "+.3f") -> str:
    estimate, low, high = values
    return f"{estimate:{form}}" + ("" if low is None else f" [{low:{form}}, {high:{form}}]")


def asked(given: argparse.Namespace) -> tuple[dict[str, str], list[str], list[str]]:
    """Plain checkpoints by world, worlds, and conditions, checked."""
    plain = dict(word.split("=", 1) for word in given.plain)
    worlds, conditions = given.worlds.split(","), given.conditions.split(",")
    unknown = [*(set(worlds) | set(plain)) - set(WORLDS), *set(conditions) - set(CONDITIONS)]
    if unknown:
        raise SystemExit(f"not known: {', '.join(sorted(unknown))}")
    if any(name.startswith("plain") for name in conditions) and set(worlds) - set(plain):
        raise SystemExit("plain and plain_refiner need --plain WORLD=FOLDER for every world")
    if "long" in conditions and "right" not in conditions:
        raise SystemExit("long is a part of right: name both")
    return plain, worlds, conditions


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--worlds", default=",".join(WORLDS))
    usual = ",".join(name for name in CONDITIONS if not name.startswith("plain"))
    options.add_argument("--conditions", default=usual, help=f"of {', '.join(CONDITIONS)}")
    options.add_argument("--plain", action="append", default=[], metavar="WORLD=FOLDER")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--posts", type=int, default=100)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--out", type=Path)
    options.add_argument("--table", type=Path, help="only print the tables of this file")
    given = options.parse_args()
    if given.table:
        print(tables(json.loads(given.table.read_text())))
        return
    plain, worlds, conditions = asked(given)
    labs = [Lab(w, seed, given.posts, Path(), plain.get(w)) for w in worlds for seed in given.seeds]
    with ProcessPoolExecutor(given.workers, mp_context=get_context("spawn")) as pool:
        done = list(pool.map(measured, labs, [conditions] * len(labs)))
    results = json.loads(given.out.read_text()) if given.out and given.out.exists() else {"worlds": {}}
    for world in worlds:
        seeds = [d["found"] for lab, d in zip(labs, done, strict=True) if lab.world == world]
        results["worlds"].setdefault(world, {}).update(
            {name: summed([seed[name] for seed in seeds]) for name in seeds[0]}
        )
    results |= {"seeds": given.seeds, "posts": given.posts}
    if given.out:
        given.out.write_text(json.dumps(results, indent=1) + "\n")
    print(tables(results))
    print(f"{sum(d['seconds'] for d in done):.0f} processor seconds")


if __name__ == "__main__":
    main()
