"""Two models' answers to the same prompts as pairs that say nothing of who wrote what."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ilf.errors import DataError
from ilf.protocols import Row
from ilf.records import check, row_id, seed_of


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
