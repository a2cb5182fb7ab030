"""Learning curves: how training went, seed by seed, so that over-optimisation is seen.

A reward model is only a stand-in: when a policy has learnt to please it, reward rises while the true grade
falls (Gao et al. 2022, arXiv 2210.10760). So reward and grade stand side by side over the same steps, and
both over the square root of KL, the distance from the reference. Logs are the rows that a train step left;
several logs of one arm are its seeds. The same logs give the same bytes: no clock, no network, no script.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ilf._report.by_distance import distance_chart
from ilf._report.by_step import step_chart
from ilf._report.chart import Chart
from ilf._report.figures import Json, number
from ilf._report.page import page
from ilf._report.series import Log, columns, series
from ilf._report.tables import Table, milestones, samples, validation_tables
from ilf._report.turn import ENOUGH_SEEDS, sentence, sentences, turn
from ilf.files import write_whole

__all__ = ["Arms", "Table", "numbers", "render", "section", "sentences", "slim", "validation_tables", "write"]

#: Name of an arm -> its logs, one per seed.
Arms = Mapping[str, Sequence[Log]]
#: Column -> (title, what it is and in what unit).
CHARTS = {
    "reward": ("Reward", "mean score by the reward model"),
    "grade": ("True grade", "of the same answers"),
    "kl": ("KL", "from the reference, nats an answer"),
    "entropy": ("Entropy", "nats a token"),
    "length_tokens": ("Length", "tokens an answer"),
    "end_rate": ("Ended", "share of answers with an end of their own"),
    "explained_variance": ("Explained variance", "of the returns, by the values"),
    "clip_fraction": ("Clip fraction", "share of tokens beyond the clip range"),
}
_PAIR = ("reward", "grade")
_DIGITS = 6


def slim(rows: Iterable[Json]) -> list[dict[str, float]]:
    """The plotted numbers of a log, to six digits, for a comparison's result; [] for a log without reward."""
    kept = ("step", *CHARTS)
    found = [
        {name: value for name in kept if (value := number(row.get(name))) is not None}
        for row in rows
        if number(row.get("reward")) is not None and number(row.get("kl")) is not None
    ]
    return [{name: float(f"{value:.{_DIGITS}g}") for name, value in row.items()} for row in found]


def section(arms: Arms) -> dict[str, Any]:
    """Everything that the pictures of some arms need: sentences, names, groups of charts, the rest."""
    peaks = _peaks(arms)
    known = [name for name in CHARTS if name not in _PAIR]
    every = dict.fromkeys(name for logs in arms.values() for name in columns(logs))
    others = [name for name in every if name not in CHARTS]
    if not any(name in every for name in _PAIR):  # no policy: its own columns are what there is to see
        known, others = [*sorted(others, key="loss".__ne__), *known], []
    groups = [
        _group("Reward and true grade", _steps(_PAIR, arms, peaks), is_pair=True),
        _group("By distance from the reference", _distances(arms, peaks), _distance_note(arms), is_pair=True),
        _group("The training itself", _steps(known, arms, peaks)),
    ]
    return {
        "sentences": sentences(arms),
        "names": [(name, len(logs)) for name, logs in arms.items()],
        "note": _note(arms, peaks),
        "groups": [group for group in groups if group["charts"]],
        "others": _steps(others, arms, {}),
    }


def _peaks(arms: Arms) -> dict[str, float]:
    found = {name: turn(logs) for name, logs in arms.items()}
    return {name: one.peak_step for name, one in found.items() if one is not None}


def _group(title: str, charts: list[Chart], about: str = "", *, is_pair: bool = False) -> dict[str, Any]:
    return {"title": title, "about": about, "charts": charts, "is_pair": is_pair}


def _steps(names: Iterable[str], arms: Arms, peaks: Mapping[str, float]) -> list[Chart]:
    titled = ((name, *CHARTS.get(name, (name.replace("_", " "), ""))) for name in names)
    drawn = (step_chart(name, title, about, arms, peaks) for name, title, about in titled)
    return [one for one in drawn if one is not None]


def _distances(arms: Arms, peaks: Mapping[str, float]) -> list[Chart]:
    drawn = (distance_chart(name, *CHARTS[name], arms, peaks) for name in _PAIR)
    return [one for one in drawn if one is not None]


def _distance_note(arms: Arms) -> str:
    below = sum((series(logs, "kl").values < 0).sum() for logs in arms.values())
    said = "As Gao et al. 2022 draw it; small dots follow the steps, the large one is the last."
    return said + (f" {below} estimates of KL below 0 stand at 0." if below else "")


def _note(arms: Arms, peaks: Mapping[str, float]) -> str:
    said = []
    if any(len(logs) > 1 for logs in arms.values()):
        said.append("Thin: one seed each; thick: their mean, where all seeds have a step.")
    if peaks:
        said.append(
            "Grade and reward are of the answers drawn in training, before the step's update. Dotted, or a "
            "ring: where the mean grade was highest."
        )
        seeds = {one.seeds for logs in arms.values() if (one := turn(logs)) is not None}
        if max(seeds) >= ENOUGH_SEEDS:
            said.append(
                "Changes after it are means over seeds with 95 % intervals, each seed's grade measured from "
                "where the other seeds were highest."
            )
        if min(seeds) < ENOUGH_SEEDS:
            said.append(
                "Changes after it with fewer than three seeds: give or take three standard errors of the "
                "noise from step to step."
            )
    return " ".join(said)


def numbers(arms: Arms) -> list[dict[str, Any]]:
    """What the page shows, as JSON: per arm its means over seeds by column, and its turn (None: unknown)."""
    found = []
    for name, logs in arms.items():
        means = {column: series(logs, column) for column in columns(logs)}
        known = turn(logs)
        found.append(
            {
                "run": name,
                "seeds": len(logs),
                "steps": [float(step) for step in series(logs, "step").steps],
                "means": {column: _by_step(one.steps, one.mean) for column, one in means.items()},
                "turn": {**asdict(known), "kind": known.kind} if known else None,
                "sentence": sentence(name, logs) if "reward" in means else None,
            }
        )
    return found


def _by_step(steps: Any, values: Any) -> list[list[float]]:
    return [[float(step), float(value)] for step, value in zip(steps, values, strict=True)]


def render(arms: Arms, title: str, *, sources: Mapping[str, Sequence[str]], command: str = "") -> str:
    """One page with the curves of all arms, the table of steps, a reward model's verdict, and samples.

    ``sources`` says of every arm from which folders its logs come.
    """
    peaks = _peaks(arms)
    every = dict.fromkeys(name for logs in arms.values() for name in columns(logs))
    tables = {name: validation_tables(logs[0][-1]) for name, logs in arms.items() if logs and logs[0]}
    return page(
        "curves.html",
        title=title,
        section=section(arms),
        milestones=milestones(arms, [name for name in (*CHARTS, "loss", "accuracy") if name in every], peaks),
        is_mean=any(len(logs) > 1 for logs in arms.values()),
        validation=[(name, found) for name, found in tables.items() if found],
        samples=samples(arms, peaks),
        graded="grade" in every,
        sources=list(sources.items()),
        command=command,
    )


def write(path: Path, arms: Arms, title: str, *, sources: Mapping[str, Sequence[str]], command: str) -> None:
    """Writes the page, whole or not at all."""
    write_whole(path, render(arms, title, sources=sources, command=command))
