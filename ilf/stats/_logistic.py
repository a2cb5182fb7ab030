"""A logistic curve with the variance of clusters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilf.stats.components import Cells

_STEPS = 100
_LONGEST = 2.0  # as in _davidson


def sigmoid(z: Cells) -> Cells:
    """1 / (1 + exp(-z)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(z / 2)))


def logistic(x: Cells, y: Cells, clusters: NDArray[np.int64], ridge: float) -> tuple[Cells, Cells]:
    """Coefficients of ``y`` in [0, 1] on ``x`` (rows, k), and their cluster-robust standard errors.

    The errors are the sandwich's, times sqrt(n / (n - 1)) for n clusters; ridge / 2 times the squared
    coefficients is taken off the log likelihood.
    """
    beta = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        step = np.linalg.solve(_bend(x, beta, ridge), x.T @ (y - sigmoid(x @ beta)) - ridge * beta)
        longest = float(np.abs(step).max())
        beta = beta + step * min(1.0, _LONGEST / max(longest, 1e-300))
        if longest < 1e-9:
            break
    names, index = np.unique(clusters, return_inverse=True)
    scores = np.zeros((len(names), x.shape[1]))
    np.add.at(scores, index, x * (y - sigmoid(x @ beta))[:, None])
    inverse = np.linalg.inv(_bend(x, beta, ridge))
    n = len(names)
    variance = inverse @ (scores.T @ scores) @ inverse * n / (n - 1)
    return beta, np.sqrt(np.diag(variance))


def _bend(x: Cells, beta: Cells, ridge: float) -> Cells:
    p = sigmoid(x @ beta)
    return np.asarray(x.T @ (x * (p * (1 - p))[:, None]) + ridge * np.eye(x.shape[1]))
