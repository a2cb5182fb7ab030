"""Feedback that people write into a file."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ilf.errors import DataError, UsageError, Waiting, listed
from ilf.files import write_whole
from ilf.protocols import Row
from ilf.records import dumps, problem_of, row_id

_FIELD = {"critique": "critique", "rank": "ranking", "demonstrate": "completion"}
_SHOWN = {"critique": ("prompt", "output"), "rank": ("prompt", "outputs"), "demonstrate": ("prompt",)}
#: Characters that editors show as the end of a line, and halves of broken emoji: written as \uXXXX.
_ESCAPED = re.compile("[\x85\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True)
class JsonlFile:
    """A JSON-lines file that people fill in: the first run writes the questions, later runs read the answers.

    One line per question with its ``id``. The answer goes into ``critique`` (or ``ranking``, ``completion``),
    who and how long into ``annotator`` and ``seconds``. Several lines with one id are several annotations.
    """

    path: str
    seconds: float | None = None
    """Seconds of an answer whose line has none; without it they stay unknown (None)."""

    revision: ClassVar[int] = 1
    jobs: ClassVar[tuple[str, ...]] = tuple(_FIELD)

    def __post_init__(self) -> None:
        """Refuses seconds that are no time."""
        if problem := _no_time(self.seconds):
            raise UsageError(f"jsonl_file: {problem}.")

    def price(self, job: str, n_outputs: int) -> float:
        """Medians of Scheurer et al. 2023: comparison 61.5 s, critique 182.5 s, demonstration 195.5 s."""
        if self.seconds is not None:
            return self.seconds
        medians = {"critique": 182.5, "rank": 61.5 * max(n_outputs - 1, 1), "demonstrate": 195.5}
        return medians[job]

    def push(self, rows: Sequence[Row], job: str, seed: int, folder: Path) -> None:
        """Adds the questions that the file does not hold yet; what people wrote keeps its bytes."""
        known = {entry["id"] for _, entry in self._entries() if _FIELD[job] in entry}
        asked = []
        for row in rows:
            if row["id"] not in known:
                known.add(row["id"])
                shown = {column: row[column] for column in _SHOWN[job]}
                blank: Any = [] if job == "rank" else ""
                asked.append({"id": row["id"], **shown, _FIELD[job]: blank, "annotator": "", "seconds": None})
        if asked:
            self._append("".join(map(_line, asked)))

    def _append(self, text: str) -> None:
        path = Path(self.path).resolve()  # a link stays a link
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_whole(path, text)
            return
        mode = path.stat().st_mode & 0o777
        before = path.read_bytes().decode("utf-8")
        write_whole(path, before + ("" if before.endswith("\n") or not before else "\n") + text)
        path.chmod(mode)  # annotators of one group may all write into it

    def pull(self, rows: Sequence[Row], job: str, seed: int, folder: Path) -> Iterator[Row]:
        """The answers in the order of the rows; Waiting while some rows have none, DataError for bad ones."""
        asked = {row["id"]: len(row.get("outputs", ())) for row in rows}
        answers: dict[str, list[dict[str, Any]]] = {}
        problems = []
        for number, entry in self._entries():
            if not _is_blank(entry.get(_FIELD[job])):
                answers.setdefault(entry["id"], []).append(entry)
                found = _problem(entry, job, asked.get(entry["id"]))
                problems += [f"{self.path}: line {number}: {found}"] if found else []
        if problems:
            raise DataError(f"{len(problems)} answer(s) cannot be used:\n{listed(problems)}")
        if missing := asked.keys() - answers.keys():
            raise Waiting(
                self._waiting(job, len(asked) - len(missing), len(asked), len(answers.keys() - asked.keys()))
            )
        for row in rows:
            yield from self._annotated(row, answers[row["id"]], job)

    def _waiting(self, job: str, answered: int, asked: int, others: int) -> str:
        stray = (
            f" {others} answered line(s) there belong to other rows (another model, seed or n)."
            if others
            else ""
        )
        return (
            f"{answered} of {asked} rows are answered in {self.path}.{stray} "
            f"Fill in '{_FIELD[job]}' on the other lines, then run the same command again."
        )

    def _annotated(self, row: Row, entries: Sequence[dict[str, Any]], job: str) -> Iterator[Row]:
        times: Counter[str] = Counter()
        for entry in entries:
            annotator = str(entry.get("annotator") or "anonymous")
            said = row_id("file", job, row["id"], annotator, dumps(entry[_FIELD[job]]))
            # Two people without a name may say the same; each of them took time.
            annotation = row_id(said, times[said]) if times[said] else said
            times[said] += 1
            seconds = entry.get("seconds")
            yield {
                **row,
                "id": row_id(row["id"], annotation),
                "annotation_id": annotation,
                "job": job,
                "annotator": annotator,
                "seconds": seconds if seconds is not None else self.seconds,
                _FIELD[job]: entry[_FIELD[job]],
            }

    def _entries(self) -> list[tuple[int, dict[str, Any]]]:
        """(line number, entry) of every line that is not blank."""
        path = Path(self.path)
        if not path.exists():
            return []
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}: is not UTF-8 (byte {error.start}). Save it as UTF-8; nothing was changed."
            ) from None
        entries, problems = [], []
        for number, line in enumerate(
            text.split("\n"), start=1
        ):  # not splitlines: U+2028 may stand in a text
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
            except ValueError as error:
                problems.append(f"{path}: line {number} is not JSON ({error})")
                continue
            if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
                problems.append(f"{path}: line {number} has no 'id'")
                continue
            entries.append((number, entry))
        if problems:
            raise DataError(
                f"{len(problems)} line(s) cannot be read; nothing was changed:\n{listed(problems)}\n"
                "Mend or remove them, then run the same command again."
            )
        return entries


def _line(entry: dict[str, Any]) -> str:
    text = json.dumps(entry, ensure_ascii=False, allow_nan=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def _is_blank(value: Any) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


def _problem(entry: dict[str, Any], job: str, n_outputs: int | None) -> str | None:
    """Why an answer cannot be used, or None; ``n_outputs`` is None where the row is not asked about."""
    value = entry[_FIELD[job]]
    if problem := problem_of(_FIELD[job], value):
        hint = (
            "; write groups of indices, best first, ties in one group: [[2], [0, 1]]" if job == "rank" else ""
        )
        return problem + hint
    if job == "rank" and n_outputs is not None:
        ranked = sorted(index for group in value for index in group)
        if ranked != list(range(n_outputs)):
            return f"'ranking' must name each of the outputs 0..{n_outputs - 1} once, has {ranked}"
    return _no_time(entry.get("seconds"))


def _no_time(seconds: Any) -> str | None:
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return f"'seconds' must be number, is {type(seconds).__name__}"
    return None if math.isfinite(seconds) and seconds >= 0 else f"'seconds' must be 0 or more, is {seconds}"
