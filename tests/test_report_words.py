"""Numbers as text, the sentences made from them, and the terminal that says the same as the page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from result_page import Page, a_result, an_arm, contrast, poisoned_result, worth_row

from ilf import report
from ilf._report import figures, sentences


def test_the_terminal_shows_no_control_character() -> None:
    text = report.terminal(poisoned_result())
    assert all(character.isprintable() or character == "\n" for character in text)


def test_unknown_numbers_are_named_with_their_reason_and_never_zero() -> None:
    page = Page(report.render(a_result())).text
    assert "not measured: the reward was not finite" in page
    assert "not measured: needs model=" in page
    text = report.terminal(a_result())
    assert re.search(r"^ppo +- +- +- ", text, re.MULTILINE)
    assert "ppo: the reward was not finite" in text
    assert "judge: needs model=" in text
    assert (
        figures.estimate({"grade": 0.5, "reason": "only one prompt"})
        == "0.500 [no interval: only one prompt]"
    )
    assert figures.estimate({"grade": float("nan")}) == "not measured"


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        (figures.plain, 0.7384, "0.738"),
        (figures.plain, None, "-"),
        (figures.plain, True, "-"),
        (figures.plain, "0.7", "-"),
        (figures.plain, float("inf"), "-"),
        (figures.signed, 0.1451, "+0.145"),
        (figures.signed, -0.0001, "0.000"),
        (figures.probability, 0.00099, "<0.001"),
        (figures.probability, 0.001, "0.001"),
        (figures.hours, 18_250, "5.1"),
        (figures.hours, 0, "0"),
    ],
)
def test_numbers_as_text(form: Any, value: object, expected: str) -> None:
    assert form(value) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (contrast(0.1), "more"),
        (contrast(-0.1), "less"),
        (contrast(0.01), "none"),
        ({"difference": 0.1, "low": 0.0, "high": 0.2, "p": 0.05}, "none"),
        ({**contrast(0.1), "p": 0.06}, "unsettled"),
        ({**contrast(0.1), "p_holm": 0.06}, "unsettled"),
        ({**contrast(0.1), "p": None}, "more"),
        (contrast(None), "unknown"),
        ({"difference": 0.1, "low": None, "high": None, "p": None}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_verdict(row: dict[str, Any], expected: str) -> None:
    assert sentences.verdict(row) == expected


def test_the_answer_counts_what_it_claims_and_names_what_it_does_not() -> None:
    answer, shuffled, control, highest = report.headline(a_result())
    assert answer == (
        "In this closed world real feedback adds to the grade with 1 of 2 rankers (each against itself without "
        "feedback, 95 % intervals): chance +0.140 [+0.120, +0.160]. No difference seen with fixpoint +0.010 "
        "[-0.010, +0.030] (could have seen 0.030 or more)."
    )
    assert shuffled == (
        "Over feedback shuffled between rows real feedback adds with 1 of 2 rankers: chance +0.100 "
        "[+0.080, +0.120]. No difference seen with fixpoint -0.010 [-0.030, +0.010]."
    )
    assert control == (
        "The loop with fixpoint reaches 0.888 on real feedback, 0.630 on shuffled feedback, 0.600 without "
        "feedback, 0.480 on its own first outputs (0.490 untrained): the feedback's part is the step from 0.600 "
        "to 0.888."
    )
    assert highest == (
        "The one arm measured that is no control: ilf_fixpoint 0.880 [0.860, 0.900], for 5.1 human hours."
    )


def test_a_loss_and_an_unsettled_difference_are_said() -> None:
    worth = [
        worth_row("a", 0.5, vs_none=contrast(-0.1), vs_shuffled=contrast(0.0)),
        worth_row("b", 0.6, vs_none=contrast(0.05, p_holm=0.2), vs_shuffled=contrast(None)),
    ]
    answer, shuffled, _ = report.headline({"worth": worth})
    assert answer.startswith("Real feedback lowers the grade with 1 of 2 rankers")
    assert "Unsettled (interval without 0, but corrected p of .05 or more): b +0.050" in answer
    assert "Not measured with b." in shuffled
    assert shuffled.endswith("nothing here shows that a critique has to be about its own output.")


def test_a_long_list_names_its_two_ends() -> None:
    worth = [worth_row(name, 0.6, vs_none=contrast(0.1 * i)) for i, name in enumerate("abcde", start=1)]
    answer = report.headline({"worth": worth})[0]
    assert "with all 5 rankers" in answer
    assert "from a +0.100 [+0.080, +0.120] to e +0.500 [+0.480, +0.520]." in answer


def test_without_worth_the_arms_answer() -> None:
    result = {"arms": a_result()["arms"]}
    assert report.headline(result)[0] == (
        "Graded above their control (95 % intervals): 1 of 2 arms: ilf_fixpoint +0.200 [+0.180, +0.220]. "
        "Not measured with ppo."
    )


@pytest.mark.parametrize(("seeds", "said"), [(1, "training variance unknown"), (2, "hardly known"), (3, "")])
def test_few_seeds_are_said(seeds: int, said: str) -> None:
    last = report.headline({"arms": [an_arm("a", 0.5, seeds=seeds)]})[-1]
    assert said in last
    assert ("training variance" in last) == bool(said)


def test_page_and_terminal_say_the_same_sentences() -> None:
    result = a_result()
    page, text = Page(report.render(result)).text, " ".join(report.terminal(result).split())
    for sentence in report.headline(result):
        assert sentence in text
        assert sentence in page.replace("\u2212", "-")
    for shown in (page, text):
        assert "no evidence about people" in shown
        assert "works for people" not in shown


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_keeps_its_width_and_its_columns(width: int) -> None:
    result = a_result()
    result["arms"].append(an_arm("an_arm_with_a_name_that_is_longer_than_any_column_could_be_here", 0.7))
    lines = report.terminal(result, width).splitlines()
    assert max(map(len, lines)) <= width
    table = lines[next(i for i, line in enumerate(lines) if line.startswith("arm (* control)")) :]
    table = table[: next(i for i, line in enumerate(table) if line.startswith("Control:"))]
    names = [line.split()[0] for line in table]
    assert [name for name in names if name in ("base", "sft_initial", "ilf_fixpoint", "ppo")] == [
        "ilf_fixpoint",
        "base",
        "sft_initial",
        "ppo",
    ]
    assert len({len(line) for line in table if line.endswith(("comp s", "1,234"))}) == 1
    assert "base *" in "\n".join(table)
    assert "Control: sft_initial. Hours are people's, comp s is compute; p corrected by Holm." in " ".join(
        lines
    )


def test_arms_are_sorted_by_grade_with_the_unknown_last() -> None:
    rows = [{"grade": None, "n": 1}, {"grade": 0.1}, {"grade": float("nan"), "n": 2}, {"grade": 0.9}]
    ordered = figures.by_grade(rows)
    assert [row.get("grade") for row in ordered[:2]] == [0.9, 0.1]
    assert [row.get("n") for row in ordered[2:]] == [1, 2]
