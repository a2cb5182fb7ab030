"""Critiques exchanged between rows: what a method gains under these owes nothing to the matching critique."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Literal, TypeVar

from ilf.errors import DataError
from ilf.protocols import Row
from ilf.records import dumps

log = logging.getLogger("ilf")

Critiques = Literal["own", "exchanged", "shuffled", "none"]
T = TypeVar("T", bound=Hashable)


def with_critiques(rows: Sequence[Row], critiques: Critiques, *, who: str, seed: int) -> list[Row]:
    """The rows, each with the critique that it is to be read with; the rows given stay as they are.

    ``own``: its own (and ``none``, where nobody reads it). ``exchanged``: that of another output to the same
    prompt, none keeping its own; rows whose prompt has no other output are left out, counted and logged.
    ``shuffled``: that of any other row.
    Raises DataError where nobody has a partner.
    """
    rng = random.Random(f"{who} {critiques} {seed}")
    if critiques in ("own", "none"):
        return list(rows)
    if critiques == "exchanged":
        return _exchanged(rows, who, rng)
    if len(rows) < 2:
        raise DataError(f"{who}.critiques: shuffled needs at least two rows with critiques.")
    partner = _partners(range(len(rows)), rng)
    return [{**row, "critique": rows[partner[i]]["critique"]} for i, row in enumerate(rows)]


def _exchanged(rows: Sequence[Row], who: str, rng: random.Random) -> list[Row]:
    said: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        said.setdefault(dumps(row["prompt"]), {}).setdefault(row["output"], []).append(row["critique"])
    partners = {prompt: _partners(outputs, rng) for prompt, outputs in said.items() if len(outputs) > 1}
    found: list[Row] = []
    # An output that was criticised twice takes its partner's critiques in turns.
    taken: Counter[tuple[str, str]] = Counter()
    for row in rows:
        prompt, output = dumps(row["prompt"]), row["output"]
        if prompt in partners:
            theirs = said[prompt][partners[prompt][output]]
            found.append({**row, "critique": theirs[taken[prompt, output] % len(theirs)]})
            taken[prompt, output] += 1
    if not found:
        raise DataError(
            f"{who}.critiques: exchanged needs prompts with several different outputs that were criticised, "
            "and there is none. Criticise several outputs of a prompt, or set shuffled."
        )
    left_out = len(rows) - len(found)
    if left_out:
        log.warning("%s: %d of %d rows have nobody to exchange with: left out", who, left_out, len(rows))
    return found


def _partners(items: Iterable[T], rng: random.Random) -> dict[T, T]:
    """Every item's partner: one cycle through all of them (Sattolo's algorithm), so none is its own."""
    order = list(items)
    given = order.copy()
    for i in range(len(order) - 1, 0, -1):
        j = rng.randrange(i)
        given[i], given[j] = given[j], given[i]
    return dict(zip(order, given, strict=True))
