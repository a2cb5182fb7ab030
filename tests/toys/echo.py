"""A generator without a model, for tests of the spine."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Echo:
    """Answers with a random word behind the prompt's last; ``slow`` seconds per call, each call noted in ``calls``."""

    words: tuple[str, ...] = ("red", "green", "blue")
    slow: float = field(default=0.0, compare=False)
    calls: str = field(default="", compare=False)

    revision = 1

    def generate(self, prompts: Sequence[Any], n: int, seeds: Sequence[int]) -> list[list[str]]:
        time.sleep(self.slow)
        if self.calls:
            with Path(self.calls).open("a") as file:
                file.write(f"{len(prompts)}\n")
        draws = [random.Random(seed) for seed in seeds]
        return [[f" {rng.choice(self.words)} {rng.randrange(1000)}" for _ in range(n)] for rng in draws]
