"""Rows of pairs: what may stand in them, what is left out, what makes an element, and how sure an accuracy is."""

from __future__ import annotations

import logging
import random
from typing import Any

import numpy as np
import pytest
from tiny_models import tiny_model

from ilf.errors import DataError
from ilf.stats import wilson_interval
from ilf.strategies._encode import Example, encode
from ilf.strategies._pairs import Pair, by_group, informative, pair_accuracy, read_pairs, texts_of
from rankers._lm import LM, load

ROW = {"prompt": "POST: Tom broke it.\nTL;DR:", "chosen": " Tom broke it.", "rejected": " It."}


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> LM:
    return load(str(tiny_model(tmp_path_factory.mktemp("pairs") / "m")), device="cpu")


def pair(chosen: int, rejected: int, *, group: str = "g", **more: Any) -> Pair:
    texts = [Example((1, 2), (n,)) for n in (chosen, rejected)]
    return Pair(
        **{
            "row": 1, "chosen": texts[0], "rejected": texts[1], "margin": 0.0, "is_tied": False, "group": group,
            "is_validation": False, **more,
        }
    )  # fmt: skip


def test_optional_columns_have_defaults(lm: LM) -> None:
    told = {"margin": 0.5, "is_tied": True, "group": "g7", "split": "validation"}
    unknown = dict.fromkeys(told)
    plain, empty, full = read_pairs([ROW, {**ROW, **unknown}, {**ROW, **told}], lm, who="dpo")
    assert (plain.margin, plain.is_tied, plain.is_validation, plain.row) == (0.0, False, False, 1)
    assert plain.chosen == encode(ROW["prompt"], ROW["chosen"], lm)
    assert plain.rejected == encode(ROW["prompt"], ROW["rejected"], lm)
    assert (empty.margin, empty.is_tied, empty.group, empty.is_validation) == (0.0, False, plain.group, False)
    assert (full.margin, full.is_tied, full.group, full.is_validation) == (0.5, True, "g7", True)
    other = read_pairs([ROW, {**ROW, "prompt": "B"}, {**ROW, "chosen": " C"}], lm, who="dpo")
    assert [p.group == other[0].group for p in other] == [True, False, True]


def test_all_that_cannot_be_used_is_named_at_once(lm: LM) -> None:
    rows = [
        ROW,
        {"prompt": "A", "chosen": "x"},
        {**ROW, "chosen": 3, "margin": 1.5},
        {**ROW, "margin": True, "is_tied": "no"},
        {**ROW, "group": 4, "split": "test"},
        {**ROW, "prompt": " "},
    ]
    with pytest.raises(DataError) as refused:
        read_pairs(rows, lm, who="dpo")
    told = str(refused.value)
    for line in (
        "dpo: 8 value(s)", "row 2: has no 'rejected'", "row 3: 'chosen' must be text, is int",
        "row 3: 'margin' is 1.5", "row 4: 'margin' is True", "row 4: 'is_tied' is 'no'", "row 5: 'group' is 4",
        "row 5: 'split' is 'test'", "row 6: 'prompt' is empty",
    ):  # fmt: skip
        assert line in told
    assert "row 1:" not in told


def test_a_prompt_in_both_splits_is_refused(lm: LM) -> None:
    with pytest.raises(DataError, match=r"1 prompt\(s\) have pairs in train and in validation"):
        read_pairs([ROW, {**ROW, "split": "validation"}], lm, who="dpo")
    read_pairs([ROW, {**ROW, "prompt": "B", "split": "validation"}], lm, who="dpo")


def test_what_teaches_nothing_is_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    good, equal, tied = pair(3, 4), pair(5, 5), pair(6, 7, is_tied=True)
    held, held_tie = pair(3, 4, is_validation=True), pair(8, 9, is_validation=True, is_tied=True)
    everything = [good, equal, tied, held, held_tie]
    with caplog.at_level(logging.WARNING, logger="ilf"):
        assert informative(everything, who="dpo") == ([good], [held])
    assert caplog.messages == [
        "dpo: 1 of 5 pairs have equal texts: left out",
        "dpo: 2 of 5 pairs are ties: left out",
    ]
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="ilf"):
        assert informative(everything, who="reward", ties=True) == ([good, tied], [held])
    assert caplog.messages[1] == "reward: 1 of 5 pairs are ties: left out"
    with pytest.raises(DataError, match=r"of 3, 1 have equal texts and 1 are ties.*Sample at a higher"):
        informative([equal, tied, held], who="dpo")


def test_an_element_is_what_was_said_of_a_prompt() -> None:
    first, second = [pair(3, 4), pair(3, 5), pair(4, 5)], [pair(7, 8, group="h")]
    mixed = [first[0], second[0], *first[1:]]
    assert by_group(mixed) == [first, second]
    assert texts_of(first[:2]) == [first[0].chosen, first[0].rejected, first[1].chosen, first[1].rejected]


def test_a_prompt_of_a_thousand_pairs_is_many_elements() -> None:
    """A ranking of nine, the longest that people were asked for, is still one."""
    nine = [pair(i, j) for i in range(9) for j in range(i + 1, 9)]
    assert by_group(nine) == [nine]
    many = [pair(2 * i, 2 * i + 1) for i in range(50)]
    elements = by_group(many)
    assert [p for element in elements for p in element] == many
    assert {len(element) for element in elements[:-1]} == {4}


# --- accuracy ---------------------------------------------------------------------------------------------


def test_accuracy_counts_pairs_and_ties_are_half() -> None:
    found = pair_accuracy([1.0, 0.0, -2.0, 3.0], ["a", "a", "b", "b"])
    assert found["validation_accuracy"] == 2.5 / 4
    assert (found["validation_pairs"], found["validation_prompts"]) == (4, 2)


def test_one_pair_a_prompt_is_a_proportion() -> None:
    found = pair_accuracy([1.0] * 8 + [-1.0] * 2, [str(i) for i in range(10)], prefix="test")
    interval = wilson_interval(8, 10)
    assert (found["test_accuracy_low"], found["test_accuracy_high"]) == (interval.low, interval.high)


def test_pairs_of_a_prompt_that_agree_count_once() -> None:
    """Six copies of every verdict are no more than the verdict: the interval stays as wide as that of prompts."""
    rng = random.Random(0)
    verdicts = [rng.choice((-1.0, 1.0, 1.0)) for _ in range(40)]
    copied = pair_accuracy(
        [v for v in verdicts for _ in range(6)], [str(i) for i in range(40) for _ in range(6)]
    )
    share = sum(v > 0 for v in verdicts) / 40
    half_width = 2.0227 * (share * (1 - share) / 39) ** 0.5  # t at 39 degrees of freedom
    assert copied["validation_accuracy"] == pytest.approx(share)
    assert copied["validation_accuracy_low"] == pytest.approx(share - half_width, abs=1e-3)
    assert copied["validation_accuracy_high"] == pytest.approx(share + half_width, abs=1e-3)


def test_the_interval_covers_what_it_says() -> None:
    """Prompts of 1 to 6 pairs whose difficulty they share: about 95 of 100 intervals hold the true share."""
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        sizes = generator.integers(1, 7, size=60)
        chances = generator.beta(2.8, 1.2, size=60)
        margins = [
            m for n, c in zip(sizes, chances, strict=True) for m in np.where(generator.random(n) < c, 1, -1)
        ]
        groups = [str(i) for i, n in enumerate(sizes) for _ in range(n)]
        found = pair_accuracy([float(m) for m in margins], groups)
        hits += found["validation_accuracy_low"] <= 0.7 <= found["validation_accuracy_high"]
    assert 930 <= hits <= 970


def test_where_there_is_no_interval_it_says_why() -> None:
    alone = pair_accuracy([1.0, -1.0], ["a", "a"])
    assert (alone["validation_accuracy"], alone["validation_accuracy_low"]) == (0.5, None)
    assert "only one prompt" in str(alone["validation_reason"])
    assert "validation_reason" not in pair_accuracy([1.0, -1.0], ["a", "b"])
    assert pair_accuracy([], [])["validation_accuracy"] is None
