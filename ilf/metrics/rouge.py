"""ROUGE-1, -2 and -L as an ``evaluate.Metric``."""

from __future__ import annotations

from typing import Any

from ilf.metrics import _texts
from ilf.metrics._metric import TextMetric


class Rouge(TextMetric):
    """F-measures ``rouge1``, ``rouge2`` and ``rougeL`` in [0, 1]; setting ``stem`` (Porter's, off)."""

    about = "ROUGE F-measures against one reference, by the package rouge-score."
    citation = "Lin 2004, ROUGE: a package for automatic evaluation of summaries (W04-1013)"
    parts = _texts.ROUGE_TYPES

    def measure(self, prediction: str, reference: str, **settings: Any) -> _texts.Parts:
        """The three F-measures of one pair."""
        return _texts.rouge(prediction, reference, **settings)
