"""ilf assist: the model rewrites an answer while a person types what is wrong with it."""

from __future__ import annotations

import argparse
import contextlib
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ilf.commands._parser import Subparsers, add_command, add_runs
from ilf.commands._terminal import visible
from ilf.errors import Busy, IlfError

if TYPE_CHECKING:
    from ilf._assist.server import Server
    from ilf._assist.setup import Found

_MORE = """\
While it runs, the page of a critique shows how the model would rewrite the answer as soon as the critique
is committed (Shift+Enter); the person accepts the rewrite, edits it, or changes the critique and looks
again. Model, settings and prompt are those of the recipe's refine step. The collect step needs
feedback: {name: label_studio, suggest: true}.

It listens on this machine only, asks for a password that it makes anew each time, and takes itself off the
project when it ends (Ctrl-C). What it wrote is in served.jsonl of the run's people folder."""


def add(subparsers: Subparsers) -> None:
    """Adds ``ilf assist``."""
    parser = add_command(
        subparsers,
        "assist",
        assist,
        "let the model answer on the labelling page while people type",
        more=_MORE,
        examples=(
            "ilf assist annotate_summaries",
            "ilf assist my-recipe/recipe.yaml refine.model=steps.train",
            "ilf assist annotate_summaries --project 12 --port 9090",
        ),
    )
    parser.add_argument("recipe", metavar="RECIPE", help="a run (what its last `ilf run` ran), or a recipe")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="the overrides that the recipe is run with"
    )
    parser.add_argument("--project", type=int, metavar="ID", help="the Label Studio project, where not known")
    parser.add_argument("--step", metavar="STEP", help="the collect step, where there are several")
    parser.add_argument("--refine", metavar="STEP", help="the refine step, where there are several")
    parser.add_argument("--port", type=_port, default=0, metavar="N", help="port (default: a free one)")
    add_runs(parser)


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"'{text}' is no port")
    return int(text)


def assist(arguments: argparse.Namespace) -> int:
    """Serves until interrupted."""
    from ilf._assist.register import register
    from ilf._assist.setup import find
    from ilf.assist import SECONDS, Assistant
    from ilf.commands._runs import in_use
    from ilf.label_studio.connection import Patience, connect
    from ilf.recipe import read_overrides, read_recipe

    name, words = _recipe(arguments)
    recipe = read_recipe(name).override(read_overrides(words))
    run = Path(arguments.runs) / recipe.name
    found = find(recipe.plan(), run, arguments.step, arguments.refine)
    project = found.project(arguments.project)
    # A server that is gone must not hold up the end of this for long.
    patience = Patience(request_seconds=30, seconds=10)
    with in_use(run), _alone(found), contextlib.closing(connect(None, patience)) as studio:
        rewriter = found.rewriter()
        _say(f"{found.refine.name}: {rewriter.model} for {len(rewriter.rows)} tasks of {found.collect.name}")
        rewriter.warm_up()
        secret = secrets.token_urlsafe(32)
        with _serving(Assistant(rewriter, found.folder, _say).server(secret, arguments.port)) as url:
            # Label Studio gives up a little later than we do, so that it is told why.
            ours = register(studio, project, url, secret, seconds=SECONDS + 10, say=_say)
            try:
                _say("answering; Ctrl-C ends it")
                threading.Event().wait()
            finally:
                _take_off(ours.remove)
    return 0


def _recipe(arguments: argparse.Namespace) -> tuple[str, list[str]]:
    """The recipe and overrides of a run's last `ilf run`; what is given here where there is none."""
    from ilf._assist.setup import last_words
    from ilf.commands._runs import last

    run = Path(arguments.runs) / arguments.recipe
    run = run if run.is_dir() else Path(arguments.recipe)
    words = last_words(last(run)) if not arguments.overrides else None
    return words or (arguments.recipe, list(arguments.overrides))


@contextlib.contextmanager
def _alone(found: Found) -> Iterator[None]:
    """One ilf assist per people folder: two would take each other off the project."""
    from filelock import FileLock, Timeout

    found.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(found.folder / ".assist.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Busy(f"another ilf assist serves {found.folder} already; end that one first.") from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _serving(server: Server) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, name="assist-server", daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        server.server_close()


def _take_off(remove: Callable[[], None]) -> None:
    try:
        remove()
        _say("taken off the project")
    except IlfError as error:
        _say(f"could not be taken off the project; the next ilf assist does it. {error}")


def _say(text: str) -> None:
    sys.stderr.write(f"{visible(text)}\n")
    sys.stderr.flush()
