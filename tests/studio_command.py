"""`ilf label-studio` as a process, and what can be seen of the servers that it starts."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from ilf.label_studio import processes

ROOT = Path(__file__).parents[1]


def command(*words: str, **environ: str) -> subprocess.Popen[str]:
    """`ilf label-studio ...` as a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "ilf", "label-studio", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A suite that was started in the background ignores Ctrl-C, and its children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def ilf(*words: str, **environ: str) -> tuple[int, str, str]:
    """Status, stdout and stderr of `ilf label-studio ...`."""
    with command(*words, **environ) as process:
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err


def quiet(text: str) -> None:
    """Progress that nobody wants."""


def served_by(folder: Path) -> list[int]:
    """The living processes that serve a data folder, whoever started them."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            settings = (place / "environ").read_bytes().split(b"\0")
            if f"LABEL_STUDIO_BASE_DATA_DIR={folder}".encode() in settings and processes.identity(
                int(place.name)
            ):
                found.append(int(place.name))
    return found


def until(what: Callable[[], Any], seconds: float = 60) -> Any:
    """What becomes true, or the test fails."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)
    return found


def whoami(url: str, token: str) -> httpx.Response:
    headers = {"Authorization": f"Token {token}"}
    return httpx.get(f"{url}/api/current-user/whoami", headers=headers, trust_env=False)


def modes(folder: Path) -> dict[str, int]:
    """Name -> permissions of all that lies in a folder."""
    return {str(p.relative_to(folder)): stat.S_IMODE(p.stat().st_mode) for p in folder.rglob("*")}


def listens_on_loopback_only(port: int | None) -> None:
    listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    places = re.findall(rf"([0-9A-F]+):{port:04X} [0-9A-F]+:0000 0A", listening)
    assert places == ["0100007F"], places
