"""The environment, with a package that is called label-studio and needs nothing from the network."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from studio import CACHE
from studio_command import (
    ROOT,
    command,
    ilf,
    quiet,
    until,
)

from ilf.errors import ComponentError
from ilf.label_studio import environment

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_runs")]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip installs from, and an empty cache."""
    info = f"label_studio-{environment.VERSION}.dist-info"
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / f"label_studio-{environment.VERSION}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("fake_label_studio.py", "def main(): print('it runs')\n")
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: label-studio\nVersion: {environment.VERSION}\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(
            f"{info}/entry_points.txt", "[console_scripts]\nlabel-studio = fake_label_studio:main\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    for name, value in {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "PIP_CONFIG_FILE": os.devnull,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ILF_CACHE_DIR", str(tmp_path / "cache"))
    return folder


def runs() -> bool:
    words = environment.found()
    return words is not None and subprocess.check_output(words, text=True) == "it runs\n"


def test_an_installation_that_was_killed_is_made_again(index: Path) -> None:
    with command("install") as process:
        until(lambda: (environment.folder() / "bin" / "python").exists())
        process.kill()
    assert environment.found() is None
    status, out, err = ilf("install")
    assert status == 0, err
    assert "another process is installing it" in err  # what was killed left its child at work
    assert "is half made; making it again" in err
    assert str(environment.folder()) in out
    assert runs()
    assert ilf("install")[2] == ""  # made once
    (environment.folder() / "made_by.json").unlink()  # as where pip was killed near its end
    assert environment.found() is None
    assert "is half made; making it again" in ilf("install")[2]


def test_two_installations_at_once_are_one(index: Path) -> None:
    both = [command("install") for _ in range(2)]
    told = []
    for process in both:
        with process:
            told.append(process.communicate(timeout=120)[1])
            assert process.returncode == 0
    assert sorted("another process is installing it" in text for text in told) == [False, True]
    assert sum("Installing Label Studio" in text for text in told) == 1
    assert runs()


def test_a_caller_that_installs_elsewhere(index: Path, tmp_path: Path) -> None:
    foreign = {"PIP_TARGET": str(tmp_path / "elsewhere"), "PIP_USER": "1", "PYTHONHOME": ""}
    status, _, err = ilf("install", **foreign)
    assert status == 0, err
    assert runs()


def test_no_package_index(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(index)
    status, out, err = ilf("install")
    assert (status, out) == (1, "")
    assert "PIP_INDEX_URL" in err
    assert "No matching distribution" in err
    assert f"{environment.folder()}-install.log" in err
    assert environment.found() is None


def test_ctrl_c_ends_pip_too(index: Path) -> None:
    with command("install") as process:
        until(lambda: (environment.folder() / "bin" / "python").exists())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130
    assert not (environment.folder() / "bin" / "pip").exists()  # what was at work did not go on
    place = str(environment.folder()).encode()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            assert place not in entry.read_bytes()


def test_too_little_room_is_said_before_anything_is_done(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "NEEDS_BYTES", 1 << 62)
    with pytest.raises(ComponentError, match=r"no room for Label Studio in .*GB are free.*ILF_CACHE_DIR"):
        environment.make(quiet)
    assert not environment.folder().exists()


def test_a_disk_that_fills_up_meanwhile(index: Path, tmp_path: Path) -> None:
    """On a real small disk, where this user may make one."""
    small = tmp_path / "small"
    small.mkdir()
    code = (
        "import sys, ilf.label_studio.environment as environment\n"
        "environment.NEEDS_BYTES = 1000\n"
        "from ilf.__main__ import main; sys.exit(main(['label-studio', 'install']))"
    )
    script = f'mount -t tmpfs -o size=4m tmpfs {small} && exec "$0" -c "$1"'
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "ILF_CACHE_DIR": str(small)}
    unshared = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    probe = subprocess.run([*unshared, f"mount -t tmpfs tmpfs {small}"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("no file systems can be mounted here")
    done = subprocess.run(
        [*unshared, script, sys.executable, code], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "the disk is full" in done.stderr
    assert "ILF_CACHE_DIR" in done.stderr


def test_what_is_missing_is_made_by_one_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ILF_CACHE_DIR", str(tmp_path))
    assert environment.found() is None
    monkeypatch.setenv("ILF_CACHE_DIR", str(CACHE))
    assert environment.found() is not None
