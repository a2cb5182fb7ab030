"""A Label Studio of one's own, really started: what it is given, what is kept, what is told of it."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from studio import Studio
from studio_command import (
    command,
    ilf,
    listens_on_loopback_only,
    modes,
    quiet,
    served_by,
    until,
    whoami,
)

from ilf.label_studio import data_folder, environment, server

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_runs")]


def test_a_first_start_in_a_foreign_environment(tmp_path: Path) -> None:
    folder = tmp_path / "first"
    foreign = {"DEBUG": "true", "CI": "yes please", "PORT": "1", "HOST": "http://elsewhere.invalid",
               "USERNAME": "somebody@else.invalid", "PASSWORD": "known", "USER_TOKEN": "1" * 40,
               "LABEL_STUDIO_DATABASE_NAME": str(tmp_path / "elsewhere"), "HEARTEX_LOG_LEVEL": "DEBUG",
               "http_proxy": "http://127.0.0.1:9", "SECRET_KEY": "known"}  # fmt: skip
    status, out, err = ilf("start", "--data", str(folder), **foreign)
    try:
        assert status == 0, err
        assert "First start" in err
        owner = data_folder.credentials(folder)
        serving = data_folder.process(folder)
        assert serving.url in out
        assert str(folder / "credentials.json") in out
        assert whoami(serving.url, owner.token).json()["email"] == owner.email == "owner@ilf.invalid"
        assert whoami(serving.url, "1" * 40).status_code == 401
        # What it was given is what we meant, and nothing else.
        given = dict(
            entry.split("=", 1)
            for entry in Path(f"/proc/{serving.pid}/environ").read_text().split("\0")
            if entry
        )
        meant = set(server._settings(Path("/"), folder, ""))
        assert set(given) - meant == {
            "LABEL_STUDIO_USERNAME",
            "LABEL_STUDIO_PASSWORD",
            "LABEL_STUDIO_USER_TOKEN",
        }
        assert meant - set(given) == set()
        page = httpx.get(f"{serving.url}/user/login/", trust_env=False).text
        assert "elsewhere.invalid" not in page
        assert "Traceback" not in httpx.get(f"{serving.url}/nothing-here", trust_env=False).text
        listens_on_loopback_only(serving.port)
        # Nobody else reads anything of it.
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        found = modes(folder)
        assert found["credentials.json"] == found["server.log"] == found["label_studio.sqlite3"] == 0o600
        # No secret is shown or logged.
        shown = (
            out
            + err
            + "".join("".join(ilf(action, "--data", str(folder))[1:]) for action in ("status", "open"))
        )
        shown += (
            ilf("status", "--json", "--data", str(folder))[1]
            + ilf("logs", "--data", str(folder), "-n", "999")[1]
        )
        for text in (shown, (folder / "server.log").read_text()):
            assert owner.password not in text
            assert owner.token not in text
    finally:
        server.stop(folder)
    assert served_by(folder) == []


def test_a_restart_keeps_token_port_and_data(data: Path) -> None:
    before = server.start(data, say=quiet)
    owner = data_folder.credentials(data)
    headers = {"Authorization": f"Token {owner.token}"}
    with httpx.Client(base_url=before.address or "", headers=headers, trust_env=False, timeout=30) as client:
        made = client.post("/api/projects", json={"title": "kept"}).raise_for_status().json()["id"]
    began = time.monotonic()
    assert server.stop(data)
    assert time.monotonic() - began < 5
    assert served_by(data) == []
    assert not server.status(data).running
    assert not server.stop(data)
    after = server.start(data, say=quiet)
    assert (after.address, after.running) == (before.address, True)
    assert after.pid != before.pid
    with httpx.Client(base_url=after.address or "", headers=headers, trust_env=False, timeout=30) as client:
        assert client.get(f"/api/projects/{made}").json()["title"] == "kept"
    # The password stays in the file only, once the owner exists.
    assert owner.password not in Path(f"/proc/{after.pid}/environ").read_text()


def test_status_and_running_tell_what_is(data: Path) -> None:
    assert server.running() is None
    status, out, _ = ilf("status", "--json", "--data", str(data))
    assert (status, json.loads(out)["running"], json.loads(out)["address"]) == (1, False, None)
    server.start(data, say=quiet)
    found = server.running()
    assert found is not None
    assert (found.url, found.where) == (data_folder.process(data).url, str(data))
    assert found.key == data_folder.credentials(data).token
    assert found.key not in repr(found) + repr(data_folder.credentials(data))
    status, out, _ = ilf("status", "--json")  # found by the state file
    told = json.loads(out)
    assert status == 0
    assert told == {
        "running": True,
        "state": "running",
        "address": found.url,
        "public_address": None,
        "version": environment.VERSION,
        "data": str(data),
        "credentials": str(data / "credentials.json"),
        "log": str(data / "server.log"),
        "pid": data_folder.process(data).pid,
    }
    os.killpg(told["pid"], signal.SIGKILL)
    until(lambda: server.status(data).state == "stopped")
    assert server.running() is None


def test_the_log_is_followed_also_through_a_new_start(data: Path) -> None:
    server.start(data, say=quiet)
    with command("logs", "--data", str(data), "-n", "1", "--follow") as process:
        assert process.stdout
        process.stdout.readline()
        for marker in ("first-marker", "second-marker"):
            httpx.get(f"{data_folder.process(data).url}/{marker}?token=secret-{marker}", trust_env=False)
            line = ""
            while marker not in line:
                line = process.stdout.readline()
                assert line
            assert "secret" not in line
            server.stop(data)
            server.start(data, say=quiet)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130


def test_open_uses_the_browser_where_there_is_a_display(
    studio: Studio, monkeypatch: Any, tmp_path: Path
) -> None:
    studio.found(monkeypatch)
    status, out, err = ilf("open")
    assert status == 0
    assert f"open this address in a browser: {studio.url}" in err
    assert studio.email in out
    assert studio.password not in out + err
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    assert ilf("open", DISPLAY=":1", BROWSER=f"{browser} %s")[0] == 0
    assert (tmp_path / "opened").read_text().strip() == studio.url
