"""The sentences of a comparison, made from its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from ilf._report.figures import Json, corrected_p, difference, estimate, grade_of, hours, number, plain

ORACLE = "oracle"  # the ranker that reads the grade: shown, but never the answer
_SOURCES = (
    ("real", "on real feedback"),
    ("shuffled", "on shuffled feedback"),
    ("none", "without feedback"),
    ("own", "on its own first outputs"),
)
_NAMED_ONE_BY_ONE = 3  # a sentence names the two ends of a longer list


def verdict(contrast: Json) -> str:
    """What a difference with its interval allows to say: ``more, less, unsettled, none, unknown``.

    ``unsettled``: the interval leaves out 0, but p, corrected for all comparisons, does not reach .05.
    """
    size, low, high = (number(contrast.get(key)) for key in ("difference", "low", "high"))
    if size is None or low is None or high is None:
        return "unknown"
    if low <= 0 <= high:
        return "none"
    p = corrected_p(contrast)
    if p is not None and p >= 0.05:
        return "unsettled"
    return "more" if low > 0 else "less"


def headline(result: Json) -> list[str]:
    """Sentences made from the numbers: the answer first, then what the controls say of it, then the rest."""
    worth = [row for row in result.get("worth") or [] if row.get("ranker") != ORACLE]
    arms = [arm for arm in result.get("arms") or [] if arm.get("vs")]
    said = []
    if worth:
        pairs = [(row["ranker"], row.get("vs_none") or {}) for row in worth]
        closed = str(result.get("world_note") or "").lower().startswith("closed world")
        start = "In this closed world real feedback" if closed else "Real feedback"
        against = "(each against itself without feedback, 95 % intervals)"
        said.append(
            _compared(pairs, f"{start} {{}} with {{}} {against}", ("adds to the grade", "lowers the grade"))
        )
        said += _shuffled(worth) + _reached(result, worth)
    elif arms:
        pairs = [(arm["arm"], arm["vs"]) for arm in arms]
        said.append(
            _compared(pairs, "Graded {} their control (95 % intervals): {}", ("above", "below"), "arms")
        )
    return said + _highest(result) + _seeds(result)


def _compared(
    pairs: Sequence[tuple[str, Json]], form: str, words: tuple[str, str], unit: str = "rankers"
) -> str:
    """All verdicts on named contrasts; ``form`` takes one of ``words`` and how many of them it holds for."""
    groups: dict[str, list[tuple[str, Json]]] = {}
    for name, contrast in sorted(pairs, key=lambda pair: -(number(pair[1].get("difference")) or 0.0)):
        groups.setdefault(verdict(contrast), []).append((name, contrast))
    said = []
    for kind, word in zip(("more", "less"), words, strict=True):
        if found := groups.get(kind):
            whole, part = len(pairs), len(found)
            share = f"all {whole} {unit}" if part == whole > 1 else f"{part} of {whole} {unit}"
            said.append(f"{form.format(word, share)}: {_named(found)}.")
    if found := groups.get("none"):
        said.append(f"No difference seen with {_named(found)}.")
    if found := groups.get("unsettled"):
        said.append(f"Unsettled (interval without 0, but corrected p of .05 or more): {_named(found)}.")
    if found := groups.get("unknown"):
        said.append("Not measured with " + ", ".join(name for name, _ in found) + ".")
    return " ".join(said)


def _named(group: Sequence[tuple[str, Json]]) -> str:
    """``chance +0.145 [+0.101, +0.189]`` and so on; beside a null, what could have been seen."""
    each = []
    for name, contrast in group:
        mde = number(contrast.get("mde")) if verdict(contrast) == "none" else None
        seen = f" (could have seen {plain(mde)} or more)" if mde is not None else ""
        each.append(f"{name} {difference(contrast)}{seen}")
    return ", ".join(each) if len(each) <= _NAMED_ONE_BY_ONE else f"from {each[-1]} to {each[0]}"


def _shuffled(worth: Sequence[Json]) -> list[str]:
    pairs = [(row["ranker"], row["vs_shuffled"]) for row in worth if row.get("vs_shuffled")]
    if not pairs:
        return []
    said = _compared(pairs, "Over feedback shuffled between rows real feedback {} with {}", ("adds", "loses"))
    if not any(verdict(contrast) == "more" for _, contrast in pairs):
        said += " So nothing here shows that a critique has to be about its own output."
    return [said]


def _reached(result: Json, worth: Sequence[Json]) -> list[str]:
    """The control sentence: how far the same loop gets without feedback."""
    known = [row for row in worth if None not in (number(row.get("real")), number(row.get("none")))]
    if not known:
        return []
    best = max(known, key=lambda row: float(row["real"]))
    reached = [f"{plain(best[key])} {what}" for key, what in _SOURCES if number(best.get(key)) is not None]
    base = grade_of("base", result.get("arms") or [], "arm")
    untrained = "" if base is None else f" ({plain(base)} untrained)"
    ours = f"the feedback's part is the step from {plain(best['none'])} to {plain(best['real'])}."
    return [f"The loop with {best['ranker']} reaches {', '.join(reached)}{untrained}: {ours}"]


def _highest(result: Json) -> list[str]:
    arms = [arm for arm in result.get("arms") or [] if number(arm.get("grade")) is not None]
    tried = [arm for arm in arms if not arm.get("is_control")]
    if not tried:
        return []
    best = max(tried, key=lambda arm: float(arm["grade"]))
    paid = (
        ""
        if number(best.get("human_seconds")) is None
        else f", for {hours(best['human_seconds'])} human hours"
    )
    which = f"Highest of the {len(tried)} arms" if len(tried) > 1 else "The one arm"
    measured = "measured that are no controls" if len(tried) > 1 else "measured that is no control"
    return [f"{which} {measured}: {best['arm']} {estimate(best)}{paid}."]


def _seeds(result: Json) -> list[str]:
    seeds = [arm["seeds"] for arm in result.get("arms") or [] if number(arm.get("seeds")) is not None]
    if not seeds or min(seeds) > 2:
        return []
    if min(seeds) == 1:
        return ["One seed: training variance unknown, the intervals are too narrow for a claim."]
    return ["Two seeds: training variance hardly known, a claim needs three or more."]
