"""Do the printed intervals cover? Simulated experiments with known effects, through the report's own code.

    python benchmarks/coverage.py            about 35 CPU seconds; --data-sets 200 for a quick look

Grades are prompt + seed + rest, each normal (rest SD .3), or binary with a success rate per prompt. One Monte
Carlo standard error at 1000 data sets is 0.7 points; bootstrap and power use 250 (1.4), families 500 (1.0).
Measured with --seed 0:

    prompts  seeds  prompt SD  seed SD   random effects  bootstrap  prompts only  power at MDE
        100      3       0.30     0.00             97.2       96.0          94.4            78
        100      3       0.30     0.05             94.6       96.0          87.5            75
        100      3       0.30     0.10             92.9       84.8          69.7            71
        100      3       0.30     0.20             92.3       81.6          45.0            71
        100      5       0.30     0.00             96.3       98.4          94.9            81
        100      5       0.30     0.05             94.9       93.2          89.1            80
        100      5       0.30     0.10             94.0       91.6          76.0            80
        100      5       0.30     0.20             94.2       86.0          48.6            73
        100      3       0.05     0.00             98.2      100.0          94.0            76
        100      3       0.05     0.05             95.0       88.8          70.7            69
        100      3       0.05     0.10             95.0       80.8          42.9            66
        100      3       0.05     0.20             94.8       76.4          24.9            70
         16      3       0.30     0.00             96.1       94.8          94.2            80
         16      3       0.30     0.05             96.3       96.4          93.5            78
         16      3       0.30     0.10             96.1       97.6          89.5            74
         16      3       0.30     0.20             95.1       89.2          76.4            77

    12 arms and a control, 100 prompts, 3 seeds   pooled  FWER   unpooled  FWER
    seed SD 0                                       95.3   3.6       96.2   2.2
    seed SD .05                                     95.5   2.0       94.9   4.6
    seed SD .1                                      94.9   4.0       92.5  16.0
    seed SD .2                                      95.1   3.6       92.4  22.8
    seed SDs threefold apart (.05 to .15)           95.0   6.2       92.9  15.4
    rest SDs threefold apart (.15 to .45)           94.6   2.6       94.8   6.8

    binary grades, 3 seeds: prompts  rate   one arm  difference  no interval
                                 16  0.50      97.4        98.2            0
                                 16  0.10      99.9        99.3           12
                                 16  0.03     100.0       100.0          398
                                100  0.50      97.8        97.1            0
                                100  0.10      96.4        97.3            0
                                100  0.03      96.2        97.9            1

Read: random effects covers 92-93 where only three seeds say how much seeds matter; pooling over arms helps,
where bootstrap and "prompts only" do not. Binary grades are covered too often rather than too seldom.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from ilf import stats

Sds = tuple[float, float, float]  # of prompt, seed and rest
REST = 0.3


def normal_cells(rng: np.random.Generator, prompts: int, seeds: int, sds: Sds) -> stats.Cells:
    """A (prompts, seeds) table of mean 0."""
    prompt_sd, seed_sd, rest_sd = sds
    return (
        prompt_sd * rng.normal(size=(prompts, 1))
        + seed_sd * rng.normal(size=(1, seeds))
        + rest_sd * rng.normal(size=(prompts, seeds))
    )


def binary_cells(rng: np.random.Generator, prompts: int, seeds: int, rate: float) -> stats.Cells:
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


def percent(hits: list[bool | None]) -> tuple[float, int]:
    """Share of True in percent among the known, and how many are unknown."""
    known = [hit for hit in hits if hit is not None]
    return 100 * float(np.mean(known)), len(hits) - len(known)


def coverage(
    draw: Callable[[], stats.Cells], interval: Callable[[stats.Cells], stats.Interval], data_sets: int
) -> float:
    """Coverage in percent over data sets of mean 0; 100 minus it is the share of null effects rejected."""
    return percent([covers(interval(draw()), 0.0) for _ in range(data_sets)])[0]


def power_at_mde(draw: Callable[[], stats.Cells], data_sets: int) -> float:
    """Share of data sets that tell an effect of the mean reported MDE from 0, in percent (80 is meant)."""
    cells = [draw() for _ in range(data_sets)]
    effect = float(np.mean([stats.paired_interval(one).mde for one in cells]))
    return percent([(stats.paired_interval(one + effect).p or 0.0) < 0.05 for one in cells])[0]


def family(
    rng: np.random.Generator, data_sets: int, seed_sds: tuple[float, ...], rest_sds: tuple[float, ...]
) -> dict[str, tuple[float, float]]:
    """Arms against one control, 100 prompts, 3 seeds, no effect: coverage and family-wise error under Holm.

    The standard deviations are per arm, the control's first; all arms share a seed effect of SD .05.
    """
    found: dict[str, list[tuple[float, bool]]] = {"pooled": [], "unpooled": []}
    for _ in range(data_sets):
        shared = 0.05 * rng.normal(size=(1, 3))
        sds = zip(seed_sds, rest_sds, strict=True)
        arms = np.stack([shared + normal_cells(rng, 100, 3, (0.3, seed, rest)) for seed, rest in sds])
        for name, pooled in (("pooled", stats.pooled_arm_by_seed(arms)), ("unpooled", None)):
            intervals = [stats.paired_interval(arm - arms[0], pooled) for arm in arms[1:]]
            corrected = stats.holm([one.p for one in intervals])
            covered = percent([covers(one, 0.0) for one in intervals])[0]
            found[name].append((covered, any(p is not None and p < 0.05 for p in corrected)))
    return {
        name: (float(np.mean([c for c, _ in sets])), 100 * float(np.mean([wrong for _, wrong in sets])))
        for name, sets in found.items()
    }


def binary(rng: np.random.Generator, data_sets: int, prompts: int, rate: float) -> tuple[float, float, int]:
    """Coverage of one arm's mean and of two equal arms' difference, 3 seeds; how many had no interval."""
    one = [binary_cells(rng, prompts, 3, rate) for _ in range(data_sets)]
    two = [cells - binary_cells(rng, prompts, 3, rate) for cells in one]
    mean, unknown = percent([covers(stats.mean_interval(cells, within=(0, 1)), rate) for cells in one])
    difference, unknown_too = percent([covers(stats.paired_interval(cells), 0.0) for cells in two])
    return mean, difference, unknown + unknown_too


def designs(rng: np.random.Generator, data_sets: int) -> list[str]:
    """One line per design: prompts, seeds and their standard deviations."""
    lines = ["prompts  seeds  prompt SD  seed SD   random effects  bootstrap  prompts only  power at MDE"]
    few = max(1, data_sets // 4)
    redraw = partial(stats.cluster_bootstrap, generator=rng, draws=1000)
    for prompts, seeds, prompt_sd in ((100, 3, 0.3), (100, 5, 0.3), (100, 3, 0.05), (16, 3, 0.3)):
        for seed_sd in (0.0, 0.05, 0.1, 0.2):
            draw = partial(normal_cells, rng, prompts, seeds, (prompt_sd, seed_sd, REST))
            effects = coverage(draw, stats.paired_interval, data_sets)
            lines.append(
                f"{prompts:7d}  {seeds:5d}  {prompt_sd:9.2f}  {seed_sd:7.2f}   "
                f"{effects:14.1f}  {coverage(draw, redraw, few):9.1f}  "
                f"{coverage(draw, prompts_only, data_sets):12.1f}  {power_at_mde(draw, few):12.0f}"
            )
    return lines


def families(rng: np.random.Generator, data_sets: int) -> list[str]:
    """One line per family of 12 comparisons."""
    lines = ["12 arms and a control, 100 prompts, 3 seeds   pooled  FWER   unpooled  FWER"]
    same = (REST,) * 13
    for label, seed_sds, rest_sds in (
        ("seed SD 0", (0.0,) * 13, same),
        ("seed SD .05", (0.05,) * 13, same),
        ("seed SD .1", (0.1,) * 13, same),
        ("seed SD .2", (0.2,) * 13, same),
        ("seed SDs threefold apart (.05 to .15)", (0.1, *(0.05, 0.15) * 6), same),
        ("rest SDs threefold apart (.15 to .45)", (0.05,) * 13, (REST, *(0.15, 0.45) * 6)),
    ):
        found = family(rng, max(1, data_sets // 2), seed_sds, rest_sds)
        (a, b), (c, d) = found["pooled"], found["unpooled"]
        lines.append(f"{label:43s}  {a:7.1f}  {b:4.1f}   {c:8.1f}  {d:4.1f}")
    return lines


def binaries(rng: np.random.Generator, data_sets: int) -> list[str]:
    """One line per success rate."""
    lines = ["binary grades, 3 seeds: prompts  rate   one arm  difference  no interval"]
    for prompts in (16, 100):
        for rate in (0.5, 0.1, 0.03):
            mean, difference, unknown = binary(rng, data_sets, prompts, rate)
            lines.append(f"{prompts:31d}  {rate:4.2f}   {mean:7.1f}  {difference:10.1f}  {unknown:11d}")
    return lines


def main() -> None:
    """Prints the figures and the seconds they took."""
    parser = argparse.ArgumentParser(description="Simulated coverage of the intervals of ilf.stats.")
    parser.add_argument("--data-sets", type=int, default=1000, help="simulated experiments per line")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    began = time.process_time()
    rng = np.random.default_rng(asked.seed)
    for part in (designs, families, binaries):
        sys.stdout.write("\n".join(part(rng, asked.data_sets)) + "\n\n")
        sys.stdout.flush()
    sys.stdout.write(f"{time.process_time() - began:.0f} CPU seconds\n")


if __name__ == "__main__":
    main()
