"""Pushing rows to a real Label Studio and pulling what people said: once, all of it, and nothing that is no answer."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import annotators
import httpx
import pytest
import studio as studios
from breaking_proxy import BreakingProxy

from ilf.__main__ import main
from ilf.collect import collect
from ilf.errors import ComponentError, DataError, UsageError, Waiting
from ilf.feedback.label_studio import LabelStudio
from ilf.label_studio import project as projects
from ilf.label_studio.events import heard, read_events
from ilf.label_studio.jobs import JOBS, item_id

pytestmark = pytest.mark.slow
JOB = "critique"


def rows(n: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": f"r{i:04d}",
            "sample_id": f"r{i:04d}",
            "prompt": f"Question {i}",
            "output": f"Answer {i}",
            **more,
        }
        for i in range(n)
    ]


def critique(text: str) -> list[dict[str, Any]]:
    value = {"text": [text]}
    entry = {"id": "c", "from_name": "critique", "to_name": "output", "type": "textarea", "origin": "manual"}
    return [{**entry, "value": value}]


class Desk:
    """A folder that asks people, and the people who answer there through the API."""

    def __init__(self, studio: Any, folder: Path) -> None:
        self.studio, self.folder = studio, folder
        self.source = LabelStudio()
        self.rows = rows(4)
        self._clients: dict[str, httpx.Client] = {}

    def client(self, person: str = "") -> httpx.Client:
        if person not in self._clients:
            self._clients[person] = self.studio.client(self.studio.person(person).key if person else None)
        return self._clients[person]

    def close(self) -> None:
        if (self.folder / "project.json").exists():
            self.client().delete(f"/api/projects/{self.project}")
        for client in self._clients.values():
            client.close()

    @property
    def noted(self) -> dict[str, Any]:
        return json.loads((self.folder / "project.json").read_text(encoding="utf-8"))

    @property
    def project(self) -> int:
        return int(self.noted["project"])

    def ask(self) -> None:
        self.source.push(self.rows, JOB, 0, self.folder)

    def pull(self) -> list[dict[str, Any]]:
        return list(self.source.pull(self.rows, JOB, 0, self.folder))

    def wait(self) -> Waiting:
        with pytest.raises(Waiting) as found:
            self.pull()
        return found.value

    def tasks(self) -> dict[str, dict[str, Any]]:
        """Tasks on the server by ilf_id, as another client sees them."""
        params = {"project": self.project, "page_size": 1000, "fields": "all"}
        found = self.client().get("/api/tasks", params=params).raise_for_status().json()["tasks"]
        by_item = {task["data"]["ilf_id"]: task for task in found}
        assert len(by_item) == len(found), "no task is there twice"
        return by_item

    def task(self, index: int) -> int:
        return int(self.tasks()[item_id(JOB, self.rows[index]["id"])]["id"])

    def say(self, index: int, text: str = "Wrong.", person: str = "ann", **how: Any) -> int:
        body = {"result": critique(text), "lead_time": 10.0, **how}
        found = self.client(person).post(f"/api/tasks/{self.task(index)}/annotations/", json=body)
        return int(found.raise_for_status().json()["id"])

    def edit(self, annotation: int, text: str, person: str = "ann") -> None:
        found = self.client(person).patch(f"/api/annotations/{annotation}/", json={"result": critique(text)})
        found.raise_for_status()

    def take_back(self, annotation: int, person: str = "ann") -> None:
        self.client(person).delete(f"/api/annotations/{annotation}/").raise_for_status()

    def name(self, person: str) -> str:
        from ilf.label_studio.events import pseudonym

        return pseudonym(self.folder, self.studio.person(person).id)


@pytest.fixture
def desk(studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    studio.use(monkeypatch)
    desk = Desk(studio, tmp_path / "recipe" / "people" / "collect-1")
    yield desk
    desk.close()


def test_pushed_once_however_often(desk: Desk) -> None:
    desk.rows = rows(30, facts={"secret": "XYZZY"}, model="the-model")
    for _ in range(3):
        desk.ask()
    assert set(desk.tasks()) == {item_id(JOB, row["id"]) for row in desk.rows}
    shown = {key for task in desk.tasks().values() for key in task["data"]}
    assert {"prompt", "output", "ilf_id"} <= shown
    assert "XYZZY" not in json.dumps(desk.tasks())
    assert "the-model" not in json.dumps(desk.tasks()), "an annotator can see every key of a task"
    desk.rows = rows(40, facts={"secret": "XYZZY"})
    desk.ask()
    assert len(desk.tasks()) == 40
    order = sorted(desk.tasks().values(), key=lambda task: task["id"])
    assert [task["data"]["prompt"] for task in order] == [row["prompt"] for row in desk.rows]


OUTPUTS = {"outputs": ["One <b>", "Two $x"], "critique": "Too short.", "refinements": ["Longer.", "Longest."]}


@pytest.mark.parametrize("job", JOBS)
def test_every_job_is_pushed_and_waited_for(job: str, desk: Desk) -> None:
    asked = rows(2, **OUTPUTS)
    desk.source.push(asked, job, 0, desk.folder)
    with pytest.raises(Waiting, match="0 of 2 outputs"):
        list(desk.source.pull(asked, job, 0, desk.folder))
    assert set(desk.tasks()) == {item_id(job, row["id"]) for row in asked}
    assert desk.source.price(job, 2) > 0


def test_an_answer_that_is_no_answer_of_label_studio(desk: Desk) -> None:
    desk.ask()
    with BreakingProxy(desk.studio.url) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABEL_STUDIO_URL", proxy.url)
        for path in ("/api/tasks", "task_number"):
            proxy.rule("GET", path, rewrite=lambda _: b'["something", "else"]')
            with pytest.raises(ComponentError, match="in a form that we do not know"):
                desk.pull()


def test_a_task_that_somebody_deleted_is_asked_again(desk: Desk) -> None:
    desk.ask()
    desk.client().delete(f"/api/tasks/{desk.task(1)}").raise_for_status()
    desk.ask()
    assert len(desk.tasks()) == 4


def test_a_deleted_task_is_asked_again_where_the_number_of_tasks_says_nothing(desk: Desk) -> None:
    desk.ask()
    desk.wait()
    desk.client().delete(f"/api/tasks/{desk.task(1)}").raise_for_status()
    other = [{"data": {**desk.tasks()[item_id(JOB, "r0000")]["data"], "ilf_id": "somebody else's"}}]
    desk.client().post(f"/api/projects/{desk.project}/import", json=other).raise_for_status()
    # Everything is compared now and then; here as if ten minutes were over.
    (desk.folder / "seen.json").unlink()
    desk.wait()
    desk.ask()
    assert {item_id(JOB, row["id"]) for row in desk.rows} < set(desk.tasks())


def test_a_task_deleted_while_we_look_is_asked_again(desk: Desk) -> None:
    desk.ask()
    desk.rows = rows(5)
    with BreakingProxy(desk.studio.url) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABEL_STUDIO_URL", proxy.url)
        gone = desk.task(1)
        # The last look of a push: all five are in the answer that is on its way, one is gone by then.
        proxy.rule("GET", "/api/tasks", skip=1, after=lambda: desk.client().delete(f"/api/tasks/{gone}"))
        desk.ask()
        assert proxy.rules[0].used == 1
    assert len(desk.tasks()) == 5


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


def test_the_project_is_made_once_and_found_by_its_mark(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def ours() -> list[int]:
        found = desk.client().get("/api/projects", params={"page_size": 1000}).json()["results"]
        marker = desk.noted["marker"]
        return [entry["id"] for entry in found if marker in entry["description"]]

    other = desk.client().post("/api/projects", json={"title": "another"}).json()["id"]
    with monkeypatch.context() as broken:
        note = projects.note

        def killed(folder: Path, project: projects.Project) -> projects.Project:
            if project.project is not None:
                raise KeyboardInterrupt
            return note(folder, project)

        broken.setattr(projects, "note", killed)
        with pytest.raises(KeyboardInterrupt):
            desk.ask()
    assert desk.noted["project"] is None
    (made,) = ours()
    # An older one of the same title must not be taken for it.
    desk.client().patch(f"/api/projects/{other}", json={"title": desk.noted["title"]}).raise_for_status()
    desk.ask()
    assert ours() == [made] == [desk.project]
    assert len(desk.tasks()) == 4
    desk.client().delete(f"/api/projects/{other}")


def test_a_project_whose_making_got_no_answer_is_made_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BreakingProxy(desk.studio.url) as proxy:
        monkeypatch.setenv("LABEL_STUDIO_URL", proxy.url)
        proxy.rule("POST", "/api/projects", tear=0)
        desk.ask()
        made = [request for request in proxy.requests if request[:2] == ("POST", "/api/projects/")]
    assert len(made) == 1
    assert len(desk.tasks()) == 4


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


def test_what_was_pushed_twice_is_taken_away_again_if_nobody_answered(desk: Desk) -> None:
    """As an import that lands after it was given up; an answer or a draft is never taken away."""
    desk.ask()
    first = desk.tasks()
    desk.say(1)
    draft = {"result": critique("Not yet."), "lead_time": 1}
    desk.client("ann").post(f"/api/tasks/{desk.task(2)}/drafts", json=draft).raise_for_status()
    twins = [{"data": task["data"]} for task in sorted(first.values(), key=lambda task: task["id"])]
    added = (
        desk.client()
        .post(f"/api/projects/{desk.project}/import", json=twins, params={"return_task_ids": True})
        .json()["task_ids"]
    )
    desk.client("ann").post(f"/api/tasks/{added[2]}/drafts", json=draft).raise_for_status()
    desk.ask()
    listed = (
        desk.client().get("/api/tasks", params={"project": desk.project, "page_size": 99}).json()["tasks"]
    )
    assert {task["id"] for task in listed} == {task["id"] for task in first.values()} | {added[2]}
    assert desk.wait().done == 1


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


def test_some_tasks_are_for_more_people(desk: Desk) -> None:
    desk.rows = rows(40)
    desk.source = LabelStudio(shared=0.25, shared_by=3)
    desk.ask()

    def overlaps() -> dict[str, int]:
        return {item: task["overlap"] for item, task in desk.tasks().items()}

    several = {item for item, people in overlaps().items() if people == 3}
    assert 3 <= len(several) <= 20
    assert set(overlaps().values()) == {1, 3}
    index = next(i for i, row in enumerate(desk.rows) if item_id(JOB, row["id"]) in several)
    other = next(i for i, row in enumerate(desk.rows) if item_id(JOB, row["id"]) not in several)
    desk.say(index)
    desk.say(other)
    assert desk.wait().done == 1
    assert "by the people asked for" in str(desk.wait())
    labelled = {item: task["is_labeled"] for item, task in desk.tasks().items()}
    assert not labelled[item_id(JOB, desk.rows[index]["id"])], "the server hands it out to two more"
    assert labelled[item_id(JOB, desk.rows[other]["id"])]
    # More people for all, then fewer: the same tasks, the same project.
    for people in (2, 1):
        desk.source = LabelStudio(annotators=people, shared=0.25, shared_by=3)
        desk.ask()
        assert overlaps() == {item: 3 if item in several else people for item in overlaps()}


def test_gold_items_are_mixed_in_and_known_by_our_list(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    gold = [
        {"prompt": f"Gold {i}", "output": "Known", "gold": {"is_faultless": bool(i)}, "secret": "XYZZY"}
        for i in (0, 1)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in gold), encoding="utf-8")
    desk.rows = rows(8)
    desk.source = LabelStudio(gold=str(path))
    desk.ask()
    kept = [json.loads(line) for line in (desk.folder / "gold.jsonl").read_text().splitlines()]
    assert [line["gold"] for line in kept] == [row["gold"] for row in gold]
    tasks = desk.tasks()
    assert len(tasks) == 10
    assert {line["item"] for line in kept} < set(tasks)
    assert "XYZZY" not in json.dumps(tasks)
    assert "is_faultless" not in json.dumps(tasks), "the right answer is not shown"
    order = [task["data"]["prompt"] for task in sorted(tasks.values(), key=lambda task: task["id"])]
    assert order[-2:] != ["Gold 0", "Gold 1"], "they stand between the others"
    for line in kept:
        body = {"result": critique("Fine."), "lead_time": 3, "ground_truth": False}
        url = f"/api/tasks/{tasks[line['item']]['id']}/annotations/"
        desk.client("ann").post(url, json=body).raise_for_status()
    assert desk.wait().done == 0, "gold answers are nobody's rows"
    for index in range(8):
        desk.say(index, ground_truth=True)  # as an import sets it: says nothing
    found = desk.pull()
    assert [row["sample_id"] for row in found] == [row["id"] for row in desk.rows]
    answers = heard(desk.folder).answers.values()
    assert sum(event["gold"] for event in answers) == 2
    assert {event["row"] for event in answers if event["gold"]} == {None}
    assert not tasks[kept[0]["item"]]["is_labeled"], "the server goes on handing it out"
    path.write_text('{"prompt": "p", "output": "o"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="line 1 has no 'gold'"):
        desk.ask()
    with pytest.raises(UsageError, match="no file"):
        LabelStudio(gold=str(tmp_path / "absent")).push(desk.rows, JOB, 0, desk.folder)


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


def test_a_server_that_moved_keeps_its_project(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.ask()
    before = desk.project
    with BreakingProxy(desk.studio.url) as proxy:
        monkeypatch.setenv("LABEL_STUDIO_URL", proxy.url)
        desk.ask()
        assert (desk.project, desk.noted["server"]) == (before, proxy.url)
        assert proxy.url in str(desk.wait())


def test_another_page_is_another_project_until_somebody_answered(desk: Desk) -> None:
    desk.ask()
    first = desk.project
    desk.source = LabelStudio(warning="May hurt.")
    desk.ask()
    second = desk.project
    assert second != first
    assert len(desk.tasks()) == 4
    desk.say(0)  # which we have not heard of
    desk.source = LabelStudio(warning="May hurt a lot.")
    desk.ask()
    assert desk.project == second, "people go on with the page that they know"
    desk.client().delete(f"/api/projects/{first}")


def test_a_project_that_is_gone_is_said(desk: Desk) -> None:
    desk.ask()
    for index in range(4):
        desk.say(index)
    found = desk.pull()
    desk.client().delete(f"/api/projects/{desk.project}").raise_for_status()
    for act in (desk.ask, desk.pull):
        with pytest.raises(
            ComponentError, match=rf"{desk.studio.url} has no project {desk.project} .*\(404\)"
        ):
            act()
    assert len(heard(desk.folder).answers) == len(found), "what was said is kept"


def test_what_the_server_refuses_is_named_without_the_texts(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ilf.feedback import label_studio

    full = label_studio.task_data
    monkeypatch.setattr(
        label_studio,
        "task_data",
        lambda job, row: {k: v for k, v in full(job, row).items() if k != "output" or row["id"] != "r0002"},
    )
    with pytest.raises(DataError) as found:
        desk.ask()
    assert item_id(JOB, "r0002") in str(found.value)
    assert "Question 2" not in str(found.value)


def test_no_secret_is_kept_and_the_salt_is_ours_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", desk.studio.key + "\n")
    monkeypatch.setenv("LABEL_STUDIO_URL", desk.studio.url.replace("://", "://ann:hunter2@"))
    desk.ask()
    desk.say(0)
    text = str(desk.wait())
    salt = desk.folder.parent / "salt"
    assert stat.S_IMODE(salt.stat().st_mode) == 0o600
    for path in [p for p in desk.folder.parent.rglob("*") if p.is_file()]:
        text += path.read_text(encoding="utf-8")
    email = desk.studio.person("ann").email
    for secret in (desk.studio.key, desk.studio.person("ann").key, "hunter2", email):
        assert secret not in text
    assert not [p for p in desk.folder.rglob("*") if salt.read_text() in p.read_text(encoding="utf-8")]


def test_everybody_sees_the_same_task(desk: Desk) -> None:
    """A task has one content for all, and a person is handed every open task: an order of one's own cannot be."""
    desk.source = LabelStudio(annotators=2)
    desk.ask()
    seen = [desk.client(person).get(f"/api/tasks/{desk.task(0)}").json()["data"] for person in ("ann", "bob")]
    assert seen[0] == seen[1]


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

    def people() -> None:
        while not (found := list(tmp_path.glob("runs/annotate_summaries/people/*/events.jsonl"))):
            time.sleep(0.1)
        time.sleep(1.0)  # it has looked once and waits
        own.stop()
        time.sleep(3.0)
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
