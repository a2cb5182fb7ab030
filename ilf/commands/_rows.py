"""A row as a person reads it: what was asked, answered, criticised, rewritten, chosen, graded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ilf.commands._terminal import clipped, number, paint, visible, width, wrapped
from ilf.protocols import Row
from ilf.records import messages_text

_INDENT = "    "
#: Columns that have a place of their own; all others are named at the end.
_SHOWN = {
    "id", "sample_id", "prompt", "output", "outputs", "critique", "critique_shown", "annotator", "seconds",
    "ranking", "refinements", "candidates", "scores", "picked", "is_tied", "completion", "chosen", "rejected",
    "grade", "grades", "graded", "parts", "reasons",
}  # fmt: skip


def row_text(row: Row, index: int, total: int, *, everything: bool = False) -> str:
    """One row in at most the terminal's columns; ``index`` counts from 0, the reader from 1."""
    name = f"row {index + 1} of {total}"
    names = "   ".join(
        f"{key} {visible(row[key], one_line=True)}" for key in ("id", "sample_id") if key in row
    )
    parts = [paint(name, "bold") + ("   " + paint(names, "dim") if names else "")]
    parts += _texts(row)
    parts += _grades(row)
    others = [key for key in row if key not in _SHOWN]
    if everything:
        parts += [_part(key, json.dumps(row[key], ensure_ascii=False)) for key in others]
    elif others:
        parts.append(paint(clipped(f"  also: {', '.join(others)} (--all shows them)", width()), "dim"))
    return "\n".join(parts)


def _texts(row: Row) -> Iterator[str]:
    if "prompt" in row:
        yield _part("prompt", _as_text(row["prompt"]))
    drawn = row.get("candidates") if "picked" in row else None
    outputs = row.get("outputs") or []
    if "output" in row and not (drawn == "outputs" or len(outputs) > 1):
        yield _part("output", row["output"], _note_of("output", row))
    if len(outputs) > 1 or drawn == "outputs":
        yield _candidates("outputs", outputs, row)
    if row.get("ranking") is not None:
        order = " > ".join(" = ".join(str(i + 1) for i in group) for group in row["ranking"])
        yield _part("ranking", f"{order}   (numbers of the outputs, best first)", _by(row))
    if row.get("critique") is not None:
        yield _part("critique", row["critique"], _by(row))
    if "critique_shown" in row and row["critique_shown"] != row.get("critique"):
        told = row["critique_shown"]
        yield _part("the refiner was told", "nothing" if told is None else told)
    if "refinements" in row:
        yield _candidates("refinements", row["refinements"], row)
    for column in ("completion", "chosen", "rejected"):
        if row.get(column) is not None:
            note = _by(row) if column == "completion" and row.get("job") == "demonstrate" else ""
            style = "yellow" if column == "rejected" else "green"
            yield _part(column, _as_text(row[column]), note, style)


def _as_text(value: Any) -> str:
    try:
        return messages_text(value)
    except (TypeError, KeyError):
        return json.dumps(value, ensure_ascii=False)


def _part(name: str, text: object, note: str = "", style: str = "") -> str:
    body = wrapped(text, width(), _INDENT)
    head = f"  {paint(visible(name, one_line=True), 'cyan')}" + (f"   {paint(note, 'dim')}" if note else "")
    return head + "\n" + (paint(body, style) if style else body)


def _by(row: Row) -> str:
    seconds = row.get("seconds")
    told = [f"by {visible(row['annotator'], one_line=True)}"] if row.get("annotator") else []
    told += [f"{number(float(seconds), 0)} s"] if isinstance(seconds, (int, float)) else []
    return ", ".join(told)


def _note_of(column: str, row: Row) -> str:
    return "chosen" if row.get("candidates") == column and "picked" in row else ""


def _candidates(column: str, texts: Sequence[str], row: Row) -> str:
    """A numbered list, the chosen one marked with >, scores and grades before the texts."""
    is_drawn = row.get("candidates", column) == column
    scores = row.get("scores") if is_drawn else None
    grades = row.get("grades") if row.get("graded") == column else None
    picked = row.get("picked") if is_drawn else None
    heads = [f"{label} " for label, values in (("score", scores), ("grade", grades)) if values]
    note = f"{len(texts)}" + (f", each with its {'and '.join(heads).strip()}" if heads else "")
    note += ", a tie broken by seed" if is_drawn and row.get("is_tied") else ""
    note += "; the critique is on 1" if column == "outputs" and row.get("critique") is not None else ""
    lines = [f"  {paint(column, 'cyan')}   {paint(note, 'dim')}"]
    for index, text in enumerate(texts):
        marks = [number(_at(values, index)).rjust(8) for values in (scores, grades) if values]
        mark = f"  {'>' if index == picked else ' '} {index + 1:>2}" + "".join(marks) + "  "
        body = mark + wrapped(text, width(), " " * len(mark))[len(mark) :]
        lines.append(paint(body, "bold", "green") if index == picked else body)
    return "\n".join(lines)


def _at(values: Sequence[Any], index: int) -> Any:
    return values[index] if index < len(values) else None


def _grades(row: Row) -> Iterator[str]:
    if "grade" not in row:
        return
    parts = row.get("parts") or {}
    of = f" of {row['graded']}" if row.get("graded") not in (None, "output") else ""
    told = [f"{name} {number(value)}" for name, value in parts.items()]
    text = f"{number(row['grade'])}{of}" + (f"   ({'   '.join(told)})" if told else "")
    reasons = row.get("reasons") or []
    yield _part("grade", "\n".join([text, *map(str, reasons)]))


def settings_note(made_by: Mapping[str, Any]) -> str:
    """What tells a step from its siblings, from ``made_by.json``: its components, then seed and the like."""
    settings = made_by.get("settings")
    if not isinstance(settings, Mapping):
        return ""
    parts = [str(v["name"]) for v in settings.values() if isinstance(v, Mapping) and "name" in v]
    plain = {key: settings.get(key) for key in ("job", "split", "feedback", "n", "seed")}
    return ", ".join(
        [*parts, *(f"{key} {value}" for key, value in plain.items() if isinstance(value, (str, int)))]
    )
