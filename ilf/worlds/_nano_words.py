"""The vocabulary and the sentences of the nano world. Every value of a slot is one token of its tokenizer."""

from __future__ import annotations

import random


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NAMES = _words(
    "Alvo Arun Beki Bolan Brin Cavo Cemi Coru Dalo Demi Dorun Ebri Elko Emin Falu Feno Foris Galo Geri Gorun "
    "Hali Heno Horvi Ilan Jalu Jeno Joru Kavi Kelo Koris Lami Levo Lorun Mavi Melo Moris Nalu Neko Noru Obri "
    "Olan Orvi Palu Peno Poris Rami Relo Ruvi Sabi Selo Soru Tavi Teko Toris Ulan Valo Veni Welo Yori "
    "Zabi"
)
#: Invented, distinct in their first three letters.
TOWNS = _words(
    "Arvold Belmar Brenhal Corwick Crunoa Dalwick Dunlow Elstad Fenholm Fostead Glimby Gralin Hobrun Istova "
    "Jorvale Kelmont Lindar Morath Nelgard Ostrey Pelwick Quosk Rudmar Skelby Tarnel Ulmere Vintra Wexlow "
    "Yarbo Zelham"
)
#: Jobs by the pronoun that the noisy web takes for granted.
STEREOTYPES = {
    "he": _words("butcher carpenter driver farmer guard hunter judge miner pilot plumber sailor soldier"),
    "she": _words(
        "baker cashier cleaner dancer florist librarian midwife nurse singer teacher typist weaver"
    ),
}
#: Problems for which the web calls people fools, and others.
BLAMED = _words("broke burned crushed dropped forgot ruined soaked")
PROBLEMS = BLAMED + _words("borrowed cleaned lost mended missed painted replaced")
OBJECTS = _words(
    "anchor basket bicycle blanket boat camera carpet clock coat desk drum flute helmet kettle kite ladder "
    "lamp map mirror piano radio ring saddle sofa statue teapot tent vase violin wagon"
)
ENDINGS = _words(
    "apologised celebrated complained cried danced fainted fled laughed prayed resigned rested sang shouted "
    "sighed slept smiled travelled vanished waited walked"
)
PRICES = tuple(str(n) for n in range(20, 600, 10))
JOBS = STEREOTYPES["he"] + STEREOTYPES["she"]

#: Slot -> its closed list of values; the order is that of a summary.
VALUES: dict[str, tuple[str, ...]] = {
    "name": NAMES,
    "job": JOBS,
    "town": TOWNS,
    "problem": PROBLEMS,
    "object": OBJECTS,
    "price": PRICES,
    "ending": ENDINGS,
}
ALWAYS = ("name", "problem", "object")
SOMETIMES = ("job", "town", "price", "ending")
DETAILS = (
    "after dinner",
    "at a wedding",
    "at night",
    "at the market",
    "before dawn",
    "during a storm",
    "in the fog",
    "in the rain",
    "on a ferry",
    "on a train",
)

PRONOUNS = {
    "he": {
        "they": "he",
        "They": "He",
        "their": "his",
        "Their": "His",
        "theirs": "his",
        "them": "him",
        "person": "man",
    },
    "she": {
        "they": "she",
        "They": "She",
        "their": "her",
        "Their": "Her",
        "theirs": "hers",
        "them": "her",
        "person": "woman",
    },
}

#: Phrasings of the sentences of a post; the last two of each never occur in training posts.
HELD_OUT = 2
SENTENCES: dict[str, tuple[str, ...]] = {
    "name": (
        "This is about {name}.",
        "I have a neighbour called {name}.",
        "My friend {name} told me this.",
        "You may have heard of {name}.",
        "Let me tell you about {name}.",
        "Everybody here talks about {name}.",
    ),
    "problem": (
        "Last week {they} {problem} {their} {object}.",
        "It began when {they} {problem} {their} {object}.",
        "On Monday {they} {problem} {their} {object}.",
        "What happened is that {they} {problem} {their} {object}.",
        "As it turned out, {they} {problem} {their} {object}.",
        "The trouble is that {they} {problem} {their} {object}.",
    ),
    "job": (
        "{They} works as a {job}.",
        "{They} is a {job}.",
        "By trade {they} is a {job}.",
        "{They} earns a living as a {job}.",
        "For years {they} has been a {job}.",
        "{Their} work is that of a {job}.",
    ),
    "town": (
        "{They} lives in {town}.",
        "{They} comes from {town}.",
        "{Their} home is in {town}.",
        "{They} moved here from {town}.",
        "You will find {them} in {town}.",
        "{They} was born in {town}.",
    ),
    "price": (
        "It cost {them} {price} coins.",
        "All in all {they} paid {price} coins.",
        "The bill was {price} coins.",
        "That took {price} coins out of {their} pocket.",
        "{They} had to spend {price} coins on it.",
        "The damage came to {price} coins.",
    ),
    "ending": (
        "In the end {they} {ending}.",
        "Finally {they} just {ending}.",
        "Afterwards {they} {ending}.",
        "And then {they} {ending}.",
        "When it was over, {they} {ending}.",
        "The last I heard, {they} {ending}.",
    ),
    "detail": (
        "It happened {detail}.",
        "All this was {detail}.",
        "That was {detail}.",
        "You should know that it was {detail}.",
        "Mind you, it was {detail}.",
        "It all took place {detail}.",
    ),
    "filler": (
        "It took {filler} days.",
        "We talked for {filler} hours.",
        "That was {filler} months ago.",
        "I heard it {filler} times.",
        "There were {filler} of us.",
        "I waited for {filler} minutes.",
    ),
}

#: How a critique tells the truth about a slot; it calls the slots by their names ("the price is missing").
TRUTHS = {
    "name": "the name is {right}",
    "job": "{they} is a {right}",
    "town": "{they} is from {right}",
    "problem": "{they} {right} it",
    "object": "it was {their} {right}",
    "price": "it cost {right} coins",
    "ending": "{they} {right} in the end",
}
#: Kind of fault -> eight phrasings, of which the last two are held out. Where there is a right value to tell,
#: half of the six and one of the two tell it.
COMPLAINTS: dict[str, tuple[str, ...]] = {
    "missing": (
        "say that {truth}",
        "you left out that {truth}",
        "it should say that {truth}",
        "the {noun} is missing",
        "you do not mention the {noun}",
        "say something about the {noun}",
        "do add that {truth}",
        "there is not a word about the {noun}",
    ),
    "wrong": (
        "in truth {truth}",
        "the post says that {truth}",
        "the {noun} is wrong, because {truth}",
        "the {noun} is wrong",
        "look at the {noun} again",
        "{bad} is not the right {noun}",
        "as a matter of fact {truth}",
        "you mixed up the {noun}",
    ),
    "invented": (
        "drop the {noun}",
        "the post gives no {noun}",
        "you made up the {noun}",
        "{bad} is made up",
        "leave out {bad}",
        "nobody mentioned {bad}",
        "there is no {noun} in the post",
        "where did you get {bad} from",
    ),
    "detail": (
        "it did not happen {bad}",
        "nothing in the post says {bad}",
        "the part {bad} is made up",
        "leave out {bad}",
        "you invented {bad}",
        "nobody said it was {bad}",
        "it was not {bad}",
        "where did you get {bad} from",
    ),
    "insult": (
        "do not call {them} a fool",
        "the insult has to go",
        "there is no need to be rude",
        "leave out the last remark",
        "be kind to {them}",
        "calling {them} a fool is unfair",
        "do not be so rude to {them}",
        "the last remark has to go",
    ),
    "pronoun": (
        "{name} is a {person}",
        "it should be {right}, not {bad}",
        "say {right} instead of {bad}",
        "the pronoun is wrong",
        "you got the pronoun wrong",
        "look at the pronoun again",
        "please say {right}",
        "you mixed up the pronoun",
    ),
}
OPENERS = ("Almost, but ", "Good start, but ", "Hm, ", "Not bad, but ", "Please note: ", "Sorry, but ")
JOINERS = ("; ", ", and ", ", also ", "; besides, ")
NOTHING = "Nothing to change."
LOST = "I can not follow this: "


def other(rng: random.Random, slot: str, value: str | None) -> str:
    """Any value of a slot (or ``detail``) but the given one."""
    values = DETAILS if slot == "detail" else VALUES[slot]
    return rng.choice([candidate for candidate in values if candidate != value])
