"""pair: rankings, or refinements and the outputs that they rewrite, become pairs of chosen and rejected."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from ilf.errors import DataError, UsageError, listed
from ilf.protocols import Row
from ilf.records import as_sequence, check, digest, messages_text, row_id

log = logging.getLogger("ilf")

#: Rows multiply here, so an unfinished step starts again.
WINDOW = None

Source = Literal["ranking", "refinement", "pairs"]
Take = Literal["all", "adjacent", "best", "groups"]
_NEEDS = {
    "ranking": ("prompt", "outputs", "ranking"),
    "refinement": ("prompt", "output", "completion"),
    "pairs": ("prompt", "chosen", "rejected"),
}
_ONLY_RANKINGS = "needs source=ranking: only a ranking has more than two texts."


def columns(arguments: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that are read, and those that are added; UsageError for settings that do not go together."""
    _check_settings(**{name: arguments[name] for name in ("source", "take", "ties", "validation")})
    added = () if arguments["take"] == "groups" else ("chosen", "rejected", "margin", "is_tied")
    return _NEEDS[arguments["source"]], ("id", *added, "group", "split")


def pair(  # noqa: PLR0913 - a verb's settings
    rows: Iterable[Row],
    *,
    source: Source = "ranking",
    take: Take = "all",
    ties: Literal["drop", "keep"] = "drop",
    order: Literal["given", "flipped"] = "given",
    validation: float = 0.0,
    seed: int = 0,
    done: int = 0,
) -> Iterator[Row]:
    """Yields a row per pair: ``chosen rejected``, ``margin`` in (0, 1], ``is_tied``, ``group``, ``split``.

    ``take`` makes of a ranking all pairs, those of neighbouring ranks, its best against the rest, or keeps it
    whole (``groups``, for losses over whole rankings). All that is said about a prompt shares its ``group``
    and its ``split``: the share ``validation`` of the prompts, drawn by ``seed``, is never trained on.
    ``margin`` is the distance in ranks over the largest there is; a tie has 0 and is kept only on demand.
    ``order="flipped"`` turns every preference round: a control that must harm. ``source="refinement"`` sets
    the completion chosen from a critique over the output that was criticised (C3PO, arXiv 2402.10893).
    Pairs of equal texts are left out and counted. Raises DataError naming every row whose ranking names an
    output that is not there, one twice or not all, or has one output only, and where no pair is left.
    """
    _check_settings(source, take, ties, validation)
    rows = as_sequence(rows)
    check(rows, ("id", *_NEEDS[source]), "pair")
    if source == "ranking":
        _check_rankings(rows)
    groups = list(dict.fromkeys(_group(row) for row in rows))
    held_out = _held_out(groups, validation, seed)
    count: Counter[str] = Counter()
    for row in rows:
        group = _group(row)
        shared = {"group": group, "split": "validation" if group in held_out else "train"}
        if take == "groups":
            found = [_whole(row, order)] if len(row["ranking"]) > 1 else []
            count["ties"] += not found
        else:
            found = [made for made in _pairs(row, source, take, order) if _is_kept(made, ties, count)]
        count["made"] += len(found)
        for made in found:
            yield {**row, **made, **shared}
    _tell(count, take, len(rows), len(groups), len(held_out))


def _check_settings(source: str, take: str, ties: str, validation: float) -> None:
    if source != "ranking" and take != "all":
        raise UsageError(f"pair.take: {take} {_ONLY_RANKINGS}")
    if source == "refinement" and ties == "keep":
        raise UsageError(f"pair.ties: keep {_ONLY_RANKINGS}")
    if not 0.0 <= validation < 1.0:
        raise UsageError(f"pair.validation: {validation} is no share in [0, 1).")


def _check_rankings(rows: Iterable[Row]) -> None:
    problems = []
    for number, row in enumerate(rows, start=1):
        n, named = len(row["outputs"]), sorted(i for group in row["ranking"] for i in group)
        if n < 2:
            problem = f"{n} output(s), and a ranking compares; sample more (sample.n=4)"
        elif unknown := [i for i in named if not 0 <= i < n]:
            problem = f"'ranking' names output {unknown[0]}, and there are 0 to {n - 1}"
        elif named != list(range(n)):
            twice = sorted(i for i, times in Counter(named).items() if times > 1)
            missing = sorted(set(range(n)) - set(named))
            problem = (
                f"'ranking' names output {twice[0]} twice" if twice else f"'ranking' leaves out {missing}"
            )
        else:
            continue
        problems.append(f"pair: row {number} ({row['id']}): {problem}")
    if problems:
        raise DataError(
            f"{len(problems)} ranking(s) cannot be used; drop or mend these rows:\n{listed(problems)}"
        )


def _group(row: Row) -> str:
    """The prompt's name: whoever ranked what was sampled from it, one prompt is one group."""
    return digest(messages_text(row["prompt"]), 16)


def _held_out(groups: Sequence[str], share: float, seed: int) -> frozenset[str]:
    """The share of the groups with the smallest hashes: more rows move a prompt only at the border."""
    if not share:
        return frozenset()
    n = round(share * len(groups))
    if not 0 < n < len(groups):
        raise DataError(
            f"pair.validation: {share} of {len(groups)} prompts leaves {n} for validation and "
            f"{len(groups) - n} for training. Rank more prompts, or set validation=0."
        )
    return frozenset(sorted(groups, key=lambda group: digest([seed, "pair", group]))[:n])


def _whole(row: Row, order: str) -> Row:
    ranking = row["ranking"][::-1] if order == "flipped" else row["ranking"]
    return {"id": row_id(row["id"], "pair", order), "ranking": ranking}


def _pairs(row: Row, source: Source, take: Take, order: str) -> Iterator[Row]:
    """All pairs of a row, ties and equal texts among them."""
    if source == "ranking":
        texts, ranking = row["outputs"], row["ranking"]
        found = _of_ranking(ranking, take)
        most = max(1, len(ranking) - 1)
    else:
        texts = (row["chosen"], row["rejected"]) if source == "pairs" else (row["completion"], row["output"])
        tied = 0 if source == "pairs" and row.get("is_tied") else 1
        found, most = iter([(0, 1, tied)]), 1
    for better, worse, distance in found:
        if order == "flipped":
            better, worse = worse, better
        yield {
            "id": row_id(row["id"], "pair", better, worse),
            "chosen": texts[better],
            "rejected": texts[worse],
            # People's own margins, where rows bring them, say more than a distance of one.
            "margin": row.get("margin", 1.0) if source == "pairs" and distance else distance / most,
            "is_tied": distance == 0,
        }


def _of_ranking(ranking: Sequence[Sequence[int]], take: Take) -> Iterator[tuple[int, int, int]]:
    """(better, worse, distance in ranks) of every pair that ``take`` asks for; distance 0 is a tie."""
    ranks = {output: rank for rank, group in enumerate(ranking) for output in group}
    placed = sorted(ranks, key=lambda output: (ranks[output], output))
    for i, better in enumerate(placed):
        for worse in placed[i + 1 :]:
            distance = ranks[worse] - ranks[better]
            is_wanted = distance <= 1 if take == "adjacent" else take == "all" or ranks[better] == 0
            if is_wanted:
                yield better, worse, distance


def _is_kept(made: Row, ties: str, count: Counter[str]) -> bool:
    """Whether a pair is kept; what is left out is counted."""
    if made["chosen"].strip() == made["rejected"].strip():
        count["equal"] += 1
        return False
    if made["is_tied"] and ties == "drop":
        count["ties"] += 1
        return False
    return True


def _tell(count: Counter[str], take: Take, n_rows: int, n_prompts: int, n_held_out: int) -> None:
    what = "rankings kept whole" if take == "groups" else "pairs"
    told = (
        f"{count['made']} {what} of {n_rows} rows and {n_prompts} prompts ({n_held_out} held out); left out: "
        f"{count['ties']} tied, {count['equal']} of equal texts"
    )
    if not count["made"]:
        raise DataError(
            f"pair: {told}. Nothing is left to learn from: sample outputs that differ (a higher temperature, "
            "more of them), or keep ties where the strategy reads them (ties=keep)."
        )
    log.log(logging.WARNING if count["ties"] + count["equal"] else logging.INFO, "pair: %s", told)
