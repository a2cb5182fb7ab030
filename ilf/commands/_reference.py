"""The reference of the command line as Markdown, made from the parsers.

``python -m ilf.commands._reference > docs/cli.md`` makes it again; a test fails when the file is stale.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from ilf.commands._parser import Parser

_HEAD = """\
# Commands

<!-- Made by `python -m ilf.commands._reference > docs/cli.md` from the parsers; edit those. -->

`ilf COMMAND --help` says the same. Results go to stdout, progress and notes to stderr, so that a pipe or a
file holds results only. Colours are used on a terminal only, and never with `NO_COLOR` set. Every command
takes `--debug` (or `ILF_DEBUG=1`), which shows the traceback of an error.

| exit status | |
|---|---|
| 0 | done |
| 1 | an error; the message says where, what, and what to do next |
| 2 | the command line or a recipe is wrong; nothing was run |
| 75 | people have not answered yet; run the same command later |
| 130 | interrupted by Ctrl-C (143 by SIGTERM); the same command goes on |
| 141 | the reader of a pipe left (`ilf show ... \\| head`) |
"""


def reference() -> str:
    """The whole page; the same on every Python, for argparse's own help differs between versions."""
    from ilf.__main__ import parser

    _, commands = parser()
    return "\n".join(
        [_HEAD, *(line for name, command in commands.items() for line in _command(name, command))]
    )


def _command(name: str, parser: Parser) -> Iterator[str]:
    yield f"## ilf {name}\n"
    yield (
        f"{parser.description}\n" if "\n  " not in str(parser.description) else _kept(str(parser.description))
    )
    # Only these attributes of argparse know the arguments; they are the same in every version.
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if groups:
        yield "\n".join(f"    {example}" for example in parser.examples) + "\n"
        for action_name, action_parser in groups[0].choices.items():
            yield from _command(f"{name} {action_name}", action_parser)
        return
    shown = [action for action in parser._actions if action.dest not in ("help", "debug")]
    yield f"    ilf {name} {' '.join(_usage(action) for action in shown)}".rstrip() + "\n"
    for action in shown:
        words = ", ".join(f"`{word}`" for word in _words(action))
        yield f"- {words}: {action.help}"
    yield "\nExamples:\n"
    yield "\n".join(f"    {example}" for example in parser.examples) + "\n"


def _kept(text: str) -> str:
    """A description with a list in it: lines that are indented become a block."""
    return (
        "\n".join(f"    {line.strip()}" if line.startswith("  ") else line for line in text.split("\n"))
        + "\n"
    )


def _words(action: argparse.Action) -> list[str]:
    value = "" if action.nargs == 0 else f" {_value(action)}"
    return [f"{word}{value}" for word in action.option_strings] or [_value(action)]


def _value(action: argparse.Action) -> str:
    if action.choices is not None:
        return "|".join(map(str, action.choices))
    return str(action.metavar or action.dest.upper())


def _usage(action: argparse.Action) -> str:
    words = _words(action)[-1]
    if action.nargs == "*":
        return f"[{words} ...]"
    return words if action.required else f"[{words}]"


if __name__ == "__main__":
    sys.stdout.write(reference())
