"""The wall between Label Studio and the log: 5,000 tasks, a real server that is broken on purpose, 0 lost, 0 doubled.

What is right is read from the server's database, not through our own client.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from breaking_proxy import BreakingProxy

from ilf.errors import ComponentError, IlfError
from ilf.feedback.label_studio import LabelStudio
from ilf.label_studio.events import heard, read_events
from ilf.label_studio.jobs import item_id, task_data

pytestmark = pytest.mark.slow
N, JOB, ONE_BY_ONE = 5000, "critique", 60
ROWS = [
    {
        "id": f"r{i:05d}",
        "sample_id": f"r{i:05d}",
        "prompt": f"Question {i} " + "x " * 60,
        "output": f"Answer {i}",
    }
    for i in range(N)
]
#: Patient enough for a server that is started again, quick enough for a test.
SOURCE = LabelStudio(patience=30.0, request_seconds=60.0)
WORK = """
import json, sys
from pathlib import Path
from ilf.feedback.label_studio import LabelStudio
from ilf.errors import Waiting
rows = [json.loads(line) for line in Path(sys.argv[2]).read_text().splitlines()]
source = LabelStudio(patience=30.0)
source.push(rows, "critique", 0, Path(sys.argv[1]))
try:
    print(len(list(source.pull(rows, "critique", 0, Path(sys.argv[1])))))
except Waiting as waiting:
    print(waiting)
"""


def critique(text: str) -> list[dict[str, Any]]:
    entry = {"id": "c", "from_name": "critique", "to_name": "output", "type": "textarea", "origin": "manual"}
    return [{**entry, "value": {"text": [text]}}]


def query(studio: Any, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with contextlib.closing(
        sqlite3.connect(f"file:{studio.data}/label_studio.sqlite3?mode=ro", uri=True)
    ) as base:
        return list(base.execute(sql, values))


def pushed(studio: Any, project: int) -> Counter[str]:
    """How often each of our ids stands in a project."""
    return Counter(
        json.loads(data)["ilf_id"]
        for (data,) in query(studio, "select data from task where project_id = ?", project)
    )


def noted(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "project.json").read_text(encoding="utf-8"))


def assert_pushed_once(studio: Any, folder: Path) -> None:
    found = pushed(studio, noted(folder)["project"])
    assert set(found) == {item_id(JOB, row["id"]) for row in ROWS}, "lost"
    assert set(found.values()) == {1}, "doubled"
    marker = noted(folder)["marker"]
    assert len(query(studio, "select id from project where description like ?", f"%{marker}%")) == 1


@pytest.fixture
def folder(tmp_path: Path, studio: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that has asked nobody yet; its project is deleted afterwards."""
    studio.use(monkeypatch)
    folder = tmp_path / "recipe" / "people" / "collect-1"
    folder.mkdir(parents=True)
    yield folder
    if (folder / "project.json").exists() and noted(folder)["project"] not in KEPT:
        with studio.client() as client:
            client.delete(f"/api/projects/{noted(folder)['project']}")


@pytest.fixture
def proxy(studio: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BreakingProxy]:
    with BreakingProxy(studio.url) as proxy:
        monkeypatch.setenv("LABEL_STUDIO_URL", proxy.url)
        yield proxy


@pytest.fixture
def restarted(studio: Any) -> Iterator[Any]:
    """Kills the server and starts it again a moment later, from another thread."""
    threads: list[threading.Thread] = []

    def kill() -> None:
        studio.kill()
        threads.append(threading.Thread(target=studio.start))
        threads[-1].start()

    yield kill
    for thread in threads:
        thread.join()


def push(folder: Path) -> None:
    SOURCE.push(ROWS, JOB, 0, folder)


IMPORT = ("POST", "/import")


def test_push_server_killed(studio: Any, folder: Path, proxy: BreakingProxy, restarted: Any) -> None:
    """In the middle of an import, which takes half a second (0 or all of its tasks come to exist), and before one."""
    proxy.rule(*IMPORT, skip=1, before=lambda: threading.Timer(0.25, restarted).start())
    proxy.rule(*IMPORT, skip=2, before=restarted)
    push(folder)
    assert [rule.used for rule in proxy.rules] == [1, 1]
    assert_pushed_once(studio, folder)


def test_push_broken_answers(studio: Any, folder: Path, proxy: BreakingProxy) -> None:
    """Imports fail one after the other; where the answer is torn or slow, the server did what it was asked."""
    broken: list[dict[str, Any]] = [
        {"status": 429, "headers": {"Retry-After": "1"}},
        {"status": 500},
        {"status": 503},
        {"tear": 0},
        {"tear": 30},
        {"seconds": 4.0},
    ]
    for how in broken:
        proxy.rule(*IMPORT, **how)
    LabelStudio(patience=30.0, request_seconds=3.5).push(ROWS, JOB, 0, folder)
    assert [rule.used for rule in proxy.rules] == [1] * len(broken)
    time.sleep(2)  # the import that was given up may land after all that
    push(folder)
    assert_pushed_once(studio, folder)


def test_push_refused_half_way_goes_on_later(studio: Any, folder: Path, proxy: BreakingProxy) -> None:
    proxy.rule(*IMPORT, skip=2, status=401)
    with pytest.raises(ComponentError, match="401") as found:
        push(folder)
    assert proxy.url in str(found.value)
    assert studio.key not in str(found.value)
    assert sum(pushed(studio, noted(folder)["project"]).values()) == 2000
    push(folder)
    assert_pushed_once(studio, folder)


def test_push_project_deleted_half_way(studio: Any, folder: Path, proxy: BreakingProxy) -> None:
    def delete() -> None:
        with studio.client() as client:
            client.delete(f"/api/projects/{noted(folder)['project']}")

    proxy.rule(*IMPORT, skip=2, before=delete)
    with pytest.raises(ComponentError, match="404"):
        push(folder)
    with pytest.raises(ComponentError, match="has no project"):
        push(folder)


def test_push_two_processes_and_a_killed_one(studio: Any, folder: Path, tmp_path: Path) -> None:
    """SIGKILL at random moments, then two at once on the same folder."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    rng = random.Random(5)
    for _ in range(3):
        process = start(folder, rows)
        begun = time.monotonic()
        while (
            not (folder / ".lock").exists() and time.monotonic() - begun < 30
        ):  # the imports of Python take longest
            time.sleep(0.02)
        time.sleep(rng.uniform(0.1, 3.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    both = [start(folder, rows) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert all(b"0 of 5000 outputs" in out for out, _ in said), said
    assert_pushed_once(studio, folder)


def start(folder: Path, rows: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", WORK, str(folder), str(rows)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


@dataclass
class Answered:
    """A project whose 5,000 tasks are answered, and what is right: row id -> (annotation, text)."""

    folder: Path
    right: dict[str, tuple[int, str]]


KEPT: set[int] = set()


@pytest.fixture(scope="module")
def answered(studio: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answered]:
    """60 answers come one by one through the API from three people, the others by import."""
    folder = tmp_path_factory.mktemp("answered") / "people" / "collect-1"
    with pytest.MonkeyPatch.context() as patch:
        studio.use(patch)
        SOURCE.push(ROWS[:ONE_BY_ONE], JOB, 0, folder)
    project = noted(folder)["project"]
    KEPT.add(project)
    ids = {
        json.loads(data)["ilf_id"]: task
        for task, data in query(studio, "select id, data from task where project_id = ?", project)
    }
    people = [studio.person(name) for name in ("ann", "bob", "eve")]
    for place, row in enumerate(ROWS[:ONE_BY_ONE]):
        with studio.client(people[place % 3].key) as client:
            body = {"result": critique(f"Critique of {row['id']}"), "lead_time": 20.0}
            client.post(
                f"/api/tasks/{ids[item_id(JOB, row['id'])]}/annotations/", json=body
            ).raise_for_status()
    with studio.client() as client:
        tasks = [
            {
                "data": task_data(JOB, row),
                "annotations": [
                    {
                        "result": critique(f"Critique of {row['id']}"),
                        "completed_by": people[place % 3].id,
                        "lead_time": 20.0,
                    }
                ],
            }
            for place, row in enumerate(ROWS[ONE_BY_ONE:])
        ]
        client.post(f"/api/projects/{project}/import", json=tasks).raise_for_status()
    by_item = {item_id(JOB, row["id"]): row["id"] for row in ROWS}
    found = query(
        studio,
        "select t.data, a.id, a.result from task t join task_completion a on a.task_id = t.id where t.project_id = ?",
        project,
    )
    right = {
        by_item[json.loads(data)["ilf_id"]]: (number, json.loads(result)[0]["value"]["text"][0])
        for data, number, result in found
    }
    assert len(right) == len(found) == N
    yield Answered(folder, right)
    with studio.client() as client:
        client.delete(f"/api/projects/{project}")


@pytest.fixture
def fresh(answered: Answered, folder: Path) -> Path:
    """A folder that knows the answered project, and nothing of the answers."""
    shutil.copy(answered.folder / "project.json", folder)
    return folder


def pull(folder: Path, source: LabelStudio = SOURCE) -> list[dict[str, Any]]:
    return list(source.pull(ROWS, JOB, 0, folder))


def assert_pulled_once(found: list[dict[str, Any]], folder: Path, answered: Answered) -> None:
    assert [row["sample_id"] for row in found] == [row["id"] for row in ROWS], (
        "lost, doubled, or out of order"
    )
    said = {row["sample_id"]: (row["provenance"]["annotation"], row["critique"]) for row in found}
    assert said == answered.right
    assert len({row["annotator"] for row in found}) == 3
    events = [event["annotation"] for event in read_events(folder) if event["kind"] == "answer"]
    assert len(events) == len(set(events)) == N, "each answer is written down once"
    assert heard(folder).counts == {"usable": N, "withdrawn": 0}


LIST = ("GET", "/api/tasks")


def test_pull_server_killed_half_way(
    fresh: Path, answered: Answered, proxy: BreakingProxy, restarted: Any
) -> None:
    proxy.rule("GET", ANSWERS, skip=1, tear=20_000, after=restarted)
    assert_pulled_once(pull(fresh), fresh, answered)


def shortened(part: slice) -> Any:
    """Makes a page of a listing lack tasks and stay whole JSON."""

    def rewrite(body: bytes) -> bytes:
        page = json.loads(body)
        return json.dumps({**page, "tasks": page["tasks"][part]}).encode()

    return rewrite


TASKS, ANSWERS = r"overlap(&|$)", "annotations%2Cresult"
FAULTS: dict[str, list[dict[str, Any]]] = {
    "answers that fail": [
        {"status": 429, "headers": {"Retry-After": "1"}},
        {"status": 500},
        {"tear": 5000},
        {"rewrite": lambda body: body[: len(body) // 2]},
        {"seconds": 6.0},  # the client gives up before
    ],
    "listings cut short": [
        {"rewrite": shortened(slice(None, 400))},
        {"rewrite": shortened(slice(100, None))},
        {"rewrite": shortened(slice(0, 0))},
    ],
}


@pytest.mark.parametrize("kind", FAULTS)
def test_pull_broken_answers(kind: str, fresh: Path, answered: Answered, proxy: BreakingProxy) -> None:
    """Each fault meets the list of tasks and the list of their answers."""
    for listing in (TASKS, ANSWERS):
        for place, how in enumerate(FAULTS[kind]):
            proxy.rule("GET", listing, skip=place, **how)
    assert_pulled_once(pull(fresh, LabelStudio(patience=30.0, request_seconds=5.0)), fresh, answered)
    assert [rule.used for rule in proxy.rules] == [1] * len(proxy.rules)


def test_pull_refused_half_way_goes_on_later(fresh: Path, answered: Answered, proxy: BreakingProxy) -> None:
    for status in (401, 404):
        proxy.rule("GET", ANSWERS, skip=1, status=status)
        with pytest.raises(ComponentError, match=str(status)) as found:
            pull(fresh)
        assert proxy.url in str(found.value)
        assert f"project {noted(fresh)['project']}" in str(found.value)
        assert not heard(fresh).answers
    assert_pulled_once(pull(fresh), fresh, answered)


def test_pull_that_never_gets_through_says_so_and_yields_nothing(fresh: Path, proxy: BreakingProxy) -> None:
    proxy.rule(*LIST, times=1000, rewrite=shortened(slice(1, None)))
    started = time.monotonic()
    with pytest.raises(IlfError, match="Run the same command again"):
        pull(fresh, LabelStudio(patience=1.0))
    assert time.monotonic() - started < 60
    assert not heard(fresh).answers


def test_pull_two_processes_and_a_killed_one(
    fresh: Path, answered: Answered, tmp_path: Path, studio: Any
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    rng = random.Random(7)
    for _ in range(2):
        process = start(fresh, rows)
        begun = time.monotonic()
        while not (fresh / ".lock").exists() and time.monotonic() - begun < 30:
            time.sleep(0.02)
        time.sleep(rng.uniform(1.0, 6.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    both = [start(fresh, rows) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [out.strip() for out, _ in said] == [b"5000", b"5000"], said
    assert set(pushed(studio, noted(fresh)["project"]).values()) == {1}
    # And as after a power cut: the last batch is half written, and what was seen is not noted.
    log = fresh / "events.jsonl"
    log.write_bytes(log.read_bytes()[: log.stat().st_size * 37 // 100])
    (fresh / "seen.json").unlink()
    assert_pulled_once(pull(fresh), fresh, answered)


def test_tasks_deleted_while_they_are_listed_hide_no_other(
    studio: Any, fresh: Path, answered: Answered, proxy: BreakingProxy
) -> None:
    """The server's own pages by number would skip as many others. Last, for it takes 20 tasks away for good."""
    project = noted(fresh)["project"]
    gone = query(studio, "select id, data from task where project_id = ? order by id limit 20", project)

    def delete() -> None:
        with studio.client() as client:
            for task, _ in gone:
                client.delete(f"/api/tasks/{task}").raise_for_status()

    proxy.rule(*LIST, skip=1, before=delete)
    items = {json.loads(data)["ilf_id"] for _, data in gone}
    left = [row for row in ROWS if item_id(JOB, row["id"]) not in items]
    found = list(SOURCE.pull(left, JOB, 0, fresh))
    assert {row["sample_id"]: row["provenance"]["annotation"] for row in found} == {
        row["id"]: answered.right[row["id"]][0] for row in left
    }


def test_project_deleted_while_it_is_listed(studio: Any, fresh: Path, proxy: BreakingProxy) -> None:
    """The SDK's listing just ends there. The very last test: the project is gone."""

    def delete() -> None:
        with studio.client() as client:
            client.delete(f"/api/projects/{noted(fresh)['project']}").raise_for_status()

    proxy.rule("GET", ANSWERS, skip=1, before=delete)
    with pytest.raises(ComponentError, match="404"):
        pull(fresh)
    assert not heard(fresh).answers
