"""An export of Label Studio as a stream of (place, record): one record per annotation that can be used."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ilf._load.texts import Stream
from ilf.label_studio.export import latest, read_tasks, texts_of, values
from ilf.label_studio.rows import writer

_LOG = logging.getLogger("ilf.load")
_FIELD = re.compile(r"\{([^{}|]+)(?:\|strip)?\}")


def annotated(files: Sequence[Path], said: str | None) -> Stream:
    """One record per annotation: the task's data, what was said by the name of its control, who, how long.

    ``said`` is how the column reads that every row needs; annotations without it are counted, not given,
    and so are skipped ones, drafts, and earlier ones of the same person. The files are read whole.
    """
    tasks = [(file, number, task) for file in files for number, task in enumerate(read_tasks(file), 1)]
    names = {
        entry["from_name"]: None
        for _, _, task in tasks
        for annotation in task["annotations"]
        for entry in annotation["result"]
        if isinstance(entry, dict) and isinstance(entry.get("from_name"), str)
    }
    needed = [name for name in names if said and name in (said, *_FIELD.findall(said))]
    counts: Counter[str] = Counter()
    for file, number, task in tasks:
        found, others = latest(task)
        counts.update(others)
        counts["tasks without an annotation"] += not task["annotations"]
        for annotation in found:
            # A control that nobody used in this annotation has no entry: None, like an empty cell.
            record = _record(task, annotation, names)
            if any(_is_blank(record[name]) for name in needed):
                counts["empty"] += 1
                continue
            yield f"{file.name}: task {number}", record
    if told := ", ".join(f"{count} {what}" for what, count in counts.items() if count):
        _LOG.warning("%s: not used: %s", ", ".join(str(file) for file in files), told)


def _record(task: dict[str, Any], annotation: dict[str, Any], names: dict[str, None]) -> dict[str, Any]:
    data = task["data"]
    said = {**names, **values(annotation["result"], data)}
    user = writer(annotation)
    texts = {key: texts_of(value) for key, value in data.items()}
    return {
        **texts,
        **said,
        # The server's number of a person: what it stands for is known there alone.
        "annotator": None if user is None else f"user-{user}",
        "seconds": annotation.get("lead_time"),
        "data": texts,
        "said": said,
        "task": task.get("id"),
        "annotation": annotation.get("id"),
    }


def _is_blank(value: Any) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())
