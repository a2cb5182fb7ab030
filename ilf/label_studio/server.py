"""A Label Studio server of one's own on this machine: start, stop, status.

It listens on 127.0.0.1 only, gets an emptied environment (Label Studio reads DEBUG, PORT, HOST, CI and many
more from the caller's), and counts as started when it is healthy and knows our token: another server may sit
on the port.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.parse
from dataclasses import dataclass, field, replace
from pathlib import Path

from ilf.errors import ComponentError, UsageError
from ilf.files import write_whole
from ilf.label_studio import data_folder, environment, processes
from ilf.label_studio.ask import knows
from ilf.label_studio.data_folder import Credentials, Process
from ilf.label_studio.environment import Say

#: The first start makes the database: 30 to 45 s on two cores, more on a busy machine.
START_SECONDS = 300.0
_TELL_SECONDS = 15.0
#: sqlite on a full disk loses the answer that is just being given.
_ROOM_BYTES = 100_000_000


@dataclass(frozen=True)
class Access:
    """A server and the key to it; ``where`` says where they come from."""

    url: str
    key: str = field(repr=False)
    where: str


@dataclass(frozen=True)
class Status:
    """How a server stands; ``state`` is running, stopped, or unanswering: its process lives, no more."""

    state: str
    data: Path
    address: str | None
    public: str | None
    pid: int | None
    version: str | None

    @property
    def running(self) -> bool:
        """Whether it answers."""
        return self.state == "running"

    @property
    def shown_address(self) -> str:
        """The address that people open: the public one where there is one."""
        return self.public or self.address or ""


def running() -> Access | None:
    """The server that ``ilf label-studio start`` started last, where it still answers to our token."""
    data = data_folder.last()
    if data is None or not status(data).running:
        return None
    return Access(data_folder.process(data).url, data_folder.credentials(data).token, str(data))


def status(data: Path) -> Status:
    """How the server of a data folder stands."""
    serving = data_folder.process(data)
    state, pid = "stopped", None
    if _lives(serving):
        owner = data_folder.credentials(data)
        state, pid = "running" if knows(serving.url, owner.token) else "unanswering", serving.pid
    address = serving.url if pid is not None else None
    return Status(state, data, address, serving.public or None, pid, data_folder.finished_version(data))


def start(
    data: Path, *, port: int | None = None, host: str | None = None, say: Say, patience: float = START_SECONDS
) -> Status:
    """Starts the server of a data folder, or finds it running; returns when it answers.

    ``host`` is the public https address behind a proxy ("" for none; None for the one it had). Raises
    UsageError for a taken port or another setting than it runs with, ComponentError where it does not start.
    """
    data = data.expanduser().absolute()
    public = None if host is None else public_address(host)
    words = environment.make(say)
    data_folder.check(data)
    with environment.locked(data / data_folder.LOCK, say, "another process is starting this server"):
        owner = data_folder.prepare(data)
        serving = data_folder.process(data)
        if _lives(serving):
            _same_settings(serving, port, public, data)
            say(f"it runs already (process {serving.pid})")
        else:
            if serving.pid is not None:
                say(f"process {serving.pid}, which served {data}, is gone; starting a new one")
            chosen = Process(_port(port, serving.port), serving.public if public is None else public)
            serving = _launch(words, data, owner, chosen)
        _wait(data, serving, owner, say, patience)
        if data_folder.finished_version(data) != environment.VERSION:
            made = {"label-studio": environment.VERSION}
            write_whole(data / data_folder.MADE_BY, json.dumps(made) + "\n")
    before = data_folder.last()
    if before is not None and before != data and status(before).running:
        say(f"the server of {before} runs, too; commands without --data mean {data} from now on")
    data_folder.note_last(data)
    return status(data)


def stop(data: Path) -> bool:
    """Ends the server of a data folder; False where none ran."""
    serving = data_folder.process(data)
    if serving.pid is None:
        return False
    lived = _lives(serving)
    processes.end(serving.pid, serving.started)
    data_folder.note(data, replace(serving, pid=None, started=""))
    return lived


def public_address(text: str) -> str:
    """A public address as Label Studio takes it: ``https://labels.example.org``; "" stays."""
    if not text:
        return ""
    parts = urllib.parse.urlsplit(text)
    if parts.scheme != "https" or not parts.hostname or parts.username or parts.path not in ("", "/"):
        raise UsageError(
            f"--host {text}: not a public address. Give the one that the TLS proxy serves, with https:// and "
            "without a path: --host https://labels.example.org"
        )
    return f"https://{parts.netloc}"


def _lives(serving: Process) -> bool:
    """Whether the noted process still is that process: a pid is used again by others."""
    return serving.pid is not None and processes.identity(serving.pid) == serving.started


def _same_settings(serving: Process, port: int | None, public: str | None, data: Path) -> None:
    if port not in (None, serving.port) or public not in (None, serving.public):
        with_public = f" as {serving.public}" if serving.public else ""
        raise UsageError(
            f"it runs already at {serving.url}{with_public}. To change that, stop it first: "
            f"ilf label-studio stop --data {data}"
        )


def _port(asked: int | None, before: int | None) -> int:
    # Label Studio itself would take the next port without a word.
    if asked is not None and not processes.is_free(asked):
        raise UsageError(
            f"port {asked} is taken by another program; give another --port, or none to get a free one"
        )
    return asked if asked is not None else processes.free_port(before)


def _launch(words: list[str], data: Path, owner: Credentials, serving: Process) -> Process:
    free = shutil.disk_usage(data).free
    if free < _ROOM_BYTES:
        raise ComponentError(f"no room for answers in {data}: {free / 1e6:.0f} MB are free. Free some first")
    is_first = data_folder.finished_version(data) is None
    database, log = data / data_folder.DATABASE, data / data_folder.LOG
    if is_first and database.exists():
        # A first start that was cut off may have left an owner without our token: nobody has worked in it.
        database.replace(database.with_suffix(".unfinished"))
    if log.exists():
        log.replace(log.with_suffix(".log.old"))
    settings = _settings(Path(words[0]).parent, data, serving.public)
    if is_first:
        settings |= {
            "LABEL_STUDIO_USERNAME": owner.email,
            "LABEL_STUDIO_PASSWORD": owner.password,
            "LABEL_STUDIO_USER_TOKEN": owner.token,
        }
    options = ["--no-browser", "--internal-host", processes.LOOPBACK, "--port", str(serving.port)]
    pid = processes.launch([*words, "start", *options], settings, data, log)
    serving = replace(serving, pid=pid, started=processes.identity(pid) or "")
    data_folder.note(data, serving)
    return serving


def _settings(programs: Path, data: Path, public: str) -> dict[str, str]:
    """The whole environment of the server."""
    settings = {
        "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(data),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "LABEL_STUDIO_SSRF_PROTECTION_ENABLED": "false",
        "LABEL_STUDIO_ML_BLOCK_LOCAL_IP": "false",
        # It reports home by default.
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
    }
    if "TMPDIR" in os.environ:
        settings["TMPDIR"] = os.environ["TMPDIR"]
    if public:
        settings |= {
            "LABEL_STUDIO_HOST": public,
            # The proxy speaks plain HTTP to it: without this the forms refuse what comes from https.
            "LABEL_STUDIO_CSRF_TRUSTED_ORIGINS": public,
            "LABEL_STUDIO_SESSION_COOKIE_SECURE": "1",
        }
    return settings


def _wait(data: Path, serving: Process, owner: Credentials, say: Say, patience: float) -> None:
    """Returns when the server answers; ends it where it does not, and where the user breaks off."""
    began = told = time.monotonic()
    if data_folder.finished_version(data) is None:
        say("First start: Label Studio makes its database, in about a minute")
    try:
        while not knows(serving.url, owner.token):
            now = time.monotonic()
            if not _lives(serving):
                raise _failure(data, owner, "it ended while it started")
            # Between our look at the port and its own another program took it.
            if f"Port {serving.port} is in use" in _text(data / data_folder.LOG):
                raise _failure(data, owner, f"port {serving.port} was taken meanwhile")
            if now - began > patience:
                raise _failure(data, owner, f"it does not answer after {patience:.0f} s")
            if now - told >= _TELL_SECONDS:
                told = now
                say(f"  {now - began:.0f} s: still starting")
            time.sleep(0.1)
    except BaseException:
        stop(data)
        raise


def _failure(data: Path, owner: Credentials, problem: str) -> ComponentError:
    log = data / data_folder.LOG
    last = data_folder.redacted(environment.tail(log), owner)
    return ComponentError(f"Label Studio did not start: {problem}. Its log is {log}; it ends with:\n{last}")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
