"""What an answer cost: seconds of a person, with the time that was nobody's work taken off."""

from __future__ import annotations

from ilf.errors import UsageError

#: Seconds after which a page that stays open is taken for idle; of rank for every comparison (n - 1).
CAPS: dict[str, float] = {
    "critique": 600.0,
    "rank": 180.0,
    "pairwise": 180.0,
    "demonstrate": 900.0,
    "rate": 300.0,
    "verdict": 180.0,
    "refine": 600.0,
}
#: Median seconds of a person (Scheurer et al. 2023: comparison, critique, demonstration), until people were
#: measured; a rating and a verdict are read like one comparison, a refinement like a critique.
MEDIANS: dict[str, float] = {
    "critique": 182.5,
    "rank": 61.5,
    "pairwise": 61.5,
    "demonstrate": 195.5,
    "rate": 61.5,
    "verdict": 61.5,
    "refine": 182.5,
}


def cap(job: str, n_outputs: int = 2, idle_cap: float | None = None) -> float:
    """Most seconds that one answer counts: Label Studio counts a page that lies open over lunch."""
    if idle_cap is not None:
        return idle_cap
    return CAPS[job] * (max(n_outputs - 1, 1) if job == "rank" else 1)


def seconds(lead: float | None, wait: float, most: float) -> float | None:
    """Seconds of a person: lead time less the wait for the model, at most ``most``; None if unknown."""
    return None if lead is None else min(max(lead - wait, 0.0), most)


def price(job: str, n_outputs: int) -> float:
    """Seconds that a row of a job asks of a person before anybody was measured."""
    if job not in MEDIANS:
        raise UsageError(f"label_studio: no job '{job}'. Jobs: {', '.join(MEDIANS)}.")
    return MEDIANS[job] * (max(n_outputs - 1, 1) if job == "rank" else 1)
