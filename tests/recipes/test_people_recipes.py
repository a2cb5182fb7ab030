"""The recipes with people, start to end: a real server, one answer of each job on the page by keyboard, the rest by its API."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from annotators import answer
from browser import answer_critique, answer_rank, answer_verdict, log_in, open_project, submit

from ilf import Nano
from ilf.__main__ import main
from ilf.label_studio.jobs import item_id
from ilf.records import Rows

pytestmark = pytest.mark.slow
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    studio: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Run:
    """The command line in an empty folder, with the server in the environment."""
    studio.use(monkeypatch)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        status = main(list(words))
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def project(where: str) -> int:
    (file,) = Path("runs").glob(f"{where}/project.json")
    number: int = json.loads(file.read_text(encoding="utf-8"))["project"]
    return number


def rows_of(step: str) -> list[dict[str, Any]]:
    (folder,) = Path("runs").glob(f"{step}-*")
    return list(Rows(folder / "rows.jsonl"))


def critic(recipe: str) -> Callable[[dict[str, Any]], str]:
    """What the closed world's annotator says about a task."""
    asked = {item_id("critique", row["id"]): row for row in rows_of(f"{recipe}/sample")}

    def say(data: dict[str, Any]) -> str:
        row = asked[data["ilf_id"]]
        return Nano().critique(random.Random(0), row["facts"], row["output"])

    return say


def grades(recipe: str) -> Callable[[dict[str, Any]], list[int]]:
    """Stars for the summaries of a task, as the closed world grades them."""
    asked = {item_id("rank", row["id"]): row for row in rows_of(f"{recipe}/sample")}

    def say(data: dict[str, Any]) -> list[int]:
        facts = asked[data["ilf_id"]]["facts"]
        return [
            1 + round(3 * float(Nano().grade(facts, item["body"])["grade"] or 0)) for item in data["items"]
        ]

    return say


def judged(run: Run, studio: Any, chromium: Any, recipe: str) -> dict[str, Any]:
    """A blind verdict of six pairs: one on the page, the others by the API."""
    words = ("verdict", f"{recipe}/before", f"{recipe}/after", "--n", "6")
    status, _, told = run(*words)
    assert status == 75, told
    number = project("verdicts/people/*")
    page = log_in(chromium, studio.url, studio.email, studio.password)
    open_project(page, studio.url, number)
    answer_verdict(page, "left")
    submit(page)
    page.context.close()
    answer(studio, number, "verdict", lambda data: "tie")
    status, out, told = run(*words, "--json", "--quiet")
    assert status == 0, told
    found: dict[str, Any] = json.loads(out)
    return found


def test_critiques_from_the_page_to_the_verdict(run: Run, studio: Any, chromium: Any) -> None:
    status, _, told = run("run", "annotate_summaries")
    assert status == 75
    assert "0 of 8 outputs are annotated" in told
    number = project("annotate_summaries/people/collect-*")
    page = log_in(chromium, studio.url, studio.email, studio.password)
    open_project(page, studio.url, number)
    answer_critique(page, "leave out the last remark; danced is made up", faults="13")
    submit(page)
    page.context.close()
    assert "1 of 8 outputs are annotated" in run("run", "annotate_summaries")[2]
    assert answer(studio, number, "critique", critic("annotate_summaries"), seconds=40.0) == 7
    status, out, told = run("run", "annotate_summaries", "collect.feedback.wage_per_hour=36")
    assert status == 0, told
    assert "hours of people" in out

    said = rows_of("annotate_summaries/collect")
    assert len(said) == 8
    (typed,) = [row for row in said if row["critique"].startswith("leave out the last remark")]
    assert typed["faults"] == ["wrong fact", "made up"]
    assert 0 < typed["seconds"] < 60
    assert {row["annotator"][:2] for row in said} == {"p-"}
    assert [row["critique_shown"] for row in rows_of("annotate_summaries/refine")] == [
        r["critique"] for r in said
    ]
    assert all("facts" not in json.dumps(task) for task in tasks(studio, number))

    status, out, _ = run("agreement", "annotate_summaries/collect", "--json")
    assert status == 0
    (worth,) = json.loads(out)["steps"]
    # 36 an hour is 1 in 100 seconds.
    assert worth["ledger"]["money"] == pytest.approx(sum(row["seconds"] for row in said) / 100)
    assert judged(run, studio, chromium, "annotate_summaries")

    one = annotations(studio, number)[0]
    with studio.client() as owner:
        edited = [
            {**entry, "value": {"text": ["say something about the ending"]}} for entry in one["result"][:1]
        ]
        owner.patch(f"/api/annotations/{one['id']}/", json={"result": edited}).raise_for_status()
    assert run("run", "annotate_summaries")[0] == 0
    status, _, told = run("run", "annotate_summaries", "--refresh")
    assert status == 0
    assert "people changed something: snapshot 1" in told
    assert len(list(Path("runs/annotate_summaries").glob("collect-*"))) == 2
    (person,) = {row["annotator"] for row in said}
    assert run("forget", person, "--yes")[0] == 0
    left = [
        file
        for file in Path("runs").rglob("*")
        if file.is_file() and b"last remark; danced is" in file.read_bytes()
    ]
    assert not left


def tasks(studio: Any, number: int) -> list[dict[str, Any]]:
    with studio.client() as owner:
        found = owner.get("/api/tasks", params={"project": number, "fields": "all", "page_size": 100})
        listed: list[dict[str, Any]] = found.raise_for_status().json()["tasks"]
    return listed


def annotations(studio: Any, number: int) -> list[dict[str, Any]]:
    return [annotation for task in tasks(studio, number) for annotation in task["annotations"]]


def test_rankings_from_the_page_to_the_verdict(run: Run, studio: Any, chromium: Any) -> None:
    assert run("run", "rank_summaries")[0] == 75
    number = project("rank_summaries/people/collect-*")
    page = log_in(chromium, studio.url, studio.email, studio.password)
    open_project(page, studio.url, number)
    answer_rank(page, [1, 3, 2, 3])
    submit(page)
    page.context.close()
    assert answer(studio, number, "rank", grades("rank_summaries")) == 7
    status, _, told = run("run", "rank_summaries")
    assert status == 0, told
    said = rows_of("rank_summaries/collect")
    assert all(sorted(i for group in row["ranking"] for i in group) == [0, 1, 2, 3] for row in said)
    assert all(sorted(row["shown"]) == [0, 1, 2, 3] for row in said)
    chosen = rows_of("rank_summaries/choose")
    assert all(row["picked"] in row["ranking"][0] for row in chosen), "what a person ranked first is imitated"
    assert judged(run, studio, chromium, "rank_summaries")
