"""Label Studio's own JSON export, also of a project that we did not make: tasks, annotations, what they say.

Read as it is: an array of tasks, each with ``data`` and ``annotations``. Nothing here needs the client.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ilf.errors import DataError
from ilf.label_studio.rows import writer

_HOW = "Export the project again as JSON (Data Manager, Export, JSON)."
#: Keys of a task in an export of another kind.
_MIN, _CONVERTED = ("annotation_id", "lead_time"), ("answers", "paragraphs", "images")


def read_tasks(path: Path) -> list[dict[str, Any]]:
    """The tasks of a JSON export; DataError for what is none (JSON_MIN, CSV, tasks to import) says which."""
    try:
        tasks = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is no JSON, or torn ({error}). {_HOW}") from None
    if isinstance(tasks, dict) and any(key in tasks for key in _CONVERTED):
        raise DataError(f"{path}: is an export converted to another tool's format. {_HOW}")
    if not isinstance(tasks, list):
        raise DataError(f"{path}: is a JSON {type(tasks).__name__}, must be an array of tasks. {_HOW}")
    for number, task in enumerate(tasks, 1):
        if problem := _problem(task):
            raise DataError(f"{path}: task {number}: {problem} {_HOW}")
    return tasks


def _problem(task: Any) -> str | None:
    if not isinstance(task, dict):
        return f"is a JSON {type(task).__name__}, must be an object."
    if "annotations" not in task and any(key in task for key in _MIN):
        return "is in the format JSON_MIN, which does not say who skipped, and loses what a control was."
    if not isinstance(task.get("data"), dict):
        return "has no 'data'."
    if "annotations" not in task:
        return "has no 'annotations': is this a file of tasks to import?"
    found = task["annotations"]
    if not isinstance(found, list) or not all(_is_annotation(item) for item in found):
        return "'annotations' must be objects with a 'result', not ids (the short form of an export)."
    return None


def _is_annotation(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("result"), list)


def latest(task: Mapping[str, Any]) -> tuple[list[dict[str, Any]], Counter[str]]:
    """The submitted annotations of a task, the last one of each person, and how many others there are.

    The others: ``skipped``, ``empty`` (nothing was filled in), ``superseded`` (by one of the same person),
    ``drafts``.
    """
    counts: Counter[str] = Counter(drafts=len(task.get("drafts") or ()))
    by_person: dict[Any, dict[str, Any]] = {}
    order = sorted(task["annotations"], key=lambda a: (str(a.get("updated_at") or ""), a.get("id") or 0))
    for annotation in order:
        if annotation.get("was_cancelled"):
            counts["skipped"] += 1
        elif not annotation["result"]:
            counts["empty"] += 1
        else:
            # Without a known person nothing can be told to be of the same one.
            user = writer(annotation)
            key = ("annotation", annotation.get("id")) if user is None else user
            counts["superseded"] += key in by_person
            by_person[key] = annotation
    return list(by_person.values()), +counts


def values(result: Sequence[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """What an annotation's result says, by the name of the control; ``data`` is its task's.

    Texts in one control are joined by line ends; a choice is its text, several are a list; a rating is its
    number; a ranking is groups of indices into the list it ranks, best first.
    """
    found: dict[str, list[Any]] = {}
    for entry in result:
        if isinstance(entry, Mapping) and isinstance(entry.get("from_name"), str):
            value = entry.get("value")
            said = _value(str(entry.get("type")), value if isinstance(value, Mapping) else {}, data)
            found.setdefault(entry["from_name"], []).append(said)
    return {name: _together(said) for name, said in found.items()}


def _together(said: list[Any]) -> Any:
    if len(said) == 1:
        return said[0]
    return "\n".join(said) if all(isinstance(item, str) for item in said) else said


def _value(kind: str, value: Mapping[str, Any], data: Mapping[str, Any]) -> Any:
    if kind == "textarea":
        texts = value.get("text")
        texts = [texts] if isinstance(texts, str) else texts if isinstance(texts, list) else []
        return "\n".join(text for text in texts if isinstance(text, str))
    if kind == "choices":
        chosen = value.get("choices")
        return chosen[0] if isinstance(chosen, list) and len(chosen) == 1 else chosen
    if kind in ("rating", "number"):
        return value.get(kind)
    if kind == "pairwise":
        return value.get("selected")
    if kind == "ranker":
        return _groups(value.get("ranker"), data)
    return dict(value)


def _groups(ranker: Any, data: Mapping[str, Any]) -> list[list[int]] | None:
    """Groups of indices from what a Ranker stores: one list of ids, or a list of ids per bucket.

    None where an item was left without a place (they stand in "_").
    """
    if not isinstance(ranker, Mapping):
        return None
    lists = [ids for name, ids in ranker.items() if name != "_" and isinstance(ids, list) and ids]
    groups = [[item] for item in lists[0]] if len(ranker) == 1 and lists else lists
    named = [str(item) for group in groups for item in group]
    for items in data.values():
        ids = item_ids(items)
        if ids and len(set(ids)) == len(ids) and sorted(ids) == sorted(named):
            return [[ids.index(str(item)) for item in group] for group in groups]
    return None


def item_ids(items: Any) -> list[str]:
    """The ids of a list of items as Label Studio's List shows them, or none."""
    if not isinstance(items, list) or not all(isinstance(i, Mapping) and "id" in i for i in items):
        return []
    return [str(item["id"]) for item in items]


def texts_of(items: Any) -> Any:
    """A list of items (of a List or a Repeater) as the list of their texts; all else as it is."""
    if not isinstance(items, list) or not all(isinstance(i, Mapping) for i in items):
        return items
    texts = [next((i[key] for key in ("body", "text", "html", "title") if i.get(key)), None) for i in items]
    return texts if all(isinstance(text, str) for text in texts) else items
