"""What the answer may claim: only what beats every control it has to, and otherwise what was not shown."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from result_page import HOSTILE, Page, a_full_result, contrast, poisoned

from ilf import report
from ilf._report.markdown import escaped
from ilf._report.sentences import warnings
from ilf._report.telling import Cast

BEST = "ilf_fixpoint@200000"


def arm_of(result: dict[str, Any], name: str = BEST) -> dict[str, Any]:
    return next(arm for arm in result["arms"] if arm["arm"] == name)


def the_result(**change: Any) -> dict[str, Any]:
    """A result in which one arm was tried at the highest budget, beside its controls."""
    result = a_full_result(**change)
    controls = {row["arm"] for row in result["controls"]}
    result["arms"] = [arm for arm in result["arms"] if arm["arm"] in {BEST, *controls}]
    return result


def level(result: dict[str, Any], control: str) -> dict[str, Any]:
    """The same result, in which the best arm is not told apart from a control."""
    result = copy.deepcopy(result)
    names = result["beaten"]["arms"]
    a, b = names.index(BEST), names.index(control)
    for x, y in ((a, b), (b, a)):
        result["beaten"]["p_holm"][x][y] = 0.3
    return result


def test_feedback_paid_where_it_beats_every_control_it_has_to() -> None:
    assert report.headline(a_full_result())[0] == (
        "In this closed world feedback was worth paying for: ilf_fixpoint@200000 (55.6 human hours) reaches 0.880, "
        "+0.390 [+0.370, +0.410] above the base; it also beats the loop told nothing (+0.280 [+0.260, "
        "+0.300]), and at the same human hours critiques in the prompt (+0.380, p = 0.001) and one instruction "
        "made from critiques (+0.360, p = 0.001)."
    )
    assert report.headline(a_full_result(world_note=""))[0].startswith("Feedback was worth paying for: ")


@pytest.mark.parametrize(
    ("control", "said"),
    [
        ("critiques_in_context@200000", "critiques in the prompt (+0.380, p = 0.300)"),
        ("prompt_from_critiques@200000", "one instruction made from critiques (+0.360, p = 0.300)"),
    ],
)
def test_it_is_not_claimed_beside_critiques_used_without_training(control: str, said: str) -> None:
    answer = report.headline(level(the_result(), control))[0]
    assert "was worth paying for" not in answer
    assert "it is not shown that the feedback was worth its price" in answer
    assert f"but is not shown to be above {said}" in answer


def test_it_is_not_claimed_beside_the_loop_told_nothing_and_says_what_could_have_been_seen() -> None:
    result = the_result()
    arm_of(result)["vs_free"] = contrast(0.01, control="no_feedback", mde=0.03)
    answer = report.headline(result)[0]
    assert "was worth paying for" not in answer
    assert "the loop told nothing (+0.010 [-0.010, +0.030]; could have seen 0.030)" in answer


def test_of_an_interval_without_0_the_corrected_p_says_why_it_is_not_shown() -> None:
    """Beside an interval that leaves out 0, "could have seen 0.030" would contradict "not shown"."""
    result = the_result()
    arm_of(result)["vs_free"] = contrast(0.1, control="no_feedback", mde=0.03, p_holm=0.061)
    answer = report.headline(result)[0]
    assert "the loop told nothing (+0.100 [+0.080, +0.120]; but p corrected for all arms is 0.061)" in answer
    assert "could have seen" not in answer
    flag = {"kind": "nothing_bought", "arm": BEST, "contrast": arm_of(result)["vs_free"]}
    ((_, warned),) = warnings({**result, "flags": [flag]})
    assert "not above no_feedback (+0.100 [+0.080, +0.120], but p corrected for all arms is 0.061);" in warned


def test_it_is_not_claimed_beside_its_own_control() -> None:
    """The loop without feedback under the same ranker is stricter than that under any."""
    result = the_result()
    arm_of(result)["vs"] = contrast(0.3, control="no_feedback_fixpoint")
    answer = report.headline(result)[0]
    assert (
        "it also beats its control no_feedback_fixpoint (+0.300 [+0.280, +0.320]), the loop told nothing"
        in answer
    )
    arm_of(result)["vs"] = contrast(0.01, control="no_feedback_fixpoint", mde=0.04)
    answer = report.headline(result)[0]
    assert "was worth paying for" not in answer
    assert (
        "not shown to be above its control no_feedback_fixpoint (+0.010 [-0.010, +0.030]; could have seen"
        in answer
    )


def test_a_control_that_was_switched_off_is_no_control_that_was_beaten() -> None:
    result = the_result()
    result["controls"] = [c for c in result["controls"] if c["control"] != "critiques_in_context"]
    result["controls"].append(
        {"control": "critiques_in_context", "what": "", "arm": None, "reason": "switched off"}
    )
    answer = report.headline(result)[0]
    assert "was worth paying for" not in answer
    assert "but is not compared with critiques in the prompt (switched off)" in answer


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (contrast(0.01, control="base", mde=0.03), "+0.010 [-0.010, +0.030] from the base; this design could have seen 0.030."),
        (contrast(0.01, control="base", mde=0.03, same=True), "is shown to be the same as the base within 0.05"),
        (contrast(0.05, control="base", p_holm=0.2), "no arm that people were paid for is shown to beat the base"),
        (contrast(-0.2, control="base"), "no arm that people were paid for is shown to beat the base"),
        (contrast(None, control="base"), "its difference to the base was not measured"),
    ],
)  # fmt: skip
def test_where_the_base_is_not_beaten_that_is_the_answer(found: dict[str, Any], said: str) -> None:
    result = the_result()
    arm_of(result)["vs_base"] = found
    answer = report.headline(result)[0]
    assert answer.startswith(
        "In this closed world no arm that people were paid for is shown to beat the base."
    )
    assert said in answer
    assert ("the same as the base" in answer) == (found.get("same") is True)


def test_a_model_that_does_not_read_critiques_in_its_prompt_is_called_one() -> None:
    result = a_full_result()
    said = " ".join(report.headline(result))
    assert "this model was not seen to use critiques in its prompt" in said
    arm_of(result, "critiques_in_context@200000")["vs"] = contrast(0.2, control="cued")
    said = " ".join(report.headline(result))
    assert "not seen to use critiques" not in said
    assert "The model does use critiques in its prompt: +0.200 [+0.180, +0.220] above cued" in said


def test_an_arm_below_the_highest_may_be_the_answer_and_the_others_are_told() -> None:
    result = level(a_full_result(), "critiques_in_context@200000")
    answer, others = report.headline(result)[:2]
    assert "feedback was worth paying for: dpo@200000 (55.6 human hours) reaches 0.800" in answer
    assert others == (
        "Of the others that people were paid for, so does ppo@200000 (0.700); ilf_fixpoint@200000 (0.880) is not "
        "shown to beat critiques in the prompt; innocent@200000 (0.600) is not shown to beat the loop told nothing."
    )


def test_no_arm_is_said_to_beat_the_base_only_if_none_does() -> None:
    result = the_result()
    other = copy.deepcopy(arm_of(result))
    result["arms"].append(
        {**other, "arm": "other", "grade": 0.8, "vs_free": contrast(0.0, control="no_feedback")}
    )
    arm_of(result)["vs_base"] = contrast(0.05, control="base", p_holm=0.2)
    answer = report.headline(result)[0]
    assert "the highest arm is not shown to beat the base, though other is (+0.390" in answer
    assert "the interval leaves out 0, but p corrected for all arms is 0.200" in answer


def test_arms_that_cannot_be_told_apart_are_named() -> None:
    result = a_full_result()
    assert f"{BEST} is told apart from every other arm that was tried." in report.headline(result)
    result["beaten"]["groups"].append([BEST, "dpo@200000"])
    assert any("not told apart from dpo@200000" in sentence for sentence in report.headline(result))


def test_while_people_still_annotate_there_is_no_verdict() -> None:
    result = a_full_result(
        looks={"step": "collect", "now": 0.3, "planned": 1.0}, flags=[], beaten=None, worth=[]
    )
    for arm in result["arms"]:
        for key in ("vs", "vs_base", "vs_free"):
            if arm.get(key):
                arm[key] |= {"p": None, "p_holm": None, "same": None, "mde": None, "early": True}
    said = report.headline(result)
    assert said[0] == (
        "Estimates only, no verdict before the planned answers are in: step 'collect' has 30% of its answers, "
        "100% were planned."
    )
    assert "ilf_fixpoint@200000 0.880 [0.860, 0.900]" in said[1]
    html = report.render(result)
    assert "worth paying" not in html
    assert 'class="v more"><span' not in html  # no arm is marked as above another
    assert "no verdict before all answers are in" in html


def test_a_broken_arm_under_an_innocent_name_is_called_out_everywhere() -> None:
    result = a_full_result()
    said = dict(warnings(result))["nothing_bought"]
    assert said.startswith("innocent@200000: nothing is shown to have been bought by 55.6 human hours.")
    assert "(0.000 [-0.020, +0.020], could have seen 0.030)" in said
    page, text = Page(report.render(result)).text.replace("\u2212", "-"), report.terminal(result, 4000)
    for _, sentence in warnings(result):
        assert sentence in page
        assert f"! {sentence}" in text
        assert escaped(sentence) in report.markdown(result)
    assert page.index("nothing is shown to have been bought") < page.index("Grade of every arm")


def test_the_telling_arms_come_first_and_no_more_than_one_can_read() -> None:
    result = a_full_result()
    for i in range(200):
        result["arms"].append({**arm_of(result, "dpo@200000"), "arm": f"more{i}", "of": f"more{i}"})
    tried, controls = Cast(result).telling
    assert len(tried) <= 7
    assert tried[0]["arm"] == BEST
    assert [arm["arm"] for arm in controls] == [
        "base", "own_outputs", "no_feedback", "shuffled@200000", "critiques_in_context@200000",
        "prompt_from_critiques@200000",
    ]  # fmt: skip
    html = report.render(result)
    assert "214 more arms" not in html
    assert f"{len(result['arms']) - len(tried) - len(controls)} more arms</summary>" in html


# --- for a pull request


def test_the_summary_has_the_answer_the_warnings_the_comparisons_and_the_command() -> None:
    result = a_full_result()
    said = report.markdown(result)
    assert f"**{escaped(report.headline(result)[0])}**" in said
    assert said.count("\n| ") > 20
    assert "| dpo@\u200b200000 | 0.800 \\[0.780, 0.820] | no\\_feedback | \u25b2 +0.200" in said
    assert f"| {escaped(BEST)} | 0.880" not in said  # its comparison was not planned
    assert f"not planned: {escaped(BEST)}" in said
    assert f"{escaped(BEST)} samples 64 texts for every answer" in said
    assert said.rstrip().endswith("```sh\nilf compare nano\n```")
    assert report.markdown(result) == said


def test_no_text_of_a_row_is_markup_in_the_summary() -> None:
    harm = (
        HOSTILE + " | a | b |\n\n# head @everyone #12 https://x.invalid www.x.invalid [a](b) ![i](j) ```\n- x"
    )
    result = a_full_result()
    said = report.markdown(poisoned({**result, "command": "ilf compare\n```\n# x", "about": harm}))
    harmless = report.markdown(result)
    lines = [line for line in said.splitlines() if line.startswith("|")]
    assert len(lines) == len([line for line in harmless.splitlines() if line.startswith("|")])
    bars = [line.replace("\\|", "").count("|") for line in lines]
    assert set(bars) <= {9, 4}
    body = said.partition("Run it again")[0]
    for word in ("<script", "[a]", "<img", "<b"):
        assert not re.search(r"(?<!\\)" + re.escape(word), body), word
    for text in ("@everyone", "#12", "https://x.invalid", "www.x.invalid"):
        assert text not in escaped(harm)
    assert "````sh" in said  # a fence that the command's own cannot close


def test_markdown_of_an_empty_result_is_a_heading() -> None:
    assert report.markdown({"recipe": "nano"}) == "### nano\n"
