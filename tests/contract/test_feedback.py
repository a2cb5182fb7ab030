"""What every source of feedback promises; a new file in ilf/feedback/ is tested without an edit here.

A source that waits for people is given their answers by ``ANSWERED``; one that is not in it is tested for waiting.
A source is asked to do those of ``JOBS`` that its ``jobs`` name, all of them where it has none.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from annotators import answer
from contract_cases import build, names, public_class, rows_for
from studio import _session

from ilf.collect import collect
from ilf.config import find
from ilf.errors import Waiting
from ilf.protocols import FeedbackSource

JOBS = {"critique": "critique", "rank": "ranking", "demonstrate": "completion"}
SAID: dict[str, Any] = {
    "critique": "The price is missing.",
    "ranking": [[1], [0]],
    "completion": " Tom fell.",
}


def _fill_in_file(folder: Path, job: str) -> None:
    """As a person would: the questions are in the file, the answers go where they belong."""
    file = folder / "answers.jsonl"
    questions = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
    answers = [{**q, JOBS[job]: SAID[JOBS[job]], "annotator": "ann", "seconds": 30} for q in questions]
    file.write_text("".join(json.dumps(answer) + "\n" for answer in answers), encoding="utf-8")


def _answer_tasks(folder: Path, job: str) -> None:
    """As a person would, at the real server."""
    project = json.loads((folder / "people" / "project.json").read_text(encoding="utf-8"))["project"]
    said = {"critique": "The price is missing.", "rank": [1, 2, 1, 1], "demonstrate": " Tom fell."}[job]
    answer(_session()[0], project, job, lambda data: said[: len(data["items"])] if job == "rank" else said)


ANSWERED: dict[str, Callable[[Path, str], None]] = {
    "jsonl_file": _fill_in_file,
    "label_studio": _answer_tasks,
}
#: Sources whose real part is a server.
SERVED = ("label_studio",)
#: Sources that ask nobody, so that what they say costs no seconds.
NOBODYS_TIME = ("judge",)


def jobs_of(name: str) -> list[str]:
    """The jobs of this test that a source does."""
    known = getattr(find("FeedbackSource", name), "jobs", JOBS)
    return [job for job in JOBS if job in known]


def _marked(*case: str) -> Any:
    return pytest.param(*case, marks=[pytest.mark.slow] if case[0] in SERVED else [])


every_source = pytest.mark.parametrize("name", [_marked(name) for name in names("FeedbackSource")])
every_job = pytest.mark.parametrize(
    ("name", "job"), [_marked(name, job) for name in names("FeedbackSource") for job in jobs_of(name)]
)


@pytest.fixture(autouse=True)
def _server(name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in SERVED:
        request.getfixturevalue("studio").use(monkeypatch)


def source_and_rows(name: str, folder: Path) -> tuple[Any, list[dict[str, Any]]]:
    source = build("FeedbackSource", name, folder)
    assert isinstance(source, FeedbackSource)
    rows = [row for row in rows_for(("facts",)) if row["output"].strip()]
    return source, rows[:4] if name in SERVED else rows


def pulled(
    name: str, source: Any, rows: list[dict[str, Any]], job: str, folder: Path
) -> list[dict[str, Any]] | None:
    """What was said about the rows, or None where nobody can be made to answer here."""
    source.push(rows, job, 0, folder / "people")
    try:
        return list(source.pull(rows, job, 0, folder / "people"))
    except Waiting:
        if name not in ANSWERED:
            return None
    ANSWERED[name](folder, job)
    return list(source.pull(rows, job, 0, folder / "people"))


@every_source
def test_is_one_documented_frozen_dataclass(name: str) -> None:
    cls = public_class("FeedbackSource", name)
    assert all(getattr(cls, method).__doc__ for method in ("price", "push", "pull"))


@every_source
def test_prices_are_seconds(name: str, tmp_path: Path) -> None:
    source, _ = source_and_rows(name, tmp_path)
    for job in jobs_of(name):
        assert math.isfinite(source.price(job, 4))
        assert (source.price(job, 4) == 0) if name in NOBODYS_TIME else (source.price(job, 4) > 0)
    assert source.price("rank", 8) >= source.price("rank", 4) >= source.price("rank", 2)


@every_job
def test_every_row_is_answered_or_waited_for(name: str, job: str, tmp_path: Path) -> None:
    source, rows = source_and_rows(name, tmp_path)
    source.push(rows, job, 0, tmp_path / "people")
    told = ""
    try:
        found = list(source.pull(rows, job, 0, tmp_path / "people"))
    except Waiting as waiting:
        found, told = [], str(waiting)
    assert len(found) >= len(rows) or f"0 of {len(rows)}" in told, "says how far people are"


@every_job
def test_one_row_per_annotation_with_what_was_said(name: str, job: str, tmp_path: Path) -> None:
    source, rows = source_and_rows(name, tmp_path)
    found = pulled(name, source, rows, job, tmp_path)
    if found is None:
        return
    order = [row["sample_id"] for row in rows]
    assert [order.index(row["sample_id"]) for row in found] == sorted(
        order.index(r["sample_id"]) for r in found
    )
    assert {row["sample_id"] for row in found} == set(order)
    assert len({row["id"] for row in found}) == len(found), "rows multiply: each has an id of its own"
    assert len({row["annotation_id"] for row in found}) == len(found), "the ledger counts annotation ids"
    by_sample = {row["sample_id"]: row for row in rows}
    for row in found:
        assert row["id"] != row["sample_id"]
        assert row["job"] == job
        assert isinstance(row["annotator"], str)
        assert row["annotator"]
        assert row["seconds"] is None or row["seconds"] >= 0
        kept = {c: v for c, v in by_sample[row["sample_id"]].items() if c not in ("id", JOBS[job])}
        assert kept.items() <= row.items(), "columns of the sample stay as they are"
        if job == "rank":
            ranked = sorted(index for group in row["ranking"] for index in group)
            assert ranked == list(range(len(row["outputs"])))
        else:
            assert row[JOBS[job]].strip()
    json.dumps(found, allow_nan=False)


@every_job
def test_the_same_twice(name: str, job: str, tmp_path: Path) -> None:
    """Pushing again asks for nothing twice, pulling again gives the same, and what is pulled passes the verb's check."""
    source, rows = source_and_rows(name, tmp_path)
    first = pulled(name, source, rows, job, tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    source.push(rows, job, 0, tmp_path / "people")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files
    if first is not None:
        assert list(source.pull(rows, job, 0, tmp_path / "people")) == first
        assert list(collect(rows, tmp_path / "people", feedback=source, job=job)) == first  # type: ignore[arg-type]


@every_job
def test_a_fresh_source_gives_the_same(name: str, job: str, tmp_path: Path) -> None:
    """State lives in the world outside (a file, a server), never in the object."""
    source, rows = source_and_rows(name, tmp_path)
    first = pulled(name, source, rows, job, tmp_path)
    if first is not None:
        assert list(source_and_rows(name, tmp_path)[0].pull(rows, job, 0, tmp_path / "people")) == first


@every_source
def test_an_annotation_does_not_depend_on_its_neighbours(name: str, tmp_path: Path) -> None:
    source, rows = source_and_rows(name, tmp_path)
    job = jobs_of(name)[0]
    together = pulled(name, source, rows, job, tmp_path)
    if together is not None:
        alone = [row for one in rows[::-1] for row in source.pull([one], job, 0, tmp_path / "people")]
        assert sorted(alone, key=lambda row: row["id"]) == sorted(together, key=lambda row: row["id"])


@every_job
def test_rows_are_left_as_they_are(name: str, job: str, tmp_path: Path) -> None:
    source, rows = source_and_rows(name, tmp_path)
    before = copy.deepcopy(rows)
    pulled(name, source, rows, job, tmp_path)
    assert rows == before


@every_source
def test_people_are_not_shown_the_truth(name: str, tmp_path: Path) -> None:
    """What a source writes for people holds none of a world's facts (the simulated annotator writes nothing)."""
    source, rows = source_and_rows(name, tmp_path)
    secret = [{**row, "facts": {**row["facts"], "secret": "XYZZY"}, "reference": "XYZZY"} for row in rows]
    for job in jobs_of(name):
        source.push(secret, job, 0, tmp_path / "people")
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"XYZZY" in path.read_bytes()]
