"""load: every format, hostile texts, all problems at once, the same rows whether broken off or not."""

from __future__ import annotations

import csv
import doctest
import json
import logging
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ilf.config import resolve
from ilf.errors import ComponentError, DataError, UsageError
from ilf.load import columns, load
from ilf.records import line, problem_of, row_id
from ilf.worlds.nano import Nano

#: ``ilf.load`` is the function.
MODULE = sys.modules[load.__module__]
POSTS = [{"post": f"post {i}", "summary": f"summary {i}"} for i in range(10)]
MAPPING: dict[str, Any] = {"prompt": "{post}\nTL;DR:", "output": " {summary}"}
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why is the sky blue?"}]
HOSTILE = {
    "emoji": "👩‍👩‍👧‍👦 Zoë",
    "right to left": "שלום مرحبا \u202eabc",
    "nul": "a\x00b",
    "line ends": "a\u2028b\x85c\x0bd",
    "quotes": 'a "b", {prompt} \\n ,;\t',
    "long": "x" * (1 << 20),
}


def write_jsonl(path: Path, rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def write_saved(path: Path, rows: list[dict[str, Any]]) -> Path:
    import datasets

    datasets.Dataset.from_list(rows).save_to_disk(str(path))
    return path


WRITERS = {
    "rows.jsonl": write_jsonl,
    "rows.csv": write_csv,
    "rows.parquet": write_parquet,
    "saved": write_saved,
}
writers = pytest.mark.parametrize(("name", "write"), WRITERS.items(), ids=list(WRITERS))


def rows_of(path: Path, **settings: Any) -> list[dict[str, Any]]:
    return list(load(path=str(path), **settings))


def refusal(path: Path, **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        rows_of(path, **settings)
    return str(caught.value)


# --- formats ---------------------------------------------------------------------------------------------------------


@writers
def test_every_format_gives_the_same_rows(name: str, write: Any, tmp_path: Path) -> None:
    rows = rows_of(write(tmp_path / name, POSTS), columns=MAPPING)
    assert [(row["prompt"], row["output"]) for row in rows] == [
        (f"post {i}\nTL;DR:", f" summary {i}") for i in range(10)
    ]
    expected = rows_of(write_jsonl(tmp_path / "x.jsonl", POSTS), columns=MAPPING)
    assert [line(row) for row in rows] == [line(row) for row in expected]


@writers
@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_texts_come_through_unchanged(name: str, write: Any, text: str, tmp_path: Path) -> None:
    rows = rows_of(write(tmp_path / name, [{"prompt": "p" + text, "output": text}]))
    assert (rows[0]["prompt"], rows[0]["output"]) == ("p" + text, text)


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, unique=True))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_survives_csv_and_jsonl(texts: list[str], tmp_path: Path) -> None:
    rows = [{"prompt": f"p{i}", "output": "x" + text} for i, text in enumerate(texts)]
    for loaded in (
        rows_of(write_jsonl(tmp_path / "a.jsonl", rows)),
        rows_of(write_csv(tmp_path / "a.csv", rows)),
    ):
        assert [row["output"] for row in loaded] == [row["output"] for row in rows]


def test_lone_surrogates_are_replaced_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(
        b'{"prompt": "half \\ud83d of it"}\n{"prompt": "raw \xed\xa0\xbd"}\n{"prompt": "\\ud83d\\ude00"}\n'
    )
    assert [row["prompt"] for row in rows_of(path)] == ["half \ufffd of it", "raw \ufffd", "😀"]
    assert "2 texts with lone surrogates" in caplog.text


@writers
def test_messages_in_every_format(name: str, write: Any, tmp_path: Path) -> None:
    chat: Any = json.dumps(CHAT) if name.endswith(".csv") else CHAT
    rows = rows_of(write(tmp_path / name, [{"prompt": chat, "completion": "Rayleigh."}]))
    assert rows[0]["prompt"] == CHAT


def test_a_chat_is_split_into_prompt_and_completion(tmp_path: Path) -> None:
    # Datasets give every message the keys of all messages.
    chat = [{**turn, "name": None} for turn in (*CHAT, {"role": "assistant", "content": "Rayleigh."})]
    mapping: dict[str, Any] = {"prompt": "messages[:-1]", "completion": "messages[-1].content"}
    (row,) = rows_of(write_jsonl(tmp_path / "c.jsonl", [{"messages": chat}]), columns=mapping)
    assert (row["prompt"], row["completion"]) == (CHAT, "Rayleigh.")


def test_strings_and_messages_never_mix(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "m.jsonl", [{"prompt": "text"}, {"prompt": CHAT}])
    assert "m.jsonl: line 2: 'prompt' is messages, in rows before it text" in refusal(path)


def test_a_csv_prompt_that_begins_with_a_bracket_stays_text(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "b.csv", [{"prompt": "[1, 2]", "outputs": '["a", "b"]', "seconds": "61.5"}])
    (row,) = rows_of(path)
    assert (row["prompt"], row["outputs"], row["seconds"]) == ("[1, 2]", ["a", "b"], 61.5)


def test_a_folder_is_read_in_the_order_of_its_files(tmp_path: Path) -> None:
    for part in (2, 1):
        write_jsonl(tmp_path / f"{part}.jsonl", POSTS[part * 3 : part * 3 + 3])
    (tmp_path / "README.md").write_text("about", encoding="utf-8")
    assert [row["output"] for row in rows_of(tmp_path, columns=MAPPING)] == [
        f" summary {i}" for i in range(3, 9)
    ]
    write_csv(tmp_path / "3.csv", POSTS)
    with pytest.raises(UsageError, match="several formats"):
        rows_of(tmp_path, columns=MAPPING)
    assert len(rows_of(tmp_path, columns=MAPPING, format="csv")) == 10


def test_a_saved_dataset_with_splits(tmp_path: Path) -> None:
    import datasets

    parts = {"train": datasets.Dataset.from_list(POSTS[:6]), "test": datasets.Dataset.from_list(POSTS[6:])}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "d"))
    assert len(rows_of(tmp_path / "d", columns=MAPPING, split="test")) == 4
    with pytest.raises(UsageError, match="Did you mean 'test'"):
        rows_of(tmp_path / "d", columns=MAPPING, split="tests")


def test_strings_and_messages_in_a_saved_json_column_are_decoded(tmp_path: Path) -> None:
    import datasets

    path = write_jsonl(
        tmp_path / "j.jsonl", [{"prompt": CHAT, "extra": "a"}, {"prompt": CHAT[1:], "extra": [1]}]
    )
    datasets.load_dataset("json", data_files=str(path), split="train").save_to_disk(str(tmp_path / "s"))
    assert [row["extra"] for row in rows_of(tmp_path / "s")] == ["a", [1]]


def test_utf8_bom_is_no_part_of_the_text(tmp_path: Path) -> None:
    for name, text in (("b.jsonl", '{"prompt": "p"}\n'), ("b.csv", "prompt\np\n")):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert rows_of(tmp_path / name)[0]["prompt"] == "p"


# --- ids and what is kept --------------------------------------------------------------------------------------------


def test_id_is_a_hash_of_the_content(tmp_path: Path) -> None:
    """Neither the place in the file, nor its format, nor the source's own id moves it; any content does."""
    rows = rows_of(
        write_jsonl(tmp_path / "a.jsonl", [{**row, "id": i} for i, row in enumerate(POSTS)]),
        columns={**MAPPING, "id": "id"},
    )
    back = rows_of(write_csv(tmp_path / "b.csv", POSTS[::-1]), columns=MAPPING)
    assert [row["id"] for row in rows] == [row["id"] for row in back[::-1]]
    assert [row["source_id"] for row in rows] == [str(i) for i in range(10)]
    assert rows[0]["id"] == row_id({"prompt": "post 0\nTL;DR:", "output": " summary 0"})
    assert rows[0]["sample_id"] == row_id("post 0\nTL;DR:", [" summary 0"])
    changed = rows_of(write_jsonl(tmp_path / "c.jsonl", [{**POSTS[0], "summary": "other"}]), columns=MAPPING)
    assert changed[0]["id"] != rows[0]["id"]


def test_with_a_mapping_only_mapped_columns_are_kept_without_one_all(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"prompt": "p", "topic": None, "n": 3}])
    assert list(rows_of(path, columns={"prompt": "prompt"})[0]) == ["id", "prompt"]
    assert rows_of(path)[0] == {
        "id": row_id({"prompt": "p", "topic": None, "n": 3}),
        "prompt": "p",
        "topic": None,
        "n": 3,
    }


def test_columns_names_what_load_gives(tmp_path: Path) -> None:
    """The check of a recipe before any work agrees with the rows."""
    path = str(write_jsonl(tmp_path / "a.jsonl", [{**POSTS[0], "id": 1, "why": "w"}]))
    cases: list[dict[str, Any]] = [
        {"columns": MAPPING},
        {
            "columns": {**MAPPING, "id": "id", "critique": "why"},
            "constants": {"seconds": 9.0},
            "job": "critique",
        },
        {"columns": {"prompt": "post"}},
    ]
    for case in cases:
        needs, adds = columns({"path": path, **case})
        assert needs == ()
        assert set(adds or ()) == set(next(load(path=path, **case)))
    assert columns({"dataset": "a/b", "revision": "0" * 40}) == ((), None)
    assert set(columns({"dataset": "a/b", "revision": "0" * 40, "columns": MAPPING})[1] or ()) == {
        "id",
        "sample_id",
        "prompt",
        "output",
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "give one of world, path and dataset, not none"),
        ({"path": "rows.jsonl", "dataset": "a/b"}, "not path and dataset"),
        ({"path": "row.jsonl"}, "Did you mean 'rows.jsonl'?"),
        ({"path": "rows.jsonl"}, "has no column 'prompt'; map one, for example columns: {prompt: post}"),
        ({"path": "rows.jsonl", "columns": {"prompt": "pots"}}, "has no column 'pots'. Did you mean 'post'?"),
        ({"path": "rows.jsonl", "columns": {"prompt": "{pots}"}}, "Did you mean 'post'?"),
        (
            {"path": "rows.jsonl", "columns": {"prompt": "post"}, "where": {"summry": "x"}},
            "Did you mean 'summary'?",
        ),
        ({"path": "rows.jsonl", "columns": {"promt": "post"}}, "maps no 'prompt'. Did you mean 'promt'?"),
        ({"path": "rows.jsonl", "columns": MAPPING, "optional": ("ouput",)}, "Did you mean 'output'?"),
        ({"path": "rows.jsonl", "columns": MAPPING, "optional": ("prompt",)}, "every row needs a prompt"),
        (
            {"path": "rows.jsonl", "columns": MAPPING, "constants": {"output": "x"}},
            "'output' is mapped as well",
        ),
        (
            {"path": "rows.jsonl", "columns": MAPPING, "constants": {"seconds": "x"}},
            "'seconds' must be number",
        ),
        ({"path": "rows.jsonl", "columns": MAPPING, "clip": {"output": (3, 1)}}, "must be [low, high]"),
        ({"path": "rows.jsonl", "columns": MAPPING, "part": (0.5, 0.5)}, "low < high"),
        ({"path": "rows.jsonl", "columns": MAPPING, "n": 0}, "must be 1 or more"),
        ({"path": "rows.jsonl", "layout": "slf5", "job": "rank"}, "Did you mean 'slf5k'?"),
        ({"path": "rows.jsonl", "layout": "slf5k"}, "needs one of: critique, rank, demonstrate"),
        ({"path": "rows.jsonl", "revision": "main"}, "belongs to a dataset of the hub"),
        ({"path": "rows.txt", "columns": MAPPING}, "does not tell its format"),
        ({"dataset": "a/b"}, "name the commit of 'a/b'"),
        ({"dataset": "a/b", "revision": "main"}, "not main"),
        ({"dataset": ".", "revision": "0" * 40, "columns": MAPPING}, "give it as path"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_found_before_any_work(
    given: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "newest_commit", lambda name: None)
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "rows.jsonl", POSTS)
    write_jsonl(tmp_path / "rows.txt", POSTS)
    with pytest.raises(UsageError) as caught:
        columns(given)
    assert said in str(caught.value)


# --- problems --------------------------------------------------------------------------------------------------------

PROBLEMS = {
    "torn last line": (b'{"prompt": "a"}\n{"prompt": "b', ["line 2: is torn"]),
    "not json": (b'{"prompt": "a"}\n{"prompt": }\n{"prompt": "b"}\n', ["line 2: is not JSON"]),
    "control character": (b'{"prompt": "a"}\n{"prompt": "b\x00"}\n', ["line 2: is not JSON"]),
    "not an object": (b'{"prompt": "a"}\n["prompt"]\n', ["line 2: is a list, must be an object"]),
    "not utf-8": (b'{"prompt": "a"}\n{"prompt": "caf\xe9"}\n', ["line 2: is not UTF-8 (byte 0xe9 at byte 16)"]),
    "too deep": (b'{"prompt": "a"}\n' + b"[" * 200_000 + b"\n", ["line 2: is not JSON"]),
    "empty and null": (
        b'{"prompt": "a", "critique": "c"}\n{"prompt": " ", "critique": null}\n',
        ["line 2: 'prompt' is empty", "line 2: 'critique' is empty"],
    ),
    "missing": (b'{"prompt": "a", "critique": "c"}\n\n{"prompt": "b"}\n', ["line 3: has no column 'critique'"]),
    "more": (b'{"prompt": "a"}\n{"prompt": "b", "x": 1}\n', ["line 2: has column 'x', which the first row lacks"]),
    "wrong type": (
        b'{"prompt": 5, "outputs": ["a", 1], "seconds": "x"}\n',
        ["'prompt' must be text or messages, is int", "'outputs' must be list of texts", "'seconds' must be number"],
    ),
    "negative": (b'{"prompt": "a", "seconds": -1}\n', ["line 1: 'seconds' is negative (-1)"]),
    "infinite": (b'{"prompt": "a", "x": 1e999}\n', ["line 1: 'x' cannot be stored as JSON"]),
    "ranking": (
        b'{"prompt": "a", "outputs": ["x", "y"], "ranking": [[0], [2]]}\n',
        ["line 1: 'ranking' must name each of the outputs once"],
    ),
    "duplicate": (b'{"prompt": "a"}\n{"prompt": "b"}\n{"prompt": "a"}\n', ["line 3: is a duplicate (says the same as rows.jsonl: line 1: prompt)"]),
    "duplicate id": (b'{"id": 7, "prompt": "a"}\n{"id": 7, "prompt": "b"}\n', ["line 2: 'id' is taken ('7' also names rows.jsonl: line 1)"]),
    "utf-16": ('{"prompt": "a"}\n'.encode("utf-16"), ["is UTF-16; save it as UTF-8"]),
    "array": (b'[{"prompt": "a"}]', ["is a JSON array; write one object a line"]),
    "no row": (b"\n", ["there is no row"]),
}  # fmt: skip


@pytest.mark.parametrize(("content", "said"), PROBLEMS.values(), ids=list(PROBLEMS))
def test_problems_name_file_line_and_column(content: bytes, said: list[str], tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    message = refusal(path)
    assert "rows.jsonl" in message
    for text in said:
        assert text in message


CSV_PROBLEMS = {
    "ragged": (
        b"prompt,output\na,b\nc\nd,e,f\n",
        ["line 3: does not fit the header (1 cells, not 2)", "line 4"],
    ),
    "open quote": (b'prompt,output\na,"b\nc,d\n', ["line 2: is not CSV"]),
    "stray quote": (b'prompt,output\na,"b"c\nd,e\nd,e\n', ["line 2: is not CSV", "line 4: is a duplicate"]),
    "not utf-8": (b"prompt,output\na,caf\xe9\n", ["line 2: column 'output' is not UTF-8 (byte 0xe9)"]),
    "lines within a cell": (b'prompt,output\n"a\nb",c\nd,\n', ["line 4: 'output' is empty"]),
    "number": (b"prompt,seconds\na,1.5\nb,soon\n", ["line 3: 'seconds' must be number, is str"]),
    "header twice": (b"prompt,prompt\na,b\n", ["line 1: the header names 'prompt' twice"]),
    "semicolons": (b"prompt;output\na;b\n", ["must be parted by commas"]),
}


@pytest.mark.parametrize(("content", "said"), CSV_PROBLEMS.values(), ids=list(CSV_PROBLEMS))
def test_problems_of_csv(content: bytes, said: list[str], tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    message = refusal(path)
    for text in said:
        assert text in message


def test_parquet_problems(tmp_path: Path) -> None:
    import datetime

    rows = [
        {"prompt": "a", "seconds": float("nan"), "when": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)}
    ]
    message = refusal(write_parquet(tmp_path / "rows.parquet", rows), optional=("seconds",))
    assert "rows.parquet: row 1: 'when' cannot be stored as JSON" in message
    (tmp_path / "x.parquet").write_bytes(b"prompt")
    assert "is not parquet" in refusal(tmp_path / "x.parquet")


def test_all_problems_at_once_twenty_shown_all_counted(tmp_path: Path) -> None:
    good = [{"prompt": f"p{i}", "critique": "c"} for i in range(70)]
    bad = [{"prompt": f"q{i}", "critique": ""} for i in range(25)] + good[:5]
    message = refusal(write_jsonl(tmp_path / "r.jsonl", [*good, *bad]))
    assert "30 problem(s), rows with one: 30 of 100; nothing was loaded" in message
    assert message.count("r.jsonl: line") - message.count("says the same as r.jsonl: line") == 20
    assert "... and 10 more" in message
    assert "25 x 'critique' is empty, 5 x is a duplicate" in message


def test_a_missing_column_is_told_once_along_with_the_rows_problems(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "r.jsonl", [{"post": f"p{i % 5}", "why": "" if i == 3 else "w"} for i in range(50)]
    )
    message = refusal(path, columns={"prompt": "pots", "critique": "why"}, on_problem="drop")
    assert message.count("'pots'") == 2  # in the list and in the sum
    assert "line 4: 'critique' is empty" in message
    assert "2 problem(s)" in message


def test_nothing_is_given_before_all_is_checked(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "r.jsonl", [*({"prompt": f"p{i}"} for i in range(5000)), {"prompt": ""}])
    rows = load(path=str(path))
    with pytest.raises(DataError):
        next(rows)


def test_dropped_rows_are_counted_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_jsonl(
        tmp_path / "r.jsonl", [{"prompt": "a"}, {"prompt": ""}, {"prompt": "b"}, {"prompt": "a"}]
    )
    assert [row["prompt"] for row in rows_of(path, on_problem="drop")] == ["a", "b"]
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "2 of 4 rows, 2 rows dropped (1 x 'prompt' is empty, 1 x is a duplicate)" in warning


def test_only_what_is_kept_is_counted_as_changed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_jsonl(tmp_path / "r.jsonl", [{"prompt": f"a\r\n{i % 3}"} for i in range(4)])
    assert len(rows_of(path, on_problem="drop", newlines="unix")) == 3
    assert "3 of 4 rows, 3 texts with CR LF line ends, made LF, 1 rows dropped" in caplog.text
    caplog.clear()
    rows_of(write_jsonl(tmp_path / "s.jsonl", POSTS), columns=MAPPING)
    assert caplog.records == []  # nothing left out, nothing changed: nothing to warn of


def test_two_critiques_of_one_output_are_no_duplicates(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "output": "o", "critique": c, "annotator": 3} for c in ("too short", "too long")]
    first, second = rows_of(write_jsonl(tmp_path / "r.jsonl", rows), job="critique")
    assert first["sample_id"] == second["sample_id"]
    assert first["annotation_id"] != second["annotation_id"]
    assert (first["annotator"], first["seconds"]) == ("3", None)


def test_n_beyond_the_file_is_refused(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "r.jsonl", POSTS)
    assert "11 rows were asked for: 10 of 10 rows" in refusal(path, columns=MAPPING, n=11)
    assert len(rows_of(path, columns=MAPPING, n=10)) == 10


# --- what settings do ------------------------------------------------------------------------------------------------


def test_values_constants_optional_clip(tmp_path: Path) -> None:
    raw = [
        {"q": "a", "x": "1", "y": "2", "best": 0, "t": 5, "who": None},
        {"q": "b", "x": "1", "y": "2", "best": True, "t": 900, "who": "w"},
        {"q": "c", "x": "1", "y": "2", "best": "tie", "t": 100},
    ]
    rows = rows_of(
        write_jsonl(tmp_path / "r.jsonl", raw),
        columns={"prompt": "q", "outputs": ("x", "y"), "ranking": "best", "seconds": "t", "annotator": "who"},
        values={"ranking": {"0": [[0], [1]], "true": [[1], [0]], "tie": [[0, 1]]}},
        constants={"source": "mine"},
        optional=("annotator",),
        clip={"seconds": (20.0, 420.0)},
        job="rank",
    )
    assert [row["ranking"] for row in rows] == [[[0], [1]], [[1], [0]], [[0, 1]]]
    assert [row["seconds"] for row in rows] == [20.0, 420.0, 100]
    assert [row["annotator"] for row in rows] == [None, "w", None]
    assert {row["source"] for row in rows} == {"mine"}
    assert not any(problem_of(name, row[name]) for row in rows for name in ("outputs", "ranking", "seconds"))


def test_a_value_outside_its_table_is_a_problem(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "r.jsonl", [{"q": "a", "best": "Summary b"}])
    values = {"ranking": {"Summary A": [[0], [1]], "Summary B": [[1], [0]]}}
    message = refusal(path, columns={"prompt": "q", "ranking": "best"}, values=values)
    assert "'ranking' is not in values.ranking ('Summary b') Did you mean 'Summary B'?" in message


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ({"k": "2..4"}, [2, 3, 4]),
        ({"k": 3}, [3]),
        ({"k": [1, 5]}, [1, 5]),
        ({"k": "0..3", "name": ["b", "c"]}, [1, 2]),
        ({"name": "2..4"}, []),
        ({"k": "-1..0.5"}, [0]),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["r.jsonl", "r.csv"])
def test_where(where: dict[str, Any], kept: list[int], name: str, tmp_path: Path) -> None:
    raw = [{"q": f"q{k}", "k": k, "name": "abcdef"[k]} for k in range(6)]
    path = WRITERS["rows" + name[1:]](tmp_path / name, raw)
    mapping = {"prompt": "q", "k": "k"}
    found = [int(row["k"]) for row in rows_of(path, columns=mapping, where=where)] if kept else []
    assert found == kept
    if not kept:
        assert "6 rows left out by where" in refusal(path, columns=mapping, where=where)


def test_rows_outside_where_need_not_be_right(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "r.jsonl", [{"prompt": "a", "ok": 1}, {"prompt": None, "ok": 0}])
    assert len(rows_of(path, where={"ok": 1})) == 1


def test_parts_divide_by_prompt(tmp_path: Path) -> None:
    raw = [{"prompt": f"p{i // 2}", "critique": f"c{i}"} for i in range(400)]
    path = write_jsonl(tmp_path / "r.jsonl", raw)
    train, test = rows_of(path, part=(0.0, 0.8)), rows_of(path, part=(0.8, 1.0))
    assert len(train) + len(test) == 400
    assert 50 <= len(test) <= 110  # 200 prompts of which a fifth is expected, two rows each: 80
    assert not {row["prompt"] for row in train} & {row["prompt"] for row in test}


def test_templates_fill_in_one_pass_and_strip_only_where_told(tmp_path: Path) -> None:
    raw = [{"title": "{post}", "post": " p \n", "n": 3}]
    (row,) = rows_of(
        write_jsonl(tmp_path / "r.jsonl", raw),
        columns={"prompt": "{title}|{post}|{n}:", "output": " {post|strip}"},
    )
    assert (row["prompt"], row["output"]) == ("{post}| p \n|3:", " p")
    message = refusal(write_jsonl(tmp_path / "s.jsonl", [{"a": [1]}]), columns={"prompt": "x {a}"})
    assert "column 'a' is list, which cannot go into a text" in message


def test_nested_columns_and_names_with_dots(tmp_path: Path) -> None:
    raw = [{"info": {"post": "p"}, "summaries": [{"text": "a"}, {"text": "b"}], "a.b": "dotted"}]
    mapping = {"prompt": "info.post", "outputs": ("summaries[0].text", "summaries[1].text"), "note": "a.b"}
    (row,) = rows_of(write_jsonl(tmp_path / "r.jsonl", raw), columns=mapping)
    assert (row["prompt"], row["outputs"], row["note"]) == ("p", ["a", "b"], "dotted")
    plain = {"prompt": "p", "{prompt}": "braces", "messages[0]": "brackets"}
    (row,) = rows_of(write_jsonl(tmp_path / "s.jsonl", [plain]))
    assert {name: row[name] for name in plain} == plain


# --- real layouts ----------------------------------------------------------------------------------------------------


def slf5k_row(i: int, **changes: Any) -> dict[str, Any]:
    title, post = f"title {i}", f"post {i}"
    return {
        "id": f"t3_{i}",
        "subreddit": "relationships",
        "title": title,
        "post": post,
        "tldr_human_reference_summary": f"reference {i}",
        "summary_prompt": f"Write an excellent summary of the given text.\n\nTitle: {title}\n\nText: {post}\n\nTL;DR:",
        "generated_summary_for_comparison_A": f"summary A {i}.",
        "generated_summary_for_comparison_B": f"summary B {i}.",
        "generated_summary_for_feedback": f"summary F {i}.",
        "comparison_preference": "Summary B" if i % 2 else "Summary A",
        "feedback": f"critique {i}",
        "feedback_class": "Accuracy",
        "has_additional_feedback": "No",
        "ideal_human_summary": f"ideal {i}",
        "time_spent_in_seconds_feedback": 182.5,
        "time_spent_in_seconds_ideal_human_summary": 195.5,
        "time_spent_in_seconds_comparison": 61.5,
        **changes,
    }


def test_slf5k_critiques_rankings_demonstrations(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw = [slf5k_row(0), slf5k_row(1), slf5k_row(2, comparison_preference="None"), slf5k_row(3)]
    path = write_jsonl(tmp_path / "dev.jsonl", raw)
    critiques = rows_of(path, layout="slf5k", job="critique")
    assert [row["critique"] for row in critiques] == [f"critique {i}" for i in range(4)]
    assert critiques[0]["prompt"].endswith("TL;DR:")
    assert critiques[0]["output"] == " summary F 0."
    assert (critiques[0]["seconds"], critiques[0]["source_id"], critiques[0]["job"]) == (
        182.5,
        "t3_0",
        "critique",
    )
    ranked = rows_of(path, layout="slf5k", job="rank")
    assert [row["ranking"] for row in ranked] == [[[0], [1]], [[1], [0]], [[1], [0]]]
    assert ranked[0]["outputs"] == [" summary A 0.", " summary B 0."]
    assert "1 rows left out by where" in caplog.text
    demonstrations = rows_of(path, layout="slf5k", job="demonstrate", clip={"seconds": (20.0, 120.0)})
    assert [(row["completion"], row["seconds"]) for row in demonstrations][1] == (" ideal 1", 120.0)
    assert all(
        name in demonstrations[0]
        for name in columns({"path": str(path), "layout": "slf5k", "job": "demonstrate"})[1] or ()
    )


def test_slf5k_without_times_and_references(tmp_path: Path) -> None:
    """The published card does not promise them: unknown is None, never 0."""
    raw = [slf5k_row(i) for i in range(3)]
    for row in raw:
        for name in [n for n in row if n.startswith("time_spent") or n.startswith("tldr")]:
            del row[name]
    rows = rows_of(write_jsonl(tmp_path / "t.jsonl", raw), layout="slf5k", job="critique")
    assert {(row["seconds"], row["reference"]) for row in rows} == {(None, None)}


MBPP: dict[str, Any] = {
    "columns": {
        "prompt": "prompt",
        "output": "original_model_completion",
        "critique": "Feedback",
        "human_refinement": "completion",
        "human_program": "unedited_annotator_completion",
        "test": "test",
        "annotator": "worker_id",
        "task_id": "task_id",
    },
    "strip_prefix": {"output": "prompt"},
    "optional": ("annotator",),
    "newlines": "unix",
    "constants": {"seconds": 1620.0},
    "job": "critique",
}


def test_mbpp_feedback_layout(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The layout of Chen et al.'s annotations: the prompt inside two columns, CR LF, people without a name."""
    prompt = '"""\nAdd.\n"""\n\ndef add(a, b):\n'
    raw = [
        {
            "task_id": task,
            "prompt": prompt.replace("Add", f"Add {task}"),
            "test": "def check(candidate):\n\tassert candidate(1, 2) == 3",
            "Feedback": "It subtracts.\r\nAdd instead.",
            "completion": "    return a + b\r\n",
            "unedited_annotator_completion": prompt + "    return a + b\r\n",
            "original_model_completion": prompt.replace("Add", f"Add {task}") + "    return a - b\n",
            "result": None,
            "passed": True,
            "refinement_edit_distance": 0.1,
            "worker_id": None if task == 5 else "w",
        }
        for task in (5, 50, 200, 500)
    ]
    path = write_jsonl(tmp_path / "annotations.jsonl", raw)
    rows = rows_of(path, **MBPP)
    assert rows[0]["output"] == "    return a - b\n"
    assert rows[0]["critique"] == "It subtracts.\nAdd instead."
    assert [row["annotator"] for row in rows] == [None, "w", "w", "w"]
    assert {row["seconds"] for row in rows} == {1620.0}
    assert "\r" not in json.dumps(rows)
    assert "12 texts with CR LF line ends" in caplog.text
    assert [row["task_id"] for row in rows_of(path, **MBPP, where={"task_id": "311..974"})] == [500]
    raw[1]["original_model_completion"] = "def other(): pass"
    assert "line 2: 'output' does not begin with its 'prompt'" in refusal(write_jsonl(path, raw), **MBPP)


# --- the hub ---------------------------------------------------------------------------------------------------------


def test_hub_dataset_is_streamed_at_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[Any] = []

    def load_dataset(name: str, subset: str | None, **settings: Any) -> Any:
        asked.append((name, subset, settings))
        return datasets.Dataset.from_list(POSTS).to_iterable_dataset()

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    rows = list(load(dataset="a/b", subset="s", split="test", revision="0" * 40, columns=MAPPING, n=3))
    assert len(rows) == 3
    assert asked == [("a/b", "s", {"split": "test", "revision": "0" * 40, "streaming": True})]


def test_hub_dataset_without_network_says_what_to_do() -> None:
    with pytest.raises(ComponentError, match=r"(?s)dataset 'a/b'.*save_to_disk: path takes both"):
        list(load(dataset="a/b", revision="0" * 40))


def test_the_newest_commit_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "newest_commit", lambda name: "f" * 40)
    with pytest.raises(UsageError, match="It is now at " + "f" * 40):
        columns({"dataset": "a/b"})


# --- worlds ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dice:
    """A world of few prompts, so that equal ones are drawn."""

    sides: int = 60

    @property
    def splits(self) -> Mapping[str, str]:
        return {"train": "all", "test": "all"}

    def facts(self, rng: random.Random, split: str) -> dict[str, Any]:
        return {"side": rng.randrange(self.sides), "split": split}

    def prompt(self, facts: dict[str, Any]) -> str:
        return f"{facts['split']} {facts['side']}:"


def of_world(**settings: Any) -> list[dict[str, Any]]:
    return list(load(**{"world": Dice(), "n": 50, **settings}))


def test_world_rows_are_nested_distinct_and_seeded() -> None:
    rows = of_world()
    assert list(rows[0]) == ["id", "prompt", "facts"]
    assert len({row["prompt"] for row in rows}) == len({row["id"] for row in rows}) == 50
    assert all(row["prompt"] == Dice().prompt(row["facts"]) for row in rows)
    for n in (1, 17, 49):
        assert of_world(n=n) == rows[:n]
    assert of_world() == rows
    assert of_world(seed=1)[:10] != rows[:10]
    assert of_world(split="test")[0]["facts"]["side"] != rows[0]["facts"]["side"]
    assert columns({"world": Dice(), "n": 5}) == ((), ("id", "prompt", "facts"))


def test_ids_of_a_world_do_not_depend_on_the_truth() -> None:
    assert all(row["id"] == row_id({"prompt": row["prompt"]}) for row in of_world(n=3))


def test_an_exhausted_world_says_so() -> None:
    with pytest.raises(DataError, match="gave 6 different prompts, not 7"):
        list(load(world=Dice(sides=6), n=7))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"split": "tset"}, "Did you mean 'test'"),
        ({"n": None}, "a world is endless"),
        ({"columns": {"prompt": "x"}}, "columns: belongs to path and dataset"),
    ],
    ids=str,
)
def test_wrong_settings_of_worlds(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        columns({"world": Dice(), "n": 5, **given})
    with pytest.raises(UsageError, match=said):
        of_world(**given)


# --- resume, order, memory -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("done", [0, 1, 7, 39, 40])
@pytest.mark.parametrize(
    "given",
    [
        {"world": Dice(), "n": 40},
        {"n": 40},
        {"n": 40, "shuffle": True},
        {"n": 40, "on_problem": "drop", "seed": 3},
    ],
    ids=["world", "file", "shuffled", "dropping"],
)
def test_a_resumed_load_gives_the_bytes_of_an_unbroken_one(
    done: int, given: dict[str, Any], tmp_path: Path
) -> None:
    raw = (
        [{"prompt": f"p{i % 45}"} for i in range(60)]
        if "on_problem" in given
        else [{"prompt": f"p{i}"} for i in range(60)]
    )
    source = {} if "world" in given else {"path": str(write_jsonl(tmp_path / "r.jsonl", raw))}
    whole = [line(row) for row in load(**source, **given)]
    rest = [line(row) for row in load(**source, **given, done=done)]
    assert len(whole) == 40
    assert whole[:done] + rest == whole


def test_a_duplicate_across_the_border_of_a_resume_is_found(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "r.jsonl", [*({"prompt": f"p{i}"} for i in range(20)), {"prompt": "p3"}])
    assert "line 21: is a duplicate (says the same as r.jsonl: line 4" in refusal(path, done=10)


def test_shuffled_rows_are_nested_and_owe_nothing_to_the_order_of_the_file(tmp_path: Path) -> None:
    raw = [{"prompt": f"p{i}"} for i in range(50)]
    path = write_jsonl(tmp_path / "r.jsonl", raw)
    whole = rows_of(path, shuffle=True)
    assert whole != rows_of(path)
    assert sorted(row["id"] for row in whole) == sorted(row["id"] for row in rows_of(path))
    assert rows_of(path, shuffle=True, n=20) == whole[:20]
    assert rows_of(write_jsonl(tmp_path / "back.jsonl", raw[::-1]), shuffle=True) == whole
    assert rows_of(path, shuffle=True, seed=1) != whole


@pytest.mark.parametrize("shuffle", [False, True])
def test_memory_does_not_grow_with_the_rows(shuffle: bool, tmp_path: Path) -> None:
    """Python's own peak at ten times the rows (4 MiB of them) is that at one time and at most 300 KiB."""

    def peak(n: int) -> int:
        path = write_jsonl(tmp_path / f"{n}.jsonl", ({"prompt": f"{i} " + "x" * 1000} for i in range(n)))
        tracemalloc.start()
        try:
            assert sum(1 for _ in load(path=str(path), shuffle=shuffle)) == n
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)
    assert peak(4000) - peak(400) < 300 * 1024


@pytest.mark.slow
def test_peak_memory_is_flat_through_load_choose_and_export() -> None:
    """A minute: the benchmark itself, which fails above 100 MiB more."""
    program = Path(__file__).parent.parent / "benchmarks" / "memory.py"
    done = subprocess.run(
        [sys.executable, program, "--rows", "1000", "30000"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


# --- the guide -------------------------------------------------------------------------------------------------------


GUIDE = Path(__file__).parent.parent / "docs" / "your-data.md"


def test_the_examples_of_the_guide_run() -> None:
    assert doctest.testfile(str(GUIDE), module_relative=False, encoding="utf-8") == (0, 8)


def test_every_load_step_of_the_guide_is_one() -> None:
    """The settings in docs/your-data.md are checked as a recipe's would be."""
    import yaml

    text = GUIDE.read_text(encoding="utf-8")
    steps = [yaml.safe_load(block.partition("```")[0])["load"] for block in text.split("```yaml\n")[1:]]
    assert len(steps) >= 5
    problems: list[str] = []
    for step in steps:
        resolve(load, "load", step, "load", {}, problems)
    assert problems == []
    assert {key for step in steps for key in step} >= {
        "path",
        "dataset",
        "columns",
        "values",
        "where",
        "part",
        "layout",
    }


def test_twins_stand_beside_their_post_and_differ_in_the_group_alone() -> None:
    rows = list(load(world=Nano(), split="test", n=10, twins=True))
    plain = list(load(world=Nano(), split="test", n=5))
    assert [row["id"] for row in rows[::2]] == [row["id"] for row in plain]
    for post, twin in zip(rows[::2], rows[1::2], strict=True):
        assert post["twin_of"] == twin["twin_of"] == post["id"] != twin["id"]
        assert {post["group_of"], twin["group_of"]} == {"he", "she"}
        assert twin["facts"] == {**post["facts"], "pronoun": twin["group_of"]}
        assert post["prompt"] != twin["prompt"]
    assert list(load(world=Nano(), split="test", n=10, twins=True, done=3)) == rows[3:]
    assert list(load(world=Nano(), split="test", n=9, twins=True)) == rows[:9]


def test_a_later_round_gets_posts_that_no_earlier_one_had() -> None:
    rows = list(load(world=Nano(), n=9))
    assert list(load(world=Nano(), n=5, skip=4)) == rows[4:]
    assert list(load(world=Nano(), n=5, skip=4, done=2)) == rows[6:]
    for wrong in ({"skip": -1}, {"skip": 1, "twins": True}):
        with pytest.raises(UsageError, match="skip: "):
            load(world=Nano(), n=2, **wrong)
