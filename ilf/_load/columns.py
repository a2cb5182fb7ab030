"""From a source's records to rows of our columns: the mapping, the conversions, and the checks of one row."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ilf._load.mapping import Absent, Read, at, column, key, reader
from ilf.errors import nearest
from ilf.protocols import Row
from ilf.records import COLUMNS, problem_of

_SURROGATE = re.compile("[\ud800-\udfff]")
#: Kinds of columns whose CSV cells hold JSON.
_JSON_KINDS = ("number", "list of texts", "list of numbers", "list of groups")


@dataclass(frozen=True)
class Plan:
    """How records become rows; the settings of the same names of ``load``."""

    columns: Mapping[str, str | Sequence[str]] | None = None
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    where: Mapping[str, Any] = field(default_factory=dict)
    strip_prefix: Mapping[str, str] = field(default_factory=dict)
    newlines: str = "keep"
    clip: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def targets(self, first: Mapping[str, Any]) -> list[str]:
        """The rows' columns, given the first record; an ``id`` of the source becomes ``source_id``."""
        names = [*(first if self.columns is None else self.columns), *self.constants]
        return list(dict.fromkeys("source_id" if name == "id" else name for name in names))

    def problems(self) -> Iterator[str]:
        """What is wrong with the settings themselves, before anything is read."""
        if self.columns is not None:
            yield from self._mapping_problems({*self.columns, *self.constants})
            twice = [name for name in self.constants if name in self.columns]
            yield from (f"constants: '{name}' is mapped as well." for name in twice)
        if "prompt" in self.optional:
            yield "optional: every row needs a prompt."
        for name, value in self.constants.items():
            problem = problem_of(name, value)
            if problem:
                yield f"constants: {problem}"
        for name, bounds in self.clip.items():
            if len(bounds) != 2 or bounds[0] > bounds[1]:
                yield f"clip.{name}: {list(bounds)} must be [low, high]."

    def _mapping_problems(self, known: set[str]) -> Iterator[str]:
        if "prompt" not in known:
            yield f"columns: maps no 'prompt'.{nearest('prompt', known)}"
        used: dict[str, Any] = {
            "values": self.values,
            "optional": self.optional,
            "strip_prefix": [*self.strip_prefix, *self.strip_prefix.values()],
            "clip": self.clip,
        }
        for setting, names in used.items():
            for name in (n for n in names if n not in known):
                yield f"{setting}: '{name}' is no mapped column.{nearest(name, known)}"


@dataclass
class Converter:
    """Turns records into rows; ``first`` is the first record, ``counts`` says what had to be changed."""

    plan: Plan
    first: Mapping[str, Any]
    is_csv: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    _prompt_type: type | None = None

    @cached_property
    def readers(self) -> dict[str, Read]:
        """Column of the row -> how to read it; without a mapping the columns keep their names."""
        if self.plan.columns is None:
            return {name: column(name) for name in self.first}
        return {target: reader(source) for target, source in self.plan.columns.items()}

    def header_problems(self) -> dict[str, str]:
        """Mapped columns that the first record lacks, and why: said once here, not again for every row."""
        problems = {}
        for target, read in self.readers.items():
            try:
                read(self.first)
            except Absent as absent:
                if target not in self.plan.optional:
                    problems[target] = f"{absent} (mapped to '{target}')"
            except TypeError:
                continue
        for path in self.plan.where:
            try:
                at(self.first, path)
            except Absent as absent:
                problems[f"where.{path}"] = f"{absent} (in where)"
        if "prompt" not in self.readers and "prompt" not in self.plan.constants:
            example = next(iter(self.first), "post")
            problems["prompt"] = (
                f"has no column 'prompt'; map one, for example columns: {{prompt: {example}}}"
            )
        return problems

    def convert(self, record: Mapping[str, Any]) -> tuple[Row, list[str]]:
        """A row and what is wrong with it; the row is of use only where nothing is."""
        row: Row = {}
        problems: list[str] = []
        for target, read in self.readers.items():
            name = "source_id" if target == "id" else target
            row[name] = None
            try:
                row[name], problem = self._value(target, read(record))
            except Absent as absent:
                problem = None if target in self.plan.optional else str(absent)
            except TypeError as error:
                problem = str(error)
            problems += [problem] if problem else []
        if self.plan.columns is None:
            more = [name for name in record if name not in self.readers]
            problems += [f"has column '{name}', which the first row lacks" for name in more]
        for name, prefix in self.plan.strip_prefix.items():
            problems += self._strip(row, name, prefix)
        problems += [*_ranking_problem(row), *self._prompt_problem(row)]
        return {**row, **self.plan.constants}, problems

    def _prompt_problem(self, row: Row) -> list[str]:
        """Strings and message lists never mix: datasets and TRL take one or the other."""
        kind = type(row.get("prompt"))
        if kind not in (str, list):
            return []
        self._prompt_type = self._prompt_type or kind
        words: dict[type, str] = {str: "text", list: "messages"}
        return (
            []
            if kind is self._prompt_type
            else [f"'prompt' is {words[kind]}, in rows before it {words[self._prompt_type]}"]
        )

    def _value(self, target: str, value: Any) -> tuple[Any, str | None]:
        kind = COLUMNS.get(target)
        value = self._clean(value)
        if target in self.plan.values and value is not None:
            table = self.plan.values[target]
            if key(value) not in table:
                return (
                    value,
                    f"'{target}' is not in values.{target} ({value!r:.60}){nearest(key(value), table)}",
                )
            value = table[key(value)]
        if self.is_csv:
            value = _from_cell(value, kind)
        if isinstance(value, float) and math.isnan(value):
            value = None
        if kind == "str" and isinstance(value, int):
            value = str(value)  # people number their annotators
        value = self._clipped(target, value)
        return value, self._problem(target, kind, value)

    def _problem(self, target: str, kind: str | None, value: Any) -> str | None:
        # With a mapping every column was asked for by name; without one only ours have to hold something.
        is_wanted = target not in self.plan.optional and (kind is not None or self.plan.columns is not None)
        if value is None or _is_blank(value):
            return f"'{target}' is empty" if is_wanted else None
        if target == "seconds" and isinstance(value, (int, float)) and value < 0:
            return f"'seconds' is negative ({value})"
        return problem_of(target, value)

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            if not value.isascii() and _SURROGATE.search(value):
                # Half an emoji from a broken export: no tokenizer takes it, and no parquet file.
                self.counts["texts with lone surrogates, replaced by U+FFFD"] += 1
                value = _SURROGATE.sub("\ufffd", value)
            if self.plan.newlines == "unix" and "\r" in value:
                self.counts["texts with CR LF line ends, made LF"] += 1
                value = value.replace("\r\n", "\n").replace("\r", "\n")
            return value
        if isinstance(value, (list, tuple)):
            return [self._clean(item) for item in value]
        if isinstance(value, dict):
            cleaned = {name: self._clean(item) for name, item in value.items()}
            # A dataset gives every message the keys of all messages, None where there was none.
            return {k: v for k, v in cleaned.items() if v is not None} if "role" in cleaned else cleaned
        return value

    def _clipped(self, target: str, value: Any) -> Any:
        bounds = self.plan.clip.get(target)
        if bounds is None or not isinstance(value, (int, float)):
            return value
        clipped = min(max(value, bounds[0]), bounds[1])
        if clipped != value:
            self.counts[f"values of '{target}' clipped to {bounds[0]:g}..{bounds[1]:g}"] += 1
        return clipped

    def _strip(self, row: Row, name: str, prefix: str) -> list[str]:
        text, start = row.get(name), row.get(prefix)
        if not isinstance(text, str) or not isinstance(start, str):
            return []
        if not text.startswith(start):
            return [f"'{name}' does not begin with its '{prefix}'"]
        row[name] = text[len(start) :]
        is_empty = not row[name].strip() and name not in self.plan.optional
        return [f"'{name}' is empty behind its '{prefix}'"] if is_empty else []


def _from_cell(value: Any, kind: str | None) -> Any:
    """A CSV cell as a value of its column's kind; one that does not parse stays text and fails the check."""
    if not isinstance(value, str):
        return value
    if not value:
        return None
    is_messages = kind == "text or messages" and re.match(r'\[\s*\{\s*"', value)
    if not is_messages and kind not in _JSON_KINDS:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _is_blank(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, list):
        last = value[-1] if value else None
        if isinstance(last, dict) and "role" in last:
            return not str(last.get("content", "")).strip()
        return not value
    return False


def _ranking_problem(row: Row) -> list[str]:
    ranking, outputs = row.get("ranking"), row.get("outputs")
    if not isinstance(outputs, list) or not ranking or problem_of("ranking", ranking):
        return []
    if sorted(i for group in ranking for i in group) == list(range(len(outputs))):
        return []
    return [f"'ranking' must name each of the outputs once ({ranking!r:.60} for {len(outputs)} outputs)"]
