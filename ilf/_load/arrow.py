"""Parquet files, and folders that datasets saved, as streams of (place, record)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ilf._load.texts import Bad, Record, Stream
from ilf.errors import DataError, UsageError, nearest

#: Rows decoded at once.
BATCH = 256


def parquet(file: Path) -> Stream:
    """The rows of a parquet file, decoded batch by batch; DataError where it is none."""
    import pyarrow
    import pyarrow.parquet

    try:
        # Without these two, whole row groups are read ahead and memory grows with the file.
        table = pyarrow.parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 16)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"{file}: is not parquet ({error}).") from None
    with table:
        number = 0
        for batch in table.iter_batches(batch_size=BATCH, use_threads=False):
            for record in _batch_records(batch):
                number += 1
                yield f"{file.name}: row {number}", record


def _batch_records(batch: Any) -> Iterator[Record]:
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for index in range(batch.num_rows):
            try:
                yield from batch.slice(index, 1).to_pylist()
            except UnicodeDecodeError as error:
                yield Bad(f"is not UTF-8 ({error.reason})")


def saved(folder: Path, split: str) -> Stream:
    """The rows of a ``Dataset``, or of a split of a ``DatasetDict``, as ``save_to_disk`` writes them."""
    import datasets
    import pyarrow
    import pyarrow.ipc

    if (folder / "dataset_dict.json").exists():
        splits = [p.name for p in sorted(folder.iterdir()) if p.is_dir()]
        if split not in splits:
            known = f"{nearest(split, splits)} It has: {', '.join(splits)}"
            raise UsageError(f"split: {folder} has no '{split}'.{known}")
        folder = folder / split
    try:
        state = json.loads((folder / "state.json").read_bytes())
        files = [folder / part["filename"] for part in state["_data_files"]]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder}: is no whole dataset as save_to_disk writes it ({error!r}).") from None
    number = 0
    for file in files:
        # Not datasets.load_from_disk, which maps the files: then all of them come to stand in memory.
        with pyarrow.OSFile(str(file)) as raw, pyarrow.ipc.open_stream(raw) as batches:
            features = datasets.Features.from_arrow_schema(batches.schema)
            for batch in batches:
                for record in _batch_records(batch):
                    number += 1
                    decoded = record if isinstance(record, Bad) else features.decode_example(record)
                    yield f"{folder.name}: row {number}", decoded
