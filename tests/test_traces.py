"""Whose words are whose: what a person wrote, and where it stands again."""

from __future__ import annotations

import json

import pytest

from ilf._forget.traces import Traces, said


def test_model_written_text_is_nobodys_words() -> None:
    row = {
        "job": "refine",
        "decision": "edit",
        "critique": "what somebody else said before",
        "refinements": ["the model's", "accepted", "edited by hand"],
        "origins": ["model", "prefilled", "typed"],
        "completion": "chosen by a ranker",
    }
    assert said(row, "refine") == {"edited by hand"}
    assert said({**row, "decision": "criticise"}, "refine") == {"edited by hand", row["critique"]}
    assert said({"critique": "Nothing to change.", "is_faultless": True}, "critique") == set()
    assert said({"critique": "c", "marks": [{"text": "model", "remark": "mine"}]}, "critique") == {
        "c",
        "mine",
    }
    assert said({"completion": "by hand"}, "demonstrate") == {"by hand"}


def test_a_row_that_carries_the_critique_of_another_is_found_by_the_words() -> None:
    """A refine row is Bob's, the critique in it Ann's: it is no word of Bob's."""
    traces = Traces(frozenset({"ann"}))
    collected = {
        "id": "1",
        "job": "critique",
        "annotator": "ann",
        "annotation_id": "a1",
        "critique": "short one",
    }
    refined = {
        **collected,
        "id": "2",
        "job": "refine",
        "annotator": "bob",
        "annotation_id": "b1",
        "decision": "accept",
    }
    for row in (collected, refined):
        traces.learn(row)
    assert traces.is_in(refined)
    assert traces.is_in({"id": "3", "annotator": "bob", "settled_from": ["b1", "a1"]})
    assert traces.is_in({"id": "4", "earlier": 'Earlier answers: "short one"'})
    assert not traces.is_in(
        {"id": "4", "annotator": "bob", "critique": "quite another", "output": "short one"}
    )


@pytest.mark.parametrize("at", range(0, 30, 7))
def test_a_quote_is_found_wherever_it_stands(at: int) -> None:
    traces = Traces(frozenset({"ann"}), texts={"0123456789 is what I wrote of it"})
    assert traces.is_in({"text": "x" * at + "0123456789 is what I wrote of it" + "y" * 5})
    assert not traces.is_in({"text": "x" * at + "0123456789 is what I wrote"})
    assert traces.are_written_in("x" * at + "0123456789 is what\n   I wrote ...")


def test_pages_quote_with_escapes() -> None:
    traces = Traces(frozenset({"ann"}), texts={'He said "no" <b>twice</b> 🦓 & went away for good'})
    for page in (
        "<p>He said &quot;no&quot; &lt;b&gt;twice&lt;/b&gt; 🦓 &amp; went",
        json.dumps({"a": 'He said "no" <b>twice</b> 🦓 & went away for good'}),
        'He said "no" <b>twice</b> and',
    ):
        assert traces.are_written_in(page)
    assert not traces.are_written_in("He said no")
