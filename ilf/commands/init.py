"""ilf init: a packaged recipe, copied to be edited."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
from pathlib import Path

from ilf.commands._parser import Subparsers, add_command
from ilf.errors import UsageError

_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "runs", ".*")


def add(subparsers: Subparsers) -> None:
    """Adds ``ilf init``."""
    parser = add_command(
        subparsers,
        "init",
        init,
        "copy a packaged recipe to edit",
        more="The whole folder is copied, data files too. Nothing is ever overwritten.",
        examples=("ilf init mine --from nano", "ilf init experiments/code --from mbpp_feedback"),
    )
    parser.add_argument("name", metavar="NAME", help="the new folder; its last part names the runs")
    parser.add_argument(
        "--from",
        required=True,
        dest="source",
        metavar="RECIPE",
        help="a packaged recipe, or a recipe's folder",
    )


def init(arguments: argparse.Namespace) -> int:
    """Copies, whole or not at all, and says what to type next."""
    import tempfile

    from ilf.recipe import read_recipe

    recipe = read_recipe(arguments.source)
    target = Path(arguments.name)
    if not (recipe.folder / "recipe.yaml").is_file() or recipe.name != recipe.folder.name:
        raise UsageError(f"--from {arguments.source}: name a recipe's folder (one that holds recipe.yaml).")
    if os.path.lexists(target):
        raise UsageError(f"{target} exists already; nothing was copied. Choose another name.")
    if recipe.folder.resolve() in target.resolve().parents:
        raise UsageError(f"{target} lies inside the recipe that is to be copied. Choose another place.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".ilf-init-", dir=target.parent) as scratch:
        copy = Path(scratch) / target.name
        shutil.copytree(recipe.folder, copy, ignore=_LEFT_OUT)
        _make_writable(copy)
        copy.rename(target)  # onto an empty folder or nothing: a folder with content makes this fail
    n_files = sum(path.is_file() for path in target.rglob("*"))
    print(f"{target}: {n_files} file(s) copied from {recipe.name}. Edit {target / 'recipe.yaml'}, then:")
    print(f"  ilf run {shlex.quote(str(target))} --dry-run")
    return 0


def _make_writable(folder: Path) -> None:
    """An installed package may be read-only; the copy is to be edited."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o200)
