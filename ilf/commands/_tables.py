"""Rows that are a table of numbers (a log, a comparison of rankers) as aligned text."""

from __future__ import annotations

from collections.abc import Sequence

from ilf.commands._terminal import clipped, number, paint, table, width
from ilf.protocols import Row

_SHOWN = (str, int, float, bool, type(None))


def rows_table(rows: Sequence[Row]) -> str:
    """The plain columns of all rows; where they do not fit beside each other, in blocks below each other."""
    names = [
        name
        for name in dict.fromkeys(key for row in rows for key in row)
        if all(isinstance(row.get(name), _SHOWN) for row in rows)
    ]
    if not names:
        return ""
    body = [[number(row.get(name)) for name in names] for row in rows]
    numeric = [all(not isinstance(row.get(name), str) for row in rows) for name in names]
    sizes = [max(len(name), *(len(line[i]) for line in body)) for i, name in enumerate(names)]
    blocks = []
    for block in _blocks(sizes, width()):
        lines = [[names[i] for i in block], *([line[i] for i in block] for line in body)]
        blocks.append(table(lines, right=[at for at, i in enumerate(block) if numeric[i]]))
    return "\n\n".join(blocks)


def _blocks(sizes: Sequence[int], columns: int) -> list[list[int]]:
    """Column indices in groups that fit; the first column leads every group."""
    groups: list[list[int]] = [[0]]
    used = sizes[0]
    for index, size in enumerate(sizes[1:], start=1):
        if used + 2 + size > columns and len(groups[-1]) > 1:
            groups.append([0])
            used = sizes[0]
        groups[-1].append(index)
        used += 2 + size
    return groups


def choice_table(rows: Sequence[Row]) -> str:
    """The lines of a ``choice`` step: one block per number of candidates, best ranker first."""
    groups: dict[tuple[int, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["ways"], row["texts"]), []).append(row)
    return "\n\n".join(_choice_block(ways, texts, group) for (ways, texts), group in groups.items())


def _choice_block(ways: int, texts: str, rows: Sequence[Row]) -> str:
    chance, with_cr = number(rows[0]["by_chance"]), max(row.get("with_cr") or 0 for row in rows)
    head = f"the person's text among {ways} ({texts} texts): chance reaches {chance}"
    apart = max(row["left_out"] for row in rows)
    head += f"\n{apart} rows left out: both texts are the same, or none has a score" if apart else ""
    head += f"\n{with_cr} rows have CR LF as stored" if with_cr else ""
    lines: list[list[object]] = [["ranker", "accuracy [95 %]", "over length [95 %]", "ties"]]
    known = sorted((r for r in rows if r["accuracy"] is not None), key=lambda r: -r["accuracy"])
    for row in known:
        interval = f"{row['accuracy']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        over = ""
        if row.get("over_length") is not None:
            low, high = row["over_length_low"], row["over_length_high"]
            over = f"{row['over_length']:+.3f} [{low:+.3f}, {high:+.3f}]" if low is not None else ""
        lines.append([clipped(row["ranker"], 25), interval, over, row["ties"]])
    unknown = [
        clipped(f"{r['ranker']}: not measured: {r['reason']}", width()) for r in rows if r not in known
    ]
    return "\n".join([paint(head, "dim"), table(lines, right=(1, 2, 3)), *unknown])
