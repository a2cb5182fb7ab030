"""The text of the labelling pages: templates that ship as package data, filled in with escaped text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from xml.sax.saxutils import escape

_SLOT = re.compile(r"\[\[([a-z_]+)\]\]")
_QUOTES = {'"': "&quot;", "'": "&apos;"}
_SKIP = "Ctrl+Space: skip"
_WRITE = "Tab: into the text box | Shift+Enter: done writing"
_END = f"Ctrl+Enter: submit | {_SKIP}"
#: The line at the foot of every page: all that the hands need to know.
_KEYS = {
    "critique": f"{_WRITE} | {_END}",
    "rank": f"number of an answer: one star more | {_WRITE} | {_END}",
    "pairwise": f"1 2 3: choose | {_WRITE} | {_END}",
    "verdict": f"1 2 3: choose | {_WRITE} | {_END}",
    "demonstrate": f"{_WRITE} | {_END}",
    "rate": f"key behind a mark: choose it | {_END}",
    "refine": f"1 2 3: choose | {_WRITE} | {_END}",
}
_QUESTION = {
    "pairwise": "Which answer is better?",
    "verdict": "Two answers, written by different models. Which one is better?",
}
#: Name, what it means, its lowest and its highest mark, and the five keys: one row of the keyboard each.
SCALES = (
    ("helpful", "Does what was asked, all of it, usably", "no help", "all I need", "12345"),
    ("truthful", "What it says is right", "all false", "all true", "qwert"),
    ("toxic", "Rude, hurtful, demeaning", "not at all", "very", "asdfg"),
    ("biased", "Unfair to a group of people", "not at all", "very", "zxcvb"),
)


@dataclass(frozen=True)
class Look:
    """What one page of a job is to have; see ``jobs.page``."""

    job: str
    n_outputs: int
    faults: Sequence[str]
    warning: str
    instruction: str
    why: str
    suggest: bool
    most_outputs: int


def config(look: Look) -> str:
    """The labelling config of a page (XML)."""
    is_verdict = look.job == "verdict"
    slots = {
        "style": fill("_style.xml"),
        "warning": _warning(look.warning),
        "asked": fill("_asked.xml", earlier=fill("_earlier.xml")),
        "earlier": fill("_earlier.xml"),
        "keys": _keys(_KEYS[look.job]),
        "faults": fill("_faults.xml", choices=_choices(look.faults, "123456789")) if look.faults else "",
        "suggest": fill("_suggest.xml") if look.suggest else "",
        # smartOnly: committing the critique asks the model even where Auto-Annotation is switched off.
        "smart": 'smartOnly="true"' if look.suggest else 'smart="false"',
        "rows": "4" if look.suggest else "5",
        "question": escaped(_QUESTION.get(look.job, "")),
        "why_label": f"Why? ({look.why})",
        "why_required": 'required="true" requiredMessage="Say why first."' if look.why == "required" else "",
        "cards": _cards(look),
        "scales": "".join(_scale(*scale) for scale in SCALES),
    }
    return fill("pairwise.xml" if is_verdict else f"{look.job}.xml", **slots)


def instruction(look: Look) -> str:
    """What is shown before labelling (HTML): the warning, what is asked, an example, the keys."""
    parts = []
    if look.warning:
        parts.append(fill("_warning.html", warning=escaped(look.warning)))
    parts.append(fill(f"{look.job}.html", why=look.why))
    if look.instruction.strip():
        own = escaped(look.instruction.strip()).replace("\n", "<br/>")
        parts.append(fill("_own.html", instruction=own))
    if look.suggest:
        parts.append(fill("_suggest.html"))
    parts.append(fill("_keys.html"))
    # The window that shows it keeps line breaks.
    return re.sub(r"\s+", " ", f'<div class="ilf-help">{"".join(parts)}</div>').replace("> <", "><").strip()


@cache
def template(name: str) -> str:
    """The template file ``pages/<name>``."""
    return (files("ilf.label_studio") / "pages" / name).read_text(encoding="utf-8").strip()


def escaped(text: str) -> str:
    """Text that may stand in XML and HTML, inside an attribute too."""
    # Label Studio takes $100 in an attribute for the name of a column; after a word joiner it does not.
    return escape(text.replace("$", "$\u2060"), _QUOTES)


def fill(name: str, /, **slots: str) -> str:
    """A template with every ``[[slot]]`` replaced once by markup (text is to be ``escaped`` before)."""
    return _SLOT.sub(lambda found: slots[found[1]], template(name))


def _line(classes: str, text: str) -> str:
    return f'<View className="{classes}"><Header value="{escaped(text)}" size="5"/></View>'


def _keys(text: str) -> str:
    pairs = [pair.split(": ") for pair in text.split(" | ")]
    one = [
        f'<View className="ilf-key">{_line("ilf-cap", key)}{_line("ilf-note", does)}</View>'
        for key, does in pairs
    ]
    return f'<View className="ilf-keys">{"".join(one)}</View>'


def _warning(text: str) -> str:
    return _line("ilf-warning", f"{text} ({_SKIP} this one.)") if text else ""


def _choices(values: Sequence[str], keys: str) -> str:
    pairs = zip(values, keys, strict=False)
    return "".join(f'<Choice value="{escaped(value)}" hotkey="{key}"/>' for value, key in pairs)


def _cards(look: Look) -> str:
    """The outputs to rank; a page for rows of different length repeats one card, and counts from 0."""
    if look.n_outputs:
        stars = str(look.n_outputs)
        return "".join(
            fill("_card.xml", index=str(index), key=str(index + 1), stars=stars)
            for index in range(look.n_outputs)
        )
    card = fill("_card.xml", index="{{idx}}", key="{{idx}}", stars=str(look.most_outputs))
    return f'<Repeater on="$items" indexFlag="{{{{idx}}}}">{card}</Repeater>'


def _scale(name: str, meaning: str, low: str, high: str, keys: str) -> str:
    texts = {"title": name.capitalize(), "meaning": meaning, "low": low, "high": high}
    return fill(
        "_scale.xml",
        name=name,
        choices=_choices("12345", keys),
        **{key: escaped(text) for key, text in texts.items()},
    )
