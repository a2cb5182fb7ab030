"""What was said about the texts of a prompt: its pairs, or its ranking, over distinct texts."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ilf.errors import DataError, listed
from ilf.protocols import Row
from ilf.records import dumps, problem_of
from ilf.strategies._encode import Example, encode
from ilf.strategies._pairs import Pair, informative, read_pairs
from rankers._lm import LM, Chat

log = logging.getLogger("ilf")


@dataclass
class Comparison:
    """The distinct texts of a prompt (or of one ranking of them) and what is known of their order."""

    group: str
    is_validation: bool
    texts: list[Example] = field(default_factory=list)
    pairs: list[tuple[int, int, float, bool]] = field(default_factory=list)
    """(index of the better text, of the worse, margin, whether they are tied)."""
    levels: list[int] = field(default_factory=list)
    """The rank of every text, 0 for the best, equal for ties; none where pairs were given."""

    @functools.cached_property
    def ordered(self) -> list[tuple[int, int]]:
        """(better, worse) of the pairs that are not tied."""
        if self.levels:
            places = range(len(self.levels))
            return [(i, j) for i in places for j in places if self.levels[i] < self.levels[j]]
        return [(i, j) for i, j, _, is_tied in self.pairs if not is_tied]


@dataclass(frozen=True)
class Comparisons:
    """What is trained on, what is measured, and how many ties of the latter are not judged."""

    training: list[Comparison]
    validation: list[Comparison]
    n_validation_ties: int


def of_pairs(
    rows: Sequence[Row], lm: LM, *, who: str, chat: Chat, ties: bool, most_tokens: int
) -> Comparisons:
    """Pairs gathered by prompt, so that a text in several pairs is one text.

    DataError where texts are longer than ``most_tokens``, or where nothing is left whose order could be
    learnt; what is left out is counted and logged.
    """
    pairs = read_pairs(rows, lm, who=who, chat=chat)
    check_text_lengths([(pair.row, pair.n_tokens) for pair in pairs], most_tokens, who)
    training, validation = informative(pairs, who=who, ties=ties)
    if all(pair.is_tied for pair in training):
        raise DataError(
            f"{who}: all {len(training)} pairs to train on are ties: nothing says which text is better. "
            "Sample outputs that differ more (a higher temperature, more of them), or rank again."
        )
    n_ties = sum(pair.is_tied for pair in pairs if pair.is_validation)
    return Comparisons(_gathered(training), _gathered(validation), n_ties)


def _gathered(pairs: Iterable[Pair]) -> list[Comparison]:
    found: dict[str, Comparison] = {}
    places: dict[tuple[str, Example], int] = {}
    for pair in pairs:
        one = found.setdefault(pair.group, Comparison(pair.group, pair.is_validation))
        for example in (pair.chosen, pair.rejected):
            if (pair.group, example) not in places:
                places[pair.group, example] = len(one.texts)
                one.texts.append(example)
        better, worse = places[pair.group, pair.chosen], places[pair.group, pair.rejected]
        one.pairs.append((better, worse, pair.margin, pair.is_tied))
    return list(found.values())


def of_rankings(rows: Sequence[Row], lm: LM, *, who: str, chat: Chat, most_tokens: int) -> Comparisons:
    """A comparison a row, its texts from the best to the worst; of equal texts the better placed is kept.

    Raises DataError naming the rows whose ranking names an output twice or one that is not there, whose texts
    are longer than ``most_tokens``, and where no ranking orders two texts; rankings that order none are left
    out, counted and logged.
    """
    problems = [f"row {i}: {p}" for i, row in enumerate(rows, start=1) for p in _problems(row)]
    problems += [f"prompt {name[:60]!r} is in train and in validation" for name in _in_both(rows)]
    if problems:
        raise DataError(f"{who}: {len(problems)} problem(s) in the rankings:\n{listed(problems)}")
    found = [_ranking(row, lm, chat) for row in rows]
    lengths = [(i, max(map(len, one.texts), default=0)) for i, one in enumerate(found, start=1)]
    check_text_lengths(lengths, most_tokens, who)
    kept = [one for one in found if one.ordered]
    left_out = len(found) - len(kept)
    if left_out:
        log.warning("%s: %d of %d rankings order no two texts: left out", who, left_out, len(found))
    training = [one for one in kept if not one.is_validation]
    if not training:
        raise DataError(
            f"{who}: no ranking is left to learn from: {left_out} of {len(found)} are all ties or of one "
            "text, the others are for validation. Sample outputs that differ more, or more of them."
        )
    validation = [one for one in kept if one.is_validation]
    return Comparisons(training, validation, sum(map(_n_ties, validation)))


def _n_ties(one: Comparison) -> int:
    return len(one.levels) * (len(one.levels) - 1) // 2 - len(one.ordered)


def _ranking(row: Row, lm: LM, chat: Chat) -> Comparison:
    one = Comparison(_group(row), row.get("split") == "validation")
    for level, group in enumerate(row["ranking"]):
        for index in group:
            example = encode(row["prompt"], row["outputs"][index], lm, chat=chat)
            if example not in one.texts:
                one.texts.append(example)
                one.levels.append(level)
    return one


def check_text_lengths(lengths: Iterable[tuple[int, int]], most: int, who: str) -> None:
    """(row, tokens) of the longest text of every row; its last token is read too."""
    long = [f"row {row}: {n} tokens" for row, n in lengths if n > most]
    if long:
        raise DataError(
            f"{who}: {len(long)} row(s) have texts longer than {most} tokens (the lesser of max_tokens and "
            f"the model's positions), prompt included; shorten or drop them:\n{listed(long)}"
        )


def _group(row: Row) -> str:
    return str(row.get("group") or dumps(row["prompt"]))


def _problems(row: Row) -> list[str]:
    needs = ("prompt", "outputs", "ranking")
    found = [f"has no '{column}'" for column in needs if column not in row]
    found += [problem for c in needs if c in row and (problem := problem_of(c, row[c]))]
    if found:
        return found
    named = [index for group in row["ranking"] for index in group]
    unknown = sorted({index for index in named if not 0 <= index < len(row["outputs"])})
    twice = sorted({index for index in named if named.count(index) > 1})
    if unknown:
        found.append(f"'ranking' names {unknown}, and 'outputs' has 0 to {len(row['outputs']) - 1}")
    if twice:
        found.append(f"'ranking' names {twice} more than once")
    if row.get("split") not in (None, "train", "validation"):
        found.append(f"'split' is {row['split']!r}, neither 'train' nor 'validation'")
    return found


def _in_both(rows: Sequence[Row]) -> list[str]:
    """Prompts on which nothing could be measured, because they are trained on too."""
    splits: dict[str, set[bool]] = {}
    for row in rows:
        if "prompt" in row:
            splits.setdefault(_group(row), set()).add(row.get("split") == "validation")
    return [name for name, found in splits.items() if len(found) > 1]
