"""Pulling what people said: once, all of it, and nothing that is no answer."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import annotators
import pytest
import studio as studios
from breaking_proxy import BreakingProxy
from desk import JOB, Desk, critique, rows

from ilf.__main__ import main
from ilf.collect import collect
from ilf.errors import ComponentError, DataError, UsageError
from ilf.feedback.label_studio import LabelStudio
from ilf.label_studio.events import heard, read_events
from ilf.label_studio.jobs import item_id
from ilf.progress import Progress

pytestmark = pytest.mark.slow


def test_an_answer_that_is_no_answer_of_label_studio(desk: Desk) -> None:
    desk.ask()
    with BreakingProxy(desk.studio.url) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABEL_STUDIO_URL", proxy.url)
        for path in ("/api/tasks", "task_number"):
            proxy.rule("GET", path, rewrite=lambda _: b'["something", "else"]')
            with pytest.raises(ComponentError, match="in a form that we do not know"):
                desk.pull()


def test_before_rows_come_everything_is_compared(desk: Desk) -> None:
    """A server that was set back to an older state shows no later time: only a full comparison sees it."""
    desk.ask()
    said = [desk.say(index) for index in range(4)]
    assert [row["critique"] for row in desk.pull()] == ["Wrong."] * 4
    with (
        contextlib.closing(sqlite3.connect(desk.studio.data / "label_studio.sqlite3", timeout=30)) as base,
        base,
    ):
        old = "2020-01-01 00:00:00.000000"
        older = json.dumps(critique("Older."))
        base.execute(
            "update task_completion set result = ?, updated_at = ? where id = ?", (older, old, said[2])
        )
        base.execute("update task set updated_at = ? where id = ?", (old, desk.task(2)))
    assert [row["critique"] for row in desk.pull()] == ["Wrong.", "Wrong.", "Older.", "Wrong."]


def test_people_are_waited_for(desk: Desk) -> None:
    desk.source = LabelStudio(annotators=2)
    assert "0 of 4 outputs are annotated" in str(desk.wait()), "also before anybody was asked"
    desk.ask()
    assert "0 of 4 outputs are annotated by the 2 people asked for" in str(desk.wait())
    desk.say(0)
    desk.say(0, person="bob")
    desk.say(1)
    desk.say(2, person="ann", result=[], was_cancelled=True)
    desk.say(2, person="bob", text="  ")
    desk.say(3, result=[{"from_name": "other", "value": {}}], person="bob")
    draft = {"result": critique("Not yet."), "lead_time": 1}
    desk.client("ann").post(f"/api/tasks/{desk.task(3)}/drafts", json=draft).raise_for_status()
    waiting = desk.wait()
    assert (waiting.done, waiting.total) == (1, 4)
    text = str(waiting)
    assert text.startswith("1 of 4 outputs are annotated by the 2 people asked for (1 skipped, ")
    assert "1 not submitted" in text
    assert f"{desk.studio.url}/projects/{desk.project}/data?labeling=1" in text
    assert f"{desk.task(2)}, {desk.task(3)}" in text, "the server does not hand out these again"
    assert "run again later" in text


def test_rows_come_in_order_one_per_usable_answer(desk: Desk) -> None:
    desk.source = LabelStudio(annotators=2)
    desk.ask()
    for index in (3, 1, 0, 2):
        for person in ("bob", "ann"):
            desk.say(index, f"{person} on {index}", person)
    found = desk.pull()
    assert [row["critique"] for row in found] == [f"{p} on {i}" for i in range(4) for p in ("bob", "ann")]
    assert len({row["id"] for row in found}) == len({row["annotation_id"] for row in found}) == 8
    assert {row["annotator"] for row in found} == {desk.name("ann"), desk.name("bob")}
    assert {row["seconds"] for row in found} == {10.0}
    assert list(collect(desk.rows, desk.folder, feedback=desk.source)) == found

    def files() -> dict[Path, bytes]:
        return {p: p.read_bytes() for p in desk.folder.rglob("*") if p.is_file() and p.name != "seen.json"}

    before = files()
    desk.ask()
    assert desk.pull() == found
    assert files() == before, "what has not changed is not written down again"
    # The same from a folder that knows nothing but the project, and in another order of rows.
    fresh = desk.folder.parent / "collect-2"
    fresh.mkdir()
    shutil.copy(desk.folder / "project.json", fresh)
    assert list(desk.source.pull(desk.rows[::-1], JOB, 0, fresh)) == [
        row for i in (3, 2, 1, 0) for row in found[2 * i : 2 * i + 2]
    ]


def test_edits_and_withdrawals_after_a_pull_are_noticed(desk: Desk) -> None:
    desk.ask()
    said = [desk.say(index) for index in range(4)]
    before = desk.pull()
    assert desk.pull() == before
    desk.edit(said[2], "Really wrong.")
    after = desk.pull()
    assert [row["critique"] for row in after] == ["Wrong.", "Wrong.", "Really wrong.", "Wrong."]
    assert after[2]["annotation_id"] == before[2]["annotation_id"]
    assert [
        event["said"]["critique"] for event in read_events(desk.folder) if event.get("annotation") == said[2]
    ] == [
        "Wrong.",
        "Really wrong.",
    ], "what was said first stays in the log"
    desk.take_back(said[0])
    assert desk.wait().done == 3
    assert heard(desk.folder).counts["withdrawn"] == 1
    desk.say(0, "Again.")
    assert desk.pull()[0]["critique"] == "Again."
    desk.client("ann").patch(f"/api/annotations/{said[1]}/", json={"result": [], "was_cancelled": True})
    assert [row["critique"] for row in desk.pull()] == ["Again.", "Really wrong.", "Wrong."], (
        "skipped afterwards"
    )


def test_an_incremental_pull_sees_what_a_full_one_sees(desk: Desk) -> None:
    """Edits, skips and withdrawals reach the log without a full listing; a task that is gone moves the count."""
    desk.rows = rows(6)
    desk.ask()
    said = [desk.say(index) for index in range(5)]
    desk.wait()
    with BreakingProxy(desk.studio.url) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABEL_STUDIO_URL", proxy.url)
        desk.edit(said[1], "Edited.")
        desk.take_back(said[2])
        desk.client("ann").patch(f"/api/annotations/{said[3]}/", json={"was_cancelled": True, "result": []})
        waiting = desk.wait()
        assert (waiting.done, heard(desk.folder).counts) == (4, {"usable": 3, "skipped": 1, "withdrawn": 1})
        lists = [path for method, path, _ in proxy.requests if path.startswith("/api/tasks?")]
        assert lists
        assert all("updated_at" in path or "draft_exists" in path for path in lists), "no full listing"
        desk.client().delete(f"/api/tasks/{desk.task(4)}").raise_for_status()
        desk.wait()
        assert heard(desk.folder).counts == {"usable": 2, "skipped": 1, "withdrawn": 2}
    reasons = [event["reason"] for event in read_events(desk.folder) if event["kind"] == "withdrawn"]
    assert reasons == ["deleted", "task deleted"]


def test_an_answer_that_is_saved_but_not_yet_sent_is_not_lost(desk: Desk) -> None:
    """The server counts and stamps in several steps; what a page lacks against its own count is read again."""
    desk.ask()
    for index in range(3):
        desk.say(index)

    def without_the_last(body: bytes) -> bytes:
        page = json.loads(body)
        page["tasks"][-1]["annotations"] = []
        return json.dumps(page).encode()

    with BreakingProxy(desk.studio.url) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABEL_STUDIO_URL", proxy.url)
        rule = proxy.rule("GET", "annotations%2Cresult", rewrite=without_the_last)
        assert desk.wait().done == 2
        assert rule.used == 1
        assert desk.wait().done == 3


def test_the_same_person_twice_counts_once(desk: Desk) -> None:
    desk.source = LabelStudio(annotators=2)
    desk.ask()
    for index in range(4):
        desk.say(index, "First.")
    later = desk.say(0, "Second.")
    assert desk.wait().done == 0, "two answers of one person are not two people"
    assert heard(desk.folder).counts == {"usable": 4, "superseded": 1, "withdrawn": 0}
    desk.say(0, "  ")
    assert desk.wait().done == 0
    assert heard(desk.folder).counts["usable"] == 4, "a blank does not undo what was said"
    for index in range(4):
        desk.say(index, "Mine.", "bob")
    assert [row["critique"] for row in desk.pull()] == ["Second.", "Mine."] + ["First.", "Mine."] * 3
    desk.take_back(later)
    assert [row["critique"] for row in desk.pull()][:2] == ["First.", "Mine."], "the earlier one counts again"


def test_an_answer_is_whose_key_wrote_it(desk: Desk) -> None:
    desk.source = LabelStudio(annotators=2)
    desk.rows = rows(1)
    desk.ask()
    bob = desk.studio.person("bob").id
    desk.say(0, "By ann.")
    desk.say(0, "By ann for bob.", completed_by=bob, updated_by=bob)
    assert desk.wait().done == 0
    assert [event["annotator"] for event in heard(desk.folder).answers.values()] == [desk.name("ann")] * 2


def test_a_duplicated_task_is_one_task(desk: Desk) -> None:
    """Two pushers at once on two machines may make two; both are read, and they count as one."""
    desk.ask()
    twin = desk.tasks()[item_id(JOB, desk.rows[0]["id"])]["data"]
    for index in range(1, 4):
        desk.say(index)
    task = desk.task(0)
    desk.client().post(f"/api/projects/{desk.project}/import", json=[{"data": twin}]).raise_for_status()
    with desk.studio.client(desk.studio.person("ann").key) as ann:
        listed = ann.get("/api/tasks", params={"project": desk.project, "page_size": 99}).json()["tasks"]
        (second,) = {entry["id"] for entry in listed if entry["data"] == twin} - {task}
        for where, text in ((task, "First."), (second, "Second.")):
            body = {"result": critique(text), "lead_time": 5}
            ann.post(f"/api/tasks/{where}/annotations/", json=body).raise_for_status()
    found = desk.pull()
    assert [row["critique"] for row in found] == ["Second.", "Wrong.", "Wrong.", "Wrong."]
    desk.ask()
    listed = desk.client().get(f"/api/projects/{desk.project}").json()["task_number"]
    assert listed == 5
    desk.client().delete(f"/api/tasks/{second}").raise_for_status()


def test_skipped_by_everybody_is_done(desk: Desk) -> None:
    desk.ask()
    desk.say(0)
    for index in range(1, 4):
        desk.say(index, result=[], was_cancelled=True)
    assert len(desk.pull()) == 1
    desk.take_back(next(iter(heard(desk.folder).answers)))
    desk.say(0, result=[], was_cancelled=True)
    with pytest.raises(DataError, match="skipped all 4 outputs"):
        desk.pull()


def test_enough_is_enough(desk: Desk) -> None:
    desk.source = LabelStudio(enough=0.5)
    desk.ask()
    desk.say(2)
    assert "1 of 4 outputs are annotated (2 are enough)" in str(desk.wait())
    assert desk.wait().total == 2
    desk.say(0)
    assert [row["sample_id"] for row in desk.pull()] == ["r0000", "r0002"]


def test_a_forgotten_person_is_not_written_down_again(desk: Desk) -> None:
    from ilf.label_studio.events import EVENTS, append

    desk.ask()
    for index in range(4):
        desk.say(index, "Ann's words.")
    desk.pull()
    name = desk.name("ann")
    append(desk.folder, [{"kind": "forgotten", "annotator": name, "at": "now"}])
    kept = [e for e in read_events(desk.folder) if e.get("annotator") != name or e["kind"] != "answer"]
    (desk.folder / EVENTS).write_text("".join(json.dumps(event) + "\n" for event in kept), encoding="utf-8")
    (desk.folder / "seen.json").unlink()
    assert desk.wait().done == 0
    assert "Ann's words" not in (desk.folder / EVENTS).read_text(encoding="utf-8")
    for index in range(4):
        desk.say(index, "Bob's.", "bob")
    assert [row["critique"] for row in desk.pull()] == ["Bob's."] * 4


def test_some_of_the_rows_then_all(desk: Desk) -> None:
    desk.ask()
    for index in range(4):
        desk.say(index)
    one = list(desk.source.pull(desk.rows[2:3], JOB, 0, desk.folder))
    assert [row["sample_id"] for row in one] == ["r0002"]
    assert len(desk.pull()) == 4


@pytest.mark.parametrize(
    "settings",
    [
        {"annotators": 0},
        {"shared": 1.5},
        {"shared_by": 0},
        {"enough": 0.0},
        {"why": "maybe"},
        {"idle_cap": -1.0},
        {"wage_per_hour": float("nan")},
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(settings))):
        LabelStudio(**settings)


def test_a_run_that_waits_survives_the_stop_and_start_of_its_server(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole command: `ilf run --wait` while `ilf label-studio stop` and `start` are typed elsewhere."""
    own = studios.Studio(data, tmp_path / "state").start()
    own.found(monkeypatch)
    monkeypatch.setattr("ilf.commands._wait.POLL_SECONDS", 0.3)
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    lines: list[str] = []
    say = Progress.say
    monkeypatch.setattr(Progress, "say", lambda self, text: (lines.append(text), say(self, text))[1])

    def people() -> None:
        while not (found := list(tmp_path.glob("runs/annotate_summaries/people/*/events.jsonl"))):
            time.sleep(0.1)
        time.sleep(1.0)  # it has looked once and waits
        own.stop()
        # On a busy machine it takes its time to look again.
        end = time.monotonic() + 60
        while not any("no Label Studio is running" in text for text in lines) and time.monotonic() < end:
            time.sleep(0.1)
        own.start()
        number = json.loads((found[0].parent / "project.json").read_text(encoding="utf-8"))["project"]
        told.append(f"{annotators.answer(own, number, 'critique', lambda task: 'leave out danced')} answered")

    person = threading.Thread(target=people)
    person.start()
    status = main(["run", "annotate_summaries", "--until", "collect", "--wait", "load.n=3"])
    person.join()
    said = capsys.readouterr().err
    assert status == 0, said
    assert told == ["3 answered"]
    assert said.count("no Label Studio is running") == 1
