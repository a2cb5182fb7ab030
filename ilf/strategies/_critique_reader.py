"""From what people say to a number, higher for better outputs: faults counted, marks, or praise expected."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ilf.errors import ComponentError, DataError, listed
from ilf.protocols import Row
from ilf.records import digest, problem_of
from ilf.strategies._critic import asked_and_said
from ilf.strategies._encode import Example, encode
from rankers import RankerError
from rankers._lm import LM, Chat, completion_logprobs, load

#: Where a clause ends: at the end of a sentence, at a semicolon, and at a comma with a word that joins.
_ENDS = re.compile(r"[.!?]+(?=\s|$)|[;\n]+|,\s+(?=(?:and|also|but|besides|yet)\b)", re.IGNORECASE)
_JOINER = re.compile(r"^(?:(?:and|also|but|besides|yet)\b[\s,]*)+", re.IGNORECASE)

#: Clauses that name no fault, in lower case, ``*`` for anything: praise, and the words that soften a fault.
PRAISE = (
    "nothing to *", "no change*", "no complaint*", "no fault*", "almost", "nearly", "sorry", "good", "great",
    "good start*", "good job*", "good work*", "good answer*", "good summary*", "great job*", "great work*",
    "great answer*", "great summary*", "very good*", "excellent*", "perfect*", "well done*", "not bad*",
    "all is well*", "looks good*", "this is good", "this is great", "i like *", "thank*",
)  # fmt: skip


@dataclass(frozen=True)
class Told:
    """A text, the number read from what was said about it, and the prompt that it belongs to."""

    text: Example
    number: float
    group: str
    is_validation: bool


def checked(rows: Sequence[Row], needs: Sequence[str], who: str) -> None:
    """DataError naming all rows that lack a column, or hold something else there, or name no known split."""
    problems = [
        f"row {i}: {problem}"
        for i, row in enumerate(rows, start=1)
        for column in needs
        if (problem := problem_of(column, row[column]) if column in row else f"has no '{column}'")
    ]
    problems += [
        f"row {i}: 'split' is {row['split']!r}, neither 'train' nor 'validation'"
        for i, row in enumerate(rows, start=1)
        if row.get("split") not in (None, "train", "validation")
    ]
    if problems:
        raise DataError(f"{who}: {len(problems)} value(s) cannot be used:\n{listed(problems)}")


def faults_named(critique: str, praise: Sequence[str]) -> int:
    """The clauses of a critique that match no pattern of ``praise``: each is taken for one fault."""
    clauses = (_JOINER.sub("", part.strip()).strip(" \t,:-–—\"'()") for part in _ENDS.split(critique))
    return sum(
        any(map(str.isalnum, clause)) and not any(fnmatchcase(clause.lower(), p) for p in praise)
        for clause in clauses
    )


def rating_of(row: Row, column: str, name: str) -> float | str:
    """The number in a column: of a mapping the one called ``name``, or their mean; else what is wrong."""
    value = row.get(column)
    if isinstance(value, dict):
        if name and name not in value:
            return f"'{column}' has no '{name}', only {', '.join(map(str, value)) or 'nothing'}"
        marks = [value[name]] if name else list(value.values())
    else:
        marks = [value]
    if not marks or not all(isinstance(m, int | float) and not isinstance(m, bool) for m in marks):
        return f"'{column}' is {value!r}, no number"
    found = sum(marks) / len(marks)
    return found if math.isfinite(found) else f"'{column}' is {found}, not finite"


def praise_expected(
    rows: Sequence[Row], template: str, praised: str, *, model: str, device: str, chat: Chat, who: str
) -> list[float]:
    """Log p(``praised`` | prompt, output) in nats under the critic ``model``, its end token included.

    NaN where a row is too long for it; ComponentError where it cannot be loaded.
    """
    try:
        critic = load(model, device=device, who=who)
    except RankerError as error:
        raise ComponentError(
            f"{error} Set {who}.model to a model that can criticise (strategy cft)."
        ) from None
    pairs = [asked_and_said(template, row, praised, critic, chat) for row in rows]
    return completion_logprobs(critic, pairs, chat=chat)


def told(
    rows: Sequence[Row], numbers: Sequence[float | str], lm: LM, *, chat: Chat, share: float, key: str
) -> list[Told]:
    """The rows' texts with their numbers; ``key`` draws the ``share`` of prompts that is held out.

    Rows may bring ``group`` and ``split`` (validation) of their own. DataError names all rows without a
    number, and prompts that are in both splits.
    """
    who = key.partition(" ")[0]
    groups = [str(row.get("group") or digest(row["prompt"], 16)) for row in rows]
    splits: dict[str, set[bool]] = {}
    for row, group in zip(rows, groups, strict=True):
        splits.setdefault(group, set()).add(row.get("split") == "validation")
    problems = [f"row {i}: {n}" for i, n in enumerate(numbers, start=1) if isinstance(n, str)]
    problems += [f"row {i}: too long for the critic" for i, n in enumerate(numbers, start=1) if n != n]
    problems += [f"prompt {g[:60]!r} is in train and in validation" for g, s in splits.items() if len(s) > 1]
    if problems:
        raise DataError(f"{who}: {len(problems)} problem(s) in the rows:\n{listed(problems)}")
    held_out = {group for group, found in splits.items() if True in found} | _held_out(groups, share, key)
    return [
        Told(encode(row["prompt"], row["output"], lm, chat=chat), float(number), group, group in held_out)
        for row, number, group in zip(rows, numbers, groups, strict=True)
    ]


def _held_out(groups: Sequence[str], share: float, key: str) -> set[str]:
    """The share of the prompts with the smallest hashes: more rows move a prompt only at the border."""
    if not share:
        return set()
    names = sorted(set(groups), key=lambda group: digest([key, group]))
    n = round(share * len(names))
    if not 0 < n < len(names):
        raise DataError(
            f"{key.partition(' ')[0]}.validation: {share} of {len(names)} prompts leaves {n} for validation "
            f"and {len(names) - n} for training. Criticise outputs of more prompts, or set validation=0."
        )
    return set(names[:n])
