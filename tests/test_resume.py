"""kill -9 at seeded moments, some of them inside a resume: the same bytes and the same ledger as an unbroken run."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ilf.records import Rows

ROOT = Path(__file__).parent.parent

RECIPE = """
about: every kind of step, slow enough to be killed in the middle
world: nano
generator: {name: toys.echo, slow: 0.05}
form: nano
threads: 1
steps:
  load: {split: train, n: 1500}
  sample: {}
  collect: {feedback: simulated}
  refine: {n: 3}
  choose: {ranker: length}
  train: {start: nano, strategy: toys.slow_learner}
  evaluate: {reads: choose, grader: world, text: completion}
"""
RUN = "import sys; from ilf import run_recipe; run_recipe(sys.argv[1], runs=sys.argv[2])"


def start(recipe: Path, runs: Path) -> subprocess.Popen[bytes]:
    path = f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); {RUN}"
    return subprocess.Popen([sys.executable, "-c", path, str(recipe), str(runs)], stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()


def contents(runs: Path) -> dict[str, bytes]:
    """Every file that is promised to be the same: clocks and locks are not."""
    files = (p for p in sorted(runs.rglob("*")) if p.is_file() and ".locks" not in p.parts)
    return {str(p.relative_to(runs)): p.read_bytes() for p in files if p.name != "measured.json"}


def ledger(runs: Path) -> dict[str, float]:
    (rows,) = runs.glob("toy/collect-*/rows.jsonl")
    return {row["annotation_id"]: row["seconds"] for row in Rows(rows)}


@pytest.mark.slow
def test_killed_runs_end_with_the_bytes_of_an_unbroken_one(tmp_path: Path, recipe_file: object) -> None:
    recipe = recipe_file(RECIPE)  # type: ignore[operator]
    whole = tmp_path / "whole"
    began = time.monotonic()
    finish(start(recipe, whole))
    took = time.monotonic() - began
    wanted, seconds = contents(whole), ledger(whole)
    assert len(seconds) == 1500
    kills = inside_resume = 0
    for seed in range(12):
        rng, runs, resumed = random.Random(seed), tmp_path / f"broken-{seed}", False
        for _ in range(rng.randint(1, 3)):
            process = start(recipe, runs)
            time.sleep(rng.uniform(0.05, 1.0) * took)
            killed = process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += killed
            inside_resume += killed and resumed
            resumed = True
        finish(start(recipe, runs))
        assert contents(runs) == wanted, f"seed {seed}"
        assert ledger(runs) == seconds
    assert kills >= 10
    assert inside_resume >= 3


def test_a_second_run_reuses_every_step(tmp_path: Path, recipe_file: object) -> None:
    from ilf import run_recipe

    text = RECIPE.replace("n: 1500", "n: 3").replace("slow: 0.05", f"calls: {tmp_path / 'calls'}")
    recipe = recipe_file(text)  # type: ignore[operator]
    first = run_recipe(str(recipe), runs=tmp_path / "runs", quiet=True)
    calls = (tmp_path / "calls").read_text()
    second = run_recipe(str(recipe), runs=tmp_path / "runs", quiet=True)
    assert {k: s.folder for k, s in first.items()} == {k: s.folder for k, s in second.items()}
    assert (tmp_path / "calls").read_text() == calls, "the generator was asked again"


def test_only_what_follows_a_changed_setting_is_made_again(tmp_path: Path, recipe_file: object) -> None:
    from ilf import run_recipe

    text = RECIPE.replace("n: 1500", "n: 3").replace("slow: 0.05", "slow: 0.0")
    recipe = recipe_file(text)  # type: ignore[operator]
    first = run_recipe(str(recipe), runs=tmp_path / "runs", quiet=True)
    second = run_recipe(str(recipe), {"choose.ranker": "chance"}, tmp_path / "runs", quiet=True)
    same = {name for name in first if first[name].folder == second[name].folder}
    assert same == {"load", "sample", "collect", "refine"}
