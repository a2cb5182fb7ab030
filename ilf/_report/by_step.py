"""A column of training logs over the steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ilf._report.axis import Axis
from ilf._report.chart import BOX, POINTS, SPOTS, Chart, Line, Spot, axis, figure, label, path
from ilf._report.series import Cells, Log, Series, series


def step_chart(
    column: str, title: str, about: str, arms: Mapping[str, Sequence[Log]], peaks: Mapping[str, float]
) -> Chart | None:
    """A column by step over all arms, None where no log has it; ``peaks``: the steps of the best grades."""
    drawn = {name: one.thinned(POINTS) for name, logs in arms.items() if (one := series(logs, column)).seeds}
    if not drawn:
        return None
    # One scale of steps for all charts of a page: a column that begins late does not begin at the left.
    every = [number for logs in arms.values() for number in series(logs, "step").values.flat]
    x = axis(np.array(every))
    y = axis(np.concatenate([one.values.ravel() for one in drawn.values()]))
    index = {name: at for at, name in enumerate(arms)}
    lines = [
        line for name, one in drawn.items() for line in _lines(one.steps, one.values, index[name], (x, y))
    ]
    return Chart(
        title=title,
        about=about,
        across="step",
        x=x,
        y=y,
        lines=sorted(lines, key=lambda line: line.is_mean),
        label=label(title, "step", {name: (one.steps, one.mean) for name, one in drawn.items()}),
        turns=[
            (f"M{BOX * x.share(step):.1f} 0V{BOX:.0f}", index[n]) for n, step in peaks.items() if n in drawn
        ],
        spots=_spots(drawn, x),
    )


def _lines(xs: Cells, values: Cells, arm: int, axes: tuple[Axis, Axis]) -> Iterable[Line]:
    if len(values) > 1:
        yield from (Line(path(xs, own, axes), arm, is_mean=False) for own in values)
    yield Line(path(xs, values.mean(axis=0), axes), arm, is_mean=True)


def _spots(drawn: Mapping[str, Series], x: Axis) -> list[Spot]:
    """Strips around at most so many steps, each with every arm's mean there and the range of its seeds."""
    steps = np.unique(np.concatenate([one.steps for one in drawn.values()]))
    chosen = steps[np.unique(np.linspace(0, len(steps) - 1, min(SPOTS, len(steps))).round().astype(int))]
    middles = (chosen[1:] + chosen[:-1]) / 2
    edges = [0.0, *(BOX * x.share(value) for value in middles), BOX]
    return [
        Spot(left, right - left, "\n".join([f"step {step:g}", *_told(drawn, step)]))
        for step, left, right in zip(chosen, edges, edges[1:], strict=False)
    ]


def _told(drawn: Mapping[str, Series], step: float) -> Iterable[str]:
    for name, one in drawn.items():
        at = int(np.abs(one.steps - step).argmin())
        known = one.values[:, at][np.isfinite(one.values[:, at])]
        if one.steps[at] != step or not len(known):
            continue
        spread = (
            f" ({figure(known.min())} to {figure(known.max())}, {len(known)} seeds)" if len(known) > 1 else ""
        )
        yield f"{name}: {figure(known.mean())}{spread}"
