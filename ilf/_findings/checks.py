"""What a reader must not miss: arms that bought nothing, got worse, or paid for a gain on another axis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ilf._compare.terms import ROLES
from ilf._findings.axes import PREFERENCE
from ilf._findings.contrasts import verdict

if TYPE_CHECKING:
    from ilf._compare.terms import Comparison

Json = Mapping[str, Any]


def flags(comparison: Comparison, arms: Sequence[Json], axes: Sequence[Json]) -> list[dict[str, Any]]:
    """``{"kind", "arm", ...}`` of every arm that a reader is warned of, the gravest kind first.

    ``worse_than_base``: below the model that nobody trained. ``nothing_bought``: paid for, and not shown to
    be above the same loop without feedback (or its own control): so critiques that were shuffled, or rankings
    that were turned round, stand out under any name. ``traded``: better on preference and worse on another
    axis. An arm that plays the part of a control is expected to do so, and is not named.
    """
    roles = {name for name in comparison.controls.values() if name}
    tried = [row for row in arms if not row["is_control"] and row["of"] not in roles]
    found: list[dict[str, Any]] = []
    for row in tried:
        vs = row.get("vs_base")
        if verdict(vs) == "less":
            found.append({"kind": "worse_than_base", "arm": row["arm"], "contrast": vs})
    sunk = {flag["arm"] for flag in found}
    for row in tried:
        vs = row.get("vs_free") or row.get("vs")
        if row["human_seconds"] and row["arm"] not in sunk and verdict(vs) != "more":
            found.append({"kind": "nothing_bought", "arm": row["arm"], "contrast": vs})
    found += _traded(tried, axes)
    return found


def _traded(arms: Sequence[Json], axes: Sequence[Json]) -> Iterator[dict[str, Any]]:
    verdicts = {(axis["axis"], row["arm"]): row for axis in axes for row in axis["rows"] if "verdict" in row}
    others = dict.fromkeys(axis["axis"] for axis in axes if axis["axis"] != PREFERENCE)
    for row in arms:
        preferred = verdicts.get((PREFERENCE, row["arm"]), {})
        for axis in others:
            beside = verdicts.get((axis, row["arm"]), {})
            if preferred.get("verdict") == "better" and beside.get("verdict") == "worse":
                yield {"kind": "traded", "arm": row["arm"], "axis": axis, "contrast": beside}


def control_rows(comparison: Comparison, arms: Sequence[Json]) -> list[dict[str, Any]]:
    """Per control what it takes away, where it got, and which arms were paid for and are not above it.

    ``arm`` is None where the control was switched off, or could not be told from the recipe (``reason``).
    """
    by_name = {row["arm"]: row for row in arms}
    table = []
    for role, what in ROLES.items():
        names = [row["arm"] for row in arms if row["of"] == comparison.controls.get(role)]
        for name in names or [None]:
            entry: dict[str, Any] = {"control": role, "what": what, "arm": name}
            if name is None:
                is_off = role in comparison.controls
                entry["reason"] = "switched off" if is_off else "the recipe has no steps for it"
            else:
                row = by_name[name]
                entry |= {key: row[key] for key in ("grade", "low", "high", "budget", "human_seconds")}
                entry["vs_base"] = row.get("vs_base")
            table.append(entry)
    return table
