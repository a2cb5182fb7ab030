"""The project in Label Studio that belongs to a folder: made once, and found again.

project.json   which project, on which server; written before it is made, so that the next process
               finds it by the mark in its description if this one is killed in between
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ilf.errors import Busy, ComponentError, DataError
from ilf.files import write_whole
from ilf.label_studio.connection import Absent, Connection, Unsure
from ilf.label_studio.jobs import Page

PROJECT, LOCK = "project.json", ".lock"
_TITLE_LENGTH = 50
_LOCK_SECONDS = 600.0


@dataclass(frozen=True)
class Project:
    """What project.json holds; ``project`` is None while it is being made, ``pushed`` counts rows sent."""

    server: str
    project: int | None
    title: str
    job: str
    page_version: str
    marker: str
    pushed: int = 0
    gold: int = 0
    asked: str = ""
    """A hash of the items that are known to be there and of how many people each is for."""
    tasks: int = 0
    """How many tasks the server had when they were listed."""

    @property
    def id(self) -> int:
        """The number of a project that has been made."""
        assert self.project is not None
        return self.project

    @property
    def address(self) -> str:
        """The page where people label."""
        return f"{self.server}/projects/{self.project}/data?labeling=1"

    @property
    def description(self) -> str:
        """How the server's project is known to be this one."""
        return f"Made by ilf, {self.marker}. Tasks are added and read by `ilf run`."


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a folder for this process; another one's work is waited for, ten minutes at most."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=_LOCK_SECONDS)
    except Timeout:
        raise Busy(f"{folder}: another process is asking people here. Run again when it has ended.") from None
    try:
        yield
    finally:
        lock.release()


def read_project(folder: Path) -> Project | None:
    """What is noted of a folder's project, None where nothing is."""
    path = folder / PROJECT
    if not path.exists():
        return None
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        return Project(**{name: noted[name] for name in Project.__dataclass_fields__ if name in noted})
    except (ValueError, TypeError):
        raise DataError(f"{path}: unreadable. Restore it from a copy, or remove it to ask again.") from None


def note(folder: Path, project: Project) -> Project:
    """Keeps what is known of the project; writes nothing where nothing has changed."""
    if project != read_project(folder):
        write_whole(folder / PROJECT, json.dumps(asdict(project), indent=2) + "\n")
    return project


def ensure(connection: Connection, folder: Path, page: Page, people: int, title: str) -> Project:
    """The project of a folder: the one that is noted, the one that bears its mark, or a new one.

    A page that has changed makes a new project while nobody has answered; after that people go on with the
    page they know. Raises ComponentError where the noted project is not on this server.
    """
    noted = read_project(folder)
    if noted is not None:
        found = _found(connection, noted)
        if noted.project is not None and found is None:
            raise ComponentError(
                f"Label Studio at {connection.url} has no project {noted.project} '{noted.title}' (404): it "
                f"was deleted, or is on another server (it was made on {noted.server}). Restore it or set "
                f"LABEL_STUDIO_URL; or, to ask everybody again, move {folder} away: what was said is in it."
            )
        if found is not None and (noted.page_version == page.version or _has_answers(connection, found)):
            return note(folder, replace(noted, project=found, server=connection.url))
    if noted is None or noted.project is not None or noted.page_version != page.version:
        marker = secrets.token_hex(8)
        named = f"{title} {marker[:6]}"[-_TITLE_LENGTH:]
        noted = note(folder, Project(connection.url, None, named, page.job, page.version, marker))
    return note(folder, replace(noted, project=_make(connection, noted, page, people)))


def _has_answers(connection: Connection, project: int) -> bool:
    counted = "total_annotations_number,skipped_annotations_number"
    there = connection.get(f"project {project}", f"/api/projects/{project}", include=counted)
    return any(there[name] for name in counted.split(","))


def _found(connection: Connection, noted: Project) -> int | None:
    """The server's number of a noted project, by its mark; the address and the number may have changed."""
    if noted.project is not None:
        with contextlib.suppress(Absent):
            path = f"/api/projects/{noted.project}"
            there = connection.get(f"project {noted.project}", path, include="id,description")
            if there["description"] == noted.description:
                return noted.project
    return _marked(connection, noted)


def _marked(connection: Connection, noted: Project) -> int | None:
    """The oldest project that bears our mark; the title narrows the search down, the mark decides."""
    found: list[int] = []
    number, pages = 1, 1
    while number <= pages:
        how = {"title": noted.title, "page": number, "page_size": 100, "include": "id,description"}
        page = connection.get("our project", "/api/projects", **how)
        found += [entry["id"] for entry in page["results"] if entry["description"] == noted.description]
        pages = -(-page["count"] // 100)
        number += 1
    return min(found, default=None)


def _make(connection: Connection, noted: Project, page: Page, people: int) -> int:
    """Makes the project once: where the answer is lost, the mark says whether it is there."""
    deadline = time.monotonic() + connection.patience.seconds
    wanted = {
        "title": noted.title,
        "description": noted.description,
        "label_config": page.config,
        "expert_instruction": page.instruction,
        "show_instruction": True,
        "show_skip_button": True,
        "enable_empty_annotation": False,
        "show_collab_predictions": True,
        "maximum_annotations": people,
    }
    while True:
        made = _marked(connection, noted)
        if made is not None:
            return made
        try:
            return int(connection.post("a new project", "/api/projects/", wanted)["id"])
        except Unsure as unsure:
            if time.monotonic() > deadline:
                raise
            time.sleep(max(unsure.after, connection.patience.first_pause))


def unnote(folder: Path, project: Project) -> None:
    """Makes the next push list the tasks: one of ours has gone."""
    note(folder, replace(project, asked=""))
