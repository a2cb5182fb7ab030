"""Training logs made by hand: a reward that rises, a true grade that follows it or turns."""

from __future__ import annotations

from typing import Any

import numpy as np


def a_log(
    seed: int = 0, *, steps: int = 40, turns_at: int | None = 12, noise: float = 0.02
) -> list[dict[str, Any]]:
    """A log of PPO; ``turns_at``: the step from which the grade falls by .007 a step, None for never."""
    draw = np.random.default_rng(seed)
    rows = []
    for step in range(1, steps + 1):
        grade = 0.49 + 0.17 * min(step / 8, 1.0)
        grade -= 0.0 if turns_at is None else 0.007 * max(step - turns_at, 0)
        row: dict[str, Any] = {
            "step": step,
            "loss": 0.3 / step,
            "reward": step / steps + draw.normal(0, noise),
            "reward_total": step / steps,
            "grade": grade + draw.normal(0, noise),
            "kl": 0.16 * step - 0.2,
            "entropy": 1.2 - step / 60,
            "length_tokens": 38 - step / 8,
            "end_rate": 1.0,
            "explained_variance": -0.2 + step / steps,
            "clip_fraction": 0.05,
            "learning_rate": 1e-5,
            "episodes": 64,
        }
        if step % 10 == 0:
            row["samples"] = [
                {
                    "prompt": f"POST: {i} at {step}",
                    "output": f" A summary of {step}.",
                    "reward": 0.5,
                    "kl": 1.25,
                    "grade": 0.75,
                }
                for i in range(8)
            ]
        rows.append(row)
    return rows


def a_reward_log() -> list[dict[str, Any]]:
    """A log of a reward model, with its verdict on itself at the end."""
    held: dict[str, Any] = {
        "accuracy": 0.71, "accuracy_low": 0.66, "accuracy_high": 0.76, "pairs": 480, "prompts": 100, "ties": 12,
        "length_accuracy": 0.55, "length_accuracy_low": 0.5, "length_accuracy_high": 0.6,
        "length_agreement": -0.12, "length_agreement_low": -0.22, "length_agreement_high": -0.02,
        "calibration_error": 0.04,
        "calibration_slope": 0.8, "calibration_slope_low": None, "calibration_slope_high": None, "reason": "one prompt",
        "calibration": [
            {"low": 0.5, "high": 0.6, "n": 100, "predicted": 0.55, "observed": 0.52},
            {"low": 0.6, "high": 0.7, "n": 0, "predicted": None, "observed": None},
        ],
    }  # fmt: skip
    rows: list[dict[str, Any]] = [
        {"step": i, "loss": 0.7 - i / 100, "accuracy": 0.5 + i / 100} for i in range(1, 21)
    ]
    rows[-1] |= {"validation": held, "training": {**held, "accuracy": 0.93}, "reward_mean": 0.3}
    return rows
