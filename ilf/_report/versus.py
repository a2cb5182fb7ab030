"""Arms against arms, as page, terminal and Markdown show them: a table per budget, and a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ilf._report.figures import Json, corrected_p, difference, number, plain, probability, sign, signed

#: Arms of a side whose pairs are told by name in the sentence; more are counted only.
_FEW = 3


def versus_view(result: Json) -> list[dict[str, Any]]:
    """Per budget ``{"budget", "columns", "rows": [{"name", "cells"}]}``; a cell has its sign and figures."""
    entries = result.get("versus") or []
    tables = []
    for budget in dict.fromkeys(entry.get("budget") for entry in entries):
        own = [entry for entry in entries if entry.get("budget") == budget]
        columns = list(dict.fromkeys(str(entry["column"]) for entry in own))
        by_pair = {(str(entry["row"]), str(entry["column"])): entry for entry in own}
        rows = [
            {"name": name, "cells": [_cell(by_pair.get((name, column))) for column in columns]}
            for name in dict.fromkeys(str(entry["row"]) for entry in own)
        ]
        tables.append({"budget": number(budget), "columns": columns, "rows": rows})
    return tables


def _cell(entry: Json | None) -> dict[str, str]:
    kind, mark, words = sign(entry)
    entry = entry or {}
    low, high = number(entry.get("low")), number(entry.get("high"))
    return {
        "kind": kind,
        "mark": mark,
        "words": words,
        "size": signed(entry.get("difference"), 2),
        "reach": "" if low is None or high is None else f"{signed(low, 2)} to {signed(high, 2)}",
        "p": probability(corrected_p(entry)),
        "mde": plain(entry.get("mde"), 2),
    }


def versus_sentences(result: Json) -> list[str]:
    """How many pairs stand each way, per budget; of a few pairs each, with its interval."""
    said = []
    for budget in dict.fromkeys(entry.get("budget") for entry in result.get("versus") or []):
        own = [entry for entry in result["versus"] if entry.get("budget") == budget]
        at = "" if number(budget) is None else f" at {plain(budget, 0)} s each"
        said.append(f"Arms against arms{at}: {_each(own) if len(own) <= _FEW else _counted(own)}.")
    return said


def _each(entries: Sequence[Json]) -> str:
    told = []
    for entry in entries:
        mde = number(entry.get("mde"))
        seen = f", could have seen {plain(mde)}" if sign(entry)[0] == "none" and mde is not None else ""
        told.append(f"{entry['row']} minus {entry['column']} {difference(entry)}{seen}")
    return "; ".join(told)


def _counted(entries: Sequence[Json]) -> str:
    kinds = [sign(entry)[0] for entry in entries]
    above, below = kinds.count("more"), kinds.count("less")
    sides = [", ".join(dict.fromkeys(str(entry[side]) for entry in entries)) for side in ("row", "column")]
    sizes = [size for entry in entries if (size := number(entry.get("difference"))) is not None]
    reach = f" (differences {signed(min(sizes))} to {signed(max(sizes))})" if sizes else ""
    level = len(entries) - above - below
    return (
        f"of {len(entries)} planned pairs {above} above, {below} below, {level} not told apart after "
        f"correction{reach}; {sides[0]} against {sides[1]}"
    )
