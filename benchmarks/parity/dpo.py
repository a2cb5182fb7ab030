"""Are our preference losses TRL's? Six updates of both on the same pairs, in one order, at the same rates.

    python benchmarks/parity/dpo.py --trl ELSEWHERE/bin/python [--save]       (sft.py says how to make one)

dpo, ipo, and label smoothing, robust and conservative. Pairs of the nano world, its checkpoint as start and
reference. The first loss is log 2 whatever is wrong; those of the later updates are not, because the rate is
high enough to leave the reference behind. TRL computes the conservative form under the name ``aot``, which is
the same where a batch is one pair. The status is 1 where a loss differs by more than 1e-5. Measured (TRL
1.16.0): 1.9e-6 (ipo, whose losses are 25; the others below 1e-6).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[2])

from benchmarks.parity._proof import Case, conclude, differences, options, pairs  # noqa: E402


def main() -> int:
    given = options(__doc__)
    from ilf.strategies.dpo import DPO

    rows = pairs(50)[:48]

    def case(name: str, settings: dict[str, object], batch_size: int = 8, **ours: object) -> Case:
        strategy = DPO(batch_size=batch_size, learning_rate=3e-4, device="cpu", **ours)  # type: ignore[arg-type]
        return Case(
            name, strategy, {"beta": strategy.kl_coef, **settings}, rows[: 6 * batch_size], batch_size
        )

    cases = [
        case("dpo", {}),
        case("dpo, kl_coef 0.5", {}, kl_coef=0.5),
        case("ipo", {"loss_type": ["ipo"]}, loss="ipo"),
        case("robust", {"loss_type": ["robust"], "label_smoothing": 0.1}, loss="robust", label_smoothing=0.1),
        case("label smoothing", {"loss_type": ["aot"], "label_smoothing": 0.1}, 1, label_smoothing=0.1),
    ]
    return conclude("dpo", differences("dpo", cases, given.trl), given.trl, keep=given.save)


if __name__ == "__main__":
    sys.exit(main())
