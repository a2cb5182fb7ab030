"""Do the printed intervals cover? Simulated experiments with known effects, through the report's own code.

    python benchmarks/coverage.py [--data-sets 100] [--only designs judges ...] [--write]

In full 1,000 experiments a line, one Monte Carlo standard error of 95 % is 0.7 points; --data-sets 100 is a
quick look. --write keeps the figures in benchmarks/results/coverage.json. Columns are in percent unless said.
Those in CHECKED are of what the product prints and should lie in 93-97 (wrong winners and family-wise error:
at most 5) up to two standard errors; < and > mark what does not: > is too careful, not wrong.

designs       prompt, seed and rest effects, normal (rest SD .3): two-way random effects; beside it the
              cluster bootstrap, and an interval over prompts only
families      12 arms against a control under Holm, seed variance pooled and not
binary        right or wrong, prompts with a rate of their own: one arm's mean, two arms' difference
preferences   Davidson's Bradley-Terry, verdicts drawn from the model and with prompts of their own taste
lengths       verdicts that go by length alone: raw and length-controlled win rate of an arm as good (50 is
              true) and 1.5 times as long
judges        n human verdicts and 500 more of a judge: prediction-powered mean; beside it human verdicts
              alone and the judge taken at his word
looks         10 looks at no difference while prompts come in: wrong winners of the confidence sequence, and
              of an interval that is read at every look
power         what ``power`` computes against the share of experiments in which ``paired_interval`` saw it

Read: random effects cover 93-97 where prompts differ, and more where they hardly do and seeds do not matter:
three seeds cannot say that they do not. Pooling over arms helps, where bootstrap and "prompts only" do not.
Right or wrong answers over 3 seeds, and few of one kind, are covered too often rather than too seldom.
Verdicts read at every look, and a judge taken at his word, are what not to print.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ilf import stats
from ilf.stats._davidson import probabilities

RESULTS = Path(__file__).parent / "results" / "coverage.json"
REST = 0.3
#: Column -> least and most allowed, before two Monte Carlo standard errors.
CHECKED = {
    "random effects": (93.0, 97.0),
    "pooled": (93.0, 97.0),
    "pooled FWER": (0.0, 5.0),
    "one arm": (93.0, 97.0),
    "difference": (93.0, 97.0),
    "strengths": (93.0, 97.0),
    "coefficient": (93.0, 97.0),
    "win rate": (93.0, 97.0),
    "controlled": (93.0, 97.0),
    "prediction-powered": (93.0, 97.0),
    "wrong winners": (0.0, 5.0),
    "off by": (0.0, 3.0),
}
#: Columns that are the setting, not a figure.
PARAMETERS = ("rate", "other", "spread", "log odds a unit", "effect")

Sds = tuple[float, float, float]  # of prompt, seed and rest
Line = dict[str, Any]
Rng = np.random.Generator


def normal_cells(rng: Rng, prompts: int, seeds: int, sds: Sds) -> stats.Cells:
    """A (prompts, seeds) table of mean 0."""
    prompt_sd, seed_sd, rest_sd = sds
    return (
        prompt_sd * rng.normal(size=(prompts, 1))
        + seed_sd * rng.normal(size=(1, seeds))
        + rest_sd * rng.normal(size=(prompts, seeds))
    )


def binary_cells(rng: Rng, prompts: int, seeds: int, rate: float) -> stats.Cells:
    """A (prompts, seeds) table of 0 and 1; a prompt's own rate is Beta(4 rate, 4 (1 - rate))."""
    own = rng.beta(4 * rate, 4 * (1 - rate), size=(prompts, 1))
    return (rng.random((prompts, seeds)) < own).astype(np.float64)


def prompts_only(cells: stats.Cells) -> stats.Interval:
    """The interval that takes the seeds as given: the mean over seeds, and the prompts alone vary."""
    return stats.paired_interval(cells.mean(axis=1, keepdims=True))


def covers(interval: stats.Interval, truth: float) -> bool | None:
    """Whether the interval holds the truth; None where there is no interval."""
    if interval.low is None or interval.high is None:
        return None
    return interval.low <= truth <= interval.high


def percent(hits: Sequence[bool | None]) -> float:
    """Share of True in percent among the known."""
    known = [hit for hit in hits if hit is not None]
    return 100 * float(np.mean(known)) if known else math.nan


def coverage(
    draw: Callable[[], stats.Cells], interval: Callable[[stats.Cells], stats.Interval], data_sets: int
) -> float:
    """Coverage in percent over data sets of mean 0; 100 minus it is the share of null effects rejected."""
    return percent([covers(interval(draw()), 0.0) for _ in range(data_sets)])


def designs(rng: Rng, data_sets: int) -> list[Line]:
    """One line per design; bootstrap on a quarter of the data sets."""
    redraw = partial(stats.cluster_bootstrap, generator=rng, draws=1000)
    shapes = ((100, 3, 0.3), (100, 5, 0.3), (100, 3, 0.05), (20, 3, 0.3), (16, 3, 0.3), (12, 3, 0.3))
    lines = []
    for (prompts, seeds, prompt_sd), seed_sd in itertools.product(shapes, (0.0, 0.05, 0.1, 0.2)):
        draw = partial(normal_cells, rng, prompts, seeds, (prompt_sd, seed_sd, REST))
        lines.append(
            {
                "prompts": prompts,
                "seeds": seeds,
                "prompt SD": prompt_sd,
                "seed SD": seed_sd,
                "random effects": coverage(draw, stats.paired_interval, data_sets),
                "bootstrap": coverage(draw, redraw, max(1, data_sets // 4)),
                "prompts only": coverage(draw, prompts_only, data_sets),
            }
        )
    return lines


def family(
    rng: Rng, data_sets: int, prompts: int, seed_sds: Sequence[float], rest_sds: Sequence[float]
) -> Line:
    """Arms against one control at 3 seeds, no effect: coverage, and family-wise error under Holm.

    The standard deviations are per arm, the control's first; all arms share a seed effect of SD .05.
    """
    found: dict[str, list[tuple[float, bool]]] = {"pooled": [], "unpooled": []}
    for _ in range(data_sets):
        shared = 0.05 * rng.normal(size=(1, 3))
        sds = zip(seed_sds, rest_sds, strict=True)
        arms = np.stack([shared + normal_cells(rng, prompts, 3, (0.3, seed, rest)) for seed, rest in sds])
        for name, pooled in (("pooled", stats.pooled_arm_by_seed(arms)), ("unpooled", None)):
            intervals = [stats.paired_interval(arm - arms[0], pooled) for arm in arms[1:]]
            corrected = stats.holm([one.p for one in intervals])
            covered = percent([covers(one, 0.0) for one in intervals])
            found[name].append((covered, any(p is not None and p < 0.05 for p in corrected)))
    return {
        key: value
        for name, sets in found.items()
        for key, value in (
            (name, float(np.mean([c for c, _ in sets]))),
            (f"{name} FWER", 100 * float(np.mean([wrong for _, wrong in sets]))),
        )
    }


def families(rng: Rng, data_sets: int) -> list[Line]:
    """One line per family of 12 comparisons."""
    same = (REST,) * 13
    cases = (
        ("seed SD 0", 100, (0.0,) * 13, same),
        ("seed SD .05", 100, (0.05,) * 13, same),
        ("seed SD .1", 100, (0.1,) * 13, same),
        ("seed SD .2", 100, (0.2,) * 13, same),
        ("seed SD .1", 16, (0.1,) * 13, same),
        ("seed SDs .05 to .15", 100, (0.1, *(0.05, 0.15) * 6), same),
        ("rest SDs .15 to .45", 100, (0.05,) * 13, (REST, *(0.15, 0.45) * 6)),
    )
    return [
        {"family": label, "prompts": prompts, **family(rng, data_sets, prompts, seed_sds, rest_sds)}
        for label, prompts, seed_sds, rest_sds in cases
    ]


def binary(rng: Rng, data_sets: int) -> list[Line]:
    """One arm's rate, and its difference to an arm with another rate; empty: no interval, of both."""
    lines = []
    for prompts, seeds, (rate, other) in itertools.product(
        (12, 16, 100), (1, 3), ((0.5, 0.5), (0.1, 0.1), (0.1, 0.3), (0.03, 0.03), (0.97, 0.85))
    ):
        one = [binary_cells(rng, prompts, seeds, rate) for _ in range(data_sets)]
        two = [binary_cells(rng, prompts, seeds, other) - cells for cells in one]
        mean = [covers(stats.mean_interval(cells, within=(0, 1)), rate) for cells in one]
        gaps = [covers(stats.paired_interval(cells, within=(0, 1)), other - rate) for cells in two]
        lines.append(
            {
                "prompts": prompts,
                "seeds": seeds,
                "rate": rate,
                "other": other,
                "one arm": percent(mean),
                "difference": percent(gaps),
                "empty": mean.count(None) + gaps.count(None),
            }
        )
    return lines


def verdicts(
    rng: Rng, prompts: int, strengths: stats.Cells, taste: float, style: float | None
) -> stats.Verdicts:
    """All pairs of arms on every prompt, log nu -.5; prompts have a taste of their own for each arm."""
    first, second = np.array(list(itertools.combinations(range(len(strengths)), 2))).T
    own = strengths + taste * rng.normal(size=(prompts, len(strengths)))
    length = rng.normal(size=(prompts, len(first), 1))
    lead = own[:, first] - own[:, second] + (style or 0.0) * length[..., 0]
    win, loss, _ = probabilities(lead, np.full_like(lead, -0.5))
    drawn = rng.random(lead.shape)
    outcome = np.where(drawn < win, 1.0, np.where(drawn < win + loss, 0.0, 0.5))
    prompt = np.repeat(np.arange(prompts), len(first))
    rows = np.stack([prompt, np.tile(first, prompts), np.tile(second, prompts), outcome.ravel()], axis=1)
    covariates, names = (None, ()) if style is None else (length.reshape(-1, 1), ("length",))
    return stats.Verdicts.of(rows.tolist(), covariates, names)


def preferences(rng: Rng, data_sets: int) -> list[Line]:
    """4 arms; with a taste of SD .5 the strengths are the average model's, a little nearer to 0."""
    lines = []
    for prompts, spread, taste, style in (
        (12, 1.0, 0.0, None),
        (20, 0.0, 0.0, None),
        (20, 1.0, 0.0, None),
        (20, 2.0, 0.0, None),
        (100, 1.0, 0.0, None),
        (100, 0.0, 0.5, None),
        (20, 1.0, 0.0, 0.5),
        (100, 1.0, 0.0, 0.5),
    ):
        truth = spread * np.array([0.0, 0.3, 0.8, -0.5])
        arms, style_hits, rates = [], [], []
        for _ in range(data_sets):
            given = verdicts(rng, prompts, truth, taste, style)
            found = stats.bradley_terry(given, 4, rng, draws=200)
            arms += [covers(found.arms[k], truth[k]) for k in (1, 2, 3)]
            if style is not None:
                scale = float(given.covariates.std())
                style_hits.append(covers(found.coefficients["length"], style * scale))
            elif taste == 0:
                win, _, tie = probabilities(truth[2:3], np.array([-0.5]))
                rates.append(covers(stats.win_rates(given, 4)[2], float(win[0] + tie[0] / 2)))
        lines.append(
            {
                "prompts": prompts,
                "spread": spread,
                "taste SD": taste,
                "strengths": percent(arms),
                "coefficient": percent(style_hits),
                "win rate": percent(rates),
            }
        )
    return lines


def lengths(rng: Rng, data_sets: int) -> list[Line]:
    """Two arms as good; how often the interval holds 50 %."""
    lines = []
    for prompts, slope in itertools.product((20, 100, 500), (0.0, 1.0, 3.0)):
        raw, controlled = [], []
        for _ in range(data_sets):
            longer = math.log(1.5) + 0.4 * rng.normal(size=prompts)
            won = rng.random(prompts) < 1 / (1 + np.exp(-slope * longer))
            given = stats.Verdicts.of([(p, 1, 0, float(one)) for p, one in enumerate(won)])
            raw.append(covers(stats.win_rates(given, 2)[1], 0.5))
            controlled.append(covers(stats.length_controlled(given, longer, 2)[0][1], 0.5))
        lines.append(
            {
                "prompts": prompts,
                "log odds a unit": slope,
                "raw holds 50": percent(raw),
                "controlled": percent(controlled),
            }
        )
    return lines


def judges(rng: Rng, data_sets: int) -> list[Line]:
    """The judge says 1 on ``right`` of the 1s and on ``wrong`` of the 0s."""
    kinds = {
        "good": (0.5, 0.9, 0.1),
        "biased": (0.5, 0.95, 0.5),
        "very biased": (0.3, 1.0, 0.8),
        "useless": (0.5, 0.5, 0.5),
        "biased, rate .1": (0.1, 0.9, 0.4),
        "biased, rate .9": (0.9, 0.95, 0.6),
    }
    lines = []
    for n, (name, (rate, right, wrong)) in itertools.product((20, 30, 50, 200), kinds.items()):
        together, people, trusted, width = [], [], [], []
        for _ in range(data_sets):
            truth = (rng.random(n + 500) < rate).astype(np.float64)
            said = (rng.random(n + 500) < np.where(truth == 1, right, wrong)).astype(np.float64)
            found = stats.prediction_powered_mean(truth[:n], said[:n], said[n:], within=(0, 1))
            alone = stats.mean_interval(truth[:n, None], within=(0, 1))
            together.append(covers(found, rate))
            people.append(covers(alone, rate))
            trusted.append(covers(stats.mean_interval(said[:, None], within=(0, 1)), rate))
            width.append((found.high - found.low) / (alone.high - alone.low))  # type: ignore[operator]
        lines.append(
            {
                "human": n,
                "judge": name,
                "prediction-powered": percent(together),
                "width, % of people's": 100 * float(np.mean(width)),
                "people alone": percent(people),
                "judge alone": percent(trusted),
            }
        )
    return lines


def looks(rng: Rng, data_sets: int) -> list[Line]:
    """Differences of mean 0, ten looks evenly from the first to the planned number of prompts."""
    kinds: dict[str, Callable[[int], stats.Cells]] = {
        "normal": lambda n: rng.normal(size=n),
        "-1, 0, 1": lambda n: rng.choice([-1.0, 0.0, 1.0], size=n),
        "-1, 0, 1, 90 % ties": lambda n: rng.choice([-1.0, 0.0, 1.0], p=[0.05, 0.9, 0.05], size=n),
        "t of 3 df": lambda n: rng.standard_t(3, size=n),
        "exponential": lambda n: rng.exponential(size=n) - 1,
    }
    lines = []
    for (first, planned), (name, draw) in itertools.product(((20, 100), (20, 500)), kinds.items()):
        at = np.linspace(first, planned, 10).astype(int)
        wrong, naive = [], []
        for _ in range(data_sets):
            values = draw(planned)
            seen = [stats.confidence_sequence(values[:n], planned) for n in at]
            wrong.append(any(covers(one, 0.0) is False for one in seen))
            each = [stats.paired_interval(values[:n, None]) for n in at]
            naive.append(any(covers(one, 0.0) is False for one in each))
        lines.append(
            {
                "first look": first,
                "planned": planned,
                "differences": name,
                "wrong winners": percent(wrong),
                "read at every look": percent(naive),
            }
        )
    return lines


def power(rng: Rng, data_sets: int) -> list[Line]:
    """Twice the data sets; families of 12 have their seeds' variance pooled over 13 arms."""
    lines = []
    for prompts, seeds, sds, effect, comparisons in (
        (100, 3, (0.3, 0.0, REST), 0.10, 1),
        (100, 3, (0.3, 0.05, REST), 0.15, 1),
        (100, 3, (0.3, 0.2, REST), 0.50, 1),
        (100, 5, (0.3, 0.1, REST), 0.17, 1),
        (100, 10, (0.3, 0.1, REST), 0.10, 1),
        (20, 3, (0.3, 0.05, REST), 0.25, 1),
        (12, 3, (0.3, 0.1, REST), 0.40, 1),
        (16, 5, (0.05, 0.05, REST), 0.10, 1),
        (50, 2, (0.3, 0.1, REST), 0.60, 1),
        (40, 1, (0.3, 0.0, REST), 0.20, 1),
        (100, 3, (0.3, 0.1, REST), 0.25, 12),
        (20, 3, (0.3, 0.05, REST), 0.40, 12),
    ):
        hits = []
        for _ in range(2 * data_sets):
            pooled = None
            if comparisons > 1:
                # A difference has both arms' effects: each arm has half of its variance.
                one = (sds[0] / math.sqrt(2), sds[1] / math.sqrt(2), sds[2] / math.sqrt(2))
                arms = np.stack([normal_cells(rng, prompts, seeds, one) for _ in range(comparisons + 1)])
                cells, pooled = arms[1] - arms[0], stats.pooled_arm_by_seed(arms)
            else:
                cells = normal_cells(rng, prompts, seeds, sds)
            p = stats.paired_interval(cells + effect, pooled).p
            hits.append(p is not None and p < 0.05 / comparisons)
        expected = 100 * stats.power(
            effect,
            stats.Spread(*sds),
            prompts,
            seeds,
            comparisons=comparisons,
            trained_arms=comparisons + 1 if comparisons > 1 else None,
        )
        lines.append(
            {
                "prompts": prompts,
                "seeds": seeds,
                "seed SD": sds[1],
                "effect": effect,
                "comparisons": comparisons,
                "computed": expected,
                "simulated": percent(hits),
                "off by": abs(expected - percent(hits)),
            }
        )
    return lines


PARTS = (designs, families, binary, preferences, lengths, judges, looks, power)


def outside(column: str, value: float, data_sets: int, errors: float = 2) -> str:
    """Where a figure lies, by more than so many Monte Carlo standard errors: below "<", above ">", or ""."""
    if column not in CHECKED or math.isnan(value):
        return ""
    low, high = CHECKED[column]
    centre = 80 if column == "off by" else 5
    error = errors * math.sqrt(centre * (100 - centre) / data_sets)
    if value < low - error:
        return "<"
    return ">" if value > high + error else ""


def shown(lines: Sequence[Line], data_sets: int) -> str:
    """The table, columns aligned; ``<`` and ``>`` mark what lies outside."""

    def text(column: str, value: Any) -> str:
        if not isinstance(value, float):
            return str(value)
        if math.isnan(value):
            return "-"
        is_parameter = column.endswith(" SD") or column in PARAMETERS
        return f"{value:g}" if is_parameter else f"{value:.1f}{outside(column, value, data_sets)}"

    rows = [list(lines[0]), *([text(column, value) for column, value in line.items()] for line in lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
    )


def main() -> None:
    """Prints the tables and the seconds they took; with --write keeps them."""
    parser = argparse.ArgumentParser(description="Simulated coverage of the intervals of ilf.stats.")
    parser.add_argument("--data-sets", type=int, default=1000, help="simulated experiments per line")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=[part.__name__ for part in PARTS])
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    asked = parser.parse_args()
    tables: dict[str, list[Line]] = {}
    began = time.process_time()
    for number, part in enumerate(PARTS):
        if asked.only and part.__name__ not in asked.only:
            continue
        start = time.process_time()
        lines = part(np.random.default_rng([asked.seed, number]), asked.data_sets)
        tables[part.__name__] = lines
        seconds = time.process_time() - start
        sys.stdout.write(f"{part.__name__} ({seconds:.0f} s)\n{shown(lines, asked.data_sets)}\n\n")
        sys.stdout.flush()
    sys.stdout.write(f"{time.process_time() - began:.0f} CPU seconds\n")
    if asked.write:
        known = json.loads(RESULTS.read_text(encoding="utf-8"))["tables"] if RESULTS.exists() else {}
        kept = {"data_sets": asked.data_sets, "seed": asked.seed, "tables": known | _without_nan(tables)}
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def _without_nan(tables: dict[str, list[Line]]) -> dict[str, list[Line]]:
    """Not measured is null in JSON; three decimals."""

    def kept(value: Any) -> Any:
        if not isinstance(value, float):
            return value
        return None if math.isnan(value) else round(value, 3)

    return {
        name: [{column: kept(value) for column, value in line.items()} for line in lines]
        for name, lines in tables.items()
    }


if __name__ == "__main__":
    main()
