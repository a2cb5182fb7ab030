"""What answers are worth, as text in 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ilf._agreement.answers import TOO_FAST
from ilf.commands._terminal import clipped, hours, number, paint, table, total, visible, width, wrapped

_SHOWN_NAME = 16


def text(found: Mapping[str, Any], *, adjudicate: bool = False) -> str:
    """One step's report."""
    parts = [_head(found), _agreement(found), _people(found), _odd(found), _ability(found), _ledger(found)]
    if adjudicate:
        parts.append(_adjudication(found))
    return "\n\n".join(part for part in parts if part)


def _head(found: Mapping[str, Any]) -> str:
    told = "" if found["is_finished"] else " (not finished: what people said so far)"
    lines = [paint(visible(f"{found['step']}: {found['job']}{told}", one_line=True), "bold")]
    states = [f"{count} {state}" for state, count in found["states"].items() if state != "usable"]
    also = f" Beside these: {', '.join(states)}." if states else ""
    lines.append(
        f"{_count(found['answers'], 'answer')} by {_count(found['people'], 'person', 'people')} about "
        f"{_count(found['outputs'], 'output')}; {found['shared']} with several answers.{also}"
    )
    if found["settled"]:
        rows = ", ".join(f"{count} {how}" for how, count in found["settled"].items())
        lines.append(f"Rows that training reads: {rows}.")
    elif found["is_finished"] and found["read_from"] == "log" and found["rows"] != found["answers"]:
        lines.append(
            f"The step holds {found['rows']} rows, the log {found['answers']} usable answers: "
            "ilf run RECIPE --refresh makes the next snapshot."
        )
    return "\n".join(wrapped(line, width()) for line in lines)


def _count(n: int, one: str, many: str | None = None) -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"


def _agreement(found: Mapping[str, Any]) -> str:
    if not found["agreement"]:
        return "agreement: these answers are texts, which are not compared."
    figures = [f for f in found["agreement"] if f["measure"] != "alpha (interval)"]
    figures += [found["position"]] if found["position"] else []
    known = [f for f in figures if f["value"] is not None]
    rows: list[list[object]] = [["agreement", "value", "[95 %]", "by chance", "outputs"]]
    for one in known:
        name = (
            one["measure"]
            if one["about"] in ("rankings", "position")
            else f"{one['measure']}: {one['about']}"
        )
        chance = "" if one["by_chance"] is None else f"{one['by_chance']:.3f}"
        rows.append([clipped(name, 35), f"{one['value']:.3f}", _interval(one), chance, one["outputs"]])
    lines = [table(rows, right=(1, 2, 3, 4))] if known else []
    unknown: dict[str, list[str]] = {}
    for one in figures:
        if one["value"] is None or (one["low"] is None and one["reason"]):
            is_plain = one["about"] in ("rankings", "position")
            name = one["measure"] if is_plain else f"{one['measure']} ({one['about']})"
            unknown.setdefault(str(one["reason"]), []).append(name)
    lines += [wrapped(f"{', '.join(names)}: {reason}.", width()) for reason, names in unknown.items()]
    return "\n".join(lines)


def _interval(one: Mapping[str, Any]) -> str:
    return "" if one["low"] is None else f"[{one['low']:.3f}, {one['high']:.3f}]"


def _name(person: Mapping[str, Any]) -> str:
    return clipped(person["annotator"], _SHOWN_NAME)


def _people(found: Mapping[str, Any]) -> str:
    has_money = any(person["money"] is not None for person in found["annotators"])
    head: list[object] = [
        "people",
        "answers",
        "skipped",
        "empty",
        "gold",
        "median s",
        "hours",
        "capped",
    ]
    rows: list[list[object]] = [head + (["money"] if has_money else [])]
    for person in found["annotators"]:
        gold = f"{person['gold_right']}/{person['gold']}" if person["gold"] else ""
        empty = person["empty"] + person["invalid"]
        counts = [person["answers"], person["skipped"], empty, gold]
        row: list[object] = [
            _name(person),
            *counts,
            number(person["median_seconds"], 1),
            hours(person["seconds"]),
        ]
        row += [person["capped"], *([f"{person['money']:.2f}"] if has_money else [])]
        rows.append(row)
    return table(rows, right=range(1, 9)) if found["annotators"] else ""


def _odd(found: Mapping[str, Any]) -> str:
    people = found["annotators"]
    columns: list[tuple[str, list[str]]] = []
    if any(p["median_characters"] is not None for p in people):
        columns.append(("characters", [number(p["median_characters"], 0) for p in people]))
    if any(p["timed_texts"] for p in people):
        columns.append(("per second", [number(p["median_characters_per_second"], 1) for p in people]))
        columns.append(
            ("too fast", [f"{p['too_fast']}/{p['timed_texts']}" if p["timed_texts"] else "" for p in people])
        )
    if any(p["untouched"] is not None for p in people):
        columns.append(("untouched", [number(p["untouched"]) for p in people]))
    if any(p["first_shown_put_first"] is not None for p in people):
        columns.append(("first shown best", [number(p["first_shown_put_first"], 2) for p in people]))
    if not columns:
        return ""
    rows: list[list[object]] = [["what to look at", *(name for name, _ in columns)]]
    rows += [[_name(p), *(cells[at] for _, cells in columns)] for at, p in enumerate(people)]
    lines = [table(rows, right=range(1, len(columns) + 1))]
    if any(p["timed_texts"] for p in people):
        lines.append(
            wrapped(
                f"Medians of texts. Too fast: above {TOO_FAST:.0f} characters per second, faster than people "
                "type; the text may have been pasted. Nothing is rejected for it.",
                width(),
            )
        )
    return "\n".join(lines)


def _ability(found: Mapping[str, Any]) -> str:
    told = found["ability"]
    if told["reason"]:
        return wrapped(f"ability: {told['reason']}.", width())
    rows: list[list[object]] = [["ability", told["means"], "standard error", "questions"]]
    rows += [
        [_name(p), f"{p['value']:.3f}", number(p["standard_error"]), p["questions"]] for p in told["people"]
    ]
    rated = {person["annotator"] for person in told["people"]}
    rest = [_name(p) for p in found["annotators"] if p["answers"] and p["annotator"] not in rated]
    lines = [table(rows, right=(1, 2, 3))]
    if rest:
        lines.append(wrapped(f"Too little overlap with the others to tell: {', '.join(rest)}.", width()))
    return "\n".join(lines)


def _ledger(found: Mapping[str, Any]) -> str:
    paid = found["ledger"]
    parts = [f"{hours(paid['seconds'])} hours of people"]
    inside = [
        f"{hours(paid[key])} in {what}"
        for key, what in (("seconds_gold", "gold items"), ("seconds_unused", "what cannot be used"))
        if paid[key]
    ]
    parts[0] += f" ({', '.join(inside)})" if inside else ""
    if paid["capped"]:
        parts.append(f"{paid['capped']} answers capped ({100 * paid['share_capped']:.0f} %)")
    if paid["unknown"]:
        parts.append(f"{paid['unknown']} answers without a time")
    if paid["money"] is not None:
        parts.append(f"{paid['money']:.2f} at {paid['wage_per_hour']:g} an hour")
    return wrapped(f"ledger: {'; '.join(parts)}.", width())


def whole_ledger(steps: Sequence[Mapping[str, Any]]) -> str:
    """What all steps together cost, or an empty string for one step."""
    if len(steps) < 2:
        return ""
    paid = [entry["ledger"] for entry in steps]
    money = total(p["money"] for p in paid)
    told = f"all steps: {hours(sum(p['seconds'] for p in paid))} hours of people"
    return told + (f"; {money:.2f} in money." if money is not None else ".")


def _adjudication(found: Mapping[str, Any]) -> str:
    told = found["disagreements"]
    if not told["compared"]:
        return "adjudicate: no two answers can be compared, so there is nothing to send back."
    if not told["apart"]:
        return f"adjudicate: no two answers lie {told['threshold']} or more apart; nothing to send back."
    step = found["step"].rpartition("-")[0]
    expected = "" if told["seconds_expected"] is None else f", about {hours(told['seconds_expected'])} hours"
    lines = [
        f"adjudicate: {told['apart']} of {told['compared']} outputs with several answers lie "
        f"{told['threshold']} or more apart{expected}. To have a third person decide them, put this step "
        f"behind '{step}', and let what reads '{step}' read 'settle':",
        "",
        "    settle:",
        f"      reads: {step}",
        f"      job: {found['job']}",
        "      take: adjudicated",
        f"      feedback: {told['feedback']}",
        "",
        "take: majority, or take: all, changes what training reads and asks nobody. The answers stay as "
        f"they are in '{step}', and the third person's seconds are added to theirs.",
    ]
    return "\n".join(wrapped(line, width()) for line in lines)
