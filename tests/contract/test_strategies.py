"""What every strategy promises; a new file in ilf/strategies/ is tested without an edit here."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import math
import pickle
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from contract_cases import build, names, public_class, rows_for
from tiny_models import tiny_model

from ilf.errors import ComponentError, DataError, UsageError
from ilf.files import sha256_file
from ilf.protocols import Strategy
from ilf.records import COLUMNS
from ilf.train import columns, train

pytestmark = pytest.mark.parametrize("name", names("Strategy"), scope="module")

#: Settings that decide how long training takes, made small; a strategy gets those that it has.
SMALL: dict[str, Any] = {
    "epochs": 2, "batch_size": 2, "log_every": 2, "tokens": 5000, "tokenizer_episodes": 60, "vocabulary": 400,
    "hidden": 16, "intermediate": 32, "layers": 1, "heads": 2, "warmup_steps": 2, "steps": 4, "n_samples": 2,
    "max_new_tokens": 8, "learning_rate": 1e-3,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("strategies")


@functools.cache
def start_of(folder: Path) -> str:
    return str(tiny_model(folder / "start"))


def strategy_of(name: str, folder: Path) -> Any:
    known = {field.name for field in dataclasses.fields(public_class("Strategy", name))}
    return build("Strategy", name, folder, **{key: value for key, value in SMALL.items() if key in known})


def trained(name: str, folder: Path, target: Path, *, seed: int = 3, **how: Any) -> list[dict[str, Any]]:
    strategy = strategy_of(name, folder)
    rows = how.pop("rows", rows_for(strategy.needs, n_posts=2) if strategy.needs else [])
    return list(strategy.train(rows, target, start=start_of(folder), seed=seed, **how))


@pytest.fixture(scope="module")
def log(name: str, folder: Path) -> list[dict[str, Any]]:
    """The log of one training into ``folder/NAME``, which the tests read."""
    return trained(name, folder, folder / name)


def has_weights(name: str) -> bool:
    """Most strategies write a model; some (``has_weights = False``) keep a text that a generator reads."""
    return bool(getattr(public_class("Strategy", name), "has_weights", True))


def bytes_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_is_one_documented_frozen_dataclass(name: str, folder: Path) -> None:
    assert public_class("Strategy", name).train.__doc__
    strategy = strategy_of(name, folder)
    assert isinstance(strategy, Strategy)
    assert hash(strategy) == hash(strategy_of(name, folder))
    assert pickle.loads(pickle.dumps(strategy)) == strategy  # noqa: S301 - our own bytes
    assert isinstance(strategy.needs, tuple)
    assert set(strategy.needs) <= set(COLUMNS)
    assert columns({"strategy": strategy})[0] == strategy.needs


def test_the_log_says_how_it_went(name: str, log: list[dict[str, Any]]) -> None:
    """Steps that rise, losses that are numbers, and no clock: same training, same rows."""
    assert log
    steps = [row["step"] for row in log]
    assert all(type(step) is int and step >= 1 for step in steps)
    assert steps == sorted(set(steps))
    if has_weights(name):
        assert all(math.isfinite(row["loss"]) for row in log)
    else:
        assert {row["loss"] for row in log} == {None}, "nothing was minimised: no number"
    json.dumps(log, allow_nan=False)
    assert not [key for key in log[0] if "second" in key or "time" in key or "wall" in key]


def test_the_model_loads_by_itself(name: str, folder: Path, log: list[dict[str, Any]]) -> None:
    assert {path.name for path in (folder / name).iterdir()} == {"model"}, "a strategy writes folder/model"
    model = folder / name / "model"
    if not has_weights(name):
        assert not list(model.glob("*.safetensors"))
        assert all(path.read_text(encoding="utf-8").strip() for path in model.iterdir())
        return
    config = transformers.AutoConfig.from_pretrained(model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    loaded = getattr(transformers, config.architectures[0]).from_pretrained(model)
    ids = torch.tensor([tokenizer("Tom broke the kettle.")["input_ids"]])
    with torch.no_grad():
        assert torch.isfinite(loaded(ids).logits).all()
    assert loaded.dtype == torch.float32
    assert list(model.glob("*.safetensors"))
    assert not list(model.glob("*.bin"))


def test_no_file_says_where_it_was_made(name: str, folder: Path, log: list[dict[str, Any]]) -> None:
    for path in (folder / name / "model").rglob("*"):
        content = path.read_bytes()
        assert str(folder).encode() not in content, path.name
        assert str(Path.home()).encode() not in content, path.name


def test_same_seed_same_bytes_whatever_the_caller_draws(
    name: str, folder: Path, log: list[dict[str, Any]], tmp_path: Path
) -> None:
    """The caller's random numbers neither matter nor move, also while training waits for the next row to be read."""
    torch.manual_seed(1234)
    untouched = torch.Generator().manual_seed(1234)
    before = random.getstate(), str(np.random.get_state(legacy=False)["state"])  # noqa: NPY002 - the caller's
    strategy = strategy_of(name, folder)
    rows = rows_for(strategy.needs, n_posts=2) if strategy.needs else []
    found = []
    for row in strategy.train(rows, tmp_path / "again", start=start_of(folder), seed=3):
        assert torch.equal(torch.rand(3), torch.rand(3, generator=untouched))
        found.append(row)
    assert torch.equal(torch.rand(3), torch.rand(3, generator=untouched))
    assert (random.getstate(), str(np.random.get_state(legacy=False)["state"])) == before  # noqa: NPY002
    assert found == log
    assert bytes_of(tmp_path / "again") == bytes_of(folder / name)


def test_another_seed_another_model(
    name: str, folder: Path, log: list[dict[str, Any]], tmp_path: Path
) -> None:
    # With two batches in an epoch a few seeds draw the order that seed 3 draws.
    trained(name, folder, tmp_path, seed=7)
    if not has_weights(name):
        assert set(bytes_of(tmp_path)) == set(bytes_of(folder / name))
        return
    changed = {file for file, sha in bytes_of(folder / name).items() if bytes_of(tmp_path)[file] != sha}
    assert any(file.endswith(".safetensors") for file in changed)


def test_only_the_columns_it_needs_are_read(
    name: str, folder: Path, log: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Ground truth, grades and other people's columns move nothing; the rows and the start stay as they are."""
    strategy = strategy_of(name, folder)
    bare = [{column: row[column] for column in strategy.needs} for row in rows_for(strategy.needs, n_posts=2)]
    noisy = [{"facts": {"price": i}, "grade": 0.5, "seconds": 9.0, **row} for i, row in enumerate(bare)]
    before, start = copy.deepcopy(noisy), bytes_of(Path(start_of(folder)))
    trained(name, folder, tmp_path, rows=noisy if strategy.needs else [])
    assert bytes_of(tmp_path) == bytes_of(folder / name)
    assert noisy == before
    assert bytes_of(Path(start_of(folder))) == start


def test_the_probe_grades_what_is_sampled_and_moves_nothing(
    name: str, folder: Path, log: list[dict[str, Any]], tmp_path: Path
) -> None:
    """A strategy that samples as it trains shows its samples, rows and all, to the probe; others never ask it."""
    seen: list[int] = []

    def probe(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        assert all(isinstance(row["output"], str) and row["prompt"] for row in rows)
        torch.rand(1)
        seen.append(len(rows))
        return {"probed": float(len(seen))}

    found = trained(name, folder, tmp_path, probe=probe)
    assert [row["probed"] for row in found if "probed" in row] == [float(i + 1) for i in range(len(seen))]
    assert [{key: value for key, value in row.items() if key != "probed"} for row in found] == log
    assert bytes_of(tmp_path) == bytes_of(folder / name)


def test_rows_and_a_start_are_asked_for(name: str, folder: Path, tmp_path: Path) -> None:
    strategy = strategy_of(name, folder)
    if not strategy.needs:
        return
    with pytest.raises(DataError, match="row"):
        list(strategy.train([], tmp_path, start=start_of(folder), seed=0))
    if not has_weights(name):
        assert not (tmp_path / "model").exists()
        return
    rows = rows_for(strategy.needs, n_posts=1)
    with pytest.raises(ComponentError, match="start|folder"):
        list(strategy.train(rows, tmp_path, start=str(tmp_path / "nowhere"), seed=0))
    with pytest.raises((ComponentError, UsageError), match="start"):
        list(strategy.train(rows, tmp_path, start="", seed=0))
    assert not (tmp_path / "model").exists()


def test_works_in_the_verb(name: str, folder: Path, log: list[dict[str, Any]], tmp_path: Path) -> None:
    strategy = strategy_of(name, folder)
    rows = rows_for(strategy.needs, n_posts=2) if strategy.needs else []
    found = train(rows, tmp_path / "run", strategy=strategy, start=start_of(folder), seed=3)
    assert not isinstance(found, list) or not rows, "rows of the log come while it trains"
    assert list(found) == log
    assert bytes_of(tmp_path / "run") == bytes_of(folder / name)
    if strategy.needs:
        with pytest.raises(DataError, match=strategy.needs[-1]):
            train([{"id": "r0"}], tmp_path / "none", strategy=strategy, start=start_of(folder))


def test_an_abandoned_training_gives_everything_back(name: str, folder: Path, tmp_path: Path) -> None:
    """Closed after its first row, it leaves gradients on and random numbers as they were."""
    strategy = strategy_of(name, folder)
    rows = rows_for(strategy.needs, n_posts=2) if strategy.needs else []
    before = torch.get_rng_state()
    training: Iterator[Any] = iter(strategy.train(rows, tmp_path, start=start_of(folder), seed=0))
    next(training)
    training.close()  # type: ignore[attr-defined]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled()
