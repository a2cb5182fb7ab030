"""F1 of bags of words as an ``evaluate.Metric``."""

from __future__ import annotations

from typing import Any

from ilf.metrics import _texts
from ilf.metrics._metric import TextMetric


class TokenF1(TextMetric):
    """``token_f1`` in [0, 1], the F1 of the bags of tokens; any script, no stemming, no articles removed."""

    about = "F1 of the bags of lower-cased tokens against one reference."
    parts = ("token_f1",)

    def measure(self, prediction: str, reference: str, **settings: Any) -> _texts.Parts:
        """The F1 of one pair."""
        return _texts.token_f1(prediction, reference, **settings)
