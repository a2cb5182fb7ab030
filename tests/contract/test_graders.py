"""What every grader promises; a new file in ilf/graders/ is tested without an edit here."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
from contract_cases import build, names, public_class, rows_for

from ilf.evaluate import columns, evaluate
from ilf.protocols import Grader

pytestmark = pytest.mark.parametrize("name", names("Grader"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graders")


def grader_and_rows(name: str, folder: Path) -> tuple[Any, list[dict[str, Any]]]:
    grader = build("Grader", name, folder)
    assert isinstance(grader, Grader)
    needs = tuple(getattr(grader, "needs", ()))
    assert all(isinstance(column, str) for column in needs)
    return grader, rows_for(needs)


def test_is_one_documented_frozen_dataclass(name: str) -> None:
    cls = public_class("Grader", name)
    assert cls.grade.__doc__


def test_grades_are_in_the_unit_interval_or_unknown_with_a_reason(name: str, folder: Path) -> None:
    grader, rows = grader_and_rows(name, folder)
    verdicts = grader.grade(rows)
    assert len(verdicts) == len(rows)
    for verdict in verdicts:
        assert isinstance(verdict, dict)
        parts = {part: value for part, value in verdict.items() if part != "reason"}
        assert "grade" in parts
        for part, value in parts.items():
            assert value is None or (isinstance(value, (int, float)) and math.isfinite(value)), (
                f"{part}: {value!r}"
            )
        assert parts["grade"] is None or 0.0 <= parts["grade"] <= 1.0
        if None in parts.values():
            assert isinstance(verdict.get("reason"), str), "an unknown value says why"
            assert verdict["reason"].strip()
    json.dumps(verdicts, allow_nan=False)
    assert any(verdict["grade"] is not None for verdict in verdicts), "no row of the contract could be graded"


def test_no_rows_no_verdicts(name: str, folder: Path) -> None:
    assert grader_and_rows(name, folder)[0].grade([]) == []


def test_rows_are_left_as_they_are(name: str, folder: Path) -> None:
    grader, rows = grader_and_rows(name, folder)
    before = copy.deepcopy(rows)
    grader.grade(rows)
    assert rows == before


def test_a_verdict_depends_on_its_row_alone(name: str, folder: Path) -> None:
    """Not on the order of the rows, on its neighbours, or on what was graded before."""
    grader, rows = grader_and_rows(name, folder)
    rows = rows[:9]
    together = grader.grade(rows)
    assert grader.grade(rows[::-1]) == together[::-1]
    assert [verdict for row in rows[:4] for verdict in grader.grade([row])] == together[:4]


def test_reads_only_what_it_says(name: str, folder: Path) -> None:
    """Columns outside ``needs`` (people's words, other graders' marks) move no grade."""
    grader, rows = grader_and_rows(name, folder)
    kept = {"output", "prompt", *grader.needs}
    bare = [{column: value for column, value in row.items() if column in kept} for row in rows[:5]]
    noisy = [{"critique": "great", "grade": 0.0, "scores": [9.0], "annotator": "x", **row} for row in bare]
    assert grader.grade(bare) == grader.grade(noisy)


def test_works_in_the_verb(name: str, folder: Path) -> None:
    grader, rows = grader_and_rows(name, folder)
    needs, _ = columns({"grader": grader, "text": "outputs"})
    assert set(needs) == {"outputs", *grader.needs}
    verdicts = list(evaluate(rows[:2], grader=grader, text="outputs"))
    for row, verdict in zip(rows, verdicts, strict=False):
        single = grader.grade([{**row, "output": text} for text in row["outputs"]])
        assert verdict["grades"] == [one["grade"] for one in single]
