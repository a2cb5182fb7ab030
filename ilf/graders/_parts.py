"""What graders share that read texts with a model: names of parts, rounding, errors of loading."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

from ilf.errors import ComponentError, UsageError
from rankers import RankerError

#: Decimals that are kept of what a network computes: the batch that a text stands in shows below them.
DECIMALS = 4


def rounded(value: float) -> float | None:
    """The value at the decimals that count; None where it is no number."""
    return round(value, DECIMALS) + 0.0 if math.isfinite(value) else None


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-value)), without overflow."""
    return (1.0 + math.tanh(value / 2)) / 2


def check_part(grader: str, part: str) -> None:
    """Refuses a name of a part that is taken."""
    if not part.strip() or part in ("grade", "reason"):
        raise UsageError(f"{grader}.part: {part!r} cannot name a part; 'grade' and 'reason' are taken.")


@contextlib.contextmanager
def as_component_error() -> Iterator[None]:
    """What a ranker's loader or scorer complains about, as an error of ours."""
    try:
        yield
    except RankerError as error:
        raise ComponentError(str(error)) from None
