"""The real Label Studio for tests: its own environment, a template that is migrated once, people who join.

The environment and the template lie in the user's cache folder (or ILF_CACHE_DIR); `ilf label-studio install`
makes the first, the first session that needs it the second. A test session starts a copy of the template
in 3 to 4 s.

    def test_something(studio):
        studio.url, studio.key          the address and the owner's token
        studio.email, studio.password   how the owner logs in on the page
        studio.person("ann")            somebody who joined by the invite link: .key .id .email .password
        studio.kill(); studio.start()   as a power cut would; same port, same data
        studio.use(monkeypatch)         LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY for this test
        studio.found(monkeypatch)       instead: found as the server that `ilf label-studio start` started
        studio.client()                 httpx, with the owner's token
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from ilf.label_studio import data_folder, environment, processes, server

#: Looked up before a test replaces HOME.
CACHE = environment.cache_folder()
_SEED = (data_folder.CREDENTIALS, data_folder.MADE_BY, data_folder.DATABASE, ".env", ".gitignore")


@dataclass(frozen=True)
class Person:
    """Somebody who joined by the invite link."""

    id: int
    email: str
    password: str = field(repr=False)
    key: str = field(repr=False)


class Studio:
    """A running server with data of its own."""

    def __init__(self, data: Path, state: Path) -> None:
        self.data, self.state = data, state
        self.port: int | None = None
        self._people: dict[str, Person] = {}
        owner = data_folder.credentials(data)
        self.key, self.email, self.password = owner.token, owner.email, owner.password

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        return data_folder.process(self.data).pid

    def start(self, host: str | None = None) -> Studio:
        """Starts it; later with the same port."""
        with variables(ILF_CACHE_DIR=str(CACHE), ILF_STATE_DIR=str(self.state)):
            server.start(self.data, port=self.port, host=host, say=say)
        self.port = data_folder.process(self.data).port
        return self

    def stop(self) -> None:
        """As `ilf label-studio stop` does."""
        server.stop(self.data)

    def kill(self) -> None:
        """SIGKILL, now; the data folder stays as it is. ``start()`` brings it back."""
        serving = data_folder.process(self.data)
        if serving.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(serving.pid, signal.SIGKILL)
            processes.end(serving.pid, serving.started)

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As a server that one has: address and key in the environment."""
        monkeypatch.setenv("LABEL_STUDIO_URL", self.url)
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", self.key)

    def found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As the server that was started last."""
        monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
        monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
        monkeypatch.setenv("ILF_STATE_DIR", str(self.state))

    def client(self, key: str | None = None) -> httpx.Client:
        """Requests with the owner's token, or another person's."""
        headers = {"Authorization": f"Token {key or self.key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def person(self, name: str) -> Person:
        """Somebody who joined by the invite link; the same one for the same name."""
        if name not in self._people:
            with self.client() as owner:
                link = owner.get("/api/invite").raise_for_status().json()["invite_url"]
            self._people[name] = join(self.url, link, name)
        return self._people[name]


def join(url: str, link: str, name: str) -> Person:
    """Signs up by an invite link as a browser does: the form, its hidden field, the cookie."""
    # A name may be used again in another session with the same data.
    email, password = f"{name}-{secrets.token_hex(3)}@ilf.invalid", secrets.token_urlsafe(12)
    with httpx.Client(base_url=url, timeout=60, trust_env=False, follow_redirects=True) as browser:
        page = browser.get(link).raise_for_status()
        hidden = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert hidden, f"the sign-up page has no form: {page.text[:300]}"
        form = {"csrfmiddlewaretoken": hidden[1], "email": email, "password": password}
        browser.post(link, data=form, headers={"Referer": str(page.url)}).raise_for_status()
        key = browser.get("/api/current-user/token").raise_for_status().json()["token"]
        who = browser.get("/api/current-user/whoami").raise_for_status().json()
    assert who["email"] == email
    return Person(who["id"], email, password, key)


def say(text: str) -> None:
    print(f"studio: {text}", file=sys.stderr)


@contextlib.contextmanager
def variables(**values: str) -> Iterator[None]:
    """Environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def template() -> Path:
    """A data folder whose first start is done; made once a version."""
    with variables(ILF_CACHE_DIR=str(CACHE)):
        if environment.found() is None:
            pytest.fail(f"no Label Studio in {CACHE}; make it once: ilf label-studio install", pytrace=False)
    place = CACHE / f"label-studio-{environment.VERSION}-template"
    with environment.locked(place.with_name(f"{place.name}.lock"), say, "another session makes the template"):
        if not (place / data_folder.MADE_BY).exists():
            shutil.rmtree(place, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix="ilf-template-") as folder:
                data = Path(folder, "data")
                data_folder.prepare(data)
                studio = Studio(data, Path(folder, "state")).start()
                studio.stop()
                partly = place.with_name(f"{place.name}.partly")
                shutil.rmtree(partly, ignore_errors=True)
                seed(data, partly)
                partly.replace(place)
    return place


def seed(data: Path, copy: Path) -> Path:
    """A new data folder with what another holds."""
    copy.mkdir(mode=0o700, parents=True)
    for name in _SEED:
        shutil.copy2(data / name, copy / name)
    return copy


#: Ends the server when the tests end, also where they are killed: then its stdin closes.
_KEEPER = """
import pathlib, shutil, sys
from ilf.label_studio import server
sys.stdin.read()
server.stop(pathlib.Path(sys.argv[1], "data"))
shutil.rmtree(sys.argv[1], ignore_errors=True)
"""


@functools.cache
def _session() -> tuple[Studio, subprocess.Popen[bytes]]:
    """One server for all modules of a session, however many of them import the fixture."""
    folder = Path(tempfile.mkdtemp(prefix="ilf-studio-"))
    studio = Studio(seed(template(), folder / "data"), folder / "state")
    # In a session of its own: Ctrl-C is for the tests.
    words = [sys.executable, "-c", _KEEPER, str(folder)]
    keeper = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)
    return studio.start(), keeper


def _close() -> None:
    if _session.cache_info().currsize:
        studio, keeper = _session()
        pid = studio.pid
        keeper.communicate()
        if pid is not None:
            processes.identity(pid)  # this process started it: it must ask for its end
        _session.cache_clear()


@pytest.fixture(scope="session")
def studio() -> Iterator[Studio]:
    """The session's server."""
    yield _session()[0]
    _close()


@pytest.fixture
def no_studio(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Nothing started, nothing in the environment; Label Studio itself is installed."""
    monkeypatch.setenv("ILF_CACHE_DIR", str(CACHE))
    monkeypatch.setenv("ILF_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
