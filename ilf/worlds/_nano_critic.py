"""What the annotator of the nano world says: one clause a fault, in varied words."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from ilf.worlds import _nano_words as words
from ilf.worlds._nano_grammar import Fault

#: Kinds of fault that are of tone; the others are of fact.
TONE = ("insult", "pronoun")
#: The fields of clauses that tell the right value.
_RIGHT = ("{truth}", "{right}", "{person}")


def say(
    rng: random.Random,
    facts: Mapping[str, Any],
    named: Sequence[Fault],
    phrasing: str,
    opener: str = "",
    detail: str = "all",
) -> str:
    """A critique that names the faults in random order, or ``Nothing to change.`` where there are none."""
    if not named:
        return words.NOTHING
    text = opener or rng.choice(words.OPENERS)
    for index, fault in enumerate(rng.sample(named, len(named))):
        text += (rng.choice(words.JOINERS) if index else "") + _clause(rng, facts, fault, phrasing, detail)
    return text + "."


def misread(
    rng: random.Random, facts: Mapping[str, Any], found: Sequence[Fault], error_rate: float
) -> list[Fault]:
    """The faults as an annotator sees them: of those it gets wrong, half are missed, half named wrongly."""
    seen = []
    for fault in found:
        if rng.random() >= error_rate:
            seen.append(fault)
        elif rng.random() < 0.5:
            slot = rng.choice([s for s in words.SOMETIMES if s != fault.slot])
            seen.append(Fault("missing", slot, words.other(rng, slot, facts[slot])))
    return seen


def _clause(rng: random.Random, facts: Mapping[str, Any], fault: Fault, phrasing: str, detail: str) -> str:
    clauses = words.COMPLAINTS[fault.kind]
    known = len(clauses) - words.HELD_OUT
    clauses = clauses[known:] if phrasing == "held_out" else clauses[:known]
    if detail != "all":
        fitting = tuple(c for c in clauses if any(field in c for field in _RIGHT) == (detail == "tells"))
        clauses = fitting or clauses  # of an insult or an invention there is no right value
    fields = {**words.PRONOUNS[facts["pronoun"]], "name": facts["name"], "noun": fault.slot}
    fields |= {"right": str(fault.right), "bad": str(fault.bad)}
    if fault.kind == "pronoun":
        right, bad = words.PRONOUNS[str(fault.right)], words.PRONOUNS[str(fault.bad)]
        fields |= {"right": right["their"], "bad": bad["their"], "person": right["person"]}
    elif fault.slot in words.TRUTHS:
        fields["truth"] = words.TRUTHS[fault.slot].format_map(fields)
    return rng.choice(clauses).format_map(fields)
