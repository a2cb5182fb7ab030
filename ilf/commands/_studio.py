"""ilf label-studio: what its actions do."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilf.commands._terminal import json_text, visible
from ilf.errors import IlfError

if TYPE_CHECKING:
    from ilf.label_studio.server import Status

#: Data folder where none is named.
DATA = "label-studio"


def start(arguments: argparse.Namespace) -> int:
    """Starts, tells where and how to log in, opens the browser where there is one."""
    from ilf.label_studio import server
    from ilf.progress import Progress

    say = Progress(quiet=arguments.quiet).say
    found = server.start(Path(arguments.data), port=arguments.port, host=arguments.host, say=say)
    if arguments.json:
        print(json_text(_json(found)))
        return 0
    print(_text(found))
    if not (arguments.no_browser or arguments.quiet):
        _browse(found.shown_address)
    return 0


def stop(arguments: argparse.Namespace) -> int:
    """Stops; one that does not run is no error."""
    from ilf.label_studio import server

    data = _data(arguments)
    lived = server.stop(data)
    if not arguments.quiet:
        print(f"stopped: {data}" if lived else f"nothing to stop: no server runs with {data}")
    return 0


def status(arguments: argparse.Namespace) -> int:
    """Says how it stands."""
    from ilf.label_studio import server

    found = server.status(_data(arguments))
    print(json_text(_json(found)) if arguments.json else _text(found))
    return 0 if found.running else 1


def open_page(arguments: argparse.Namespace) -> int:
    """Opens the browser, or prints the address."""
    found = _running(arguments)
    print(_text(found))
    if not _browse(found.shown_address):
        print(f"open this address in a browser: {found.shown_address}", file=sys.stderr)
    return 0


def logs(arguments: argparse.Namespace) -> int:
    """Prints the end of the log, and goes on where asked to."""
    from ilf.label_studio import data_folder

    data = _data(arguments)
    log = data / data_folder.LOG
    if not log.exists():
        raise IlfError(f"{log}: no log; no server was started with {data}")
    owner = data_folder.credentials(data)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    size = log.stat().st_size
    for line in lines[-arguments.n :]:
        print(visible(data_folder.redacted(line.rstrip("\n"), owner)))
    if arguments.follow:
        sys.stdout.flush()
        for line in _following(log, size):
            print(visible(data_folder.redacted(line, owner)), flush=True)
    return 0


def invite(arguments: argparse.Namespace) -> int:
    """Prints the link, how to serve it, and what whoever joins may do."""
    from ilf.label_studio.invite import MAY_DO
    from ilf.label_studio.invite import invite as invitation

    found = invitation(renew=arguments.renew)
    if arguments.json:
        print(json_text({"link": found.link, "only_here": found.only_here}))
        return 0
    print(f"Give this link to those who are to join; they choose their own password:\n\n  {found.link}\n")
    if found.only_here:
        print(f"{found.how_to_serve()}\n")
    print(MAY_DO)
    return 0


def install(arguments: argparse.Namespace) -> int:
    """Makes the environment."""
    from ilf.label_studio import environment
    from ilf.progress import Progress

    environment.make(Progress(quiet=arguments.quiet).say)
    if not arguments.quiet:
        print(f"Label Studio {environment.VERSION}: {environment.folder()}")
    return 0


def _data(arguments: argparse.Namespace) -> Path:
    """The data folder that is meant."""
    from ilf.label_studio import data_folder

    if arguments.data is not None:
        return Path(arguments.data).expanduser().absolute()
    return data_folder.last() or Path(DATA).absolute()


def _running(arguments: argparse.Namespace) -> Status:
    from ilf.label_studio import server

    found = server.status(_data(arguments))
    if not found.running:
        raise IlfError(
            f"no server runs with {found.data}. Start it: ilf label-studio start --data {found.data}"
        )
    return found


def _text(found: Status) -> str:
    if not found.running:
        told = "no server runs"
        if found.state == "unanswering":
            told = f"process {found.pid} runs and does not answer; see ilf label-studio logs"
        return f"{told} (data folder {found.data})"
    facts = {
        "address": found.address,
        "public": found.public,
        "log in as": _owner(found.data),
        "password": f"in {_credentials(found.data)}",
        "data": found.data,
        "process": found.pid,
    }
    lines = [f"  {name:<10}{fact}" for name, fact in facts.items() if fact]
    return "\n".join([f"Label Studio {found.version} is running", *lines])


def _json(found: Status) -> dict[str, Any]:
    from ilf.label_studio import data_folder

    return {
        "running": found.running,
        "state": found.state,
        "address": found.address,
        "public_address": found.public,
        "version": found.version,
        "data": str(found.data),
        "credentials": str(_credentials(found.data)),
        "log": str(found.data / data_folder.LOG),
        "pid": found.pid,
    }


def _credentials(data: Path) -> Path:
    from ilf.label_studio import data_folder

    return data / data_folder.CREDENTIALS


def _owner(data: Path) -> str:
    from ilf.label_studio import data_folder

    return data_folder.credentials(data).email


def _browse(address: str) -> bool:
    """Opens a page where there is a display; a text browser would take the terminal."""
    import webbrowser

    on_screen = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(on_screen) and webbrowser.open(address)


def _following(log: Path, position: int) -> Iterator[str]:
    """Lines that are added to a log; a new start begins a new file."""
    rest = ""
    while True:
        time.sleep(0.2)
        with contextlib.suppress(OSError):
            if log.stat().st_size < position:
                position, rest = 0, ""
            with log.open("rb") as file:
                file.seek(position)
                piece = file.read()
            position += len(piece)
            *lines, rest = (rest + piece.decode("utf-8", "replace")).split("\n")
            yield from lines
