"""Is our kto loss TRL's? Six updates of both on the same texts, at the same rates.

    python benchmarks/parity/kto.py --trl ELSEWHERE/bin/python [--save]       (sft.py says how to make one)

Texts of the nano world, seven of eight good, its checkpoint as start and reference. For z0 we take the
completion of the next prompt of a batch, TRL that of the one before: it is given every batch the other way
round. The first loss is near one half whatever is wrong; the rate is high enough to leave the reference
behind, and z0 must have been above 0 somewhere. The status is 1 where a loss differs by more than 1e-5.
Measured (TRL 1.16.0): 1.8e-7.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[2])

from benchmarks.parity._proof import Case, conclude, differences, options, posts  # noqa: E402

BATCH = 8


def main() -> int:
    given = options(__doc__)
    from ilf.strategies.kto import KTO
    from ilf.worlds.nano import Nano

    world, rows = Nano(), []
    # The good texts are those of a few posts, whatever is asked: they get likelier behind every prompt, or z0
    # would stay 0.
    good_texts = [world.demonstrate(rng, facts) for rng, facts, _ in posts(3)]
    for i, (rng, facts, prompt) in enumerate(posts(6 * BATCH)):
        completion = good_texts[i % 3] if i % BATCH else world.faulty(rng, facts)
        rows.append({"prompt": prompt, "completion": completion, "label": i % BATCH > 0})
    turned = [row for at in range(0, len(rows), BATCH) for row in rows[at : at + BATCH][::-1]]
    cases = []
    for name, kl_coef, good, bad in (("kto", 0.1, 1.0, 1.0), ("kl_coef 0.5, weights", 0.5, 1.0, 1.5)):
        strategy = KTO(
            data="labels", batch_size=BATCH, learning_rate=3e-4, device="cpu",
            kl_coef=kl_coef, desirable_weight=good, undesirable_weight=bad,
        )  # fmt: skip
        settings = {"beta": kl_coef, "desirable_weight": good, "undesirable_weight": bad}
        cases.append(Case(name, strategy, settings, rows, BATCH, their_rows=turned, witness="kl_baseline"))
    return conclude("kto", differences("kto", cases, given.trl), given.trl, keep=given.save)


if __name__ == "__main__":
    sys.exit(main())
