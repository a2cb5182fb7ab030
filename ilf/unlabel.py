"""unlabel: the same samples without a word of what people said: rows for a control that costs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ilf.protocols import Row
from ilf.records import OF_ANNOTATION, SAID, check, without

#: Rows of one sample become one, so an unfinished step starts again.
WINDOW = None

#: Columns that no later step finds any more.
REMOVES = frozenset(column for said in SAID.values() for column in said) | frozenset(OF_ANNOTATION)


def columns(arguments: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that are read, and those that are added: none."""
    return ("id",), ()


def unlabel(rows: Iterable[Row], *, done: int = 0) -> Iterator[Row]:
    """Yields every sample once, as it was before anybody was asked about it.

    A control that must cost no human time uses the treatment's rows (Scheurer et al. 2023, section 4: the
    arms are tuned on the same posts) and reads nothing that was said. The ``id`` is the sample's again, so
    that seeds drawn from it are those of a row that nobody annotated.
    """
    seen = set()
    for row in rows:
        check([row], ("id",), "unlabel")
        name = row.get("sample_id") or row["id"]
        if name not in seen:
            seen.add(name)
            bare = without(row, *REMOVES)
            if "outputs" in row:  # a reason for a ranking had put the loser there
                bare["output"] = row["outputs"][0]
            yield {**bare, "id": name}
