"""recipes/rlhf and recipes/dpo with random tiny models of the shapes that people use, whole, unchanged but for size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_model

from ilf.compare import compare
from ilf.errors import DataError
from ilf.files import sha256_file
from ilf.progress import Progress
from ilf.recipe import packaged, read_recipe
from ilf.run import run_steps

QUIET = Progress(quiet=True)
SMALL = {
    "rlhf": {
        "generator.max_new_tokens": 8,
        "ppo.strategy.max_new_tokens": 8,
        "ppo.strategy.steps": 3,
        "ppo.strategy.lora_rank": 4,
        "reward.strategy.lora_rank": 4,
        "dpo.strategy.lora_rank": 4,
        "threads": 1,
    },
    "dpo": {"generator.max_new_tokens": 8, "train.strategy.lora_rank": 4, "threads": 1},
}


def shape(folder: Path, kind: Any) -> str:
    return str(tiny_model(folder / kind, kind, chat=True, positions=4096))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return shape(tmp_path_factory.mktemp("model"), "qwen2")


def recipe(name: str, model: str, **overrides: Any) -> Any:
    return read_recipe(name).override({"model": model, **SMALL[name], **overrides})


def rows(step: Any) -> list[dict[str, Any]]:
    return list(step.rows())


@pytest.mark.parametrize("kind", ["qwen2", "llama", "gpt2"])
def test_rankings_reward_model_ppo(tmp_path: Path, kind: str) -> None:
    start = shape(tmp_path, kind)
    made = run_steps(recipe("rlhf", start).plan(), tmp_path / "runs", QUIET)
    judged = rows(made["judged"])
    assert {row["split"] for row in judged} == {"train", "validation"}
    last = rows(made["reward"])[-1]
    assert last["validation"]["prompts"] == 2
    assert (made["reward"].folder / "model" / "adapter").is_dir(), "PPO takes it onto its own trunk"
    log = rows(made["ppo"])
    assert [row["step"] for row in log] == [1, 2, 3]
    assert log[0]["kl"] == pytest.approx(0.0, abs=1e-4), "the policy begins as the reference"
    assert log[0]["episodes"] == 16
    tuned = made["ppo"].folder / "model" / "model.safetensors"
    assert sha256_file(tuned) != sha256_file(Path(start) / "model.safetensors")
    used = {step: made[step].made_by["settings"]["generator"]["model"] for step in ("before", "answer")}
    assert used["answer"] == made["ppo"].made_by["model"] != used["before"]
    assert [row["grade"] is None for row in rows(made["evaluate"])] == [False, False, False, True]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rlhf", "dpo"])
def test_every_arm_runs(model: str, tmp_path: Path, name: str) -> None:
    overrides: dict[str, Any] = {"compare.seeds": [0]}
    if name == "rlhf":
        overrides |= {"best.generator.n": 3, "best.generator.generator.max_new_tokens": 8}
    result = compare(recipe(name, model, **overrides), tmp_path, QUIET)
    assert all(arm["grade"] is not None for arm in result["arms"])
    seconds = {arm["arm"]: arm["human_seconds"] for arm in result["arms"]}
    assert seconds["base"] == 0
    treated = {name: value for name, value in seconds.items() if name != "base"}
    assert len(set(treated.values())) == 1, "all arms cost the same annotations"
    assert min(treated.values()) > 0


def test_a_prompt_longer_than_the_context_is_found_before_any_training(model: str, tmp_path: Path) -> None:
    source = packaged()["rlhf"] / "rankings.jsonl"
    lines = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    lines[2]["prompt"] += " and so on" * 3000
    path = tmp_path / "long.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    with pytest.raises(DataError, match=r"row \d+: \d+ tokens"):
        run_steps(recipe("rlhf", model, **{"load.path": str(path)}).plan(), tmp_path / "runs", QUIET)
