"""What real feedback adds, in sentences made from the table of rankers and sources."""

from __future__ import annotations

from collections.abc import Sequence

from ilf._report.figures import Json, difference, grade_of, number, plain, verdict

ORACLE = "oracle"  # the ranker that reads the grade: shown, but never the answer
_SOURCES = (
    ("real", "on real feedback"),
    ("shuffled", "on shuffled feedback"),
    ("none", "without feedback"),
    ("own", "on its own first outputs"),
)
_NAMED_ONE_BY_ONE = 3  # a sentence names the two ends of a longer list


def worth_sentences(result: Json) -> list[str]:
    """Real feedback against none and shuffled, and how far the loop gets without; [] without rankers."""
    worth = [row for row in result.get("worth") or [] if row.get("ranker") != ORACLE]
    if not worth:
        return []
    pairs = [(_name(row), row.get("vs_none") or {}) for row in worth]
    world = in_world(result)
    start = f"{world}{'r' if world else 'R'}eal feedback {{}} with {{}}"
    against = " (each against itself without feedback, 95 % intervals)"
    said = compared(pairs, start + against, ("adds to the grade", "lowers the grade"))
    return [said, *_shuffled(worth), *_reached(result, worth)]


def in_world(result: Json) -> str:
    """How a sentence begins that holds in a closed world only; empty for the open one."""
    note = str(result.get("world_note") or "").lower().removeprefix("a ")
    return "In this closed world " if note.startswith("closed world") else ""


def _name(row: Json) -> str:
    budget = number(row.get("budget"))
    return str(row["ranker"]) if budget is None else f"{row['ranker']} at {plain(budget, 0)} s"


def compared(
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
    pairs = [(_name(row), row["vs_shuffled"]) for row in worth if row.get("vs_shuffled")]
    if not pairs:
        return []
    said = compared(pairs, "Over feedback shuffled between rows real feedback {} with {}", ("adds", "loses"))
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
    return [f"The loop with {_name(best)} reaches {', '.join(reached)}{untrained}: {ours}"]
