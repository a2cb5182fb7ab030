"""Starts that go wrong: ports, pids and servers of others, halves, breaks, two at once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import studio as studios
from studio_command import (
    command,
    ilf,
    quiet,
    served_by,
    until,
    whoami,
)

from ilf.errors import ComponentError, UsageError
from ilf.label_studio import data_folder, processes, server

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_runs")]


def test_a_taken_port_is_refused_and_a_taken_old_one_replaced(data: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        status, out, err = ilf("start", "--data", str(data), "--port", str(port))
        assert (status, out) == (2, "")
        assert f"port {port} is taken" in err
        assert served_by(data) == []
        data_folder.note(data, data_folder.Process(port))
        found = server.start(data, say=quiet)
        assert found.running
        assert data_folder.process(data).port != port
    with pytest.raises(UsageError, match="it runs already at"):
        server.start(data, port=port, say=quiet)
    with pytest.raises(UsageError, match="stop it first"):
        server.start(data, host="https://labels.example.org", say=quiet)


def test_a_port_that_is_taken_between_our_look_and_the_servers_own(data: Path, monkeypatch: Any) -> None:
    """Label Studio takes the next one without a word."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setattr(processes, "is_free", lambda port: True)
        with pytest.raises(ComponentError, match=f"port {port} was taken meanwhile"):
            server.start(data, port=port, say=quiet, patience=30)
    assert served_by(data) == []


def test_a_pid_that_another_process_has_now_is_left_alone(data: Path) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as other:
        try:
            serving = data_folder.Process(
                processes.free_port(None), "", other.pid, "when the old one started"
            )
            data_folder.note(data, serving)
            assert server.status(data).state == "stopped"
            assert not server.stop(data)
            data_folder.note(data, serving)
            told: list[str] = []
            found = server.start(data, say=told.append)
            assert found.running
            assert found.pid != other.pid
            assert "is gone; starting a new one" in "".join(told)
            server.stop(data)
            assert other.poll() is None
        finally:
            other.kill()


class Impostor(BaseHTTPRequestHandler):
    """Healthy, and knows no token."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else self.server.code)  # type: ignore[attr-defined]
        if self.server.code == 302 and self.path != "/health":  # type: ignore[attr-defined]
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.asked.append(self.path)
        self.wfile.write(b'{"id": 1}' if self.path in ("/health", "/elsewhere") else b"{}")

    def log_message(self, *args: Any) -> None:
        """Silent."""


@pytest.mark.parametrize("code", [401, 302, 200])
def test_another_server_on_the_port_is_not_ours(data: Path, code: int) -> None:
    with HTTPServer(("127.0.0.1", 0), Impostor) as other:
        other.code = code  # type: ignore[attr-defined]
        Impostor.asked.clear()
        thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        started = processes.identity(os.getpid()) or ""
        data_folder.note(data, data_folder.Process(other.server_port, "", os.getpid(), started))
        found = server.status(data)
        other.shutdown()
        thread.join()
    data_folder.note(data, data_folder.Process())  # this process is not to be stopped
    assert found.state == "unanswering"
    assert Impostor.asked == ["/health", "/api/current-user/whoami"]


def test_a_server_that_dies_while_it_starts(data: Path) -> None:
    (data / "label_studio.sqlite3").write_bytes(b"no database " * 100)
    status, out, err = ilf("start", "--data", str(data))
    assert (status, out) == (1, "")
    assert "it ended while it started" in err
    assert "file is not a database" in err
    assert str(data / "server.log") in err
    assert "Traceback" not in err.split("it ends with:")[0]
    assert len(err.splitlines()) < 20
    assert not server.status(data).running
    assert served_by(data) == []


def test_a_server_that_never_answers_is_ended(data: Path) -> None:
    with pytest.raises(ComponentError, match="does not answer after 0 s"):
        server.start(data, say=quiet, patience=0.3)
    assert served_by(data) == []
    assert server.start(data, say=quiet).running


def test_two_starts_at_once_are_one_server(tmp_path: Path) -> None:
    data = studios.seed(studios.template(), tmp_path / "both")
    try:
        both = [command("start", "--json", "--data", str(data)) for _ in range(2)]
        told = []
        for process in both:
            with process:
                out, err = process.communicate(timeout=120)
                assert process.returncode == 0, err
                told.append((json.loads(out), err))
        assert told[0][0] == told[1][0]
        assert "another process is starting this server" in told[0][1] + told[1][1]
        assert served_by(data) == [told[0][0]["pid"]]
    finally:
        server.stop(data)


def test_a_start_that_is_killed_is_taken_over(data: Path) -> None:
    with command("start", "--data", str(data)) as process:
        pid = until(lambda: data_folder.process(data).pid)
        process.kill()
    found = server.start(data, say=quiet)
    assert (found.running, found.pid) == (True, pid)
    assert served_by(data) == [pid]


def test_ctrl_c_during_a_start_leaves_nothing(data: Path) -> None:
    with command("start", "--data", str(data)) as process:
        until(lambda: data_folder.process(data).pid)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
    assert served_by(data) == []
    assert server.start(data, say=quiet).running


def test_a_first_start_that_was_cut_off_is_made_again(data: Path) -> None:
    """The owner may exist already without our token."""
    (data / "made_by.json").unlink()
    with contextlib.closing(sqlite3.connect(data / "label_studio.sqlite3")) as database:
        database.execute("update authtoken_token set key = ?", ("f" * 40,))
        database.commit()
    found = server.start(data, say=quiet, patience=120)
    assert whoami(found.address or "", data_folder.credentials(data).token).status_code == 200
    assert (data / "label_studio.unfinished").exists()
    assert (data / "made_by.json").exists()


def test_a_full_disk_is_said_before_an_answer_is_lost(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_ROOM_BYTES", 1 << 62)
    with pytest.raises(ComponentError, match="no room for answers in .*MB are free"):
        server.start(data, say=quiet)
    assert served_by(data) == []
