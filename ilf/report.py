"""A comparison's result as one HTML page and as text for a terminal; both say the same sentences.

``result`` is the object that ``ilf compare --json`` prints. A key that is absent leaves its section out; a
number that is None is shown as not measured, with its ``reason`` where there is one. The same result gives
the same bytes: no clock, no network. The page holds no script, and its content security policy lets none run.
"""

from __future__ import annotations

from pathlib import Path

from ilf import curves
from ilf._report.axis import Axis
from ilf._report.figures import Json, by_grade, grade_of, number
from ilf._report.page import page
from ilf._report.sentences import headline
from ilf._report.terminal import terminal
from ilf.files import write_whole

__all__ = ["headline", "render", "terminal", "write"]


def render(result: Json) -> str:
    """The page as one HTML text without script or outside address."""
    arms, worth = by_grade(result.get("arms") or []), by_grade(result.get("worth") or [], "real")
    picks = by_grade(result.get("picks") or [])
    contrasts = [row.get(key) for row in worth for key in ("vs_none", "vs_shuffled")]
    return page(
        "report.html",
        result=result,
        headline=headline(result),
        arms=arms,
        worth=worth,
        picks=picks,
        arm_axis=Axis.over(arms, "grade"),
        worth_axis=Axis.over(contrasts, "difference", also=(0.0,)),
        pick_axis=Axis.over(picks, "grade"),
        parts=list(dict.fromkeys(part for arm in arms for part in arm.get("parts") or {})),
        splits=list(dict.fromkeys(row["split"] for row in result.get("generalisation") or [])),
        curves=curves.section(result["curves"]) if result.get("curves") else None,
        base=grade_of("base", arms, "arm"),
        chance=grade_of("chance", picks, "ranker"),
        has_kl=any(number(arm.get("kl")) is not None for arm in arms),
        seeds=sorted({arm["seeds"] for arm in arms if number(arm.get("seeds")) is not None}),
    )


def write(result: Json, path: Path) -> None:
    """Writes the page, whole or not at all."""
    write_whole(path, render(result))
