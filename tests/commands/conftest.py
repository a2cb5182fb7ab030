"""The command line in this process, in a folder of its own, with a small recipe that needs no model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ilf.__main__ import main

TESTS = Path(__file__).parents[1]
TOY = """
about: a toy
world: nano
form: nano
generator: {name: toys.echo, words: [red, green]}
steps:
  load: {split: train, n: 6}
  sample: {}
  collect: {feedback: simulated}
  refine: {n: 3}
  choose: {ranker: chance}
  train: {strategy: toys.slow_learner, start: nano}
  evaluate: {reads: choose, grader: world, text: completion}
"""


@dataclass(frozen=True)
class Said:
    """What a command returned and printed."""

    status: int
    out: str
    err: str


Ilf = Callable[..., Said]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("ILF_DEBUG", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def ilf(capsys: pytest.CaptureFixture[str]) -> Ilf:
    """``ilf("run", "toy")`` in this process."""

    def call(*words: str) -> Said:
        capsys.readouterr()
        status = main(list(words))
        out, err = capsys.readouterr()
        return Said(status, out, err)

    return call


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """The folder of the toy recipe, below the current folder."""
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(TOY, encoding="utf-8")
    return folder


@pytest.fixture
def command() -> Callable[..., Any]:
    """``command("list")`` as a real process; keywords go to ``subprocess.Popen``."""

    def start(*words: str, python: tuple[str, ...] = ("-m", "ilf"), **options: Any) -> Any:
        environment = {**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent}", **options.pop("env", {})}
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        return subprocess.Popen(
            [sys.executable, *python, *words],
            env=environment,
            # A suite that was started in the background ignores Ctrl-C, and its children would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **streams,
        )

    return start


def rows_file(folder: Path, rows: list[dict[str, Any]], **made_by: Any) -> Path:
    """A finished step with these rows, made by hand."""
    from ilf.records import line
    from ilf.store import Step

    folder.mkdir(parents=True)
    (folder / "rows.jsonl").write_bytes(b"".join(map(line, rows)))
    Step(folder).finish({"stage": "choose", **made_by})
    return folder


@pytest.fixture
def step() -> Callable[..., Path]:
    """``step(folder, rows)`` writes a finished step."""
    return rows_file


ARMS = """
compare:
  target: evaluate
  seeds: [0, 1]
  workers: 1
  control: base
  arms:
    base: {control: null, is_control: true, set: {choose.ranker: chance}}
    long: {about: "the longest", set: {choose.ranker: length}}
"""


@pytest.fixture
def arms(toy: Path) -> Path:
    recipe = toy / "recipe.yaml"
    recipe.write_text(recipe.read_text() + ARMS)
    return recipe
