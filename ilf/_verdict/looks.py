"""Looks before all verdicts are in: an interval that holds at every look, and who has won."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ilf._verdict.pairs import Pairs
from ilf._verdict.scores import by
from ilf.protocols import Row
from ilf.stats import Interval, confidence_sequence, verdict_allowed

#: Level of the interval at looks before the last. The last look's is 95 % as if it were the only one, so
#: that those before it must add next to nothing to its false winners (Haybittle 1971): at 99 % they add 0.1
#: points, at 95 % half a point (3,000 simulations of ten looks at 40 to 200 prompts).
AT_ANY_LOOK = 0.99


def fully_judged(found: Pairs, verdicts: Iterable[Row], people: int = 1) -> list[str]:
    """Ids of the prompts of which every pair that is to be judged has verdicts of so many people."""
    seen = {pair: len({row["annotator"] for row in rows}) for pair, rows in by(verdicts, "sample_id").items()}
    return [
        prompt
        for prompt, rows in by(found.rows, "prompt_id").items()
        if all(seen.get(row["sample_id"], 0) >= people for row in rows)
    ]


def at_any_look(scores: Sequence[float], planned: int) -> Interval:
    """Interval of the mean score that holds at all looks together; ``scores`` are those of judged prompts."""
    if not planned:
        return Interval(None, reason="there is nothing to judge")
    found = confidence_sequence([value - 0.5 for value in scores], planned, level=AT_ANY_LOOK)
    ends = {
        name: None if value is None else min(max(value + 0.5, 0.0), 1.0)
        for name, value in (("estimate", found.estimate), ("low", found.low), ("high", found.high))
    }
    return replace(found, **ends)  # type: ignore[arg-type]


def not_yet(judged: int, planned: int) -> str | None:
    """Why an ordinary interval may name no winner now, or None where it may."""
    return None if verdict_allowed(judged, planned) else f"{judged} of {planned} prompts are judged"


def without_ends(found: Interval, reason: str | None) -> Interval:
    """The interval, or only its estimate where there is a reason against the rest."""
    if reason is None:
        return found
    return Interval(found.estimate, prompts=found.prompts, reason=found.reason or reason)


def winner(found: Interval) -> str | None:
    """The side, A or B, that an interval of A's win rate leaves as the better one."""
    if found.low is None or found.high is None or found.low <= 0.5 <= found.high:
        return None
    return "A" if found.low > 0.5 else "B"
