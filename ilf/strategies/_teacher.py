"""A teacher that is the student's own model with other weights: as they were, as they are, or averaged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

Kind = Literal["start", "live", "ema"]


class Teacher:
    """The weights of a teacher beside those that are trained; weights that are frozen are shared.

    ``start``: the weights before training; ``live``: the student's at every moment, no weights of its own;
    ``ema``: w <- decay w + (1 - decay) student after every update. With adapters only these are held twice.
    """

    def __init__(self, model: Any, kind: Kind, decay: float) -> None:
        """Begins with the student's weights."""
        self.kind, self.decay = kind, decay
        self._trained = [] if kind == "live" else [p for p in model.parameters() if p.requires_grad]
        self._weights = [p.detach().clone() for p in self._trained]

    @contextlib.contextmanager
    def speaking(self) -> Iterator[None]:
        """Within, the model has the teacher's weights: for forward passes without gradients."""
        import torch

        self._swap()
        try:
            with torch.no_grad():
                yield
        finally:
            self._swap()

    def follow(self) -> None:
        """After an update: moves the average towards the student."""
        if self.kind == "ema":
            for mine, theirs in zip(self._weights, self._trained, strict=True):
                mine.lerp_(theirs.detach(), 1.0 - self.decay)

    def _swap(self) -> None:
        for i, parameter in enumerate(self._trained):
            parameter.data, self._weights[i] = self._weights[i], parameter.data
