"""Exports of Label Studio (files of a real server): of our project, and of others that we did not make."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from ilf.collect import collect
from ilf.errors import DataError, UsageError, Waiting
from ilf.feedback.label_studio_export import LabelStudioExport
from ilf.label_studio import events
from ilf.label_studio.export import latest, read_tasks, values

DATA = Path(__file__).parents[1] / "label_studio" / "data"
OURS, CRITIQUES, RANKINGS = (
    DATA / f"{n}.json" for n in ("ours_critique", "foreign_critique", "foreign_ranking")
)
OUR_ROWS = [
    {"id": f"r{i}", "sample_id": f"r{i}", "prompt": f"Question {i}", "output": f"Answer {i} 👍 is\nlong."}
    for i in range(4)
]
POSTS = [
    {
        "id": f"s{i}",
        "prompt": f"Post {i}: the cat {word} on the mat.\nTL;DR:",
        "output": f" A cat {word}. 👍",
    }
    for i, word in enumerate(("sat", "slept", "ran"))
]
COMMENTS: dict[str, Any] = {
    "path": str(CRITIQUES),
    "data": {"prompt": "{text}\nTL;DR:", "output": "summary"},
    "controls": {"critique": "comment"},
}


def pulled(
    source: LabelStudioExport, rows: list[dict[str, Any]], job: str, folder: Path
) -> list[dict[str, Any]]:
    return list(collect(rows, folder / "people" / "step-0", feedback=source, job=job))  # type: ignore[arg-type]


# --- of our own project


def test_our_own_export_needs_nothing_but_its_path(tmp_path: Path, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING):
        found = pulled(LabelStudioExport(str(OURS)), OUR_ROWS, "critique", tmp_path)
    assert [row["critique"] for row in found] == [
        "It is quite wrong.",
        "Nothing to change.",
        "Wrong name.\nSecond line.",
    ]
    assert [row["sample_id"] for row in found] == ["r0", "r1", "r3"]
    assert [(row["seconds"], row["lead_seconds"]) for row in found][2] == (600.0, 900.0)  # capped
    (who,) = {row["annotator"] for row in found}
    assert who == events.pseudonym(tmp_path / "people" / "other-step", 1)
    task = read_tasks(OURS)[0]
    assert found[0]["provenance"]["annotation"] == task["annotations"][-1]["id"]
    assert found[0]["provenance"]["project"] == task["project"]
    assert "1 skipped" in caplog.text
    assert "1 superseded" in caplog.text
    assert "1 drafts" in caplog.text


def test_rows_that_nobody_answered_are_waited_for(tmp_path: Path) -> None:
    more = [*OUR_ROWS, {**OUR_ROWS[0], "id": "r9"}]
    with pytest.raises(Waiting, match="4 of 5 outputs are annotated.*Export again") as waiting:
        pulled(LabelStudioExport(str(OURS)), more, "critique", tmp_path)
    assert (waiting.value.done, waiting.value.total) == (4, 5)
    assert len(pulled(LabelStudioExport(str(OURS), enough=0.8), more, "critique", tmp_path)) == 3
    with pytest.raises(Waiting, match="0 of 4"):
        pulled(LabelStudioExport(str(OURS), annotators=2), OUR_ROWS, "critique", tmp_path)
    with pytest.raises(Waiting, match="0 of 4.*there is no"):
        pulled(LabelStudioExport("nowhere.json"), OUR_ROWS, "critique", tmp_path)


def test_tasks_of_other_rows_are_counted(tmp_path: Path, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING):
        assert len(pulled(LabelStudioExport(str(OURS)), OUR_ROWS[:2], "critique", tmp_path)) == 2
    assert "2 of 4 tasks match no row" in caplog.text
    with pytest.raises(DataError, match="no task shows a row of this step. If ilf did not make"):
        pulled(LabelStudioExport(str(OURS)), [{**OUR_ROWS[0], "id": "x"}], "critique", tmp_path)


def test_a_forgotten_person_does_not_come_back_by_an_export(tmp_path: Path) -> None:
    who = pulled(LabelStudioExport(str(OURS)), OUR_ROWS, "critique", tmp_path)[0]["annotator"]
    forgotten = {"kind": "forgotten", "annotator": who, "at": "2026-01-01"}
    events.append(tmp_path / "people" / "another-step", [forgotten])
    with pytest.raises(Waiting, match="0 of 4"):
        pulled(LabelStudioExport(str(OURS)), OUR_ROWS, "critique", tmp_path)


# --- of somebody else's


def test_a_foreign_project_is_matched_by_texts(tmp_path: Path, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING):
        found = pulled(LabelStudioExport(**COMMENTS), POSTS, "critique", tmp_path)
    assert [(row["prompt"], row["output"]) for row in found] == [(p["prompt"], p["output"]) for p in POSTS]
    assert [row["critique"] for row in found] == [
        "It leaves out the mat.",
        "Two lines\nof critique",
        "second thought",
    ]
    assert [row["seconds"] for row in found] == [42.5, 600.0, 8.0]
    assert all(row["annotator"].startswith("p-") for row in found)
    assert "2 of 5 tasks match no row" in caplog.text
    assert "1 superseded, 1 drafts" in caplog.text


def test_kinds_of_fault_and_empty_ones(tmp_path: Path, caplog: Any) -> None:
    rows = [
        *POSTS,
        {"id": "e", "prompt": "Post 4: the cat hid on the mat.\nTL;DR:", "output": "A cat hid. 👍"},
    ]
    source = LabelStudioExport(
        **{**COMMENTS, "controls": {"critique": "comment", "faults": "quality"}, "enough": 0.75}
    )
    with caplog.at_level(logging.WARNING):
        found = pulled(source, rows, "critique", tmp_path)
    assert [row["faults"] for row in found] == [[], ["good", "bad"], []]
    assert "1 empty" in caplog.text


def test_foreign_rankings_follow_our_order_of_outputs(tmp_path: Path) -> None:
    rows = [
        {"id": str(i), "prompt": f"Why {i}?", "outputs": [f"item {j} of {i}" for j in (1, 2, 0)]}
        for i in range(3)
    ]
    source = LabelStudioExport(
        str(RANKINGS),
        data={"prompt": "question", "outputs": "items"},
        controls={"ranking": "order", "why": "reason"},
    )
    found = pulled(source, rows, "rank", tmp_path)
    best = [row["outputs"][row["ranking"][0][0]] for row in found]
    assert best == ["item 2 of 0", "item 0 of 1", "item 1 of 2"]
    assert [row["shown"] for row in found] == [[2, 0, 1]] * 3
    assert found[0]["why"] == "reason 0"


def test_foreign_pairs_with_a_reason_are_critiques_of_the_loser(tmp_path: Path) -> None:
    rows = [
        {"id": str(i), "prompt": f"Why {i}?", "outputs": [f"because y{i}", f"because x{i}"]} for i in range(3)
    ]
    made = {"path": str(RANKINGS), "data": {"prompt": "question", "outputs": ("answer_x", "answer_y")}}
    source = LabelStudioExport(**made, controls={"ranking": "better", "why": "reason"})  # type: ignore[arg-type]
    found = pulled(source, rows, "pairwise", tmp_path)
    assert [row["outputs"][row["ranking"][0][0]] for row in found] == [
        "because x0",
        "because y1",
        "because x2",
    ]
    assert [row["output"] for row in found] == ["because y0", "because x1", "because y2"]
    assert found[0]["critique"] == "reason 0"
    plain = pulled(LabelStudioExport(**made, controls={"ranking": "better"}), rows, "verdict", tmp_path)  # type: ignore[arg-type]
    assert "critique" not in plain[0]
    odd = LabelStudioExport(**made, controls={"ranking": "better"}, choices={"left": "second"})  # type: ignore[arg-type]
    with pytest.raises(Waiting, match="1 invalid"):
        pulled(odd, rows, "verdict", tmp_path)


@pytest.mark.parametrize(
    ("settings", "job", "problem"),
    [
        ({"controls": None}, "critique", "data is given, controls is not"),
        ({"controls": {"critic": "comment"}}, "critique", "no 'critic'. Did you mean 'critique'"),
        ({"controls": {"faults": "quality"}}, "critique", "name the control that holds 'critique'"),
        ({"data": {"prompt": "text"}}, "critique", "name the key that holds 'output'"),
        ({}, "refine", "our own pages only"),
        ({"annotators": 0}, "critique", "annotators"),
        ({"choices": {"left": "1st"}}, "critique", "is not first, second or tie"),
    ],
)
def test_settings_that_fit_no_export(
    settings: dict[str, Any], job: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=problem):
        LabelStudioExport(**{**COMMENTS, **settings}).pull([], job, 0, tmp_path)


# --- the file


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[{", "is no JSON, or torn"),
        ('{"answers": []}', "converted to another tool's format"),
        ('{"a": 1}', "is a JSON dict, must be an array"),
        ("[1]", "task 1: is a JSON int"),
        ('[{"annotations": []}]', "task 1: has no 'data'"),
        ('[{"data": {}}]', "has no 'annotations': is this a file of tasks to import"),
        ('[{"data": {}, "annotations": [3]}]', "the short form"),
    ],
)
def test_what_is_no_export_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(text)
    with pytest.raises(DataError, match=problem):
        read_tasks(path)


def test_json_min_says_that_it_is_the_wrong_one() -> None:
    with pytest.raises(DataError, match="JSON_MIN.*Export the project again as JSON"):
        read_tasks(DATA / "json_min.json")


def test_values_of_every_control() -> None:
    data = {"items": [{"id": "a"}, {"id": "b"}, {"id": 3}]}

    def entry(kind: str, value: Any) -> list[dict[str, Any]]:
        return [{"from_name": "c", "type": kind, "value": value}]

    for kind, value, wanted in (
        ("textarea", {"text": ["one", "two"]}, "one\ntwo"),
        ("textarea", {"text": "one"}, "one"),
        ("choices", {"choices": ["x"]}, "x"),
        ("choices", {"choices": ["x", "y"]}, ["x", "y"]),
        ("rating", {"rating": 4}, 4),
        ("number", {"number": 0.5}, 0.5),
        ("pairwise", {"selected": "left"}, "left"),
        ("ranker", {"ranker": {"r": ["3", "a", "b"]}}, [[2], [0], [1]]),
        ("ranker", {"ranker": {"_": [], "good": ["b", "a"], "bad": ["3"]}}, [[1, 0], [2]]),
        ("ranker", {"ranker": {"_": ["3"], "good": ["b", "a"]}}, None),
        ("ranker", {"ranker": {"r": ["undefined"]}}, None),
        ("ranker", {"ranker": "nonsense"}, None),
        ("labels", {"start": 0, "end": 1, "labels": ["x"]}, {"start": 0, "end": 1, "labels": ["x"]}),
    ):
        assert values(entry(kind, value), data) == {"c": wanted}, kind
    assert values([*entry("textarea", {"text": ["a"]}), *entry("textarea", {"text": ["b"]}), 3, {}], {}) == {
        "c": "a\nb"
    }


def test_the_last_answer_of_each_person_counts() -> None:
    def by(user: int | None, at: str, **more: Any) -> dict[str, Any]:
        return {"id": int(at), "updated_by": user, "updated_at": at, "result": [{}], **more}

    task = {"drafts": [{}, {}], "annotations": [by(1, "5"), by(1, "3"), by(2, "4", was_cancelled=True),
                                                by(3, "6", result=[]), by(None, "7"), by(None, "8")]}  # fmt: skip
    found, counts = latest(task)
    assert [annotation["id"] for annotation in found] == [5, 7, 8]
    assert counts == {"drafts": 2, "superseded": 1, "skipped": 1, "empty": 1}


def test_no_address_of_a_person_is_in_a_row(tmp_path: Path) -> None:
    """Exports may hold the person with the e-mail address in place of a number."""
    tasks = json.loads(OURS.read_text())
    for task in tasks:
        for annotation in task["annotations"]:
            for key in ("completed_by", "updated_by"):
                annotation[key] = {"id": 7, "email": "ann@example.org", "first_name": "Ann"}
    path = tmp_path / "with people.json"
    path.write_text(json.dumps(tasks))
    found = pulled(LabelStudioExport(str(path)), OUR_ROWS, "critique", tmp_path)
    assert found[0]["annotator"] == events.pseudonym(tmp_path / "people" / "x", 7)
    assert "example.org" not in json.dumps(found)
