"""A generator that names a model, for tests of what was made with which model."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelEcho:
    """Answers with a number; never loads the model."""

    model: str
    revision = 1

    def generate(self, prompts: Sequence[Any], n: int, seeds: Sequence[int]) -> list[list[str]]:
        """One number per completion."""
        draws = [random.Random(seed) for seed in seeds]
        return [[f" {rng.randrange(1000)}" for _ in range(n)] for rng in draws]
