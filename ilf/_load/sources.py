"""Where rows of one's own come from: JSON lines, CSV, parquet, a folder of them, a dataset of the hub.

Every source is read as a stream of (place, record); what cannot be read is a ``Bad`` with the reason, so
that one torn line does not hide the problems after it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilf._load.arrow import parquet, saved
from ilf._load.texts import Bad, Stream, csv_file, jsonl
from ilf.errors import ComponentError, UsageError, nearest

FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}


@dataclass(frozen=True)
class Source:
    """A readable source: ``records()`` starts from the first row each time and yields (place, record)."""

    name: str
    records: Callable[[], Stream]
    is_csv: bool = False

    def first(self) -> dict[str, Any] | None:
        """The first readable record, or None: its keys are the source's columns."""
        with contextlib.closing(self.records()) as records:
            return next((record for _, record in records if not isinstance(record, Bad)), None)


def file_source(path: str, form: str, split: str) -> Source:
    """A file, a folder of files of one format (in the order of their names), or a folder saved by datasets.

    UsageError where there is nothing to read or the format is not known.
    """
    where = Path(path)
    if not where.exists():
        beside = sorted(p.name for p in where.parent.glob("*")) if where.parent.is_dir() else []
        raise UsageError(f"path: there is no {where}.{nearest(where.name, beside)}")
    if where.is_dir() and any((where / name).exists() for name in ("dataset_dict.json", "state.json")):
        return Source(str(where), lambda: saved(where, split))
    files = _files(where, form)
    forms = {_format_of(file, form) for file in files}
    if len(forms) > 1:
        names = ", ".join(sorted(forms))
        raise UsageError(f"path: {where} holds files of several formats ({names}); name one: format")
    read = {"jsonl": jsonl, "csv": csv_file, "parquet": parquet}[forms.pop()]
    return Source(str(where), lambda: (item for file in files for item in read(file)), read is csv_file)


def export_source(path: str, said: str | None) -> Source:
    """A JSON export of Label Studio, or a folder of them: one record per annotation that holds ``said``.

    UsageError where there is nothing to read, DataError where it is no such export.
    """
    from ilf._load.annotations import annotated

    where = Path(path)
    if not where.exists():
        raise UsageError(f"path: there is no {where}.")
    files = [where] if where.is_file() else sorted(where.glob("*.json"))
    if not files:
        raise UsageError(f"path: the folder {where} holds no *.json")
    return Source(str(where), lambda: annotated(files, said))


def _files(where: Path, form: str) -> list[Path]:
    if where.is_file():
        return [where]
    endings = [ending for ending, its_form in FORMATS.items() if form in ("auto", its_form)]
    found = [file for file in sorted(where.iterdir()) if file.suffix.lower() in endings]
    if not found:
        raise UsageError(f"path: the folder {where} holds no *{', *'.join(endings)}")
    return found


def _format_of(file: Path, form: str) -> str:
    if form != "auto":
        return form
    if file.suffix.lower() not in FORMATS:
        raise UsageError(f"path: {file.name} does not tell its format; add format: jsonl, csv or parquet")
    return FORMATS[file.suffix.lower()]


def hub_source(name: str, subset: str | None, split: str, revision: str | None) -> Source:
    """A dataset of the hub, streamed; it needs the network. ComponentError where it cannot be had."""
    if Path(name).exists():
        raise UsageError(
            f"dataset: '{name}' lies on this machine; give it as path, which is hashed by content."
        )
    return Source(name, lambda: _hub(name, subset, split, revision))


def newest_commit(name: str) -> str | None:
    """The commit that a hub dataset's main branch is at, or None where the hub cannot be asked."""
    import huggingface_hub

    try:
        return huggingface_hub.HfApi().dataset_info(name, timeout=5).sha
    except Exception:  # noqa: BLE001 - no network, no such dataset, no right: in all cases there is no hint
        return None


def _hub(name: str, subset: str | None, split: str, revision: str | None) -> Stream:
    import datasets

    number = 0
    try:
        rows = datasets.load_dataset(name, subset, split=split, revision=revision, streaming=True)
        for number, record in enumerate(rows, 1):
            yield f"{name}: row {number}", dict(record)
    except Exception as error:
        raise ComponentError(
            f"dataset '{name}' (subset {subset or 'default'}, split {split}): could not be read "
            f"beyond row {number}: {type(error).__name__}: {error}\n"
            "The hub needs the network, and loading scripts are no longer supported. Without, download its "
            "files (JSON lines, CSV, parquet), or save it elsewhere with save_to_disk: path takes both."
        ) from error
