"""The log of what people did: append-only, torn anywhere, summed up; pseudonyms; seconds."""

from __future__ import annotations

import json
import multiprocessing
import stat
from pathlib import Path
from typing import Any

import pytest

from ilf.errors import DataError
from ilf.label_studio import events, ledger
from ilf.label_studio.events import append, heard, pseudonym, read_events
from ilf.label_studio.rows import Asked, answer_event, collected, superseded, writer


def answer(annotation: int, **how: Any) -> dict[str, Any]:
    return {
        "kind": "answer",
        "annotation": annotation,
        "task": 7,
        "item": "i1",
        "annotator": "p-1",
        "state": "usable",
        "gold": False,
        "created_at": "2026-01-01T00:00:00.000000Z",
        "updated_at": f"2026-01-01T00:00:{annotation:02d}.000000Z",
        **how,
    }


def test_the_last_word_about_an_annotation_holds(tmp_path: Path) -> None:
    append(tmp_path, [answer(1, said={"critique": "a"}), answer(2), answer(3, annotator="p-2")])
    append(
        tmp_path,
        [answer(1, said={"critique": "b"}), {"kind": "withdrawn", "annotation": 2, "reason": "deleted"}],
    )
    append(tmp_path, [{"kind": "forgotten", "annotator": "p-2", "at": "now"}, answer(4, annotator="p-2")])
    append(
        tmp_path, [{"kind": "pulled", "full": True, "watermark": "w", "tasks": 1, "drafts": 0, "at": "now"}]
    )
    known = heard(tmp_path)
    assert {number: event.get("said") for number, event in known.answers.items()} == {1: {"critique": "b"}}
    assert known.counts == {"usable": 1, "withdrawn": 1}
    assert known.forgotten == {"p-2"}
    assert known.last_pull is not None
    append(tmp_path, [answer(2)])
    assert set(heard(tmp_path).answers) == {1, 2}, "an answer that is back counts again"


def test_a_log_torn_at_any_byte_keeps_its_whole_lines(tmp_path: Path) -> None:
    append(tmp_path, [answer(n, said={"critique": "é🙂\n" * 3}) for n in range(1, 4)])
    whole = (tmp_path / events.EVENTS).read_bytes()
    for end in range(len(whole)):
        (tmp_path / events.EVENTS).write_bytes(whole[:end])
        expected = whole[:end].count(b"\n")
        assert len(read_events(tmp_path)) == expected
        append(tmp_path, [answer(9)])
        assert [event["annotation"] for event in read_events(tmp_path)] == [*range(1, expected + 1), 9]


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    append(tmp_path, [answer(1)])
    with (tmp_path / events.EVENTS).open("ab") as file:
        file.write(b'{"no kind": 1}\n')
    with pytest.raises(DataError, match=r"events.jsonl: line 2 is no event"):
        heard(tmp_path)


def test_nothing_heard(tmp_path: Path) -> None:
    known = heard(tmp_path / "absent")
    assert known.answers == {}
    assert known.last_pull is None
    append(tmp_path / "absent", [])
    assert not (tmp_path / "absent").exists()


def _name(folder: str, queue: Any) -> None:
    queue.put(pseudonym(Path(folder), 7))


def test_pseudonyms(tmp_path: Path) -> None:
    step, other = tmp_path / "people" / "collect-1", tmp_path / "people" / "collect-2"
    name = pseudonym(step, 7)
    assert name.startswith("p-")
    assert len(name) == 12
    assert pseudonym(other, 7) == name, "the same person in all steps of a recipe"
    assert pseudonym(step, 8) != name
    assert pseudonym(tmp_path / "elsewhere" / "collect-1", 7) != name, "and another one in another recipe"
    salt = tmp_path / "people" / "salt"
    assert stat.S_IMODE(salt.stat().st_mode) == 0o600
    assert [path.name for path in salt.parent.iterdir()] == ["salt"], "nothing is left over"
    salt.write_bytes(b"")
    with pytest.raises(DataError, match="holds no salt"):
        pseudonym(step, 7)


def test_two_processes_agree_on_the_salt(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_name, args=(str(tmp_path / "people" / "s"), queue)) for _ in range(8)]
    for worker in workers:
        worker.start()
    names = {queue.get(timeout=30) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(names) == 1


@pytest.mark.parametrize(
    ("job", "lead", "wait", "n", "idle_cap", "seconds"),
    [
        ("critique", 30.0, 0.0, 1, None, 30.0),
        ("critique", 4000.0, 0.0, 1, None, 600.0),
        ("critique", 30.0, 12.5, 1, None, 17.5),
        ("critique", 10.0, 12.5, 1, None, 0.0),
        ("critique", None, 0.0, 1, None, None),
        ("critique", 700.0, 200.0, 1, None, 500.0),
        ("rank", 4000.0, 0.0, 4, None, 540.0),
        ("rank", 4000.0, 0.0, 4, 50.0, 50.0),
        ("pairwise", 4000.0, 0.0, 2, None, 180.0),
        ("demonstrate", 4000.0, 0.0, 0, None, 900.0),
        ("rate", 4000.0, 0.0, 0, None, 300.0),
        ("refine", 4000.0, 0.0, 0, None, 600.0),
    ],
)
def test_seconds(
    job: str, lead: float | None, wait: float, n: int, idle_cap: float | None, seconds: float | None
) -> None:
    assert ledger.seconds(lead, wait, ledger.cap(job, n, idle_cap)) == seconds


ROW = {"id": "r1", "sample_id": "r1", "prompt": "p", "output": "o", "facts": {"a": 1}}
ASKED = Asked(
    "critique", {"i1": ROW, "g1": {**ROW, "id": "g", "gold": {"is_faultless": True}}}, frozenset({"g1"})
)


def annotation(number: int = 1, **how: Any) -> dict[str, Any]:
    text = how.pop("text", "It is wrong.")
    return {
        "id": number,
        "task": 7,
        "result": [
            {
                "value": {"text": [text]},
                "id": "a",
                "from_name": "critique",
                "to_name": "output",
                "type": "textarea",
                "origin": "manual",
            }
        ],
        "completed_by": 5,
        "updated_by": None,
        "was_cancelled": False,
        "lead_time": 12.5,
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00.5+01:00",
        **how,
    }


def event(number: int = 1, item: str = "i1", **how: Any) -> dict[str, Any]:
    return answer_event(annotation(number, **how), item, ASKED, lambda user: f"p-{user}")


def test_an_answer_event(tmp_path: Path) -> None:
    found = event()
    assert found["state"] == "usable"
    assert found["said"]["critique"] == "It is wrong."
    assert (found["row"], found["gold"], found["annotator"]) == ("r1", False, "p-5")
    assert (found["lead_seconds"], found["wait_seconds"], found["seconds"]) == (12.5, 0.0, 12.5)
    assert found["updated_at"] == "2025-12-31T23:00:00.500000Z", (
        "one form of time, so that two can be compared"
    )
    append(tmp_path, [found])
    assert heard(tmp_path).answers == {1: found}


@pytest.mark.parametrize(
    ("how", "state"),
    [
        ({"was_cancelled": True, "result": []}, "skipped"),
        ({"text": " \n "}, "empty"),
        ({"result": []}, "empty"),
        ({"result": "nonsense"}, "invalid"),
        ({"result": None}, "invalid"),
        ({"result": [17]}, "invalid"),
        ({"result": [{"from_name": "critique"}]}, "invalid"),
    ],
)
def test_what_is_not_usable_says_nothing(how: dict[str, Any], state: str) -> None:
    found = event(**how)
    assert found["state"] == state
    assert found["said"] == {}


@pytest.mark.parametrize("lead", [-3.0, float("nan"), float("inf"), "12", True, None])
def test_a_lead_time_that_is_none(lead: Any, tmp_path: Path) -> None:
    found = event(lead_time=lead)
    assert found["lead_seconds"] is None
    assert found["seconds"] is None
    append(tmp_path, [found])


def test_who_wrote_it() -> None:
    assert writer({"completed_by": 5, "updated_by": 3}) == 3, "anybody may set completed_by"
    assert writer({"completed_by": 5, "updated_by": None}) == 5
    assert writer({"completed_by": {"id": 5, "email": "x"}}) == 5
    assert writer({"completed_by": None}) is None


def test_gold_has_no_row() -> None:
    found = event(item="g1")
    assert (found["gold"], found["row"]) == (True, None)


def test_one_answer_counts_for_a_person_and_an_item() -> None:
    first, second, other = answer(1), answer(2, task=8), answer(3, annotator="p-2")
    assert superseded([first, second, other]) == [{**first, "state": "superseded"}]
    skipped, empty = answer(4, state="skipped"), answer(5, state="empty")
    assert superseded([answer(2), skipped, empty]) == [], "a later blank does not undo what was said"
    assert superseded([{**first, "state": "superseded"}]) == [first], "the later one was withdrawn"


def test_a_collected_row() -> None:
    row = collected(ROW, event(), "critique", 3)
    assert row["id"] != ROW["id"]
    assert {key: row[key] for key in ("sample_id", "prompt", "output", "facts")} == {
        key: ROW[key] for key in ("sample_id", "prompt", "output", "facts")
    }
    assert row["critique"] == "It is wrong."
    assert row["provenance"] == {
        "source": "label_studio",
        "project": 3,
        "task": 7,
        "annotation": 1,
        "updated_at": "2025-12-31T23:00:00.500000Z",
    }
    edited = collected(ROW, event(text="Better."), "critique", 3)
    assert edited["annotation_id"] == row["annotation_id"], "an edit is the same annotation in the ledger"
    json.dumps(row, allow_nan=False)
