"""PPO as `ilf run` runs it: killed at any moment it ends with the same bytes; torchrun's two processes are one run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
RECIPE = """
about: rankings, a reward model, PPO, each as small as it can be
world: nano
model: nano
threads: 1
generator: {name: transformers_lm, max_new_tokens: 24}
steps:
  load: {split: train, n: 12}
  sample: {n: 3}
  collect: {feedback: simulated, job: rank}
  pair: {}
  reward: {do: train, strategy: {name: reward, learning_rate: 1e-3}}
  ppo:
    do: train
    reads: load
    grader: world
    strategy: {name: ppo, reward: steps.reward, steps: 24, prompts_per_step: 4, samples_per_prompt: 2, max_new_tokens: 24, learning_rate: 3e-4, checkpoint_every: 3}
"""

pytestmark = pytest.mark.slow


def command(recipe: Path, runs: Path) -> list[str]:
    return ["-m", "ilf", "run", str(recipe), "--runs", str(runs), "--quiet"]


def quiet_environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def contents(runs: Path) -> dict[str, bytes]:
    files = (p for p in sorted(runs.rglob("*")) if p.is_file() and ".locks" not in p.parts)
    ignored = ("measured.json", "last.json", ".lock")
    return {
        str(p.relative_to(runs)): p.read_bytes()
        for p in files
        if p.name not in ignored and p.parent.name != runs.name and "-" in p.relative_to(runs).parts[1]
    }


def log_of(runs: Path) -> list[dict[str, Any]]:
    (rows,) = runs.glob("*/ppo-*/rows.jsonl")
    return [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def recipe(recipe_file: Callable[[str], Path]) -> Path:
    return recipe_file(RECIPE)


@pytest.fixture
def whole(recipe: Path, tmp_path: Path) -> tuple[Path, float]:
    """An unbroken run, and the seconds that it took."""
    began = time.monotonic()
    subprocess.run(
        [sys.executable, *command(recipe, tmp_path / "whole")], check=True, env=quiet_environment()
    )
    return tmp_path / "whole", time.monotonic() - began


def test_a_killed_ppo_ends_with_the_bytes_of_an_unbroken_one(
    recipe: Path, whole: tuple[Path, float], tmp_path: Path
) -> None:
    wanted, took = contents(whole[0]), whole[1]
    assert any("/ppo-" in name and name.endswith("model.safetensors") for name in wanted)
    inside_ppo = resumed = 0
    for seed in range(3):
        rng, runs = random.Random(seed), tmp_path / f"broken-{seed}"
        for _ in range(3):
            process = subprocess.Popen([sys.executable, *command(recipe, runs)], env=quiet_environment())
            time.sleep(took * rng.uniform(0.5, 0.95))
            is_running = process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.wait()
            steps = list(runs.glob("*/ppo-*"))
            inside_ppo += is_running and bool(steps)
            resumed += bool(steps) and (steps[0] / "checkpoint").is_dir()
        subprocess.run([sys.executable, *command(recipe, runs)], check=True, env=quiet_environment())
        assert contents(runs) == wanted, f"seed {seed}"
    assert inside_ppo >= 2
    assert resumed >= 1


def test_two_processes_of_torchrun_give_the_curve_of_one(
    recipe: Path, whole: tuple[Path, float], tmp_path: Path
) -> None:
    runs = tmp_path / "two"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launch, "-m", "ilf", "run", str(recipe), "--runs", str(runs)],
        capture_output=True,
        text=True,
        env=quiet_environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("collect\n") <= 1, "one process tells, the other is quiet"
    one, two = log_of(whole[0]), log_of(runs)
    assert [row["step"] for row in two] == list(range(1, 25))
    for name in ("reward", "kl", "loss", "grade", "length_tokens"):
        assert [row[name] for row in two] == pytest.approx([row[name] for row in one], rel=1e-2, abs=1e-2), (
            name
        )
