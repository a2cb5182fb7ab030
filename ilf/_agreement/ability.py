"""How often each person is right, from answers alone: the Dawid-Skene model with one parameter per person.

Nobody knows the right answers. The model takes them as unknown, takes each person to be right with a
probability of their own and else to give each other answer equally often, and finds the probabilities under
which the answers seen are likeliest (EM; Dawid & Skene 1979, "Maximum likelihood estimation of observer
error-rates using the EM algorithm", with the error matrix of a person cut to one number, "one-coin"). The
full matrix has six numbers per person even for a verdict, too many for a few dozen answers. Written out
here because the library that has it (crowd-kit) brings scikit-learn, pandas and nltk for these lines.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Questions that three people must share, each two of them, for their abilities to be told apart.
MIN_SHARED = 20
#: Bootstrap samples: as many as fit into so many cells, between these bounds.
_LEAST_DRAWS, _DRAWS, _MOST_CELLS = 20, 200, 400_000
#: Rounds at most; a fit has come to rest when nobody moves more. A standard error needs less than a figure.
_ROUNDS, _CLOSE, _CLOSE_DRAWS = 1000, 1e-7, 1e-4
#: Nobody is taken to be always right, or always wrong: one slip would rule everything out.
_EDGE = 1e-6

Table = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Said:
    """One answer to a question of a kind; ``value`` is one of 0, 1, .. below the number of answers."""

    unit: Hashable
    """What is redrawn together: all questions about one output."""
    question: Hashable
    kind: Hashable
    person: str
    value: int


@dataclass(frozen=True)
class Ability:
    """Probability of being right, its standard error (None where it cannot be had), and questions shared."""

    right: float
    standard_error: float | None
    questions: int


@dataclass(frozen=True)
class Patterns:
    """Questions of one kind that the same people answered alike are one pattern; all as indices."""

    unit: Indices  # of each question
    pattern: Indices  # of each question
    kind: Indices  # of each pattern
    owner: Indices  # pattern of each entry, rising; an entry is one person's answer in a pattern
    person: Indices  # of each entry
    value: Indices  # of each entry
    people: list[str]
    n_values: int

    def weights(self, drawn: Table) -> Table:
        """How often each pattern occurs (patterns, draws) where units do as in ``drawn`` (units, draws)."""
        found = np.zeros((len(self.kind), drawn.shape[1]))
        np.add.at(found, self.pattern, drawn[self.unit])
        return found


def abilities(said: Sequence[Said], n_values: int, generator: np.random.Generator) -> dict[str, Ability]:
    """Person -> ability, for those whose ability the overlap determines; the standard error redraws units."""
    shared = _shared(said)
    known = _determined(shared, sorted({s.person for s in shared}))
    if not known:
        return {}
    answers = indexed(_shared([s for s in shared if s.person in known]), n_values)
    n_units = int(answers.unit.max()) + 1
    counted = answers.weights(np.ones((n_units, 1)))
    right = fit(answers, counted, np.full((len(answers.people), 1), 0.8))
    draws = int(np.clip(_MOST_CELLS // len(answers.owner), _LEAST_DRAWS, _DRAWS))
    picks = generator.integers(0, n_units, size=(draws, n_units)) + np.arange(draws)[:, None] * n_units
    drawn = np.bincount(picks.ravel(), minlength=draws * n_units).reshape(draws, n_units).T
    weights = answers.weights(drawn.astype(np.float64))
    redone = fit(answers, weights, np.repeat(right, draws, axis=1), _CLOSE_DRAWS)
    errors = redone.std(axis=1, ddof=1)
    counts = np.bincount(answers.person, weights=counted[answers.owner, 0])
    return {
        person: Ability(float(right[i, 0]), float(errors[i]), int(counts[i]))
        for i, person in enumerate(answers.people)
    }


def _shared(said: Sequence[Said]) -> list[Said]:
    """The answers to questions that two people or more answered."""
    people: dict[Hashable, set[str]] = {}
    for s in said:
        people.setdefault(s.question, set()).add(s.person)
    return [s for s in said if len(people[s.question]) > 1]


def _determined(said: Sequence[Said], people: Sequence[str]) -> set[str]:
    """People with two others such that each two of the three share MIN_SHARED units.

    Two people alone only show how often they agree: who of them errs cannot be told.
    """
    index = {person: i for i, person in enumerate(people)}
    units = {unit: i for i, unit in enumerate(dict.fromkeys(s.unit for s in said))}
    judged = np.zeros((len(people), len(units)))
    for s in said:
        judged[index[s.person], units[s.unit]] = 1
    linked = (judged @ judged.T >= MIN_SHARED).astype(np.float64)
    np.fill_diagonal(linked, 0)
    triangles = ((linked @ linked) * linked).sum(axis=1)
    return {person for person, i in index.items() if triangles[i] > 0}


def indexed(said: Sequence[Said], n_values: int) -> Patterns:
    """The answers as patterns."""
    asked: dict[Hashable, tuple[Hashable, Hashable, list[tuple[str, int]]]] = {}
    for s in said:
        asked.setdefault(s.question, (s.unit, s.kind, []))[2].append((s.person, s.value))
    people = sorted({s.person for s in said})
    person = {name: i for i, name in enumerate(people)}
    units: dict[Hashable, int] = {}
    kinds: dict[Hashable, int] = {}
    patterns: dict[tuple[int, tuple[tuple[str, int], ...]], int] = {}
    unit, pattern = [], []
    for name, kind, given in asked.values():
        unit.append(units.setdefault(name, len(units)))
        key = (kinds.setdefault(kind, len(kinds)), tuple(sorted(given)))
        pattern.append(patterns.setdefault(key, len(patterns)))
    entries = [(at, person[who], value) for at, (_, given) in enumerate(patterns) for who, value in given]
    owner, who, value = (np.array(column, dtype=np.int64) for column in zip(*entries, strict=True))
    kind_of = np.array([kind for kind, _ in patterns])
    return Patterns(np.array(unit), np.array(pattern), kind_of, owner, who, value, people, n_values)


def fit(answers: Patterns, weights: Table, start: Table, close: float = _CLOSE) -> Table:
    """Each person's probability of being right (people, draws) from ``weights`` (patterns, draws) by EM.

    Every column of weights is a sample of its own; the first step takes people as they are in ``start``.
    """
    k, n_draws = answers.n_values, weights.shape[1]
    by_person = np.argsort(answers.person, kind="stable")
    starts = np.flatnonzero(np.diff(answers.person[by_person], prepend=-1))
    each = weights[answers.owner]  # (entries, draws)
    total = np.maximum(np.add.reduceat(each[by_person], starts, axis=0), _EDGE)
    right = start
    prior: Table = np.full((int(answers.kind.max()) + 1, k, n_draws), 1 / k)
    for _ in range(_ROUNDS):
        truth = _truth(answers, right, prior)  # (patterns, values, draws)
        hit = truth[answers.owner, answers.value] * each
        after = np.clip(np.add.reduceat(hit[by_person], starts, axis=0) / total, _EDGE, 1 - _EDGE)
        prior = _prior(answers, truth, weights)
        moved = float(np.abs(after - right).max())
        right = after
        if moved < close:
            break
    return right


def _truth(answers: Patterns, right: Table, prior: Table) -> Table:
    """Probability of each value to be the right answer in each pattern (patterns, values, draws)."""
    gain = (np.log(right) - np.log((1 - right) / (answers.n_values - 1)))[answers.person]  # (entries, draws)
    firsts = np.flatnonzero(np.diff(answers.owner, prepend=-1))
    scores = np.log(prior)[answers.kind]
    for value in range(answers.n_values):
        scores[:, value] += np.add.reduceat(np.where((answers.value == value)[:, None], gain, 0.0), firsts)
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    return scores


def _prior(answers: Patterns, truth: Table, weights: Table) -> Table:
    """How often each value is right, for each kind of question (kinds, values, draws)."""
    kinds = range(int(answers.kind.max()) + 1)
    found = [
        (truth[answers.kind == kind] * weights[answers.kind == kind][:, None]).sum(axis=0) for kind in kinds
    ]
    counted = np.stack(found) + _EDGE
    return np.asarray(counted / counted.sum(axis=1, keepdims=True))
