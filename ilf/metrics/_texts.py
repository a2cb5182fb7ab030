"""Measures of one text against one reference: the one place of each formula.

A measure raises ``Unmeasured`` where it has no value; that is not the same as 0.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from ilf.errors import ComponentError
from rankers import overlap

Parts = dict[str, float]
Measure = Callable[[str, str], Parts]
ROUGE_TYPES = ("rouge1", "rouge2", "rougeL")


class Unmeasured(ValueError):
    """The measure has no value for this reference; the message says why."""


def require(package: str, name: str) -> None:
    """Raises ComponentError, naming the extra to install, where a package is missing; imports nothing."""
    if importlib.util.find_spec(package) is None:
        shown = package.replace("_", "-")
        raise ComponentError(f"{name} needs the package {shown}: pip install 'ilf[metrics]'")


def rouge(prediction: str, reference: str, *, stem: bool = False) -> Parts:
    """F-measures ``rouge1``, ``rouge2`` (n-grams), ``rougeL`` (common subsequence) in [0, 1] (Lin 2004).

    The package rouge-score lower-cases and then reads runs of a-z and 0-9 alone: a reference without any is
    Unmeasured. ``stem`` applies Porter's stemmer to words of four letters and more.
    """
    if not re.search("[a-z0-9]", reference.lower()):
        raise Unmeasured("the reference has no letters a-z or digits, all that ROUGE reads; use chrf")
    scores = _rouge_scorer(stem).score(reference, prediction)
    return {name: float(scores[name].fmeasure) for name in ROUGE_TYPES}


@functools.cache
def _rouge_scorer(stem: bool) -> Any:
    require("rouge_score", "rouge")
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer(list(ROUGE_TYPES), use_stemmer=stem)


def exact_match(
    prediction: str, reference: str, *, ignore_case: bool = False, ignore_spaces: bool = True
) -> Parts:
    """``exact_match``: 1.0 where the texts are equal, else 0.0; white space at both ends never counts.

    ``ignore_spaces`` also takes every run of white space for one space.
    """
    pair = [text.strip() for text in (prediction, reference)]
    if ignore_spaces:
        pair = [" ".join(text.split()) for text in pair]
    if ignore_case:
        pair = [text.casefold() for text in pair]
    return {"exact_match": float(pair[0] == pair[1])}


def token_f1(prediction: str, reference: str) -> Parts:
    """``token_f1`` in [0, 1]: F1 of the bags of tokens (lower-cased letters and digits, any script)."""
    if overlap.token_f1(reference, "") == 1.0:
        raise Unmeasured("the reference has no letters or digits")
    return {"token_f1": overlap.token_f1(prediction, reference)}


def chrf(prediction: str, reference: str, *, order: int = 6, beta: float = 2.0) -> Parts:
    """``chrf`` in [0, 1]: F-beta of character n-grams, precision and recall averaged over n = 1..``order``.

    Popovic 2015 (W15-3049). White space is left out; an n that either text is too short for is left out of
    both means, as sacrebleu does.
    """
    left, right = ("".join(text.split()) for text in (prediction, reference))
    orders = range(1, min(order, len(left), len(right)) + 1)
    if not orders:
        return {"chrf": 0.0}
    matches = [(_ngrams(left, n) & _ngrams(right, n)).total() for n in orders]
    precision = sum(m / (len(left) - n + 1) for m, n in zip(matches, orders, strict=True)) / len(orders)
    recall = sum(m / (len(right) - n + 1) for m, n in zip(matches, orders, strict=True)) / len(orders)
    weighed = beta**2 * precision + recall
    return {"chrf": (1 + beta**2) * precision * recall / weighed if weighed else 0.0}


def _ngrams(text: str, n: int) -> Counter[str]:
    return Counter(text[i : i + n] for i in range(len(text) - n + 1))
