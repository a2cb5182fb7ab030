"""The families of components, one verb each. There are no base classes and there is no registry.

A component is one frozen dataclass in a file of its family's folder: its fields are its settings, its
methods its behaviour. The name of the file is its name in a recipe.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

Row = dict[str, Any]
Prompt = str | list[dict[str, str]]
Facts = dict[str, Any]
Grade = dict[str, float | str | None]


@runtime_checkable
class Ranker(Protocol):
    """Scores candidate texts of a query; lives in ``rankers/`` (or ``ilf/rankers/`` where it needs ilf)."""

    def score(
        self, queries: Sequence[Mapping[str, Any]], candidates: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """One float per candidate, higher is better; queries have ``id prompt output critique``."""
        ...


@runtime_checkable
class Generator(Protocol):
    """Writes texts.

    Where it has them: ``samples_per_answer``, a property, is how many texts it samples (at most) for each one
    asked for, 1.0 without it; ``has_room(prompt)`` says whether a prompt leaves room for an answer in the
    model's context, True without it. A generator that holds others reckons theirs in.
    """

    def generate(self, prompts: Sequence[Prompt], n: int, seeds: Sequence[int]) -> list[list[str]]:
        """``n`` completions per prompt; row i depends on ``prompts[i]`` and ``seeds[i]`` alone."""
        ...


@runtime_checkable
class FeedbackSource(Protocol):
    """Where people's words come from; ``jobs``, where it has them, are the jobs that it does."""

    def price(self, job: str, n_outputs: int) -> float:
        """Seconds that one row of a job asks of a person; a ranking of k outputs is k - 1 comparisons."""
        ...

    def push(self, rows: Sequence[Row], job: str, seed: int, folder: Path) -> None:
        """Asks for feedback on the rows; pushing the same rows again asks for nothing twice.

        ``folder`` is where a source may keep what people say, outside all addresses; it need not exist.
        """
        ...

    def pull(self, rows: Sequence[Row], job: str, seed: int, folder: Path) -> Iterator[Row]:
        """One row per annotation (the sample's columns and what was said), in the order of ``rows``.

        Raises Waiting before the first row while people have not answered.
        """
        ...


@runtime_checkable
class Strategy(Protocol):
    """A way to learn from rows; ``needs`` are the columns it reads.

    Where it has it, ``has_weights`` is False if what it writes is text that a generator reads (its setting
    ``memory``) and no model.
    """

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that training reads."""
        ...

    def train(
        self,
        rows: Sequence[Row],
        folder: Path,
        *,
        start: str,
        seed: int,
        probe: Callable[[Sequence[Row]], Mapping[str, float]] | None = None,
    ) -> Iterable[Row]:
        """Trains ``start`` (a model folder or hub id) on rows, writes ``folder/model``, yields log rows.

        Strategies that sample as they train have ``probe`` grade rows with a sampled ``output`` for the log;
        nothing is learnt from it.
        """
        ...


@runtime_checkable
class Grader(Protocol):
    """Judges outputs for the report; nothing is ever trained on a grade."""

    def grade(self, rows: Sequence[Row]) -> list[Grade]:
        """One dict per row for its ``output``: ``grade`` in [0, 1] and named parts.

        An unknown value is None, and then ``reason`` says why.
        """
        ...


@runtime_checkable
class Selector(Protocol):
    """Says which rows people should look at first; ``needs`` are the columns it reads, none where by lot."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that are read besides ``id``."""
        ...

    def order(self, rows: Sequence[Row], n: int, seed: int) -> list[tuple[int, float | None]]:
        """The ``n`` most wanted rows, most wanted first: the index of each, and its score or None.

        A higher score is more wanted. For a smaller ``n`` it is the beginning of the same list; the order of
        ``rows`` does not matter. ``n`` is at most the number of rows.
        """
        ...


@runtime_checkable
class World(Protocol):
    """A closed world with ground truth: what can be asked, how it goes wrong, what people would say."""

    @property
    def splits(self) -> Mapping[str, str]:
        """Name of every split and one line on what it holds out."""
        ...

    @property
    def prices(self) -> Mapping[str, float]:
        """Seconds of a person for a ``critique``, a ``comparison`` and a ``demonstration``."""
        ...

    def facts(self, rng: random.Random, split: str) -> Facts:
        """Draws what is true; JSON-serialisable, with all that ``prompt`` needs (its wording included)."""
        ...

    def prompt(self, facts: Facts) -> str:
        """The text that the model is asked to complete."""
        ...

    def faulty(self, rng: random.Random, facts: Facts) -> str:
        """A completion with the habits of the noisy web."""
        ...

    def critique(self, rng: random.Random, facts: Facts, output: str, error_rate: float = 0.0) -> str:
        """What the simulated annotator says about an output."""
        ...

    def rank(
        self, rng: random.Random, facts: Facts, outputs: Sequence[str], error_rate: float = 0.0
    ) -> list[list[int]]:
        """Groups of indices into ``outputs``, best first; those in one group are tied."""
        ...

    def demonstrate(self, rng: random.Random, facts: Facts, error_rate: float = 0.0) -> str:
        """The annotator's own completion."""
        ...

    def twin(self, facts: Facts) -> Facts | None:
        """The same facts with the person's group swapped (for measuring bias), or None."""
        ...

    def group(self, facts: Facts) -> str:
        """The group that ``twin`` swaps, for example "she"; "" in a world without groups."""
        ...

    def grade(self, facts: Facts, output: str) -> Grade:
        """``grade`` in [0, 1], its parts, and ``reason`` where a part is None."""
        ...

    def episodes(self, rng: random.Random) -> Iterator[tuple[str, str]]:
        """Endless (prompt, completion) pairs to pretrain a model on."""
        ...
