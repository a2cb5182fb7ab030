"""Equality of texts as an ``evaluate.Metric``."""

from __future__ import annotations

from typing import Any

from ilf.metrics import _texts
from ilf.metrics._metric import TextMetric


class ExactMatch(TextMetric):
    """``exact_match``, the share of equal pairs; settings ``ignore_case`` (off), ``ignore_spaces`` (on)."""

    about = "Share of predictions equal to their reference, white space at both ends aside."
    parts = ("exact_match",)

    def measure(self, prediction: str, reference: str, **settings: Any) -> _texts.Parts:
        """1.0 or 0.0 for one pair."""
        return _texts.exact_match(prediction, reference, **settings)
