"""A PPO that is killed goes on, and ends with the same bytes; two processes draw the curve of one."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_model, tiny_reward_model

from ilf.errors import ComponentError
from ilf.files import sha256_file
from ilf.strategies._checkpoint import Checkpoint
from ilf.strategies.ppo import PPO

ROOT = Path(__file__).parent.parent.parent
DRIVER = Path(__file__).parent / "ppo_driver.py"
ROWS = [{"prompt": f"POST: My name is Tom. I broke {n} kettles.\nTL;DR:"} for n in range(6)]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("models")
    start = tiny_model(folder / "start")
    return {
        "start": str(start), "reward": str(tiny_reward_model(folder / "reward", start)), "steps": 7,
        "prompts_per_step": 4, "samples_per_prompt": 2, "max_new_tokens": 8, "epochs": 2, "learning_rate": 1e-3,
        "device": "cpu", "missing_end_reward": None, "kl_target": 1.0, "kl_horizon": 50.0, "checkpoint_every": 2,
        "minibatches": 2,
    }  # fmt: skip


def bytes_of(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): sha256_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def command(folder: Path, settings: dict[str, Any], *before: str) -> list[str]:
    return [sys.executable, *before, str(DRIVER), str(folder), json.dumps(settings)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def train(folder: Path, settings: dict[str, Any], n_rows: int | None = None) -> list[Any]:
    """Reads ``n_rows`` of the log, resumes the generator, and leaves it there; without a number all of them."""
    given = {key: value for key, value in settings.items() if key != "start"}
    training = PPO(**given).train(ROWS, folder, start=settings["start"], seed=5)
    if n_rows is None:
        return list(training)
    found = [next(training) for _ in range(n_rows + 1)][:n_rows]
    training.close()  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize("how", [{}, {"lora_rank": 2}, {"value": "zero"}])
def test_it_goes_on_from_every_step(settings: dict[str, Any], tmp_path: Path, how: dict[str, Any]) -> None:
    """The optimiser, the coefficient and the rows asked are those of a training that was never stopped."""
    how = {**settings, **how, "checkpoint_every": 1}
    whole = train(tmp_path / "whole", how)
    assert len({row["kl_coef"] for row in whole}) == 7
    for n_rows in (1, 3, 6):
        folder = tmp_path / str(n_rows)
        first = train(folder, how, n_rows)
        assert Checkpoint(folder / "checkpoint", {}).rows == n_rows
        assert first + train(folder, how) == whole
        assert bytes_of(folder) == bytes_of(tmp_path / "whole")
        assert [path.name for path in folder.iterdir()] == ["model"]


def test_a_checkpoint_of_another_training_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    train(tmp_path, settings, 2)
    for changed in ({"learning_rate": 2e-3}, {"steps": 8}):
        with pytest.raises(ComponentError, match="other settings, rows or seed. Remove it"):
            train(tmp_path, {**settings, **changed})
    # What changes speed alone may change, and so may the place of the models.
    train(tmp_path, {**settings, "batch_size": 3, "checkpoint_every": 1})


def test_a_checkpoint_is_whole_at_every_moment(tmp_path: Path, monkeypatch: Any) -> None:
    """Where writing stops half way the one before is read."""
    weights = {"a": torch.zeros(3, requires_grad=True)}
    optimizer = torch.optim.AdamW(list(weights.values()))
    checkpoint = Checkpoint(tmp_path / "checkpoint", {"seed": 1})
    assert checkpoint.load(lambda _: None, optimizer) is None
    checkpoint.save(1, weights, optimizer, {"n": 1})
    with torch.no_grad():
        weights["a"] += 1

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    for function in ("ilf.strategies._checkpoint.write_whole", "torch.save"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
            patch.setattr(function, stop)
            checkpoint.save(2, weights, optimizer, {"n": 2})
        held: dict[str, Any] = {}
        assert checkpoint.load(held.update, optimizer) == {"n": 1}
        assert held["a"].tolist() == [0, 0, 0]
    checkpoint.save(2, weights, optimizer, {"n": 2})
    assert checkpoint.load(held.update, optimizer) == {"n": 2}
    assert held["a"].tolist() == [1, 1, 1]
    assert sorted(path.name for path in checkpoint.folder.iterdir()) == ["2", "rows"]
    checkpoint.remove()
    assert not checkpoint.folder.exists()


@pytest.mark.slow
def test_killed_at_any_moment_same_bytes(settings: dict[str, Any], tmp_path: Path) -> None:
    """A real process, SIGKILL at seeded moments, until it comes to its end."""
    settings = {**settings, "steps": 25, "checkpoint_every": 3}
    subprocess.run(command(tmp_path / "whole", settings), env=environment(), check=True)
    rng = random.Random(0)
    for trial in range(3):
        folder, kills = tmp_path / str(trial), 0
        while True:
            process = subprocess.Popen(command(folder, settings), env=environment())
            n_rows = rng.randint(1, 10)
            while process.poll() is None and kills < 6 and _rows(folder) < _kept(folder) + n_rows:
                time.sleep(0.01)
            if kills < 6 and process.poll() is None:
                time.sleep(rng.random() * 0.1)
                process.send_signal(signal.SIGKILL)
                kills += 1
            if process.wait() == 0:
                break
        assert kills > 0
        assert bytes_of(folder) == bytes_of(tmp_path / "whole")


def _rows(folder: Path) -> int:
    path = folder / "rows.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def _kept(folder: Path) -> int:
    path = folder / "checkpoint" / "rows"
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return 0


@pytest.mark.slow
@pytest.mark.parametrize("how", [{}, {"lora_rank": 2}])
def test_two_processes_draw_the_curve_of_one(
    settings: dict[str, Any], tmp_path: Path, how: dict[str, Any]
) -> None:
    """Sharing the episodes moves results by float error alone; the other process writes nothing.

    With one episode in a minibatch, one of the two has no part of it.
    """
    settings = {**settings, **how, "checkpoint_every": 2, "minibatches": 8}
    subprocess.run(command(tmp_path / "one", settings), env=environment(), check=True)
    launch = ("-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29553")
    subprocess.run(command(tmp_path / "two", settings, *launch), env=environment(), check=True)
    one, two = (
        [json.loads(line) for line in (tmp_path / name / "rows.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert len(one) == len(two) == 7
    for first, second in zip(one, two, strict=True):
        assert [s["output"] for s in first.pop("samples", [])] == [
            s["output"] for s in second.pop("samples", [])
        ]
        assert first == pytest.approx(second, rel=2e-3, abs=1e-4)
    assert [p.name for p in sorted((tmp_path / "two").iterdir())] == ["model", "rows.jsonl"]
