"""Vectors on disk, by the content of text and encoder."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rankers._api import RankerError

if TYPE_CHECKING:
    import sqlite3

    import numpy as np

_FILE = "vectors.sqlite3"
_WAIT_SECONDS = 60.0


class VectorStore:
    """Vectors in ``folder/vectors.sqlite3``; without a folder nothing is kept.

    A key is the SHA-256 of what made the vector (weights, dtype, maximal length) and of the text, so entries
    never go stale and several encoders share a file. Processes may share it too; a broken write leaves the
    old content.
    """

    def __init__(self, folder: str | None, made_by: str) -> None:
        self._path = Path(folder) / _FILE if folder else None
        self._made_by = made_by

    def read(self, texts: Sequence[str]) -> dict[str, tuple[np.ndarray[Any, Any], bool]]:
        """Text -> (vector, whether the encoder cut the text), for the texts that are here."""
        import numpy as np

        if self._path is None or not self._path.exists():
            return {}
        found = {}
        with self._connected(self._path) as connection:
            for text in texts:
                row = connection.execute(
                    "SELECT vector, was_cut FROM vectors WHERE key = ?", (self._key(text),)
                ).fetchone()
                if row is not None:
                    found[text] = (np.frombuffer(row[0], dtype="<f4"), bool(row[1]))
        return found

    def write(self, vectors: Mapping[str, tuple[np.ndarray[Any, Any], bool]]) -> None:
        """Adds vectors, all or none; those already here stay as they are."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._connected(self._path) as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)",
                ((self._key(t), v.astype("<f4").tobytes(), was_cut) for t, (v, was_cut) in vectors.items()),
            )

    def _key(self, text: str) -> bytes:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return hashlib.sha256(f"{self._made_by}:{digest}".encode()).digest()

    @contextlib.contextmanager
    def _connected(self, path: Path) -> Iterator[sqlite3.Connection]:
        import sqlite3

        try:
            with contextlib.closing(sqlite3.connect(path, timeout=_WAIT_SECONDS)) as connection, connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS vectors "
                    "(key BLOB PRIMARY KEY, vector BLOB NOT NULL, was_cut INTEGER NOT NULL) WITHOUT ROWID"
                )
                yield connection
        except sqlite3.Error as error:
            raise RankerError(
                f"{path}: {error}; these are only kept vectors, so the file can be deleted."
            ) from error
