"""The real server for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import studio as studios
from desk import Desk

from ilf.label_studio import server


@pytest.fixture
def nothing_runs(no_studio: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No server, no screen, an empty current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose database is made; what serves it is ended."""
    folder = studios.seed(studios.template(), tmp_path / "data")
    yield folder
    server.stop(folder)


@pytest.fixture
def desk(studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    studio.use(monkeypatch)
    desk = Desk(studio, tmp_path / "recipe" / "people" / "collect-1")
    yield desk
    desk.close()
