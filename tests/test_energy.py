"""Energy of a run: really measured or estimated by codecarbon, or said to be unknown."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import Any

import pytest

from ilf import energy


def test_sittings_add_up_and_the_method_is_named(tmp_path: Path) -> None:
    for _ in range(2):
        with energy.metered(tmp_path):
            began = time.perf_counter()
            while time.perf_counter() - began < 0.5:
                sum(range(1000))
    found = energy.energy(tmp_path)
    assert found["joules"] == pytest.approx(found["processor"] + found["memory"] + found["gpu"])
    assert found["joules"] > 0
    assert 1.0 < found["seconds"] < 60
    assert found["method"].startswith("codecarbon 3.")
    assert "the whole machine" in found["method"]
    assert [path.name for path in tmp_path.iterdir()] == [energy.FILE], "codecarbon leaves no file of its own"


def test_what_ends_with_an_error_is_metered_too(tmp_path: Path) -> None:
    with pytest.raises(KeyError), energy.metered(tmp_path):
        raise KeyError
    assert energy.energy(tmp_path)["joules"] is not None


def test_without_codecarbon_nothing_is_claimed(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with energy.metered(tmp_path):
        pass
    assert energy.energy(tmp_path) == {"joules": None, "reason": energy.MISSING}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"sessions": 3}'])
def test_a_torn_file_loses_joules_and_nothing_else(tmp_path: Path, text: str) -> None:
    (tmp_path / energy.FILE).write_text(text)
    assert energy.energy(tmp_path)["joules"] is None
