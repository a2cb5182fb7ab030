"""ilf agreement: what it reads, what it prints at 80 columns, and what it refuses."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from ilf.label_studio import events
from ilf.label_studio.jobs import item_id
from ilf.records import line, row_id

PEOPLE = ("p-0a1b2c3d4e", "p-1111111111", "p-2222222222")
VERDICTS = ([[0], [1]], [[1], [0]], [[0, 1]])


def event(number: int, unit: int, annotator: str, said: Any, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "answer", "annotation": number, "uid": None, "task": unit, "item": f"i{unit}", "row": f"r{unit}",
        "gold": False, "annotator": annotator, "state": "usable", "said": said, "shown": None, "untouched": False,
        "lead_seconds": 50.0, "wait_seconds": 0.0, "seconds": 50.0, "reason": None, "created_at": "", "updated_at": "",
        **changes,
    }  # fmt: skip


def row(unit: int, job: str, annotator: str, said: Any) -> dict[str, Any]:
    annotation = row_id("label_studio", job, f"r{unit}", annotator)
    return {
        "id": row_id(f"r{unit}", annotation), "sample_id": f"s{unit}", "prompt": "p", "output": "a",
        "outputs": ["a", "b"], "annotation_id": annotation, "job": job, "annotator": annotator, "seconds": 50.0,
        "lead_seconds": 50.0, "shown": [0, 1], **said,
    }  # fmt: skip


def verdicts(n: int = 40, people: int = 3) -> list[tuple[int, str, dict[str, Any]]]:
    rng = random.Random(3)
    found = []
    for unit in range(n):
        truth = rng.randrange(2)
        for name in PEOPLE[:people]:
            vote = truth if rng.random() < 0.85 else rng.randrange(3)
            found.append((unit, name, {"ranking": VERDICTS[vote], "why": None}))
    return found


@pytest.fixture
def logged(step: Any) -> Path:
    """A run whose collect step has a log: three people, forty outputs, a skip, gold items."""
    said = verdicts()
    run = Path("runs/blind")
    rows = [row(unit, "verdict", name, what) for unit, name, what in said]
    settings = {"job": "verdict", "feedback": {"name": "label_studio"}}
    paid = {"feedback": {"wage_per_hour": 18.0}}
    made = {"stage": "collect", "people": "collect-abc", "settings": settings, "speed_only": paid}
    step(run / "collect-0123456789", rows, **made)
    folder = run / "people" / "collect-abc"
    log = [event(n, unit, name, what, shown=[n % 2, 1 - n % 2]) for n, (unit, name, what) in enumerate(said)]
    log += [event(900, 900, PEOPLE[0], {}, state="skipped", seconds=20.0)]
    gold = item_id("verdict", "g")
    log += [
        event(901 + n, 901, who, {"ranking": VERDICTS[n % 2]}, gold=True, item=gold, row=None)
        for n, who in enumerate(PEOPLE)
    ]
    log += [
        event(990, 990, PEOPLE[1], {"ranking": VERDICTS[0]}),
        {"kind": "withdrawn", "annotation": 990, "reason": "deleted"},
    ]
    events.append(folder, log)
    (folder / "gold.jsonl").write_bytes(line({"id": "g", "outputs": ["a", "b"], "gold": [[0], [1]]}))
    return run


def test_a_table_in_80_columns(ilf: Any, logged: Path) -> None:
    said = ilf("agreement", "blind")
    assert said.status == 0, said.err
    assert max(map(len, said.out.splitlines())) <= 80
    flat = " ".join(said.out.split())
    assert "collect-0123456789: verdict" in flat
    assert "120 answers by 3 people about 40 outputs; 40 with several answers." in flat
    assert "1 skipped, 3 gold" in flat
    for name, gold in zip(PEOPLE, ("1/1", "0/1", "1/1"), strict=True):
        cells = next(text for text in said.out.splitlines() if text.startswith(name)).split()
        assert cells[1] == "40"
        assert gold in cells
    assert "share equal: verdict" in flat
    assert "chance to be right" in flat
    assert "ledger: 1.7 hours of people" in flat
    assert "30.85 at 18 an hour" in flat, "the recipe's wage: (120 + 3) x 50 s + 20 s"
    assert "..." not in said.out


def test_the_same_as_json(ilf: Any, logged: Path) -> None:
    (found,) = json.loads(ilf("agreement", "blind/collect", "--json", "--wage-per-hour", "36").out)["steps"]
    assert (found["read_from"], found["rows"], found["answers"]) == ("log", 120, 120)
    share = found["agreement"][0]
    assert share["low"] < share["value"] < share["high"]
    assert found["ledger"]["money"] == pytest.approx((123 * 50 + 20) / 100)
    assert found["position"]["outputs"] == 40
    again = json.loads(ilf("agreement", "blind", "--json", "--wage-per-hour", "36").out)["steps"][0]
    assert again == found
    other = json.loads(ilf("agreement", "blind", "--json", "--seed", "1").out)["steps"][0]
    assert other["agreement"][1]["low"] != found["agreement"][1]["low"]
    assert other["agreement"][1]["value"] == found["agreement"][1]["value"]


def test_a_log_that_went_on_after_the_snapshot_is_said(ilf: Any, logged: Path) -> None:
    events.append(logged / "people" / "collect-abc", [event(991, 991, PEOPLE[0], {"ranking": VERDICTS[0]})])
    flat = " ".join(ilf("agreement", "blind").out.split())
    assert "The step holds 120 rows, the log 121 usable answers: ilf run RECIPE --refresh" in flat


def test_a_forgotten_person_is_in_no_figure(ilf: Any, logged: Path) -> None:
    events.append(
        logged / "people" / "collect-abc", [{"kind": "forgotten", "annotator": PEOPLE[2], "at": ""}]
    )
    said = ilf("agreement", "blind")
    assert PEOPLE[2] not in said.out
    assert "80 answers by 2 people" in " ".join(said.out.split())
    assert "ability: too few: three people are needed" in " ".join(said.out.split())


def test_rows_without_a_log_give_what_rows_can(ilf: Any, step: Any) -> None:
    rows = [row(unit, "verdict", name, what) for unit, name, what in verdicts()]
    step(
        Path("runs/rows/collect-0123456789"),
        rows,
        stage="collect",
        settings={"job": "verdict", "feedback": {}},
    )
    (found,) = json.loads(ilf("agreement", "rows", "--json").out)["steps"]
    assert (found["read_from"], found["shared"]) == ("rows", 40)
    assert found["agreement"][0]["value"] > 0.6
    assert found["ledger"]["money"] is None


def test_sources_that_keep_no_log(ilf: Any, toy: Path) -> None:
    assert ilf("run", "toy/recipe.yaml", "--quiet").status == 0
    said = ilf("agreement", "toy")
    assert said.status == 0, said.err
    flat = " ".join(said.out.split())
    assert "6 answers by 1 person about 6 outputs; 0 with several answers." in flat
    assert "agreement: these answers are texts, which are not compared." in flat
    assert "ledger: 0.3 hours of people." in flat


def test_too_few_answers_give_reasons_and_no_figure(ilf: Any, step: Any) -> None:
    rows = [row(unit, "verdict", name, what) for unit, name, what in verdicts(9, 2)]
    step(Path("runs/few/collect-0123456789"), rows, stage="collect", settings={"job": "verdict"})
    flat = " ".join(ilf("agreement", "few").out.split())
    assert (
        "share equal (verdict), alpha (nominal) (verdict): too few: 9 outputs that two people answered, 10 are"
        in flat
    )
    assert "too few: 18 answers whose shown order is known, 20 are needed" in flat


def test_a_step_that_waits_is_read_from_its_log(ilf: Any, step: Any) -> None:
    run = Path("runs/waits")
    step(run / "sample-0123456789", [{"id": "r"}], stage="sample")
    folder = run / "people" / "collect-abc"
    events.append(folder, [event(n, n, PEOPLE[0], {"ranking": VERDICTS[0]}) for n in range(3)])
    assert ilf("agreement", "waits").status == 1
    assert "does not say which job" in ilf("agreement", "waits").err
    (folder / "project.json").write_text('{"job": "verdict"}')
    for target in ("waits", "waits/collect"):
        said = ilf("agreement", target)
        assert said.status == 0, said.err
        assert "collect-abc: verdict (not finished: what people said so far)" in said.out
        assert "3 answers by 1 person" in said.out


def test_disagreements_can_be_sent_back(ilf: Any, logged: Path) -> None:
    out = ilf("agreement", "blind", "--adjudicate").out
    flat = " ".join(out.split())
    apart = sum(
        len({str(what["ranking"]) for u, _, what in verdicts() if u == unit}) > 1 for unit in range(40)
    )
    assert f"adjudicate: {apart} of 40 outputs with several answers lie 0.3 or more apart" in flat
    import yaml

    block = out[out.index("    settle:") : out.index("take: majority, or")]
    assert yaml.safe_load(block) == {
        "settle": {"reads": "collect", "job": "verdict", "take": "adjudicated", "feedback": "label_studio"}
    }


def test_texts_have_nothing_to_send_back(ilf: Any, toy: Path) -> None:
    ilf("run", "toy/recipe.yaml", "--quiet")
    assert "no two answers can be compared" in ilf("agreement", "toy", "--adjudicate").out


def test_a_run_of_several_steps_is_summed_up(ilf: Any, logged: Path, step: Any) -> None:
    rows = [
        row(unit, "verdict", "p-3", {"ranking": VERDICTS[1], "settled": "adjudicated"}) for unit in range(4)
    ]
    settings = {"job": "verdict", "feedback": {"name": "label_studio"}}
    paid = {"feedback": {"wage_per_hour": 18.0}}
    step(logged / "settle-0123456789", rows, stage="settle", settings=settings, speed_only=paid)
    flat = " ".join(ilf("agreement", "blind").out.split())
    assert "settle-0123456789: verdict" in flat
    assert "all steps: 1.8 hours of people; 31.85 in money." in flat


def test_a_settle_step_tells_what_training_reads_and_the_third_persons_time(ilf: Any, step: Any) -> None:
    rows = [
        row(unit, "verdict", "majority of 2", {"ranking": VERDICTS[0], "settled": "majority"})
        for unit in range(5)
    ]
    rows += [
        row(unit, "verdict", PEOPLE[2], {"ranking": VERDICTS[1], "settled": "adjudicated"}) for unit in (6, 7)
    ]
    step(Path("runs/third/settle-0123456789"), rows, stage="settle", settings={"job": "verdict"})
    flat = " ".join(ilf("agreement", "third").out.split())
    assert "2 answers by 1 person about 2 outputs" in flat
    assert "Rows that training reads: 5 majority, 2 adjudicated." in flat


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nothing",), "no run or step 'nothing'"),
        (("other",), "no step of this run asked people"),
        (("other/sample",), "no column 'annotator'"),
        (("other", "--wage-per-hour", "much"), "no amount of money"),
        (("other", "--wage-per-hour", "-3"), "no amount of money"),
        (("other", "--wage-per-hour", "inf"), "no amount of money"),
    ],
)
def test_what_cannot_be_is_said(ilf: Any, step: Any, words: tuple[str, ...], message: str) -> None:
    step(
        Path("runs/other/sample-0123456789"),
        [{"id": "r", "prompt": "p"}],
        stage="sample",
        settings={"job": "x"},
    )
    said = ilf("agreement", *words)
    assert said.status == 2
    assert message in " ".join(said.err.split())


def test_five_thousand_answers_take_less_than_two_seconds(ilf: Any, step: Any) -> None:
    rng = random.Random(1)
    log, rows = [], []
    for unit in range(2500):
        for name in rng.sample([f"p-{i:010d}" for i in range(12)], 2):
            said = {
                "critique": "some words " * 8,
                "is_faultless": rng.random() < 0.2,
                "faults": [
                    kind for kind in ("made up", "left out", "unclear", "style") if rng.random() < 0.3
                ],
                "marks": [],
            }
            log.append(event(len(log), unit, name, said))
            rows.append(row(unit, "critique", name, said))
    run = Path("runs/many")
    step(
        run / "collect-0123456789", rows, stage="collect", people="collect-abc", settings={"job": "critique"}
    )
    events.append(run / "people" / "collect-abc", log)
    ilf("agreement", "many")  # imports
    started = time.process_time()
    said = ilf("agreement", "many")
    assert time.process_time() - started < 2.0
    assert "5000 answers" in said.out
