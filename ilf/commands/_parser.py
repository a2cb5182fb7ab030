"""Parsers of the commands: errors that name the nearest word, and help with examples."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from ilf.errors import UsageError, nearest

Handler = Callable[[argparse.Namespace], int]
#: What ``parser.add_subparsers()`` returns.
Subparsers = Any


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises UsageError instead of leaving; ``examples`` end its help."""

    examples: tuple[str, ...] = ()

    def error(self, message: str) -> NoReturn:
        """Raises UsageError with the nearest word and where to read more."""
        found = re.search(r"invalid choice: '?([^' ]+)'? \(choose from (.*)\)", message)
        near = nearest(found[1], re.findall(r"[\w-]+", found[2])) if found else ""
        raise UsageError(f"{message.rstrip('.')}.{near} See: {self.prog} --help")

    def unknown(self, words: Sequence[str]) -> NoReturn:
        """Raises UsageError for words that no option and no argument takes."""
        known = [word for word in self._option_string_actions if word.startswith("--")]
        told = ", ".join(f"'{word}'.{nearest(word.partition('=')[0], known)}" for word in words)
        raise UsageError(f"unknown argument {told} See: {self.prog} --help")


def add_command(
    subparsers: Subparsers,
    name: str,
    handler: Handler,
    about: str,
    *,
    more: str = "",
    examples: Sequence[str],
) -> Parser:
    """Adds a command with its one line, a longer text, and examples, and returns its parser."""
    parser: Parser = subparsers.add_parser(
        name,
        help=about,
        description="\n\n".join(
            map(_filled, f"{about[0].upper()}{about[1:]}.\n\n{more}".strip().split("\n\n"))
        ),
        epilog="examples:\n" + "\n".join(f"  {line}" for line in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.examples = tuple(examples)
    parser.set_defaults(handler=handler, parser=parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _filled(paragraph: str) -> str:
    """A paragraph in 78 columns; a list, whose lines are indented, stays as it is."""
    return paragraph if "\n  " in paragraph else textwrap.fill(paragraph, 78, break_on_hyphens=False)


def add_recipe(parser: Parser) -> None:
    """The arguments of the commands that run a recipe."""
    parser.add_argument("recipe", metavar="RECIPE", help="name of a packaged recipe, or a recipe's path")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="settings to replace, dotted: choose.ranker=chance train.strategy.learning_rate=3e-5 seed=3",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    add_runs(parser)
    add_json(parser)
    parser.add_argument("--quiet", action="store_true", help="results only: no progress, no chatter")
    parser.add_argument(
        "--no-wait", action="store_true", help="leave where another process works on the same step"
    )


def add_wait(parser: Parser) -> None:
    """``--wait``."""
    parser.add_argument(
        "--wait",
        action="store_true",
        help="stay until people have answered, instead of leaving with status 75",
    )


def add_runs(parser: Parser) -> None:
    """``--runs DIR``."""
    parser.add_argument("--runs", default="runs", metavar="DIR", help="folder of all runs (default: runs)")


def add_json(parser: Parser) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def count(text: str) -> int:
    """An argument that is a whole number above 0."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number above 0")
    return number
