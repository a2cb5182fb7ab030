"""Rows on their way from a source to the disk, and what was seen of them, in temporary files."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from itertools import islice
from typing import Any

from ilf.protocols import Row
from ilf.records import digest


class Spool:
    """Keeps rows, their shuffled order and what was seen; 2 MiB of memory however many. Close it."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        # A database without a name is a temporary file that SQLite itself removes.
        self._index = sqlite3.connect("", isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "CREATE TABLE seen (key INTEGER PRIMARY KEY, place TEXT)",
            "CREATE TABLE shuffled (rank INTEGER, start INTEGER, PRIMARY KEY (rank, start)) WITHOUT ROWID",
            "BEGIN",
        ):
            self._index.execute(statement)
        self.n_rows = 0

    def seen_at(self, value: Any, place: str) -> str | None:
        """Where an equal value was seen first, or None; then it counts as seen at ``place``."""
        # 64 bits of its hash: two of a million different values agree with a chance below 1e-7.
        key = int(digest(value, 16), 16) - (1 << 63)
        if self._index.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, place)).rowcount:
            return None
        (first,) = self._index.execute("SELECT place FROM seen WHERE key = ?", (key,)).fetchone()
        return str(first)

    def add(self, written: bytes, rank: int | None) -> None:
        """Keeps a row's line; ``rank`` is its place in the shuffled order."""
        if rank is not None:
            self._index.execute("INSERT INTO shuffled VALUES (?, ?)", (rank, self._file.tell()))
        self._file.write(written)
        self.n_rows += 1

    def rows(self, skip: int, stop: int | None, *, shuffled: bool) -> Iterator[Row]:
        """The rows from index ``skip`` to ``stop``, in the order in which they came or a shuffled one."""
        if not shuffled:
            self._file.seek(0)
            yield from map(json.loads, islice(self._file, skip, stop))
            return
        limit = -1 if stop is None else max(0, stop - skip)
        order = "SELECT start FROM shuffled ORDER BY rank, start LIMIT ? OFFSET ?"
        for (start,) in self._index.execute(order, (limit, skip)):
            self._file.seek(start)
            yield json.loads(self._file.readline())

    def close(self) -> None:
        """Removes the temporary files."""
        self._index.close()
        self._file.close()
