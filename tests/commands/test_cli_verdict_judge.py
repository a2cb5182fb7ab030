"""ilf verdict: looks while people still annotate, a model as judge, and both together, at 80 columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_model

from ilf.records import row_id

PEOPLE = ("--feedback", "toys.early")
SIDES = ("one/answer", "two/answer")


@pytest.fixture(autouse=True)
def _two_steps(step: Any) -> None:
    for place, run in enumerate(("one", "two")):
        rows = []
        for i in range(100):
            prompt, text = f"Post {i}: what happened to me", f" {'red' if place else 'green!'} {i}"
            rows.append({"id": row_id(prompt, text), "prompt": prompt, "output": text})
        step(Path(f"runs/{run}/answer-000000000{place}"), rows, stage="sample")


def flat(text: str) -> str:
    assert max(map(len, text.splitlines())) <= 80
    return " ".join(text.split())


def judged(ilf: Any, *words: str) -> str:
    """A step of verdicts that stand for a judge's; its folder."""
    return str(json.loads(ilf("verdict", *SIDES, *PEOPLE, *words, "--json").out)["rows"])


def test_a_look_while_people_still_annotate_names_nobody(ilf: Any) -> None:
    words = ("verdict", *SIDES, *PEOPLE, "says=AAB", "answered=40")
    assert ilf(*words).status == 75
    said = ilf(*words, "enough=0.4")
    assert said.status == 0
    text = flat(said.out)
    assert "A wins 67.5 % [" in text
    assert "so far No verdict yet: 40 of 100 prompts are judged, and the interval of 99 %" in text
    assert "preferred" not in text
    assert "67.5 %, not all in" in text  # nor in the table of people
    told = json.loads(ilf(*words, "enough=0.4", "--json").out)
    assert (told["winner"], told["win_rate_of_a"]["low"]) == (None, None)
    assert (told["planned_prompts"], told["judged_prompts"]) == (100, 40)
    said = ilf("verdict", *SIDES, *PEOPLE, "says=AAB")
    assert "A is preferred (95 % interval, 100 prompts" in flat(said.out)


def test_a_clear_winner_is_named_early_and_too_few_are_no_look(ilf: Any) -> None:
    words = ("verdict", *SIDES, *PEOPLE, "says=BBBBBBBBBA")
    text = flat(ilf(*words, "answered=50", "enough=0.5").out)
    assert "B is preferred, though only 50 of 100 prompts are judged: the interval of 99 %" in text
    text = flat(ilf(*words, "answered=15", "enough=0.1").out)
    assert "no look before 20) so far No verdict yet: 15 of 100 prompts are judged." in text


def test_a_model_judges_and_that_is_an_opinion(ilf: Any, tmp_path: Path) -> None:
    tiny_model(tmp_path / "tiny", chat=True)
    words = ("verdict", *SIDES, "--feedback", "judge", "model=tiny", "--n", "12")
    assert "12 pairs of 12 prompts would be judged without a person's time." in flat(
        ilf(*words, "--dry-run").out
    )
    said = ilf(*words)
    assert said.status == 0
    text = flat(said.out)
    assert "This is the judge's opinion, not checked against people." in text
    assert "preferred" not in text
    assert "No preference" not in text
    assert "The order shown changed" in text
    assert "No person's time was spent." in text
    told = json.loads(ilf(*words, "--json").out)
    assert (told["by"], told["winner"], told["people"]["seconds"]) == ("a model", None, 0.0)
    row = json.loads(Path(told["rows"], "rows.jsonl").read_text().splitlines()[0])
    assert (row["annotator"], row["seconds"]) == ("judge:tiny", 0.0)
    tiny_model(tmp_path / "tiny", chat=True, seed=1)
    from ilf.run import _folder_digest

    _folder_digest.cache_clear()
    assert json.loads(ilf(*words, "--json").out)["rows"] != told["rows"], "another model, another step"


def test_the_judge_beside_people(ilf: Any) -> None:
    folder = judged(ilf, "says=AABAB", "who=rex")
    words = ("verdict", *SIDES, *PEOPLE, "says=AAB", "--n", "40", "--judge", folder)
    said = ilf(*words)
    assert said.status == 0
    text = flat(said.out)
    for piece in (
        "A wins 67.5 % [",
        "40 prompts, by people alone.",
        "People and the judge together A wins ",
        "Where it and people differ it is corrected: 40 human verdicts; the judge's 60 more weigh",
        "By itself it says 60.0 % [",
        "no claim rests on that",
        "The judge's card (rex)",
        "agrees with people",
        "Cohen's kappa",
        "calibration unknown: its verdicts have no probabilities",
        "flips with the order shown unknown",
        "prefers the longer ",
        "; people do 67.5 % [",
    ):
        assert piece in text, piece
    told = json.loads(ilf(*words, "--json").out)
    assert told["judge"]["rows"] == folder
    assert told["judge"]["card"]["pairs"] == 40
    assert told["judge"]["prompts"] == 100
    combined = told["judge"]["combined"]
    assert told["winner"] == (None if combined["low"] <= 0.5 <= combined["high"] else "A")
    few = flat(ilf(*words[:-4], "--n", "15", "--judge", folder).out)
    assert "unreliable: only 15 pairs were graded by people: 20 are needed" in few


def test_before_people_answer_there_is_the_judges_opinion(ilf: Any) -> None:
    folder = judged(ilf, "says=AABAB", "who=rex")
    said = ilf("verdict", *SIDES, *PEOPLE, "says=B", "answered=3", "--judge", folder)
    assert said.status == 75
    assert "A wins 60.0 % [" in said.out
    assert "This is the judge's opinion, not checked against people: rex." in flat(said.out)
    told = json.loads(
        ilf("verdict", *SIDES, *PEOPLE, "says=B", "answered=3", "--judge", folder, "--json").out
    )
    assert (told["judge"]["card"], told["judge"]["winner"]) == (None, None)


def test_a_step_that_is_no_judge_of_these_pairs_is_refused_before_anybody_is_asked(ilf: Any) -> None:
    folder = judged(ilf, "says=AABAB", "who=rex")
    said = ilf("verdict", *SIDES[::-1], *PEOPLE, "answered=3", "--judge", folder)
    assert (said.status, "A and B in the same order" in said.err) == (1, True)
    said = ilf("verdict", *SIDES, *PEOPLE, "says=AABAB", "who=rex", "--judge", folder)
    assert (said.status, "the very verdicts" in said.err) == (2, True)
    said = ilf("verdict", *SIDES, *PEOPLE, "--judge", "one/answer")
    assert (said.status, "has no 'ranking'" in said.err) == (1, True)
    said = ilf("verdict", *SIDES, "--feedback", "judge", "model=steps.train")
    assert (said.status, "a verdict has no steps" in said.err) == (2, True)
    said = ilf("verdict", *SIDES, "--feedback", "judge")
    assert (said.status, "verdict.feedback.model: judge needs this setting" in said.err) == (2, True)
