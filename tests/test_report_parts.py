"""The parts of the page: changes word by word, scores by seconds, pairs, axes, plan, ledger, several runs."""

from __future__ import annotations

import copy
import itertools
import json
import re
from typing import Any

import pytest
from result_page import BUDGETS, Page, a_full_result, a_result

from ilf import report
from ilf._report.scores import LogAxis, _side_by_side, score_chart
from ilf._report.telling import Cast
from ilf._report.texts import changes
from ilf._report.view import tame

# --- changes


def test_changes_are_of_words_and_put_together_again() -> None:
    assert changes("The cat sat on the mat.", "The dog sat on a mat!") == [
        ("same", "The "),
        ("del", "cat "),
        ("ins", "dog "),
        ("same", "sat on "),
        ("del", "the "),
        ("ins", "a "),
        ("same", "mat"),
        ("del", "."),
        ("ins", "!"),
    ]
    assert changes(" the same\n", "the  same") == [("same", "the  same")]
    assert changes("It danced. Fool.", "It.") == [
        ("same", "It"),
        ("del", " danced"),
        ("same", "."),
        ("del", " Fool."),
    ]
    assert changes("", "new") == [("ins", "new")]
    assert changes("old", "") == [("del", "old")]


@pytest.mark.parametrize("size", [3, 2000])
def test_what_is_left_of_changes_is_the_new_text(size: int) -> None:
    before = " ".join(f"word{i}." if i % 9 == 0 else f"word{i}" for i in range(size))
    after = before.replace("word1 ", "other ").replace("word2", "\u05e9\u05dc\u05d5\u05dd, 2")
    found = changes(before, after)
    assert "".join(text for kind, text in found if kind != "del") == after
    assert {"ins", "del"} <= {kind for kind, _ in found}


def test_the_page_marks_them() -> None:
    result = a_result()
    result["examples"][0]["refinements"] = ["An answer.", "An output."]
    html = report.render(result)
    assert "An <del>output</del><ins>answer</ins>." in html
    assert 'An output. <span class="tag">unchanged</span>' in html


# --- scores


def test_budgets_make_curves_and_controls_are_dashed() -> None:
    chart = score_chart(Cast(a_full_result()))
    assert chart is not None
    assert not chart.is_scatter
    assert [score.name for score in chart.scores if score.is_control] == [
        "shuffled", "critiques_in_context", "prompt_from_critiques",
    ]  # fmt: skip
    assert all(len(score.points) == len(BUDGETS) for score in chart.scores)
    assert "200,000 s, 55.6 human hours" in chart.scores[0].points[-1].tip
    ends = sorted(score.at for score in chart.scores)
    assert min(b - a for a, b in itertools.pairwise(ends)) > 6  # names do not lie on one another
    html = report.render(a_full_result())
    assert html.count(' dashed"') == 2 * 3  # in the plot and in the legend
    assert "What more human time buys" in html


def test_equal_factors_are_equal_steps() -> None:
    axis = LogAxis.of(BUDGETS)
    places = [axis.share(budget) for budget in BUDGETS]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1])
    assert [label for _, label in axis.marks] == ["2,000 s", "20,000 s", "200,000 s"]


def test_one_budget_makes_a_scatter_and_none_makes_nothing() -> None:
    chart = score_chart(Cast(a_result()))
    assert chart is not None
    assert chart.is_scatter
    assert {score.name for score in chart.scores} == {"base", "sft_initial", "ilf_fixpoint"}
    assert score_chart(Cast({"arms": a_result()["arms"][:1]})) is None
    assert "What the human time bought" in report.render(a_result())


def test_an_interval_that_is_unknown_draws_no_band() -> None:
    result = a_full_result()
    for arm in result["arms"]:
        if arm["of"] == "ilf_fixpoint":
            arm["low"] = None
    chart = score_chart(Cast(result))
    assert chart is not None
    assert [bool(score.band) for score in chart.scores][:2] == [False, True]


# --- tables


def test_every_pair_is_shown_with_sign_size_and_corrected_p() -> None:
    told = Page(report.render(a_full_result())).text.replace("\u2212", "-").replace("\xa0", " ")
    assert "\u25b2 +0.08p 0.001" in told
    assert "\u25bc -0.08p 0.001" in told
    assert "\u25cb 0.00p 0.400" in told
    assert "All pairs of 24 arms" in told
    assert "Arms that cannot be told apart" in told


def test_axes_say_whether_a_change_is_better_and_what_is_not_measurable() -> None:
    told = " ".join(" ".join(Page(report.render(a_full_result())).words).split())
    assert "0.49 \u2191 0.88 \u2713 better" in told
    assert f"0.49 \u2191 {0.49 + 0.5 * 0.39:.2f} \u2717 worse" in told  # more toxicity
    assert "not measurable: the grader of 'evaluate' has no part 'bias'" in told


def test_an_arm_that_samples_often_says_so() -> None:
    html = report.render(a_full_result())
    assert '64</b><span class="hide">: more than one for every answer at test time' in html
    assert html.count('class="cost many"') == 1


def test_the_plan_says_when_and_what_was_looked_at_afterwards() -> None:
    result = a_full_result()
    told = Page(report.render(result)).text
    assert "It was written before any arm was graded. 1 earlier plan was given up." in told
    assert "When 12 arms were graded: arm dpo was added" in told
    assert "Looked at afterwards" in told
    assert told.count("not planned") >= 3
    result["plan"]["graded_before"] = 5
    assert "when 5 arms (over all seeds) had been graded already" in Page(report.render(result)).text


def test_the_ledger_names_the_method_of_joules_or_why_there_are_none() -> None:
    result = a_full_result()
    told = Page(report.render(result)).text
    assert "72,000 J (20.00 Wh)" in told
    assert "codecarbon, process, RAPL" in told
    del result["ledger"]["energy"]
    assert "not measured" in Page(report.render(result)).text.partition("The ledger")[2][:400]


def test_controls_are_read_beside_the_highest_arm() -> None:
    told = Page(report.render(a_full_result())).text.replace("\u2212", "-")
    assert (
        "ilf_fixpoint@200000: above it (+0.280 [+0.260, +0.300]): people's feedback added something" in told
    )
    assert "not run: switched off" in told


SECTIONS = ("preferences", "beaten", "axes", "ledger", "controls", "plan", "answers", "agreement", "flags")


@pytest.mark.parametrize("key", SECTIONS)
def test_an_absent_key_leaves_its_section_out(key: str) -> None:
    result = a_full_result()
    heading = {
        "preferences": "How often an answer is better", "beaten": "Who beats whom", "axes": "Before and after", "ledger": "The ledger", "plan": "Planned, and looked",
        "controls": "What the controls say", "answers": "what every arm answers", "agreement": "Do the annotators agree?",
        "flags": "Nothing bought",
    }[key]  # fmt: skip
    assert heading in report.render(result)
    del result[key]
    assert heading not in report.render(result)


# --- several runs, and the same bytes


def test_several_runs_make_one_page_with_an_answer_each() -> None:
    result = a_full_result()
    html = report.render([result, a_result()])
    tags = Page(html).tags
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert [tag for tag, _ in tags].count("article") == 2
    told = Page(html).text.replace("\u2212", "-")
    for each in (result, a_result()):
        assert told.count(report.headline(each)[0]) >= 2  # in the list of answers, and in its own part
    for _, attributes in tags:
        if str(attributes.get("href")).startswith("#"):
            assert str(attributes["href"])[1:] in ids


def test_one_result_in_a_list_is_the_page_of_one() -> None:
    assert report.render([a_full_result()]) == report.render(a_full_result())


def test_the_same_result_gives_the_same_bytes() -> None:
    result = a_full_result()
    before = copy.deepcopy(result)
    assert report.render(result) == report.render(json.loads(json.dumps(result)))
    assert result == before


def test_names_cannot_turn_the_direction_of_what_follows() -> None:
    turned: dict[str, Any] = {
        "a\u202e": ["\u2066b"],
        "examples": [{"output": "\u202ec", "scores": {"d\u202e": [1]}}],
    }
    assert tame(turned) == {
        "a\ufffd": ["\ufffdb"],
        "examples": [{"output": "\u202ec", "scores": {"d\ufffd": [1]}}],
    }


def test_every_number_of_the_table_can_be_sorted_by_its_value() -> None:
    html = report.render(a_full_result())
    rows = re.findall(r'<tr role="row" data-arm="([^"]+)">.*?</tr>', html, re.DOTALL)
    assert len(rows) == len(set(rows)) == 24
    assert 'data-v="0.88"' in html
    assert 'data-v="None"' not in html


def test_agreement_is_a_table_with_reasons() -> None:
    page = " ".join(Page(report.render(a_full_result())).text.split())
    assert "0.610 [0.500, 0.700]" in page
    assert "too few" in page
    assert "texts: nothing to count" in page


def test_an_arm_of_many_groups_names_the_first_and_counts_the_rest() -> None:
    """Dozens of letters would make its row of the table of pairs taller than the screen."""
    result = a_full_result()
    first = result["beaten"]["arms"][0]
    result["beaten"]["letters"][first] = " ".join("abcdefgh")
    text = " ".join(Page(report.render(result)).text.split())
    assert "a b c d e and 3 more" in text
    assert "f g h" not in text


def test_arms_at_one_price_stay_near_it() -> None:
    """A bunch is drawn side by side, but not so wide that its points seem to differ in price."""
    places = _side_by_side([0.5] * 40 + [0.9])
    assert max(places[:40]) - min(places[:40]) < 0.12
    assert sum(places[:40]) / 40 == pytest.approx(0.5)
    assert places[40] == 0.9
    assert sorted(places[:40], reverse=True) == places[:40], "the highest at the right"
