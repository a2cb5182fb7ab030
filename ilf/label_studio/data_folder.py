"""The data folder of a Label Studio server: its credentials, which process serves it, and its log.

    credentials.json    e-mail, password and token of the owner; for this user's eyes only (0600)
    server.json         the process, its port, and the public address, also while it is stopped
    made_by.json        the version that made the database; written when a first start came to its end
    server.log          what the server wrote since its last start (server.log.old: before that)
    server.lock         held while a server is being started

Everything else in it is Label Studio's own.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ilf.errors import ComponentError, UsageError
from ilf.files import write_whole

CREDENTIALS, SERVER, MADE_BY, LOG = "credentials.json", "server.json", "made_by.json", "server.log"
LOCK = "server.lock"
DATABASE = "label_studio.sqlite3"
OWNER = "owner@ilf.invalid"
#: Keys of addresses whose values let people in: they stand in Label Studio's log of requests.
_IN_ADDRESS = re.compile(r"(token|key|password)=[^&\s\"']+", re.IGNORECASE)


@dataclass(frozen=True)
class Credentials:
    """The owner of a server: how to log in, and the token of the API."""

    email: str
    password: str = field(repr=False)
    token: str = field(repr=False)


@dataclass(frozen=True)
class Process:
    """Which process serves a data folder; ``pid`` is None while none does."""

    port: int | None = None
    public: str = ""
    pid: int | None = None
    started: str = ""

    @property
    def url(self) -> str:
        """Its address on this machine."""
        return f"http://127.0.0.1:{self.port}"


def check(data: Path) -> None:
    """Raises UsageError for a folder that holds something else than a server's data."""
    if not data.exists() or (data / CREDENTIALS).exists():
        return
    if not data.is_dir():
        raise UsageError(f"{data} is a file; name a folder: --data DIR")
    if (data / DATABASE).exists():
        raise UsageError(
            f"{data} holds a Label Studio that ilf did not make. Start it as you are used to and set "
            "LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY, or name another folder: --data DIR"
        )
    if {path.name for path in data.iterdir()} - {LOCK, ".gitignore"}:
        raise UsageError(f"{data} holds other files; name an empty or a new folder: --data DIR")


def prepare(data: Path) -> Credentials:
    """Makes the folder and its credentials where they are missing; returns the credentials."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    data.chmod(0o700)
    if not (data / CREDENTIALS).exists():
        new = Credentials(OWNER, secrets.token_urlsafe(18), secrets.token_hex(20))
        # Neither the answers of people nor a password belong into a repository.
        write_whole(data / ".gitignore", "*\n")
        _write_secret(data / CREDENTIALS, json.dumps(asdict(new), indent=2) + "\n")
    (data / CREDENTIALS).chmod(0o600)
    return credentials(data)


def credentials(data: Path) -> Credentials:
    """The credentials of a data folder; ComponentError where they cannot be read."""
    path = data / CREDENTIALS
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Credentials(found["email"], found["password"], found["token"])
    except OSError as error:
        problem = error.strerror or "unreadable"
    except (ValueError, KeyError, TypeError):
        problem = "not a JSON object with email, password and token"
    raise ComponentError(
        f"{path}: {problem}. Put the file back from a copy, or start with another --data DIR"
    )


def _write_secret(path: Path, text: str) -> None:
    """Writes a file that nobody else can read, not even while it is written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def process(data: Path) -> Process:
    """What is noted about the process; a note that cannot be read counts as none."""
    try:
        found: dict[str, Any] = json.loads((data / SERVER).read_text(encoding="utf-8"))
        return Process(**found)
    except (OSError, ValueError, TypeError):
        return Process()


def note(data: Path, serving: Process) -> None:
    """Notes which process serves the folder."""
    write_whole(data / SERVER, json.dumps(asdict(serving)) + "\n")


def finished_version(data: Path) -> str | None:
    """The version whose first start came to its end, or None."""
    try:
        return str(json.loads((data / MADE_BY).read_text(encoding="utf-8"))["label-studio"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def redacted(text: str, owner: Credentials | None) -> str:
    """A text without the owner's password and token, and without what stands as a token in an address."""
    for secret in (owner.password, owner.token) if owner else ():
        text = text.replace(secret, "[...]")
    return _IN_ADDRESS.sub(r"\1=[...]", text)


def state_file() -> Path:
    """Where it is noted which data folder was started last."""
    own, shared = os.environ.get("ILF_STATE_DIR"), os.environ.get("XDG_STATE_HOME")
    if own:
        return Path(own).expanduser().absolute() / "label-studio.json"
    return (Path(shared) if shared else Path.home() / ".local" / "state") / "ilf" / "label-studio.json"


def last() -> Path | None:
    """The data folder that was started last, or None."""
    try:
        return Path(json.loads(state_file().read_text(encoding="utf-8"))["data"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def note_last(data: Path) -> None:
    """Notes which data folder was started last."""
    state_file().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(state_file(), json.dumps({"data": str(data)}) + "\n")
