"""What the bundled ``evaluate.Metric`` modules share. It imports evaluate, which takes seconds."""

from __future__ import annotations

from typing import Any

from ilf.errors import ComponentError
from ilf.metrics._texts import Parts, Unmeasured

try:
    import datasets
    import evaluate
except ModuleNotFoundError as error:
    raise ComponentError(f"ilf.metrics needs the package {error.name}: pip install 'ilf[metrics]'") from None


class TextMetric(evaluate.Metric):  # type: ignore[misc]
    """A measure of texts against one reference each, as an ``evaluate.Metric``: refuses what is no text.

    ``compute(predictions=, references=)`` returns the mean of every part over the pairs that have a value
    (None without any), and ``unmeasured``, how many have none; ``use_aggregator=False`` a list per part.
    """

    about = ""
    citation = ""
    parts: tuple[str, ...] = ()

    def measure(self, prediction: str, reference: str, **settings: Any) -> Parts:
        """The parts of one pair, each in [0, 1]; raises Unmeasured."""
        raise TypeError(f"{type(self).__name__} does not define 'measure'.")

    def _info(self) -> Any:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=self.about,
            citation=self.citation,
            inputs_description="predictions and references: lists of texts, of one length",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(
        self, *, predictions: list[str], references: list[str], use_aggregator: bool = True, **settings: Any
    ) -> dict[str, Any]:
        found = [self._measured(p, r, settings) for p, r in zip(predictions, references, strict=True)]
        columns = {part: [None if one is None else one[part] for one in found] for part in self.parts}
        if not use_aggregator:
            return columns
        return {**{part: _mean(values) for part, values in columns.items()}, "unmeasured": found.count(None)}

    def _measured(self, prediction: str, reference: str, settings: dict[str, Any]) -> Parts | None:
        try:
            return self.measure(prediction, reference, **settings)
        except Unmeasured:
            return None


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
