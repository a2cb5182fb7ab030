"""The command line: ``ilf``, or ``python -m ilf``.

Exit status: 0 done, 1 error, 2 the command line or a recipe is wrong, 75 waiting for people, 130 interrupted
(143 by SIGTERM), 141 the reader of a pipe left.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import NoReturn

from ilf.commands._parser import Parser
from ilf.errors import IlfError, UsageError, Waiting, nearest

#: Files of ``ilf/commands``, in the order of the help.
GROUPS = (
    "run", "plan", "compare", "report", "listing", "init", "show", "curves", "export", "try_model",
    "label_studio", "assist", "agreement", "verdict", "forget",
    "doctor", "clean",
)  # fmt: skip
ABOUT = "Language models that learn from what people say about their answers."
EXAMPLES = (
    "ilf compare nano                     what feedback is worth, in a closed world, in minutes",
    "ilf run nano choose.ranker=length    one recipe with one setting replaced",
    "ilf show nano/choose                 the rows of a step",
    "ilf run --help                       options and examples of a command",
)
_GO_ON = "run the same command again to go on"


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends a run as Ctrl-C does."""


def parser() -> tuple[Parser, dict[str, Parser]]:
    """The parser of the command line, and those of its commands by name."""
    epilog = "examples:\n" + "\n".join(f"  {line}" for line in EXAMPLES)
    top = Parser(
        prog="ilf",
        description=ABOUT,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="store_true", help="print the version")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for group in GROUPS:
        importlib.import_module(f"ilf.commands.{group}").add(commands)
    return top, dict(commands.choices)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words or bool(os.environ.get("ILF_DEBUG"))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter ends no run
    with _terminable():
        try:
            status = _run([word for word in words if word != "--debug"])
            sys.stdout.flush()
        except BrokenPipeError:
            _forget_stdout()
            return 141
        except KeyboardInterrupt as stop:
            if debug:
                raise
            _say(f"\ninterrupted; {_GO_ON}")
            return 143 if isinstance(stop, Terminated) else 130
        except Exception as error:  # noqa: BLE001 - the one place where every error ends
            return _report(error, debug=debug)
    return status


def _run(words: Sequence[str]) -> int:
    top, commands = parser()
    named = next((word for word in words if not word.startswith("-")), None)
    if named is not None and named not in commands:
        raise UsageError(f"no command '{named}'.{nearest(named, commands)} See: ilf --help")
    try:
        arguments, rest = top.parse_known_args(words)
    except SystemExit as left:  # after --help
        return int(left.code or 0)
    if arguments.version:
        from ilf.run import version

        print(f"ilf {version()}")
        return 0
    if arguments.command is None:
        _say(top.format_help())
        return 2
    # argparse takes key=value only in one place; here they may stand between options.
    if hasattr(arguments, "overrides"):
        arguments.overrides += [word for word in rest if not word.startswith("-")]
        rest = [word for word in rest if word.startswith("-")]
    if rest:
        arguments.parser.unknown(rest)
    if hasattr(arguments, "recipe") or hasattr(arguments, "feedback"):
        # Own components (`ranker: mylab.pairwise`) are found from the current folder, as with `python -m`;
        # last, so that no file there can stand in for a library.
        sys.path += [folder for folder in (os.getcwd(),) if folder not in sys.path]  # noqa: PTH109 - a string
    status: int = arguments.handler(arguments)
    return status


def _report(error: Exception, *, debug: bool) -> int:
    """Tells an error on stderr, without a secret; a traceback only for our own faults, or when asked for."""
    import traceback

    from ilf.commands._terminal import redacted, visible

    told = _expected(error)
    if debug or told is None:
        _say(visible(redacted("".join(traceback.format_exception(error)).rstrip())))
    kind = "waiting" if isinstance(error, Waiting) else "error"
    _say(visible(redacted(f"ilf: {kind}: {told or f'this is a fault of ilf, please report it: {error!r}'}")))
    return error.exit_status if isinstance(error, IlfError) else 1


def _expected(error: Exception) -> str | None:
    """What a user is told of an error that is no fault of ilf's code, or None."""
    rankers_api = sys.modules.get("rankers._api")
    if isinstance(error, (IlfError, OSError)):
        return str(error)
    if rankers_api is not None and isinstance(error, rankers_api.RankerError):
        return str(error)
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package and package not in ("ilf", "rankers"):
        return f"the package '{package}' is not installed. ilf doctor says what is missing and how to get it."
    return None


def _say(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(text, file=sys.stderr, flush=True)


def _forget_stdout() -> None:
    """Nobody reads on; what is still buffered must not fail when Python leaves."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the command as Ctrl-C does: rows that are written are whole, locks are given back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> NoReturn:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
