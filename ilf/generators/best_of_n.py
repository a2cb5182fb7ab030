"""Best-of-n: a ranker chooses among a generator's samples, each time that a text is asked for."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ilf.errors import ComponentError, UsageError
from ilf.generators._nested import fits, samples_of
from ilf.protocols import Generator, Prompt, Ranker
from rankers import RankerError, best, missing_model

log = logging.getLogger("ilf")


@dataclass(frozen=True)
class BestOfN:
    """Draws ``n`` texts from another generator for each one asked for, and keeps the ranker's favourite.

    A policy without training (Stiennon et al. 2020, arXiv 2009.01325; ``reward`` is its natural ranker), at
    n times the price of sampling and at most ``kl_bound(n)`` nats from the generator. Ties go by seed; a
    blank text, and one that the ranker cannot score, loses against any other. With ``n`` 1 it is the
    generator itself, and the ranker is never asked.
    """

    generator: Generator
    ranker: Ranker
    n: int = 8

    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuses settings with which nothing can be chosen."""
        if self.n < 1:
            raise UsageError(f"best_of_n.n: {self.n} must be 1 or more.")
        if problem := missing_model(self.ranker):
            raise UsageError(f"best_of_n.ranker: {problem}.")
        if getattr(self.ranker, "needs_critique", False):
            raise UsageError(
                f"best_of_n.ranker: {type(self.ranker).__name__} reads critiques, and a policy has none when "
                "it answers. Use one that reads prompt and text alone, for example reward or length."
            )

    @property
    def samples_per_answer(self) -> float:
        """Texts sampled for each one asked for: n times those of the generator."""
        return self.n * samples_of(self.generator)

    def has_room(self, prompt: Prompt) -> bool:
        """Whether the prompt leaves the generator room for an answer."""
        return fits(self.generator, prompt)

    @property
    def kl(self) -> float:
        """At most how far this policy is from its generator: KL in nats a text."""
        return kl_bound(self.n)

    def generate(self, prompts: Sequence[Prompt], n: int, seeds: Sequence[int]) -> list[list[str]]:
        """``n`` completions per prompt, each the best of ``self.n`` candidates of its own.

        Candidate i of the row is sample i of the generator's row with the same seed. Where the ranker scores
        none of a text's candidates, the first that is not blank stays, which is counted and logged.
        """
        if n < 1:
            raise UsageError(f"best_of_n: {n} completions asked for, must be 1 or more.")
        drawn = self.generator.generate(prompts, n * self.n, seeds)
        if self.n == 1:
            return drawn
        slates = [[row[i : i + self.n] for i in range(0, len(row), self.n)] for row in drawn]
        picks = iter(self._picks(prompts, seeds, slates))
        return [[next(picks) for _ in row] for row in slates]

    def _picks(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], slates: Sequence[Sequence[Sequence[str]]]
    ) -> list[str]:
        """The ranker's favourite of every slate, in their order."""
        queries = [
            {"id": f"{seed}-{i}", "prompt": prompt, "output": None, "critique": None}
            for prompt, seed, row in zip(prompts, seeds, slates, strict=True)
            for i in range(len(row))
        ]
        candidates = [slate for row in slates for slate in row]
        try:
            scores = self.ranker.score(queries, candidates) if queries else []
        except RankerError as error:
            raise ComponentError(f"best_of_n.ranker: {error}") from None
        picks, n_unknown = [], 0
        for query, texts, marks in zip(queries, candidates, scores, strict=True):
            known = [
                None if not text.strip() or math.isnan(mark) else mark
                for text, mark in zip(texts, marks, strict=True)
            ]
            if any(mark is not None for mark in known):
                picks.append(texts[best(known, f"best_of_n {query['id']}").candidate])
            else:
                n_unknown += any(text.strip() for text in texts)
                picks.append(next((text for text in texts if text.strip()), texts[0]))
        if n_unknown:
            log.warning(
                "best_of_n: the ranker scored no candidate of %d of %d texts; the first one was kept",
                n_unknown, len(queries),
            )  # fmt: skip
        return picks


def kl_bound(n: int) -> float:
    """Largest KL(best of n || generator) in nats, log n - (n - 1) / n (Beirami et al. 2024, 2401.01879).

    The KL itself where no text is drawn twice and none ties; less otherwise.
    """
    if n < 1:
        raise UsageError(f"kl_bound: n is {n}, must be 1 or more.")
    return math.log(n) - (n - 1) / n


def best_of_k(proxies: Sequence[float], grades: Sequence[float], k: int) -> float:
    """Mean grade of the text with the highest proxy among k drawn from these n without replacement.

    Unbiased for best-of-k of the policy that the n texts come from (Nakano et al. 2021, arXiv
    2112.09332): texts sorted by proxy, sum over i of C(i - 1, k - 1) / C(n, k) * grade_(i). Texts of equal
    proxies share their mean grade: a tie is broken at random.
    """
    if not 1 <= k <= len(proxies):
        raise UsageError(f"best_of_k: k is {k}, must be from 1 to the number of texts, {len(proxies)}.")
    ordered = sorted(zip(proxies, grades, strict=True), key=lambda pair: pair[0])
    shared = []
    for _, group in itertools.groupby(ordered, key=lambda pair: pair[0]):
        tied = [grade for _, grade in group]
        shared += [math.fsum(tied) / len(tied)] * len(tied)
    subsets = math.comb(len(shared), k)
    return math.fsum(math.comb(i, k - 1) / subsets * grade for i, grade in enumerate(shared))
