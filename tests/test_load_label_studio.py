"""load with the layout label_studio: an export of a project that we did not make is all the data there is."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from ilf.errors import DataError, UsageError
from ilf.load import columns, load

DATA = Path(__file__).parent / "label_studio" / "data"
CRITIQUES: dict[str, Any] = {
    "path": str(DATA / "foreign_critique.json"),
    "layout": "label_studio",
    "job": "critique",
    "columns": {"prompt": "{text}\nTL;DR:", "output": " {summary|strip}", "critique": "comment"},
}
RANKINGS: dict[str, Any] = {
    "path": str(DATA / "foreign_ranking.json"),
    "layout": "label_studio",
    "job": "rank",
}


def test_rows_straight_from_a_foreign_export(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        rows = list(load(**CRITIQUES))
    assert [row["critique"] for row in rows] == [
        "It leaves out the mat.",
        "Two lines\nof critique",
        "second thought",
    ]
    assert rows[0]["prompt"] == "Post 0: the cat sat on the mat.\nTL;DR:"
    assert rows[0]["output"] == " A cat sat. 👍"
    assert (rows[0]["annotator"], rows[0]["seconds"], rows[0]["job"]) == ("user-1", 42.5, "critique")
    assert len({row["annotation_id"] for row in rows}) == 3
    for count in ("1 skipped", "1 superseded", "1 empty", "1 drafts"):
        assert count in caplog.text, count


def test_columns_are_known_before_anything_is_run() -> None:
    needs, adds = columns({**CRITIQUES, "split": "train"})
    assert needs == ()
    assert adds is not None
    assert {"prompt", "output", "critique", "annotator", "seconds", "annotation_id", "sample_id"} <= set(adds)


def test_other_controls_are_columns_where_they_are_asked_for() -> None:
    more = {**CRITIQUES["columns"], "stars": "stars", "quality": "said.quality", "post": "data.text"}
    rows = list(load(**{**CRITIQUES, "columns": more, "optional": ("stars", "quality")}))
    assert [row["stars"] for row in rows] == [3, None, None]
    assert [row["quality"] for row in rows] == [None, ["good", "bad"], None]
    assert rows[0]["post"] == "Post 0: the cat sat on the mat."


def test_rankings_of_a_list_and_of_a_pair() -> None:
    listed = list(load(**RANKINGS, columns={"prompt": "question", "ranking": "order"}))
    assert [row["ranking"] for row in listed] == [[[2], [0], [1]], [[0], [1], [2]], [[1], [0], [2]]]
    assert listed[0]["outputs"] == ["item 0 of 0", "item 1 of 0", "item 2 of 0"]
    pairs = list(
        load(
            **RANKINGS,
            columns={"prompt": "question", "outputs": ("answer_x", "answer_y"), "ranking": "better"},
            values={"ranking": {"left": [[0], [1]], "right": [[1], [0]]}},
        )
    )
    assert [row["ranking"] for row in pairs] == [[[0], [1]], [[1], [0]], [[0], [1]]]


def test_our_own_pages_need_no_columns() -> None:
    rows = list(load(path=str(DATA / "ours_critique.json"), layout="label_studio", job="critique"))
    assert [row["critique"] for row in rows] == ["It is quite wrong.", "Wrong name.\nSecond line."]
    assert rows[0]["prompt"] == "Question 0"


def test_several_people_are_several_rows_and_a_folder_is_all_its_exports(tmp_path: Path) -> None:
    tasks = json.loads((DATA / "foreign_critique.json").read_text())
    for task in tasks:
        copies = [{**a, "id": a["id"] + 100, "completed_by": 2, "updated_by": 2} for a in task["annotations"]]
        task["annotations"] += copies
    (tmp_path / "a.json").write_text(json.dumps(tasks[:2]))
    (tmp_path / "b.json").write_text(json.dumps(tasks[2:]))
    rows = list(load(**{**CRITIQUES, "path": str(tmp_path)}))
    assert [row["annotator"] for row in rows] == ["user-1", "user-2"] * 3
    assert len({row["sample_id"] for row in rows}) == 3


@pytest.mark.parametrize(
    ("settings", "error", "problem"),
    [
        ({"columns": None}, UsageError, "has no column 'prompt'"),
        ({"columns": {**CRITIQUES["columns"], "critique": "coment"}}, UsageError, "Did you mean 'comment'"),
        ({"job": None}, UsageError, "the layout label_studio needs one of"),
        ({"path": str(DATA / "nowhere.json")}, UsageError, "there is no"),
        ({"path": str(DATA / "json_min.json")}, DataError, "JSON_MIN"),
        (
            {"path": None, "dataset": "x/y", "revision": "0" * 40},
            UsageError,
            "an exported file; give it as path",
        ),
    ],
)
def test_what_is_refused_before_a_run(settings: dict[str, Any], error: type[Exception], problem: str) -> None:
    with pytest.raises(error, match=problem):
        columns({**CRITIQUES, **settings, "split": "train"})


def test_without_the_layout_the_array_is_refused_with_a_hint() -> None:
    with pytest.raises(DataError, match="layout: label_studio"):
        list(load(path=str(DATA / "foreign_critique.json")))
