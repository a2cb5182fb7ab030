"""Reward models from critiques: how a critique becomes a number, the losses by hand, and what is left on disk."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import rankers
from ilf.errors import ComponentError, DataError, UsageError
from ilf.stats import kendall_tau_b
from ilf.strategies._critique_reader import PRAISE, faults_named, praise_expected, rating_of
from ilf.strategies._number_report import number_report
from ilf.strategies.critique_reward import CritiqueReward
from ilf.strategies.reward import Reward
from ilf.worlds import _nano_critic
from ilf.worlds._nano_grammar import faults, parse
from ilf.worlds.nano import Nano
from rankers._lm import completion_logprobs, load
from rankers._reward import load_reward

ROWS: list[dict[str, Any]] = [
    {"prompt": "POST: I broke it.\nTL;DR:", "output": " Tom broke it.", "critique": "Nothing to change."},
    {"prompt": "POST: I broke it.\nTL;DR:", "output": " A lamp.", "critique": "It was a kettle; say what it cost."},
    {"prompt": "Short.", "output": "", "critique": "Hm, there is no answer."},
    {"prompt": "Anna has a lamp.\nTL;DR:", "output": " A fool, 40 coins.", "critique": "Be kind, and drop the price. Say who."},
    {"prompt": "Anna has a lamp.\nTL;DR:", "output": " Anna has one.", "critique": "Almost, but say of what."},
]  # fmt: skip
NUMBERS = (0.0, -2.0, -1.0, -3.0, -1.0)
QUICK = CritiqueReward(batch_size=8, learning_rate=1e-3, device="cpu", form="nano")
STILL = replace(QUICK, learning_rate=1e-30)
LEARNING = replace(QUICK, learning_rate=1e-2, epochs=60)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("starts") / "llama"))


def tune(strategy: CritiqueReward, folder: Path, start: str, rows: Any = ROWS) -> list[dict[str, Any]]:
    return list(strategy.train(rows, folder, start=start, seed=0))


def by_classifier(folder: Path, rows: Sequence[dict[str, Any]] = ROWS) -> list[float]:
    """Rewards as transformers reads them, one by one and without padding; no mean taken off."""
    model = AutoModelForSequenceClassification.from_pretrained(folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    found = []
    for row in rows:
        ids = [tokenizer(row[part], add_special_tokens=False)["input_ids"] for part in ("prompt", "output")]
        with torch.no_grad():
            logits = model(torch.tensor([[*ids[0], *ids[1], tokenizer.eos_token_id]])).logits
        found.append(logits.item())
    return found


# --- critiques as numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("critique", "n"),
    [
        ("Nothing to change.", 0),
        ("The price is missing.", 1),
        ("the price is missing, and the town is wrong", 2),
        ("The price is wrong, because it cost 40 coins.", 1),
        ("Say she, not he; besides, leave out the insult, also say who.", 3),
        ("Good start, but name the town.", 1),
        ("Almost, but name the town", 1),
        ("Well done! Great job.", 0),
        ("It cost 2.50 coins.", 1),
        ("Not bad, but say who.\nAlso say where.", 2),
        ("Nothing to fix; good", 0),
        ("... !", 0),
        ("Why no price? And why so rude?", 2),
        ("Name the town, AND SAY WHO.", 2),
        ("The good price is wrong.", 1),
    ],
)
def test_clauses_that_are_no_praise_are_faults(critique: str, n: int) -> None:
    assert faults_named(critique, PRAISE) == n


def test_praise_is_a_setting() -> None:
    assert faults_named("Weiter so. Der Preis fehlt.", PRAISE) == 2
    assert faults_named("Weiter so. Der Preis fehlt.", ("weiter so",)) == 1


def test_all_faults_of_the_nano_worlds_annotator_are_counted() -> None:
    """Whatever its phrasing, opener and order: as many as it names."""
    world, rng = Nano(), random.Random(0)
    seen = set()
    for i in range(600):
        facts = world.facts(rng, "train")
        summary = parse(world.faulty(rng, facts) if i % 3 else world.demonstrate(rng, facts))
        assert summary is not None
        named = faults(facts, summary)
        critique = _nano_critic.say(rng, facts, named, "train" if i % 2 else "held_out")
        assert faults_named(critique, PRAISE) == len(named), critique
        seen.add(len(named))
    assert seen >= {0, 1, 2, 3, 4, 5}


def test_ratings_are_numbers_or_what_is_wrong_with_them() -> None:
    row = {"ratings": {"helpful": 5, "truthful": 2}, "stars": 3.5, "no": "x", "bool": True, "nan": math.nan}
    assert rating_of(row, "ratings", "truthful") == 2
    assert rating_of(row, "ratings", "") == 3.5
    assert rating_of(row, "stars", "") == 3.5
    for column, name, told in (
        ("ratings", "kind", "has no 'kind', only helpful, truthful"),
        ("no", "", "no number"), ("bool", "", "no number"), ("gone", "", "None, no number"), ("nan", "", "not finite"),
    ):  # fmt: skip
        assert told in str(rating_of(row, column, name))
    assert "no number" in str(rating_of({"ratings": {}}, "ratings", ""))


def test_praise_expected_is_the_critics_probability_of_praise(start: str) -> None:
    found = praise_expected(
        ROWS, "{prompt}{output}\nFEEDBACK:", "Fine.", model=start, device="cpu", chat="auto", who="x"
    )
    lm = load(start, device="cpu")
    asked = [(f"{row['prompt']}{row['output']}\nFEEDBACK:", " Fine.") for row in ROWS]
    assert found == pytest.approx(completion_logprobs(lm, asked), abs=1e-4)
    with pytest.raises(ComponentError, match=r"x: model 'nowhere'.*Set x\.model"):
        praise_expected(ROWS, "{prompt}", "Fine.", model="nowhere", device="cpu", chat="auto", who="x")


# --- training on them ---------------------------------------------------------------------------------------


def standardised(numbers: Sequence[float]) -> list[float]:
    return ((np.asarray(numbers) - np.mean(numbers)) / np.std(numbers)).tolist()


def test_the_first_loss_is_the_squared_error_on_standardised_numbers(start: str, tmp_path: Path) -> None:
    [row] = tune(STILL, tmp_path, start)
    read = by_classifier(tmp_path)
    errors = [(r - z) ** 2 for r, z in zip(read, standardised(NUMBERS), strict=True)]
    assert row["loss"] == pytest.approx(sum(errors) / len(errors), rel=1e-4)
    assert row["numbers_mean"] == pytest.approx(np.mean(NUMBERS))
    assert row["numbers_std"] == pytest.approx(np.std(NUMBERS))
    assert row["numbers_highest"] == 0.2
    assert row["reward_mean"] == pytest.approx(np.mean(read), abs=1e-5)
    assert row["reward_std"] == pytest.approx(np.std(read), abs=1e-5)


def test_or_the_surprise_at_the_order_of_rows_that_differ(start: str, tmp_path: Path) -> None:
    [row] = tune(replace(STILL, loss="bradley_terry"), tmp_path, start)
    read = by_classifier(tmp_path)
    gaps = [read[i] - read[j] for i, j in itertools.permutations(range(5), 2) if NUMBERS[i] > NUMBERS[j]]
    assert row["pairs"] == len(gaps) == 9
    assert row["loss"] == pytest.approx(sum(math.log1p(math.exp(-gap)) for gap in gaps) / 9, rel=1e-4)
    assert row["accuracy"] == pytest.approx(sum(gap > 0 for gap in gaps) / 9)


@pytest.mark.parametrize("loss", ["squared", "bradley_terry"])
def test_parts_of_a_batch_are_the_whole(start: str, tmp_path: Path, loss: Any) -> None:
    """Pairs reach across the parts, and gradients add up all the same."""
    strategy = replace(QUICK, loss=loss, epochs=2)
    logs = [tune(replace(strategy, microbatch_tokens=n), tmp_path / str(n), start) for n in (4096, 60, 1)]
    for other in logs[1:]:
        for row, one in zip(other, logs[0], strict=True):
            for key in ("loss", "gradient_norm", *(("pairs", "accuracy") if loss == "bradley_terry" else ())):
                assert row[key] == pytest.approx(one[key], rel=1e-3), key


def test_a_batch_without_an_order_teaches_nothing(start: str, tmp_path: Path) -> None:
    rows = [
        {**ROWS[0], "prompt": f"p{i}", "critique": c} for i, c in enumerate(("Say who.", "Say who.", "Good."))
    ]
    log = tune(replace(QUICK, loss="bradley_terry", batch_size=2, n_updates=6), tmp_path, start, rows)
    assert {row["pairs"] for row in log} <= {0, 1}
    assert all(row["gradient_norm"] == 0 for row in log if not row["pairs"])


@pytest.mark.parametrize("loss", ["squared", "bradley_terry"])
def test_it_learns_the_order_and_the_ranker_reads_it(start: str, tmp_path: Path, loss: Any) -> None:
    """Saved as ``reward`` saves: the ranker gives what the classifier says, the mean taken off."""
    *_, last = tune(replace(LEARNING, loss=loss), tmp_path, start)
    assert last["training"]["accuracy"] == 1.0
    read = by_classifier(tmp_path)
    ranker = rankers.Reward(model=str(tmp_path / "model"), device="cpu")
    [scores] = ranker.score([{"id": "q", "prompt": ROWS[0]["prompt"]}], [[" Tom broke it.", " A lamp."]])
    assert scores == pytest.approx([r - last["reward_mean"] for r in read[:2]], abs=1e-4)
    assert scores[0] > scores[1]
    assert load_reward(str(tmp_path / "model")).mean == pytest.approx(last["reward_mean"])
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    list(Reward(device="cpu").train(
        [{"prompt": "p", "chosen": "a", "rejected": "b"}], tmp_path / "reward", start=start, seed=0
    ))  # fmt: skip
    theirs = json.loads((tmp_path / "reward" / "model" / "config.json").read_text())
    assert config.keys() == theirs.keys()
    if loss == "squared":
        assert read == pytest.approx(standardised(NUMBERS), abs=0.3)


def test_it_learns_from_ratings_and_from_a_critic(start: str, tmp_path: Path) -> None:
    rows = [
        {"prompt": r["prompt"], "output": r["output"], "ratings": {"helpful": n}}
        for r, n in zip(ROWS, NUMBERS, strict=True)
    ]
    by_rating = replace(STILL, read="ratings", rating="helpful")
    assert by_rating.needs == ("prompt", "output", "ratings")
    same, [other] = tune(STILL, tmp_path / "a", start), tune(by_rating, tmp_path / "b", start, rows)
    assert same == [other]
    by_critic = replace(STILL, read="praise", model=start, praised="Fine.")
    assert by_critic.needs == ("prompt", "output")
    [row] = tune(by_critic, tmp_path / "c", start, [{k: r[k] for k in ("prompt", "output")} for r in ROWS])
    told = praise_expected(
        ROWS, "{prompt}{output}\nFEEDBACK:", "Fine.", model=start, device="cpu", chat="auto", who="x"
    )
    assert row["numbers_mean"] == pytest.approx(np.mean(told), abs=1e-4)
    errors = [(r - z) ** 2 for r, z in zip(by_classifier(tmp_path / "c"), standardised(told), strict=True)]
    assert row["loss"] == pytest.approx(np.mean(errors), rel=1e-3)
    assert start not in (tmp_path / "c" / "model" / "README.md").read_text()


def test_adapters_are_merged_and_kept_beside(start: str, tmp_path: Path) -> None:
    *_, last = tune(replace(QUICK, lora_rank=2, epochs=3), tmp_path, start)
    adapter = tmp_path / "model" / "adapter"
    assert {path.name for path in adapter.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "base.json", "head.safetensors",
    }  # fmt: skip
    assert np.mean(by_classifier(tmp_path)) == pytest.approx(last["reward_mean"], abs=1e-4)
    assert json.loads((adapter / "base.json").read_text())["reward_mean"] == last["reward_mean"]


# --- what is held out ---------------------------------------------------------------------------------------


def many(n: int = 10) -> list[dict[str, Any]]:
    said = ("Good.", "Say who.", "Say who; say where.")
    return [
        {"prompt": f"p{i}", "output": f" o{j}", "critique": said[(i + j) % 3]}
        for i, j in itertools.product(range(n), range(2))
    ]


def test_whole_prompts_are_held_out_and_measured(start: str, tmp_path: Path) -> None:
    *_, last = tune(replace(QUICK, validation=0.3), tmp_path, start, many())
    assert last["training"]["prompts"] == 7
    assert last["training"]["rows"] == 14
    assert last["validation"]["prompts"] == 3
    assert last["validation"]["rows"] == 6
    assert last["validation"]["within_prompts"]["pairs"] == 3
    card = (tmp_path / "model" / "README.md").read_text()
    assert "- validation: " in card
    assert "of 6 texts to 3 prompts" in card


def test_rows_may_say_themselves_what_is_held_out(start: str, tmp_path: Path) -> None:
    rows = [{**row, "split": "validation" if row["prompt"] < "p4" else "train"} for row in many()]
    *_, last = tune(QUICK, tmp_path / "a", start, rows)
    assert last["validation"]["prompts"] == 4
    # What is held out is not learnt from: other words about it change its report alone.
    turned = [{**row, "critique": "Bad; bad; bad."} if row["prompt"] < "p2" else row for row in rows]
    *_, other = tune(QUICK, tmp_path / "b", start, turned)
    assert other["validation"] != last["validation"]
    assert {**other, "validation": None} == {**last, "validation": None}
    with pytest.raises(DataError, match="prompt .* is in train and in validation"):
        tune(QUICK, tmp_path / "c", start, [{**many()[0], "split": "validation"}, *many()[1:]])
    with pytest.raises(DataError, match="row 1: 'split' is 'test'"):
        tune(QUICK, tmp_path / "c", start, [{**many()[0], "split": "test"}, *many()[1:]])


def test_without_any_held_out_nothing_is_known(start: str, tmp_path: Path) -> None:
    *_, last = tune(QUICK, tmp_path, start)
    assert last["validation"] is None
    assert "validation: no pair was measured" in (tmp_path / "model" / "README.md").read_text()


def test_the_report_is_that_of_the_definition() -> None:
    """Pairs counted one by one, and the interval from the report made without each prompt in turn."""
    rng = random.Random(1)
    groups = [f"p{rng.randrange(8)}" for _ in range(40)]
    numbers = [float(rng.randrange(4)) for _ in groups]
    rewards = [n + rng.gauss(0, 2) if rng.random() < 0.9 else 1.0 for n in numbers]
    lengths = [rng.randrange(9) for _ in groups]

    def share(values: Sequence[float], kept: Sequence[int]) -> float:
        pairs = [(i, j) for i in kept for j in kept if numbers[i] > numbers[j]]
        return sum(1.0 if values[i] > values[j] else 0.5 * (values[i] == values[j]) for i, j in pairs) / len(
            pairs
        )

    everything = range(40)
    found = number_report(rewards, numbers, lengths, groups)
    assert found is not None
    assert found["accuracy"] == pytest.approx(share(rewards, everything))
    assert found["length_accuracy"] == pytest.approx(share([-n for n in lengths], everything))
    assert found["rank_correlation"] == pytest.approx(kendall_tau_b(rewards, numbers))
    without = [share(rewards, [i for i in everything if groups[i] != g]) for g in sorted(set(groups))]
    variance = 7 / 8 * sum((x - np.mean(without)) ** 2 for x in without)
    reach = 2.364624 * math.sqrt(variance)  # t, 7 degrees of freedom
    assert found["accuracy_high"] - found["accuracy"] == pytest.approx(
        min(reach, 1 - found["accuracy"]), rel=1e-4
    )
    assert found["accuracy"] - found["accuracy_low"] == pytest.approx(reach, rel=1e-4)
    inside = [
        (i, j) for i in everything for j in everything if numbers[i] > numbers[j] and groups[i] == groups[j]
    ]
    hits = sum(1.0 if rewards[i] > rewards[j] else 0.5 * (rewards[i] == rewards[j]) for i, j in inside)
    assert found["within_prompts"]["accuracy"] == pytest.approx(hits / len(inside))
    assert number_report([1.0, 2.0], [3.0, 3.0], [1, 2], ["a", "b"]) is None
    small = number_report([1.0, 2.0], [3.0, 4.0], [1, 2], ["a", "b"])
    assert small is not None
    assert small["accuracy"] == 1.0
    assert small["accuracy_low"] is None
    assert "too few prompts" in small["accuracy_reason"]
    assert small["within_prompts"] is None


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"form": "instrct"}, r"critique_reward\.form: no prompt form 'instrct'"),
        ({"merge": False}, r"critique_reward\.merge"),
        ({"validation": 1.0}, r"critique_reward\.validation: 1\.0"),
        ({"loss": "bradley_terry", "batch_size": 1}, r"critique_reward\.batch_size"),
        ({"read": "praise"}, "read=praise needs model"),
        ({"read": "praise", "model": "x", "praised": " "}, "words of praise"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        CritiqueReward(**settings)


@pytest.mark.parametrize(
    ("settings", "rows", "told"),
    [
        ({}, ROWS[:1] * 2, "all 2 rows to train on are read as the same number"),
        ({}, [{**ROWS[0], "critique": ""}, {"prompt": "x"}], r"3 value\(s\)(.|\n)*row 1: 'critique' is empty"),
        ({"read": "ratings"}, ROWS[:2], "row 1: has no 'ratings'"),
        ({"read": "ratings", "column": "stars"}, [{**ROWS[0], "stars": "four"}], "row 1: 'stars' is 'four', no number"),
        ({"validation": 0.1}, ROWS, "leaves 0 for validation and 3 for training"),
        ({}, [ROWS[0], {**ROWS[1], "output": "x " * 600}], r"1 row\(s\) have texts longer(.|\n)*row 2: \d+ tokens"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_used_are_named(
    start: str, tmp_path: Path, settings: dict[str, Any], rows: Any, told: str
) -> None:
    with pytest.raises(DataError, match=told):
        tune(replace(QUICK, **settings), tmp_path, start, rows)
    assert not (tmp_path / "model").exists()
