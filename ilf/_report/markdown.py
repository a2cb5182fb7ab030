"""A comparison as Markdown for a pull request: the answer, warnings, comparisons, costs, how to run again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ilf._report.accounts import bill, plan_view
from ilf._report.beside import guessed
from ilf._report.figures import (
    SIGNS,
    Json,
    clock,
    corrected_p,
    difference,
    estimate,
    hours,
    number,
    plain,
    probability,
    sign,
)
from ilf._report.sentences import headline, warnings
from ilf._report.telling import Cast
from ilf._report.versus import versus_view

#: Planned comparisons in the table; the page has all.
MOST_ROWS = 40
_SPECIAL = re.compile(r"([\\`*_\[<>#|~$&])")
_KEY = (
    ("more", "above"),
    ("less", "below"),
    ("none", "no difference seen"),
    ("same", "shown to be the same"),
    ("unsettled", "unsettled"),
)
#: What a forge turns into links or mentions of people although it is only text.
_LINKED = re.compile(r"@|#|\bGH-|www(?=\.)|\w(?=://)", re.IGNORECASE)


def markdown(result: Json) -> str:
    """The summary as GitHub-flavoured Markdown; no text of a row can be markup, a link or a mention there."""
    cast = Cast(result)
    said = headline(result)
    blocks = [
        f"### {escaped(result.get('recipe') or 'comparison')}",
        *(f"**{escaped(s)}**" for s in said[:1]),
    ]
    flags = [f"> {SIGNS['less'][0]} {escaped(text)}" for _, text in warnings(result)]
    blocks += ["> **Warnings**\n>\n" + "\n>\n".join(flags)] if flags else []
    blocks += ["\n".join(f"- {escaped(sentence)}" for sentence in said[1:])] if said[1:] else []
    blocks += [*_comparisons(cast), *_versus(result), *_guessed(result), *_costs(cast), *_plan(cast)]
    blocks += [f"{escaped(result['world_note'])}"] if result.get("world_note") else []
    if result.get("command"):
        blocks.append(f"Run it again:\n\n{_code(str(result['command']))}")
    return "\n\n".join(blocks) + "\n"


def escaped(text: object) -> str:
    """Text as Markdown that shows it and does nothing else, on one line."""
    line = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(str(text).split()))
    line = _LINKED.sub("\\g<0>\u200b", line)
    line = _SPECIAL.sub(r"\\\1", line)
    return re.sub(r"^(\s*)([-+]|\d+[.)])(?=\s|$)", r"\1\\\2", line)


def _code(text: str) -> str:
    """A block of code whose fence no run of backticks in it can close."""
    text = "\n".join("".join(c if c.isprintable() else "\ufffd" for c in line) for line in text.splitlines())
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{text}\n{fence}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _comparisons(cast: Cast) -> list[str]:
    planned = [arm for arm in cast.arms if (arm.get("vs") or {}).get("planned", True) and arm.get("vs")]
    if not planned:
        return []
    rows = [
        [
            escaped(arm["arm"]),
            escaped(estimate(arm)),
            escaped(vs.get("control")),
            f"{sign(vs)[1]} {escaped(difference(vs))}",
            escaped(probability(corrected_p(vs))),
            plain(vs.get("mde")),
            hours(arm.get("human_seconds")),
            plain(arm.get("samples_per_answer"), 0),
        ]
        for arm in planned[:MOST_ROWS]
        for vs in [arm["vs"]]
    ]
    head = [
        "arm",
        "grade [95 %]",
        "control",
        "difference [95 %]",
        "p",
        "could have seen",
        "human h",
        "samples an answer",
    ]
    by = f", p corrected by {escaped(cast.result['p_correction'])}" if cast.result.get("p_correction") else ""
    left = f" {len(planned) - MOST_ROWS} more stand on the page." if len(planned) > MOST_ROWS else ""
    key = ", ".join(f"{SIGNS[kind][0]} {words}" for kind, words in _KEY)
    return [_table(head, rows), f"Planned comparisons{by}. {escaped(key)}.{left}"]


def _guessed(result: Json) -> list[str]:
    lines = [
        f"- {escaped(axis['axis'])} ({escaped(axis['measure'])}): {escaped(words)}"
        for axis, words in guessed(result)
    ]
    return ["\n".join(lines)] if lines else []


def _versus(result: Json) -> list[str]:
    blocks = []
    for table in versus_view(result):
        at = "" if table["budget"] is None else f", {plain(table['budget'], 0)} s each"
        rows = [
            [
                escaped(row["name"]),
                *(f"{cell['mark']} {cell['size']} ({cell['reach']})" for cell in row["cells"]),
            ]
            for row in table["rows"]
        ]
        head = [f"row minus column{at}", *map(escaped, table["columns"])]
        blocks.append(_table(head, rows))
    about = escaped(result.get("versus_about") or "")
    return [*blocks, *([f"Arms against arms, one family of planned comparisons. {about}"] if blocks else [])]


def _costs(cast: Cast) -> list[str]:
    found = bill(cast.result)
    if found is None:
        return []
    rows = [[what, escaped(amount), escaped(note)] for what, amount, note in found["lines"]]
    heavy = [
        f"{escaped(arm['arm'])} samples {plain(arm['samples_per_answer'], 0)} texts for every answer"
        + (f" ({escaped(clock(arm['answer_seconds']))} each)" if number(arm.get("answer_seconds")) else "")
        for arm in cast.arms
        if (number(arm.get("samples_per_answer")) or 1) > 1
    ]
    return [
        _table(["cost", "amount", "of what"], rows),
        *(["At test time " + "; ".join(heavy) + "."] if heavy else []),
    ]


def _plan(cast: Cast) -> list[str]:
    found = plan_view(cast)
    if found is None:
        return []
    changes = [what for change in found["changes"] for what in change.get("what") or []]
    said = [found["when"]]
    said += [f"Changed since: {escaped('; '.join(map(str, changes)))}."] if changes else []
    names = ", ".join(escaped(arm["arm"]) for arm in found["afterwards"])
    said += [f"Looked at afterwards, not planned: {names}."] if names else []
    return ["Plan: " + " ".join(said)]
