"""A training log as a person reads it in a terminal: a few columns, how fast it went, what was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ilf.commands._tables import rows_table
from ilf.commands._terminal import clipped, number, paint, table, visible, width, wrapped
from ilf.protocols import Row

#: Columns that come first, with a head for a narrow table; what else fits follows in the log's order.
_FIRST = {
    "step": "step",
    "loss": "loss",
    "reward": "reward",
    "grade": "grade",
    "kl": "kl",
    "entropy": "entropy",
    "length_tokens": "length",
    "end_rate": "ended",
    "explained_variance": "expl var",
    "clip_fraction": "clipped",
    "accuracy": "accuracy",
}
_SAMPLES = 3


def log_text(rows: Sequence[Row], n: int, measured: Mapping[str, Any], *, everything: bool = False) -> str:
    """``n`` lines evenly from first to last, the speed, where the grade turned, samples, validation."""
    total = len(rows)
    shown = rows if total <= n else [rows[i] for i in _evenly(total, n)]
    parts = [rows_table(shown) if everything else _columns(shown, rows)]
    if total > n:
        parts.append(f"{len(shown)} of {total} log rows; -n {total} shows all.")
    parts += [*_speed(rows, measured), *_turn(rows), *_samples(rows)]
    if total:
        parts += _validation(rows[-1])
    return "\n\n".join(part for part in parts if part)


def _evenly(total: int, n: int) -> list[int]:
    return sorted({round(i * (total - 1) / max(n - 1, 1)) for i in range(n)})


def _columns(shown: Sequence[Row], rows: Sequence[Row]) -> str:
    """The columns that fit beside each other, and the names of those that do not."""
    names = _names(shown)
    if not names:
        return ""
    cells = {name: [_FIRST.get(name, name), *(number(row.get(name)) for row in shown)] for name in names}
    kept: list[str] = []
    used = -2
    for name in names:
        size = 2 + max(map(len, cells[name]))
        if used + size <= width():
            kept, used = [*kept, name], used + size
    body = [list(line) for line in zip(*(cells[name] for name in kept), strict=True)]
    numeric = [i for i, name in enumerate(kept) if all(not isinstance(row.get(name), str) for row in shown)]
    told = table(body, right=numeric)
    left_out = [name for name in dict.fromkeys(key for row in rows for key in row) if name not in kept]
    if not left_out:
        return told
    others = f"also: {', '.join(left_out)} (--all shows numbers, --json everything)"
    return f"{told}\n{paint(wrapped(others, width()), 'dim')}"


def _names(rows: Sequence[Row]) -> list[str]:
    """Columns of plain values, those that say most first."""
    every = dict.fromkeys(key for row in rows for key in row)
    plain = [
        name
        for name in every
        if all(isinstance(row.get(name), (str, int, float, bool, type(None))) for row in rows)
    ]
    return [*(name for name in _FIRST if name in plain), *(name for name in plain if name not in _FIRST)]


def episodes_per_second(rows: Sequence[Row], measured: Mapping[str, Any]) -> float | None:
    """Episodes of all steps over the wall seconds of the whole step, loading and grading included."""
    seconds = measured.get("wall_seconds")
    episodes = sum(int(row.get("episodes") or 0) for row in rows)
    return episodes / seconds if isinstance(seconds, (int, float)) and seconds > 0 and episodes else None


def _speed(rows: Sequence[Row], measured: Mapping[str, Any]) -> Iterator[str]:
    speed = episodes_per_second(rows, measured)
    if speed is not None:
        seconds = float(measured["wall_seconds"])
        told = f"{number(round(speed * seconds))} episodes in {number(seconds, 1)} s"
        yield f"{told}: {number(speed, 1)} a second, loading and grading included."


def _turn(rows: Sequence[Row]) -> Iterator[str]:
    from ilf.curves import sentences

    for line in sentences({"This run": [rows]}):
        yield wrapped(line, width())


def _samples(rows: Sequence[Row]) -> Iterator[str]:
    """The first few samples of the last step that kept some."""
    row = next((row for row in reversed(rows) if row.get("samples")), None)
    if row is None or not isinstance(row["samples"], list):
        return
    shown = [one for one in row["samples"] if isinstance(one, Mapping)][:_SAMPLES]
    yield f"{len(shown)} of {len(row['samples'])} samples of step {number(row.get('step'))}:"
    for sample in shown:
        marks = [
            f"{visible(name, one_line=True)} {number(value)}"
            for name, value in sample.items()
            if isinstance(value, (int, float))
        ]
        head = paint(clipped("   ".join(marks), width() - 2), "cyan")
        prompt = paint(clipped(_text(sample.get("prompt")), width() - 4), "dim")
        yield f"  {head}\n    {prompt}\n{wrapped(_text(sample.get('output')), width(), '    ')}"


def _text(value: Any) -> str:
    from ilf.records import messages_text

    try:
        return messages_text(value).strip()
    except (TypeError, KeyError):
        return str(value)


def _validation(row: Row) -> Iterator[str]:
    """A reward model's verdict on itself, where its log ends with one."""
    from ilf.curves import validation_tables

    for found in validation_tables(row):
        rows = [list(found.head), *map(list, found.rows)]
        told = f"{found.title}:\n{table(rows, right=range(1, len(found.head)))}"
        yield f"{told}\n{paint(wrapped(found.note, width()), 'dim')}" if found.note else told
