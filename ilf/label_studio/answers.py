"""What an annotation says: read, checked against our own row, and never trusted.

Label Studio accepts any nonsense as a result, and whoever may label may write to it. So every entry must come
from a control of the job's page, every mark must lie on the text it quotes, and text that the model wrote is
never taken for what a person said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ilf.label_studio._entries import RATINGS, Empty, Invalid, Said, brief, is_index, text_of
from ilf.label_studio.jobs import JOBS, MOST_OUTPUTS, NEEDS, order, problem_of_row, shown_text
from ilf.label_studio.served import Origin, is_served, origin_of, spaced_like

#: What stands for the critique of an answer that has no fault.
FAULTLESS = "Nothing to change."
#: What Label Studio itself says of a text that it filled in (nothing, while a page is open: see ``served``).
_FOREIGN: dict[str, Origin] = {"prediction": "prefilled", "prediction-changed": "prefilled-changed"}


@dataclass(frozen=True)
class Answer:
    """One annotation: ``usable`` with what was ``said``, ``empty``, or ``invalid``, each with the ``reason``.

    ``shown`` lists indices into ``outputs`` in the order in which they stood on the page. ``untouched`` says
    that a ranking is exactly that order (one in n! is, by chance: the page itself starts without an order).
    """

    state: str
    said: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None
    shown: list[int] | None = None
    untouched: bool = False


def read(job: str, result: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> Answer:
    """What the ``result`` of an annotation of our row says; nonsense is ``invalid``, it never raises.

    ``row["served"]``, where there is one, lists the texts that the model served for this task.
    """
    try:
        if job not in JOBS:
            raise Invalid(f"there is no job {brief(job)}")
        if problem := problem_of_row(job, row):
            raise Invalid(f"our own row {problem}")
        said = _READERS[job](Said(job, result, row))
    except (Invalid, Empty) as found:
        state = "empty" if isinstance(found, Empty) else "invalid"
        return Answer(state, reason=str(found), shown=_shown(job, row))
    shown = _shown(job, row)
    is_untouched = job == "rank" and shown is not None and said["ranking"] == [[index] for index in shown]
    return Answer("usable", said, None, shown, is_untouched)


def _shown(job: str, row: Mapping[str, Any]) -> list[int] | None:
    outputs = row.get("outputs")
    if "outputs" not in NEEDS.get(job, ()) or not isinstance(outputs, list) or "id" not in row:
        return None
    return order(job, row["id"], len(outputs))


def _critique(said: Said) -> dict[str, Any]:
    is_faultless = said.choice("faultless", ("yes",)) is not None
    text, marks, faults = said.text("critique"), _marks(said), said.choices("faults")
    used = _used_rewrite(said)
    if not text and not is_faultless:
        raise Empty("no critique was written")
    critique = {"critique": text or FAULTLESS, "is_faultless": is_faultless, "marks": marks, "faults": faults}
    return critique | used


def _marks(said: Said) -> list[dict[str, Any]]:
    output = shown_text(said.row["output"])
    remarks: dict[Any, str] = {}
    for mark, value, _ in said.each("remark"):
        if not isinstance(mark, str) or mark in remarks:
            raise Invalid("a remark belongs to no mark, or to one that has a remark")
        remarks[mark] = text_of("remark", value)
    marks = []
    for mark, value, _ in said.each("mark"):
        start, end, label = (value.get(key) for key in ("start", "end", "labels"))
        if not is_index(start) or not is_index(end) or not start < end <= len(output):
            raise Invalid("a mark does not lie on the output")
        if value.get("text") != output[start:end]:
            raise Invalid("a mark quotes what does not stand there")
        if label not in (["good"], ["bad"]):
            raise Invalid(f"a mark must be good or bad, is {brief(label)}")
        remark = remarks.pop(mark, "") if isinstance(mark, str) else ""
        quoted = said.row["output"][start:end]
        marks.append(
            {"start": start, "end": end, "text": quoted, "label": label[0], "remark": remark or None}
        )
    if remarks:
        raise Invalid("a remark belongs to no mark, or to one that has a remark")
    return sorted(marks, key=lambda mark: (mark["start"], mark["end"], mark["label"]))


def _used_rewrite(said: Said) -> dict[str, Any]:
    """The model's rewrite, where the person said to use it: as it was served, changed, or typed anew."""
    decision, text = said.choice("rewrite_decision", ("use", "ignore")), said.text("rewrite")
    if decision != "use" or not text:
        return {}
    origin = origin_of(text, said.served)
    if origin == "typed":
        origin = _FOREIGN.get(said.origin("rewrite"), origin)
    known = [*(said.row.get("refinements") or ()), *said.served]
    return _preferred(list(dict.fromkeys(known)), text, origin, said.row["output"])


def _preferred(known: Sequence[str], text: str, origin: str, like: str) -> dict[str, Any]:
    """The chosen text among the ``known`` rewrites, added where it is new; it begins as ``like`` does."""
    texts, origins = list(known), ["model"] * len(known)
    place = next((place for place, one in enumerate(texts) if is_served(text, [one])), None)
    if place is None:
        texts, origins = [*texts, spaced_like(text, like)], [*origins, origin]
        place = len(known)
    origins[place] = origin
    return {"preferred": texts[place], "refinements": texts, "origins": origins}


def _rank(said: Said) -> dict[str, Any]:
    n = len(said.row["outputs"])
    shown = order("rank", said.row["id"], n)
    stars = {}
    for place in range(n):
        for _, value, _ in said.each(f"place_{place}"):
            rating = value.get("rating")
            if not is_index(rating) or not 1 <= rating <= MOST_OUTPUTS:
                raise Invalid(f"'place_{place}' must have 1 to {MOST_OUTPUTS} stars, has {brief(rating)}")
            stars[shown[place]] = rating
    why = said.text("why") or None
    if not stars:
        raise Empty("no output has a star")
    if len(stars) < n:
        raise Invalid(f"{n - len(stars)} of {n} outputs have no stars")
    levels = sorted(set(stars.values()), reverse=True)
    ranking = [[index for index in sorted(stars) if stars[index] == level] for level in levels]
    return {"ranking": ranking, "why": why}


def _verdict(said: Said, job: str = "verdict") -> dict[str, Any]:
    left, right = order(job, said.row["id"], 2)
    better, why = said.choice("better", ("left", "tie", "right")), said.text("why") or None
    if better is None:
        raise Empty("neither side was chosen")
    ranking = {"left": [[left], [right]], "right": [[right], [left]], "tie": [[0, 1]]}[better]
    return {"ranking": ranking, "why": why}


def _pairwise(said: Said) -> dict[str, Any]:
    compared = _verdict(said, "pairwise")
    ranking, why = compared["ranking"], compared["why"]
    if why is None or len(ranking) == 1:
        return compared | {"critique": None}
    # A reason is a critique of the loser.
    return compared | {"critique": why, "output": said.row["outputs"][ranking[1][0]]}


def _demonstrate(said: Said) -> dict[str, Any]:
    text, output = said.text("demonstration"), said.row.get("output")
    if not text:
        raise Empty("nothing was written")
    return {"completion": spaced_like(text, output) if isinstance(output, str) else text}


def _rate(said: Said) -> dict[str, Any]:
    marks = {name: said.choice(name, "12345") for name in RATINGS}
    missing = [name for name, mark in marks.items() if mark is None]
    if len(missing) == len(marks):
        raise Empty("nothing was rated")
    if missing:
        raise Invalid(f"no mark for {', '.join(missing)}")
    return {"ratings": {name: int(mark) for name, mark in marks.items() if mark is not None}}


def _refine(said: Said) -> dict[str, Any]:
    decision = said.choice("decision", ("accept", "edit", "criticise"))
    rewrites = said.row["refinements"]
    if decision is None:
        raise Empty("nothing was decided")
    if decision == "accept":
        if not rewrites[0].strip():
            raise Empty("the rewrite that was accepted is empty")
        return {"decision": decision, **_preferred(rewrites, rewrites[0], "model", "")}
    shown = shown_text(rewrites[0])
    if decision == "edit":
        text = said.text("edited")
        if not text:
            raise Empty("the edited text is empty")
        origin = origin_of(text, [shown])
        # Untouched, it is our own text, halves of emoji that no page can carry included.
        chosen = rewrites[0] if origin == "prefilled" else text
        return {"decision": decision, **_preferred(rewrites, chosen, origin, rewrites[0])}
    critique = said.text("critique")
    if not critique:
        raise Empty("no critique was written")
    if is_served(critique, [shown]):
        raise Invalid("'critique' is the model's text, not a person's")
    return {"decision": decision, "critique": critique, "output": rewrites[0], "preferred": None}


_READERS: dict[str, Callable[[Said], dict[str, Any]]] = {
    "critique": _critique,
    "rank": _rank,
    "pairwise": _pairwise,
    "demonstrate": _demonstrate,
    "rate": _rate,
    "verdict": _verdict,
    "refine": _refine,
}
