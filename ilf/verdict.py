"""verdict: two models' answers to the same prompts as blind pairs, and what people's verdicts on them say.

The prompt is the statistical unit: several outputs of one prompt, or several people on one pair, make one
score in [0, 1] (1: A won, 0.5: a tie, 0: B won).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, median
from typing import Any

from ilf._verdict.judged import JUDGE as JUDGE
from ilf._verdict.judged import OPINION as OPINION
from ilf._verdict.judged import beside_people as beside_people
from ilf._verdict.looks import AT_ANY_LOOK as AT_ANY_LOOK
from ilf._verdict.looks import at_any_look, fully_judged, not_yet, without_ends
from ilf._verdict.looks import winner as winner
from ilf._verdict.pairs import Pairs as Pairs
from ilf._verdict.pairs import answers as answers
from ilf._verdict.pairs import pairs as pairs
from ilf._verdict.scores import MIN_PROMPTS as MIN_PROMPTS
from ilf._verdict.scores import by, prompt_scores, with_ties
from ilf._verdict.scores import score as score
from ilf._verdict.scores import share as share
from ilf.protocols import Row
from ilf.records import messages_text


def tally(
    found: Pairs,
    verdicts: Sequence[Row],
    wage_per_hour: float | None = None,
    *,
    annotators: int = 1,
    is_finished: bool = False,
) -> dict[str, Any]:
    """What the verdicts say, as one JSON object (``ilf verdict --json``); identical answers count as ties.

    While fewer prompts are judged, by ``annotators`` people each, than were planned, ordinary intervals are
    left out and ``winner`` rests on ``at_any_look``, unless the source ``is_finished``: then pairs without
    a verdict were skipped. ``winner`` is "A", "B" or None, and None where a model alone has judged.
    """
    scores = prompt_scores(verdicts)
    planned = len(by(found.rows, "prompt_id"))
    judged = fully_judged(found, verdicts, annotators)
    early = None if is_finished else not_yet(len(judged), planned)
    looked = at_any_look([scores[key] for key in judged], planned)
    rate = without_ends(share(list(with_ties(found, verdicts).values())), early)
    by_model = bool(verdicts) and all(row["annotator"].startswith(JUDGE) for row in verdicts)
    return {
        "planned_prompts": planned,
        "judged_prompts": len(judged),
        "no_verdict_yet": early,
        "by": "a model" if by_model else "people",
        "winner": None if by_model else winner(looked if early else rate),
        "at_any_look": {**vars(looked), "level": AT_ANY_LOOK},
        "pairs": {
            "prompts": found.prompts,
            "to_judge": len(found.rows),
            "judged": len({row["sample_id"] for row in verdicts}),
            "identical": len(found.identical),
            "matched_prompts": found.matched,
            "only_a": found.only_a,
            "only_b": found.only_b,
            "not_asked": found.not_asked,
        },
        "verdicts": counts(verdicts),
        "win_rate_of_a": {**vars(rate), **({"note": OPINION} if by_model else {})},
        "win_rate_of_a_judged": vars(without_ends(share(list(scores.values())), early)),
        "position": position(verdicts),
        "flips": _flips(verdicts),
        "annotators": [
            _annotator(name, rows, early) for name, rows in sorted(by(verdicts, "annotator").items())
        ],
        "people": _cost(verdicts, wage_per_hour),
        "prompts": [_prompt(rows, scores[key]) for key, rows in by(verdicts, "prompt_id").items()],
    }


def counts(verdicts: Iterable[Row]) -> dict[str, int]:
    """How often A won, nobody did, and B won."""
    found = Counter(score(row["ranking"]) for row in verdicts)
    return {"a": found[1.0], "tie": found[0.5], "b": found[0.0]}


def position(verdicts: Sequence[Row]) -> dict[str, Any]:
    """How often the answer that stood first on the page won, ties left out; 0.5 is no effect of position."""
    untied = [row for row in verdicts if len(row["ranking"]) == 2 and row.get("shown")]
    firsts = {
        key: [float(row["ranking"][0] == row["shown"][:1]) for row in rows]
        for key, rows in by(untied, "prompt_id").items()
    }
    known = [row for row in verdicts if row.get("shown")]
    return {
        "first_won": vars(share([mean(values) for values in firsts.values()], "prompts without a tie")),
        "untied": len(untied),
        "a_stood_first": sum(row["shown"][0] == 0 for row in known),
        "shown_known": len(known),
    }


def _flips(verdicts: Iterable[Row]) -> dict[str, int]:
    """Of the pairs that a model saw in both orders, in how many the order changed its verdict."""
    known = [bool(row["flipped"]) for row in verdicts if row.get("flipped") is not None]
    return {"flipped": sum(known), "known": len(known)}


def _annotator(name: str, rows: Sequence[Row], early: str | None) -> dict[str, Any]:
    return {
        "annotator": name,
        "verdicts": len(rows),
        **counts(rows),
        "win_rate_of_a": vars(without_ends(share(list(prompt_scores(rows).values())), early)),
        **_seconds(rows),
    }


def _seconds(rows: Sequence[Row]) -> dict[str, Any]:
    known = [float(row["seconds"]) for row in rows if row.get("seconds") is not None]
    return {
        "seconds": sum(known) if known else None,
        "median_seconds": median(known) if known else None,
        "without_time": len(rows) - len(known),
    }


def _cost(rows: Sequence[Row], wage_per_hour: float | None) -> dict[str, Any]:
    told = _seconds(rows)
    paid = wage_per_hour is not None and told["seconds"] is not None and not told["without_time"]
    return {
        **told,
        "wage_per_hour": wage_per_hour,
        "cost": told["seconds"] / 3600 * wage_per_hour if paid else None,
    }


def _prompt(rows: Sequence[Row], score_of_a: float) -> dict[str, Any]:
    return {
        "prompt": messages_text(rows[0]["prompt"]),
        "a": rows[0]["outputs"][0],
        "b": rows[0]["outputs"][1],
        "score_of_a": score_of_a,
        "verdicts": [_said(row) for row in rows],
    }


def _said(row: Mapping[str, Any]) -> dict[str, Any]:
    winner = {1.0: "A", 0.5: None, 0.0: "B"}[score(row["ranking"])]
    return {"annotator": row["annotator"], "winner": winner, "why": row.get("why")}
