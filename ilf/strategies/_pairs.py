"""Pairs: reading rows of the verb ``pair``, leaving out those that teach nothing, and their accuracy."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ilf.errors import DataError, listed
from ilf.protocols import Row
from ilf.records import dumps, problem_of
from ilf.stats import Interval, mean_interval, wilson_interval
from ilf.strategies._encode import Example, encode
from rankers._lm import LM, Chat

log = logging.getLogger("ilf")

_NEEDS = ("prompt", "chosen", "rejected")
_SPLITS = ("train", "validation")
#: Texts of an element at most: the longest rankings that people were asked for (Ouyang et al. 2022). Where
#: thousands of pairs have one prompt, they must not become one update.
_TEXTS_TOGETHER = 9


@dataclass(frozen=True)
class Pair:
    """Two completions of a prompt in token ids, the better one first (unless ``is_tied``); row from 1."""

    row: int
    chosen: Example
    rejected: Example
    margin: float
    is_tied: bool
    group: str
    is_validation: bool

    @property
    def texts(self) -> tuple[Example, Example]:
        """Chosen and rejected."""
        return self.chosen, self.rejected

    @property
    def n_tokens(self) -> int:
        """Tokens of the longer of its two texts, prompt included."""
        return max(map(len, self.texts))


class Judged(Protocol):
    """Texts that were judged, and the group of those about one prompt."""

    @property
    def texts(self) -> tuple[Example, ...]:
        """Prompts and completions."""
        ...

    @property
    def group(self) -> str:
        """What all texts of a prompt share."""
        ...


J = TypeVar("J", bound=Judged)


def read_pairs(rows: Sequence[Row], lm: LM, *, who: str, chat: Chat = "auto") -> list[Pair]:
    """Every row as a pair, in order; equal texts become equal examples, encoded once.

    Optional columns: ``margin`` (a number in [0, 1], default 0), ``is_tied`` (default False), ``group`` (all
    pairs of a prompt, default the prompt itself), ``split`` (train or validation, default train). Raises
    DataError naming every row and column that cannot be used, and groups that are in both splits.
    """
    problems = [f"row {i}: {text}" for i, row in enumerate(rows, start=1) for text in _problems(row)]
    if problems:
        raise DataError(f"{who}: {len(problems)} value(s) cannot be used:\n{listed(problems)}")
    examples: dict[tuple[str, str], Example] = {}

    def example(prompt: Any, completion: str) -> Example:
        key = (dumps(prompt), completion)
        if key not in examples:
            examples[key] = encode(prompt, completion, lm, chat=chat)
        return examples[key]

    pairs = [
        Pair(
            row=i,
            chosen=example(row["prompt"], row["chosen"]),
            rejected=example(row["prompt"], row["rejected"]),
            margin=float(_value(row, "margin", 0.0)),
            is_tied=bool(row.get("is_tied")),
            group=str(_value(row, "group", dumps(row["prompt"]))),
            is_validation=_value(row, "split", "train") == "validation",
        )
        for i, row in enumerate(rows, start=1)
    ]
    _check_splits(pairs, who)
    return pairs


def _value(row: Mapping[str, Any], column: str, default: Any) -> Any:
    """An optional column; None is the same as its absence."""
    value = row.get(column)
    return default if value is None else value


def _problems(row: Mapping[str, Any]) -> list[str]:
    found = [f"has no '{column}'" for column in _NEEDS if column not in row]
    found += [problem for c in _NEEDS if c in row and (problem := problem_of(c, row[c]))]
    margin, is_tied = _value(row, "margin", 0.0), row.get("is_tied")
    group, split = _value(row, "group", ""), _value(row, "split", "train")
    is_number = isinstance(margin, (int, float)) and not isinstance(margin, bool)
    if not (is_number and 0 <= margin <= 1):
        found.append(f"'margin' is {margin!r}, no number in [0, 1]")
    if not (is_tied is None or isinstance(is_tied, bool)):
        found.append(f"'is_tied' is {is_tied!r}, neither true nor false")
    if not isinstance(group, str):
        found.append(f"'group' is {group!r}, no text")
    if split not in _SPLITS:
        found.append(f"'split' is {split!r}, neither 'train' nor 'validation'")
    return found


def _check_splits(pairs: Sequence[Pair], who: str) -> None:
    """What is measured on prompts that were trained on says nothing about others."""
    trained = {pair.group for pair in pairs if not pair.is_validation}
    shared = sorted({pair.group for pair in pairs if pair.is_validation} & trained)
    if shared:
        names = listed([f"group {group[:60]!r}" for group in shared])
        raise DataError(
            f"{who}: {len(shared)} prompt(s) have pairs in train and in validation; give all pairs of a "
            f"prompt one split:\n{names}"
        )


def informative(pairs: Sequence[Pair], *, who: str, ties: bool = False) -> tuple[list[Pair], list[Pair]]:
    """Pairs to train on and pairs to measure: without those of equal texts, and without ties.

    With ``ties`` training keeps its tied pairs. What is left out is counted and logged; DataError with a
    remedy where nothing is left to train on.
    """
    equal = [pair for pair in pairs if pair.chosen.completion == pair.rejected.completion]
    tied: list[Pair] = []
    training: list[Pair] = []
    validation: list[Pair] = []
    for pair in pairs:
        if pair.chosen.completion == pair.rejected.completion:
            continue
        if pair.is_tied and (pair.is_validation or not ties):
            tied.append(pair)
        else:
            (validation if pair.is_validation else training).append(pair)
    if equal:
        log.warning("%s: %d of %d pairs have equal texts: left out", who, len(equal), len(pairs))
    if tied:
        log.warning("%s: %d of %d pairs are ties: left out", who, len(tied), len(pairs))
    if not training:
        raise DataError(
            f"{who}: no pair is left to learn from: of {len(pairs)}, {len(equal)} have equal texts and "
            f"{len(tied)} are ties, the others are for validation. Sample at a higher temperature, rank more "
            "outputs, or lower the share of validation."
        )
    return training, validation


def texts_of(items: Sequence[Judged]) -> list[Example]:
    """All their texts in order: of pairs chosen and rejected in turns."""
    return [text for item in items for text in item.texts]


def by_group(items: Sequence[J]) -> list[list[J]]:
    """Elements of batches: what was judged of a prompt; several elements where it has many texts."""
    elements: list[list[J]] = []
    filling: dict[str, tuple[list[J], set[Example]]] = {}
    for item in items:
        element, texts = filling.get(item.group, ([], set()))
        if not element or len(texts.union(item.texts)) > _TEXTS_TOGETHER:
            element, texts = filling[item.group] = ([], set())
            elements.append(element)
        element.append(item)
        texts.update(item.texts)
    return elements


def pair_accuracy(
    margins: Sequence[float], groups: Sequence[str], *, prefix: str = "validation"
) -> dict[str, float | int | str | None]:
    """Share of pairs whose ``margins``, reward(chosen) - reward(rejected), are above 0; 0 counts one half.

    The pairs of a prompt are not independent, so the 95 % interval is over prompts: a ratio estimate,
    linearised (Cochran 1977, section 6.4), or Wilson's where every prompt has one pair. Keys start with
    ``prefix``; ``_low`` and ``_high`` are None with a ``_reason`` where there can be none.
    """
    hits = [0.5 if margin == 0 else float(margin > 0) for margin in margins]
    counts: dict[str, list[float]] = {}
    for hit, group in zip(hits, groups, strict=True):
        counts.setdefault(group, []).append(hit)
    interval = _share(list(counts.values()))
    found: dict[str, float | int | str | None] = {
        f"{prefix}_accuracy": interval.estimate,
        f"{prefix}_accuracy_low": interval.low,
        f"{prefix}_accuracy_high": interval.high,
        f"{prefix}_pairs": len(hits),
        f"{prefix}_prompts": len(counts),
    }
    return {**found, f"{prefix}_reason": interval.reason} if interval.reason else found


def _share(clusters: Sequence[Sequence[float]]) -> Interval:
    n_pairs = sum(map(len, clusters))
    hits = sum(map(sum, clusters))
    if n_pairs == len(clusters) and hits == math.floor(hits):
        return wilson_interval(int(hits), n_pairs)
    share, mean_size = hits / n_pairs, n_pairs / len(clusters)
    # Their mean is the share, and their variance that of the ratio estimate.
    values = [[share + (sum(cluster) - share * len(cluster)) / mean_size] for cluster in clusters]
    return mean_interval(values, within=(0.0, 1.0))
