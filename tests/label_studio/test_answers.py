"""What people said is read from the server's results, and nothing that they did not say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilf.label_studio._entries import LONGEST
from ilf.label_studio.answers import FAULTLESS, Answer, read
from ilf.label_studio.jobs import JOBS, order

OUTPUT = "A cat \U0001f600 sat.\r\nIt was a dog."
ROW: dict[str, Any] = {
    "id": "r1",
    "prompt": "Who sat?",
    "output": OUTPUT,
    "outputs": ["first", "second", "third", "fourth"],
    "critique": "It was a dog.",
    "refinements": ["A dog sat.", "Dogs sat."],
}
PAIR = ROW | {"outputs": ["first", "second"]}


def text(name: str, said: Any, to: str = "output", **more: Any) -> dict[str, Any]:
    return {"from_name": name, "to_name": to, "type": "textarea", "value": {"text": said}, **more}


def ticked(name: str, *choices: Any, to: str = "output") -> dict[str, Any]:
    return {"from_name": name, "to_name": to, "type": "choices", "value": {"choices": list(choices)}}


def mark(start: int, end: int, label: str, quoted: str | None = None, name: str = "m1") -> dict[str, Any]:
    quoted = OUTPUT[start:end] if quoted is None else quoted
    value = {"start": start, "end": end, "text": quoted, "labels": [label]}
    return {"from_name": "mark", "to_name": "output", "type": "labels", "id": name, "value": value}


def stars(*given: Any) -> list[dict[str, Any]]:
    return [
        {"from_name": f"place_{i}", "to_name": f"output_{i}", "type": "rating", "value": {"rating": n}}
        for i, n in enumerate(given)
    ]


def rated(**marks: str) -> list[dict[str, Any]]:
    return [ticked(name, value) for name, value in marks.items()]


def row_of(job: str) -> dict[str, Any]:
    return PAIR if job in ("pairwise", "verdict") else ROW


GOOD: dict[str, list[dict[str, Any]]] = {
    "critique": [text("critique", ["No dog is named.", "Say which."]), ticked("faults", "left out", "style")],
    "rank": stars(2, 4, 1, 2),
    "pairwise": [ticked("better", "left", to="left"), text("why", ["clearer"], to="left")],
    "demonstrate": [text("demonstration", ["A dog."], to="prompt")],
    "rate": rated(helpful="4", truthful="1", toxic="1", biased="2"),
    "verdict": [ticked("better", "tie", to="left")],
    "refine": [ticked("decision", "accept", to="refinement")],
}


def usable(job: str, result: list[dict[str, Any]], row: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = read(job, result, row or row_of(job))
    assert (answer.state, answer.reason) == ("usable", None)
    return answer.said


def test_critique_with_marks_remarks_and_kinds() -> None:
    remark = text("remark", ["not a cat"], id="m1")
    remark["value"] |= {"start": 2, "end": 5}
    said = usable("critique", [*GOOD["critique"], mark(6, 7, "good", name="m2"), mark(2, 5, "bad"), remark])
    assert said == {
        "critique": "No dog is named.\nSay which.",
        "is_faultless": False,
        "marks": [
            {"start": 2, "end": 5, "text": "cat", "label": "bad", "remark": "not a cat"},
            {"start": 6, "end": 7, "text": "\U0001f600", "label": "good", "remark": None},
        ],
        "faults": ["left out", "style"],
    }


def test_nothing_to_criticise() -> None:
    said = usable("critique", [ticked("faultless", "yes")])
    assert (said["critique"], said["is_faultless"]) == (FAULTLESS, True)
    assert usable("critique", [ticked("faultless", "yes"), text("critique", ["but"])])["critique"] == "but"


SERVED = [" A dog sat there all day.", " A dog sat."]


@pytest.mark.parametrize(
    ("served", "written", "preferred", "origins"),
    [
        (SERVED, "A dog sat there all day.", " A dog sat there all day.", ["prefilled", "model"]),
        (
            SERVED,
            "A dog sat there all night.",
            " A dog sat there all night.",
            ["model", "model", "prefilled-changed"],
        ),
        (SERVED, "Nobody knows.", " Nobody knows.", ["model", "model", "typed"]),
        ([], "A dog sat there.", " A dog sat there.", ["typed"]),
    ],
)
def test_a_rewrite_that_was_used_on_the_critique_page(
    served: list[str], written: str, preferred: str, origins: list[str]
) -> None:
    result = [*GOOD["critique"], text("rewrite", [written]), ticked("rewrite_decision", "use")]
    said = usable("critique", result, {**ROW, "output": " " + OUTPUT, "refinements": [], "served": served})
    assert (said["preferred"], said["origins"]) == (preferred, origins)
    assert said["refinements"] == list(dict.fromkeys([*served, preferred]))


def test_a_stored_prediction_says_itself_that_it_was_filled_in() -> None:
    for named, origin in (("prediction", "prefilled"), ("prediction-changed", "prefilled-changed")):
        rewrite = text("rewrite", ["A dog."], origin=named)
        said = usable("critique", [*GOOD["critique"], rewrite, ticked("rewrite_decision", "use")])
        assert said["origins"] == ["model", "model", origin]


def test_a_rewrite_that_nobody_chose_is_no_refinement() -> None:
    served = {**ROW, "served": ["x"]}
    for decision in ([], [ticked("rewrite_decision", "ignore")]):
        assert "preferred" not in usable(
            "critique", [*GOOD["critique"], text("rewrite", ["x"]), *decision], served
        )


def test_ranking_by_stars_names_our_outputs_whatever_the_order_on_the_page() -> None:
    shown = order("rank", "r1", 4)
    answer = read("rank", GOOD["rank"], ROW)
    assert answer.said == {"ranking": [[shown[1]], sorted([shown[0], shown[3]]), [shown[2]]], "why": None}
    assert (answer.shown, answer.untouched) == (shown, False)
    assert read("rank", stars(4, 3, 2, 1), ROW).untouched
    assert not read("rank", stars(4, 3, 2, 2), ROW).untouched


@pytest.mark.parametrize("job", ["pairwise", "verdict"])
def test_sides_are_ours_again(job: str) -> None:
    left, right = order(job, "r1", 2)
    for side, ranking in (("left", [[left], [right]]), ("right", [[right], [left]]), ("tie", [[0, 1]])):
        answer = read(job, [ticked("better", side, to="left")], PAIR)
        assert (answer.said["ranking"], answer.shown) == (ranking, [left, right])


def test_a_reason_is_a_critique_of_the_loser() -> None:
    loser = PAIR["outputs"][order("pairwise", "r1", 2)[1]]
    said = usable("pairwise", GOOD["pairwise"])
    assert (said["critique"], said["output"], said["why"]) == ("clearer", loser, "clearer")
    tied = usable("pairwise", [ticked("better", "tie", to="left"), text("why", ["same"], to="left")])
    assert tied["critique"] is None
    assert "output" not in tied
    assert "critique" not in usable("verdict", GOOD["pairwise"])


def test_demonstration_and_ratings() -> None:
    assert usable("demonstrate", GOOD["demonstrate"]) == {"completion": "A dog."}
    # A base model's answer begins with a space: what imitates it does, too.
    assert usable("demonstrate", GOOD["demonstrate"], ROW | {"output": " A cat."}) == {
        "completion": " A dog."
    }
    assert usable("rate", GOOD["rate"]) == {"ratings": {"helpful": 4, "truthful": 1, "toxic": 1, "biased": 2}}


def test_refine() -> None:
    assert usable("refine", GOOD["refine"]) == {
        "decision": "accept",
        "preferred": "A dog sat.",
        "refinements": ["A dog sat.", "Dogs sat."],
        "origins": ["model", "model"],
    }
    edit = ticked("decision", "edit", to="refinement")
    changed = usable("refine", [edit, text("edited", ["A dog sat. It slept."], to="refinement")])
    assert changed["refinements"] == ["A dog sat.", "Dogs sat.", "A dog sat. It slept."]
    assert changed["preferred"] == "A dog sat. It slept."
    assert changed["origins"] == ["model", "model", "prefilled-changed"]
    same = usable("refine", [edit, text("edited", ["A dog sat.\n"], to="refinement")])
    assert (same["preferred"], same["origins"]) == ("A dog sat.", ["prefilled", "model"])
    anew = usable("refine", [edit, text("edited", ["Nobody knows who it was."], to="refinement")])
    assert anew["origins"] == ["model", "model", "typed"]
    again = [ticked("decision", "criticise", to="refinement"), text("critique", ["Where?"], to="refinement")]
    assert usable("refine", again) == {
        "decision": "criticise",
        "critique": "Where?",
        "output": "A dog sat.",
        "preferred": None,
    }


def test_a_broken_emoji_does_not_move_the_marks() -> None:
    row = {**ROW, "output": "\ud83d cat"}
    value = {"start": 0, "end": 5, "text": "\ufffd cat", "labels": ["bad"]}
    result = [*GOOD["critique"], {**mark(0, 1, "bad"), "value": value}]
    assert usable("critique", result, row)["marks"][0]["text"] == "\ud83d cat"


EMPTY: list[tuple[str, list[Any]]] = [
    *((job, []) for job in JOBS),
    ("critique", [text("critique", [" \n\t"])]),
    ("critique", [text("critique", [])]),
    ("critique", [ticked("faults", "style"), mark(2, 5, "bad")]),
    ("critique", [ticked("faultless")]),
    ("demonstrate", [text("demonstration", ["\u2003", ""], to="prompt")]),
    ("refine", [ticked("decision", "edit", to="refinement")]),
    ("refine", [ticked("decision", "criticise", to="refinement"), text("critique", [""], to="refinement")]),
]


@pytest.mark.parametrize(("job", "result"), EMPTY)
def test_empty_answers_say_so(job: str, result: list[Any]) -> None:
    answer = read(job, result, row_of(job))
    assert (answer.state, answer.said) == ("empty", {})
    assert answer.reason


CRITIQUE = GOOD["critique"]
INVALID: list[tuple[str, Any, str]] = [
    ("critique", None, "no list"),
    ("critique", "text", "no list"),
    ("critique", {"critique": "x"}, "no list"),
    ("critique", [None], "no object"),
    ("critique", [{}], "no control None"),
    ("critique", [text("summary", ["x"])], "no control 'summary'"),
    ("critique", [text("critique", ["x"], to="prompt")], "'prompt', must be textarea about output"),
    ("critique", [{**text("critique", ["x"]), "type": "choices"}], "'choices' about"),
    ("critique", [{**text("critique", ["x"]), "value": None}], "no value"),
    ("critique", [text("critique", 5)], "no list of texts"),
    ("critique", [text("critique", ["x", None])], "no list of texts"),
    ("critique", [text("critique", ["x" * (LONGEST + 1)])], "more than 1000000"),
    ("critique", [text("critique", ["x"]), text("critique", ["y"])], "twice"),
    ("critique", [text("critique", ["x"], origin="prediction")], "model's text"),
    ("critique", [*CRITIQUE, ticked("faults", "style", "style")], "twice"),
    ("critique", [*CRITIQUE[:1], ticked("faults", "style", "style")], "a choice twice"),
    ("critique", [*CRITIQUE, ticked("faultless", "no")], "one of yes"),
    ("critique", [*CRITIQUE, mark(2, 5, "wrong")], "good or bad"),
    ("critique", [*CRITIQUE, mark(2, 6, "bad", "cat")], "quotes"),
    ("critique", [*CRITIQUE, mark(5, 5, "bad")], "lie on"),
    ("critique", [*CRITIQUE, mark(-3, 5, "bad")], "lie on"),
    ("critique", [*CRITIQUE, mark(2, 5000, "bad")], "lie on"),
    ("critique", [*CRITIQUE, mark(True, 5, "bad")], "lie on"),
    ("critique", [*CRITIQUE, text("remark", ["of nothing"], id="m9")], "no mark"),
    ("critique", [*CRITIQUE, mark(2, 5, "bad"), *[text("remark", ["x"], id="m1")] * 2], "has a remark"),
    ("critique", [*CRITIQUE, ticked("rewrite_decision", "use", "ignore")], "one of use, ignore"),
    ("rank", stars(1, 2, 3), "1 of 4 outputs"),
    ("rank", stars(1, 2, 3, 4, 1), "no control 'place_4'"),
    ("rank", stars(1, 2, 3, 9), "1 to 8 stars"),
    ("rank", stars(1, 2, 3, 0), "1 to 8 stars"),
    ("rank", stars(1, 2, 3, True), "1 to 8 stars"),
    ("rank", stars(1, 2, 3, 2.5), "1 to 8 stars"),
    (
        "rank",
        [{**stars(1)[0], "to_name": "output_1"}, *stars(1, 2, 3, 4)[1:]],
        "must be rating about output_0",
    ),
    ("pairwise", [ticked("better", "middle", to="left")], "one of left, tie, right"),
    ("pairwise", [ticked("better", "left", "right", to="left")], "one of left, tie, right"),
    ("demonstrate", [text("demonstration", ["x"], to="prompt", origin="prediction")], "model's text"),
    ("rate", rated(helpful="4", truthful="1", toxic="1"), "no mark for biased"),
    ("rate", rated(helpful="6", truthful="1", toxic="1", biased="1"), "'helpful' must be one of 1"),
    ("rate", rated(helpful=4, truthful="1", toxic="1", biased="1"), "no list of texts"),  # type: ignore[arg-type]
    ("refine", [ticked("decision", "reject", to="refinement")], "one of accept"),
    (
        "refine",
        [ticked("decision", "criticise", to="refinement"), text("critique", ["A dog sat."], to="refinement")],
        "model's text",
    ),
    ("translate", [], "no job 'translate'"),
]


@pytest.mark.parametrize(("job", "result", "reason"), INVALID)
def test_nonsense_is_invalid_and_says_why(job: str, result: Any, reason: str) -> None:
    answer = read(job, result, row_of(job))
    assert answer.state == "invalid"
    assert answer.said == {}
    assert answer.reason
    assert reason in answer.reason
    assert len(answer.reason) < 200


def test_what_the_model_served_is_no_critique() -> None:
    row = {**ROW, "served": ["A dog sat on the mat."]}
    answer = read("critique", [text("critique", ["A dog sat on the mat. "])], row)
    assert (answer.state, answer.reason) == ("invalid", "'critique' is the model's text, not a person's")
    assert (
        read("critique", [text("critique", ["It sat."], origin="prediction-changed")], row).state == "usable"
    )


def test_an_empty_rewrite_that_was_accepted_is_no_text_to_learn_from() -> None:
    assert read("refine", GOOD["refine"], ROW | {"refinements": [" ", "x"]}).state == "empty"


def test_a_row_of_ours_that_cannot_be_read_is_said() -> None:
    for job, row in (
        ("rank", ROW | {"outputs": ["x"]}),
        ("pairwise", ROW),
        ("refine", ROW | {"refinements": []}),
        ("critique", {"id": "r1", "prompt": "x"}),
        ("rank", {"outputs": ["a", "b"], "prompt": "x"}),
    ):
        answer = read(job, GOOD[job], row)
        assert answer.state == "invalid"
        assert "our own row" in (answer.reason or "")


def test_an_arrow_between_two_marks_changes_nothing() -> None:
    arrow = {"type": "relation", "from_id": "m1", "to_id": "m2", "direction": "right"}
    assert usable("critique", [*CRITIQUE, arrow]) == usable("critique", CRITIQUE)


# Any JSON at all, and good results with any part of them replaced by any JSON.
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8)
words = st.sampled_from(
    [
        "critique",
        "output",
        "textarea",
        "choices",
        "text",
        "place_0",
        "rating",
        "left",
        "yes",
        "edit",
        "mark",
        "1",
    ]
)
anything = st.recursive(
    scalars | words,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(words | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@st.composite
def damaged(draw: st.DrawFn, job: str) -> Any:
    """A good result in which one place holds something else."""
    result = json.loads(json.dumps(GOOD[job] + ([mark(2, 5, "bad")] if job == "critique" else [])))
    entry = draw(st.sampled_from(result))
    place = draw(st.sampled_from([entry, entry["value"]]))
    place[draw(st.sampled_from(list(place)))] = draw(anything)
    if draw(st.booleans()):
        result.append(draw(anything))
    return result


def assert_sound(job: str, row: dict[str, Any], answer: Answer) -> None:
    """A usable answer has the columns of its job, each within its bounds."""
    if answer.state != "usable":
        assert answer.state in ("empty", "invalid")
        assert answer.said == {}
        assert answer.reason
        return
    said = answer.said
    json.dumps(said, allow_nan=False)
    if job in ("rank", "pairwise", "verdict"):
        assert sorted(i for group in said["ranking"] for i in group) == list(range(len(row["outputs"])))
        assert sorted(answer.shown or ()) == list(range(len(row["outputs"])))
        assert said["why"] is None or said["why"].strip()
    elif job == "critique":
        assert said["critique"].strip()
        assert all(row["output"][m["start"] : m["end"]] == m["text"] for m in said["marks"])
        assert all(m["label"] in ("good", "bad") for m in said["marks"])
        assert all(isinstance(fault, str) for fault in said["faults"])
    elif job == "demonstrate":
        assert said["completion"].strip()
    elif job == "rate":
        assert sorted(said["ratings"]) == ["biased", "helpful", "toxic", "truthful"]
        assert all(type(n) is int and 1 <= n <= 5 for n in said["ratings"].values())
    elif said["decision"] == "criticise":
        assert said["critique"].strip()
    else:
        assert said["preferred"] in said["refinements"]
        assert len(said["origins"]) == len(said["refinements"])


@pytest.mark.parametrize("job", JOBS)
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_any_json_is_read_without_an_error(job: str, data: st.DataObject) -> None:
    result = data.draw(anything | st.lists(anything, max_size=4) | damaged(job))
    assert_sound(job, row_of(job), read(job, result, row_of(job)))
