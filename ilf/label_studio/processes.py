"""Processes that outlive the command that started them, and ports that nobody else holds."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ilf.errors import IlfError, UsageError

LOOPBACK = "127.0.0.1"
#: Processes that this one started: they are its zombies until it asks for them.
_children: dict[int, subprocess.Popen[bytes]] = {}


def launch(command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> int:
    """Starts a command in a session of its own with exactly this environment; returns its pid.

    What it writes goes to ``log``; that and all other files it makes are its user's alone.
    """
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        process = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
        )
    finally:
        os.close(handle)
    _children[process.pid] = process
    return process.pid


def identity(pid: int) -> str | None:
    """When a process started, which tells it from a later one of the same pid; None where it is gone."""
    if pid in _children:
        _children[pid].poll()
    if not Path("/proc/self/stat").exists():
        return _identity_by_ps(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    # A zombie whose threads are still ending holds its port still.
    is_over = state in "ZX" and int(fields[16]) <= 1
    return None if is_over else f"{boot}/{fields[18]}"


def _identity_by_ps(pid: int) -> str | None:
    """The same where there is no /proc (macOS)."""
    done = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, started = done.stdout.strip().partition(" ")
    return started.strip() if state and not state.startswith("Z") else None


def end(pid: int, started: str, patience: float = 10.0) -> None:
    """Ends a process and its group: SIGTERM, ``patience`` seconds, SIGKILL. One that is gone is no error."""
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5.0)):
        if identity(pid) != started:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)
        until = time.monotonic() + seconds
        while identity(pid) == started and time.monotonic() < until:
            time.sleep(0.02)
    if identity(pid) == started:
        raise IlfError(f"process {pid} does not end, not even by SIGKILL; look at it with: ps -fp {pid}")


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of this machine, on any of its addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As Label Studio binds: a port whose last connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except PermissionError:
            raise UsageError(f"port {port} is for the administrator; give one from 1024 to 65535") from None
        except OSError:
            return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if probe.connect_ex((LOOPBACK, port)):
            return True
        # A probe that was given the very port as its own has reached itself.
        return bool(probe.getsockname() == probe.getpeername())


def free_port(preferred: int | None) -> int:
    """A free port of 127.0.0.1: the preferred one where nobody has it."""
    if preferred is not None and is_free(preferred):
        return preferred
    # Below the ports of outgoing connections: it stays free while the server is stopped.
    for _ in range(200):
        port = 18000 + secrets.randbelow(10000)
        if is_free(port):
            return port
    raise IlfError("no port from 18000 to 28000 is free on this machine; name one: --port")
