"""A comparison as plain text for a terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence

from ilf._report.beside import guessed
from ilf._report.figures import (
    Json,
    by_grade,
    corrected_p,
    difference,
    estimate,
    hours,
    number,
    plain,
    probability,
)
from ilf._report.sentences import headline, warnings
from ilf._report.turn import sentences
from ilf._report.versus import versus_view


def terminal(result: Json, width: int = 80) -> str:
    """The sentences and the tables as plain text of at most ``width`` columns (80 or more)."""
    blocks = [
        _wrapped(f"{result.get('recipe', 'comparison')}: {result.get('about') or ''}".rstrip(": "), width)
    ]
    said = headline(result)
    blocks += [_wrapped(line, width) for line in said[:1]]
    blocks.append("\n".join(_wrapped(f"! {line}", width) for _, line in warnings(result)))
    blocks += [_wrapped(line, width) for line in said[1:]]
    arms = by_grade(result.get("arms") or [])
    if arms:
        blocks.append(_aligned(_arm_lines(arms, width), width) + "\n" + _controls(arms, result, width))
    blocks += [_aligned(lines, width) for lines in map(_versus_lines, versus_view(result))]
    worth = by_grade(result.get("worth") or [], "real")
    if worth:
        header = ["ranker, trained on", "real", "shuffled", "none", "own", "real minus none", "p"]
        blocks.append(_aligned([header, *map(_worth_line, worth)], width))
    picks = by_grade(result.get("picks") or [])
    if picks:
        header = ["ranker's pick", "grade [95 %]", "headroom", "tau", "longest", "unchanged", "ties"]
        blocks.append(_aligned([header, *map(_pick_line, picks)], width))
    blocks.append("\n".join(_wrapped(line, width) for line in sentences(result.get("curves") or {})))
    notes = [result.get("world_note"), *(result.get("notes") or [])]
    notes += [f"{axis['axis']} ({axis['measure']}): {words}" for axis, words in guessed(result)]
    notes += [
        f"{name}: {row['reason']}" for name, row in _named_rows(arms, worth, picks) if row.get("reason")
    ]
    blocks.append("\n".join(_wrapped(str(note), width) for note in notes if note))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _arm_lines(arms: Sequence[Json], width: int) -> list[list[str]]:
    """The table of arms under its head; with how far each policy went, where that is known and has room."""
    lines = [["arm (* control)", "grade [95 %]", "minus control", "p", "hours", "comp s"]]
    lines += map(_arm_line, arms)
    if all(number(arm.get("kl")) is None for arm in arms):
        return lines
    wider = [
        [*line, kl] for line, kl in zip(lines, ["KL", *(plain(a.get("kl"), 1) for a in arms)], strict=True)
    ]
    return wider if sum(_widths(wider)) + len(wider[0]) - 1 <= width else lines


def _arm_line(arm: Json) -> list[str]:
    vs = arm.get("vs") or {}
    name = f"{arm['arm']} *" if arm.get("is_control") else str(arm["arm"])
    cost = [hours(arm.get("human_seconds")), plain(arm.get("compute_seconds"), 0)]
    return [name, _short(estimate, arm), _short(difference, vs), probability(corrected_p(vs)), *cost]


def _versus_lines(table: Json) -> list[list[str]]:
    """Rows minus columns: sign and size; the intervals stand on the page."""
    at = "" if table["budget"] is None else f" at {plain(table['budget'], 0)} s"
    rows = [[row["name"], *(f"{c['mark']}{c['size']}" for c in row["cells"])] for row in table["rows"]]
    return [[f"row minus column{at}", *table["columns"]], *rows]


def _worth_line(row: Json) -> list[str]:
    vs = row.get("vs_none") or {}
    grades = [plain(row.get(key)) for key in ("real", "shuffled", "none", "own")]
    return [str(row["ranker"]), *grades, _short(difference, vs), probability(corrected_p(vs))]


def _pick_line(row: Json) -> list[str]:
    shares = [plain(row.get(key), 2) for key in ("headroom", "tau", "longest", "unchanged")]
    return [str(row["ranker"]), _short(estimate, row), *shares, plain(row.get("ties"), 0)]


def _short(form: Callable[[Json], str], row: Json) -> str:
    """An estimate for a narrow column: a dash for what is not measured, its reason stands below."""
    known = form({key: value for key, value in row.items() if key != "reason"})
    return "-" if known == "not measured" else known.replace(", ", ",")


def _named_rows(*tables: Iterable[Json]) -> list[tuple[str, Json]]:
    return [(str(row.get("arm") or row.get("ranker")), row) for table in tables for row in table]


def _controls(arms: Sequence[Json], result: Json, width: int) -> str:
    """Which control each arm was compared with, and how p was corrected."""
    against: dict[str, list[str]] = {}
    for arm in arms:
        if arm.get("vs"):
            against.setdefault(str(arm["vs"].get("control")), []).append(str(arm["arm"]))
    most, *others = sorted(against, key=lambda control: -len(against[control])) or ["none"]
    said = "".join(f"; {control} for {', '.join(against[control])}" for control in others)
    p = f"; p corrected by {result['p_correction']}" if result.get("p_correction") else ""
    return _wrapped(f"Control: {most}{said}. Hours are people's, comp s is compute{p}.", width)


def _aligned(rows: Sequence[Sequence[str]], width: int) -> str:
    """First column left, the others right, no 0 before the point; a long name has its own line."""
    cells = [_cells(row) for row in rows]
    widths = _widths(rows)
    gap = 2 if sum(widths) + 2 * len(widths[1:]) <= width else 1
    widths[0] = max(8, min(widths[0], width - sum(widths[1:]) - gap * len(widths[1:])))
    lines = []
    for row in cells:
        first = row[0] if len(row[0]) <= widths[0] else ""
        lines += [] if first == row[0] else textwrap.wrap(row[0], width)
        rest = [cell.rjust(size) for cell, size in zip(row[1:], widths[1:], strict=True)]
        lines.append((" " * gap).join([first.ljust(widths[0]), *rest]).rstrip())
    return "\n".join(lines)


def _cells(row: Sequence[str]) -> list[str]:
    return [re.sub(r"(?<![\d.])0\.(?=\d)", ".", _line(cell)) for cell in row]


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(cell) for cell in column) for column in zip(*map(_cells, rows), strict=True)]


def _line(text: str) -> str:
    """One line without control characters, so that no name can move the cursor or colour the screen."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(str(text).split()))


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(_line(text), width, break_on_hyphens=False)
