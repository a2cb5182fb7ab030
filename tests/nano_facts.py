"""A post of the nano world with every slot, one with few, and draws of others."""

from __future__ import annotations

import random

from ilf.worlds.nano import Nano

NANO = Nano()
#: A post with every slot, and its faultless summary in the four styles.
FACTS = {
    "name": "Alvo",
    "pronoun": "she",
    "job": "pilot",
    "town": "Quosk",
    "problem": "broke",
    "object": "lamp",
    "price": "270",
    "ending": "cried",
    "detail": "at night",
    "filler": "3",
    "wording": [
        ["name", 0],
        ["job", 1],
        ["problem", 0],
        ["detail", 0],
        ["price", 0],
        ["filler", 0],
        ["ending", 0],
        ["town", 0],
    ],
}
FEW = {**FACTS, "job": None, "town": None, "price": None, "detail": None}


def draw(n: int, split: str = "train", seed: int = 0) -> list[dict]:
    rng = random.Random(f"{split} {seed}")
    return [NANO.facts(rng, split) for _ in range(n)]
