"""Simulated annotators at the real server: they answer the open tasks of a project through its API.

``say`` is given a task's data and returns what the person says, in words of the job:
critique: text; rank: list of grades, one per item as shown (equal ones are tied); pairwise, verdict: left,
right or tie; demonstrate: text; rate: name -> 1..5; refine: ("accept", None), ("edit", text) or
("criticise", text).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from studio import Studio

Data = dict[str, Any]


def _text(name: str, to_name: str, text: str) -> Data:
    return {"from_name": name, "to_name": to_name, "type": "textarea", "value": {"text": [text]}}


def _choice(name: str, to_name: str, choice: str) -> Data:
    return {"from_name": name, "to_name": to_name, "type": "choices", "value": {"choices": [choice]}}


def result_of(job: str, said: Any) -> list[Data]:
    """What the page of the job would submit."""
    if job == "critique":
        return [_text("critique", "output", said)]
    if job == "demonstrate":
        return [_text("demonstration", "prompt", said)]
    if job == "rank":
        return [
            {
                "from_name": f"place_{i}",
                "to_name": f"output_{i}",
                "type": "rating",
                "value": {"rating": grade},
            }
            for i, grade in enumerate(said)
        ]
    if job in ("pairwise", "verdict"):
        return [_choice("better", "left", said)]
    if job == "rate":
        return [_choice(name, "output", str(value)) for name, value in said.items()]
    decision, text = said
    extra = {"accept": [], "edit": [_text("edited", "refinement", text or "")]}.get(decision)
    extra = [_text("critique", "refinement", text or "")] if extra is None else extra
    return [_choice("decision", "refinement", decision), *extra]


def answer(
    studio: Studio,
    project: int,
    job: str,
    say: Callable[[Data], Any],
    *,
    key: str | None = None,
    seconds: float = 30.0,
    most: int | None = None,
) -> int:
    """One person answers the tasks that nobody has answered, or that this person has not; returns how many."""
    with studio.client(key) as person:
        me = person.get("/api/current-user/whoami").raise_for_status().json()["id"]
        asked = person.get(
            "/api/tasks", params={"project": project, "fields": "all", "page_size": 1000}
        ).raise_for_status()
        todo = [
            task
            for task in asked.json()["tasks"]
            if me not in [annotation["completed_by"] for annotation in task["annotations"]]
        ]
        for task in todo[:most]:
            annotation = {"result": result_of(job, say(task["data"])), "lead_time": seconds}
            person.post(f"/api/tasks/{task['id']}/annotations/", json=annotation).raise_for_status()
    return len(todo[:most])
