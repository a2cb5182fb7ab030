"""What was made from what, by the hashes in ``made_by.json``: which models were trained on some rows."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilf._forget.traces import strings
from ilf.store import MADE_BY, Step


@dataclass(frozen=True)
class Trained:
    """A model that stays although it was trained on rows of this person."""

    folder: Path
    rows: int
    """Rows of this person in what it read; 0 where it was only reached through another model or step."""
    total: int
    command: str | None


@dataclass(frozen=True)
class _Node:
    folder: Path
    made_by: Mapping[str, Any]

    @property
    def contents(self) -> list[str]:
        """The hash of its rows now, and those before somebody was forgotten."""
        before = [note["content_before"] for note in self.made_by.get("forgotten", ())]
        return [*before, str(self.made_by.get("content"))]

    @property
    def reads(self) -> list[str]:
        """The hashes of the rows it was made from."""
        return list(self.made_by.get("content_read", ()))


def trained_on(runs: Sequence[Path], theirs_now: Mapping[Path, int], names: frozenset[str]) -> list[Trained]:
    """Trained steps of some runs whose rows, or the rows and models behind them, hold a person's.

    ``theirs_now``: step folder -> how many of its rows are the person's.
    """
    nodes = [
        _Node(path.parent, Step(path.parent).made_by) for run in runs for path in run.glob(f"*/{MADE_BY}")
    ]
    by_content = _by_content(nodes, theirs_now, names)
    reached, models = set(by_content), set[str]()
    through: set[Path] = set()
    grew = True
    while grew:
        grew = False
        for node in nodes:
            settings = {text for _, text in strings(node.made_by.get("settings"))}
            if node.folder not in through and (reached & set(node.reads) or settings & models):
                through.add(node.folder)
                reached |= set(node.contents)
                models |= {node.made_by["model"]} if "model" in node.made_by else set()
                grew = True
    totals = {content: node.made_by["rows"] for node in nodes for content in node.contents[-1:]}
    return [
        Trained(
            node.folder,
            sum(by_content.get(content, 0) for content in node.reads),
            sum(totals.get(content, 0) for content in node.reads),
            _command(node.folder),
        )
        for node in nodes
        if node.folder in through and "model" in node.made_by
    ]


def _by_content(
    nodes: Sequence[_Node], theirs_now: Mapping[Path, int], names: frozenset[str]
) -> dict[str, int]:
    """Hash of a step's rows -> how many of them are this person's; also where they are gone already."""
    theirs: dict[str, int] = {}
    for node in nodes:
        if node.folder in theirs_now:
            theirs |= dict.fromkeys(node.contents, theirs_now[node.folder])
        for note in node.made_by.get("forgotten", ()):
            if note["annotator"] in names:
                theirs[note["content_before"]] = note["rows"]
    return theirs


def _command(folder: Path) -> str | None:
    """The last command that used a step, from ``last.json`` of its run."""
    try:
        noted = json.loads((folder.parent / "last.json").read_text(encoding="utf-8"))
        return next(shlex.join(entry["words"]) for entry in noted.values() if folder.name in entry["steps"])
    except (OSError, ValueError, KeyError, AttributeError, StopIteration):
        return None


def depths(folders: Iterable[Path]) -> dict[Path, int]:
    """How many of these steps stand before each of them, one behind the other."""
    nodes = [_Node(folder, Step(folder).made_by) for folder in folders]
    found = dict.fromkeys((node.folder for node in nodes), 0)
    for _ in nodes:
        behind = {content: found[node.folder] + 1 for node in nodes for content in node.contents}
        after = {n.folder: max((behind.get(c, 0) for c in n.reads), default=0) for n in nodes}
        if after == found:
            break
        found = after
    return found
