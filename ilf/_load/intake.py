"""The intake: every row of a source is read, converted and checked before the first one is handed on."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ilf._load.columns import Converter, Plan
from ilf._load.mapping import Absent, kept
from ilf._load.sources import Source
from ilf._load.spool import Spool
from ilf._load.texts import Bad
from ilf.errors import DataError
from ilf.protocols import Row
from ilf.records import COLUMNS, digest, dumps, line, row_id, seed_of, without

#: Problems that are shown in full; all are counted.
SHOWN = 20
#: Kinds of problems that are told apart.
_KINDS = 100
#: Names of rows, and a world's truth: no part of what a row says, so not of its content hash.
_NAMES = ("id", "source_id", "sample_id", "annotation_id", "facts")
_LOG = logging.getLogger("ilf.load")


@dataclass
class Problems:
    """The first problems in full, all of them counted by kind; memory does not grow with their number."""

    shown: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    n_rows: int = 0

    def add(self, place: str, found: list[str]) -> None:
        """Counts a row's problems."""
        self.n_rows += 1
        for problem in found:
            # The kind is the text before its details, which stand in brackets or behind a comma.
            kind = problem.split(" (")[0].split(",")[0].rstrip(".")
            self.kinds[kind if kind in self.kinds or len(self.kinds) < _KINDS else "other problems"] += 1
            if len(self.shown) < SHOWN:
                self.shown.append(f"{place}: {problem}")

    @property
    def summary(self) -> str:
        """How many of which kind."""
        return ", ".join(f"{count} x {kind}" for kind, count in self.kinds.most_common(SHOWN))

    def message(self, source: str, n_read: int) -> str:
        """All of it, for a person."""
        total = self.kinds.total()
        more = [f"... and {total - len(self.shown)} more"] if total > len(self.shown) else []
        return (
            f"{source}: {total} problem(s), rows with one: {self.n_rows} of {n_read}; nothing was loaded:\n"
            + "".join(f"  {text}\n" for text in (*self.shown, *more))
            + f"In all: {self.summary}."
        )


@dataclass
class Intake:
    """Reads a source to its end, or to the first ``n`` good rows, into a spool."""

    source: Source
    plan: Plan
    spool: Spool
    job: str | None = None
    part: tuple[float, float] = (0.0, 1.0)
    shuffle_seed: int | None = None
    problems: Problems = field(default_factory=Problems)
    counts: Counter[str] = field(default_factory=Counter)
    n_read: int = 0
    _converter: Converter | None = None
    _header: list[str] = field(default_factory=list)

    def run(self, n: int | None, *, drop: bool) -> None:
        """Takes in the rows; raises DataError with all problems, or where there are fewer than ``n`` rows."""
        for place, record in self.source.records():
            # Shuffled, the first n are only known at the end.
            if self.spool.n_rows == n and self.shuffle_seed is None:
                break
            self.n_read += 1
            found = self._take(place, record)
            if found:
                self.problems.add(place, found)
        self._report(drop=drop)
        if not self.spool.n_rows or (n is not None and self.spool.n_rows < n):
            wanted = f"{n} rows were asked for" if n is not None else "there is no row"
            raise DataError(f"{self.source.name}: {wanted}: {self._told()}. Change n, where or part.")

    def _take(self, place: str, record: dict[str, Any] | Bad) -> list[str]:
        """Takes in one row, or leaves it out as asked; returns what is wrong with it."""
        if isinstance(record, Bad):
            return [str(record)]
        converter = self._converter or self._start(record)
        try:
            is_kept = kept(record, self.plan.where)
        except Absent as absent:
            return [] if self._header else [str(absent)]
        if not is_kept:
            self.counts["rows left out by where"] += 1
            return []
        converter.counts.clear()
        row, found = converter.convert(record)
        if found or self._header:
            return found
        if not self._is_in_part(row):
            self.counts["rows of other parts"] += 1
            return []
        found = self._keep(row, place)
        if not found:
            self.counts.update(converter.counts)
        return found

    def _start(self, first: Mapping[str, Any]) -> Converter:
        self._converter = converter = Converter(self.plan, first, self.source.is_csv)
        self._header = list(converter.header_problems().values())
        for target in converter.header_problems():
            converter.readers.pop(target, None)
        return converter

    def _is_in_part(self, row: Row) -> bool:
        # By the prompt, so that one prompt never stands on both sides of a division.
        low, high = self.part
        return self.part == (0.0, 1.0) or low <= int(digest(row["prompt"], 13), 16) / 16**13 < high

    def _keep(self, row: Row, place: str) -> list[str]:
        try:
            row = named(row, self.job)
            written = line(row)
        except (ValueError, TypeError, RecursionError):
            return [f"'{name}' cannot be stored as JSON ({why})" for name, why in _unstorable(row)]
        if row.get("source_id") is not None:
            before = self.spool.seen_at(["source_id", row["source_id"]], place)
            if before is not None:
                return [f"'id' is taken ({row['source_id']!r:.60} also names {before})"]
        said = {name: row[name] for name in COLUMNS if name in row and name not in (*_NAMES, "seconds")}
        before = self.spool.seen_at(said, place)
        if before is not None:
            return [f"is a duplicate (says the same as {before}: {', '.join(said)})"]
        rank = None if self.shuffle_seed is None else seed_of(self.shuffle_seed, "load", row["id"])
        self.spool.add(written, rank)
        return []

    def _report(self, *, drop: bool) -> None:
        if self._header:
            # Not a fault of rows, so dropping rows does not mend it; the rows' own problems are told along.
            self.problems.shown[:0] = [f"{self.source.name}: {text}" for text in self._header]
            self.problems.kinds.update(self._header)
        if self.problems.kinds and (self._header or not drop):
            hint = "Mend them, " if self._header else "Mend them, load the other rows with on_problem: drop, "
            message = self.problems.message(self.source.name, self.n_read)
            raise DataError(f"{message}\n{hint}or name columns that may be empty in optional.")
        # Where rows are left out or texts changed, it is seen without any logging being set up.
        level = logging.WARNING if self.counts or self.problems.n_rows else logging.INFO
        _LOG.log(level, "%s: %s", self.source.name, self._told())

    def _told(self) -> str:
        counts = dict(self.counts)
        if self.problems.n_rows:
            counts[f"rows dropped ({self.problems.summary})"] = self.problems.n_rows
        details = "".join(f", {count} {what}" for what, count in counts.items())
        return f"{self.spool.n_rows} of {self.n_read} rows{details}"


def named(row: Row, job: str | None) -> Row:
    """The row with its ``id``, a hash of its content, and names for its sample and its annotation."""
    name = row_id(without(row, *_NAMES))
    first: Row = {"id": name}
    if ("output" in row or "outputs" in row) and "sample_id" not in row:
        outputs = row["outputs"] if "outputs" in row else [row["output"]]
        first["sample_id"] = row_id(row["prompt"], outputs)
    last = {"job": job, "annotation_id": row_id("load", name)} if job else {}
    unknown = {key: None for key in ("annotator", "seconds") if job and key not in row}
    return {**first, **row, **unknown, **last}


def _unstorable(row: Row) -> list[tuple[str, str]]:
    found = []
    for name, value in row.items():
        try:
            dumps(value)
        except (ValueError, TypeError, RecursionError) as error:
            found.append((name, str(error)))
    return found
