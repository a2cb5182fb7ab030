"""A user at the command line and a person at the page, for the tests of ilf assist."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browser import tab_to
from playwright.sync_api import Page
from studio import Studio

_ON_EDIT_BUTTON = """name => {
  const at = document.activeElement;
  const text = at.closest('[data-testid=htx-textbox-view]')?.querySelector('[data-testid=htx-textbox-content]');
  return at.dataset.testid === 'htx-textbox-edit-button' && text?.getAttribute('name').startsWith(name);
}"""


@dataclass
class Run:
    """A recipe's folder, worked on by the command line as a user works."""

    folder: Path
    studio: Studio

    def ilf(self, *words: str) -> subprocess.Popen[str]:
        env = {**os.environ, "LABEL_STUDIO_URL": self.studio.url, "LABEL_STUDIO_API_KEY": self.studio.key}
        return subprocess.Popen(
            [sys.executable, "-m", "ilf", *words],
            cwd=self.folder,
            env=env | {"PYTHONPATH": str(Path(__file__).parent.parent)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self) -> tuple[int, dict[str, Any], str]:
        process = self.ilf("run", "toy", "--json")
        out, error = process.communicate(timeout=120)
        return process.returncode, json.loads(out) if out else {}, error

    @property
    def people(self) -> Path:
        """The people folder that was used last."""
        folders = (self.folder / "runs/toy/people").glob("collect-*")
        return max(folders, key=lambda folder: (folder / "project.json").stat().st_mtime)

    @property
    def project(self) -> int:
        return int(json.loads((self.people / "project.json").read_text(encoding="utf-8"))["project"])

    def api(self, path: str, **params: Any) -> Any:
        with self.studio.client() as client:
            return client.get(path, params=params).raise_for_status().json()

    def registered(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api("/api/ml/", project=self.project)
        return found

    def tasks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api("/api/tasks/", project=self.project, fields="all")["tasks"]
        return found


class Assist:
    """A running ``ilf assist``; what it says is kept."""

    def __init__(self, run: Run, *words: str) -> None:
        self.process = run.ilf("assist", "toy", *words)
        self.said: list[str] = []
        assert self.process.stderr
        for line in self.process.stderr:
            self.said.append(line)
            if line.startswith("answering"):
                return
        pytest.fail(f"ilf assist ended: {''.join(self.said)}")

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Ends it; its exit status and all it said."""
        self.process.send_signal(number)
        _, rest = self.process.communicate(timeout=60)
        return self.process.returncode, "".join(self.said) + rest


def criticise(page: Page, text: str) -> float:
    """Types a critique and commits it; seconds until the rewrite stands on the page."""
    tab_to(page, "critique")
    page.keyboard.type(text)
    return committed(page)


def committed(page: Page) -> float:
    """Shift+Enter; seconds until another rewrite than before stands on the page."""
    before, begun = rewrite(page), time.monotonic()
    page.keyboard.press("Shift+Enter")
    while rewrite(page) in ("", before):
        assert time.monotonic() < begun + 10, "no rewrite came"
        time.sleep(0.02)
    return time.monotonic() - begun


def rewrite(page: Page) -> str:
    """The rewrite that stands on the page."""
    found = page.locator("[data-testid=htx-textbox-content][name^=rewrite]").all_inner_texts()
    return found[0] if found else ""


def extend(page: Page, name: str, text: str) -> None:
    """Opens a committed text by Tab and Space (Enter does nothing there) and adds to its end."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(_ON_EDIT_BUTTON, name):
            break
    page.keyboard.press("Space")
    page.wait_for_selector(f"[data-testid=htx-textbox-input][name^={name}]")
    page.keyboard.press("Control+End")
    page.keyboard.type(text)
