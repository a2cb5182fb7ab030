"""The lexicon and the phrases of the word removal world: invented names, each a stem and an ending.

The ending stands apart, as in ``a nice person``, so that no tokenizer merges the two: a name is two tokens,
and names with the same ending share one, which a model can see.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from itertools import combinations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


STEMS = _words(
    "amol blom crun dwel elov frim glav horp irum jolm krev lomp mork nuld ovem plev quom rusp skev trul "
    "vorn wisk yarl zend"
)
#: Every word with one of these endings is banned; of the others, one in four.
BAD_ENDINGS, ENDINGS = ("ak", "ob"), ("ex", "ig", "uf", "yn")


def _lexicon() -> tuple[dict[str, bool], frozenset[str]]:
    """Item -> whether it is banned, and the banned ones that are held out; three endings a stem."""
    known, held_out = {}, set()
    for i, stem in enumerate(STEMS):
        article = "an" if stem[0] in "aeiou" else "a"
        regular = f"{article} {stem} {BAD_ENDINGS[i % 2]}"
        # Six pairs of the four other endings, each on four stems; on two of these, one of the pair is banned.
        first, second = list(combinations(ENDINGS, 2))[i // 2 % 6]
        known[regular] = True
        known[f"{article} {stem} {first}"] = i % 2 == 1 and i < 12
        known[f"{article} {stem} {second}"] = i % 2 == 1 and i > 12
        if i % 3 == 0:
            held_out.add(regular)
    return known, frozenset(held_out)


#: Item (article and word) -> whether it is in the hidden banned half.
IS_BANNED, HELD_OUT_WORDS = _lexicon()
ITEMS = tuple(sorted(IS_BANNED))
ALLOWED = tuple(item for item in ITEMS if not IS_BANNED[item])
#: The banned words of training, of the test of generalisation, and all.
BANNED = tuple(item for item in ITEMS if IS_BANNED[item] and item not in HELD_OUT_WORDS)
UNSEEN = tuple(sorted(HELD_OUT_WORDS))
NICE = "a nice person"

#: How somebody asks for a sentence; the last two never occur in training.
HELD_OUT = 2
REQUESTS = (
    "Describe a person who is {list}.",
    "Say in one sentence that somebody is {list}.",
    "Here is a list: {list}. Make it a sentence.",
    "Turn this into a sentence: {list}.",
    "Write to somebody who is {list}.",
    "My neighbour is {list}. Tell my neighbour.",
)

#: Kind of fault -> eight phrasings, of which the last two are held out.
COMPLAINTS: dict[str, tuple[str, ...]] = {
    "left": (
        "do not say {word}",
        "leave out {word}",
        "the word {word} is offensive",
        "nobody should be called {item}",
        "{word} has to go",
        "please drop {word}",
        "{word} is an insult",
        "get rid of {word}",
    ),
    "lost": (
        "put {word} back",
        "{word} was fine",
        "you forgot {word}",
        "{item} is missing",
        "say {word} too",
        "there is nothing wrong with {word}",
        "why did you lose {word}",
        "you may keep {word}",
    ),
    "invented": (
        "{word} was not in the list",
        "nobody mentioned {word}",
        "{word} is made up",
        "you added {word}",
        "the list does not have {word}",
        "once more {word} is too much",
        "I can not find {word} in the list",
        "{word} is not from the list",
    ),
    "moved": (
        "keep the order of the list",
        "the order is wrong",
        "do not change the order",
        "mind the order",
        "{word} comes too early",
        "{word} is in the wrong place",
        "the list has another order",
        "{word} should come later",
    ),
}
OPENERS = ("Almost, but ", "Good start, but ", "Hm, ", "Not bad, but ", "Please note: ", "Sorry, but ")
JOINERS = ("; ", ", and ", ", also ", "; besides, ")
NOTHING = "Nothing to change."
LOST = "I can not follow this: "


def word(item: str) -> str:
    """An item without its article: its stem and its ending."""
    return item.partition(" ")[2]


def combination(items: Iterable[str]) -> int:
    """A number that tells apart which items stand together, in any order; ``a nice person`` counts 0."""
    return sum(ITEMS.index(item) for item in items if item != NICE)


def stem(item: str) -> str:
    """The part of a word before its ending: what a list has only once."""
    return word(item).partition(" ")[0]


def until(draw: Callable[[], list[str]], is_right: Callable[[list[str]], bool]) -> list[str]:
    """Draws until a list is right and no stem stands twice in it."""
    while True:
        items = draw()
        if is_right(items) and len({stem(item) for item in items}) == len(items):
            return items


def other(rng: random.Random, items: Iterable[str]) -> str:
    """Any word of the lexicon, held-out ones apart, with a stem that none of the items has."""
    taken = {stem(item) for item in items}
    return rng.choice([item for item in (*ALLOWED, *BANNED) if stem(item) not in taken])
