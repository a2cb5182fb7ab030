"""Model cards and a data card of a comparison, in Markdown, from the numbers of its page.

The front matter is that of the hub's cards. What was not measured says so; nothing is claimed for people that
a closed world showed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ilf._report.figures import estimate, hours, number, plain, probability, signed

Json = Mapping[str, Any]
_AXES = ("axis", "measure", "before", "after", "difference, 95 %", "verdict")


def model_card(result: Json, arm: str) -> str:
    """The card of one arm's model: what it learnt from, what it reached beside its controls, what it cost.

    KeyError for an arm that is not in the comparison.
    """
    row = {entry["arm"]: entry for entry in result["arms"]}[arm]
    return "\n".join(
        [
            *_front_matter("model", {"tags": ["ilf", "language-feedback"], "model_name": arm}),
            f"# {_line(arm)}",
            "",
            _line(row.get("about") or result.get("about") or ""),
            "",
            *_note(result),
            "## What it learnt from",
            "",
            f"- recipe `{_line(result['recipe'])}`, arm `{_line(arm)}`, {row['seeds']} seeds",
            f"- people: {hours(row['human_seconds'])} hours, {plain(row.get('annotations'), 0)} answers",
            f"- prompts without labels: {plain(row.get('unlabelled_prompts'), 0)}; rows trained on: "
            f"{plain(row.get('rows'), 0)}; updates: {plain(row.get('updates'), 0)}",
            "",
            "## What it reached",
            "",
            f"Grade on {result['test_prompts']} test prompts: **{estimate(row)}** (95 %). Texts sampled for "
            f"an answer: {plain(row.get('samples_per_answer'), 0)}.",
            "",
            *_table(["minus", "difference, 95 %", "p, corrected"], _contrasts(row)),
            "## Beside the grade",
            "",
            *_table(_AXES, _axes(result, arm)),
            *_warnings(result, arm),
            "## What it took",
            "",
            f"- {plain(row.get('cpu_seconds'), 0)} seconds of processor time a seed, "
            f"{_joules(row.get('joules'), result)}",
            "",
            *_again(result),
        ]
    )


def data_card(result: Json) -> str:
    """The card of what people (or a closed world's annotator) said: jobs, answers, seconds, limits."""
    bill = result["ledger"]
    jobs = [
        [job, plain(found["annotations"], 0), hours(found["seconds"])]
        for job, found in bill["by_job"].items()
    ]
    return "\n".join(
        [
            *_front_matter("data", {"tags": ["ilf", "language-feedback"], "pretty_name": result["recipe"]}),
            f"# What was said in {_line(result['recipe'])}",
            "",
            _line(result.get("about") or ""),
            "",
            *_note(result),
            f"{plain(bill['annotations'], 0)} answers, {hours(bill['human_seconds'])} hours, over all arms "
            "and seeds, each counted once.",
            "",
            *_table(["job", "answers", "hours"], jobs),
            "Annotators are named by pseudonyms. `ilf forget` takes a person's answers, and what was made "
            "from them, out of a run.",
            "",
            *_again(result),
        ]
    )


def _front_matter(kind: str, values: Mapping[str, Any]) -> Iterator[str]:
    import yaml

    text: str = yaml.safe_dump({"library_name": "ilf", **values} if kind == "model" else dict(values))
    yield from ("---", text.strip(), "---", "")


def _note(result: Json) -> list[str]:
    return [f"> {_line(result['world_note'])}", ""] if result.get("world_note") else []


def _contrasts(row: Json) -> list[list[str]]:
    found = [value for key, value in row.items() if key.startswith("vs")]
    seen: dict[str, Json] = {vs["control"]: vs for vs in reversed(found) if vs}
    return [
        [f"`{_line(name)}`", estimate(vs, "difference", signed), probability(vs.get("p_holm"))]
        for name, vs in seen.items()
    ]


def _axes(result: Json, arm: str) -> Iterator[list[str]]:
    for axis in result.get("axes") or ():
        rows = [row for row in axis["rows"] if row["arm"] == arm]
        if not rows:
            reason = axis.get("reason") or "this arm was not asked"
            yield [axis["axis"], axis["measure"], "", "", f"not measured: {reason}", ""]
        for row in rows:
            yield [
                axis["axis"],
                axis["measure"],
                plain(row.get("before")),
                plain(row.get("after")),
                _change(row),
                row.get("verdict", ""),
            ]


def _change(row: Json) -> str:
    if "difference" in row:
        return estimate(row, "difference", signed)
    return f"not measurable: {row['after_reason']}" if row.get("after_reason") else ""


def _warnings(result: Json, arm: str) -> list[str]:
    words = {
        "worse_than_base": "It is worse than the model that nobody trained.",
        "nothing_bought": "What people were paid for was not shown to be worth more than its control.",
        "traded": "It is better on preference and worse on {axis}.",
        "not_held_out": "It is graded by {model}, whose marks it learnt from or picks by: no evidence.",
    }
    said = [words[flag["kind"]].format(**flag) for flag in result.get("flags") or () if flag["arm"] == arm]
    return [*(f"> **Warning.** {_line(text)}" for text in said), ""] if said else []


def _joules(joules: object, result: Json) -> str:
    energy = (result.get("ledger") or {}).get("energy") or {}
    if number(joules) is None:
        return f"energy {energy.get('reason') or 'not measured'}"
    return f"{plain(joules, 0)} J ({_line(energy.get('method') or '')})"


def _again(result: Json) -> list[str]:
    command = _line(result.get("command") or f"ilf compare {result['recipe']}").replace("`", "'")
    return ["## Make it again", "", f"    {command}", "", f"ilf {_line(result.get('version') or '')}", ""]


def _table(head: Sequence[str], rows: Iterator[list[str]] | list[list[str]]) -> list[str]:
    body = [f"| {' | '.join(_line(cell) for cell in row)} |" for row in rows]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *body, ""] if body else []


def _line(text: object) -> str:
    """Text of a cell or line: whatever it holds, it stays one and makes no markup of its own."""
    flat = " ".join(str(text).split())
    return re.sub(r"([|<>*_\[\]])", r"\\\1", flat) if re.search(r"[|<>\[\]]", flat) else flat
