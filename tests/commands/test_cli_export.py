"""ilf export: TRL's columns, refusals that are counted, files that load and are whole, flat memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

CHAT = [{"role": "user", "content": "hi"}]


def rows(n: int = 5) -> list[dict[str, Any]]:
    return [
        {
            "id": f"r{i}", "prompt": f"p{i}\n", "output": f" out{i}", "outputs": [f" out{i}"], "critique": "c",
            "facts": {"wording": [["a", 0]]}, "parts": {"recall": None if i else 0.5}, "completion": f" done{i}",
        }
        for i in range(n)
    ]  # fmt: skip


@pytest.fixture
def chosen(tmp_path: Path, step: Any) -> Any:
    def make(made: list[dict[str, Any]]) -> Path:
        return Path(step(tmp_path / "runs" / "nano" / "choose-0123456789", made))

    return make


def loaded(path: str, tmp_path: Path) -> Any:
    kind = "parquet" if path.endswith("parquet") else "json"
    return datasets.load_dataset(kind, data_files=path, split="train", cache_dir=str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("form", "name", "columns"),
    [
        ("trl-sft", "nano-choose-0123456789.trl-sft.jsonl", ["prompt", "completion"]),
        ("trl-dpo", "nano-choose-0123456789.trl-dpo.jsonl", ["prompt", "chosen", "rejected"]),
        ("jsonl", "nano-choose-0123456789.jsonl", list(rows()[0])),
        ("parquet", "nano-choose-0123456789.parquet", list(rows()[0])),
    ],
)
def test_every_format_loads_with_datasets(
    ilf: Any, chosen: Any, tmp_path: Path, form: str, name: str, columns: list[str]
) -> None:
    chosen(rows())
    said = ilf("export", "nano/choose", "--format", form)
    assert said.status == 0
    assert said.out == f"{name}: 5 rows\n"
    found = loaded(name, tmp_path)
    assert found.column_names == columns
    assert list(found["prompt"]) == [f"p{i}\n" for i in range(5)]
    if form == "trl-dpo":
        assert found[2] == {"prompt": "p2\n", "chosen": " done2", "rejected": " out2"}
    if form == "parquet":
        assert found[0]["parts"] == {"recall": 0.5}
        assert json.loads(found[0]["facts"]) == {"wording": [["a", 0]]}
        assert "written as JSON text: facts" in said.err
    assert not [path for path in Path().iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("form", ["trl-sft", "trl-dpo"])
def test_messages_stay_messages(ilf: Any, chosen: Any, tmp_path: Path, form: str) -> None:
    chosen([{**row, "prompt": CHAT} for row in rows()])
    ilf("export", "choose", "--format", form, "-o", "x.jsonl")
    row = loaded("x.jsonl", tmp_path)[0]
    assert row["prompt"] == CHAT
    assert row["completion" if form == "trl-sft" else "chosen"] == [
        {"role": "assistant", "content": " done0"}
    ]


def test_pairs_of_people_are_taken_as_they_are(ilf: Any, chosen: Any) -> None:
    chosen([{**row, "chosen": " a", "rejected": " b"} for row in rows()])
    ilf("export", "choose", "--format", "trl-dpo", "-o", "x.jsonl")
    assert json.loads(Path("x.jsonl").read_text().splitlines()[0]) == {
        "prompt": "p0\n",
        "chosen": " a",
        "rejected": " b",
    }


def test_equal_pairs_are_refused_and_counted(ilf: Any, chosen: Any) -> None:
    made = rows()
    made[1]["completion"], made[3]["completion"] = made[1]["output"], made[3]["output"] + "\n"
    chosen(made)
    said = ilf("export", "choose", "--format", "trl-dpo", "-o", "x.jsonl")
    assert said.status == 1
    assert "2 of 5 rows have the same text as chosen and rejected" in said.err
    assert "(rows 2, 4)" in said.err
    assert not list(Path().glob("*.jsonl"))
    said = ilf("export", "choose", "--format", "trl-dpo", "-o", "x.jsonl", "--drop-equal")
    assert said.out == "x.jsonl: 3 rows\n"
    assert "2 rows left out: chosen and rejected are equal" in said.err
    assert len(Path("x.jsonl").read_text().splitlines()) == 3
    assert ilf("export", "choose", "--format", "trl-sft", "--drop-equal").status == 2


def test_rows_that_lack_a_text_are_named_and_nothing_is_written(ilf: Any, chosen: Any) -> None:
    made = rows(30)
    for row in made[:25]:
        row["completion"] = None
    made[25]["completion"] = " "
    chosen(made)
    said = ilf("export", "choose", "--format", "trl-sft", "-o", "x.jsonl")
    assert said.status == 1
    assert "26 row(s) cannot be exported as trl-sft" in said.err
    assert "row 1: 'completion' is missing" in said.err
    assert "... and 6 more" in said.err
    assert not Path("x.jsonl").exists()


def test_nothing_is_replaced_unless_forced(ilf: Any, chosen: Any) -> None:
    chosen(rows())
    Path("x.jsonl").write_text("mine")
    said = ilf("export", "choose", "--format", "jsonl", "-o", "x.jsonl")
    assert said.status == 2
    assert Path("x.jsonl").read_text() == "mine"
    assert ilf("export", "choose", "--format", "jsonl", "-o", "x.jsonl", "--force").status == 0
    assert len(Path("x.jsonl").read_text().splitlines()) == 5
    assert ilf("export", "choose", "--format", "jsonl", "-o", "no/x.jsonl").status == 2
    assert ilf("export", "nano", "--format", "jsonl").status == 2


def test_a_failure_leaves_the_old_file_and_no_scrap(
    ilf: Any, chosen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen(rows())
    Path("x.jsonl").write_text("old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    said = ilf("export", "choose", "--format", "jsonl", "-o", "x.jsonl", "--force")
    assert said.status == 1
    assert Path("x.jsonl").read_text() == "old"
    assert [path.name for path in Path().iterdir()] == ["runs", "x.jsonl"] or len(list(Path().iterdir())) == 2


def test_stdout(command: Any, chosen: Any, tmp_path: Path) -> None:
    chosen(rows())
    process = command("export", "choose", "--format", "trl-sft", "-o", "-", cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert [json.loads(line)["completion"] for line in out.splitlines()] == [f" done{i}" for i in range(5)]
    assert err == "stdout: 5 rows\n"


def test_broken_characters_are_counted(ilf: Any, chosen: Any, tmp_path: Path) -> None:
    chosen(
        [
            {"id": "1", "prompt": "p", "completion": " a\ud83d"},
            {"id": "2", "prompt": "p", "completion": " ok"},
        ]
    )
    for form, name in (("jsonl", "x.jsonl"), ("parquet", "x.parquet")):
        said = ilf("export", "choose", "--format", form, "-o", name)
        assert "1 rows held broken characters" in said.err
        assert loaded(name, tmp_path)[0]["completion"] == " a\ufffd"


def test_types_are_found_over_all_rows(ilf: Any, chosen: Any, tmp_path: Path) -> None:
    made = [{"id": str(i), "prompt": "p", "n": 1, "why": None, "parts": {"a": None}} for i in range(2500)]
    made += [{"id": "x", "prompt": "p", "n": 1.5, "why": "late", "parts": {"a": 1.0, "b": 2.0}, "late": [1]}]
    chosen(made)
    assert ilf("export", "choose", "--format", "parquet", "-o", "x.parquet").status == 0
    found = loaded("x.parquet", tmp_path)
    assert found[2500]["why"] == "late"
    assert found[2500]["parts"] == {"a": 1.0, "b": 2.0}
    assert found[0]["n"] == 1.0
    assert found[2500]["late"] == [1]


def test_what_parquet_cannot_hold_becomes_json_text(ilf: Any, chosen: Any, tmp_path: Path) -> None:
    chosen(
        [
            {"id": "1", "prompt": "p", "parts": {}, "x": 2**70},
            {"id": "2", "prompt": CHAT, "parts": {}, "x": 1},
        ]
    )
    said = ilf("export", "choose", "--format", "parquet", "-o", "x.parquet")
    assert "written as JSON text: prompt, parts, x" in said.err
    found = loaded("x.parquet", tmp_path)
    assert [json.loads(found[i][c]) for i, c in ((1, "prompt"), (0, "parts"), (0, "x"))] == [CHAT, {}, 2**70]


def test_a_jsonl_that_datasets_will_not_load_says_so(
    ilf: Any, chosen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ilf.commands._exports._TYPED_BY", 100)
    made = [{"id": str(i), "prompt": "p", "grade": 0.5, "why": None} for i in range(10)]
    chosen([*made, {"id": "x", "prompt": "p", "grade": 1, "why": "late"}])
    said = ilf("export", "choose", "--format", "jsonl", "-o", "x.jsonl")
    assert "datasets may fail to load why:" in said.err
    assert "use --format parquet" in said.err


def test_no_rows_is_an_error(ilf: Any, chosen: Any) -> None:
    chosen([])
    for form in ("jsonl", "parquet"):
        assert ilf("export", "choose", "--format", form).status == 1
    assert [path.name for path in Path().iterdir()] == ["runs"]


def test_an_unfinished_step_is_refused(ilf: Any, chosen: Any) -> None:
    (chosen(rows()) / "made_by.json").unlink()
    said = ilf("export", "choose", "--format", "jsonl")
    assert said.status == 2
    assert "not finished" in said.err


#: Not ru_maxrss: a child's begins with what its parent had before exec.
PEAK = """
import re, sys
from pathlib import Path
from ilf.__main__ import main
main(sys.argv[1:])
print("peak", re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", ["trl-sft", "trl-dpo", "jsonl", "parquet"])
def test_memory_is_flat(command: Any, tmp_path: Path, step: Any, form: str) -> None:
    """Peak memory of 30,000 rows of 4 kB (120 MB) is at most that of 300 rows and 64 MiB."""
    peaks = []
    for n in (300, 30_000):
        step(
            tmp_path / "runs" / f"r{n}" / "choose-0123456789",
            [{**row, "prompt": "p" * 4000} for row in rows(n)],
        )
        words = ("export", f"r{n}/choose", "--format", form, "-o", f"{n}.out")
        process = command(*words, python=("-c", PEAK), cwd=tmp_path)
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        peaks.append(int(out.rpartition("peak ")[2]))
    assert peaks[1] - peaks[0] <= 64 * 1024
