"""ilf verdict: pairs of two steps to a source of verdicts and back, waiting, figures, at 80 columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ilf import __main__ as command_line
from ilf.records import row_id

JUROR = ("--feedback", "toys.juror")


@pytest.fixture(autouse=True)
def _two_steps(step: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if "verdict" not in command_line.GROUPS:
        monkeypatch.setattr(command_line, "GROUPS", (*command_line.GROUPS, "verdict"))
    for run, words in (("one", ("red", "green", "blue")), ("two", ("green", "green", "blue"))):
        rows = []
        for i in range(36 if run == "one" else 38):
            prompt, text = f"Post {i}: {'what happened to me, ' * 8}\nTL;DR:", f" {words[i % 3]} {i}"
            rows.append({"id": row_id(prompt, text), "prompt": prompt, "output": text})
        step(Path(f"runs/{run}/answer-000000000{run == 'two':d}"), rows, stage="sample")


def test_a_dry_run_says_what_people_would_be_asked(ilf: Any) -> None:
    said = ilf("verdict", "one/answer", "two/answer", *JUROR, "--dry-run", "--annotators", "2")
    assert said.status == 0
    assert "24 pairs are the same text: ties, not sent to people." in said.out
    assert "2 prompts stand on one side only (0 A, 2 B): left out." in said.out
    text = " ".join(said.out.split())
    assert "12 pairs of 36 prompts would be judged by 2 people each: 24 verdicts" in text
    assert not Path("runs/verdicts").exists()
    told = json.loads(ilf("verdict", "one/answer", "two/answer", *JUROR, "--dry-run", "--json").out)
    assert (told["pairs"], told["identical"], told["human_seconds"]) == (12, 24, 720.0)


def test_waiting_is_status_75_and_says_how_far_people_are(ilf: Any) -> None:
    said = ilf("verdict", "one/answer", "two/answer", *JUROR, "answered=5")
    assert said.status == 75
    assert "5 of 12 pairs are judged" in said.err
    assert not list(Path("runs/verdicts").glob("answer-*"))  # what is unfinished leaves no step
    (people,) = Path("runs/verdicts/people").iterdir()
    assert (people / "asked").read_text() == "12"
    assert ilf("verdict", "one/answer", "two/answer", *JUROR).status == 0
    assert list(Path("runs/verdicts/people").iterdir()) == [people]  # the same project


def test_waiting_goes_on_by_itself(ilf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import toys.juror

    pulls = []
    answers = toys.juror.Juror.pull

    def pull(self: Any, rows: Any, *rest: Any) -> Any:
        pulls.append(len(rows))
        if len(pulls) < 3:
            return answers(toys.juror.Juror(answered=len(pulls)), rows, *rest)
        return answers(self, rows, *rest)

    monkeypatch.setattr(toys.juror.Juror, "pull", pull)
    monkeypatch.setattr("ilf.commands._wait.POLL_SECONDS", 0.01)
    said = ilf("verdict", "one/answer", "two/answer", *JUROR, "--wait")
    assert said.status == 0
    assert len(pulls) == 3
    assert "2 of 12 pairs are judged" in said.err


def test_figures_and_the_rows_as_a_step(ilf: Any) -> None:
    words = ("verdict", "one/answer", "two/answer", *JUROR, "--annotators", "2", "--wage-per-hour", "36")
    told = json.loads(ilf(*words, "--json").out)
    assert told["verdicts"] == {"a": 0, "tie": 0, "b": 24}
    assert told["win_rate_of_a"]["estimate"] == pytest.approx(12 / 36)  # 24 of 36 the same: half each
    assert told["win_rate_of_a_judged"]["estimate"] == 0.0
    assert told["people"]["cost"] == pytest.approx(12 * (10 + 20) / 100)
    assert [person["verdicts"] for person in told["annotators"]] == [12, 12]
    folder = Path(told["rows"])
    made_by = json.loads((folder / "made_by.json").read_text())
    assert (made_by["stage"], made_by["rows"], made_by["identical"]) == ("verdict", 24, 24)
    row = json.loads((folder / "rows.jsonl").read_text().splitlines()[0])
    assert row["outputs"][0].startswith(" red")
    assert sorted(row["shown"]) == [0, 1]
    assert ilf("show", str(folder)).status == 0
    before = (folder / "made_by.json").stat().st_mtime_ns
    assert json.loads(ilf(*words, "--json").out) == told
    assert (folder / "made_by.json").stat().st_mtime_ns == before


def test_text_fits_80_columns_and_says_all(ilf: Any) -> None:
    words = ("verdict", "one/answer", "two/answer", *JUROR, "--annotators", "2")
    said = ilf(*words, "--wage-per-hour", "15")
    assert said.status == 0
    assert max(map(len, said.out.splitlines())) <= 80
    text = " ".join(said.out.split())
    for piece in (
        "A wins 33.3 % [",
        "B is preferred",
        "24 verdicts on 12 of 12 pairs: A 0, ties 0, B 24",
        "Without the same texts: 0.0 % [0.0,",
        "The first shown wins",
        "would have shown (power 80 %)",
        "At 15.00 an hour that cost 1.50",
        "B won 12 of 12 prompts",
        "Reasons (24, the first 10",
        "juror 1",
    ):
        assert piece in text, piece


def test_few_verdicts_are_no_figure(ilf: Any) -> None:
    said = ilf("verdict", "one/answer", "two/answer", *JUROR, "--n", "6")
    assert "A wins - (too few: 6 prompts, 10 are needed)" in said.out
    assert "6 of 36 common prompts were drawn." in said.out


def test_wrong_words_are_refused_before_anybody_is_asked(ilf: Any, step: Any) -> None:
    said = ilf("verdict", "one/answer", "one/answer", *JUROR)
    assert (said.status, "name two steps" in said.err) == (2, True)
    said = ilf("verdict", "one/answer", "two/answer", *JUROR, "--gold", "gold.jsonl")
    assert (said.status, "verdict.feedback.gold: unknown setting" in said.err) == (2, True)
    said = ilf("verdict", "one/answer", "two/answer", "--feedback", "label_studi")
    assert (said.status, "no feedbacksource 'label_studi'" in said.err) == (2, True)
    said = ilf("verdict", "one/answer", "two/answer", "--feedback", "jsonl_file", "path=v.jsonl")
    assert (said.status, "does no verdicts" in said.err) == (2, True)
    assert ilf("verdict", "one", "two/answer", *JUROR).status == 2
    Path("runs/two/answer-0000000001/made_by.json").unlink()
    said = ilf("verdict", "one/answer", "two/answer", *JUROR)
    assert (said.status, "is not finished" in said.err) == (1, True)
    assert not Path("runs/verdicts").exists()


def test_what_changed_is_a_new_snapshot_in_the_same_folder(ilf: Any) -> None:
    words = ("verdict", "one/answer", "two/answer", *JUROR)
    first = json.loads(ilf(*words, "--json").out)
    second = json.loads(ilf(*words, "--json", "--annotators", "3").out)
    assert second["rows"] == first["rows"]
    assert sum(second["verdicts"].values()) == 3 * sum(first["verdicts"].values())
    assert json.loads(Path(first["rows"], "made_by.json").read_text())["rows"] == 36
