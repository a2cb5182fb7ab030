"""A one-token world whose optimum is known: do the strategies, as they are, reach it?

Five words, a real start model, a real reward model. The optimum of E[r] - kl_coef KL(policy || reference) is
reference * exp(r / kl_coef); shortfalls are exact sums over the words, from the logits of the trained model.
"""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys.bandit import Bandit

from ilf.strategies.dpo import DPO
from ilf.strategies.ppo import PPO
from ilf.strategies.rloo import RLOO

KL_COEF, K = 0.5, 4
ASKED = [{"prompt": "ask"}]
GRPO = {"advantages": "group_normalised", "kl_in": "loss", "average": "completion"}


@pytest.fixture(scope="module")
def bandit(tmp_path_factory: pytest.TempPathFactory) -> Bandit:
    """The best word is the reference's rarest."""
    folder = tmp_path_factory.mktemp("bandit")
    return Bandit(folder, reference=(0.4, 0.3, 0.2, 0.08, 0.02), rewards=(0.0, 0.5, 1.0, 1.5, 2.0))


def trained(bandit: Bandit, kind: Any, folder: Path, **settings: Any) -> np.ndarray[Any, Any]:
    """What the trained policy answers with; nothing but the words is worth a mention."""
    given = {
        "kl_coef": KL_COEF, "steps": 40, "prompts_per_step": 16, "samples_per_prompt": K, "max_new_tokens": 2,
        "learning_rate": 3e-4, "device": "cpu", **settings,
    }  # fmt: skip
    list(kind(reward=bandit.reward, **given).train(ASKED, folder, start=bandit.start, seed=0))
    answers = bandit.answers(folder / "model")
    assert answers.sum() > 0.995
    return answers / answers.sum()


def test_the_world_is_what_it_says(bandit: Bandit) -> None:
    """And the optimum is one: no other policy is worth more, the reference far less."""
    assert bandit.answers(bandit.start) == pytest.approx(bandit.reference, abs=1e-4)
    best, rng = bandit.optimum(KL_COEF), np.random.default_rng(0)
    others = [best * np.exp(0.1 * rng.normal(size=5)) for _ in range(200)]
    assert min(bandit.shortfall(other / other.sum(), KL_COEF) for other in others) > 0
    assert bandit.shortfall(np.array(bandit.reference), KL_COEF) == 1
    # Worth log E_ref[exp(r / kl_coef)], as Gibbs' variational principle has it.
    partition = np.log(np.array(bandit.reference) @ np.exp(np.array(bandit.rewards) / KL_COEF))
    assert bandit.worth(best, KL_COEF) == pytest.approx(KL_COEF * partition)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (PPO, {"steps": 30}),
        (RLOO, {}),
        (RLOO, {"epochs": 2, "minibatches": 2, "steps": 20}),
        (RLOO, {"advantages": "group_normalised", "average": "completion"}),  # GRPO, its KL in the reward
        (RLOO, {"kl_in": "loss", "kl_estimator": "k2", "learning_rate": 1e-3, "steps": 60}),
    ],
    ids=["ppo", "rloo", "rloo in four updates", "grpo, kl in reward", "rloo, k2 in loss"],
)
def test_the_optimum_is_reached_within_1_percent(
    bandit: Bandit, tmp_path: Path, kind: Any, settings: dict[str, Any]
) -> None:
    policy = trained(bandit, kind, tmp_path, **settings)
    assert bandit.shortfall(policy, KL_COEF) < 0.01, policy


def test_grpo_stops_where_its_gradient_vanishes(bandit: Bandit, tmp_path: Path) -> None:
    """Which is elsewhere: its k3 pulls by KL(reference || policy), and its deviations bend the rewards besides."""
    expected = still(bandit)
    assert bandit.shortfall(expected, KL_COEF) > 0.5
    policy = trained(bandit, RLOO, tmp_path, **GRPO, steps=120, learning_rate=1e-3)
    assert policy == pytest.approx(expected, abs=0.02), expected


def still(bandit: Bandit) -> np.ndarray[Any, Any]:
    """The policy at which GRPO's expected gradient is 0, by summing over all groups of K words."""
    rewards, reference = np.array(bandit.rewards), np.array(bandit.reference)
    groups = np.array(list(itertools.product(range(len(rewards)), repeat=K)))
    drawn = rewards[groups]
    worth = (drawn - drawn.mean(1, keepdims=True)) / (drawn.std(1, ddof=1, keepdims=True) + 1e-4)
    # (groups, words): what a group adds to the logit of each word.
    pull = np.stack([(worth * (groups == word)).mean(1) for word in range(len(rewards))], axis=1)
    logits = np.log(reference)
    for _ in range(2000):
        policy = np.exp(logits) / np.exp(logits).sum()
        # The logits' gradient of KL(reference || policy) is policy - reference.
        gradient = policy[groups].prod(1) @ pull - KL_COEF * (policy - reference)
        logits = logits + 0.5 * gradient
    assert np.abs(gradient).max() < 1e-6
    return np.asarray(policy)


def test_dpo_reaches_it_among_the_words(bandit: Bandit, tmp_path: Path) -> None:
    """From pairs drawn from Bradley-Terry on r. Its loss sees differences between words alone: what all of them lose
    to texts that stand in no pair (empty answers) it does not see."""
    rng, rows = random.Random(0), []
    for _ in range(12_000):
        one, other = rng.sample(range(5), 2)
        if rng.random() > 1 / (1 + math.exp(bandit.rewards[other] - bandit.rewards[one])):
            one, other = other, one
        pair = {"chosen": bandit.words[one], "rejected": bandit.words[other], "group": str(len(rows))}
        rows.append({"prompt": "ask", **pair})
    strategy = DPO(
        kl_coef=KL_COEF, batch_size=400, epochs=4, learning_rate=1e-3, final_share=0.0, device="cpu"
    )
    list(strategy.train(rows, tmp_path, start=bandit.start, seed=0))
    answers = bandit.answers(tmp_path / "model")
    assert bandit.shortfall(answers / answers.sum(), KL_COEF) < 0.01
