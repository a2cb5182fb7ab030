"""Strengths of arms from verdicts on pairs: Bradley-Terry with Davidson's ties, style taken off if asked.

A verdict says which of two arms' answers to one prompt is better: 1 the first, 0 the second, .5 neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ilf.stats._davidson import Pairs, Places, fit
from ilf.stats._student import t_quantile, t_two_sided_p
from ilf.stats.components import Cells
from ilf.stats.intervals import Interval

#: Counts, or second derivatives, that are worked on at a time.
_CELLS = 1e5


@dataclass(frozen=True)
class Verdicts:
    """Blind verdicts, one a row: prompt, the two arms (counted from 0), outcome 1, .5 or 0.

    ``covariates`` (rows, k) are the first answer's less the second's, named by ``names`` (length, lists,
    headers). ValueError for an impossible row.
    """

    prompt: Places
    first: Places
    second: Places
    outcome: Cells
    covariates: Cells
    names: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        rows: Sequence[tuple[int, int, int, float]],
        covariates: ArrayLike | None = None,
        names: Sequence[str] = (),
    ) -> Verdicts:
        """From (prompt, first arm, second arm, outcome); at least one."""
        table = np.asarray(rows, dtype=np.float64).reshape(-1, 4)
        extra = np.zeros((len(table), 0)) if covariates is None else np.asarray(covariates, dtype=np.float64)
        wrong = np.flatnonzero(~np.isin(table[:, 3], (0.0, 0.5, 1.0)) | (table[:, 1] == table[:, 2]))
        if not len(table) or len(wrong):
            where = f"verdict {wrong[0]} is {tuple(table[wrong[0]])}" if len(wrong) else "there are none"
            raise ValueError(f"verdicts are (prompt, arm, other arm, 1 or .5 or 0): {where}")
        if extra.shape != (len(table), len(names)) or not np.isfinite(extra).all():
            raise ValueError(f"covariates of shape {extra.shape} for {len(table)} verdicts and {list(names)}")
        prompt, first, second = table[:, :3].astype(np.int64).T
        return cls(np.unique(prompt, return_inverse=True)[1], first, second, table[:, 3], extra, tuple(names))

    @property
    def prompts(self) -> int:
        """How many prompts have a verdict."""
        return int(self.prompt.max()) + 1


@dataclass(frozen=True)
class Strengths:
    """``arms``: log odds against the reference, ties apart; ``coefficients``: log odds a standard deviation.

    ``log_tie`` is Davidson's log nu, None without a tie.
    """

    arms: tuple[Interval, ...]
    reference: int
    log_tie: float | None
    coefficients: dict[str, Interval] = field(default_factory=dict)

    def win_probability(self, arm: int, other: int) -> float | None:
        """P(arm beats other | one of them wins), from the strengths."""
        a, b = self.arms[arm].estimate, self.arms[other].estimate
        return None if a is None or b is None else float(1 / (1 + np.exp(b - a)))


def bradley_terry(
    verdicts: Verdicts,
    arms: int,
    generator: np.random.Generator,
    *,
    reference: int = 0,
    draws: int = 400,
    level: float = 0.95,
    ridge: float = 1e-3,
) -> Strengths:
    """Davidson's strengths (1970) with intervals from redrawing prompts, each with all its verdicts.

    s(reference) = 0; ``ridge`` / 2 times the squared parameters is taken off the log likelihood. The interval
    is t times the redrawn standard error: percentiles cover 87-93 % at 12-20 prompts. Covariates enter as
    differences over their standard deviation (style control). An arm that never lost, or never won, has no
    interval. ValueError where no chain of verdicts connects the arms, naming the parts.
    """
    if verdicts.prompts < 2:
        raise ValueError("verdicts of one prompt: no variance between prompts can be estimated")
    n = verdicts.prompts
    pairs, said = _aggregated(verdicts)
    _connected(pairs, arms)
    every = said.counts(np.ones((1, n)))
    whole = fit(pairs, every, arms, reference, ridge)
    found = whole[0]
    redrawn = generator.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)
    errors = _bootstrap(pairs, said, redrawn, whole, (arms, reference, ridge)).std(axis=0, ddof=1)
    quantile = t_quantile((1 + level) / 2, n - 1)
    bounded = _comparable(pairs, every[0], arms, reference)

    def interval(k: int) -> Interval:
        value, error = float(found[k]), float(errors[k])
        if k < arms and not bounded[k]:
            reason = "it won, or lost, every verdict that ties it to the reference: its strength has no bound"
            return Interval(value, prompts=n, reason=reason)
        if error == 0:
            return Interval(value, prompts=n, reason="every prompt says the same: no variance seen")
        return Interval(
            value,
            value - quantile * error,
            value + quantile * error,
            p=t_two_sided_p(value / error, n - 1),
            standard_error=error,
            df=n - 1,
            prompts=n,
        )

    known = tuple(
        Interval(0.0, prompts=n, reason="the reference") if k == reference else interval(k)
        for k in range(arms)
    )
    return Strengths(
        arms=known,
        reference=reference,
        log_tie=float(found[-1]) if (verdicts.outcome == 0.5).any() else None,
        coefficients={name: interval(arms + k) for k, name in enumerate(verdicts.names)},
    )


@dataclass(frozen=True)
class _Said:
    """How often each comparison came out 1, 0, .5 for every prompt.

    ``table`` (prompts, comparisons, 3); or, where a comparison is a verdict of its own, (comparisons, 3) with
    the ``prompt`` of each: a table of both would grow with the square of the prompts.
    """

    table: Cells
    prompt: Places | None = None

    def counts(self, weights: Cells) -> Cells:
        """(data sets, comparisons, 3) where prompts count ``weights`` (data sets, prompts) times."""
        if self.prompt is not None:
            return np.asarray(weights[:, self.prompt, None] * self.table)
        return (weights @ self.table.reshape(len(self.table), -1)).reshape(-1, *self.table.shape[1:])


def _aggregated(verdicts: Verdicts) -> tuple[Pairs, _Said]:
    """The distinct comparisons, and how they came out.

    Without covariates a comparison is a pair of arms; with them it is a row.
    """
    if verdicts.names:
        scale = verdicts.covariates.std(axis=0)
        if not (scale > 0).all():
            flat = [name for name, sd in zip(verdicts.names, scale, strict=True) if not sd > 0]
            raise ValueError(f"covariates that are the same in every verdict say nothing: leave out {flat}")
        pairs = Pairs(verdicts.first, verdicts.second, verdicts.covariates / scale)
        won = verdicts.outcome[:, None]
        return pairs, _Said((won == [1, 0, 0.5]).astype(np.float64), verdicts.prompt)
    low, high = np.minimum(verdicts.first, verdicts.second), np.maximum(verdicts.first, verdicts.second)
    both, index = np.unique(np.stack([low, high]), axis=1, return_inverse=True)
    won = np.where(low == verdicts.first, verdicts.outcome, 1 - verdicts.outcome)
    table = np.zeros((verdicts.prompts, both.shape[1], 3))
    np.add.at(table, (verdicts.prompt, index.ravel(), np.select([won == 1, won == 0], [0, 1], 2)), 1)
    return Pairs(both[0], both[1], np.zeros((both.shape[1], 0))), _Said(table)


def _bootstrap(
    pairs: Pairs, said: _Said, redrawn: Cells, whole: Cells, setting: tuple[int, int, float]
) -> Cells:
    """(draws, parameters), few draws at a time: what they need is small and stays in the cache."""
    size = whole.shape[1]
    step = max(1, int(_CELLS / max(size * size, 3 * len(pairs.first))))
    parts = [
        fit(pairs, said.counts(redrawn[start : start + step]), *setting, start=whole)
        for start in range(0, len(redrawn), step)
    ]
    return np.concatenate(parts)


def _reached(start: int, edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which arms a walk along ``edges`` (from, to) can reach."""
    seen = np.zeros(len(edges), dtype=bool)
    seen[start] = True
    while True:
        more = seen | edges[seen].any(axis=0)
        if (more == seen).all():
            return seen
        seen = more


def _connected(pairs: Pairs, arms: int) -> None:
    edges = np.zeros((arms, arms), dtype=bool)
    edges[pairs.first, pairs.second] = edges[pairs.second, pairs.first] = True
    left, parts = set(range(arms)), []
    while left:
        part = {int(arm) for arm in np.flatnonzero(_reached(min(left), edges))}
        parts.append(sorted(part))
        left -= part
    if len(parts) > 1:
        named = " | ".join(", ".join(map(str, part)) for part in parts)
        raise ValueError(
            f"no verdict connects these parts of the arms: {named}; compare an arm of one with one of another"
        )


def _comparable(pairs: Pairs, counts: Cells, arms: int, reference: int) -> NDArray[np.bool_]:
    """Arms with a finite strength: chains of wins lead from and to the reference (Ford 1957)."""
    beats = np.zeros((arms, arms), dtype=bool)
    won, lost = counts[:, 0] + counts[:, 2] > 0, counts[:, 1] + counts[:, 2] > 0
    beats[pairs.first[won], pairs.second[won]] = True
    beats[pairs.second[lost], pairs.first[lost]] = True
    return _reached(reference, beats) & _reached(reference, beats.T)
