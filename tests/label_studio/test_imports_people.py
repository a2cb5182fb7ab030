"""People answer on a real server; the export, the verdict and the forgetting of it say the same as the pull."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ilf import __main__ as command_line
from ilf.feedback.label_studio import LabelStudio
from ilf.feedback.label_studio_export import LabelStudioExport
from ilf.label_studio.events import pseudonym
from ilf.label_studio.jobs import item_id
from ilf.records import line, row_id
from ilf.store import Step

pytestmark = pytest.mark.slow
WORDS = "It never mentions the walrus of the first sentence"


def text_of(name: str, to: str, text: str) -> dict[str, Any]:
    return {"id": name, "from_name": name, "to_name": to, "type": "textarea", "value": {"text": [text]}}


def choice_of(name: str, to: str, value: str) -> dict[str, Any]:
    return {"id": name, "from_name": name, "to_name": to, "type": "choices", "value": {"choices": [value]}}


def tasks(client: Any, project: int) -> dict[str, int]:
    """Task on the server by our id."""
    found = client.get("/api/tasks", params={"project": project, "page_size": 1000}).raise_for_status().json()
    return {task["data"]["ilf_id"]: task["id"] for task in found["tasks"]}


def say(client: Any, task: int, result: list[dict[str, Any]], **how: Any) -> None:
    body = {"result": result, "lead_time": 12.5, **how}
    client.post(f"/api/tasks/{task}/annotations/", json=body).raise_for_status()


def project_in(folder: Path) -> int:
    return int(json.loads((folder / "project.json").read_text())["project"])


@pytest.fixture
def ilf(capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, studio: Any) -> Callable[..., Any]:
    """``ilf("verdict", ...)`` in this process, in a folder of its own, with the server in the environment."""
    monkeypatch.chdir(tmp_path)
    studio.use(monkeypatch)
    more = [group for group in ("verdict", "forget") if group not in command_line.GROUPS]
    monkeypatch.setattr(command_line, "GROUPS", (*command_line.GROUPS, *more))

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = command_line.main(list(words))
        return (status, *capsys.readouterr())

    return call


def test_the_export_gives_the_same_rows_as_the_pull(
    studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.use(monkeypatch)
    rows = [
        {
            "id": f"r{i}",
            "sample_id": f"r{i}",
            "prompt": f"Question {i}",
            "output": f"Answer {i}, 👍\nit is so.",
        }
        for i in range(5)
    ]
    folder = tmp_path / "recipe" / "people" / "collect-0"
    source = LabelStudio(annotators=2)
    source.push(rows, "critique", 0, folder)
    project = project_in(folder)
    with studio.client(studio.person("ann").key) as ann, studio.client(studio.person("bob").key) as bob:
        of = tasks(ann, project)
        for i, row in enumerate(rows):
            task = of[item_id("critique", row["id"])]
            say(
                ann,
                task,
                [text_of("critique", "output", f"{WORDS} {i}.")],
                lead_time=700.0 if i == 3 else 9.5,
            )
            if i == 4:
                say(bob, task, [], was_cancelled=True)
            else:
                say(bob, task, [choice_of("faultless", "output", "yes")], lead_time=None)
        say(ann, of[item_id("critique", "r0")], [text_of("critique", "output", "Once more.")])
        pulled = list(source.pull(rows, "critique", 0, folder))
        export = tmp_path / "export.json"
        found = ann.get(f"/api/projects/{project}/export", params={"exportType": "JSON"})
        export.write_bytes(found.raise_for_status().content)
        ann.delete(f"/api/projects/{project}").raise_for_status()
    exported = LabelStudioExport(str(export), annotators=2)
    beside = folder.parent / "collect-1"
    assert list(exported.pull(rows, "critique", 0, beside)) == pulled
    assert len(pulled) == 9
    assert {row["annotator"] for row in pulled} == {
        pseudonym(folder, studio.person(name).id) for name in ("ann", "bob")
    }


def two_steps(runs: Path, n: int) -> None:
    for name, word in (("one", "short"), ("two", "long")):
        folder = runs / name / f"answer-000000000{name == 'two':d}"
        folder.mkdir(parents=True)
        rows = [
            {"id": row_id(name, i), "prompt": f"Post {i}", "output": f" A {word} answer {i}."}
            for i in range(n)
        ]
        (folder / "rows.jsonl").write_bytes(b"".join(map(line, rows)))
        Step(folder).finish({"stage": "sample"})


def test_a_verdict_by_people(ilf: Any, studio: Any, tmp_path: Path) -> None:
    two_steps(tmp_path / "runs", 12)
    words = ("verdict", "one/answer", "two/answer")
    status, _, err = ilf(*words)
    assert status == 75
    assert "0 of 12 pairs are judged" in err
    (folder,) = (tmp_path / "runs/verdicts/people").glob("answer-*")
    project = project_in(folder)
    with studio.client(studio.person("ann").key) as ann:
        listed = ann.get("/api/tasks", params={"project": project, "page_size": 100, "fields": "all"}).json()
        told = json.dumps(listed)
        assert "one" not in {key for task in listed["tasks"] for key in task["data"]}
        assert "runs/" not in told
        lefts = 0
        for number, task in enumerate(listed["tasks"]):
            lefts += "short" in task["data"]["left"]
            side = "left" if "short" in task["data"]["left"] else "right"
            result = [choice_of("better", "left", side if number else "tie")]
            say(ann, task["id"], [*result, text_of("why", "left", f"{WORDS}, {number}.")])
            if number == 5:
                assert "6 of 12 pairs are judged" in ilf(*words)[2]
        status, out, _ = ilf(*words, "--json", "--wage-per-hour", "18")
        assert status == 0
        found = json.loads(out)
        assert found["verdicts"] == {"a": 11, "tie": 1, "b": 0}
        assert found["win_rate_of_a"]["estimate"] == pytest.approx(11.5 / 12)
        assert found["position"]["a_stood_first"] == lefts
        assert 0 < lefts < 12, "sides are shuffled"
        assert found["people"]["cost"] == pytest.approx(12 * 12.5 / 3600 * 18)
        assert len([v for p in found["prompts"] for v in p["verdicts"] if v["why"]]) == 12
        ann.delete(f"/api/projects/{project}").raise_for_status()


def test_a_person_is_forgotten_here_and_on_the_server(ilf: Any, studio: Any, tmp_path: Path) -> None:
    two_steps(tmp_path / "runs", 4)
    words = ("verdict", "one/answer", "two/answer", "--annotators", "2", "enough=0.25")
    assert ilf(*words)[0] == 75
    (folder,) = (tmp_path / "runs/verdicts/people").glob("answer-*")
    project = project_in(folder)
    ann, bob = studio.person("ann"), studio.person("bob")
    with studio.client(ann.key) as as_ann, studio.client(bob.key) as as_bob:
        for task in tasks(as_ann, project).values():
            for client in (as_ann, as_bob):
                who = "ann" if client is as_ann else "bob"
                verdict = [
                    choice_of("better", "left", "left"),
                    text_of("why", "left", f"{WORDS}: {who}, {task}."),
                ]
                say(client, task, verdict)
        assert ilf(*words, "--json")[0] == 0
        (step,) = (tmp_path / "runs/verdicts").glob("answer-*")
        assert {row["annotator"] for row in Step(step).rows()} == {
            pseudonym(folder, p.id) for p in (ann, bob)
        }

        status, out, _ = ilf("forget", ann.email, "--dry-run")
        assert status == 0
        assert f"{studio.url} project {project}" in " ".join(out.split())
        assert ilf("forget", ann.email, "--yes")[0] == 0
        assert b": ann, " not in b"".join(
            p.read_bytes() for p in (tmp_path / "runs").rglob("*") if p.is_file()
        )
        # The server still has it, and pulling all of it anew brings none of it back.
        (folder / "seen.json").unlink()
        status, out, _ = ilf(*words, "annotators=1", "--json")
        assert status == 0
        assert [person["annotator"] for person in json.loads(out)["annotators"]] == [
            pseudonym(folder, bob.id)
        ]
        assert b": ann, " not in (folder / "events.jsonl").read_bytes()

        status, out, _ = ilf("forget", pseudonym(folder, ann.id), "--server", "--yes")
        assert status == 0
        assert "4 annotations of theirs are deleted there" in " ".join(out.split())
        found = as_bob.get(f"/api/projects/{project}/export", params={"exportType": "JSON"}).json()
        assert [len(task["annotations"]) for task in found] == [1] * 4
        assert ": ann, " not in json.dumps(found)
        assert "0 annotations of theirs" in ilf("forget", ann.email, "--server", "--dry-run")[1]
        as_bob.delete(f"/api/projects/{project}").raise_for_status()
