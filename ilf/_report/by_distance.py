"""A column of training logs over the square root of KL, the distance from the reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ilf._report.axis import Axis
from ilf._report.chart import POINTS, SPOTS, Chart, Dot, Line, axis, figure, label, path, place
from ilf._report.series import Cells, Log, Series, shared, smoothed


def distance_chart(
    column: str, title: str, about: str, arms: Mapping[str, Sequence[Log]], peaks: Mapping[str, float]
) -> Chart | None:
    """A column against the square root of KL (Gao et al. 2022, figure 1); None where no log has both.

    The thick line joins means over seeds of both, each averaged over about a tenth of the steps. An estimate
    of KL below 0 stands at 0.
    """
    found = {name: pair for name, logs in arms.items() if (pair := _distances(logs, column)) is not None}
    if not found:
        return None
    means = {name: _mean_path(*pair) for name, pair in found.items()}
    axes = (
        axis(np.concatenate([distances.values.ravel() for distances, _ in found.values()])),
        axis(np.concatenate([one.values.ravel() for _, one in found.values()])),
    )
    lines: list[Line] = []
    dots: list[Dot] = []
    for arm, name in enumerate(arms):
        if name in found:
            lines += _lines(arm, found[name], means[name], axes)
            dots += _dots(name, arm, means[name], axes, peaks.get(name))
    return Chart(
        title=title,
        about=about,
        across="square root of KL",
        x=axes[0],
        y=axes[1],
        lines=sorted(lines, key=lambda line: line.is_mean),
        label=label(title, "square root of KL", {name: mean[1:] for name, mean in means.items()}),
        dots=dots,
    )


def _distances(logs: Sequence[Log], column: str) -> tuple[Series, Series] | None:
    """The square root of KL and the column, at the steps and seeds that have both."""
    kl, other = shared(logs, "kl", column)
    if not np.isfinite(kl.values).any():
        return None
    return Series(kl.steps, np.sqrt(np.maximum(kl.values, 0.0)), kl.seeds), other


def _mean_path(distances: Series, one: Series) -> tuple[Cells, Cells, Cells]:
    """(steps, mean distance, mean value) at the steps that all seeds have, averaged over a tenth of them."""
    whole = np.isfinite(distances.mean) & np.isfinite(one.mean)
    window = 2 * (int(whole.sum()) // 20) + 1
    x, y = (smoothed(each.mean[whole], window) for each in (distances, one))
    size = max(-(-int(whole.sum()) // POINTS), 1)
    return one.steps[whole][::size], x[::size], y[::size]


def _lines(
    arm: int, found: tuple[Series, Series], mean: tuple[Cells, Cells, Cells], axes: tuple[Axis, Axis]
) -> Iterable[Line]:
    distances, one = (each.thinned(POINTS) for each in found)
    if len(one.seeds) > 1:
        for xs, ys in zip(distances.values, one.values, strict=True):
            yield Line(path(xs, ys, axes), arm, is_mean=False)
    yield Line(path(mean[1], mean[2], axes), arm, is_mean=True)


def _dots(
    name: str, arm: int, mean: tuple[Cells, Cells, Cells], axes: tuple[Axis, Axis], peak: float | None
) -> Iterable[Dot]:
    """At most so many points of a mean line to point at; the best step and the last one are seen."""
    steps, xs, ys = mean
    if not len(steps):
        return
    kinds = dict.fromkeys(np.linspace(0, len(steps) - 1, min(SPOTS, len(steps))).round().astype(int), "step")
    if peak is not None:
        kinds[int(np.abs(steps - peak).argmin())] = "peak"
    kinds[len(steps) - 1] = "last"
    for at, kind in kinds.items():
        tip = f"{name}, step {steps[at]:g}: {figure(ys[at])} at a square root of KL of {figure(xs[at])}"
        yield Dot(f"M{place(xs[at], ys[at], axes)}h0", arm, kind, tip)
