"""ilf forget: one person's data out of the runs, and what was trained on it."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilf.commands._parser import Subparsers, add_command, add_json, add_runs
from ilf.commands._terminal import clipped, json_text, table, width, wrapped

if TYPE_CHECKING:
    from ilf.forget import Found

_MORE = """\
ANNOTATOR is a pseudonym (p-...) as it stands in the column 'annotator', a name from there, or an e-mail
address, which is looked up on the Label Studio server.

Removed from every run: their events, their rows in every step and what was made from them (also where
another row was shown their words), lines of the log of served rewrites, and pages that quote them. A
later pull does not bring them back. Steps keep their folders; what follows from a changed one is made
again by the next run.

Models that were trained on their rows stay: they are listed with the command that trains them again;
then `ilf clean` removes the old ones.

The Label Studio server keeps its copy unless --server is given: then their annotations are deleted
there, too. Files outside of the runs (the file of a source, exports) are never touched.

An interrupted call is finished by the same call."""


def add(subparsers: Subparsers) -> None:
    """Adds ``ilf forget``."""
    parser = add_command(
        subparsers,
        "forget",
        forget,
        "erase one person's data from runs, and say what was trained on it",
        more=_MORE,
        examples=(
            "ilf forget p-3f2a91c07b --dry-run",
            "ilf forget ann@example.org --server --yes",
        ),
    )
    parser.add_argument("annotator", metavar="ANNOTATOR", help="pseudonym, name, or e-mail address")
    parser.add_argument("--yes", action="store_true", help="erase without asking")
    parser.add_argument("--dry-run", action="store_true", help="say what would be erased, and erase nothing")
    parser.add_argument(
        "--server", action="store_true", help="delete their annotations on the Label Studio server as well"
    )
    add_runs(parser)
    add_json(parser)


def forget(arguments: argparse.Namespace) -> int:
    """Finds, tells, asks, erases."""
    from ilf.commands._people_server import Server
    from ilf.forget import erase, look

    runs = Path(arguments.runs)
    server = Server(runs, arguments.annotator, needed=arguments.server)
    with contextlib.closing(server):
        found = look(runs, server.names_in)
        there = server.annotations() if arguments.server else []
        told = _told(found, runs, server, len(there))
        if not arguments.json:
            print(_text(told, arguments.annotator))
        erased = False
        if not (found.is_empty and not there) and not arguments.dry_run:
            if not arguments.yes:
                _confirm()
            with _alone(runs):
                # Looked at again: another command may have worked while the question was open.
                server.delete(there)
                erase(look(runs, server.names_in))
            erased = True
    if arguments.json:
        print(json_text({**told, "erased": erased}))
    elif erased:
        print(
            "\nErased." + (" The next run makes again what followed." if found.models or found.parts else "")
        )
    elif arguments.dry_run:
        print("\nNothing was erased.")
    return 0


@contextlib.contextmanager
def _alone(runs: Path) -> Iterator[None]:
    """Holds all runs, so that no command starts in them; Busy where one is at work."""
    from ilf.commands._runs import idle
    from ilf.errors import Busy
    from ilf.forget import run_folders

    with contextlib.ExitStack() as stack:
        for run in run_folders(runs):
            busy = stack.enter_context(idle(run))
            if busy:
                raise Busy(
                    f"nothing was erased: a process is at work in {run} ({', '.join(busy)}). "
                    "Run again when it has finished (or stop `ilf assist`)."
                )
        yield


def _confirm() -> None:
    from ilf.errors import IlfError

    if not sys.stdin.isatty():
        raise IlfError("nothing was erased: nobody can be asked here. Add --yes to erase.")
    print("Erase all of this? It cannot be undone. [y/N] ", end="", file=sys.stderr, flush=True)
    answer = ""
    with contextlib.suppress(EOFError):
        answer = sys.stdin.readline()
    if answer.strip().lower() not in ("y", "yes"):
        raise IlfError("nothing was erased.")


def _told(found: Found, runs: Path, server: Any, there: int) -> dict[str, Any]:
    return {
        "runs": str(runs),
        "pseudonyms": sorted({name for _, name in found.people}),
        "parts": [
            {"path": str(p.path), "kind": p.kind, "theirs": p.theirs, "of": p.total} for p in found.parts
        ],
        "models": [
            {"folder": str(m.folder), "rows": m.rows, "of": m.total, "command": m.command}
            for m in found.models
        ],
        "quoted_elsewhere": [str(path) for path in found.quoted_elsewhere],
        "files_outside": found.files_outside,
        "servers": server.projects([folder for folder, _ in found.people]),
        "on_server": there if server.is_asked else None,
    }


_WHAT = {
    "rows": "rows of a step",
    "unfinished": "an unfinished step, starts again",
    "events": "events",
    "served": "log of served rewrites",
    "page": "page, removed",
    "memory": "words kept by a step, made again",
    "leftover": "left by a killed process",
}


def _text(told: dict[str, Any], annotator: str) -> str:
    blocks = list(_blocks(told))
    if not told["parts"]:
        blocks.insert(0, wrapped(f"nothing of {annotator} in {told['runs']}.", width()))
    return "\n\n".join(blocks)


def _blocks(told: dict[str, Any]) -> Iterator[str]:
    if told["parts"]:
        rows: list[list[object]] = [["theirs", "of", "what", f"in {told['runs']}"]]
        for part in told["parts"]:
            where = Path(part["path"]).relative_to(told["runs"])
            where = where.parent if part["kind"] in ("rows", "unfinished", "memory") else where
            rows.append([part["theirs"], part["of"], _WHAT[part["kind"]], where])
        yield table(rows, right=(0, 1))
    if told["models"]:
        yield "\n".join(_models(told["models"]))
    if told["quoted_elsewhere"]:
        yield _listed("These files name or quote them and are not ours to change:", told["quoted_elsewhere"])
    if told["files_outside"]:
        yield _listed(
            "These steps read their words from a file outside of the runs. It still holds them: take "
            "them out there, too, or a new run brings them back:",
            told["files_outside"],
        )
    if told["on_server"] is not None:
        yield wrapped(f"Label Studio: {told['on_server']} annotations of theirs are deleted there.", width())
    elif told["servers"]:
        yield _listed(
            "Label Studio still has what they said in these projects (--server deletes it there; a draft "
            "that was never submitted goes with its project only):",
            told["servers"],
        )


def _models(models: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield wrapped("These models were trained on their rows and stay as they are:", width())
    for model in models:
        how = f"{model['rows']} of {model['of']} rows" if model["rows"] else "through another model or step"
        yield clipped(f"  {model['folder']}   {how}", width())
        command = model["command"] or "the command is not known; its settings stand in made_by.json"
        yield wrapped(f"train again: {command}", width(), "    ")


def _listed(head: str, items: Sequence[str]) -> str:
    return "\n".join([wrapped(head, width()), *(clipped(f"  {item}", width()) for item in items)])
