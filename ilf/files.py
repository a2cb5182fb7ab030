"""Files that are whole or not there, and hashes of what they hold."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ilf.records import digest

#: Files beside, or instead of, weights that hold what people said, in their words or in words made of theirs.
WORDS = ("critiques.jsonl", "instruction.txt")


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path) -> str:
    """A hash of the names and bytes of all files in a folder; cards and hidden files do not count."""
    files = [
        p
        for p in sorted(folder.rglob("*"))
        if p.is_file()
        and p.name != "README.md"
        and not any(part.startswith(".") for part in p.relative_to(folder).parts)
    ]
    return digest([[p.relative_to(folder).as_posix(), sha256_file(p)] for p in files])


def sync(path: Path) -> None:
    """Forces a file or a folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, text: str) -> None:
    """Writes a file so that after a power cut it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)
