"""Feedback that people write into a file: real files, what editors and people do to them, and waiting."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ilf.__main__ import main
from ilf.collect import collect
from ilf.errors import DataError, UsageError, Waiting
from ilf.feedback.jsonl_file import JsonlFile
from ilf.files import sha256_file

Row = dict[str, Any]
NASTY = 'One\u2028two\u2029three\x85four "quoted" \\ back\ttab\r\nline  \U0001f600 \ud83d'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "answers.jsonl"


def rows_of(n: int = 3) -> list[Row]:
    return [
        {
            "id": f"r{i}",
            "sample_id": f"r{i}",
            "prompt": f"Post {i}",
            "output": f" o{i}",
            "outputs": [f" o{i}", f" p{i}"],
        }
        for i in range(n)
    ]


def source(file: Path, **settings: Any) -> JsonlFile:
    return JsonlFile(path=str(file), **settings)


def entries(file: Path) -> list[Row]:
    return [json.loads(line) for line in file.read_bytes().decode("utf-8-sig").split("\n") if line.strip()]


def answer(file: Path, **by_id: Any) -> None:
    """Fills in answers as a person would: a text (critique), or a dict of fields."""
    filled = []
    for entry in entries(file):
        given = by_id.get(entry["id"], {})
        filled.append({**entry, **(given if isinstance(given, dict) else {"critique": given})})
    file.write_text("".join(json.dumps(entry) + "\n" for entry in filled), encoding="utf-8")


def collected(file: Path, rows: list[Row], job: Any = "critique", **settings: Any) -> list[Row]:
    return list(collect(rows, feedback=source(file, **settings), job=job))


def test_first_run_asks_and_waits_second_run_reads(file: Path) -> None:
    rows = rows_of()
    with pytest.raises(
        Waiting, match=r"0 of 3 rows are answered in .*answers\.jsonl\. Fill in 'critique'"
    ) as waiting:
        collected(file, rows)
    assert waiting.value.exit_status == 75
    assert [(e["id"], e["prompt"], e["output"], e["critique"]) for e in entries(file)] == [
        (f"r{i}", f"Post {i}", f" o{i}", "") for i in range(3)
    ]
    answer(file, r0="too long", r2={"critique": "the price is missing", "annotator": "ann", "seconds": 12.5})
    with pytest.raises(Waiting, match="2 of 3 rows"):
        collected(file, rows)
    answer(file, r1="fine")
    found = collected(file, rows)
    assert [row["critique"] for row in found] == ["too long", "fine", "the price is missing"]
    assert [(row["annotator"], row["seconds"]) for row in found] == [
        ("anonymous", None), ("anonymous", None), ("ann", 12.5),
    ]  # fmt: skip
    assert [row["sample_id"] for row in found] == ["r0", "r1", "r2"]
    assert len({row["id"] for row in found}) == len({row["annotation_id"] for row in found}) == 3


def test_only_what_the_page_needs_is_shown(file: Path) -> None:
    """Ground truth and another person's words never reach the one who answers."""
    rows = [{**row, "facts": {"price": 40}, "reference": "secret", "critique": "old"} for row in rows_of(1)]
    source(file).push(rows, "critique", 0, Path("people"))
    assert set(entries(file)[0]) == {"id", "prompt", "output", "critique", "annotator", "seconds"}
    assert entries(file)[0]["critique"] == ""
    source(file).push(rows, "demonstrate", 0, Path("people"))
    assert set(entries(file)[1]) == {"id", "prompt", "completion", "annotator", "seconds"}


def test_asking_again_changes_no_byte_and_new_rows_are_added_behind(file: Path) -> None:
    source(file).push(rows_of(2), "critique", 0, Path("people"))
    answer(file, r0="mine")
    written = file.read_bytes()
    source(file).push(rows_of(2), "critique", 1, Path("people"))
    assert file.read_bytes() == written
    source(file).push([*rows_of(3), *rows_of(3)], "critique", 0, Path("people"))
    assert file.read_bytes().startswith(written)
    assert [entry["id"] for entry in entries(file)] == ["r0", "r1", "r2"]


def test_several_annotators_are_several_rows_in_the_order_of_the_rows(file: Path) -> None:
    lines = [
        {"id": "r1", "critique": "B says", "annotator": "b", "seconds": 10},
        {"id": "r0", "critique": "A says", "annotator": "a", "seconds": 20},
        {"id": "r1", "critique": "A says", "annotator": "a", "seconds": 30},
        {"id": "r1", "critique": ""},
    ]
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    found = collected(file, rows_of(2))
    assert [(r["sample_id"], r["annotator"], r["seconds"]) for r in found] == [
        ("r0", "a", 20), ("r1", "b", 10), ("r1", "a", 30),
    ]  # fmt: skip
    assert len({row["id"] for row in found}) == 3


def test_two_people_without_names_may_say_the_same(file: Path) -> None:
    file.write_text('{"id":"r0","critique":"fine","seconds":5}\n' * 2, encoding="utf-8")
    found = collected(file, rows_of(1))
    assert [row["seconds"] for row in found] == [5, 5]
    assert len({row["id"] for row in found}) == len({row["annotation_id"] for row in found}) == 2


def test_jobs_on_one_sample_are_annotations_of_their_own(file: Path) -> None:
    rows = rows_of(1)
    source(file).push(rows, "critique", 0, Path("people"))
    source(file).push(rows, "demonstrate", 0, Path("people"))
    critique, demonstration = entries(file)
    lines = [{**critique, "critique": "same"}, {**demonstration, "completion": "same"}]
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    said, shown = collected(file, rows)[0], collected(file, rows, "demonstrate")[0]
    assert said["annotation_id"] != shown["annotation_id"]
    assert (said["job"], shown["job"]) == ("critique", "demonstrate")


def test_an_edit_changes_that_annotation_alone_and_a_withdrawal_waits_again(file: Path) -> None:
    rows = rows_of(2)
    source(file).push(rows, "critique", 0, Path("people"))
    answer(file, r0="first thought", r1="keep")
    before = collected(file, rows)
    answer(file, r0="second thought")
    after = collected(file, rows)
    assert before[1] == after[1]
    assert before[0]["id"] != after[0]["id"]
    assert before[0]["annotation_id"] != after[0]["annotation_id"]
    answer(file, r0="")
    with pytest.raises(Waiting, match="1 of 2"):
        collected(file, rows)


def test_answers_to_other_rows_are_counted(file: Path) -> None:
    source(file).push(rows_of(2), "critique", 0, Path("people"))
    answer(file, r0="a", r1="b")
    others = [{**row, "id": f"new{row['id']}"} for row in rows_of(1)]
    with pytest.raises(
        Waiting, match=r"0 of 1 rows are answered .* 2 answered line\(s\) there belong to other rows"
    ):
        collected(file, others)


def test_unknown_seconds_stay_unknown_unless_a_setting_says(file: Path) -> None:
    file.write_text('{"id":"r0","critique":"a"}\n{"id":"r0","critique":"b","seconds":0}\n', encoding="utf-8")
    assert [row["seconds"] for row in collected(file, rows_of(1))] == [None, 0]
    assert [row["seconds"] for row in collected(file, rows_of(1), seconds=90.0)] == [90.0, 0]


def test_price_is_the_papers_median_or_the_setting(file: Path) -> None:
    prices = [source(file).price(job, 4) for job in ("critique", "rank", "demonstrate")]
    assert prices == [182.5, 184.5, 195.5]
    assert source(file, seconds=30.0).price("rank", 4) == 30.0
    with pytest.raises(UsageError, match="seconds"):
        source(file, seconds=-1.0)


# ---------------------------------------------------------------- hostile content


def test_texts_survive_the_way_through_the_file(file: Path) -> None:
    rows = [{**rows_of(1)[0], "prompt": NASTY, "output": NASTY}]
    source(file).push(rows, "critique", 0, Path("people"))
    text = file.read_bytes().decode("utf-8")
    assert len(text.splitlines()) == 1, "an editor shows one line: nothing in it looks like the end of a line"
    assert (entries(file)[0]["prompt"], entries(file)[0]["output"]) == (NASTY, NASTY)
    answer(file, r0=NASTY)
    assert collected(file, rows)[0]["critique"] == NASTY


def test_raw_line_separators_in_an_answer_are_no_line_ends(file: Path) -> None:
    said = "one\u2028two\x85three"
    file.write_text(json.dumps({"id": "r0", "critique": said}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert collected(file, rows_of(1))[0]["critique"] == said


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_what_editors_do_to_a_file(file: Path, mark: str, end: str, last: bool) -> None:
    """A byte-order mark, Windows line ends, no line end at the end, empty lines: read, and kept when rows are added."""
    lines = [json.dumps({"id": f"r{i}", "critique": f"c{i}"}) for i in range(2)]
    file.write_bytes((mark + end + end.join(lines) + (end if last else "")).encode("utf-8"))
    before = file.read_bytes()
    assert [row["critique"] for row in collected(file, rows_of(2))] == ["c0", "c1"]
    assert file.read_bytes() == before
    source(file).push(rows_of(3), "critique", 0, Path("people"))
    assert file.read_bytes().startswith(before)
    assert [entry["id"] for entry in entries(file)] == ["r0", "r1", "r2"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'{"id": "r0", "critique": "ok"}\n{"id": "r1", "crit', "line 2 is not JSON"),
        (b'\n\n{"id": "r0"\n', "line 3 is not JSON"),
        (b'["r0", "fine"]\n', "line 1 has no 'id'"),
        (b'{"critique": "to whom?"}\n', "line 1 has no 'id'"),
        (b'{"id": 7, "critique": "a number"}\n', "line 1 has no 'id'"),
        ('{"id": "r0", "critique": "schön"}\n'.encode("latin-1"), "is not UTF-8"),
        ('{"id": "r0", "critique": "a"}\n'.encode("utf-16"), "is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_and_left_alone(
    file: Path, content: bytes, complaint: str
) -> None:
    file.write_bytes(content)
    for attempt in (
        lambda: source(file).push(rows_of(3), "critique", 0, Path("people")),
        lambda: collected(file, rows_of(3)),
    ):
        with pytest.raises(DataError, match=complaint):
            attempt()
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    ("job", "line", "complaint"),
    [
        ("critique", {"critique": 7}, "line 3: 'critique' must be text, is int"),
        ("critique", {"critique": ["a"]}, "line 3: 'critique' must be text, is list"),
        ("critique", {"critique": "a", "seconds": "12"}, "line 3: 'seconds' must be number, is str"),
        ("critique", {"critique": "a", "seconds": True}, "line 3: 'seconds' must be number, is bool"),
        ("critique", {"critique": "a", "seconds": -3}, "line 3: 'seconds' must be 0 or more, is -3"),
        (
            "rank",
            {"ranking": [1, 0]},
            r"line 3: 'ranking' must be list of groups.*best first.*\[\[2\], \[0, 1\]\]",
        ),
        (
            "rank",
            {"ranking": [[1], [2]]},
            r"line 3: 'ranking' must name each of the outputs 0\.\.1 once, has \[1, 2\]",
        ),
        ("rank", {"ranking": [[0]]}, r"'ranking' must name each of the outputs 0\.\.1 once, has \[0\]"),
        ("rank", {"ranking": [[0, 1], [0]]}, r"has \[0, 0, 1\]"),
    ],
)
def test_an_answer_that_cannot_be_used_is_named_with_its_line(
    file: Path, job: str, line: Row, complaint: str
) -> None:
    """Line numbers are those of the file, empty lines counted."""
    file.write_text('\n{"id": "r1"}\n' + json.dumps({"id": "r0", **line}) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=complaint):
        list(source(file).pull(rows_of(1), job, 0, Path("people")))


def test_all_problems_are_told_at_once(file: Path) -> None:
    file.write_text("".join(f'{{"id": "r{i}", "critique": {i}}}\n' for i in range(30)), encoding="utf-8")
    with pytest.raises(DataError, match=r"30 answer\(s\) cannot be used(.|\n)*line 20:(.|\n)*and 10 more"):
        collected(file, rows_of(30))


def test_rankings_with_ties(file: Path) -> None:
    rows = [{**row, "outputs": ["a", "b", "c"]} for row in rows_of(1)]
    source(file).push(rows, "rank", 0, Path("people"))
    assert entries(file)[0]["outputs"] == ["a", "b", "c"]
    answer(file, r0={"ranking": [[2], [0, 1]], "seconds": 100})
    assert collected(file, rows, "rank")[0]["ranking"] == [[2], [0, 1]]


# ---------------------------------------------------------------- the file on disk


def test_missing_folders_are_made(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "answers.jsonl"
    with pytest.raises(Waiting):
        collected(file, rows_of(1))
    assert len(entries(file)) == 1


def test_a_link_stays_a_link_and_the_mode_stays(tmp_path: Path) -> None:
    """A shared file is often a link, writable by a group."""
    real, link = tmp_path / "shared.jsonl", tmp_path / "answers.jsonl"
    source(real).push(rows_of(1), "critique", 0, Path("people"))
    real.chmod(0o664)
    link.symlink_to(real)
    source(link).push(rows_of(2), "critique", 0, Path("people"))
    assert link.is_symlink()
    assert len(entries(real)) == 2
    assert stat.S_IMODE(real.stat().st_mode) == 0o664
    assert sorted(os.listdir(tmp_path)) == ["answers.jsonl", "shared.jsonl"]  # noqa: PTH208 - hidden files too


def test_a_write_that_fails_loses_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source(file).push(rows_of(1), "critique", 0, Path("people"))
    answer(file, r0="precious")
    before = sha256_file(file)

    def full(fd: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        source(file).push(rows_of(2), "critique", 0, Path("people"))
    assert sha256_file(file) == before


# ---------------------------------------------------------------- as a step of a recipe

RECIPE = """
generator: {name: toys.echo}
form: base
steps:
  load: {path: posts.jsonl}
  sample: {n: 2}
  collect: {feedback: {name: jsonl_file, path: answers.jsonl}, job: critique}
  refine: {n: 2}
"""


def run(recipe: Path, runs: Path, *words: str) -> int:
    return main(["run", str(recipe), "--runs", str(runs), "--quiet", *words])


def test_the_command_waits_with_status_75_and_goes_on(
    recipe_file: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, runs = recipe_file(RECIPE), tmp_path / "runs"
    (recipe.parent / "posts.jsonl").write_text('{"prompt": "A"}\n{"prompt": "B"}\n', encoding="utf-8")
    file = recipe.parent / "answers.jsonl"
    assert run(recipe, runs) == 75
    assert "0 of 2 rows are answered" in capsys.readouterr().err
    assert not list(runs.glob("toy/collect-*")), "an attempt that got nothing leaves nothing behind"
    first = {path: path.read_bytes() for path in runs.rglob("rows.jsonl")}
    for entry in entries(file):
        answer(file, **{entry["id"]: f"say more than{entry['output']}"})
    assert run(recipe, runs) == 0
    assert all(path.read_bytes() == content for path, content in first.items()), "samples are not drawn again"
    assert len(list(runs.rglob("refine-*/rows.jsonl"))) == 1
    assert run(recipe, runs) == 0
    assert len(list(runs.rglob("collect-*/made_by.json"))) == 1, "the file is what it was: nothing runs again"
    file.write_text(file.read_text(encoding="utf-8").replace("say more", "say less"), encoding="utf-8")
    assert run(recipe, runs) == 0
    assert len(list(runs.rglob("collect-*/made_by.json"))) == 2, (
        "an edit makes another snapshot, the old one stays"
    )
    assert len(list(runs.rglob("sample-*/made_by.json"))) == 1


def test_a_bad_answer_ends_the_command_with_status_1(
    recipe_file: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, runs = recipe_file(RECIPE), tmp_path / "runs"
    (recipe.parent / "posts.jsonl").write_text('{"prompt": "A"}\n', encoding="utf-8")
    assert run(recipe, runs) == 75
    file = recipe.parent / "answers.jsonl"
    answer(file, **{entries(file)[0]["id"]: {"critique": 3}})
    assert run(recipe, runs) == 1
    assert "answers.jsonl: line 1: 'critique' must be text, is int" in capsys.readouterr().err
