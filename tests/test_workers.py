"""Many arms: shared steps are made once, by processes that end with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from ilf import read_recipe
from ilf.errors import IlfError
from ilf.progress import Progress
from ilf.workers import graph, run_graph

ROOT = Path(__file__).parent.parent
RECIPE = """
world: nano
form: nano
generator: {name: toys.echo, calls: CALLS}
steps:
  load: {n: 4}
  sample: {}
  collect: {feedback: simulated}
  refine: {n: 2}
  choose: {ranker: length}
"""


def plans(recipe_file: Any, tmp_path: Path, *overrides: dict[str, Any], text: str = RECIPE) -> list[Any]:
    path = recipe_file(text.replace("CALLS", str(tmp_path / "calls")))
    return [read_recipe(str(path)).override(o).plan() for o in overrides]


def test_arms_share_what_is_equal(recipe_file: Any, tmp_path: Path) -> None:
    arms = plans(recipe_file, tmp_path, {}, {"choose.ranker": "chance"}, {"refine.feedback": "shuffled"})
    assert len(graph(arms)) == 5 + 1 + 2


@pytest.mark.slow
def test_shared_steps_are_made_once(recipe_file: Any, tmp_path: Path) -> None:
    arms = plans(recipe_file, tmp_path, {}, {"choose.ranker": "chance"}, {"refine.feedback": "shuffled"})
    nodes = graph(arms)
    made = run_graph(nodes, tmp_path / "runs", Progress(quiet=True), workers=2)
    assert set(made) == set(nodes)
    assert (tmp_path / "calls").read_text() == "4\n" * 3, "one sample, two refines"
    again = run_graph(nodes, tmp_path / "runs", Progress(quiet=True), workers=2)
    assert {k: s.folder for k, s in again.items()} == {k: s.folder for k, s in made.items()}
    assert (tmp_path / "calls").read_text() == "4\n" * 3


@pytest.mark.slow
def test_an_error_in_a_worker_reaches_the_caller_and_finished_steps_stay(
    recipe_file: Any, tmp_path: Path
) -> None:
    arms = plans(recipe_file, tmp_path, {"choose.ranker": "toys.broken"})
    with pytest.raises(IlfError, match="this ranker never works"):
        run_graph(graph(arms), tmp_path / "runs", Progress(quiet=True), workers=2)
    assert len(list((tmp_path / "runs").glob("*/made_by.json"))) == 4


@pytest.mark.slow
def test_workers_end_with_a_killed_parent(recipe_file: Any, tmp_path: Path) -> None:
    path = recipe_file(RECIPE.replace("calls: CALLS", f"slow: 60, calls: {tmp_path / 'calls'}"))
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from pathlib import Path\nfrom ilf import read_recipe\nfrom ilf.progress import Progress\n"
        "from ilf.workers import graph, run_graph\n"
        "if __name__ == '__main__':\n"
        "    run_graph(graph([read_recipe(sys.argv[1]).plan()]), Path(sys.argv[2]), Progress(quiet=True), workers=1)"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    parent = subprocess.Popen(
        [sys.executable, str(script), str(path), str(tmp_path / "runs")], env=environment, cwd=ROOT
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "runs").glob(".locks/sample-*.json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    children = [child.pid for child in psutil.Process(parent.pid).children()]
    assert children
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
