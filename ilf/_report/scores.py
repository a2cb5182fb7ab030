"""The score against what it cost: curves over budgets of human seconds, or every arm at its human hours."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ilf._report.axis import Axis
from ilf._report.chart import BOX
from ilf._report.figures import Json, estimate, hours, number, plain
from ilf._report.telling import Cast

#: Lines of a chart, and the least distance of their names, in shares of the height.
MOST_LINES, _GAP = 10, 0.062
#: Points of a scatter that are nearer than this share of its width stand side by side; a bunch of them is no
#: wider than the second, or its points would seem to differ in price.
_NEAR, _WIDEST = 0.022, 0.12


@dataclass(frozen=True)
class LogAxis(Axis):
    """A scale of positive values by their logarithm, with a tick at each value given."""

    values: tuple[float, ...] = ()

    @classmethod
    def of(cls, values: Iterable[float]) -> LogAxis:
        """The axis over two or more distinct positive values."""
        known = tuple(sorted(set(values)))
        reach = 0.06 * math.log10(known[-1] / known[0])
        return cls(math.log10(known[0]) - reach, math.log10(known[-1]) + reach, 1.0, known)

    def share(self, value: float) -> float:
        """Position of a value, 0 at the low end and 1 at the high one."""
        return (math.log10(value) - self.low) / (self.high - self.low)

    @property
    def marks(self) -> list[tuple[float, str]]:
        """(value, label) of each tick."""
        return [(value, f"{plain(value, 0)} s") for value in self.values]


@dataclass(frozen=True)
class Point:
    """A point with its interval, in percent of the plot; ``reach`` is None where there is no interval."""

    x: str
    y: str
    reach: tuple[str, str] | None
    tip: str
    arm: str


@dataclass(frozen=True)
class Score:
    """One line, or one arm of a scatter: paths in the box of 1000, its points, and where its name stands."""

    name: str
    colour: int
    is_control: bool
    line: str
    band: str
    points: Sequence[Point]
    at: float
    label: str = ""


@dataclass(frozen=True)
class ScoreChart:
    """A plot of scores; ``base`` is where the base's line lies, in percent."""

    across: str
    x: Axis
    y: Axis
    scores: Sequence[Score]
    base: str | None
    label: str
    is_scatter: bool
    left_out: int = 0


def score_chart(cast: Cast) -> ScoreChart | None:
    """Curves over budgets where there are two or more, else every arm at its hours; None without either."""
    groups = _groups(cast)
    budgets = {arm["budget"] for arms in groups.values() for arm in arms}
    if len(budgets) > 1:
        return _curves(cast, groups, sorted(budgets))
    return _scatter(cast)


def _groups(cast: Cast) -> dict[str, list[Json]]:
    """The arms that were run at several budgets, by what they are; the telling ones first."""
    found: dict[str, list[Json]] = {}
    arms = [*(arm for group in cast.telling for arm in group), *cast.arms]
    order = list(dict.fromkeys(str(arm.get("of") or arm["arm"]) for arm in arms))
    for of in order:
        own = [a for a in cast.arms if str(a.get("of") or a["arm"]) == of]
        own = [a for a in own if (number(a.get("budget")) or 0) > 0 and number(a.get("grade")) is not None]
        if len(own) > 1:
            found[of] = sorted(own, key=lambda arm: float(arm["budget"]))
    return found


def _curves(cast: Cast, groups: dict[str, list[Json]], budgets: Sequence[float]) -> ScoreChart:
    drawn = dict(list(groups.items())[:MOST_LINES])
    x = LogAxis.of(budgets)
    base = cast.base()
    y = _upright([arm for arms in drawn.values() for arm in arms], base)
    ends = _spread([y.share(float(arms[-1]["grade"])) for arms in drawn.values()])
    scores = []
    for colour, ((of, arms), end) in enumerate(zip(drawn.items(), ends, strict=True)):
        is_control = all(arm.get("is_control") or str(arm["arm"]) in cast.roles for arm in arms)
        places = [(x.share(float(arm["budget"])), y.share(float(arm["grade"]))) for arm in arms]
        scores.append(
            Score(
                name=of,
                colour=colour,
                is_control=is_control,
                line=_path(places),
                band=_band(arms, x, y),
                points=[_point(arm, x.at(arm["budget"]), y) for arm in arms],
                at=100 * (1 - end),
                label=of,
            )
        )
    told = "; ".join(
        f"{of}: " + ", ".join(f"{plain(arm['grade'])} at {plain(arm['budget'], 0)} s" for arm in arms)
        for of, arms in drawn.items()
    )
    return ScoreChart(
        across="human seconds, logarithmic",
        x=x,
        y=y,
        scores=scores,
        base=None if base is None else _down(y, base),
        label=f"Grade by human seconds. {told}",
        is_scatter=False,
        left_out=len(groups) - len(drawn),
    )


def _scatter(cast: Cast) -> ScoreChart | None:
    arms = [a for a in cast.arms if None not in (number(a.get("grade")), number(a.get("human_seconds")))]
    if len(arms) < 2:
        return None
    x = Axis.holding([0.0, *(float(arm["human_seconds"]) / 3600 for arm in arms)])
    base = cast.base()
    y = _upright(arms, base)
    places = _side_by_side([x.share(float(arm["human_seconds"]) / 3600) for arm in arms])
    named = _named(
        arms, cast, [(place, y.share(float(a["grade"]))) for a, place in zip(arms, places, strict=True)]
    )
    scores = [
        Score(
            name=str(arm["arm"]),
            colour=6 if (control := bool(arm.get("is_control") or str(arm["arm"]) in cast.roles)) else 0,
            is_control=control,
            line="",
            band="",
            points=[_point(arm, f"{100 * place:.2f}%", y)],
            at=100 * (1 - y.share(float(arm["grade"]))),
            label=str(arm["arm"]) if str(arm["arm"]) in named else "",
        )
        for arm, place in zip(arms, places, strict=True)
    ]
    return ScoreChart(
        across="human hours",
        x=x,
        y=y,
        scores=scores,
        base=None if base is None else _down(y, base),
        label="Grade by human hours of every arm; the numbers stand in the table of arms.",
        is_scatter=True,
    )


def _side_by_side(places: Sequence[float]) -> list[float]:
    """Places across, of arms the highest first: those that would lie on one another stand beside each other.

    In each bunch the highest is at the right, so that its name finds room at its left.
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    bunches: list[list[int]] = []
    for i in order:
        if bunches and places[i] - places[bunches[-1][-1]] < _NEAR:
            bunches[-1].append(i)
        else:
            bunches.append([i])
    moved = list(places)
    for bunch in bunches:
        step = min(_NEAR, _WIDEST / len(bunch))
        middle = sum(places[i] for i in bunch) / len(bunch)
        left = min(max(middle - step * (len(bunch) - 1) / 2, 0.02), 0.98 - step * (len(bunch) - 1))
        for rank, i in enumerate(sorted(bunch, reverse=True)):
            moved[i] = left + step * rank if len(bunch) > 1 else places[i]
    return moved


def _named(arms: Sequence[Json], cast: Cast, places: Sequence[tuple[float, float]]) -> set[str]:
    """Arms whose names find room beside their points, the telling ones first."""
    taken: list[tuple[float, float]] = []
    found = set()
    at = {str(arm["arm"]): place for arm, place in zip(arms, places, strict=True)}
    for name in (name for name in cast.shown if name in at):
        if all(abs(at[name][1] - b) > _GAP or abs(at[name][0] - a) > 0.4 for a, b in taken):
            taken.append(at[name])
            found.add(name)
    return found


def _upright(arms: Iterable[Json], base: float | None) -> Axis:
    values = [number(arm.get(key)) for arm in arms for key in ("grade", "low", "high")]
    return Axis.holding([value for value in (*values, base) if value is not None])


def _point(arm: Json, x: str, y: Axis) -> Point:
    low, high = number(arm.get("low")), number(arm.get("high"))
    reach = None if low is None or high is None else (_down(y, low), _down(y, high))
    budget = f"{plain(arm['budget'], 0)} s, " if number(arm.get("budget")) is not None else ""
    tip = f"{arm['arm']}: {estimate(arm)}; {budget}{hours(arm.get('human_seconds'))} human hours"
    return Point(x, _down(y, float(arm["grade"])), reach, tip, str(arm["arm"]))


def _down(axis: Axis, value: float) -> str:
    return f"{100 * (1 - axis.share(value)):.2f}%"


def _path(places: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{BOX * a:.1f} {BOX * (1 - b):.1f}" for a, b in places)


def _band(arms: Sequence[Json], x: Axis, y: Axis) -> str:
    """The intervals joined to one area; empty where an arm has none."""
    ends = [(number(arm.get("low")), number(arm.get("high"))) for arm in arms]
    if any(None in pair for pair in ends):
        return ""
    across = [x.share(float(arm["budget"])) for arm in arms]
    lows = [(a, y.share(low or 0.0)) for a, (low, _) in zip(across, ends, strict=True)]
    highs = [(a, y.share(high or 0.0)) for a, (_, high) in zip(across, ends, strict=True)]
    return _path([*lows, *reversed(highs)]) + "Z"


def _spread(places: Sequence[float]) -> list[float]:
    """The same places moved apart until no two are nearer than the gap, in the same order."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    for before, i in itertools.pairwise(order):
        moved[i] = max(moved[i], moved[before] + _GAP)
    top = 1.02
    for i in reversed(order):
        moved[i] = min(moved[i], top)
        top = moved[i] - _GAP
    return moved
