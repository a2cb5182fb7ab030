"""What the annotator of the word removal world says: one clause a fault, in varied words."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ilf.worlds import _word_lexicon as lexicon
from ilf.worlds._word_grammar import Fault


def say(rng: random.Random, named: Sequence[Fault], phrasing: str, opener: str = "") -> str:
    """A critique that names the faults in random order, or ``Nothing to change.`` where there are none."""
    if not named:
        return lexicon.NOTHING
    text = opener or rng.choice(lexicon.OPENERS)
    for index, fault in enumerate(rng.sample(named, len(named))):
        clauses = lexicon.COMPLAINTS[fault.kind]
        known = len(clauses) - lexicon.HELD_OUT
        clause = rng.choice(clauses[known:] if phrasing == "held_out" else clauses[:known])
        text += rng.choice(lexicon.JOINERS) if index else ""
        text += clause.format(item=fault.item, word=lexicon.word(fault.item))
    return text + "."


def misread(
    rng: random.Random, found: Sequence[Fault], innocent: Sequence[str], error_rate: float
) -> list[Fault]:
    """The faults as an annotator sees them: of those it gets wrong, half are missed, half misnamed.

    A misnamed fault is a complaint about an innocent item, where there is one.
    """
    seen = []
    for fault in found:
        others = [item for item in innocent if item != fault.item]
        if rng.random() >= error_rate:
            seen.append(fault)
        elif rng.random() < 0.5 and others:
            seen.append(Fault("left", rng.choice(others)))
    return seen
