"""ilf label-studio: a Label Studio server of one's own by one command."""

from __future__ import annotations

import argparse

from ilf.commands._parser import Parser, Subparsers, add_command, add_json, count
from ilf.commands._studio import DATA, install, invite, logs, open_page, start, status, stop

_ABOUT = """\
The server listens on this machine only, runs in an environment of its own and
keeps everything (answers, credentials, log) in one data folder. Another server
is used where LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY are set."""


def add(subparsers: Subparsers) -> None:
    """Adds ``ilf label-studio`` and its actions."""
    group = add_command(
        subparsers,
        "label-studio",
        start,
        "a Label Studio server for the people who answer",
        more=_ABOUT,
        examples=("ilf label-studio start", "ilf label-studio status --json", "ilf label-studio invite"),
    )
    actions = group.add_subparsers(
        title="actions", metavar="ACTION", dest="action", required=True, help="what to do"
    )
    _add_start(actions)
    _add_stop(actions)
    _add_status(actions)
    _add_open(actions)
    _add_logs(actions)
    _add_invite(actions)
    _add_install(actions)


def _add_start(actions: Subparsers) -> None:
    parser = add_command(
        actions,
        "start",
        start,
        "start the server, and open it in the browser",
        more="The first start installs Label Studio (1 GB, about 3 minutes) and makes its database (a "
        "minute); later ones take some seconds. Port, credentials and answers stay the same from start to "
        "start.\n\nWith --host people elsewhere can use it, behind a TLS proxy that you run: see ilf "
        "label-studio invite.",
        examples=(
            "ilf label-studio start",
            "ilf label-studio start --data ~/labels --port 8090 --no-browser",
            "ilf label-studio start --host https://labels.example.org",
            "ilf label-studio start --json",
        ),
    )
    parser.add_argument("--data", metavar="DIR", default=DATA, help=f"data folder (default: {DATA})")
    parser.add_argument("--port", type=_port, metavar="N", help="port (default: the last one, or a free one)")
    parser.add_argument(
        "--host", metavar="ADDRESS", help="public https address of the TLS proxy before it; '' for none"
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    add_json(parser)
    _add_quiet(parser)


def _add_stop(actions: Subparsers) -> None:
    parser = add_command(
        actions,
        "stop",
        stop,
        "stop the server",
        examples=("ilf label-studio stop", "ilf label-studio stop --data ~/labels"),
    )
    _add_data(parser)
    _add_quiet(parser)


def _add_status(actions: Subparsers) -> None:
    parser = add_command(
        actions,
        "status",
        status,
        "say whether the server runs, where, and with which data",
        more="Exit status 1 where it does not run.",
        examples=("ilf label-studio status", "ilf label-studio status --json"),
    )
    _add_data(parser)
    add_json(parser)


def _add_open(actions: Subparsers) -> None:
    parser = add_command(
        actions,
        "open",
        open_page,
        "open the server in the browser, and say how to log in",
        examples=("ilf label-studio open",),
    )
    _add_data(parser)


def _add_logs(actions: Subparsers) -> None:
    parser = add_command(
        actions,
        "logs",
        logs,
        "show what the server wrote since its last start",
        more="Passwords and tokens are left out.",
        examples=("ilf label-studio logs", "ilf label-studio logs -n 100", "ilf label-studio logs --follow"),
    )
    parser.add_argument("-n", type=count, default=20, metavar="N", help="lines (default: 20)")
    parser.add_argument("--follow", action="store_true", help="go on until Ctrl-C")
    _add_data(parser)


def _add_invite(actions: Subparsers) -> None:
    parser = add_command(
        actions,
        "invite",
        invite,
        "print the link that lets other people in",
        more="Also how to serve it to people elsewhere, and what they may do.",
        examples=("ilf label-studio invite", "ilf label-studio invite --renew"),
    )
    parser.add_argument("--renew", action="store_true", help="make a new link; the old one ends")
    add_json(parser)


def _add_install(actions: Subparsers) -> None:
    parser = add_command(
        actions,
        "install",
        install,
        "install Label Studio where it is not yet, and start nothing",
        more="Into the user's cache folder, or ILF_CACHE_DIR.",
        examples=("ilf label-studio install", "ILF_CACHE_DIR=/big/disk ilf label-studio install"),
    )
    _add_quiet(parser)


def _port(text: str) -> int:
    """An argument that is a port."""
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is no port: 1024 to 65535")
    return int(text)


def _add_data(parser: Parser) -> None:
    parser.add_argument(
        "--data", metavar="DIR", help=f"data folder (default: the one started last, or {DATA})"
    )


def _add_quiet(parser: Parser) -> None:
    parser.add_argument("--quiet", action="store_true", help="results only: no progress, no chatter")
