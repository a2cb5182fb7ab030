"""verdict: two models' answers to the same prompts as blind pairs, and what people's verdicts on them say.

The prompt is the statistical unit: several outputs of one prompt, or several people on one pair, make one
score in [0, 1] (1: A won, 0.5: a tie, 0: B won).
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from ilf.errors import DataError
from ilf.protocols import Row
from ilf.records import check, messages_text, row_id, seed_of
from ilf.stats import Interval, minimum_detectable_effect, t_quantile

#: Prompts below which a share is "too few" instead of a figure; from here on the interval covers what it
#: says (simulated in ``tests/test_verdict.py``).
MIN_PROMPTS = 10
#: Whose answer stands at which index of ``outputs``: known here only, never on a page.
SIDES = ("A", "B")


@dataclass(frozen=True)
class Pairs:
    """Pairs to be judged, pairs whose answers are the same text, and what found no partner."""

    rows: tuple[Row, ...]
    identical: tuple[Row, ...]
    prompts: int
    matched: int
    only_a: int
    only_b: int
    not_asked: int
    """Further pairs of the drawn prompts, and outputs without a partner."""


def pairs(
    a: Iterable[Row], b: Iterable[Row], *, n: int | None = None, per_prompt: int = 1, seed: int = 0
) -> Pairs:
    """Matches two steps' answers by prompt, several of one prompt in their order, and draws ``n`` prompts.

    ``outputs`` of a row are A's answer and B's, in this order. DataError where a row holds no output, or no
    prompt stands on both sides.
    """
    first, second = answers(a, "A"), answers(b, "B")
    common = [key for key in first if key in second]
    if not common:
        raise DataError(
            f"verdict: of {len(first)} prompts of A and {len(second)} of B none is the same; "
            "name two steps whose models answered the same prompts."
        )
    drawn = common if n is None or n >= len(common) else _drawn(common, n, seed)
    made: list[Row] = []
    not_asked = 0
    for key in drawn:
        found = list(zip(first[key], second[key], strict=False))
        made += [_pair(key, one, other, at) for at, (one, other) in enumerate(found[:per_prompt])]
        not_asked += max(len(first[key]), len(second[key])) - min(len(found), per_prompt)
    same = [row["outputs"][0].strip() == row["outputs"][1].strip() for row in made]
    return Pairs(
        rows=tuple(row for row, is_same in zip(made, same, strict=True) if not is_same),
        identical=tuple(row for row, is_same in zip(made, same, strict=True) if is_same),
        prompts=len(drawn),
        matched=len(common),
        only_a=len(first) - len(common),
        only_b=len(second) - len(common),
        not_asked=not_asked,
    )


def answers(rows: Iterable[Row], where: str) -> dict[str, list[Row]]:
    """Prompt id -> its answers in order, one row each; rows about the same sample count once."""
    found: dict[str, list[Row]] = {}
    samples: set[str] = set()
    for row in rows:
        check([row], ("prompt", "output"), f"verdict: {where}: row {row.get('id')}")
        sample = row.get("sample_id")
        if sample is not None and sample in samples:
            continue
        samples.add(str(sample))
        for text in row.get("outputs") or [row["output"]]:
            found.setdefault(row_id("prompt", row["prompt"]), []).append({**row, "output": text})
    return found


def _drawn(common: Sequence[str], n: int, seed: int) -> list[str]:
    chosen = set(random.Random(seed_of(seed, "verdict")).sample(sorted(common), n))
    return [key for key in common if key in chosen]


def _pair(prompt_id: str, one: Row, other: Row, at: int) -> Row:
    outputs = [one["output"], other["output"]]
    facts = {"facts": one["facts"]} if "facts" in one else {}
    name = row_id("verdict", prompt_id, outputs, at)
    return {
        "id": name,
        "sample_id": name,
        "prompt_id": prompt_id,
        "prompt": one["prompt"],
        "outputs": outputs,
        **facts,
    }


def score(ranking: Sequence[Sequence[int]]) -> float:
    """1 where A (index 0) won, 0 where B did, 0.5 for a tie."""
    return 0.5 if len(ranking) == 1 else float(ranking[0] == [0])


def share(scores: Sequence[float], what: str = "prompts", *, level: float = 0.95) -> Interval:
    """Mean of scores in [0, 1], one per prompt, with Wilson's interval at the effective number of prompts.

    The effective number is that of coin flips with the variance seen (Korn and Graubard 1998), and Student's
    t stands for the normal; where all scores are equal it is their number. ``mde`` is the smallest distance
    from one half that this many would have shown with 80 % power. Below MIN_PROMPTS all of it is None.
    """
    n = len(scores)
    if n < MIN_PROMPTS:
        return Interval(None, prompts=n, reason=f"too few: {n} {what}, {MIN_PROMPTS} are needed")
    p = mean(scores)
    variance = sum((x - p) ** 2 for x in scores) / (n - 1)
    effective = p * (1 - p) * n / variance if variance > 1e-12 else float(n)
    t = t_quantile((1 + level) / 2, n - 1)
    weight = t * t / effective
    centre = (p + weight / 2) / (1 + weight)
    reach = t * math.sqrt((p * (1 - p) + weight / 4) / effective) / (1 + weight)
    # Nothing varied: what could have been seen is told from coin flips, not from a spread of 0.
    error = math.sqrt((variance if variance > 1e-12 else 0.25) / n)
    return Interval(
        estimate=p,
        low=max(0.0, centre - reach),
        high=min(1.0, centre + reach),
        mde=minimum_detectable_effect(error, n - 1),
        standard_error=error,
        df=n - 1,
        prompts=n,
    )


def tally(found: Pairs, verdicts: Sequence[Row], wage_per_hour: float | None = None) -> dict[str, Any]:
    """What the verdicts say, as one JSON object (``ilf verdict --json``); identical answers count as ties."""
    judged = _by(verdicts, "prompt_id")
    ties: dict[str, list[float]] = {}
    for row in found.identical:
        ties.setdefault(row["prompt_id"], []).append(0.5)
    people = {key: _pair_scores(rows) for key, rows in judged.items()}
    everything = {key: people.get(key, []) + ties.get(key, []) for key in {**people, **ties}}
    return {
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
        "win_rate_of_a": vars(share([mean(scores) for scores in everything.values()])),
        "win_rate_of_a_judged": vars(share([mean(scores) for scores in people.values()])),
        "position": position(verdicts),
        "annotators": [_annotator(name, rows) for name, rows in sorted(_by(verdicts, "annotator").items())],
        "people": _cost(verdicts, wage_per_hour),
        "prompts": [_prompt(rows, people[key]) for key, rows in judged.items()],
    }


def _by(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return found


def _pair_scores(rows: Iterable[Row]) -> list[float]:
    """One score per pair of a prompt: the mean over the people who judged it."""
    return [mean(score(row["ranking"]) for row in group) for group in _by(rows, "sample_id").values()]


def counts(verdicts: Iterable[Row]) -> dict[str, int]:
    """How often A won, nobody did, and B won."""
    found = Counter(score(row["ranking"]) for row in verdicts)
    return {"a": found[1.0], "tie": found[0.5], "b": found[0.0]}


def position(verdicts: Sequence[Row]) -> dict[str, Any]:
    """How often the answer that stood first on the page won, ties left out; 0.5 is no effect of position."""
    untied = [row for row in verdicts if len(row["ranking"]) == 2 and row.get("shown")]
    firsts = {
        key: [float(row["ranking"][0] == row["shown"][:1]) for row in rows]
        for key, rows in _by(untied, "prompt_id").items()
    }
    known = [row for row in verdicts if row.get("shown")]
    return {
        "first_won": vars(share([mean(values) for values in firsts.values()], "prompts without a tie")),
        "untied": len(untied),
        "a_stood_first": sum(row["shown"][0] == 0 for row in known),
        "shown_known": len(known),
    }


def _annotator(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    scores = [mean(_pair_scores(group)) for group in _by(rows, "prompt_id").values()]
    return {
        "annotator": name,
        "verdicts": len(rows),
        **counts(rows),
        "win_rate_of_a": vars(share(scores)),
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


def _prompt(rows: Sequence[Row], scores: Sequence[float]) -> dict[str, Any]:
    return {
        "prompt": messages_text(rows[0]["prompt"]),
        "a": rows[0]["outputs"][0],
        "b": rows[0]["outputs"][1],
        "score_of_a": mean(scores),
        "verdicts": [_said(row) for row in rows],
    }


def _said(row: Mapping[str, Any]) -> dict[str, Any]:
    winner = {1.0: "A", 0.5: None, 0.0: "B"}[score(row["ranking"])]
    return {"annotator": row["annotator"], "winner": winner, "why": row.get("why")}
