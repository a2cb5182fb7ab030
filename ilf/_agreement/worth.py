"""What a step's answers are worth: how far people agree, what each did, who is right how often, what it cost.

``report`` gives plain dicts for ``ilf agreement``: what cannot be told is None, and ``reason`` says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean as mean
from statistics import median, stdev
from typing import Any

import numpy as np

from ilf._agreement.ability import MIN_SHARED, Said, abilities
from ilf._agreement.answers import TOO_FAST, Answer, n_typed
from ilf._agreement.opinions import RANKED, pair_orders
from ilf.agreement import (
    MIN_UNITS,
    alpha,
    interval,
    kendalls_w,
    mean_alike,
    mean_tau,
    nominal,
    ordinal,
    over_units,
    sets,
    share_equal,
    too_few,
)
from ilf.stats import Interval

#: Fewer answers whose shown order is known say nothing about the effect of position.
MIN_SHOWN = 20
_VERDICT = {1: "first", 0: "tie", -1: "second"}
_DECISIONS = ("accept", "edit", "criticise")

Found = dict[str, Any]
Units = Mapping[str, Sequence[Answer]]


def report(answers: Sequence[Answer], job: str, *, wage_per_hour: float = 0.0, seed: int = 0) -> Found:
    """Everything about the answers of one job; ``seed`` draws the intervals, money is in the wage's unit."""
    usable = [answer for answer in answers if answer.counts]
    units: dict[str, list[Answer]] = {}
    for answer in usable:
        units.setdefault(answer.unit, []).append(answer)
    generator = np.random.default_rng(seed)
    return {
        "job": job,
        "answers": len(usable),
        "outputs": len(units),
        "shared": sum(len(given) > 1 for given in units.values()),
        "people": len({answer.annotator for answer in usable}),
        "states": dict(Counter("gold" if a.is_gold else a.state for a in answers)),
        "agreement": agreement(units, job, generator),
        "position": position(units) if job in RANKED else None,
        "annotators": [
            person(name, given, job, wage_per_hour) for name, given in sorted(_by_annotator(answers).items())
        ],
        "ability": ability(units, job, generator),
        "ledger": ledger(answers, wage_per_hour),
    }


def _by_annotator(answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    found: dict[str, list[Answer]] = {}
    for answer in answers:
        found.setdefault(answer.annotator, []).append(answer)
    return found


# --- agreement


def figure(measure: str, about: str, found: Interval, chance: float | None = None) -> Found:
    """One measured number: name, subject, value, 95 % interval and outputs behind it, or the reason."""
    told = {"measure": measure, "about": about, "value": found.estimate, "low": found.low, "high": found.high}
    return {**told, "by_chance": chance, "outputs": found.prompts, "reason": found.reason}


def agreement(units: Units, job: str, generator: np.random.Generator) -> list[Found]:
    """The measures of agreement that fit the job; an empty list where answers are texts."""
    shared = [given for given in units.values() if len(given) > 1]
    if job == "rank":
        return _rankings(shared)
    if job in RANKED:
        verdicts = [[_VERDICT[pair_orders(a.said["ranking"])[0]] for a in given] for given in shared]
        return _choices("verdict", verdicts, generator)
    if job == "refine":
        return _choices("decision", [[a.said["decision"] for a in given] for given in shared], generator)
    if job == "rate":
        return _ratings(shared, generator)
    return _critiques(shared, generator) if job == "critique" else []


def _rankings(shared: Sequence[Sequence[Answer]]) -> list[Found]:
    said = [[answer.said["ranking"] for answer in given] for given in shared]
    by_chance = mean(1 / len(given) for given in said) if said else None
    return [
        figure("Kendall's W", "rankings", over_units([kendalls_w(r) for r in said]), by_chance),
        figure("Kendall's tau-b", "rankings", over_units([mean_tau(r) for r in said], "tau"), 0.0),
        figure("pairs ordered alike", "rankings", over_units([mean_alike(r) for r in said])),
    ]


def _choices(about: str, given: Sequence[Sequence[str]], generator: np.random.Generator) -> list[Found]:
    return [
        figure("share equal", about, over_units([share_equal(answers) for answers in given])),
        figure("alpha (nominal)", about, alpha(given, nominal, generator), 0.0),
    ]


def _ratings(shared: Sequence[Sequence[Answer]], generator: np.random.Generator) -> list[Found]:
    axes = dict.fromkeys(axis for given in shared for answer in given for axis in answer.said["ratings"])
    found = []
    for axis in axes or ("ratings",):
        given = [[a.said["ratings"][axis] for a in g if axis in a.said["ratings"]] for g in shared]
        found.append(figure("alpha (ordinal)", axis, alpha(given, ordinal, generator), 0.0))
        found.append(figure("alpha (interval)", axis, alpha(given, interval, generator), 0.0))
    return found


def _critiques(shared: Sequence[Sequence[Answer]], generator: np.random.Generator) -> list[Found]:
    marked = [[a.said for a in given if "is_faultless" in a.said] for given in shared]
    if not any(marked):
        return []
    faultless = [[str(said["is_faultless"]) for said in given] for given in marked]
    kinds = [[frozenset(said.get("faults") or ()) for said in given] for given in marked]
    found = _choices("faultless or not", faultless, generator)
    found.append(figure("alpha (MASI)", "kinds of fault", alpha(kinds, sets, generator), 0.0))
    for kind in _kinds(said for given in marked for said in given):
        named = [[str(kind in said) for said in given] for given in kinds]
        found.append(figure("alpha (nominal)", kind, alpha(named, nominal, generator), 0.0))
    return found


def _kinds(said: Any) -> list[str]:
    return sorted({kind for one in said for kind in one.get("faults") or ()})


def position(units: Units) -> Found:
    """How often the output that stood first on the page was put first, beside what chance would give.

    Of k outputs tied for the best, each counts 1/k.
    """
    values, chances = [], []
    for given in units.values():
        found = [c for answer in given if (c := _first_is_best(answer)) is not None]
        if found:
            values.append(mean(found))
            chances.append(mean(1 / len(a.shown) for a in given if a.shown))
    n_answers = sum(_first_is_best(a) is not None for given in units.values() for a in given)
    if n_answers < MIN_SHOWN:
        unknown = too_few(n_answers, MIN_SHOWN, "answers whose shown order is known")
        return figure("first shown put first", "position", Interval(None, reason=unknown))
    return figure("first shown put first", "position", over_units(values), mean(chances))


def _first_is_best(answer: Answer) -> float | None:
    if not answer.shown:
        return None
    best = answer.said["ranking"][0]
    return 1 / len(best) if answer.shown[0] in best else 0.0


# --- each person


def person(name: str, answers: Sequence[Answer], job: str, wage_per_hour: float = 0.0) -> Found:
    """What one person did: counts, seconds, gold items, and what looks odd; nothing here rejects anybody."""
    usable = [answer for answer in answers if answer.counts]
    states = Counter(answer.state for answer in answers if not answer.is_gold)
    judged = [answer.is_right for answer in answers if answer.is_gold and answer.is_right is not None]
    known = [answer.seconds for answer in usable if answer.seconds is not None]
    speeds = [speed for answer in usable if (speed := answer.speed) is not None]
    lengths = [n for answer in usable if (n := n_typed(job, answer.said)) is not None]
    firsts = [value for answer in usable if job in RANKED and (value := _first_is_best(answer)) is not None]
    untouched = [bool(answer.untouched) for answer in usable if answer.untouched is not None]
    paid = ledger(answers, wage_per_hour)
    return {
        "annotator": name,
        "answers": len(usable),
        **{state: states[state] for state in ("skipped", "empty", "invalid", "superseded")},
        "gold_right": sum(judged),
        "gold": len(judged),
        "median_seconds": median(known) if known else None,
        "seconds": paid["seconds"],
        "money": paid["money"],
        "capped": sum(answer.is_capped for answer in usable),
        "median_characters": median(lengths) if lengths else None,
        "median_characters_per_second": median(speeds) if speeds else None,
        "too_fast": sum(speed > TOO_FAST for speed in speeds),
        "timed_texts": len(speeds),
        "untouched": sum(untouched) if job == "rank" and untouched else None,
        "first_shown_put_first": mean(firsts) if firsts else None,
    }


def ledger(answers: Sequence[Answer], wage_per_hour: float = 0.0) -> Found:
    """Seconds of people: in answers that count, in gold items, in what cannot be used; unknown ones counted.

    Whoever skips a page or answers a gold item has worked as well: their time is part of the sum.
    """
    parts = {"used": 0.0, "gold": 0.0, "unused": 0.0}
    for answer in answers:
        part = "gold" if answer.is_gold else "used" if answer.counts else "unused"
        parts[part] += answer.seconds or 0.0
    total = sum(parts.values())
    timed = [answer for answer in answers if answer.seconds is not None]
    capped = sum(answer.is_capped for answer in timed)
    return {
        "seconds": total,
        **{f"seconds_{name}": value for name, value in parts.items()},
        "unknown": len(answers) - len(timed),
        "capped": capped,
        "share_capped": capped / len(timed) if timed else None,
        "wage_per_hour": wage_per_hour or None,
        "money": total / 3600 * wage_per_hour if wage_per_hour else None,
    }


# --- ability


def ability(units: Units, job: str, generator: np.random.Generator) -> Found:
    """Each person's ability with its standard error, or the reason why there is none.

    Choices, orders, decisions and kinds of fault: the chance of giving the right answer (Dawid-Skene, see
    ``ilf._agreement.ability``), where three people overlap. Ratings: how many points a person is
    off the others' mean.
    """
    if job == "rate":
        return _points_off(units)
    questions: dict[str, Callable[[Answer], list[tuple[str, str, int]]]] = {
        **dict.fromkeys(RANKED, _ordered_pairs),
        "refine": lambda a: [("decision", "decision", _DECISIONS.index(a.said["decision"]))],
        "critique": _fault_questions(_kinds(a.said for given in units.values() for a in given)),
    }
    told: Found = {"means": "chance to be right", "people": [], "reason": None}
    if job not in questions:
        return {**told, "reason": "texts are not compared"}
    said = [
        Said(unit, (unit, name), kind, answer.annotator, value)
        for unit, given in units.items()
        for answer in {a.annotator: a for a in given}.values()
        for name, kind, value in questions[job](answer)
    ]
    found = abilities(said, 2 if job == "critique" else 3, generator)
    if not found:
        return {
            **told,
            "reason": f"too few: three people are needed of whom each two share {MIN_SHARED} outputs",
        }
    told["people"] = [
        {
            "annotator": name,
            "value": each.right,
            "standard_error": each.standard_error,
            "questions": each.questions,
        }
        for name, each in found.items()
    ]
    return told


def _ordered_pairs(answer: Answer) -> list[tuple[str, str, int]]:
    return [(str(pair), "pair", 1 - order) for pair, order in enumerate(pair_orders(answer.said["ranking"]))]


def _fault_questions(kinds: Sequence[str]) -> Callable[[Answer], list[tuple[str, str, int]]]:
    def questions(answer: Answer) -> list[tuple[str, str, int]]:
        if "is_faultless" not in answer.said:
            return []
        named = answer.said.get("faults") or ()
        asked = [("faultless", "faultless", int(answer.said["is_faultless"]))]
        return asked + [(f"fault: {kind}", f"fault: {kind}", int(kind in named)) for kind in kinds]

    return questions


def _points_off(units: Units) -> Found:
    off: dict[str, list[float]] = {}
    for given in units.values():
        for answer in given:
            others = [a.said["ratings"] for a in given if a is not answer]
            gaps = [
                abs(points - mean(o[axis] for o in others if axis in o))
                for axis, points in answer.said["ratings"].items()
                if any(axis in o for o in others)
            ]
            if gaps:
                off.setdefault(answer.annotator, []).append(mean(gaps))
    people = [
        {
            "annotator": name,
            "value": mean(gaps),
            "standard_error": stdev(gaps) / len(gaps) ** 0.5,
            "questions": len(gaps),
        }
        for name, gaps in sorted(off.items())
        if len(gaps) >= MIN_UNITS
    ]
    reason = None if people else too_few(max(map(len, off.values()), default=0))
    return {"means": "points off the others' mean", "people": people, "reason": reason}
