"""ilf curves and the log of ilf show: from steps on disk to a page and to eighty columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from training_logs import a_log, a_reward_log

HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202e<script>alert(1)</script>"


@pytest.fixture
def runs(tmp_path: Path, step: Any) -> Path:
    """A run with two logs of PPO, one of a reward model, and a step that is no log."""
    base = tmp_path / "runs"
    for seed in (0, 1):
        folder = step(
            base / "nano" / f"ppo-{seed}aaaaaaaaa", a_log(seed), stage="train", settings={"seed": seed}
        )
        (folder / "measured.json").write_text('{"wall_seconds": 64.0}')
    step(base / "nano" / "reward-aaaaaaaaaa", a_reward_log(), stage="train")
    step(base / "nano" / "load-aaaaaaaaaa", [{"id": "1", "prompt": "p"}], stage="load")
    return base


def test_a_page_is_written_beside_the_run(ilf: Any, runs: Path) -> None:
    said = ilf("curves", "nano/ppo-0")
    assert said.status == 0, said.err
    assert "nano/ppo-0aaaaaaaaa: the true grade was highest at step" in said.out
    assert said.out.splitlines()[-1] == "The page to open: runs/nano/curves.html"
    assert all(len(line) <= 80 for line in said.out.splitlines())
    page = (runs / "nano" / "curves.html").read_text(encoding="utf-8")
    assert "ilf curves nano/ppo-0" in page
    assert "<code>runs/nano/ppo-0aaaaaaaaa</code>" in page
    # A page in a run is no step of it, and cleaning is not in its way.
    assert "curves" not in ilf("show", "nano").out
    assert ilf("clean", "--dry-run").status in (0, 2)


def test_steps_of_one_name_are_seeds_of_one_arm(ilf: Any, runs: Path) -> None:
    said = ilf("curves", "ppo=nano/ppo-0", "ppo=nano/ppo-1", "nano/reward", "--out", "a.html")
    assert said.status == 0, said.err
    page = Path("a.html").read_text(encoding="utf-8")
    assert "mean of 2 seeds" in page
    assert 'class="seed c0"' in page
    assert "nano/reward-aaaaaaaaaa" in page
    apart = ilf("curves", "nano/ppo-0", "nano/ppo-1", "--out", "b.html")
    assert " ".join(apart.out.split()).count("one seed") == 2
    assert 'class="seed' not in Path("b.html").read_text(encoding="utf-8")


def test_the_numbers_as_json(ilf: Any, runs: Path) -> None:
    told = json.loads(ilf("curves", "ppo=nano/ppo-0", "ppo=nano/ppo-1", "nano/reward", "--json").out)
    assert told["page"] == "runs/nano/curves.html"
    ppo, reward = told["runs"]
    assert ppo["run"] == "ppo"
    assert ppo["folders"] == ["runs/nano/ppo-0aaaaaaaaa", "runs/nano/ppo-1aaaaaaaaa"]
    assert ppo["turn"]["kind"] == "over"
    assert ppo["means"]["kl"][0] == [1, pytest.approx(-0.04)]
    assert (reward["turn"], reward["sentence"]) == (None, None)


def test_an_unfinished_log_is_drawn_as_far_as_it_goes(ilf: Any, runs: Path) -> None:
    from ilf.records import line

    folder = runs / "nano" / "ppo-bbbbbbbbbb"
    folder.mkdir()
    (folder / "rows.jsonl").write_bytes(b"".join(map(line, a_log(steps=6))) + b'{"step": 7, "lo')
    told = json.loads(ilf("curves", "nano/ppo-b", "--json").out)
    assert told["runs"][0]["steps"] == [1, 2, 3, 4, 5, 6]
    assert "ppo-bbbbbbbbbb: not finished; the rows so far" in ilf("show", "nano/ppo-b").err
    (folder / "rows.jsonl").write_bytes(b"")
    said = ilf("curves", "nano/ppo-b")
    assert said.status == 1
    assert "no log of training ('step' in its rows) yet" in said.err


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("nano/load",), 1, "no log of training ('step' in its rows). Name a train step"),
        (("nano",), 2, "is a run; name one of its steps"),
        (("nano/pop",), 2, "Did you mean 'ppo'?"),
        (("a=nano/ppo-0", "a=nano/ppo-0"), 2, "is named twice as 'a'"),
        ((), 2, "the following arguments are required"),
    ],
)
def test_what_cannot_be_drawn_is_said(ilf: Any, runs: Path, words: Any, status: int, told: str) -> None:
    said = ilf("curves", *words)
    assert said.status == status
    assert told in said.err
    assert not (runs / "nano" / "curves.html").exists()


def test_hostile_names_and_texts_reach_neither_terminal_nor_page(ilf: Any, runs: Path, step: Any) -> None:
    log = [
        {**row, HOSTILE: 1.0, "samples": [{"prompt": HOSTILE, "output": HOSTILE, HOSTILE: 1.0}]}
        for row in a_log()
    ]
    step(runs / "n" / "ppo-dddddddddd", log, stage="train")
    for words in (
        ("curves", f"{HOSTILE}=n/ppo"),
        ("show", "n/ppo"),
        ("show", "n/ppo", "--all"),
        ("curves", "n/ppo", "--json"),
    ):
        said = ilf(*words)
        assert said.status == 0, said.err
        assert all(c == "\n" or c.isprintable() for c in said.out), words
    assert "<script" not in (runs / "n" / "curves.html").read_text(encoding="utf-8")


# --- the log in a terminal


def test_a_log_of_many_columns_is_a_table_of_eighty(ilf: Any, runs: Path) -> None:
    told = ilf("show", "nano/ppo-0", "-n", "5").out
    lines = told.splitlines()
    assert all(len(line) <= 80 for line in lines)
    head = next(at for at, line in enumerate(lines) if line.startswith("step "))
    assert " ".join(lines[head].split()) == "step loss reward grade kl entropy length ended expl var clipped"
    assert [line.split()[0] for line in lines[head + 1 : head + 6]] == ["1", "11", "21", "30", "40"]
    assert "also: reward_total, learning_rate, episodes, samples (--all shows" in told
    assert "5 of 40 log rows; -n 40 shows all." in told
    everything = ilf("show", "nano/ppo-0", "--all").out
    assert "reward_total" in everything
    assert "also:" not in everything


def test_the_speed_is_episodes_over_measured_seconds(ilf: Any, runs: Path) -> None:
    assert (
        "2,560 episodes in 64.0 s: 40.0 a second, loading and grading included."
        in ilf("show", "nano/ppo-0").out
    )
    assert json.loads(ilf("show", "nano/ppo-0", "--json").out)["episodes_per_second"] == 40
    (runs / "nano" / "ppo-0aaaaaaaaa" / "measured.json").unlink()
    assert "episodes in" not in ilf("show", "nano/ppo-0").out
    assert "episodes_per_second" not in json.loads(ilf("show", "nano/ppo-0", "--json").out)
    assert "episodes in" not in ilf("show", "nano/reward").out


def test_the_turn_and_the_last_samples_are_shown(ilf: Any, runs: Path) -> None:
    told = ilf("show", "nano/ppo-0").out
    assert "This run: the true grade was highest at step" in told
    assert "3 of 8 samples of step 40:" in told
    assert "  reward 0.500   kl 1.250   grade 0.750\n    POST: 0 at 40\n    A summary of 40." in told
    assert "at 30" not in told


def test_a_reward_models_verdict_is_a_table_of_eighty(ilf: Any, runs: Path) -> None:
    lines = ilf("show", "nano/reward").out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert "measure [95 %] held out trained on" in [" ".join(line.split()) for line in lines]
    (row,) = [line for line in lines if line.startswith("accuracy   ")]
    assert row.split()[1:] == ["0.710", "[0.660,", "0.760]", "0.930", "[0.660,", "0.760]"]
    assert any("held out: one prompt." in line for line in lines)
    assert any(line.startswith("0.50 to 0.60 ") and line.endswith("0.550      0.520") for line in lines)
    assert not any("..." in line for line in lines)
