"""The gates of a checkpoint of the nano world.

    python benchmarks/nano_checkpoint.py [FOLDER] [--posts 200] [--seed 0] [--split validation]

Prints, for any folder with a model and tokenizer: greedy accuracy per slot; the grade of the base at four
temperatures; the grade of refinements without feedback, with shuffled and with real critiques, and of the
best of eight; the grade on every split; and whether the three gates hold. About two minutes on one core.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ilf.worlds import _nano_words as words
from ilf.worlds.nano import Nano

SHIPPED = Path(__file__).resolve().parents[1] / "ilf" / "worlds" / "checkpoints" / "nano"


@dataclass
class Checkpoint:
    """A model folder and a generator of tokens."""

    folder: Path
    seed: int = 0
    batch_size: int = 100
    model: Any = field(init=False)
    tokenizer: Any = field(init=False)

    def __post_init__(self) -> None:
        """Loads the model as float32, without network."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        self.model = AutoModelForCausalLM.from_pretrained(
            self.folder, dtype="float32", local_files_only=True
        ).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(
            self.folder, padding_side="left", local_files_only=True
        )
        torch.manual_seed(self.seed)

    def write(self, prompts: Sequence[str], temperature: float) -> list[str]:
        """One completion per prompt; temperature 0 is greedy."""
        import torch

        how = (
            {"do_sample": True, "temperature": temperature, "top_k": 0}
            if temperature
            else {"do_sample": False}
        )
        texts = []
        for i in range(0, len(prompts), self.batch_size):
            batch = self.tokenizer(list(prompts[i : i + self.batch_size]), return_tensors="pt", padding=True)
            with torch.inference_mode():
                tokens = self.model.generate(**batch, **how, max_new_tokens=64)
            new = tokens[:, batch["input_ids"].shape[1] :]
            texts += self.tokenizer.batch_decode(new, skip_special_tokens=True)
        return texts

    def likeliest(self, texts: Sequence[str]) -> list[str]:
        """The most likely next token after each text."""
        import torch

        found: list[str] = []
        for i in range(0, len(texts), self.batch_size):
            batch = self.tokenizer(list(texts[i : i + self.batch_size]), return_tensors="pt", padding=True)
            with torch.inference_mode():
                logits = self.model(**batch, logits_to_keep=1).logits[:, -1]
            found += [self.tokenizer.decode(token) for token in logits.argmax(-1).tolist()]
        return found


def per_slot_accuracy(
    checkpoint: Checkpoint, world: Nano, facts: Sequence[dict[str, Any]], seed: int
) -> dict[str, float]:
    """How often a slot's value is the most likely next token where a faultless summary is about to state it.

    Where a slot stands is given; whether to state it is not asked (the web often does not).
    """
    rng = random.Random(f"accuracy {seed}")
    asked: dict[str, list[tuple[str, str]]] = {slot: [] for slot in words.VALUES}
    for fact in facts:
        prompt, summary = world.prompt(fact), world.demonstrate(rng, fact)
        for slot in words.VALUES:
            if fact[slot]:
                value = f" {fact[slot]}"
                at = summary.index(value)
                asked[slot].append((prompt + summary[:at], value))
    return {
        slot: statistics.mean(
            got == value
            for got, (_, value) in zip(checkpoint.likeliest([text for text, _ in pairs]), pairs, strict=True)
        )
        for slot, pairs in asked.items()
    }


def mean_parts(world: Nano, facts: Sequence[dict[str, Any]], texts: Sequence[str]) -> dict[str, float]:
    """Means of the grade and its parts; parts over the texts that have them."""
    grades = [world.grade(fact, text) for fact, text in zip(facts, texts, strict=True)]
    names = ("grade", "perfect", "recall", "wrong", "invented", "toxicity", "bias", "broken")
    return {
        name: statistics.fmean([float(g[name]) for g in grades if g[name] is not None] or [float("nan")])  # type: ignore[arg-type]
        for name in names
    }


def refinements(
    checkpoint: Checkpoint, world: Nano, facts: Sequence[dict[str, Any]], seed: int, temperature: float = 1.0
) -> dict[str, list[str]]:
    """Outputs, and one refinement each by source of the critique; ``best of 8`` (real ones) by the grader."""
    rng = random.Random(f"critiques {seed}")
    prompts = [world.prompt(fact) for fact in facts]
    outputs = checkpoint.write(prompts, temperature)
    critiques = [world.critique(rng, fact, output) for fact, output in zip(facts, outputs, strict=True)]
    shuffled = critiques[1:] + critiques[:1]
    before = [prompt + output for prompt, output in zip(prompts, outputs, strict=True)]

    def told(said: Sequence[str]) -> list[str]:
        return [f"{text}\nFEEDBACK: {critique}\nBETTER:" for text, critique in zip(before, said, strict=True)]

    eight = [checkpoint.write(told(critiques), temperature) for _ in range(8)]
    best = [
        max(candidates, key=lambda text: float(world.grade(fact, text)["grade"] or 0.0))
        for fact, *candidates in zip(facts, *eight, strict=True)
    ]
    return {
        "outputs": outputs,
        "no feedback": checkpoint.write([f"{text}\nBETTER:" for text in before], temperature),
        "shuffled": checkpoint.write(told(shuffled), temperature),
        "real": eight[0],
        "best of 8": best,
    }


def _show(title: str, parts: dict[str, float]) -> None:
    print(f"  {title:34s}" + "".join(f"{parts[name]:10.3f}" for name in parts))


def main() -> int:
    parser = argparse.ArgumentParser(description="Prints the gates of a checkpoint of the nano world.")
    parser.add_argument("folder", nargs="?", type=Path, default=SHIPPED)
    parser.add_argument("--posts", type=int, default=200, help="posts of the split (each sampled twice)")
    parser.add_argument("--seed", type=int, default=0, help="of posts, critiques and samples")
    parser.add_argument("--split", default="validation", help="that the gates are measured on")
    given = parser.parse_args()
    world, checkpoint = Nano(), Checkpoint(given.folder, given.seed)

    def drawn(split: str, n: int) -> list[dict[str, Any]]:
        rng = random.Random(f"posts {split} {given.seed}")
        return [world.facts(rng, split) for _ in range(n)]

    def base(facts: Sequence[dict[str, Any]], temperature: float) -> dict[str, float]:
        return mean_parts(world, facts, checkpoint.write([world.prompt(fact) for fact in facts], temperature))

    size = sum(path.stat().st_size for path in given.folder.iterdir() if path.is_file())
    print(f"{given.folder}: {checkpoint.model.num_parameters():,} parameters, {size:,} bytes")
    accuracy = per_slot_accuracy(checkpoint, world, drawn(given.split, 2 * given.posts), given.seed)
    print("greedy accuracy: " + "  ".join(f"{slot} {value:.3f}" for slot, value in accuracy.items()))
    facts = drawn(given.split, given.posts) * 2
    greedy = base(facts[: given.posts], 0.0)
    print(f"\n  {given.split:34s}" + "".join(f"{name:>10s}" for name in greedy))
    for temperature in (0.0, 0.5, 0.7, 1.0):
        _show(f"base, T={temperature}", greedy if not temperature else base(facts, temperature))
    graded = {
        name: mean_parts(world, facts, texts)
        for name, texts in refinements(checkpoint, world, facts, given.seed).items()
    }
    for name, parts in graded.items():
        _show(f"T=1: {name}", parts)
    colder = refinements(checkpoint, world, facts[: given.posts], given.seed, 0.0)
    _show("T=0: real", mean_parts(world, facts[: given.posts], colder["real"]))
    for split in world.splits:
        facts = drawn(split, given.posts) * 2
        _show(f"base, T=1, {split}", base(facts, 1.0))
        if split.startswith("test"):
            held_out = refinements(checkpoint, Nano(critique_phrasing="held_out"), facts, given.seed)
            known = refinements(checkpoint, world, facts, given.seed)
            _show(f"real, {split}", mean_parts(world, facts, known["real"]))
            _show(f"real, {split}, new critique words", mean_parts(world, facts, held_out["real"]))
    margin = graded["real"]["grade"] - graded["shuffled"]["grade"]
    gates = {
        f"per-slot greedy accuracy >= .97: {min(accuracy.values()):.3f}": min(accuracy.values()) >= 0.97,
        f"base at T=0 under .75: {greedy['grade']:.3f}": greedy["grade"] < 0.75,
        f"real refinements at least .08 over shuffled: {margin:.3f}": margin >= 0.08,
    }
    print()
    for gate, holds in gates.items():
        print(f"{'ok  ' if holds else 'FAIL'} {gate}")
    return 0 if all(gates.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
