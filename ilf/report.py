"""A comparison's result as one HTML page and as text for a terminal; both say the same sentences.

``result`` is the object that ``ilf compare --json`` prints. A key that is absent leaves its section out; a
number that is None is shown as not measured, with its ``reason`` where there is one. The same result gives
the same bytes: no clock, no network. The page holds no script, and its content security policy lets none run.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ilf.files import write_whole
from ilf.records import messages_text

Json = Mapping[str, Any]
ORACLE = "oracle"  # the ranker that reads the grade: shown, but never the answer
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_SOURCES = (
    ("real", "on real feedback"),
    ("shuffled", "on shuffled feedback"),
    ("none", "without feedback"),
    ("own", "on its own first outputs"),
)
_NAMED_ONE_BY_ONE = 3  # a sentence names the two ends of a longer list

# --- numbers as text


def number(value: object) -> float | None:
    """A finite number, or None for all else (None, NaN, text, booleans)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def plain(value: object, digits: int = 3) -> str:
    """``0.738``; a dash for what is unknown."""
    known = number(value)
    return "-" if known is None else f"{known:,.{digits}f}"


def signed(value: object, digits: int = 3) -> str:
    """``+0.145``; what rounds to 0 has no sign."""
    known = number(value)
    if known is None:
        return "-"
    text = f"{known:+.{digits}f}"
    return text[1:] if float(text) == 0 else text


def probability(value: object) -> str:
    """``0.012`` or ``<0.001``."""
    known = number(value)
    return "<0.001" if known is not None and known < 0.001 else plain(known)


def hours(seconds: object) -> str:
    """Seconds as hours."""
    known = number(seconds)
    return "-" if known is None else plain(known / 3600, 1 if known else 0)


def estimate(row: Json | None, key: str = "grade", form: Callable[[object], str] = plain) -> str:
    """``0.738 [0.716, 0.760]``, ``0.738 [no interval: reason]`` or ``not measured: reason``."""
    row = row or {}
    reason = f": {row['reason']}" if row.get("reason") else ""
    if number(row.get(key)) is None:
        return "not measured" + reason
    known = number(row.get("low")) is not None and number(row.get("high")) is not None
    return f"{form(row[key])} " + (
        f"[{form(row['low'])}, {form(row['high'])}]" if known else f"[no interval{reason}]"
    )


def corrected_p(contrast: Json) -> float | None:
    """The p value that the sentences rest on: ``p_holm`` where it is given, else ``p``."""
    return number(contrast.get("p_holm", contrast.get("p")))


difference = partial(estimate, key="difference", form=signed)

# --- the sentences


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
    base = _grade_of("base", result.get("arms") or [], "arm")
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


# --- the terminal


def terminal(result: Json, width: int = 80) -> str:
    """The sentences and the tables as plain text of at most ``width`` columns (80 or more)."""
    blocks = [
        _wrapped(f"{result.get('recipe', 'comparison')}: {result.get('about') or ''}".rstrip(": "), width)
    ]
    blocks += [_wrapped(line, width) for line in headline(result)]
    arms = by_grade(result.get("arms") or [])
    if arms:
        header = ["arm (* control)", "grade [95 %]", "minus control", "p", "hours", "comp s"]
        blocks.append(
            _aligned([header, *map(_arm_line, arms)], width) + "\n" + _controls(arms, result, width)
        )
    worth = by_grade(result.get("worth") or [], "real")
    if worth:
        header = ["ranker, trained on", "real", "shuffled", "none", "own", "real minus none", "p"]
        blocks.append(_aligned([header, *map(_worth_line, worth)], width))
    picks = by_grade(result.get("picks") or [])
    if picks:
        header = ["ranker's pick", "grade [95 %]", "headroom", "tau", "longest", "unchanged", "ties"]
        blocks.append(_aligned([header, *map(_pick_line, picks)], width))
    notes = [result.get("world_note"), *(result.get("notes") or [])]
    notes += [
        f"{name}: {row['reason']}" for name, row in _named_rows(arms, worth, picks) if row.get("reason")
    ]
    blocks.append("\n".join(_wrapped(str(note), width) for note in notes if note))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _arm_line(arm: Json) -> list[str]:
    vs = arm.get("vs") or {}
    name = f"{arm['arm']} *" if arm.get("is_control") else str(arm["arm"])
    cost = [hours(arm.get("human_seconds")), plain(arm.get("compute_seconds"), 0)]
    return [name, _short(estimate, arm), _short(difference, vs), probability(corrected_p(vs)), *cost]


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
    cells = [[re.sub(r"(?<![\d.])0\.(?=\d)", ".", _line(cell)) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    gap = 2 if sum(widths) + 2 * len(widths[1:]) <= width else 1
    widths[0] = max(8, min(widths[0], width - sum(widths[1:]) - gap * len(widths[1:])))
    lines = []
    for row in cells:
        first = row[0] if len(row[0]) <= widths[0] else ""
        lines += [] if first == row[0] else textwrap.wrap(row[0], width)
        rest = [cell.rjust(size) for cell, size in zip(row[1:], widths[1:], strict=True)]
        lines.append((" " * gap).join([first.ljust(widths[0]), *rest]).rstrip())
    return "\n".join(lines)


def _line(text: str) -> str:
    """One line without control characters, so that no name can move the cursor or colour the screen."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(str(text).split()))


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(_line(text), width, break_on_hyphens=False)


# --- the page


@dataclass(frozen=True)
class Axis:
    """A scale for plots: values to percent of the width, with round ticks."""

    low: float
    high: float
    step: float

    @classmethod
    def over(cls, rows: Iterable[Json | None], key: str, also: Sequence[float] = ()) -> Axis | None:
        """The axis that holds the estimates ``key`` and intervals of all rows, or None without numbers."""
        found = [number(row.get(k)) for row in rows if row for k in (key, "low", "high")]
        values = [*also, *(value for value in found if value is not None)]
        if len(values) == len(also):
            return None
        span = max(max(values) - min(values), 0.01)
        power = 10.0 ** math.floor(math.log10(span / 5))
        step = next(power * m for m in (1, 2, 5, 10) if power * m >= span / 5.0001)
        low, high = math.floor(min(values) / step) * step, math.ceil(max(values) / step) * step
        pad = 0.02 * (max(high, low + step) - low)
        return cls(low - pad, max(high, low + step) + pad, step)

    def at(self, value: object) -> str:
        """Position of a value, in percent."""
        return f"{100 * ((number(value) or 0.0) - self.low) / (self.high - self.low):.2f}%"

    @property
    def ticks(self) -> list[tuple[str, str]]:
        """(position, label) of each tick."""
        digits = max(0, -math.floor(math.log10(self.step) + 1e-9))
        first, last = math.ceil(self.low / self.step), math.floor(self.high / self.step)
        return [(self.at(i * self.step), f"{i * self.step:.{digits}f}") for i in range(first, last + 1)]


def by_grade(rows: Iterable[Json], key: str = "grade") -> list[Json]:
    """Highest first; rows without a number last, in the order given."""
    return sorted(
        rows, key=lambda row: -(known if (known := number(row.get(key))) is not None else -math.inf)
    )


def _clean(value: object) -> object:
    """What no HTML file may hold (control characters, lone surrogates) becomes the replacement character."""
    if value is None:
        return ""
    return type(value)(_UNPRINTABLE.sub("\ufffd", value)) if isinstance(value, str) else value


def _minus(text: object) -> str:
    """A real minus sign before numbers."""
    return re.sub(r"(?<![\w.])-(?=[\d.])", "\u2212", str(text))


def _grade_of(name: str, rows: Iterable[Json], key: str) -> float | None:
    return next((number(row.get("grade")) for row in rows if row.get(key) == name), None)


def render(result: Json) -> str:
    """The page as one HTML text without script or outside address."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, finalize=_clean, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    filters = (plain, signed, probability, hours, estimate, number, corrected_p)
    environment.filters.update({function.__name__: function for function in filters})
    environment.filters.update(difference=difference, minus=_minus, words=messages_text)
    template = environment.from_string(Path(__file__).with_name("report_template.html").read_text("utf-8"))
    arms, worth = by_grade(result.get("arms") or []), by_grade(result.get("worth") or [], "real")
    picks = by_grade(result.get("picks") or [])
    contrasts = [row.get(key) for row in worth for key in ("vs_none", "vs_shuffled")]
    return template.render(
        result=result,
        headline=headline(result),
        arms=arms,
        worth=worth,
        picks=picks,
        arm_axis=Axis.over(arms, "grade"),
        worth_axis=Axis.over(contrasts, "difference", also=(0.0,)),
        pick_axis=Axis.over(picks, "grade"),
        parts=list(dict.fromkeys(part for arm in arms for part in arm.get("parts") or {})),
        splits=list(dict.fromkeys(row["split"] for row in result.get("generalisation") or [])),
        base=_grade_of("base", arms, "arm"),
        chance=_grade_of("chance", picks, "ranker"),
        seeds=sorted({arm["seeds"] for arm in arms if number(arm.get("seeds")) is not None}),
    )


def write(result: Json, path: Path) -> None:
    """Writes the page, whole or not at all."""
    write_whole(path, render(result))
