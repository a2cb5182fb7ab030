"""forget: one person's data out of runs, and which models were trained on it.

The order makes an interrupted call safe to repeat: first each people folder gets the event ``forgotten``, so
that no later pull brings anything back; then copies go, pages and logs before rows, steps before those they
read; last the events themselves. What tells the copies apart (annotation ids, the person's words) is so kept
until the copies are gone. Every file is replaced whole.

A step keeps its address: it stays what its settings name, without this person's rows. Steps after it have
addresses made from its content, so the next run makes them again.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ilf._forget.lineage import Trained, depths, trained_on
from ilf._forget.traces import PSEUDONYM, Traces, of_events
from ilf.files import WORDS, sha256_file, sync, write_whole
from ilf.label_studio.events import EVENTS, append, read_events
from ilf.label_studio.served import SERVED
from ilf.records import Rows, line
from ilf.store import LOCKS, MADE_BY, MEASURED, MODEL, ROWS, Step

PEOPLE = "people"
#: Pages that ``ilf compare`` makes again.
PAGES = ("report.html", "result.json")
#: Files of a process that was killed before it renamed them.
LEFTOVER = ".*.tmp"
#: Largest file that is looked through for quotes, bytes.
_LARGEST = 1 << 26


@dataclass(frozen=True)
class Part:
    """A file with this person's data: ``theirs`` of ``total`` lines of a step or a log; a page counts 1."""

    path: Path
    kind: str
    """``rows``, ``unfinished`` (rows of a step that will start again), ``events``, ``served``, ``page``,
    ``memory`` (a step that kept words instead of weights), ``leftover`` (of a process that was killed)."""
    theirs: int
    total: int
    is_source: bool = False
    """Whether it holds the person's own annotations, not only copies of words."""


@dataclass
class Found:
    """All that is known of one person in some runs; ``erase`` takes it away."""

    traces: Traces
    people: list[tuple[Path, str]] = field(default_factory=list)
    """People folder and the pseudonym in it."""
    parts: list[Part] = field(default_factory=list)
    models: list[Trained] = field(default_factory=list)
    quoted_elsewhere: list[Path] = field(default_factory=list)
    """Files that no command of ilf makes again: they stay, and are named."""
    files_outside: list[str] = field(default_factory=list)
    """Names of steps that read people's words from a file outside of the runs."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing of this person."""
        return not self.parts


def run_folders(runs: Path) -> list[Path]:
    """The folders below ``runs`` that hold steps or people's answers."""
    return [
        run
        for run in sorted(runs.glob("*"))
        if run.is_dir() and not run.is_symlink() and ((run / PEOPLE).is_dir() or any(run.glob(f"*/{ROWS}")))
    ]


def people_folders(run: Path) -> list[Path]:
    """The folders in which sources keep what people said in a run."""
    return [folder for folder in sorted((run / PEOPLE).glob("*")) if folder.is_dir()]


def look(runs: Path, names_in: Callable[[Path], frozenset[str]]) -> Found:
    """Finds one person in all runs; ``names_in`` gives the names that the person has in a run folder."""
    folders = run_folders(runs)
    names = {run: names_in(run) for run in folders}
    found = Found(Traces(frozenset().union(*names.values())))
    steps = [path for run in folders for path in sorted(run.glob(f"*/{ROWS}"))]
    logs = [folder for run in folders for folder in people_folders(run)]
    for path in steps:
        for row in Rows(path):
            found.traces.learn(row)
    for folder in logs:
        for event in read_events(folder):
            found.traces.learn_event(event)
    found.parts = [part for path in steps if (part := _step_part(path, found.traces))]
    found.parts += [part for folder in logs for part in _log_parts(folder, found.traces)]
    _look_at_files(runs, folders, found)
    for run in folders:
        if any(part.path.is_relative_to(run) for part in found.parts):
            found.people += _people(run, names[run])
    theirs = {part.path.parent: part.theirs for part in found.parts if part.kind == "rows"}
    trained = trained_on(folders, theirs, found.traces.names)
    memories = {model.folder: model for model in trained if _is_memory(model)}
    found.parts = [part for part in found.parts if part.path.parent not in memories] + [
        Part(folder / MADE_BY, "memory", model.rows, model.total) for folder, model in memories.items()
    ]
    found.models = [model for model in trained if model.folder not in memories]
    found.files_outside = _files_outside(found.parts)
    return found


def _is_memory(model: Trained) -> bool:
    """Whether a step kept what people said where others have weights: it can be made again in no time."""
    return any((model.folder / MODEL / name).exists() for name in WORDS)


def _people(run: Path, names: frozenset[str]) -> Iterator[tuple[Path, str]]:
    """Folders in which the person is to be noted as forgotten, also those with nothing of theirs so far."""
    for folder in people_folders(run):
        said = {e["annotator"] for e in of_events(read_events(folder), names)}
        said |= {name for name in names if PSEUDONYM.fullmatch(name)}
        yield from ((folder, name) for name in sorted(said))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    return iter(Rows(path)) if path.exists() else iter(())


def _step_part(path: Path, traces: Traces) -> Part | None:
    theirs = total = 0
    is_source = False
    # Not Step.rows(): an erasure that was interrupted leaves a made_by.json that is ahead of the rows.
    for row in Rows(path):
        total += 1
        if traces.is_in(row):
            theirs += 1
            is_source = is_source or traces.is_source(row)
    kind = "rows" if Step(path.parent).is_finished else "unfinished"
    return Part(path, kind, theirs, total, is_source) if theirs else None


def _log_parts(folder: Path, traces: Traces) -> Iterator[Part]:
    events = read_events(folder)
    if theirs := len(of_events(events, traces.names)):
        yield Part(folder / EVENTS, "events", theirs, len(events), is_source=True)
    served, items = list(_lines(folder / SERVED)), _items(folder, traces)
    if theirs := sum(_is_served_to(entry, traces, items) for entry in served):
        yield Part(folder / SERVED, "served", theirs, len(served))


def _items(folder: Path, traces: Traces) -> set[str]:
    """The tasks that this person answered."""
    return {str(event.get("item")) for event in of_events(read_events(folder), traces.names)}


def _is_served_to(entry: Mapping[str, Any], traces: Traces, items: set[str]) -> bool:
    # An unfinished critique in the log is in no annotation: where nobody's name stands, its task tells.
    if entry.get("person") in traces.names or (entry.get("person") is None and entry.get("item") in items):
        return True
    return traces.is_in(entry)


def _look_at_files(runs: Path, folders: Sequence[Path], found: Found) -> None:
    """Pages to be removed, and files of others that quote the person."""
    known = {part.path for part in found.parts}
    pages = {run / name for run in folders for name in PAGES}
    for path in _files(runs):
        if path in known or path.name in (ROWS, MADE_BY, MEASURED, EVENTS, SERVED):
            continue
        if path.stat().st_size > _LARGEST:
            continue
        if found.traces.are_written_in(path.read_text(encoding="utf-8", errors="replace")):
            if path in pages or fnmatch(path.name, LEFTOVER):
                found.parts.append(Part(path, "page" if path in pages else "leftover", 1, 1))
            else:
                found.quoted_elsewhere.append(path)


def _files(runs: Path) -> Iterator[Path]:
    """Every file below the runs but weights and locks."""
    for folder, inside, names in os.walk(runs):
        inside[:] = sorted(name for name in inside if name not in (MODEL, LOCKS))
        yield from (Path(folder, name) for name in sorted(names) if not Path(folder, name).is_symlink())


def _files_outside(parts: Iterable[Part]) -> list[str]:
    found = []
    for part in parts:
        if part.kind == "rows":
            settings = Step(part.path.parent).made_by.get("settings") or {}
            source = settings.get("feedback") or settings
            if isinstance(source, Mapping) and source.get("path"):
                found.append(part.path.parent.as_posix())
    return found


def erase(found: Found, say: Callable[[str], None] = lambda text: None) -> None:
    """Takes this person out; nobody else may work in the runs meanwhile. May be repeated at any time."""
    for folder, name in found.people:
        _note_forgotten(folder, name)
    for folder in {*(folder for folder, _ in found.people), *(part.path.parent for part in found.parts)}:
        for leftover in folder.glob(LEFTOVER):
            leftover.unlink()
    order = depths({part.path.parent for part in found.parts if part.kind == "rows"})
    for part in sorted(found.parts, key=lambda part: _rank(part, order)):
        say(f"{part.path}: {part.theirs} of {part.total}")
        if part.kind in ("page", "leftover"):
            part.path.unlink(missing_ok=True)
        elif part.kind == "unfinished":
            Step(part.path.parent).discard()
            Step(part.path.parent).remove_if_empty()
        elif part.kind == "memory":
            part.path.unlink(missing_ok=True)  # unfinished from now on, whatever happens next
            shutil.rmtree(part.path.parent)
        elif part.kind == "rows":
            _erase_rows(part, found.traces)
        else:
            _erase_lines(part, found.traces)


def _rank(part: Part, order: Mapping[Path, int]) -> tuple[int, int]:
    """Pages and logs, copies, then the person's annotations from the last step to the first; events last."""
    if part.kind in ("page", "leftover", "served", "unfinished", "memory"):
        return 0, 0
    if part.kind == "events":
        return 3, 0
    return (2, -order[part.path.parent]) if part.is_source else (1, 0)


def _note_forgotten(folder: Path, name: str) -> None:
    if not any(e["kind"] == "forgotten" and e["annotator"] == name for e in read_events(folder)):
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        append(folder, [{"kind": "forgotten", "annotator": name, "at": now}])


def _erase_rows(part: Part, traces: Traces) -> None:
    """New rows of a finished step: ``made_by.json`` first, so that half a change is refused, never read."""
    step = Step(part.path.parent)
    new = part.path.with_name(f".{ROWS}.{os.getpid()}.tmp")
    _write(new, (line(row) for row in Rows(part.path) if not traces.is_in(row)))
    made_by = step.made_by
    content = sha256_file(new)
    if made_by["content"] != content:
        name = next((n for n in sorted(traces.names) if PSEUDONYM.fullmatch(n)), None)
        note = {
            "annotator": name,  # of somebody without a pseudonym no name is kept
            "rows": part.theirs,
            "content_before": made_by["content"],
        }
        changed = {
            "rows": len(Rows(new)),
            "content": content,
            "forgotten": [*made_by.get("forgotten", ()), note],
        }
        write_whole(
            step.folder / MADE_BY, json.dumps({**made_by, **changed}, indent=2, sort_keys=True) + "\n"
        )
    new.replace(part.path)
    sync(part.path.parent)


def _erase_lines(part: Part, traces: Traces) -> None:
    folder = part.path.parent
    if part.kind == "events":
        events = read_events(folder)
        gone = {id(event) for event in of_events(events, traces.names)}
        kept = [line(event) for event in events if id(event) not in gone]
    else:
        items = _items(folder, traces)
        kept = [line(e) for e in _lines(part.path) if not _is_served_to(e, traces, items)]
    _replace(part.path, kept)


def _replace(path: Path, content: Iterable[bytes]) -> None:
    new = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    _write(new, content)
    new.chmod(path.stat().st_mode & 0o777)
    new.replace(path)
    sync(path.parent)


def _write(path: Path, content: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(content)
        file.flush()
        os.fsync(file.fileno())
