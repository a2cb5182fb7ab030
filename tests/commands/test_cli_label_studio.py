"""ilf label-studio without a server: helps, what is said where none runs, folders that it leaves alone."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ilf.__main__ as entry
from ilf.errors import ComponentError, UsageError
from ilf.label_studio import data_folder, environment, processes

ACTIONS = ("start", "stop", "status", "open", "logs", "invite", "install")


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ILF_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ILF_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)


@pytest.mark.parametrize("action", ["", *ACTIONS])
def test_every_help_has_examples_that_parse_and_fits(action: str, ilf: Any) -> None:
    said = ilf("label-studio", *action.split(), "--help")
    assert said.status == 0
    shown, _, examples = said.out.partition("examples:\n")
    assert all(len(line) <= 80 for line in said.out.splitlines())
    assert shown
    for example in examples.splitlines():
        words = shlex.split(example)
        words = words[words.index("ilf") + 1 :]
        assert entry.parser()[0].parse_args(words).action in ACTIONS
        assert not action or action in words


def test_the_help_is_light() -> None:
    code = (
        "import sys, ilf.__main__ as e; e.GROUPS = ('label_studio',)\n"
        "e.main(['label-studio', 'start', '--help']); print('loaded', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.rpartition("loaded ")[2].split()
    assert not {"httpx", "label_studio_sdk", "urllib.request", "subprocess", "yaml"} & set(loaded)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "the following arguments are required: ACTION"),
        (("strat",), "Did you mean 'start'?"),
        (("start", "--port", "0"), "'0' is no port"),
        (("start", "--port", "65536"), "'65536' is no port"),
        (("start", "--prot", "1"), "Did you mean '--port'?"),
        (("start", "--host", "labels.example.org"), "not a public address"),
    ],
)
def test_a_wrong_command_line(ilf: Any, words: tuple[str, ...], told: str) -> None:
    said = ilf("label-studio", *words)
    assert (said.status, said.out) == (2, "")
    assert told in said.err


def test_where_none_runs(ilf: Any, tmp_path: Path) -> None:
    said = ilf("label-studio", "status")
    assert (said.status, said.out) == (1, f"no server runs (data folder {tmp_path / 'label-studio'})\n")
    told = json.loads(ilf("label-studio", "status", "--json").out)
    assert (told["running"], told["pid"], told["version"]) == (False, None, None)
    assert "nothing to stop" in ilf("label-studio", "stop").out
    assert ilf("label-studio", "stop", "--quiet").out == ""
    for action, told in (
        ("open", "no server runs"),
        ("logs", "no log"),
        ("invite", "ilf label-studio start"),
    ):
        said = ilf("label-studio", action)
        assert (said.status, said.out) == (1, "")
        assert told in said.err
    assert not (tmp_path / "label-studio").exists()


def test_a_state_file_that_cannot_be_read_counts_as_none(ilf: Any, tmp_path: Path) -> None:
    for text in ("", "{", "[]", '{"data": null}', '{"data": "/nowhere/at/all"}'):
        (tmp_path / "state").mkdir(exist_ok=True)
        (tmp_path / "state" / "label-studio.json").write_text(text)
        assert ilf("label-studio", "status").status == 1
        assert "no Label Studio is running" in ilf("label-studio", "invite").err


@pytest.mark.parametrize("name", ["label_studio.sqlite3", "thesis.txt"])
def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o755)
    (folder / name).write_text("mine")
    with pytest.raises(UsageError, match="--data DIR"):
        data_folder.check(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    with pytest.raises(UsageError, match="is a file"):
        data_folder.check(folder / name)


def test_credentials_are_never_readable_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    replace = Path.replace

    def seen(self: Path, target: Path) -> Path:
        if "credentials" in self.name:
            modes.append(stat.S_IMODE(self.stat().st_mode))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", seen)
    before = os.umask(0)
    try:
        new = data_folder.prepare(tmp_path / "data")
    finally:
        os.umask(before)
    assert modes == [0o600]
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert len(new.password) >= 20
    assert len(new.token) == 40
    (tmp_path / "data" / "credentials.json").chmod(0o644)  # as a copy from elsewhere may be
    assert data_folder.prepare(tmp_path / "data") == new
    assert stat.S_IMODE((tmp_path / "data" / "credentials.json").stat().st_mode) == 0o600
    assert new.password not in repr(new)
    assert new.token not in repr(new)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"email": "a@b.c"}', "null"])
def test_credentials_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    data_folder.prepare(tmp_path / "data")
    (tmp_path / "data" / "credentials.json").write_text(text)
    with pytest.raises(ComponentError, match=r"credentials.json: not a JSON object .* Put the file back"):
        data_folder.prepare(tmp_path / "data")


def test_no_secret_is_shown_of_a_log(tmp_path: Path) -> None:
    owner = data_folder.Credentials("a@b.invalid", "pass-word-1", "t" * 40)
    text = f'"GET /user/signup/?token=abc123&next=/ HTTP/1.1" 200 {owner.password} Token {owner.token}'
    told = data_folder.redacted(text, owner)
    assert told == '"GET /user/signup/?token=[...]&next=/ HTTP/1.1" 200 [...] Token [...]'
    log = tmp_path / "install.log"
    log.write_text("one\nLooking in indexes: https://me:secret@index.invalid/simple\n")
    assert environment.tail(log, 1) == "  Looking in indexes: https://[...]@index.invalid/simple"
    assert "cannot be read" in environment.tail(tmp_path / "none")


def test_where_things_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ILF_CACHE_DIR")
    monkeypatch.delenv("ILF_STATE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    home = Path.home()
    assert environment.cache_folder() == home / ".cache" / "ilf"
    assert data_folder.state_file() == home / ".local" / "state" / "ilf" / "label-studio.json"
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    assert environment.cache_folder() == Path("/c/ilf")
    assert data_folder.state_file() == Path("/s/ilf/label-studio.json")


def test_a_process_is_told_from_a_later_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "30"]) as other:
        mine, theirs = processes.identity(os.getpid()), processes.identity(other.pid)
        assert mine == processes.identity(os.getpid())
        assert None not in (mine, theirs)
        assert mine != theirs
        other.kill()
        while other.returncode is None and processes.identity(other.pid):
            pass  # a zombie, until this process asks for it, is gone already
        assert processes.identity(other.pid) is None
    assert processes.identity(other.pid) is None


def test_the_same_where_there_is_no_proc() -> None:
    try:
        subprocess.run(["ps", "-V"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no ps here")
    with subprocess.Popen(["sleep", "30"]) as other:
        found = processes._identity_by_ps(other.pid)
        assert found
        assert found == processes._identity_by_ps(other.pid)
        other.kill()
        other.wait()
        assert processes._identity_by_ps(other.pid) is None
