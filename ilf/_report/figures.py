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


def clock(seconds: object) -> str:
    """A time of a machine: ``0.4 s``, ``38 s``, ``12 min``, ``3.5 h``."""
    known = number(seconds)
    if known is None:
        return "-"
    if known < 90:
        return f"{known:.2g} s" if known < 10 else f"{known:.0f} s"
    return f"{known / 60:.0f} min" if known < 5400 else f"{known / 3600:.1f} h"


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


def verdict(contrast: Json | None) -> str:
    """What a difference with its interval allows to say: ``more, less, unsettled, none, unknown``.

    ``unsettled``: the interval leaves out 0, but p, corrected for all comparisons, does not reach .05;
    ``early``: a look before all answers were in, which gives no verdict.
    """
    size, low, high = (number((contrast or {}).get(key)) for key in ("difference", "low", "high"))
    if size is None or low is None or high is None:
        return "unknown"
    if (contrast or {}).get("early"):
        return "early"
    if low <= 0 <= high:
        return "none"
    p = corrected_p(contrast or {})
    if p is not None and p >= 0.05:
        return "unsettled"
    return "more" if low > 0 else "less"


#: Verdict -> (sign, words): what stands beside a number so that no meaning rests on its colour.
SIGNS = {
    "more": ("\u25b2", "above"),
    "less": ("\u25bc", "below"),
    "none": ("\u25cb", "no difference seen"),
    "same": ("\u2248", "shown to be the same within the margin"),
    "unsettled": ("?", "unsettled: the interval leaves out 0, the corrected p does not reach .05"),
    "unknown": ("\u2013", "not measured"),
    "early": ("\u2026", "no verdict before all answers are in"),
}


def sign(contrast: Json | None) -> tuple[str, str, str]:
    """(verdict, sign, words) of a difference; ``same`` only where equivalence was shown."""
    kind = verdict(contrast)
    if kind == "none" and (contrast or {}).get("same") is True:
        kind = "same"
    return (kind, *SIGNS[kind])


def by_grade(rows: Iterable[Json], key: str = "grade") -> list[Json]:
    """Highest first; rows without a number last, in the order given."""
    return sorted(
        rows, key=lambda row: -(known if (known := number(row.get(key))) is not None else -math.inf)
    )


def grade_of(name: str, rows: Iterable[Json], key: str) -> float | None:
    """The grade of the row whose ``key`` is ``name``; None without one."""
    return next((number(row.get("grade")) for row in rows if row.get(key) == name), None)
