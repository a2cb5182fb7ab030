"""Numbers as text, the same on the page and in the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

Json = Mapping[str, Any]


def number(value: object) -> float | None:
    """A finite number, or None for all else (None, NaN, text, booleans)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def plain(value: object, digits: int = 3) -> str:
    """``0.738``; a dash for what is unknown."""
    known = number(value)
    return "-" if known is None else f"{known:,.{digits}f}"


def signed(value: object, digits: int = 3) -> str:
    """``+0.145``; what rounds to 0 has no sign."""
    known = number(value)
    if known is None:
        return "-"
    text = f"{known:+.{digits}f}"
    return text[1:] if float(text) == 0 else text


def probability(value: object) -> str:
    """``0.012`` or ``<0.001``."""
    known = number(value)
    return "<0.001" if known is not None and known < 0.001 else plain(known)


def hours(seconds: object) -> str:
    """Seconds as hours."""
    known = number(seconds)
    return "-" if known is None else plain(known / 3600, 1 if known else 0)


def estimate(row: Json | None, key: str = "grade", form: Callable[[object], str] = plain) -> str:
    """``0.738 [0.716, 0.760]``, ``0.738 [no interval: reason]`` or ``not measured: reason``."""
    row = row or {}
    reason = f": {row['reason']}" if row.get("reason") else ""
    if number(row.get(key)) is None:
        return "not measured" + reason
    known = number(row.get("low")) is not None and number(row.get("high")) is not None
    return f"{form(row[key])} " + (
        f"[{form(row['low'])}, {form(row['high'])}]" if known else f"[no interval{reason}]"
    )


def corrected_p(contrast: Json) -> float | None:
    """The p value that the sentences rest on: ``p_holm`` where it is given, else ``p``."""
    return number(contrast.get("p_holm", contrast.get("p")))


difference = partial(estimate, key="difference", form=signed)


def by_grade(rows: Iterable[Json], key: str = "grade") -> list[Json]:
    """Highest first; rows without a number last, in the order given."""
    return sorted(
        rows, key=lambda row: -(known if (known := number(row.get(key))) is not None else -math.inf)
    )


def grade_of(name: str, rows: Iterable[Json], key: str) -> float | None:
    """The grade of the row whose ``key`` is ``name``; None without one."""
    return next((number(row.get("grade")) for row in rows if row.get(key) == name), None)
