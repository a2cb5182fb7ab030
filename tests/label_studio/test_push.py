"""Pushing rows to a real Label Studio: once, into one project, for as many people as asked for."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from breaking_proxy import BreakingProxy
from desk import JOB, Desk, critique, rows

from ilf.errors import ComponentError, DataError, UsageError, Waiting
from ilf.feedback.label_studio import LabelStudio
from ilf.label_studio import project as projects
from ilf.label_studio.events import heard
from ilf.label_studio.jobs import JOBS, item_id

pytestmark = pytest.mark.slow


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
