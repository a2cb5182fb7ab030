"""Is our reward model's loss TRL's? Six updates of both on the same pairs, in one order, at the same rates.

    python benchmarks/parity/reward.py --trl ELSEWHERE/bin/python [--save]    (sft.py says how to make one)

Pairs, pairs with margins, and rankings of four: ours runs the four texts of a ranking once, TRL is given its
six pairs; the loss is the same. Texts of the nano world, a classifier on its checkpoint with a random head as
start. The status is 1 where a loss differs by more than 1e-5. Measured (TRL 1.16.0): 1.2e-7.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[2])

from benchmarks.parity._proof import NANO, Case, Row, conclude, differences, options, pairs, posts  # noqa: E402


def classifier(folder: Path) -> str:
    """A classifier with a random head on the nano checkpoint."""
    import torch

    from ilf.strategies._classifier import fresh_classifier
    from ilf.strategies._models import save_model

    torch.manual_seed(0)
    made = fresh_classifier(NANO, "cpu", "normal")
    save_model(made.model, made.tokenizer, folder, merge=True)
    return str(folder)


def rankings(n: int) -> list[list[Row]]:
    """For each of ``n`` posts the six pairs of a ranking of four different outputs."""
    from ilf.worlds.nano import Nano

    world, found = Nano(), []
    for rng, facts, prompt in posts(n):
        outputs = [world.demonstrate(rng, facts)]
        while len(outputs) < 4:
            outputs += {world.faulty(rng, facts)} - set(outputs)
        found.append(
            [
                {"prompt": prompt, "chosen": better, "rejected": worse}
                for i, better in enumerate(outputs)
                for worse in outputs[i + 1 :]
            ]
        )
    return found


def main() -> int:
    given = options(__doc__)
    from ilf.strategies.reward import Reward

    rows = pairs(50)[:48]
    rng = random.Random(0)
    margins = [{**row, "margin": round(rng.random(), 3)} for row in rows]
    ranked = [row for six in rankings(24) for row in six]
    same = {"adam_epsilon": Reward.adam_epsilon}
    with tempfile.TemporaryDirectory() as folder:
        start = classifier(Path(folder) / "start")

        def strategy(batch_size: int, **ours: float) -> Reward:
            return Reward(batch_size=batch_size, learning_rate=1e-4, device="cpu", **ours)  # type: ignore[arg-type]

        cases = [
            Case("pairs", strategy(8), same, rows, 8, start),
            Case("pairs with margins", strategy(8, margin=1.0), same, margins, 8, start),
            Case("rankings of four", strategy(4), same, ranked, 24, start),
        ]
        found = differences("reward", cases, given.trl)
    return conclude("reward", found, given.trl, keep=given.save)


if __name__ == "__main__":
    sys.exit(main())
