"""ilf list and ilf recipes: what there is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ilf.commands._parser import Subparsers, add_command, add_json
from ilf.commands._terminal import json_text, paint, width, wrapped
from ilf.errors import UsageError, nearest

#: Name of a family on the command line -> its protocol.
FAMILIES = {
    "generators": "Generator",
    "feedback": "FeedbackSource",
    "rankers": "Ranker",
    "selectors": "Selector",
    "strategies": "Strategy",
    "graders": "Grader",
    "worlds": "World",
}
#: A field of a component -> what it needs installed: (module, extra).
_EXTRA_OF_FIELD = {"encoder": ("sentence_transformers", "rank")}


def add(subparsers: Subparsers) -> None:
    """Adds ``ilf list`` and ``ilf recipes``."""
    parser = add_command(
        subparsers,
        "list",
        list_components,
        "list the components that a recipe can name",
        more="A component is a file of its family's folder; your own is named by its dotted module:\n"
        "choose.ranker=mylab.pairwise",
        examples=("ilf list", "ilf list rankers", "ilf list graders --json"),
    )
    parser.add_argument("family", nargs="?", metavar="FAMILY", help=f"one of: {', '.join(FAMILIES)}")
    add_json(parser)
    parser = add_command(
        subparsers,
        "recipes",
        list_recipes,
        "list the packaged recipes",
        examples=("ilf recipes", "ilf recipes --json"),
    )
    add_json(parser)


def list_components(arguments: argparse.Namespace) -> int:
    """Components by family with a line each, and what they need."""
    families = [_family(arguments.family)] if arguments.family else list(FAMILIES)
    found = {family: components(family) for family in families}
    if arguments.json:
        print(json_text(found))
        return 0
    blocks = []
    for family, entries in found.items():
        lines = [paint(family, "bold")]
        for entry in entries:
            needs = f" [{'; '.join(entry['needs'])}]" if entry["needs"] else ""
            body = wrapped(f"{entry['about']}{needs}", width(), " " * 23)
            lines.append(f"  {entry['name']:<20} {body[23:]}" if len(entry["name"]) <= 20 else
                         f"  {entry['name']}\n{body}")  # fmt: skip
        blocks.append("\n".join(lines))
    print("\n\n".join(blocks))
    return 0


def _family(word: str) -> str:
    plural = {name.removesuffix("s"): name for name in FAMILIES} | {"strategy": "strategies"}
    name = plural.get(word.lower(), word.lower())
    if name not in FAMILIES:
        raise UsageError(f"no family '{word}'.{nearest(word, FAMILIES)} Families: {', '.join(FAMILIES)}")
    return name


def components(family: str) -> list[dict[str, Any]]:
    """Name, module, line and needs of every component of a family, read without importing any."""
    from ilf.config import modules, summary

    return [
        {"name": name, "module": module, "about": summary(module).replace("``", ""), "needs": _needs(module)}
        for name, module in sorted(modules(FAMILIES[family]).items())
    ]


def _needs(module: str) -> list[str]:
    """What a component cannot work without, as its fields tell: a model to be named, a missing extra."""
    import ast
    import importlib.util

    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return []
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    needs = []
    for node in (n for c in tree.body if isinstance(c, ast.ClassDef) for n in c.body):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        name = node.target.id
        empty = node.value is None or (isinstance(node.value, ast.Constant) and node.value.value == "")
        if name == "model" and empty:
            needs.append("needs model=")
        library, extra = _EXTRA_OF_FIELD.get(name, ("", ""))
        if library and importlib.util.find_spec(library) is None:
            needs.append(f"needs pip install 'ilf[{extra}]'")
    return list(dict.fromkeys(needs))


def list_recipes(arguments: argparse.Namespace) -> int:
    """Packaged recipes and what each is about."""
    from ilf.recipe import packaged, read_recipe

    found = [
        {"name": name, "about": read_recipe(str(folder)).about, "folder": str(folder)}
        for name, folder in packaged().items()
    ]
    if arguments.json:
        print(json_text(found))
        return 0
    for entry in found:
        print(paint(entry["name"], "bold"))
        print(wrapped(entry["about"], width(), "  "))
    print("\nilf run NAME runs one; ilf init MINE --from NAME copies one to edit.")
    return 0
