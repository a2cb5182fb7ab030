"""How long do people's answers take to come home? 5,000 tasks pushed, 5,000 answers pulled, ten changed.

    python benchmarks/label_studio.py              two minutes, on the server that ilf finds
    python benchmarks/label_studio.py --profile    where our own part of the time goes

It makes projects of its own and deletes them. Answers enter by import; they are not counted. The status is 1
where a step takes longer than it may. Measured on two cores, sqlite, Label Studio 1.23.2, Python 3.11; nearly
all of the time is the server's:

    import of the SDK        0.66 s   2.5 s when its files were not in memory yet
    push                     2.76 s
    push again               0.18 s
    pull                     6.70 s
    pull 10, all young       1.94 s   all 5,000 answers came within a minute of the last change that was seen
    pull 10 changed          0.48 s
    full reconcile           2.30 s
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import functools
import json
import pstats
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # benchmarks/rankers.py must not stand in for the package

from ilf.errors import Waiting  # noqa: E402
from ilf.feedback.label_studio import LabelStudio  # noqa: E402
from ilf.label_studio import listing  # noqa: E402
from ilf.label_studio.connection import Connection, connect  # noqa: E402
from ilf.label_studio.events import heard  # noqa: E402
from ilf.label_studio.jobs import item_id, task_data  # noqa: E402
from ilf.label_studio.pull import OVERLAP_SECONDS  # noqa: E402

JOB, CHANGED = "critique", 10
#: Most seconds: pushed and pulled together, ten changes, everything compared.
MOST = {"push and pull": 25.0, "pull 10 changed": 2.0, "full reconcile": 15.0}
SOURCE = LabelStudio()


def rows(n: int) -> list[dict[str, Any]]:
    text = "a post of some length that somebody wrote about their day and asks advice about " * 3
    return [
        {"id": f"r{i:05d}", "sample_id": f"r{i:05d}", "prompt": f"{i} {text}", "output": f"{i} {text[:150]}"}
        for i in range(n)
    ]


def critique(text: str) -> list[dict[str, Any]]:
    entry = {"id": "c", "from_name": "critique", "to_name": "output", "type": "textarea", "origin": "manual"}
    return [{**entry, "value": {"text": [text]}}]


def project_of(folder: Path) -> int:
    return int(json.loads((folder / "project.json").read_text(encoding="utf-8"))["project"])


def answer_all(connection: Connection, folder: Path, asked: list[dict[str, Any]]) -> None:
    """Answers enter as an import of tasks with annotations; the project then has them all."""
    tasks = [
        {
            "data": task_data(JOB, row),
            "annotations": [{"result": critique(f"Wrong: {row['id']}"), "lead_time": 30.0}],
        }
        for row in asked
    ]
    for start in range(0, len(tasks), 1000):
        path = f"/api/projects/{project_of(folder)}/import"
        connection.post("answers", path, tasks[start : start + 1000])


@contextlib.contextmanager
def profiled(wanted: bool) -> Iterator[None]:
    profile = cProfile.Profile()
    if wanted:
        profile.enable()
    try:
        yield
    finally:
        if wanted:
            profile.disable()
            pstats.Stats(profile).sort_stats("tottime").print_stats(12)


class Clock:
    """Times named pieces of work, and how much of them is our own processor time."""

    def __init__(self, profile: bool) -> None:
        self.profile, self.found = profile, dict[str, float]()

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        """Does the work and says how long it took."""
        with profiled(self.profile):
            begun, ours = time.perf_counter(), time.process_time()
            result = work()
            self.found[name] = time.perf_counter() - begun
        ours = time.process_time() - ours
        print(f"{name:<22}{self.found[name]:>7.2f} s, of which ours {ours:>6.2f} s of processor", flush=True)
        return result


def import_sdk() -> None:
    from label_studio_sdk import LabelStudio as Client

    assert Client


def measure(clock: Clock, connection: Connection, n: int, pushed: Path, answered: Path) -> None:
    asked = rows(n)
    # One row more than is ever answered: people are waited for, so a pull stays incremental.
    more = [*asked, {**asked[0], "id": "unanswered"}]
    clock("push", lambda: SOURCE.push(asked, JOB, 0, pushed))
    clock("push again", lambda: SOURCE.push(asked, JOB, 0, pushed))
    SOURCE.push(more[-1:], JOB, 0, answered)
    answer_all(connection, answered, asked)
    SOURCE.push(more, JOB, 0, answered)
    clock("pull", lambda: waiting(more, answered))
    assert heard(answered).counts["usable"] == n
    # What was touched in the minute before the last change that we saw is listed again: at first that is all.
    rounds = {"pull 10, all young": 0.0, "pull 10, a minute on": OVERLAP_SECONDS + 1, "pull 10 changed": 0.0}
    for name, wait in rounds.items():
        time.sleep(wait)
        change(connection, answered, asked[:CHANGED], name)
        clock(name, functools.partial(waiting, more, answered))
        said = [event["said"].get("critique") for event in heard(answered).answers.values()]
        assert said.count(name) == CHANGED
    enough = LabelStudio(enough=0.9)
    found = clock("full reconcile", lambda: list(enough.pull(more, JOB, 0, answered)))
    assert len({row["sample_id"] for row in found}) == n


def waiting(asked: list[dict[str, Any]], folder: Path) -> None:
    with contextlib.suppress(Waiting):
        list(SOURCE.pull(asked, JOB, 0, folder))


def change(connection: Connection, folder: Path, asked: list[dict[str, Any]], text: str) -> None:
    """What people do on the page: a new answer where there is none, else the answer edited."""
    project, items = project_of(folder), {item_id(JOB, row["id"]) for row in asked}
    tasks = [task.id for task in listing.tasks(connection, project).values() if task.item in items]
    for task in listing.with_annotations(connection, project, tasks):
        body = {"result": critique(text), "lead_time": 30.0}
        if task.annotations:
            connection.patch("an answer", f"/api/annotations/{task.annotations[0]['id']}/", body)
        else:
            connection.post("an answer", f"/api/tasks/{task.id}/annotations/", body)


def delete(connection: Connection, project: int) -> None:
    connection.read("our project", lambda sdk: sdk.projects.delete(id=project))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    clock = Clock(arguments.profile)
    clock("import of the SDK", import_sdk)
    with tempfile.TemporaryDirectory() as name, contextlib.closing(connect()) as connection:
        folders = Path(name, "bench/people/push"), Path(name, "bench/people/pull")
        try:
            measure(clock, connection, arguments.rows, *folders)
        finally:
            for folder in folders:
                if (folder / "project.json").exists():
                    delete(connection, project_of(folder))
    found = {**clock.found, "push and pull": clock.found["push"] + clock.found["pull"]}
    late = [name for name, most in MOST.items() if found[name] > most]
    for name, most in MOST.items():
        print(f"{name:<22}{found[name]:>7.2f} s, at most {most:.0f} s{'   TOO SLOW' if name in late else ''}")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
