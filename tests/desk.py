"""A folder that asks people at the real Label Studio, and the people who answer there through its API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from ilf.errors import Waiting
from ilf.feedback.label_studio import LabelStudio
from ilf.label_studio.jobs import item_id

JOB = "critique"


def rows(n: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": f"r{i:04d}",
            "sample_id": f"r{i:04d}",
            "prompt": f"Question {i}",
            "output": f"Answer {i}",
            **more,
        }
        for i in range(n)
    ]


def critique(text: str) -> list[dict[str, Any]]:
    value = {"text": [text]}
    entry = {"id": "c", "from_name": "critique", "to_name": "output", "type": "textarea", "origin": "manual"}
    return [{**entry, "value": value}]


class Desk:
    """A folder that asks people, and the people who answer there through the API."""

    def __init__(self, studio: Any, folder: Path) -> None:
        self.studio, self.folder = studio, folder
        self.source = LabelStudio()
        self.rows = rows(4)
        self._clients: dict[str, httpx.Client] = {}

    def client(self, person: str = "") -> httpx.Client:
        if person not in self._clients:
            self._clients[person] = self.studio.client(self.studio.person(person).key if person else None)
        return self._clients[person]

    def close(self) -> None:
        if (self.folder / "project.json").exists():
            self.client().delete(f"/api/projects/{self.project}")
        for client in self._clients.values():
            client.close()

    @property
    def noted(self) -> dict[str, Any]:
        return json.loads((self.folder / "project.json").read_text(encoding="utf-8"))

    @property
    def project(self) -> int:
        return int(self.noted["project"])

    def ask(self) -> None:
        self.source.push(self.rows, JOB, 0, self.folder)

    def pull(self) -> list[dict[str, Any]]:
        return list(self.source.pull(self.rows, JOB, 0, self.folder))

    def wait(self) -> Waiting:
        with pytest.raises(Waiting) as found:
            self.pull()
        return found.value

    def tasks(self) -> dict[str, dict[str, Any]]:
        """Tasks on the server by ilf_id, as another client sees them."""
        params = {"project": self.project, "page_size": 1000, "fields": "all"}
        found = self.client().get("/api/tasks", params=params).raise_for_status().json()["tasks"]
        by_item = {task["data"]["ilf_id"]: task for task in found}
        assert len(by_item) == len(found), "no task is there twice"
        return by_item

    def task(self, index: int) -> int:
        return int(self.tasks()[item_id(JOB, self.rows[index]["id"])]["id"])

    def say(self, index: int, text: str = "Wrong.", person: str = "ann", **how: Any) -> int:
        body = {"result": critique(text), "lead_time": 10.0, **how}
        found = self.client(person).post(f"/api/tasks/{self.task(index)}/annotations/", json=body)
        return int(found.raise_for_status().json()["id"])

    def edit(self, annotation: int, text: str, person: str = "ann") -> None:
        found = self.client(person).patch(f"/api/annotations/{annotation}/", json={"result": critique(text)})
        found.raise_for_status()

    def take_back(self, annotation: int, person: str = "ann") -> None:
        self.client(person).delete(f"/api/annotations/{annotation}/").raise_for_status()

    def name(self, person: str) -> str:
        from ilf.label_studio.events import pseudonym

        return pseudonym(self.folder, self.studio.person(person).id)
