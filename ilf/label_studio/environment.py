"""Label Studio's own virtual environment: its pins fight ours, so it is never installed beside ilf.

It lies in the user's cache folder and is made once. ``made_by.json`` is written last: an environment
without it is half made and is made again.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import as_file, files
from pathlib import Path

from ilf.errors import ComponentError
from ilf.files import write_whole
from ilf.records import dumps

Say = Callable[[str], None]

VERSION = "1.23.2"
#: 1.0 GB of files, and room for pip to unpack them (bytes).
NEEDS_BYTES = 1_200_000_000
_MADE_BY = "made_by.json"
_TELL_SECONDS = 20.0
#: Of the caller's settings, those that would send the packages elsewhere or make pip install nothing.
_FOREIGN = (
    "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV",
    "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_CONSTRAINT", "PIP_NO_DEPS", "PIP_DRY_RUN",
)  # fmt: skip
_FULL_BYTES = 5_000_000
_FULL_DISK = re.compile(r"No space left on device|Errno 28|Disk quota exceeded")


def cache_folder() -> Path:
    """ILF_CACHE_DIR, or ``ilf`` in the user's cache folder."""
    own, shared = os.environ.get("ILF_CACHE_DIR"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own).expanduser().absolute()
    return (Path(shared) if shared else Path.home() / ".cache") / "ilf"


def folder() -> Path:
    """Where the environment lies, or will lie."""
    return cache_folder() / f"label-studio-{VERSION}-py{sys.version_info[0]}.{sys.version_info[1]}"


def found() -> list[str] | None:
    """The words that run Label Studio, or None where its environment is missing or half made."""
    python, script = folder() / "bin" / "python", folder() / "bin" / "label-studio"
    # A python that was removed leaves a link to nothing; exists() follows it.
    if (folder() / _MADE_BY).exists() and python.exists() and script.exists():
        return [str(python), str(script)]
    return None


def make(say: Say) -> list[str]:
    """The words that run Label Studio; makes its environment first where there is none, in some minutes.

    Raises ComponentError where there is no room, no network, or no ``venv``.
    """
    words = found()
    if words is None:
        with locked(
            cache_folder() / f"{folder().name}.lock", say, "another process is installing it"
        ) as lock:
            words = found()  # the other one may have made it
            if words is None:
                _make(say, lock)
                words = found()
    if words is None:
        raise ComponentError(f"{folder()}: pip installed no label-studio there. Its output: {_log()}")
    return words


@contextlib.contextmanager
def locked(path: Path, say: Say, told: str) -> Iterator[int]:
    """Holds a lock file; yields its descriptor. A killed process gives it back."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{told}; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, indented; passwords in addresses are left out."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"  (it cannot be read: {error})"
    text = re.sub(r"://[^/@\s]+@", "://[...]@", text)
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:]) or "  (it is empty)"


def _log() -> Path:
    return cache_folder() / f"{folder().name}-install.log"


def _make(say: Say, lock: int) -> None:
    if folder().exists():
        say(f"{folder()} is half made; making it again")
        shutil.rmtree(folder())
    free = shutil.disk_usage(cache_folder()).free
    if free < NEEDS_BYTES:
        raise _no_room(f"{free / 1e9:.1f} GB are free")
    say(f"Installing Label Studio {VERSION} into {folder()}: once, 1 GB, about 3 minutes")
    started = time.monotonic()
    _log().unlink(missing_ok=True)
    _run([sys.executable, "-m", "venv", str(folder())], say, lock)
    with as_file(files("ilf.label_studio") / "constraints.txt") as constraints:
        pip = [str(folder() / "bin" / "python"), "-m", "pip", "install", "--no-input"]
        options = ["--disable-pip-version-check", "--progress-bar", "off", "-c", str(constraints)]
        _run([*pip, *options, f"label-studio=={VERSION}"], say, lock)
    seconds = round(time.monotonic() - started)
    write_whole(
        folder() / _MADE_BY, dumps({"label-studio": VERSION, "python": sys.version, "seconds": seconds})
    )
    say(f"Label Studio {VERSION} is installed ({seconds} s)")


def _run(command: Sequence[str], say: Say, lock: int) -> None:
    """One command, its output added to the log; what it is doing is told now and then."""
    environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    started = told = time.monotonic()
    with _log().open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            # Where this process is killed, the lock stays with pip: nobody removes files under its hands.
            pass_fds=(lock,),
        )
    try:
        while process.poll() is None:
            time.sleep(0.2)
            if time.monotonic() - told >= _TELL_SECONDS:
                told = time.monotonic()
                say(f"  {told - started:.0f} s: {tail(_log(), 1).strip()[:64]}")
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode:
        raise _failure(command)


def _failure(command: Sequence[str]) -> ComponentError:
    last = tail(_log())
    # On a disk that is full the log has no room either.
    if _FULL_DISK.search(last) or shutil.disk_usage(cache_folder()).free < _FULL_BYTES:
        return _no_room("the disk is full")
    if "venv" in command:
        remedy = "Python's venv module does not work here (Debian and Ubuntu: apt-get install python3-venv)"
    else:
        remedy = (
            "If the package index cannot be reached, mend the network or set PIP_INDEX_URL; then run the "
            "same command again"
        )
    return ComponentError(
        f"Label Studio could not be installed. {remedy}. The output is in {_log()}; it ends with:\n{last}"
    )


def _no_room(told: str) -> ComponentError:
    return ComponentError(
        f"no room for Label Studio in {cache_folder()}: it takes {NEEDS_BYTES / 1e9:.1f} GB, {told}. Free "
        "some, or name a folder on another disk: ILF_CACHE_DIR=/path"
    )
