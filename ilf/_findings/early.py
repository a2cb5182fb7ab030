"""A look before the planned number of answers is in: estimates are shown, and no verdict is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ilf._findings.held_out import NOT_HELD_OUT


def withhold(found: dict[str, Any], look: Mapping[str, Any]) -> None:
    """Takes p values, equivalences and warnings out of a comparison's tables, and says why (``looks``)."""
    found["looks"] = dict(look)
    # Who grades whom stands in the plan, whatever the numbers will be.
    found["flags"] = [flag for flag in found["flags"] if flag["kind"] == NOT_HELD_OUT]
    found["beaten"] = None
    for contrast in _contrasts(found):
        contrast |= {"p": None, "p_holm": None, "same": None, "mde": None, "early": True}
        if "verdict" in contrast:
            contrast["verdict"] = "unknown"
    shares = [f"{100 * look[key]:.0f} %" for key in ("now", "planned")]
    found["notes"] = [
        f"A look before all answers are in: step '{look['step']}' waits for {shares[0]} of them, {shares[1]} "
        "were planned. No verdict is given: intervals that are looked at again and again find a winner by "
        "chance.",
        *found["notes"],
    ]


def _contrasts(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for arm in found["arms"]:
        yield from (arm[key] for key in arm if key.startswith("vs") and arm[key])
    yield from found["versus"]
    for row in found["worth"]:
        yield from (value for key, value in row.items() if key.startswith("vs_"))
    for axis in found["axes"]:
        yield from (row for row in axis["rows"] if "difference" in row)
