"""Everything the template of a comparison needs, made from its result."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ilf import curves
from ilf._report import accounts
from ilf._report.axis import Axis
from ilf._report.beside import axes_view, pairs_view, wins_view
from ilf._report.figures import Json, by_grade, grade_of, number
from ilf._report.scores import score_chart
from ilf._report.sentences import headline, warnings
from ilf._report.telling import Cast
from ilf._report.texts import answers_view, rows_view
from ilf._report.versus import versus_view


def views(results: Sequence[Json]) -> list[dict[str, Any]]:
    """One view per result; ``p`` begins the ids of its parts, ``nth`` ends their names: no two are equal."""
    return [
        {
            **_view(tame(result)),
            "p": "" if len(results) == 1 else f"r{at}-",
            "nth": "" if len(results) == 1 else f", run {at}",
        }
        for at, result in enumerate(results, start=1)
    ]


#: Keys of the texts that people and models wrote; they stand isolated on the page, whatever their direction.
_TEXTS = {"prompt", "output", "critique", "refinements", "answers", "text"}
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")


def tame(value: Any, *, is_text: bool = False) -> Any:
    """The same result without characters in names and notes that turn the direction of what follows."""
    if isinstance(value, str):
        return value if is_text else _TURNING.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {tame(key): tame(each, is_text=is_text or key in _TEXTS) for key, each in value.items()}
    if isinstance(value, list):
        return [tame(each, is_text=is_text) for each in value]
    return value


def _view(result: Json) -> dict[str, Any]:
    cast = Cast(result)
    tried, controls = cast.telling
    shown = cast.shown
    return {
        "result": result,
        "cast": cast,
        "headline": headline(result),
        "warnings": warnings(result),
        "facts": accounts.facts(result),
        "groups": [group for group in (("tried", tried), ("controls", controls)) if group[1]],
        "rest": [arm for arm in cast.arms if str(arm["arm"]) not in shown],
        "arm_axis": Axis.over(cast.arms, "grade"),
        "parts": list(dict.fromkeys(part for arm in cast.arms for part in arm.get("parts") or {})),
        "known": {
            name for name, _, _ in COLUMNS if any(number(arm.get(name)) is not None for arm in cast.arms)
        },
        "base": cast.base(),
        "scores": score_chart(cast),
        "axes": axes_view(cast),
        "pairs": pairs_view(cast),
        "wins": wins_view(cast),
        "versus": versus_view(result),
        "bill": accounts.bill(result),
        "controls": accounts.control_lines(cast),
        "plan": accounts.plan_view(cast),
        "curves": curves.section(result["curves"]) if result.get("curves") else None,
        "has_arms": bool(cast.arms),
        "has_axes": bool(result.get("axes")),
        "has_agreement": bool(result.get("agreement")),
        "always": True,
        "draws": bool(result.get("curves")) or any(arm.get("human_seconds") for arm in cast.arms),
        "rows": rows_view(result),
        "answers": answers_view(cast),
        **_rankers(result),
    }


#: (key, title, digits) of the columns of the table of arms that are left out where no arm has them.
COLUMNS = (
    ("budget", "Budget s", 0),
    ("annotations", "Annotations", 0),
    ("unlabelled_prompts", "Prompts without label", 0),
    ("money", "Money", 2),
    ("cpu_seconds", "Processor s", 0),
    ("updates", "Updates", 0),
    ("samples_per_answer", "Samples an answer", 0),
    ("answer_seconds", "Seconds an answer", 3),
    ("joules", "Joules", 0),
    ("words", "Words", 1),
    ("kl", "KL", 2),
)


def _rankers(result: Json) -> dict[str, Any]:
    worth, picks = by_grade(result.get("worth") or [], "real"), by_grade(result.get("picks") or [])
    contrasts = [row.get(key) for row in worth for key in ("vs_none", "vs_shuffled")]
    return {
        "worth": worth,
        "picks": picks,
        "worth_axis": Axis.over(contrasts, "difference", also=(0.0,)),
        "pick_axis": Axis.over(picks, "grade"),
        "chance": grade_of("chance", picks, "ranker"),
        "splits": list(dict.fromkeys(row["split"] for row in result.get("generalisation") or [])),
    }
