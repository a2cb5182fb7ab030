"""What sampling costs: one prefill a prompt and finished sequences dropped, against ``model.generate``.

    OMP_NUM_THREADS=1 python benchmarks/sampling.py
    OMP_NUM_THREADS=1 python benchmarks/sampling.py --model FOLDER --posts 8

Real texts: posts of the nano world (two answers each, as a test set is answered) and refinement prompts
(eight rewrites each). Times are processor seconds, the least of several turns, arms interleaved; every arm
decodes with the same model, greedy answers must be equal, and sampled ones about as long.

Measured (one thread, a shared machine with two cores, torch 2.13, transformers 5.24, the nano checkpoint; how
many times faster than ``generate`` prompt by prompt): 200 posts x 2 answers: ``generate`` on 32 prompts 3.1,
ours with 256 sequences 6.0 (0.70 s); 100 refinement prompts x 8: ``generate`` on 32 prompts 0.96, ours 3.1
(1.4 s). Batches of 32 to 512 sequences differ by at most a fifth. Keeping finished sequences to the end makes
ours 1.3 to 1.4 times slower, letting each leave at once 1.0 to 1.1 times.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[0] = str(ROOT)
NANO = ROOT / "ilf" / "worlds" / "checkpoints" / "nano"

Arm = Callable[[list[str], int], list[list[str]]]


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--model", default=str(NANO), help="causal LM folder or hub id (default: the nano checkpoint)"
    )
    options.add_argument(
        "--posts", type=int, default=200, help="posts that are answered; half as many are refined"
    )
    options.add_argument("--new-tokens", type=int, default=64, help="most tokens of an answer")
    options.add_argument("--turns", type=int, default=3, help="times each arm runs; the least counts")
    given = options.parse_args()
    import torch

    from ilf.generators.transformers_lm import TransformersLM

    torch.set_num_threads(1)
    ours = TransformersLM(given.model, max_new_tokens=given.new_tokens, device="cpu", chat="never")
    posts, refining = texts(given.posts)
    check_greedy(ours, posts[:8] + refining[:8])
    for name, prompts, n in (("answers", posts, 2), ("refinements", refining[: len(posts) // 2], 8)):
        lengths = [len(ours.prompt_ids(prompt)) for prompt in prompts]
        mean = sum(lengths) / len(lengths)
        print(f"{name}: {len(prompts)} prompts x {n}, {mean:.0f} tokens each (at most {max(lengths)})")
        compare(arms(ours), prompts, n, given.turns, ours)


def texts(posts: int) -> tuple[list[str], list[str]]:
    """Posts, and what the refiner is asked about a noisy answer to each."""
    from ilf._forms import prompt_forms
    from ilf.worlds.nano import Nano
    from rankers import fill

    world, answering, refining = Nano(), [], []
    for i in range(posts):
        rng = random.Random(i)
        facts = world.facts(rng, "test")
        prompt, output = world.prompt(facts), world.faulty(rng, facts)
        fields = {"prompt": prompt, "output": output, "critique": world.critique(rng, facts, output)}
        answering.append(prompt)
        refining.append(fill(prompt_forms()["nano"]["refine"], fields))
    return answering, refining


def arms(ours: Any) -> dict[str, Arm]:
    """``generate`` prompt by prompt and in padded batches, and ours with several batch sizes."""
    found: dict[str, Arm] = {
        "generate, prompt by prompt": lambda prompts, n: by_generate(ours, prompts, n, size=1),
        "generate, 32 prompts together": lambda prompts, n: by_generate(ours, prompts, n, size=32),
    }
    for size in (32, 64, 128, 256, 512):
        sampler = replace(ours, batch_size=size)
        found[f"ours, {size} sequences together"] = lambda prompts, n, sampler=sampler: sampler.generate(  # type: ignore[misc]
            prompts, n, range(len(prompts))
        )
    found["ours, 256, every finished one leaves at once"] = lambda prompts, n: leaving(ours, 1e-9, prompts, n)
    found["ours, 256, finished ones stay to the end"] = lambda prompts, n: leaving(ours, 1.0, prompts, n)
    return found


def leaving(ours: Any, share: float, prompts: list[str], n: int) -> list[list[str]]:
    """Samples with another share of finished sequences at which they leave the batch."""
    from ilf import _decode

    before, _decode._LEAVING_SHARE = _decode._LEAVING_SHARE, share
    try:
        return ours.generate(prompts, n, range(len(prompts)))  # type: ignore[no-any-return]
    finally:
        _decode._LEAVING_SHARE = before


def by_generate(ours: Any, prompts: list[str], n: int, *, size: int, **how: Any) -> list[list[str]]:
    """``model.generate`` on batches of ``size`` prompts of like length, padded on the left."""
    import torch

    model, tokenizer = ours.lm.model, ours.lm.tokenizer
    ids = [ours.prompt_ids(prompt) for prompt in prompts]
    found: list[list[str]] = [[] for _ in prompts]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    sampling = how or {"do_sample": True, "top_k": 0, "num_return_sequences": n}
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        longest = max(len(ids[i]) for i in batch)
        padded = torch.tensor([[0] * (longest - len(ids[i])) + ids[i] for i in batch])
        mask = torch.tensor([[0] * (longest - len(ids[i])) + [1] * len(ids[i]) for i in batch])
        answers = model.generate(
            padded, attention_mask=mask, max_new_tokens=ours.max_new_tokens,
            pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id, **sampling,
        )  # fmt: skip
        decoded = tokenizer.batch_decode(answers[:, longest:], skip_special_tokens=True)
        for place, i in enumerate(batch):
            found[i] = decoded[place * n : (place + 1) * n]
    return found


def check_greedy(ours: Any, prompts: list[str]) -> None:
    """Raises unless greedy answers are those of ``generate``, token by token."""
    greedy = replace(ours, temperature=0.0)
    expected = by_generate(greedy, prompts, 1, size=1, do_sample=False)
    if greedy.generate(prompts, 1, range(len(prompts))) != expected:
        raise SystemExit("greedy answers differ from those of generate")
    print(f"greedy answers to {len(prompts)} prompts are those of generate\n")


def compare(these: dict[str, Arm], prompts: list[str], n: int, turns: int, ours: Any) -> None:
    """Runs every arm in turn; prints seconds, ratio to the first arm, and the mean length of an answer."""
    best = dict.fromkeys(these, float("inf"))
    lengths: dict[str, float] = {}
    for _ in range(turns):
        for name, arm in these.items():
            start = time.process_time()
            answers = arm(prompts, n)
            best[name] = min(best[name], time.process_time() - start)
            flat = [text for row in answers for text in row]
            lengths[name] = sum(len(ours.lm.completion_ids(text, eos=True)) for text in flat) / len(flat)
    first = next(iter(best.values()))
    for name, seconds in best.items():
        print(
            f"  {name:46} {seconds:6.2f} s  {first / seconds:5.2f} x  {lengths[name]:5.1f} tokens an answer"
        )
    print()


if __name__ == "__main__":
    main()
