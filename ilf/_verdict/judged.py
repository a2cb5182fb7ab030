"""A judge beside people: how far they agree, and what both say together, the judge never being trusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from statistics import mean
from typing import Any

import numpy as np

from ilf._verdict.looks import winner, without_ends
from ilf._verdict.pairs import Pairs
from ilf._verdict.scores import by, pair_scores, share, with_ties
from ilf.errors import DataError, UsageError
from ilf.protocols import Row
from ilf.records import check
from ilf.stats import Interval, JudgeCard, judge_card, prediction_powered_mean

#: What the name of an annotator begins with that is a model.
JUDGE = "judge:"
OPINION = "the judge's opinion, not checked against people"


def beside_people(
    whole: Pairs, found: Pairs, verdicts: Sequence[Row], judged: Iterable[Row], *, early: str | None = None
) -> dict[str, Any]:
    """A judge's verdicts on the ``whole``, of which people's are on ``found``, as one JSON object.

    ``opinion`` is his win rate of A alone; ``card`` how he compares with people on the pairs that both
    judged; ``combined`` the win rate of A by ``prediction_powered_mean``, None with a reason where the card
    calls him unreliable or ``early`` says why no winner may be named yet. Prompts of one text alone are known
    ties and are not estimated. DataError where he judged none of the pairs, UsageError where no people's
    verdicts are to be compared with his.
    """
    his, other = _his(whole, judged)
    _refuse(his, verdicts)
    his_scores, people = _complete(whole, his), _with_pairs(found, verdicts)
    unchecked = {key: value for key, value in his_scores.items() if key not in people}
    both = [key for key in people if key in his_scores]
    weight = len(by(whole.rows, "prompt_id")) / whole.prompts
    told: dict[str, Any] = {
        "annotators": sorted({str(row["annotator"]) for row in his}),
        "pairs": len({row["sample_id"] for row in his}),
        "prompts": len(his_scores),
        "other_pairs": other,
        "without_judge": len(people) - len(both),
        "opinion": vars(replace(_diluted(share(list(his_scores.values())), weight), note=OPINION)),
        "card": None,
        "combined": None,
        "winner": None,
    }
    if not verdicts:
        return told
    card = _card(verdicts, his)
    joined = prediction_powered_mean(
        [people[key] for key in both],
        [his_scores[key] for key in both],
        list(unchecked.values()),
        within=(0.0, 1.0),
    )
    combined = without_ends(_diluted(joined, weight), card.unreliable or early)
    return {**told, "card": asdict(card), "combined": vars(combined), "winner": winner(combined)}


def _his(whole: Pairs, judged: Iterable[Row]) -> tuple[list[Row], int]:
    """His verdicts on these pairs, and how many are on others."""
    prompts = {row["sample_id"]: row["prompt_id"] for row in whole.rows}
    his: list[Row] = []
    other = 0
    for row in judged:
        needs = ("id", "sample_id", "outputs", "ranking", "annotator")
        check([row], needs, f"verdict: the judge's row {row.get('id')}")
        if row["sample_id"] in prompts:
            his.append({**row, "prompt_id": prompts[row["sample_id"]]})
        else:
            other += 1
    if not his:
        raise DataError(
            f"verdict: none of the judge's {other} verdicts is about these {len(prompts)} pairs; let the "
            "judge judge the same two steps, A and B in the same order, with the same --per-prompt."
        )
    return his, other


def _refuse(his: Sequence[Row], verdicts: Sequence[Row]) -> None:
    if {row["id"] for row in his} & {row["id"] for row in verdicts}:
        raise UsageError("verdict: --judge names the very verdicts that the judge is to be compared with.")
    if any(row["annotator"].startswith(JUDGE) for row in verdicts):
        raise UsageError("verdict: --judge is compared with people; here a model has judged in their place.")


def _complete(whole: Pairs, his: Sequence[Row]) -> dict[str, float]:
    """His score of every prompt of which he judged all pairs."""
    seen = {row["sample_id"] for row in his}
    missing = {row["prompt_id"] for row in whole.rows if row["sample_id"] not in seen}
    return {key: value for key, value in _with_pairs(whole, his).items() if key not in missing}


def _with_pairs(found: Pairs, verdicts: Sequence[Row]) -> dict[str, float]:
    """Scores of the prompts with verdicts; those of one text alone are left out."""
    judged = by(verdicts, "prompt_id")
    return {key: value for key, value in with_ties(found, verdicts).items() if key in judged}


def _diluted(found: Interval, weight: float) -> Interval:
    """A win rate of the prompts with pairs, as that of all prompts: the others are ties."""
    ends = {
        name: None if value is None else 0.5 + weight * (value - 0.5)
        for name, value in (("estimate", found.estimate), ("low", found.low), ("high", found.high))
    }
    scale = {
        name: None if value is None else weight * value
        for name, value in (("mde", found.mde), ("standard_error", found.standard_error))
    }
    return replace(found, **ends, **scale)  # type: ignore[arg-type]


def _card(verdicts: Sequence[Row], his: Sequence[Row]) -> JudgeCard:
    """From the pairs that both judged; several verdicts on one are their majority."""
    people, judge = pair_scores(verdicts), pair_scores(his)
    rows = by(his, "sample_id")
    both = [pair for pair in people if pair in judge]
    told = [_sign(judge[pair]) for pair in both]
    probability = _known(both, rows, "probability")
    flipped = _known(both, rows, "flipped")
    # What he says in the other order the rows do not tell, only that it is something else: no number is nan.
    swapped = None if flipped is None else np.where(np.array(flipped) > 0, np.nan, told)
    first = {pair: rows[pair][0] for pair in both}
    return judge_card(
        [_sign(people[pair]) for pair in both],
        told,
        prompts=[first[pair]["prompt_id"] for pair in both],
        probability=probability,
        swapped=swapped,
        lengths=[len(row["outputs"][0]) - len(row["outputs"][1]) for row in first.values()],
    )


def _sign(value: float) -> float:
    return 0.5 if value == 0.5 else float(value > 0.5)


def _known(pairs: Sequence[str], rows: Mapping[str, Sequence[Row]], column: str) -> list[float] | None:
    """The mean of a column for each pair; None where a row lacks it."""
    if any(row.get(column) is None for pair in pairs for row in rows[pair]):
        return None
    return [mean(float(row[column]) for row in rows[pair]) for pair in pairs]
