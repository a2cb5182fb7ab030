"""Texts as words: weights by hand, and the nearest as a search over all pairs finds them."""

from __future__ import annotations

import math
import random

import pytest

from rankers._words import Words, dot, words_of

TEXTS = ["The cat sat.", "the CAT, the mat", "", "A dog", "a dog!"]


def test_words_have_no_case_and_no_punctuation() -> None:
    assert words_of("Don't: SAY 270 coins, Straße…") == ["don", "t", "say", "270", "coins", "strasse"]
    assert words_of("?! \u2028") == []


def test_weights_are_count_times_inverse_document_frequency_of_length_one() -> None:
    """Of five texts two have "the" and "cat", one has "mat": written out."""
    often, once = math.log(6 / 3) + 1, math.log(6 / 2) + 1
    length = math.sqrt((2 * often) ** 2 + often**2 + once**2)
    found = Words(TEXTS).vectors[1]
    assert found == pytest.approx({"the": 2 * often / length, "cat": often / length, "mat": once / length})
    never = math.log(6 / 1) + 1
    assert Words(TEXTS).vector("Mat? Fish!") == pytest.approx(
        {"mat": once / math.hypot(once, never), "fish": never / math.hypot(once, never)}
    )
    assert Words(TEXTS).vector("") == {}


def test_the_nearest_are_those_of_a_search_over_all_and_of_equals_the_first() -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choice("abcdefgh") for _ in range(rng.randrange(6))) for _ in range(60)]
    words = Words(texts)
    for text in [*texts[:10], "a b c", "nothing known", ""]:
        cosines = [round(dot(words.vector(text), vector), 6) for vector in words.vectors]
        expected = sorted(range(60), key=lambda i: (-cosines[i], i))
        assert words.nearest(text, 7) == expected[:7]
        assert words.nearest(text, 100) == expected
    assert Words(TEXTS).nearest("dog", 2) == [3, 4]
    assert Words([]).nearest("dog", 2) == []


def test_rare_words_count_more_than_common_ones() -> None:
    words = Words(["my name is Tom and the lamp broke", "my name is Eva and the kettle broke", "my name is"])
    assert words.nearest("my name is Ida and it was the kettle", 1) == [1]


def test_dot_is_the_sum_over_common_words() -> None:
    one, other = {"a": 0.5, "b": 2.0, "c": 1.0}, {"b": 3.0, "a": 1.0}
    assert dot(one, other) == dot(other, one) == 6.5
    assert dot({}, one) == 0.0
