"""One person on the Label Studio server: e-mail to pseudonyms, their annotations, deleting them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ilf.errors import ComponentError, UsageError

if TYPE_CHECKING:
    from ilf.label_studio.connection import Connection

#: Somebody sits before the terminal: a server that does not answer is not waited for as long as by a run.
PATIENCE_SECONDS = 10.0
_PROJECT, _SALT = "project.json", "salt"


class Annotation(NamedTuple):
    """One annotation on the server."""

    project: int
    id: int


class Server:
    """Knows a person by the words given to ``ilf forget``; asks the server only where that is needed.

    It is needed for an e-mail address and for deleting. ComponentError where it cannot be asked.
    """

    def __init__(self, runs: Path, annotator: str, *, needed: bool) -> None:
        self.runs, self.annotator, self.is_asked = runs, annotator, needed
        self._connection: Connection | None = None
        self._users: list[dict[str, Any]] | None = None
        self._is_email = bool(re.fullmatch(r"[^@\s]+@[^@\s]+", annotator))

    def close(self) -> None:
        """Closes the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()

    def names_in(self, run: Path) -> frozenset[str]:
        """The names of this person in a run folder: what was given, and for an e-mail the pseudonym there."""
        if not self._is_email or not (run / "people" / _SALT).exists():
            return frozenset({self.annotator})
        return frozenset({self.annotator, *(_pseudonym(run, user["id"]) for user in self._mine())})

    def _mine(self) -> list[dict[str, Any]]:
        """The person's accounts by e-mail; UsageError where the server knows none."""
        try:
            users = self._all_users()
        except ComponentError as error:
            raise ComponentError(
                f"{error}\nAn e-mail address is looked up on the server. Without it give the pseudonym "
                "(p-...), as it stands in the column 'annotator' (ilf agreement lists them)."
            ) from None
        mine = [user for user in users if str(user.get("email", "")).lower() == self.annotator.lower()]
        if not mine:
            raise UsageError(f"the server at {self._connect().url} knows nobody with this e-mail address.")
        return mine

    def _all_users(self) -> list[dict[str, Any]]:
        if self._users is None:
            self._users = list(self._connect().get("the users", "/api/users"))
        return self._users

    def _connect(self) -> Connection:
        if self._connection is None:
            from ilf.label_studio.connection import Patience, connect

            self._connection = connect(None, Patience(seconds=PATIENCE_SECONDS))
        return self._connection

    def projects(self, folders: Sequence[Path]) -> list[str]:
        """Projects on servers in which this person answered, as text."""
        return list(dict.fromkeys(
            f"{found.get('server')} project {found.get('project')} ({found.get('title')})"
            for folder in folders
            if (found := _project(folder))
        ))  # fmt: skip

    def annotations(self) -> list[Annotation]:
        """Every annotation of this person in the projects of these runs that lie on this server."""
        from ilf.forget import people_folders, run_folders

        connection, found = self._connect(), []
        for run in run_folders(self.runs):
            users = {user["id"] for user in self._all_users() if self._is_mine(user, run)}
            for folder in people_folders(run):
                project = _project(folder)
                if users and project and str(project.get("server", "")).rstrip("/") == connection.url:
                    found += _annotations(connection, int(project["project"]), users)
        return list(dict.fromkeys(found))

    def _is_mine(self, user: dict[str, Any], run: Path) -> bool:
        if self._is_email:
            return str(user.get("email", "")).lower() == self.annotator.lower()
        return (run / "people" / _SALT).exists() and _pseudonym(run, user["id"]) == self.annotator

    def delete(self, there: Sequence[Annotation]) -> None:
        """Deletes annotations on the server; one that is gone already is no error."""
        from ilf.label_studio.connection import Absent

        for annotation in there:
            try:
                self._connect().read(
                    f"deleting annotation {annotation.id} of project {annotation.project}",
                    lambda sdk, number=annotation.id: sdk.annotations.delete(id=number),  # type: ignore[misc]
                )
            except Absent:
                continue


def _pseudonym(run: Path, user: int) -> str:
    from ilf.label_studio.events import pseudonym

    return pseudonym(run / "people" / "-", user)


def _project(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / _PROJECT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and "project" in found else {}


def _annotations(connection: Connection, project: int, users: set[int]) -> list[Annotation]:
    from ilf.label_studio.connection import Absent
    from ilf.label_studio.listing import tasks, with_annotations
    from ilf.label_studio.rows import writer

    try:
        answered = [t.id for t in tasks(connection, project).values() if t.answered or t.skipped]
        listed = with_annotations(connection, project, answered)
    except Absent:
        return []  # the project was deleted, and all annotations with it
    return [
        Annotation(project, annotation["id"])
        for task in listed
        for annotation in task.annotations or ()
        if writer(annotation) in users
    ]
