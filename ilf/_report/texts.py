"""Texts to read: what a rewrite changed, word by word, and every arm's answers."""

from __future__ import annotations

import difflib
import re
from typing import Any

from ilf._report.figures import Json, number
from ilf._report.telling import Cast
from ilf.records import messages_text

_WORDS = re.compile(r"(?:\w+|[^\w\s])\s*|\s+")
#: A text of more words is compared by lines and sentences: word by word takes the square of their number.
_MOST_WORDS = 700
_SENTENCES = re.compile(r"[^.!?\n]*[.!?\n]+\s*|[^.!?\n]+$")


def changes(before: str, after: str) -> list[tuple[str, str]]:
    """``after`` beside ``before`` as (``same``, ``del`` or ``ins``, text); blanks alone are no change."""
    before, after = before.strip(), after.strip()
    split = _WORDS if max(before.count(" "), after.count(" ")) < _MOST_WORDS else _SENTENCES
    old, new = split.findall(before), split.findall(after)
    keys: list[list[str]] = [[word.strip() for word in words] for words in (old, new)]
    found: list[tuple[str, str]] = []
    gap = ""  # a blank that the old text had where the new one goes on with a stop
    for kind, a, b, c, d in difflib.SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_opcodes():
        if kind == "equal":
            found.append(("same", "".join(new[c:d])))
            gap = " " if old[b - 1][-1:].isspace() and not new[d - 1][-1:].isspace() else ""
            continue
        if a < b:
            found.append(("del", gap + "".join(old[a:b])))
        if c < d:
            found.append(("ins", "".join(new[c:d])))
    return found


def rows_view(result: Json) -> list[dict[str, Any]]:
    """The rows to read, each refinement with its changes, its grade, and who picked it."""
    return [_row(example) for example in result.get("examples") or []]


def _row(example: Json) -> dict[str, Any]:
    output = _text(example.get("output"))
    scores, picked = example.get("scores") or {}, example.get("picked") or {}
    grades = example.get("grades") or []
    best = max((grade for each in grades if (grade := number(each)) is not None), default=None)
    refinements = []
    for index, text in enumerate(example.get("refinements") or []):
        grade = grades[index] if index < len(grades) else None
        refinements.append(
            {
                "changes": changes(output, text),
                "is_unchanged": text.strip() == output.strip(),
                "grade": grade,
                "is_best": best is not None and number(grade) == best,
                "marks": [
                    (name, values[index] if index < len(values) else None, picked.get(name) == index)
                    for name, values in scores.items()
                ],
                "picked": [name for name in scores if picked.get(name) == index],
            }
        )
    texts = {key: _text(example.get(key)).strip() for key in ("prompt", "critique")}
    answers = [(name, text.strip()) for name, text in (example.get("answers") or {}).items()]
    return {**texts, "output": output.strip(), "refinements": refinements, "answers": answers}


def answers_view(cast: Cast) -> list[dict[str, Any]]:
    """The test prompts with every arm's answer, the telling arms first."""
    shown = cast.shown
    found = []
    for row in cast.result.get("answers") or []:
        arms = {str(name): answer for name, answer in (row.get("arms") or {}).items()}
        order = [name for name in shown if name in arms]
        rest = [name for name in arms if name not in shown]
        found.append(
            {
                "prompt": _text(row.get("prompt")).strip(),
                "first": [_answer(name, arms[name], cast) for name in order],
                "rest": [_answer(name, arms[name], cast) for name in rest],
            }
        )
    return found


def _answer(name: str, answer: Json, cast: Cast) -> dict[str, Any]:
    arm = cast.by_name.get(name) or {}
    return {
        "arm": name,
        "grade": answer.get("grade"),
        "text": str(answer.get("text") or "").strip(),
        "is_control": bool(arm.get("is_control")) or name in cast.roles,
    }


def _text(value: object) -> str:
    return "" if value is None else messages_text(value)
