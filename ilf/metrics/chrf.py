"""Character n-gram F-score as an ``evaluate.Metric``."""

from __future__ import annotations

from typing import Any

from ilf.metrics import _texts
from ilf.metrics._metric import TextMetric


class Chrf(TextMetric):
    """``chrf`` in [0, 1] (not in 0..100), for any script; settings ``order`` (6) and ``beta`` (2)."""

    about = "Character n-gram F-beta against one reference."
    citation = "Popovic 2015, chrF: character n-gram F-score for automatic MT evaluation (W15-3049)"
    parts = ("chrf",)

    def measure(self, prediction: str, reference: str, **settings: Any) -> _texts.Parts:
        """The F-score of one pair."""
        return _texts.chrf(prediction, reference, **settings)
