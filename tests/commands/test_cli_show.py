"""ilf show: finding runs and steps by part of their names, and rows that cannot drive the terminal."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from ilf.commands import _terminal

CHOSEN = {
    "id": "aaaa000011112222", "sample_id": "bbbb000011112222", "prompt": "POST: a\nTL;DR:", "output": " first",
    "outputs": [" first"], "critique": "say blue", "annotator": "p1", "seconds": 182.5, "critique_shown": "say red",
    "refinements": [" one", " two", " three"], "candidates": "refinements", "scores": [0.5, 0.875, None], "picked": 1,
    "is_tied": False, "completion": " two", "graded": "completion", "grade": 0.25, "grades": [0.25],
    "parts": {"recall": 0.5, "toxicity": None}, "reasons": ["cannot be parsed"], "facts": {"name": "Tom"},
}  # fmt: skip


@pytest.fixture
def runs(tmp_path: Path, step: Any) -> Path:
    """Two runs: nano with two choose steps (the older used last), other with one."""
    base = tmp_path / "runs"
    step(base / "nano" / "sample-aaaaaaaaaa", [{"id": "1", "prompt": "p", "output": "o"}])
    step(
        base / "nano" / "choose-3064900000", [CHOSEN], settings={"ranker": {"name": "similarity"}, "seed": 3}
    )
    step(base / "nano" / "choose-bbbbbbbbbb", [{**CHOSEN, "id": "z"}] * 5)
    step(base / "other" / "choose-cccccccccc", [CHOSEN])
    os.utime(base / "nano" / "choose-3064900000" / "made_by.json", (1, 1))
    note = {"run": {"words": ["ilf", "run", "nano"], "at": "2026-01-01", "steps": ["choose-3064900000"]}}
    (base / "nano" / "last.json").write_text(json.dumps(note))
    return base


def test_runs_and_steps_are_listed(ilf: Any, runs: Path) -> None:
    told = ilf("show").out
    assert "runs/nano       3  2026-01-01  ilf run nano" in told
    told = ilf("show", "nano").out
    assert "choose-3064900000     1" in told
    assert "similarity, seed 3" in told
    assert told.count("not used last") == 2
    assert len(json.loads(ilf("show", "nano", "--json").out)["steps"]) == 3


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("nano/choose", "nano/choose-3064900000"),
        ("choose-30649", "nano/choose-3064900000"),
        ("nano/choose-bb", "nano/choose-bbbbbbbbbb"),
        ("other/choose", "other/choose-cccccccccc"),
        ("sample", "nano/sample-aaaaaaaaaa"),
        ("runs/nano/choose-bbbbbbbbbb", "nano/choose-bbbbbbbbbb"),
        ("runs/nano/choose-bbbbbbbbbb/rows.jsonl", "nano/choose-bbbbbbbbbb"),
    ],
)
def test_partial_names_are_resolved(ilf: Any, runs: Path, name: str, folder: str) -> None:
    Path("nano").mkdir()  # a recipe's folder of the run's name is no obstacle
    said = ilf("show", name, "--json")
    assert said.status == 0, said.err
    assert json.loads(said.out)["step"] == f"runs/{folder}"
    assert ("1 other(s) of this name" in said.err) == (name == "nano/choose")


@pytest.mark.parametrize("name", ["choose", "chose", "nano/x", "", "nano/"])
def test_names_that_do_not_say_which(ilf: Any, runs: Path, name: str) -> None:
    said = ilf("show", name or "/")
    if name == "nano/":
        assert said.status == 0
    else:
        assert said.status == 2
        assert ("in several runs; name one" in said.err) == (name == "choose")


def test_a_row_is_readable(ilf: Any, runs: Path) -> None:
    told = ilf("show", "choose-30649").out
    lines = told.splitlines()
    assert "row 1 of 1   id aaaa000011112222" in told
    assert "  >  2   0.875   two" in lines
    assert "     1   0.500   one" in lines
    assert "     3       -   three" in lines
    assert "by p1, 182 s" in told
    assert "  the refiner was told\n    say red" in told
    assert "0.250 of completion   (recall 0.500   toxicity -)" in told
    assert "cannot be parsed" in told
    assert "also: facts" in told
    assert '"Tom"' in ilf("show", "choose-30649", "--all").out
    assert "\x1b" not in told
    assert all(len(line) <= 80 for line in lines)


def test_rows_are_picked_by_number_and_id(ilf: Any, runs: Path, step: Any) -> None:
    step(runs / "n" / "load-dddddddddd", [{"id": f"{i:04x}{i:04x}", "prompt": f"p{i}"} for i in range(20)])
    assert "16 more rows" in ilf("show", "load", "-n", "4").out
    assert "row 17 of 20" in ilf("show", "load", "--row", "17").out
    assert json.loads(ilf("show", "load", "--row", "0013", "--json").out)["rows"][0]["row"] == 20
    assert "10 ids begin with '000'" not in ilf("show", "load", "--row", "0001").err
    said = ilf("show", "load", "--row", "000")
    assert said.status == 2
    assert "ids begin with '000'" in said.err
    assert ilf("show", "load", "--row", "21").status == 2
    assert ilf("show", "n", "--row", "1").status == 2


def test_a_log_is_a_table(ilf: Any, runs: Path, step: Any) -> None:
    folder = step(
        runs / "n" / "train-dddddddddd", [{"step": i, "loss": 1 / (i + 1)} for i in range(100)], stage="train"
    )
    (folder / "model").mkdir()
    told = ilf("show", "train").out
    assert "   0  1.000" in told
    assert "  99  0.010" in told
    assert "20 of 100 log rows" in told
    assert "ilf try runs/n/train-dddddddddd answers with it" in told
    (folder / "model" / "config.json").write_text('{"architectures": ["LlamaForSequenceClassification"]}')
    told = ilf("show", "train").out
    assert "{name: reward, model: runs/n/train-dddddddddd/model}" in told
    assert "ilf try" not in told, "a reward model writes nothing"


def test_an_unfinished_step_is_shown_as_such(ilf: Any, runs: Path) -> None:
    folder = runs / "nano" / "refine-eeeeeeeeee"
    folder.mkdir()
    (folder / "rows.jsonl").write_text('{"id": "1", "prompt": "p"}\n{"id": "2", "pro')
    said = ilf("show", "refine")
    assert "not finished; the rows so far" in said.err
    assert "row 1 of 1" in said.out
    assert "not finished" in ilf("show", "nano").out


HOSTILE = "\x1b[2J\x1b]0;owned\x07\r\x08\x9b31m\u202egnp.exe\u2028\ud83d\x00 plain"


def test_a_hostile_text_cannot_drive_the_terminal(ilf: Any, runs: Path, step: Any) -> None:
    row = {
        key: [HOSTILE] if isinstance(value, list) else HOSTILE
        for key, value in CHOSEN.items()
        if key != "scores"
    } | {
        "picked": 0,
        "scores": [1.0],
        "is_tied": True,
        "seconds": 3,
        "parts": {HOSTILE: 1.0},
        HOSTILE: HOSTILE,
    }
    step(runs / "n" / "choose-dddddddddd", [row])
    for words in (("show", "n/choose"), ("show", "n/choose", "--all"), ("show", "n/choose", "--json")):
        said = ilf(*words)
        assert said.status == 0, said.err
        assert all(c == "\n" or c.isprintable() for c in said.out), words
    assert "\\x1b[2J" in ilf("show", "n/choose").out


def test_colours_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _terminal.paint("x", "bold") == "x"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert _terminal.paint("x", "bold") == "\x1b[1mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert _terminal.paint("x", "bold") == "x"


@pytest.mark.parametrize(
    "text", ["a" * 200, "word " * 60, "    code  with   spaces\n  x", "日本語" * 40, "", "e\u0301" * 90]
)
def test_wrapping_loses_nothing_and_fits(text: str) -> None:
    lines = _terminal.wrapped(text, 40, "  ").split("\n")
    assert all(_terminal.cells(line) <= 40 for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_spaces_of_a_program_stay() -> None:
    program = "def f():\n    if a:\n        return  1"
    assert _terminal.wrapped(program, 80, "  ") == "  def f():\n      if a:\n          return  1"
