"""A classifier of one's own choice: toxicity, bias, truthfulness by entailment, or anything else it tells."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ilf.errors import UsageError
from ilf.graders._classify import Classified, Loaded, classified, label_index, load_classifier
from ilf.graders._parts import as_component_error, check_part, rounded
from ilf.protocols import Grade, Row
from rankers import fill
from rankers._cases import placeholders

log = logging.getLogger("ilf.graders")


@dataclass(frozen=True)
class Classifier:
    """The probability that a sequence classifier gives to one of its labels, under the name of ``part``.

    ``grade`` is that probability where ``better: higher``, else 1 minus it. Any classifier of transformers
    does, with one form of text or two: ``premise: "{prompt}"`` asks a model of entailment whether the output
    follows from its prompt. What the number is worth is the classifier's affair: it knows the texts that it
    was trained on, and calls dialects and mere mentions of groups toxic (Dixon et al. 2018).
    ``PART_truncated`` is 1 where a text lost its end because it was too long.
    """

    model: str = ""
    """The classifier: a folder or a hub id."""
    label: str = ""
    """The label whose probability counts, by its name or its number."""
    part: str = "toxicity"
    """Name of the part: toxicity, bias, truthfulness or another."""
    better: Literal["lower", "higher"] = "lower"
    text: str = "{output}"
    """What is read: columns in braces."""
    premise: str = ""
    """If given, the classifier reads the pair of it and ``text``; a pair too long loses the premise's end."""
    scores: Literal["auto", "softmax", "sigmoid"] = "auto"
    """Labels that exclude each other, or each for itself; ``auto``: as its configuration says."""
    max_tokens: int | None = None
    """Fewer tokens than the model can read."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"
    batch_size: int = field(default=16, compare=False)

    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuses settings that no text could be read with."""
        check_part("classifier", self.part)
        if not self.label:
            raise UsageError("classifier.label: name the label whose probability counts, by name or number.")
        if self.batch_size < 1 or (self.max_tokens is not None and self.max_tokens < 3):
            raise UsageError("classifier: batch_size must be 1 or more, max_tokens 3 or more.")
        if "{output}" not in self.text + self.premise:
            raise UsageError("classifier.text: reads no {output}, so every text would get the same grade.")

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that are read besides the text."""
        return tuple(sorted(placeholders(self.text, self.premise) - {"output"}))

    @functools.cached_property
    def _loaded(self) -> Loaded:
        return load_classifier(self.model, self.dtype, self.device)

    def grade(self, rows: Sequence[Row]) -> list[Grade]:
        """One verdict per row; None with a reason where a column is empty.

        Raises ComponentError where there is no such classifier or it has no such label.
        """
        forms = [self._form(row) for row in rows]
        asked = [form for form in forms if not isinstance(form, str)]
        found = iter(self._classified(asked) if asked else ())
        return [self._unread(form) if isinstance(form, str) else self._verdict(next(found)) for form in forms]

    def _form(self, row: Row) -> tuple[str, str | None] | str:
        """Text and premise, or why there is none."""
        missing = [name for name in self.needs if row.get(name) is None]
        if missing:
            return f"no '{missing[0]}'"
        with as_component_error():
            text = fill(self.text, row)
            return text, fill(self.premise, row) if self.premise else None

    def _classified(self, asked: Sequence[Any]) -> Iterator[Classified]:
        index = label_index(self._loaded, self.label)
        found = classified(
            self._loaded,
            asked,
            index,
            scores=self.scores,
            max_tokens=self.max_tokens,
            batch_size=self.batch_size,
        )
        cut = sum(one.is_truncated for one in found)
        if cut:
            log.warning("%d of %d texts are too long for the classifier and were cut", cut, len(found))
        return iter(found)

    def _verdict(self, found: Classified) -> Grade:
        value = rounded(found.probability)
        if value is None:
            return self._unread("the text alone is longer than the classifier reads")
        verdict: Grade = {"grade": rounded(value if self.better == "higher" else 1 - value), self.part: value}
        verdict[f"{self.part}_truncated"] = float(found.is_truncated)
        return {**verdict, "reason": "the text was too long and was cut"} if found.is_truncated else verdict

    def _unread(self, reason: str) -> Grade:
        return {"grade": None, self.part: None, "reason": reason}
