"""How often the 95 % intervals of ilf agreement hold the true value, by number of outputs answered twice.

    python benchmarks/agreement.py            about 30 CPU seconds

Two people answer each output; the true value is that of 20,000 outputs. One Monte Carlo standard error at
1000 data sets is 0.7 points. Measured:

    outputs                          10      20      50     100
    alpha (ordinal), ratings       93.6    93.6    94.7    93.5
    alpha (nominal), verdicts      88.3    94.0    93.4    95.7
    share equal, verdicts          96.0    93.5    94.8    95.6
    mean width, alpha (ordinal)    0.88    0.59    0.36    0.25
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path[0] = str(ROOT)  # benchmarks/rankers.py must not stand in for the package

from ilf import agreement  # noqa: E402

RUNS, DRAWS = 1000, 400


def ratings(n: int, generator: np.random.Generator) -> list[list[int]]:
    """Two people's ratings 1 to 5 of one quality, each with an error of their own."""
    truth = generator.normal(3.2, 1.0, size=(n, 1))
    seen = truth + generator.normal(0, 0.7, size=(n, 2))
    return [[int(v) for v in unit] for unit in np.clip(np.rint(seen), 1, 5)]


def verdicts(n: int, generator: np.random.Generator) -> list[list[int]]:
    """Two people's verdicts: each right in eight of ten cases, else one of the other two."""
    truth = generator.integers(0, 2, size=(n, 1))
    wrong = (truth + generator.integers(1, 3, size=(n, 2))) % 3
    said = np.where(generator.random((n, 2)) < 0.8, truth, wrong)
    return [[int(v) for v in unit] for unit in said]


def main() -> None:
    """Prints a line per measure and number of outputs."""
    generator = np.random.default_rng(0)
    cases = {
        "alpha (ordinal), ratings": (
            ratings,
            lambda u, g: agreement.alpha(u, agreement.ordinal, g, draws=DRAWS),
        ),
        "alpha (nominal), verdicts": (
            verdicts,
            lambda u, g: agreement.alpha(u, agreement.nominal, g, draws=DRAWS),
        ),
        "share equal, verdicts": (
            verdicts,
            lambda u, g: agreement.over_units([agreement.share_equal(unit) for unit in u]),
        ),
    }
    for name, (draw, measure) in cases.items():
        true = measure(draw(20_000, generator), None if "alpha" in name else generator).estimate
        assert true is not None
        for n in (10, 20, 50, 100):
            found = [measure(draw(n, generator), generator) for _ in range(RUNS)]
            known = [f for f in found if f.low is not None and f.high is not None]
            held = sum(f.low <= true <= f.high for f in known) / len(known)
            spread = np.mean([f.high - f.low for f in known])
            print(f"{name:<26} true {true:.3f}  n {n:>3}  covered {held:.3f}  mean width {spread:.2f}")


if __name__ == "__main__":
    main()
