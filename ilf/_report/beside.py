"""The further axes and the table of all pairs, as the page shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ilf._report.axis import Axis
from ilf._report.figures import Json, corrected_p, difference, number, plain, probability, signed
from ilf._report.telling import Cast

#: Verdict on an axis -> (sign, words).
JUDGED = {
    "better": ("\u2713", "better"),
    "worse": ("\u2717", "worse"),
    "none": ("\u25cb", "no difference seen"),
    "unsettled": ("?", "unsettled"),
    "unknown": ("\u2013", "not measured"),
}
#: Arms of the table of all pairs that stand open.
MOST_PAIRS = 12


def axes_view(cast: Cast) -> dict[str, Any]:
    """``{"axes", "telling", "rest", "missing"}``: columns, rows (arm, a cell per axis), what is missing."""
    every = cast.result.get("axes") or []
    measured = [axis for axis in every if axis.get("rows")]
    columns = [{**axis, "scale": Axis.over(axis["rows"], "difference", also=(0.0,))} for axis in measured]
    names = list(dict.fromkeys(str(row["arm"]) for axis in measured for row in axis["rows"]))
    rows = {name: [_cell(axis, name) for axis in columns] for name in names}
    shown = [name for name in cast.shown if name in rows]
    return {
        "axes": columns,
        "telling": [(name, rows[name]) for name in shown],
        "rest": [(name, cells) for name, cells in rows.items() if name not in shown],
        "numbers": [
            (axis, row)
            for axis in columns
            for row in axis["rows"]
            if "difference" in row or row.get("after_reason")
        ],
        "missing": [(axis, _missing(axis)) for axis in every if not axis.get("rows")],
        "guessed": guessed(cast.result),
    }


def _missing(axis: Json) -> str:
    return f"not measurable: {axis['reason']}" if axis.get("reason") else "not measurable"


def guessed(result: Json) -> list[tuple[Json, str]]:
    """(axis, words) of every axis on which an arm's score is not measurable, being too near to chance."""
    found = []
    for axis in result.get("axes") or []:
        rows = axis.get("rows") or []
        near = [row for row in rows if row.get("after_reason")]
        if near:
            whom = (
                f"any of {len(rows)} arms"
                if len(near) == len(rows) > 1
                else f"{len(near)} of {len(rows)} arms"
            )
            words = f"not measurable for {whom}; {near[0]['arm']}: {near[0]['after_reason']}"
            found.append((axis, words))
    return found


def _cell(axis: Json, name: str) -> dict[str, Any] | None:
    row = next((row for row in axis["rows"] if str(row["arm"]) == name), None)
    if row is None:
        return None
    verdict = str(row.get("verdict") or "")
    mark, words = JUDGED.get(verdict, ("", ""))
    change = number(row.get("difference"))
    arrow = "" if change is None else "\u2191" if change > 0 else "\u2193" if change < 0 else "="
    mde = number(row.get("mde"))
    seen = f"; could have seen {plain(mde)}" if verdict == "none" and mde is not None else ""
    p = probability(corrected_p(row))
    tip = f"{name}, {axis['axis']}: {difference(row)}, p {p}{seen}; {words}"
    near = {key: "not measurable" for key in ("before", "after") if row.get(f"{key}_reason")}
    return {
        "row": row,
        "verdict": verdict,
        "mark": mark,
        "words": words,
        "arrow": arrow,
        "tip": tip,
        "ends": {key: near.get(key) or plain(row.get(key), 2) for key in ("before", "after")},
        "reason": row.get("after_reason") or row.get("before_reason"),
        "scale": axis["scale"],
    }


def wins_view(cast: Cast) -> dict[str, Any] | None:
    """``{"telling", "rest", "scale"}``: rows of win rates, the highest first; None where there are none."""
    rows = [row for row in (cast.result.get("preferences") or {}).get("arms") or [] if row.get("win")]
    scale = Axis.over(
        [each for row in rows for each in (row["win"], row.get("equal_length"))], "rate", (0.5,)
    )
    if scale is None:
        return None
    rows = sorted(rows, key=lambda row: -(number(row["win"].get("rate")) or 0.0))
    return {
        "telling": [row for row in rows if str(row["arm"]) in cast.shown],
        "rest": [row for row in rows if str(row["arm"]) not in cast.shown],
        "scale": scale,
    }


def pairs_view(cast: Cast) -> dict[str, Any] | None:
    """``{"open", "all", "groups", "left_out", "whole"}``: the open table, the whole one, and the ties."""
    beaten = cast.result.get("beaten") or {}
    names = [str(name) for name in beaten.get("arms") or []]
    if len(names) < 2:
        return None
    shown = [name for name in names if name in cast.shown][:MOST_PAIRS]
    first = shown if len(shown) > 1 else names[:MOST_PAIRS]
    letters = {str(name): text for name, text in (beaten.get("letters") or {}).items()}
    return {
        "open": _square(beaten, names, first, letters),
        "all": _square(beaten, names, names, letters) if len(names) > len(first) else None,
        "groups": _lettered(beaten.get("groups") or []),
        "left_out": beaten.get("left_out"),
        "whole": len(names),
    }


def _square(
    beaten: Json, names: Sequence[str], kept: Sequence[str], letters: Mapping[str, str]
) -> dict[str, Any]:
    index = {name: i for i, name in enumerate(names)}
    rows = []
    for name in kept:
        a = index[name]
        cells = [
            None
            if name == other
            else _pair(beaten["differences"][a][index[other]], beaten["p_holm"][a][index[other]])
            for other in kept
        ]
        rows.append({"name": name, "letters": letters.get(name, ""), "cells": cells})
    return {"names": list(kept), "rows": rows}


def _pair(size: object, p: object) -> dict[str, str]:
    known, chance = number(size), number(p)
    if known is None or chance is None:
        return {"kind": "unknown", "mark": "\u2013", "size": signed(size, 2), "p": "-"}
    if chance >= 0.05:
        return {"kind": "none", "mark": "\u25cb", "size": signed(known, 2), "p": probability(chance)}
    kind, mark = ("more", "\u25b2") if known > 0 else ("less", "\u25bc")
    return {"kind": kind, "mark": mark, "size": signed(known, 2), "p": probability(chance)}


def _lettered(groups: Sequence[Sequence[object]]) -> list[tuple[str, list[str]]]:
    """(letter, arms) of every group of two arms or more that are not told apart."""
    named = ((_letter(at), [str(name) for name in group]) for at, group in enumerate(groups))
    return [(letter, names) for letter, names in named if len(names) > 1]


def _letter(at: int) -> str:
    """The name of a group by its place: a ... z, then aa, ab ..."""
    name = ""
    while at >= 0:
        name, at = chr(ord("a") + at % 26) + name, at // 26 - 1
    return name
