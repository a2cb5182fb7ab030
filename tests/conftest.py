"""Every test: no network beyond this machine, a temporary home, no keys, one thread."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

#: The session's fixtures ``studio`` and ``chromium``: one server and one browser, whoever asks.
pytest_plugins = ("studio", "browser")

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"

_connect = socket.socket.connect


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    def connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in (
            "127.0.0.1",
            "::1",
            "localhost",
        ):
            raise OSError(f"a test tried to reach {address[0]}")
        _connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HF_HOME", str(home / "hf"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for name in [key for key in os.environ if key.endswith("_API_KEY")]:
        monkeypatch.delenv(name)


@pytest.fixture
def recipe_file(tmp_path: Path) -> Any:
    """Writes a recipe (YAML text) into ``tmp_path/toy`` and returns the path of its file."""

    def write(text: str, name: str = "toy") -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        path = folder / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write
