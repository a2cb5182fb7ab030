"""Best-of-n: every text is the best of its own candidates, and its formulas are what counting gives."""

from __future__ import annotations

import itertools
import logging
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_model
from toys.broken import Broken
from toys.echo import Echo

from ilf.errors import ComponentError, UsageError
from ilf.generators.best_of_n import BestOfN, best_of_k, kl_bound
from ilf.generators.transformers_lm import TransformersLM
from ilf.recipe import Recipe
from rankers import RankerError
from rankers.judge import Judge
from rankers.length import Length
from rankers.likelihood import Likelihood
from rankers.overlap import Overlap
from rankers.similarity_direction import SimilarityDirection

PROMPTS, SEEDS = ["a", "b", "c"], [5, 6, 7]


@dataclass(frozen=True)
class Fixed:
    """A generator of fixed texts, the same for every prompt."""

    texts: tuple[str, ...]

    def generate(self, prompts: Sequence[Any], n: int, seeds: Sequence[int]) -> list[list[str]]:
        return [list(itertools.islice(itertools.cycle(self.texts), n)) for _ in prompts]


@dataclass(frozen=True)
class Table:
    """A ranker with a mark for every text, which notes what it is asked."""

    marks: tuple[tuple[str, float], ...]

    def score(
        self, queries: Sequence[Mapping[str, Any]], candidates: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        assert all(query["prompt"] in PROMPTS and query["critique"] is None for query in queries)
        assert len({query["id"] for query in queries}) == len(queries)
        return [[dict(self.marks)[text] for text in texts] for texts in candidates]


def test_every_text_is_the_best_of_candidates_of_its_own() -> None:
    """Four candidates each: the first text has the generator's samples 0 to 3, the second its samples 4 to 7."""
    generator = Echo(words=("a", "bb", "ccc ccc", "d d d", "e e e e"))
    found = BestOfN(generator, Length(), n=4).generate(PROMPTS, 2, SEEDS)
    for row, drawn in zip(found, generator.generate(PROMPTS, 8, SEEDS), strict=True):
        for text, slate in zip(row, (drawn[:4], drawn[4:]), strict=True):
            assert text in slate
            assert len(text.split()) == max(len(candidate.split()) for candidate in slate)
    shortest = BestOfN(generator, Length(prefer="short"), n=4).generate(PROMPTS, 2, SEEDS)
    assert sum(len(t.split()) for row in shortest for t in row) < sum(
        len(t.split()) for r in found for t in r
    )


def test_best_of_1_is_sampling(tmp_path: Path) -> None:
    """To the byte, and no ranker is asked."""
    generator = TransformersLM(str(tiny_model(tmp_path / "model")), max_new_tokens=10, device="cpu")
    expected = generator.generate(PROMPTS, 3, SEEDS)
    assert len({text for row in expected for text in row}) == 9
    assert BestOfN(generator, Broken(), n=1).generate(PROMPTS, 3, SEEDS) == expected


def test_ties_go_by_seed_and_to_everyone_alike() -> None:
    texts = ("one", "two", "three")
    policy = BestOfN(Fixed(texts), Table(tuple((text, 0.1) for text in texts)), n=3)
    seeds = list(range(900))
    found = [row[0] for row in policy.generate(["a"] * 900, 1, seeds)]
    assert [row[0] for row in policy.generate(["a"] * 900, 1, seeds)] == found
    counts = Counter(found)
    assert set(counts) == set(texts)
    # 300 +- 14: four standard deviations.
    assert all(abs(count - 300) < 57 for count in counts.values()), counts
    # The texts of one row are drawn apart, too.
    assert len(set(policy.generate(["a"], 20, [0])[0])) == 3


def test_texts_that_differ_by_float_noise_tie() -> None:
    """As everywhere where a ranker's marks are compared: after six decimals."""
    policy = BestOfN(Fixed(("one", "two")), Table((("one", 0.1), ("two", 0.1 + 1e-9))), n=2)
    assert len({row[0] for row in policy.generate(["a"] * 40, 1, list(range(40)))}) == 2


@pytest.mark.parametrize(
    ("texts", "marks", "expected"),
    [
        (("", "  \n", "low"), (9.0, 8.0, -3.0), "low"),  # a blank text loses whatever its mark
        (("what", "low", "high"), (math.nan, -2.0, 1.0), "high"),
        (("what", "low", ""), (math.nan, -math.inf, 5.0), "low"),
        (("", " ", "\n"), (1.0, 2.0, 3.0), ""),  # nothing else was drawn
    ],
)
def test_blank_and_unknown_ones_lose(
    texts: tuple[str, ...], marks: tuple[float, ...], expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    policy = BestOfN(Fixed(texts), Table(tuple(zip(texts, marks, strict=True))), n=3)
    with caplog.at_level(logging.WARNING, logger="ilf"):
        assert policy.generate(PROMPTS, 2, SEEDS) == [[expected] * 2] * 3
    assert not caplog.records


def test_slates_without_any_mark_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    texts = (" ", "one", "two", " ", "three", "four")
    marks = tuple((text, 1.0 if text == "four" else math.nan) for text in texts)
    with caplog.at_level(logging.WARNING, logger="ilf"):
        found = BestOfN(Fixed(texts), Table(marks), n=3).generate(PROMPTS, 2, SEEDS)
    assert found == [["one", "four"]] * 3
    assert "no candidate of 3 of 6 texts" in caplog.text


def test_settings_that_cannot_work_are_refused() -> None:
    echo = Echo()
    with pytest.raises(UsageError, match=r"best_of_n.n: 0 must be 1 or more"):
        BestOfN(echo, Length(), n=0)
    with pytest.raises(UsageError, match=r"best_of_n.ranker: Likelihood needs model"):
        BestOfN(echo, Likelihood())
    for ranker in (SimilarityDirection(), Judge(model="x")):
        with pytest.raises(UsageError, match="reads critiques, and a policy has none"):
            BestOfN(echo, ranker)
    assert BestOfN(echo, Judge("x", questions=("{prompt} {refinement}?",), yes=(" Yes",), no=(" No",))).n == 8
    with pytest.raises(UsageError, match="0 completions"):
        BestOfN(echo, Length()).generate(PROMPTS, 0, SEEDS)


def test_what_the_ranker_complains_of_reaches_the_user() -> None:
    class Poor:
        def score(self, queries: Any, candidates: Any) -> list[list[float]]:
            raise RankerError("no model here")

    with pytest.raises(ComponentError, match=r"best_of_n.ranker: no model here"):
        BestOfN(Echo(), Poor()).generate(PROMPTS, 1, SEEDS)
    # There is no first output that a text could be compared with.
    with pytest.raises(ComponentError, match=r"best_of_n.ranker: .*has no output"):
        BestOfN(Echo(), Overlap()).generate(PROMPTS, 1, SEEDS)


def test_a_recipe_names_generator_and_ranker_inside() -> None:
    """And the default of the recipe's other generators is not its own inside."""
    inner = {"name": "transformers_lm", "temperature": 0.7}
    steps = {
        "load": {"n": 4},
        "sample": {
            "n": 2,
            "generator": {"name": "best_of_n", "generator": inner, "ranker": "length", "n": 3},
        },
    }
    [_, sample] = Recipe("best", Path(), {"model": "nano", "world": "nano", "steps": steps}).plan()
    described = sample.spec.settings["generator"].described()
    assert (described["name"], described["n"], sample.spec.settings["n"]) == ("best_of_n", 3, 2)
    assert (described["generator"]["temperature"], described["generator"]["model"]) == (0.7, "nano")
    assert described["ranker"]["name"] == "length"


# --- formulas ---------------------------------------------------------------------------------------------


def exact_kl(probabilities: Sequence[float], n: int) -> float:
    """KL(best of n || sampling) for texts whose reward rises along the list: P(best = i) by counting draws."""
    below = list(itertools.accumulate(probabilities, initial=0.0))
    best = [high**n - low**n for low, high in itertools.pairwise(below)]
    return sum(b * math.log(b / p) for b, p in zip(best, probabilities, strict=True) if b)


@pytest.mark.parametrize("n", [1, 2, 4, 8, 16, 64])
def test_the_kl_bound_holds_and_is_met_where_no_text_comes_twice(n: int) -> None:
    rng = random.Random(n)
    for size in (2, 5, 50):
        weights = [rng.random() for _ in range(size)]
        assert exact_kl([w / sum(weights) for w in weights], n) <= kl_bound(n) + 1e-12
    assert exact_kl([1e-5] * 100_000, n) == pytest.approx(kl_bound(n), abs=2e-3)


def test_the_kl_bound_of_some_n() -> None:
    """What method.md's sources print, in nats."""
    assert kl_bound(1) == 0
    assert [round(kl_bound(n), 2) for n in (4, 8, 16, 64)] == [0.64, 1.20, 1.84, 3.17]
    assert BestOfN(Echo(), Length(), n=16).kl == kl_bound(16)
    with pytest.raises(UsageError, match="1 or more"):
        kl_bound(0)


def by_counting(proxies: Sequence[float], grades: Sequence[float], k: int) -> float:
    """The mean over all subsets of k of the best one's grade, a tie broken by a fair draw."""
    found = []
    for subset in itertools.combinations(range(len(proxies)), k):
        top = max(proxies[i] for i in subset)
        tied = [grades[i] for i in subset if proxies[i] == top]
        found.append(sum(tied) / len(tied))
    return sum(found) / len(found)


@pytest.mark.parametrize("with_ties", [False, True])
def test_best_of_k_is_the_mean_over_all_subsets(with_ties: bool) -> None:
    rng = random.Random(int(with_ties))
    for n in range(1, 8):
        for k in range(1, n + 1):
            proxies = [rng.randrange(3) if with_ties else rng.random() for _ in range(n)]
            grades = [rng.random() for _ in range(n)]
            assert best_of_k(proxies, grades, k) == pytest.approx(by_counting(proxies, grades, k), abs=1e-12)


def test_best_of_1_is_the_mean_and_best_of_all_the_best() -> None:
    proxies, grades = [3.0, 1.0, 2.0], [0.5, 0.0, 1.0]
    assert best_of_k(proxies, grades, 1) == pytest.approx(0.5)
    assert best_of_k(proxies, grades, 3) == 0.5
    many = [float(i) for i in range(3000)]
    assert best_of_k(many, many, 1500) == pytest.approx(1500 / 1501 * 3001 - 1)
    for k in (0, 4):
        with pytest.raises(UsageError, match="from 1 to the number of texts, 3"):
            best_of_k(proxies, grades, k)
