"""What controls say, what all of it cost, and what was planned: lines made from the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ilf._report.claims import standing_words
from ilf._report.figures import Json, clock, difference, estimate, hours, number, plain
from ilf._report.telling import SPOKEN, Cast

#: Role of a control -> what it means when the highest arm is above it, and when it is not.
_READINGS = {
    "base": ("the loop improved the model", "the loop did not improve the model"),
    "own_outputs": ("more than training on anything does", "training on its own outputs does as much"),
    "no_feedback": ("people's feedback added something", "rewriting and picking do as much without people"),
    "shuffled": ("a critique has to be about its own output", "critiques of other outputs do as much"),
    "chance": ("the ranker added something", "a coin picks as well as the ranker"),
    "longest": ("it is not length alone", "the longest rewrite does as well"),
    "oracle": ("above the ceiling: look at the grader", "what is left to win is below this ceiling"),
    "critiques_in_context": (
        "training on critiques beats reading them",
        "reading critiques does as much, untrained",
    ),
    "prompt_from_critiques": ("training beats one instruction", "one instruction does as much, untrained"),
}


def control_lines(cast: Cast) -> list[dict[str, Any]]:
    """Per control ``row``, ``reading`` (what it says of the loop), ``is_elsewhere`` (budget)."""
    budget = (cast.loop or {}).get("budget")
    return [
        {"row": row, "reading": _reading(cast, row), "is_elsewhere": row.get("budget") not in (None, budget)}
        for row in cast.result.get("controls") or []
    ]


def _reading(cast: Cast, row: Json) -> str:
    leader, name = cast.loop, row.get("arm")
    if name is None:
        return f"not run: {row.get('reason') or 'unknown why'}"
    if leader is None or row.get("budget") not in (None, leader.get("budget")):
        return "at another budget than the loop"
    if name == leader.get("arm"):
        return "the arm itself"
    found = cast.standing(leader, str(name))
    if found is None:
        return f"its difference to {leader['arm']} was not measured"
    kind, words = standing_words(found)
    above, level = _READINGS.get(str(row.get("control")), ("it is above", "it is not above"))
    meaning = {"more": above, "unknown": "", "early": ""}.get(kind, level)
    if row.get("control") == "oracle" and kind != "more":
        meaning = level
    return f"{leader['arm']}: {words}{': ' + meaning if meaning else ''}"


def control_name(role: object) -> str:
    """What a control is called in a sentence."""
    return SPOKEN.get(str(role), str(role))


def bill(result: Json) -> dict[str, Any] | None:
    """The whole bill as (what, amount, note) lines and the jobs that people did; None without a ledger."""
    ledger = result.get("ledger")
    if not isinstance(ledger, Mapping):
        return None
    energy = ledger.get("energy") or {}
    joules = number(energy.get("joules"))
    spent = f"{plain(joules, 0)} J ({plain(joules / 3600, 2)} Wh)" if joules is not None else "not measured"
    how = energy.get("method") or energy.get("reason") or "no meter was asked for"
    money = number(ledger.get("money"))
    annotations, steps = plain(ledger.get("annotations"), 0), plain(ledger.get("steps"), 0)
    wage = "the recipe names no wage" if money is None else "for people, at the recipe's wage"
    side_by_side = f"wall time of {steps} steps, added up though some ran side by side"
    lines = [
        (
            "Human time",
            f"{hours(ledger.get('human_seconds'))} h",
            f"{annotations} annotations, each counted once",
        ),
        ("Money", "not known" if money is None else plain(money, 2), wage),
        ("Compute", clock(ledger.get("cpu_seconds")), "processor time of all distinct steps"),
        ("Waiting", clock(ledger.get("wall_seconds")), side_by_side),
        ("Energy", spent, str(how)),
    ]
    jobs = ledger.get("by_job") or {}
    most = max((seconds for job in jobs.values() if (seconds := number(job.get("seconds")))), default=0.0)
    return {
        "lines": lines,
        "jobs": [
            (name, job, 100 * (number(job.get("seconds")) or 0.0) / most if most else 0.0)
            for name, job in jobs.items()
        ],
    }


def facts(result: Json) -> list[tuple[str, str]]:
    """(name, value) of what a reader wants to know first about the whole comparison."""
    ledger = result.get("ledger") or {}
    seeds = result.get("seeds") or []
    found = [
        ("test prompts", plain(result.get("test_prompts"), 0)),
        ("seeds", str(len(seeds)) if seeds else "-"),
        ("arms", str(len(result.get("arms") or [])) if result.get("arms") else "-"),
        ("human hours", hours(ledger.get("human_seconds"))),
        ("money", plain(ledger.get("money"), 2)),
        ("compute", clock(ledger.get("cpu_seconds"))),
    ]
    known = [(name, value) for name, value in found if value != "-"]
    graded = number((result.get("plan") or {}).get("graded_before"))
    if graded is None:
        return known
    late = f"written after {plain(graded, 0)} arms were graded"
    return [*known, (late, "plan") if graded else ("before anything was graded", "planned")]


def plan_view(cast: Cast) -> dict[str, Any] | None:
    """What was planned, when, what changed, and which comparisons were looked at afterwards."""
    kept = cast.result.get("plan")
    if not isinstance(kept, Mapping):
        return None
    graded = number(kept.get("graded_before"))
    when = (
        "It was written before any arm was graded."
        if graded == 0
        else f"It was written when {plain(graded, 0)} arms (over all seeds) had been graded already: read p "
        "values with that in mind."
    )
    afterwards = [arm for arm in cast.arms if (arm.get("vs") or {}).get("planned") is False]
    return {
        "plan": kept.get("plan") or {},
        "digest": kept.get("digest"),
        "when": when,
        "is_late": graded != 0,
        "earlier": number(kept.get("earlier")) or 0,
        "changes": kept.get("changes") or [],
        "afterwards": afterwards,
    }


def tip(arm: Json) -> str:
    """An arm in one line, for the plot that is pointed at."""
    vs = arm.get("vs") or {}
    against = f"; minus {vs.get('control')} {difference(vs)}" if vs else ""
    samples = number(arm.get("samples_per_answer"))
    each = "" if samples is None else f"; {plain(samples, 0)} sample{'s' if samples != 1 else ''} an answer"
    return f"{arm['arm']}: {estimate(arm)}{against}; {hours(arm.get('human_seconds'))} human hours{each}"


def heavy(arm: Json) -> bool:
    """Whether an arm samples more than one text for every answer: its price at test time."""
    return (number(arm.get("samples_per_answer")) or 1.0) > 1.0
