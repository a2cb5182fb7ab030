"""How far two orders of the same things agree."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def kendall_tau_b(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's tau_b, ties in either taken out of the pairs; None where one side is all ties."""
    if len(first) != len(second):
        raise ValueError(f"{len(first)} values against {len(second)}")
    upper = np.triu_indices(len(first), k=1)
    a, b = (np.sign(np.subtract.outer(x, x))[upper] for x in (np.asarray(first), np.asarray(second)))
    untied = float(np.count_nonzero(a)) * float(np.count_nonzero(b))
    return float((a * b).sum()) / math.sqrt(untied) if untied else None
