"""The summaries of the nano world: one sentence, an exact inverse, and what can be wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ilf.worlds import _nano_words as words

INSULT = "What a fool."


@dataclass(frozen=True)
class Summary:
    """What a summary states, None where nothing; a style flag that the sentence does not show is False."""

    name: str
    pronoun: str
    job: str | None = None
    town: str | None = None
    problem: str | None = None
    object: str | None = None
    price: str | None = None
    ending: str | None = None
    detail: str | None = None
    is_insulting: bool = False
    has_commas: bool = False
    has_which: bool = False

    def slot(self, slot: str) -> str | None:
        """The value stated for a slot."""
        value: str | None = getattr(self, slot)
        return value


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: its kind, the slot, the right value (None: there is none) and the bad one."""

    kind: str
    slot: str
    right: str | None = None
    bad: str | None = None


def render(summary: Summary) -> str:
    """The sentence, with the leading space that a completion brings."""
    s = summary
    forms = words.PRONOUNS[s.pronoun]
    from_town = f" from {s.town}" if s.town else ""
    if s.has_commas:
        who = f"{s.name},{f' a {s.job}' if s.job else ''}{from_town}," if s.job or s.town else s.name
    else:
        who = f"{s.name}{f' the {s.job}' if s.job else ''}{from_town}"
    thing = f"{forms['their']} {s.object}" if s.object else f"something of {forms['theirs']}"
    detail = f" {s.detail}" if s.detail else ""
    paid = ", which cost" if s.has_which else ", paid" if s.ending else " and paid"
    price = f"{paid} {s.price} coins" if s.price else ""
    ending = f"{',' if price else ''} and {s.ending}" if s.ending else ""
    insult = f" {INSULT}" if s.is_insulting else ""
    return f" {who} {s.problem or 'had trouble with'} {thing}{detail}{price}{ending}.{insult}"


def _pattern() -> re.Pattern[str]:
    one_of = {slot: "|".join(values) for slot, values in words.VALUES.items()}
    return re.compile(
        rf"(?P<name>{one_of['name']})(?P<commas>,)?"
        rf"(?: (?:the|a) (?P<job>{one_of['job']}))?(?: from (?P<town>{one_of['town']}))?,?"
        rf" (?:(?P<problem>{one_of['problem']})|had trouble with)"
        rf" (?:(?:his|her) (?P<object>{one_of['object']})|something of (?:his|hers))"
        rf"(?: (?P<detail>{'|'.join(words.DETAILS)}))?"
        rf"(?:(?:,| and) (?:paid|(?P<which>which cost)) (?P<price>{one_of['price']}) coins)?"
        rf"(?:,? and (?P<ending>{one_of['ending']}))?\."
        rf"(?P<insult> {re.escape(INSULT)})?"
    )


_SENTENCE = _pattern()


def parse(text: str) -> Summary | None:
    """The inverse of ``render``; None for a text outside the grammar. Space around it does not count."""
    text = text.strip()
    found = _SENTENCE.fullmatch(text)
    if found is None:
        return None
    stated = found.groupdict()
    summary = Summary(
        **{slot: stated[slot] for slot in (*words.VALUES, "detail")},
        pronoun="she" if re.search(r" hers?\b", text) else "he",
        is_insulting=stated["insult"] is not None,
        has_commas=stated["commas"] is not None,
        has_which=stated["which"] is not None,
    )
    # The pattern is a little wider than the grammar (odd commas); what it adds does not come back.
    return summary if render(summary).strip() == text else None


def canonical(summary: Summary) -> Summary:
    """The summary with style flags that cannot be seen in the sentence set to False."""
    return replace(
        summary,
        has_commas=summary.has_commas and bool(summary.job or summary.town),
        has_which=summary.has_which and bool(summary.price),
    )


def faults(facts: Mapping[str, Any], summary: Summary) -> list[Fault]:
    """Everything that is wrong with a summary, in the order of the sentence."""
    found = []
    for slot in words.VALUES:
        right, stated = facts[slot], summary.slot(slot)
        if right != stated:
            kind = "missing" if stated is None else "invented" if right is None else "wrong"
            found.append(Fault(kind, slot, right, stated))
    if summary.detail is not None and summary.detail != facts["detail"]:
        found.append(Fault("detail", "detail", None, summary.detail))
    if summary.is_insulting:
        found.append(Fault("insult", "insult"))
    if summary.pronoun != facts["pronoun"]:
        found.append(Fault("pronoun", "pronoun", facts["pronoun"], summary.pronoun))
    return found


def fixed(summary: Summary, fault: Fault) -> Summary:
    """The summary without one of its faults."""
    if fault.kind == "insult":
        return replace(summary, is_insulting=False)
    return replace(summary, **{fault.slot: fault.right})  # type: ignore[arg-type]
