"""Is our PPO the PPO? Its numbers beside TRL's (experimental, up to 1.12) and beside loops over the formulas.

    python -m venv ELSEWHERE && ELSEWHERE/bin/pip install "torch==2.13.0" "trl==1.12.*" peft
    python benchmarks/parity/ppo.py --trl ELSEWHERE/bin/python [--save]

Beside TRL: its trainer makes two steps of four passes and its tensors are recorded; ours is given the texts
that it sampled, and whole models with the same weights. Scores, log-probs, values, rewards, advantages and
returns of every token, and both losses of every pass must agree, those of the second step too: then all
weights have moved alike. Three things are made equal beforehand (benchmarks/_trl_ppo.py), and gradients are
not clipped.

Beside loops: steps of ours with one trunk, minibatches, texts that were cut, an adaptive coefficient;
everything is computed again in float64 from the log-probs, values and scores, one token after the other, from
the formulas (Huang et al. 2024; _ppo_loops.py). The status is 1 where something differs by more than 1e-5.
Measured (TRL 1.12.0): 4e-6 (log-probs; losses 7e-7).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).parents[2])

from benchmarks._other_environment import ROOT, call, save, versions  # noqa: E402
from benchmarks.parity._ppo_loops import Step, adapted, again  # noqa: E402
from benchmarks.parity._ppo_watch import watched  # noqa: E402
from benchmarks.parity._proof import NANO, PACKAGES, TOLERANCE, options, pairs, posts  # noqa: E402

PER_TOKEN = ("logprobs", "reference", "values", "rewards", "advantages", "returns")
EPISODES, STEPS, PASSES = 16, 2, 4


def main() -> int:
    given = options(__doc__)
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reward = reward_model(folder)
        for case, (ours, theirs) in beside_trl(reward).items():
            print(f"ppo: {case} ...", flush=True)
            found[case] = compared_with_trl(ours, theirs, reward, given.trl)
        for case, strategy in alone(reward).items():
            print(f"ppo: {case} ...", flush=True)
            found[case] = compared_with_loops(strategy)
    for case, differences in found.items():
        told = ", ".join(f"{what} {value:.0e}" for what, value in differences.items())
        print(f"ppo: {case}: {told}")
    worst = max(value for differences in found.values() for value in differences.values())
    print(f"ppo: largest difference {worst:.1e}, allowed {TOLERANCE:.0e}")
    if given.save:
        theirs_have = call(given.trl, ROOT / "benchmarks" / "_trl_ppo.py", "installed")
        kept = {"versions": versions(*PACKAGES), "their_versions": theirs_have, "cases": found}
        save("parity", "ppo", {"largest_difference": worst, "tolerance": TOLERANCE, **kept})
    return int(not worst <= TOLERANCE)


def reward_model(folder: Path) -> str:
    """A classifier on the nano checkpoint, trained a little with LoRA, so that it can stand on one trunk."""
    from ilf.strategies.reward import Reward

    strategy = Reward(
        lora_rank=8, learning_rate=1e-3, batch_size=8, device="cpu", normalise="none", chat="never"
    )
    list(strategy.train(pairs(48), folder, start=NANO, seed=0))
    return str(folder / "model")


def settings(reward: str, **more: Any) -> Any:
    """Our PPO with what all cases share."""
    from ilf.strategies.ppo import PPO

    same = {"steps": STEPS, "epochs": PASSES, "temperature": 0.7, "learning_rate": 1e-4, "clip": 1e9}
    return PPO(reward=reward, **{**same, "device": "cpu", "chat": "never", "checkpoint_every": 99, **more})


def beside_trl(reward: str) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Cases: our strategy, and what of TRL's settings belongs to it."""
    ended = {"stop_token": "eos", "response_length": 64}
    cut = {"stop_token": None, "response_length": 8}
    whole = {"prompts_per_step": EPISODES, "samples_per_prompt": 1, "missing_end_reward": None}
    return {
        "beside TRL, texts that end": (settings(reward, **whole), ended),
        "beside TRL, whitened rewards, k3, lam 0.9": (
            settings(reward, **whole, whiten_rewards=True, kl_estimator="k3", lam=0.9),
            {**ended, "whiten_rewards": True, "kl_estimator": "k3", "lam": 0.9},
        ),
        "beside TRL, texts that are cut, tight clips": (
            settings(
                reward, **whole, max_new_tokens=8, score_after_end=False, clip_range=0.02, value_clip=0.02
            ),
            {**cut, "cliprange": 0.02, "cliprange_value": 0.02},
        ),
    }


def alone(reward: str) -> dict[str, Any]:
    """Our strategies whose numbers are computed again by loops."""
    odd = {"prompts_per_step": 8, "samples_per_prompt": 2, "minibatches": 2, "max_new_tokens": 12}
    return {
        "beside loops, one trunk": settings(reward, **odd, lora_rank=8, learning_rate=1e-3, kl_target=1.0),
        "beside loops, whole models, whitened rewards": settings(
            reward, **odd, whiten_rewards=True, kl_estimator="k3", gamma=0.95, score_after_end=False
        ),
    }


# --- TRL --------------------------------------------------------------------------------------------------


def compared_with_trl(strategy: Any, theirs: dict[str, Any], reward: str, python: str) -> dict[str, float]:
    """The largest difference of each quantity between TRL's steps and ours on the same texts."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(NANO)
    texts = [prompt for _, _, prompt in posts(2 * EPISODES)]
    prompts = [tokenizer(text)["input_ids"] for text in texts]
    record = call(
        python,
        ROOT / "benchmarks" / "_trl_ppo.py",
        "recorded",
        policy=NANO,
        reward=reward,
        prompts=prompts,
        settings={
            "learning_rate": strategy.learning_rate,
            "adam_epsilon": strategy.adam_epsilon,
            "total_episodes": STEPS * EPISODES,
            "per_device_train_batch_size": EPISODES,
            "gradient_accumulation_steps": 1,
            "local_rollout_forward_batch_size": EPISODES,
            "temperature": strategy.temperature,
            "num_ppo_epochs": PASSES,
            "kl_coef": strategy.kl_coef,
            **theirs,
        },
    )
    steps = [of_trl(one, strategy) for one in record]
    places = {tuple(ids): i for i, ids in enumerate(prompts)}
    episodes = [episodes_of(one, tokenizer, places) for one in record]
    if theirs["stop_token"] and not all(e.is_ended for step in episodes for e in step):
        raise SystemExit(
            "ppo: TRL's texts were to end before the limit, where both pay the score one place later"
        )
    ours = watched(strategy, texts, episodes)
    clipped = [step["log"][name] for step in ours for name in ("clip_fraction", "value_clip_fraction")]
    if strategy.clip_range < 0.1 and not all(clipped):
        raise SystemExit(
            f"ppo: with tight clips something was to be clipped, and the fractions are {clipped}"
        )
    return differences(ours, steps)


def of_trl(one: dict[str, Any], strategy: Any) -> Step:
    """A step that was recorded, without padding."""
    found: Step = {"scores": one["scores"]}
    names = {name: "ref_logprobs" if name == "reference" else name for name in PER_TOKEN}
    for name in PER_TOKEN:
        more = strategy.score_after_end and name in ("values", "rewards", "returns")
        rows = zip(one[names[name]], one["sequence_lengths"], strict=True)
        # What they call length is the place of the last token.
        found[name] = [row[: last + 1 + more] for row, last in rows]
    found["losses"] = [[update["pg_loss"], update["vf_loss"]] for update in one["updates"]]
    return found


def episodes_of(one: dict[str, Any], tokenizer: Any, places: dict[tuple[int, ...], int]) -> list[Any]:
    """The texts of a recorded step."""
    from ilf.strategies._rollouts import Episode

    found = []
    for query, response, last in zip(one["queries"], one["responses"], one["sequence_lengths"], strict=True):
        prompt = tuple(i for i in query if i != tokenizer.pad_token_id)
        completion = tuple(response[: last + 1])
        is_ended = completion[-1] == tokenizer.eos_token_id and len(completion) < len(response)
        found.append(Episode(places[prompt], prompt, completion, is_ended))
    return found


# --- loops ------------------------------------------------------------------------------------------------


def compared_with_loops(strategy: Any) -> dict[str, float]:
    """The largest difference of each quantity between ours and the same computed token by token."""
    steps = watched(strategy, [prompt for _, _, prompt in posts(24)])
    kl_coef = strategy.kl_coef
    expected = []
    for step in steps:
        found = again(step, strategy, kl_coef)
        # The reward model's own score is not ours to compute again, only what is paid to a cut text.
        found["scores"] = [
            score if is_ended else strategy.missing_end_reward
            for score, is_ended in zip(step["scores"], step["is_ended"], strict=True)
        ]
        expected.append(found)
        if abs(step["log"]["kl_coef"] - kl_coef) > TOLERANCE:
            raise SystemExit(f"ppo: kl_coef is {step['log']['kl_coef']}, and ought to be {kl_coef}")
        kl_coef = adapted(step, strategy, kl_coef)
    if all(is_ended for step in steps for is_ended in step["is_ended"]):
        raise SystemExit("ppo: some texts were to be cut")
    return differences(steps, expected)


def differences(ours: Sequence[Step], theirs: Sequence[Step]) -> dict[str, float]:
    """The largest difference of every quantity over steps, episodes and tokens."""

    def largest(a: Any, b: Any) -> float:
        if isinstance(a, list):
            return max(largest(x, y) for x, y in zip(a, b, strict=True))
        return abs(a - b)

    pairs_of_steps = list(zip(ours, theirs, strict=True))
    return {
        name: max(largest(a[name], b[name]) for a, b in pairs_of_steps)
        for name in ("scores", *PER_TOKEN, "losses")
    }


if __name__ == "__main__":
    sys.exit(main())
