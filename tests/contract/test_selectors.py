"""What every selector promises; a new file in ilf/selectors/ is tested without an edit here."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
from contract_cases import build, names, public_class, rows_for

from ilf.protocols import Selector
from ilf.select import columns, select

pytestmark = pytest.mark.parametrize("name", names("Selector"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("selectors")


def selector_and_rows(name: str, folder: Path, **given: Any) -> tuple[Any, list[dict[str, Any]]]:
    selector = build("Selector", name, folder, **given)
    assert isinstance(selector, Selector)
    assert all(isinstance(column, str) for column in selector.needs)
    return selector, rows_for(selector.needs)


def ids(selector: Any, rows: list[dict[str, Any]], n: int, seed: int = 0) -> list[str]:
    return [rows[index]["id"] for index, _ in selector.order(rows, n, seed)]


def test_is_one_documented_frozen_dataclass(name: str) -> None:
    cls = public_class("Selector", name)
    assert cls.order.__doc__


def test_every_index_once_and_known_scores_fall(name: str, folder: Path) -> None:
    selector, rows = selector_and_rows(name, folder)
    found = selector.order(rows, len(rows), 0)
    assert sorted(index for index, _ in found) == list(range(len(rows)))
    assert all(type(index) is int for index, _ in found)
    scores = [score for _, score in found if score is not None]
    assert all(type(score) is float and math.isfinite(score) for score in scores)
    assert scores == sorted(scores, reverse=True)
    json.dumps(found, allow_nan=False)


def test_a_smaller_number_is_the_beginning_of_a_larger_one(name: str, folder: Path) -> None:
    selector, rows = selector_and_rows(name, folder)
    everything = selector.order(rows, len(rows), 3)
    for n in (0, 1, 2, 7):
        assert selector.order(rows, n, 3) == everything[:n]
    assert selector.order([], 0, 3) == []


def test_the_order_of_rows_does_not_matter(name: str, folder: Path) -> None:
    selector, rows = selector_and_rows(name, folder)
    assert ids(selector, rows[::-1], len(rows)) == ids(selector, rows, len(rows))


def test_the_same_again_gives_the_same_and_leaves_rows_as_they_are(name: str, folder: Path) -> None:
    selector, rows = selector_and_rows(name, folder)
    before = copy.deepcopy(rows)
    assert selector.order(rows, 9, 1) == selector.order(rows, 9, 1)
    assert rows == before


def test_equals_are_drawn_by_lot(name: str, folder: Path) -> None:
    """Rows that differ in their id alone: the seed decides, and neither id nor place is favoured."""
    selector, rows = selector_and_rows(name, folder)
    alike = [{**rows[0], "id": f"r{i}"} for i in range(8)]
    orders = [ids(selector, alike, 8, seed) for seed in range(12)]
    assert len({tuple(order) for order in orders}) > 6
    assert len({order[0] for order in orders}) > 3


def test_reads_only_what_it_says(name: str, folder: Path) -> None:
    """Ground truth and what people or rankers said move nothing, unless they are among its ``needs``."""
    selector, rows = selector_and_rows(name, folder)
    bare = [{column: row[column] for column in ("id", *selector.needs)} for row in rows]
    noise = {"critique": "great", "grade": 0.0, "scores": [9.0], "facts": {"x": 1}, "reference": "y"}
    noisy = [{**noise, **row, "annotator": str(i)} for i, row in enumerate(bare)]
    assert selector.order(bare, 9, 0) == selector.order(noisy, 9, 0)


def test_settings_travel_and_weights_do_not(name: str, folder: Path) -> None:
    selector, rows = selector_and_rows(name, folder)
    before = pickle.dumps(selector)
    found = selector.order(rows, 5, 0)
    after = pickle.dumps(selector)
    assert len(after) < len(before) + 200
    assert pickle.loads(after).order(rows, 5, 0) == found  # noqa: S301 - made two lines above


def test_settings_that_stay_out_of_the_address_change_nothing(
    name: str, folder: Path, tmp_path: Path
) -> None:
    """``field(compare=False)`` says that a setting is for speed alone; the proof is here."""
    selector, rows = selector_and_rows(name, folder)
    values = {"batch_size": 1, "cache": str(tmp_path)}
    for field in (f for f in dataclasses.fields(selector) if not f.compare):
        changed = dataclasses.replace(selector, **{field.name: values[field.name]})
        for _ in range(2):
            found, expected = changed.order(rows, len(rows), 0), selector.order(rows, len(rows), 0)
            assert [index for index, _ in found] == [index for index, _ in expected]
            known = [(a, b) for (_, a), (_, b) in zip(found, expected, strict=True) if b is not None]
            assert all(a == pytest.approx(b, abs=2e-6) for a, b in known)


def test_works_in_the_verb(name: str, folder: Path) -> None:
    selector, rows = selector_and_rows(name, folder)
    needs, adds = columns({"selector": selector, "n": 3})
    assert set(needs) == {"id", *selector.needs}
    assert adds == ("priority",)
    kept = list(select(rows, n=3, selector=selector, seed=5))
    assert [
        (rows.index({k: v for k, v in row.items() if k != "priority"}), row["priority"]) for row in kept
    ] == (selector.order(rows, 3, 5))
