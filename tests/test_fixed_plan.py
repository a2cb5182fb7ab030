"""The plan of a comparison: written before the data are in; whatever was changed afterwards is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ilf._compare.fixed_plan import FILE, early, fix, read
from ilf.errors import DataError

PLAN: dict[str, Any] = {
    "target": "evaluate",
    "seeds": [0, 1],
    "budgets": [],
    "arms": {"base": "k1", "ilf": "k2"},
    "comparisons": [["ilf", "base"]],
    "controls": {},
    "axes": [],
    "rows": {"test": 200},
    "enough": {"collect": 0.9},
    "margin": 0.05,
    "method": {"alpha": 0.05},
}


def test_the_first_plan_stays_and_changes_are_told(tmp_path: Path) -> None:
    first = fix(tmp_path, PLAN, graded=0)
    assert (first["plan"], first["graded_before"], first["changes"]) == (PLAN, 0, [])
    assert fix(tmp_path, PLAN, graded=4) == first, "the same plan again changes nothing"
    later = {
        **PLAN,
        "seeds": [0, 1, 2],
        "arms": {"ilf": "k9", "dpo": "k3"},
        "comparisons": [["dpo", "base"], ["ilf", "dpo"]],
    }
    found = fix(tmp_path, later, graded=4)
    assert found["plan"] == PLAN, "what was planned is what was written first"
    (change,) = found["changes"]
    assert change["graded_before"] == 4
    assert change["what"] == [
        "seeds: [0,1] became [0,1,2]",
        "arm dpo was added",
        "arm base was taken out",
        "arm ilf does something else",
        "ilf is compared with dpo, which was not planned",
    ]
    assert fix(tmp_path, later, graded=6) == found, "told once"
    assert len(fix(tmp_path, PLAN, graded=6)["changes"]) == 2, "and the way back is a change too"


def test_a_plan_may_change_as_long_as_nothing_is_graded(tmp_path: Path) -> None:
    fix(tmp_path, PLAN, graded=0)
    found = fix(tmp_path, {**PLAN, "seeds": [5]}, graded=0)
    assert found["plan"]["seeds"] == [5]
    assert found["changes"] == []
    assert found["earlier"] == 0


def test_a_plan_that_comes_late_says_so(tmp_path: Path) -> None:
    assert fix(tmp_path, PLAN, graded=3)["graded_before"] == 3


def test_a_new_plan_counts_those_that_were_given_up(tmp_path: Path) -> None:
    fix(tmp_path, PLAN, graded=0)
    fix(tmp_path, {**PLAN, "margin": 0.1}, graded=2)
    found = fix(tmp_path, {**PLAN, "margin": 0.2}, graded=2, replan=True)
    assert (found["plan"]["margin"], found["earlier"], found["graded_before"]) == (0.2, 1, 2)
    assert fix(tmp_path, {**PLAN, "margin": 0.3}, graded=2, replan=True)["earlier"] == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"plan": {}}'])
def test_a_torn_plan_is_refused_with_the_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(DataError, match=r"plan\.json: is no plan of a comparison\. Move it away"):
        read(tmp_path)


def test_a_look_before_the_planned_share_is_early(tmp_path: Path) -> None:
    kept = fix(tmp_path, PLAN, graded=0)
    assert early(kept) is None
    fix(tmp_path, PLAN, graded=1)
    assert early(fix(tmp_path, {**PLAN, "enough": {"collect": 0.5}}, graded=1)) == {
        "step": "collect",
        "planned": 0.9,
        "now": 0.5,
    }
    assert early(fix(tmp_path, {**PLAN, "enough": {"collect": 1.0}}, graded=1)) is None, (
        "more than planned is no look"
    )
