"""Rows as a parquet file: two passes in batches, the first finds every column's type."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ilf.commands._exports import Counts, whole_characters
from ilf.errors import DataError
from ilf.protocols import Row

#: Rows of a row group, and of memory.
_BATCH = 1000


def write_parquet(rows: Sequence[Row], path: Path, counts: Counts) -> None:
    """All columns; one whose values no single type holds becomes JSON text and is named in ``counts``."""
    import pyarrow
    import pyarrow.parquet

    if not len(rows):
        raise DataError("there are no rows to export; nothing was written.")
    schema = _schema(rows, counts)
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for batch in _batches(rows, counts):
            arrays = [_array(batch, field, field.name in counts.as_json) for field in schema]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
            counts.written += len(batch)


def _batches(rows: Sequence[Row], counts: Counts) -> Iterator[list[Row]]:
    whole = (whole_characters(row, counts) for row in rows)
    while batch := list(itertools.islice(whole, _BATCH)):
        yield batch


def _array(batch: Sequence[Row], field: Any, as_json: bool) -> Any:
    import pyarrow

    values = [row.get(field.name) for row in batch]
    if as_json:
        values = [None if v is None else json.dumps(v, ensure_ascii=False) for v in values]
    return pyarrow.array(values, type=field.type)


def _schema(rows: Sequence[Row], counts: Counts) -> Any:
    import pyarrow

    kinds: dict[str, Any] = {}
    for batch in _batches(rows, Counts()):
        for name in dict.fromkeys(key for row in batch for key in row):
            if name not in kinds or kinds[name] is not None:
                kinds[name] = _unified(kinds.get(name), [row.get(name) for row in batch])
    counts.as_json = [name for name, kind in kinds.items() if kind is None]
    # A column without any value has no type of its own; text can hold its nothing.
    text = pyarrow.string()
    return pyarrow.schema(
        [
            (name, text if kind is None or pyarrow.types.is_null(kind) else kind)
            for name, kind in kinds.items()
        ]
    )


def _unified(kind: Any, values: list[Any]) -> Any:
    """The type that holds what was seen and these values, or None where there is none."""
    import pyarrow

    with contextlib.suppress(pyarrow.ArrowException, OverflowError):
        found = pyarrow.array(values).type
        schemas = [pyarrow.schema([("x", k)]) for k in (kind, found) if k is not None]
        unified = pyarrow.unify_schemas(schemas, promote_options="permissive").field("x").type
        return None if _is_unwritable(unified) else unified
    return None


def _is_unwritable(kind: Any) -> bool:
    """Parquet has no structure without fields."""
    import pyarrow

    if pyarrow.types.is_struct(kind):
        return not kind.num_fields or any(_is_unwritable(kind.field(i).type) for i in range(kind.num_fields))
    return bool(pyarrow.types.is_list(kind)) and _is_unwritable(kind.value_type)
