"""The tables of Scheurer et al. 2022 and 2023 in two closed worlds, the paper's figure beside ours.

    python benchmarks/paper_ilf.py [--runs runs] [--workers 2] [--seeds 0 1 2] [--write]

Runs the comparisons paper_ilf and paper_ilf_word_removal (what is made is reused) and the 1,350 word removal
trials of the three sizes, and prints every table as Markdown. --write keeps the figures in
recipes/paper_ilf/results.json and puts the tables into recipes/paper_ilf/README.md, each between its marks
<!-- NAME --> and <!-- /NAME -->; what agrees and what does not is written there by hand.

Win rates are the paper's: a win 1, a tie 1/2, in per cent. Here the verdict is the grade's: on every prompt
each answer of one arm meets each answer of the other. [low, high] is the 95 % interval over prompts and seeds
(ilf.stats), of the table of refinements, in which nothing is trained, over rows. The paper's figures are
means over posts with a standard error where it is known, of one run an arm; "-": it has none.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks import word_removal_checkpoint as trials  # noqa: E402
from benchmarks.nano_checkpoint import Checkpoint  # noqa: E402
from ilf import stats  # noqa: E402
from ilf.compare import Cell, Design, compare, opened  # noqa: E402
from ilf.progress import Progress  # noqa: E402
from ilf.recipe import read_recipe, shipped  # noqa: E402
from ilf.run import provenance  # noqa: E402
from ilf.store import Step  # noqa: E402
from ilf.worlds import _nano_grammar, _word_grammar  # noqa: E402
from ilf.worlds import _nano_words as words  # noqa: E402
from ilf.worlds.nano import Nano  # noqa: E402
from ilf.worlds.word_removal import WordRemoval  # noqa: E402

FOLDER = ROOT / "recipes" / "paper_ilf"
RESULTS, README = FOLDER / "results.json", FOLDER / "README.md"
#: Column of the tables -> recipe of the comparison.
WORLDS = {"nano": "paper_ilf", "word removal": "paper_ilf_word_removal"}
SIZES = (25, 100, 250, 1000)

# The paper's figures, in per cent: Scheurer et al. 2023 (arXiv 2303.16755); of the trials 2022 (2204.14146).

#: Ranker -> how often its pick of five refinements beat a random one of them (200 posts, standard error 2.9).
PAPER_RANKERS = {
    "length": "65.0",
    "similarity": "48.3",
    "judge": "55.0, 58.0, 56.5, 55.8, 50.0 (five prompts)",
    "reward_1000": "63.3 (OPT-13B), 61.8 (GPT-3)",
    "ensemble": "56.0 (the five prompts)",
}
#: Refinement -> (win against the initial summary, against the human one, feedback judged incorporated).
PAPER_REFINEMENTS: dict[str, tuple[float | None, float | None, float | None]] = {
    "no feedback": (59.4, 26.6, 30.8),
    "feedback, random of 5": (63.9, 30.6, 49.6),
    "feedback, best of 5": (69.1, 30.3, 57.4),
    "human": (83.2, None, 74.0),
}
#: Arm -> win against the human summary with 100, 1,000 and 5,000 samples (standard errors 1.4 to 1.9; every
#: column is a ranking of its own). That of ILF with best-of-64 is from a fourth, in which ILF has 36.0.
PAPER_ARMS: dict[str, tuple[float | None, float | None, float | None]] = {
    "generator": (20.8, 23.9, 22.5),
    "initial": (19.6, 25.1, 27.3),
    "human": (16.8, 26.3, 28.9),
    "ilf_judge": (19.6, 29.2, 31.3),
    "best_of_64": (25.5, 42.0, 43.7),
    "ilf_best_of_64": (None, None, 50.8),
}
#: (Arm, its opponent, rows of ours) -> the paper's win rate, and its samples.
PAPER_PAIRS = {
    ("ilf_judge_1000", "initial_1000"): "53.8 ± 1.9 (5,000)",
    ("ilf_judge_1000", "human_1000"): "53.5 ± 1.9 (5,000)",
    ("ilf_judge_1000", "generator"): "56.3 (5,000)",
    ("best_of_64_1000", "ilf_judge_1000"): "63.4 (5,000)",
    ("ilf_judge_100", "generator"): "44.3 ± 1.9 (100)",
    ("ilf_judge_100", "initial_100"): "48.9 (100)",
}
#: Rounds of a hundred -> win against a model of as many samples that was tuned in one go.
PAPER_ROUNDS = {
    ("union_2", "ilf_judge_200"): "48.9 (its round 1)",
    ("union_3", "ilf_judge_300"): "55.6 ± 1.9 (its round 2)",
    ("continued_2", "ilf_judge_200"): "49.4 (its round 1)",
    ("continued_3", "ilf_judge_300"): "50.9 ± 1.9 (its round 2)",
}
#: Exact match of the instruction-tuned models; those of the base models stand with the trials' own script.
PAPER_INSTRUCT = {"350M": 1.6, "1.3B": 2.2, "6.7B": 6.0, "175B": 35.8}

RANKERS = {
    "chance": "a random pick",
    "length": "the longest",
    "similarity": "similarity to the critique",
    "judge": "judge (nothing to change?)",
    "reward_100": "reward model, 100 rankings",
    "reward_1000": "reward model, 1,000 rankings",
    "ensemble": "ensemble of judge, reward and similarity",
    "oracle": "the grade itself",
}
ARMS = {
    "generator": "the model as it is",
    "initial": "tuned on initial outputs",
    "no_feedback": "tuned on refinements without feedback",
    "ilf_chance": "tuned on refinements, chance picks",
    "ilf_judge": "tuned on refinements, the judge picks (the paper's ILF)",
    "ilf_oracle": "tuned on refinements, the grade itself picks",
    "human": "tuned on human texts",
    "shuffled": "tuned on refinements told another row's critique",
    "best_of_64": "best of 64 by a reward model",
    "ilf_best_of_64": "ILF, and best of 64 by a reward model",
}
#: The same arm at every size, and those that stand alone: name -> size that it is shown at.
ALONE = {"ilf_best_of_64": 1000}

Figure = list[float | None]  # estimate, low, high
Table = NDArray[np.float64]
Made = Mapping[str, Step]


def won(own: Sequence[float], other: Sequence[float]) -> float:
    """The share of meetings that the first's grades win, each with each of the other's; a tie is half."""
    gap = np.subtract.outer(np.round(own, 9), np.round(other, 9))
    return float((np.sign(gap).mean() + 1) / 2)


def figure(cells: Any) -> Figure:
    """Mean of (prompts, seeds), shares or grades in [0, 1], with its 95 % interval."""
    found = stats.mean_interval(cells, within=(0.0, 1.0))
    return [found.estimate, found.low, found.high]


def over_rows(values: Sequence[float]) -> Figure:
    """Mean over rows of one model, posts of all seeds: nothing was trained, so rows are all there is."""
    return figure(np.asarray(values, dtype=float)[:, None])


def slates(designed: Design, made: Made) -> dict[str, list[list[list[float]]]]:
    """Arm -> seed -> prompt -> grades of its answers, prompts in one order."""
    target, order = designed.comparison.target, list[str]()
    found: dict[str, list[list[list[float]]]] = {}
    for cell in designed.arms:
        grades = {row["prompt"]: row["grades"] for row in made[cell.keys[target]].rows()}
        order = order or list(grades)
        found.setdefault(cell.arm, []).append([grades[prompt] for prompt in order])
    return found


def head_to_head(own: list[list[list[float]]], other: list[list[list[float]]]) -> Figure:
    """Win rate of one arm's answers against another's."""
    pairs = zip(own, other, strict=True)
    return figure(np.array([[won(a, b) for a, b in zip(x, y, strict=True)] for x, y in pairs]).T)


def arm_figures(slate: Mapping[str, list[list[list[float]]]]) -> dict[str, dict[str, Figure]]:
    """Every arm's win rate against the human reference, and its grade."""
    return {
        arm: {
            "win": head_to_head(own, slate["reference"]),
            "grade": figure(np.array([[np.mean(grades) for grades in of_seed] for of_seed in own]).T),
        }
        for arm, own in slate.items()
        if arm != "reference"
    }


def ranker_figures(designed: Design, made: Made) -> dict[str, dict[str, Figure]]:
    """Every ranker's picks: win rate against a random pick of the same five, and grade."""
    comparison, columns = designed.comparison, dict[str, list[Any]]()
    graded = {
        cell.seed: [row["grades"] for row in made[cell.keys[comparison.graded_step]].rows()]
        for cell in designed.picks
        if cell.arm == comparison.graded_step
    }
    for cell in designed.picks:
        if cell.arm in comparison.picks:
            chosen = made[cell.keys[comparison.picks_step]].rows()
            pairs = zip(graded[cell.seed], chosen, strict=True)
            # Where all five are blank there is nothing to pick, and the grade of each is 0.
            columns.setdefault(cell.arm, []).append(
                [(grades[row["picked"] or 0], grades) for grades, row in pairs]
            )
    return {
        name: {
            "win": figure(np.array([[won([g], all_) for g, all_ in seed] for seed in seeds]).T),
            "grade": figure(np.array([[g for g, _ in seed] for seed in seeds]).T),
        }
        for name, seeds in columns.items()
    }


def nano_faults(facts: Mapping[str, Any], text: str) -> set[str] | None:
    """Slots in which a summary is wrong; None outside the grammar."""
    summary = _nano_grammar.parse(text)
    return None if summary is None else {fault.slot for fault in _nano_grammar.faults(facts, summary)}


def word_faults(facts: Mapping[str, Any], text: str) -> set[str] | None:
    """Items about which a sentence is wrong; None outside the grammar."""
    stated = _word_grammar.parse(text)
    if stated is None:
        return None
    return {fault.item for fault in _word_grammar.faults(facts["items"], facts["banned"], stated)}


def named(facts: Mapping[str, Any], output: str) -> set[str]:
    """What a critique without errors complains about; outside the grammar all that belongs there."""
    if "items" in facts:
        belongs = {item for item in facts["items"] if item not in facts["banned"]}
        found = word_faults(facts, output)
    else:
        belongs = {slot for slot in words.VALUES if facts[slot]}
        found = nano_faults(facts, output)
    return belongs if found is None else found


def left_of(bad: set[str], facts: Mapping[str, Any], text: str) -> float:
    """The share of what was named that is still wrong in a text: all of it outside the grammar."""
    found = word_faults(facts, text) if "items" in facts else nano_faults(facts, text)
    return 1.0 if found is None else len(bad & found) / len(bad)


def _rows(designed: Design, made: Made, arm: str, step: str) -> list[dict[str, Any]]:
    """Rows of an arm's step, all seeds."""
    cells: Iterable[Cell] = (cell for cell in designed.arms if cell.arm == arm)
    return [dict(row) for cell in cells for row in made[cell.keys[step]].rows()]


def refinement_figures(designed: Design, made: Made, world: Any) -> dict[str, dict[str, Figure | None]]:
    """Refinements of the 1,000 training posts: wins, faults that are gone, and grade.

    The annotator never errs, so every fault of the initial output is named. ``all gone``: of the rows with a
    fault, the share in which the new text has none where a critique names one; ``gone``: the share of these.
    """
    rows = _rows(designed, made, "ilf_judge_1000", "choose")
    facts, outputs = [row["facts"] for row in rows], [row["output"] for row in rows]

    def completions(arm: str, step: str = "choose") -> list[str]:
        return [row["completion"] or "" for row in _rows(designed, made, arm, step)]

    def grade(fact: Any, text: str) -> float:
        return float(world.grade(fact, text)["grade"])

    best = [max(row["refinements"], key=lambda text, row=row: grade(row["facts"], text)) for row in rows]  # type: ignore[misc]
    texts = {
        "initial output": outputs,
        "no feedback": completions("no_feedback_1000"),
        "feedback, random of 5": completions("ilf_chance_1000"),
        "feedback, best of 5": [row["completion"] or "" for row in rows],
        "feedback, best of 5 by the grade": best,
        "human": completions("human_1000", "demonstrate"),
    }
    complaints = [named(fact, text) for fact, text in zip(facts, outputs, strict=True)]
    graded = {name: [grade(*pair) for pair in zip(facts, own, strict=True)] for name, own in texts.items()}
    found: dict[str, dict[str, Figure | None]] = {}
    for name, own in texts.items():
        left = [left_of(bad, *pair) for bad, *pair in zip(complaints, facts, own, strict=True) if bad]

        def against(other: str, name: str = name) -> Figure | None:
            pairs = zip(graded[name], graded[other], strict=True)
            return None if other == name else over_rows([won([a], [b]) for a, b in pairs])

        is_first = name == "initial output"
        found[name] = {
            "vs_initial": against("initial output"),
            "vs_human": against("human"),
            "all_gone": None if is_first else over_rows([float(share == 0) for share in left]),
            "gone": None if is_first else over_rows([1 - share for share in left]),
            "grade": over_rows(graded[name]),
        }
    return found


def world_figures(designed: Design, made: Made, world: Any) -> dict[str, Any]:
    """All tables of one world as figures in [0, 1]."""
    slate = slates(designed, made)
    meetings = (*PAPER_PAIRS, *PAPER_ROUNDS)
    return {
        "rankers": ranker_figures(designed, made),
        "refinements": refinement_figures(designed, made, world),
        "arms": arm_figures(slate),
        "pairs": {f"{arm} over {other}": head_to_head(slate[arm], slate[other]) for arm, other in meetings},
        "test_prompts": len(slate["reference"][0]),
        "seeds": list(designed.comparison.seeds),
    }


def trial_figures(every: int = 1) -> dict[str, dict[str, float]]:
    """Exact match of the three sizes on the trials, with the standard error as in the paper."""
    found = {}
    for size in ("small", "medium", "large"):
        checkpoint = Checkpoint(Path(shipped(f"word_removal_{size}")), max_new_tokens=200)
        exact = trials.exact_match(checkpoint, WordRemoval(), every)
        found[size] = {
            "parameters": checkpoint.model.num_parameters(),
            "exact": exact["exact"],
            "error": exact["error"],
            "error_over_sentences": exact["error over sentences"],
        }
    return found


def measured(runs: Path, workers: int, seeds: Sequence[int], *, is_quiet: bool = False) -> dict[str, Any]:
    """Makes what is missing and returns all figures, with seeds, versions and processor seconds."""
    found: dict[str, Any] = {"worlds": {}, "cpu_seconds": {}}
    for (name, recipe), world in zip(WORLDS.items(), (Nano(), WordRemoval()), strict=True):
        chosen = read_recipe(recipe).override({"compare.workers": workers, "compare.seeds": list(seeds)})
        compare(chosen, runs / recipe, Progress(quiet=is_quiet))
        designed, made, _, _ = opened(runs / recipe)
        found["worlds"][name] = world_figures(designed, made, world)
        # Two keys may turn out to be the same work, which was done once.
        steps = {step.folder: step.measured.get("cpu_seconds", 0.0) for step in made.values()}
        found["cpu_seconds"][name] = round(sum(steps.values()))
    before = time.process_time()
    found["trials"] = trial_figures()
    found["cpu_seconds"]["trials"] = round(time.process_time() - before)
    kept = provenance()
    return {
        "command": "python benchmarks/paper_ilf.py --write",
        "version": kept["version"],
        "libraries": kept["libraries"],
        "seeds": list(seeds),
        **found,
    }


def percent(found: Sequence[float | None] | None) -> str:
    """``63.9 [62.1, 65.7]`` in per cent, ``-`` where there is none."""
    return shown(found, 100.0, "{:.1f}")


def grade_of(found: Sequence[float | None] | None) -> str:
    """``.781 [.715, .847]``."""
    return re.sub(r"\b0\.", ".", shown(found, 1.0, "{:.3f}"))


def shown(found: Sequence[float | None] | None, scale: float, form: str) -> str:
    """Estimate and interval; the estimate alone where there is no interval."""
    if not found or found[0] is None:
        return "-"
    estimate, low, high = (None if value is None else form.format(scale * value) for value in found)
    return f"{estimate} [{low}, {high}]" if low and high else f"{estimate}"


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines)) + "\n"


def _known(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def ranker_table(worlds: Mapping[str, Any]) -> str:
    """Win rate of every ranker's pick against a random pick of the same five, and its grade."""
    head = ["picked by", "paper, win %", *(f"{w}, {what}" for w in worlds for what in ("win %", "grade"))]
    lines = [
        [
            label,
            PAPER_RANKERS.get(name, "-"),
            *(show(w["rankers"][name][key]) for w in worlds.values() for key, show in
              (("win", percent), ("grade", grade_of))),
        ]
        for name, label in RANKERS.items()
    ]  # fmt: skip
    return table(head, lines)


def refinement_tables(worlds: Mapping[str, Any]) -> str:
    """Refinements against the initial output and the human text; feedback incorporated; grades."""
    parts = (("vs_initial", "win over the initial output"), ("vs_human", "win over the human text"),
             ("all_gone", "feedback incorporated"))  # fmt: skip
    names = list(next(iter(worlds.values()))["refinements"])
    made = []
    for column, (key, what) in enumerate(parts):
        head = [f"{what}, %", "paper", *worlds]
        lines = [
            [
                name,
                _known(PAPER_REFINEMENTS.get(name, (None,) * 3)[column]),
                *(percent(w["refinements"][name][key]) for w in worlds.values()),
            ]
            for name in names
            if any(w["refinements"][name][key] for w in worlds.values())
        ]
        made.append(table(head, lines))
    head = ["", *(f"{w}, {what}" for w in worlds for what in ("grade", "named faults gone, %"))]
    lines = [
        [name, *(show(w["refinements"][name][key]) for w in worlds.values() for key, show in
                 (("grade", grade_of), ("gone", percent)))]
        for name in names
    ]  # fmt: skip
    return "\n".join([*made, table(head, lines)])


def arm_tables(worlds: Mapping[str, Any]) -> str:
    """Per world: win against the human reference at every size beside the paper's, then the grades."""
    made = []
    for name, world in worlds.items():
        for key, show, what in (("win", percent, "win over the human text, %"), ("grade", grade_of, "grade")):
            paper = ["paper, 100", "1,000", "5,000"] if key == "win" else []
            head = [f"{name}: {what}", *paper, *(f"ours, {n:,}" for n in SIZES)]
            lines = []
            for arm, label in ARMS.items():
                figures = PAPER_ARMS.get(arm, (None,) * 3)
                cells = [show((_arm(world["arms"], arm, n) or {}).get(key)) for n in SIZES]
                lines.append([label, *(map(_known, figures) if paper else ()), *cells])
            made.append(table(head, lines))
    return "\n".join(made)


def _arm(arms: Mapping[str, Any], name: str, size: int) -> Any:
    """An arm's figures at a size; one that no size belongs to has the same at every size."""
    if name in ALONE:
        return arms[name] if ALONE[name] == size else None
    return arms.get(f"{name}_{size}", arms.get(name))


def pair_table(worlds: Mapping[str, Any], pairs: Mapping[tuple[str, str], str]) -> str:
    """Head to head, the paper's samples behind its figure."""
    lines = [
        [
            f"`{arm}` over `{other}`",
            paper,
            *(percent(w["pairs"][f"{arm} over {other}"]) for w in worlds.values()),
        ]
        for (arm, other), paper in pairs.items()
    ]
    return table(["win rate, %", "paper", *worlds], lines)


def round_tables(worlds: Mapping[str, Any]) -> str:
    """Rounds against one round of as many critiques, and the grades of all."""
    arms = (
        "ilf_judge_100",
        "ilf_judge_200",
        "union_2",
        "continued_2",
        "ilf_judge_300",
        "union_3",
        "continued_3",
    )
    lines = [[f"`{arm}`", *(grade_of(w["arms"][arm]["grade"]) for w in worlds.values())] for arm in arms]
    return "\n".join([pair_table(worlds, PAPER_ROUNDS), table(["grade", *worlds], lines)])


def trial_table(sizes: Mapping[str, Any]) -> str:
    """Exact match by model size, ours and the paper's."""
    lines = [
        [
            f"`word_removal_{size}`",
            f"{found['parameters']:,}",
            f"{100 * found['exact']:.1f} ± {100 * found['error']:.1f}",
            "-",
        ]
        for size, found in sizes.items()
    ]
    for size, (share, error) in trials.PAPER.items():
        shown_error = "" if error is None else f" ± {error:.1f}"
        lines.append(["paper", size, f"{share:.1f}{shown_error}", f"{PAPER_INSTRUCT[size]:.1f}"])
    return table(["model", "parameters", "exact match, %", "instruction-tuned, %"], lines)


def time_table(seconds: Mapping[str, float]) -> str:
    """Processor seconds of every part and of all."""
    return table([*seconds, "all"], [[f"{value:,}" for value in (*seconds.values(), sum(seconds.values()))]])


def tables(found: Mapping[str, Any]) -> dict[str, str]:
    """Name -> Markdown of all tables."""
    worlds = found["worlds"]
    return {
        "time": time_table(found["cpu_seconds"]),
        "rankers": ranker_table(worlds),
        "refinements": refinement_tables(worlds),
        "arms": arm_tables(worlds),
        "pairs": pair_table(worlds, PAPER_PAIRS),
        "rounds": round_tables(worlds),
        "trials": trial_table(found["trials"]),
    }


def written(text: str, made: Mapping[str, str]) -> str:
    """The text with every table between its marks; SystemExit where a mark is missing."""
    for name, markdown in made.items():
        marks = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        text, n = re.subn(marks, lambda m, t=markdown: m[1] + t + m[2], text, flags=re.DOTALL)  # type: ignore[misc]
        if n != 1:
            raise SystemExit(f"{README}: needs <!-- {name} --> and <!-- /{name} --> once, for the table.")
    return text


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="fewer for a quick look")
    parser.add_argument(
        "--write", action="store_true", help=f"keep {RESULTS.name} and the tables in {README.name}"
    )
    given = parser.parse_args()
    found = measured(given.runs, given.workers, given.seeds)
    made = tables(found)
    for name, markdown in made.items():
        print(f"## {name}\n\n{markdown}")
    if given.write:
        text = written(README.read_text(encoding="utf-8"), made)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        README.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
