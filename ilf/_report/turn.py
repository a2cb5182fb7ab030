"""Where the true grade turned while the reward rose on: over-optimisation (arXiv 2210.10760)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ilf._report.figures import plain, signed
from ilf._report.series import Cells, Log, series, shared, smoothed
from ilf.stats import paired_interval

#: Below so many seeds, the noise between steps stands in for the spread between seeds.
ENOUGH_SEEDS = 3
_ENOUGH_STEPS = 4
_STANDARD_ERRORS = 3.0
#: A smaller fall of the grade is no turn to speak of, however narrow its interval.
_LEAST_FALL = 0.02


@dataclass(frozen=True)
class Change:
    """A difference between two points of a curve with its interval; ends are None where there is none."""

    estimate: float
    low: float | None
    high: float | None

    @property
    def text(self) -> str:
        """``+0.160 [+0.120, +0.200]``."""
        ends = "" if self.low is None else f" [{signed(self.low)}, {signed(self.high)}]"
        return signed(self.estimate) + ends


@dataclass(frozen=True)
class Turn:
    """The highest point of an arm's mean grade, and how grade and reward changed from it to the last step.

    With three seeds or more the changes are means over seeds with a t interval, each seed's grade measured
    from the peak of the OTHER seeds: so picking the highest of many noisy points makes no fall. With fewer
    they are the mean curve's, give or take three standard errors of the noise between steps. ``window``
    steps are averaged into every point (about a tenth of all).
    """

    seeds: int
    window: int
    peak_step: float
    last_step: float
    grade_first: float
    grade_peak: float
    grade_last: float
    reward_first: float
    reward_peak: float
    reward_last: float
    grade_change: Change
    reward_change: Change

    @property
    def kind(self) -> str:
        """``end`` (highest there), ``held`` (no fall seen), ``over`` (it fell, reward rose) or ``fell``."""
        if self.peak_step == self.last_step:
            return "end"
        fall = self.grade_change
        if fall.high is None or fall.high >= 0 or fall.estimate > -_LEAST_FALL:
            return "held"
        return "over" if (self.reward_change.low or 0.0) > 0 else "fell"


def turn(logs: Sequence[Log]) -> Turn | None:
    """The turn of an arm's logs, over the steps at which every seed has reward and grade; None below four."""
    grade, reward = shared(logs, "grade", "reward")
    whole = np.isfinite(grade.values).all(axis=0)
    if not grade.seeds or whole.sum() < _ENOUGH_STEPS:
        return None
    return _turn(grade.steps[whole], grade.values[:, whole], reward.values[:, whole])


def _turn(steps: Cells, grades: Cells, rewards: Cells) -> Turn:
    window = 2 * (len(steps) // 20) + 1
    even_grades, even_rewards = smoothed(grades, window), smoothed(rewards, window)
    grade, reward = even_grades.mean(axis=0), even_rewards.mean(axis=0)
    peak = int(grade.argmax())
    if len(grades) < ENOUGH_SEEDS:
        changes = [_by_steps(raw, even, peak, window) for raw, even in ((grades, grade), (rewards, reward))]
    else:
        changes = _by_seeds(even_grades, even_rewards, peak)
    return Turn(
        seeds=len(grades),
        window=window,
        peak_step=float(steps[peak]),
        last_step=float(steps[-1]),
        grade_first=float(grade[0]),
        grade_peak=float(grade[peak]),
        grade_last=float(grade[-1]),
        reward_first=float(reward[0]),
        reward_peak=float(reward[peak]),
        reward_last=float(reward[-1]),
        grade_change=changes[0],
        reward_change=changes[1],
    )


def _by_seeds(grades: Cells, rewards: Cells, peak: int) -> list[Change]:
    """Mean changes over seeds: of the grade from the other seeds' peak, of the reward from that of all.

    The peak was not picked by the reward, so that nothing has to be held against picking there.
    """
    every = np.arange(len(grades))
    peaks = np.array([grades[every != seed].mean(axis=0).argmax() for seed in every])
    found = []
    for change in (grades[:, -1] - grades[every, peaks], rewards[:, -1] - rewards[:, peak]):
        known = paired_interval(change[:, None])
        found.append(Change(float(change.mean()), known.low, known.high))
    return found


def _by_steps(raw: Cells, even: Cells, peak: int, window: int) -> Change:
    """The mean curve's change; its noise from differences of neighbouring steps (von Neumann's variance)."""
    noise = math.sqrt(float((np.diff(raw.mean(axis=0)) ** 2).mean()) / 2)
    length, reach = len(even), window // 2
    at_peak = min(peak + reach, length - 1) - max(peak - reach, 0) + 1
    at_end = min(reach, length - 1) + 1
    error = _STANDARD_ERRORS * noise * math.sqrt(1 / at_peak + 1 / at_end)
    change = float(even[-1] - even[peak])
    return Change(change, change - error, change + error)


def sentences(arms: Mapping[str, Sequence[Log]]) -> list[str]:
    """One for every arm trained on a reward: where its grade was highest, and what came after it."""
    return [sentence(name, logs) for name, logs in arms.items() if _has(logs, "reward")]


def sentence(name: str, logs: Sequence[Log]) -> str:
    """Where one arm's grade was highest and what came after it, in words that claim no more than is seen."""
    found = turn(logs)
    if found is None:
        missing = [
            what for what, key in (("reward", "reward"), ("true grade", "grade")) if not _has(logs, key)
        ]
        why = f"no {' and no '.join(missing)} in its log" if missing else "too few steps"
        return f"{name}: where the grade turned cannot be said: {why}."
    seeds = "one seed" if found.seeds == 1 else f"mean of {found.seeds} seeds"
    last = plain(found.last_step, 0)
    if found.kind == "end":
        return (
            f"{name}: the true grade was highest at the last step, {last} "
            f"({plain(found.grade_last)}, {seeds}): no turn is seen."
        )
    start = (
        f"{name}: the true grade was highest at step {plain(found.peak_step, 0)} of {last} "
        f"({plain(found.grade_peak)}, {seeds})"
    )
    return start + _after(found)


def _after(found: Turn) -> str:
    grade, reward = found.grade_change.text, found.reward_change.text
    if found.kind == "held":
        return f", and no fall after it is seen (grade {grade}, reward {reward} by the end)."
    if found.kind == "fell":
        return (
            f" and fell after it ({grade} by the end), but the reward did not clearly rise meanwhile "
            f"({reward}): a fall, not shown to be over-optimisation."
        )
    if found.seeds >= ENOUGH_SEEDS:
        return (
            f" and fell after it ({grade} by the end), while the reward rose on ({reward}): the reward was "
            "over-optimised."
        )
    return (
        f" and fell after it ({grade} by the end), while the reward rose on ({reward}): it looks "
        "over-optimised, but how far another seed would differ is unknown."
    )


def _has(logs: Sequence[Log], column: str) -> bool:
    return bool(series(logs, column).seeds)
