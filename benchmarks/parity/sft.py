"""Is our sft loss TRL's? Six updates of both on the same rows, in the same order, at the same rates.

    python -m venv ELSEWHERE && ELSEWHERE/bin/pip install "torch==2.13.0" "trl==1.16.*"
    python benchmarks/parity/sft.py --trl ELSEWHERE/bin/python [--save]

Posts and demonstrations of the nano world, its checkpoint as start, all weights trained. Prompt and
completion go to TRL as text, so that its tokens, masks and end tokens are proved along. From the second
update on the weights are no longer the start's: an update that differed would show. The status is 1 where a
loss differs by more than 1e-5. Measured (TRL 1.16.0): 1.5e-7.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[2])

from benchmarks.parity._proof import Case, conclude, differences, options, posts  # noqa: E402


def main() -> int:
    given = options(__doc__)
    from ilf.strategies.sft import SFT
    from ilf.worlds.nano import Nano

    world = Nano()
    rows = [{"prompt": p, "completion": world.demonstrate(rng, facts)} for rng, facts, p in posts(48)]
    strategy = SFT(batch_size=8, learning_rate=1e-4, device="cpu")
    found = differences("sft", [Case("nll", strategy, {}, rows, 8)], given.trl)
    return conclude("sft", found, given.trl, keep=given.save)


if __name__ == "__main__":
    sys.exit(main())
