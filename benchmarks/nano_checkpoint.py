"""The gates of a checkpoint of the nano world.

    python benchmarks/nano_checkpoint.py [FOLDER] [--posts 200] [--seed 0] [--split validation]

Prints, for any folder with a model and tokenizer: greedy accuracy per slot; the grade of the base at four
temperatures; the grade of refinements without feedback, with shuffled and with real critiques, and of the
best of eight; the grade on every split; and whether the three gates hold. About two minutes on one free core.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ilf.protocols import World
from ilf.worlds import _nano_words as words
from ilf.worlds._nano_grammar import faults, parse
from ilf.worlds.nano import Nano

SHIPPED = Path(__file__).resolve().parents[1] / "ilf" / "worlds" / "checkpoints" / "nano"
PARTS = ("grade", "perfect", "recall", "wrong", "invented", "toxicity", "bias", "broken")


@dataclass
class Checkpoint:
    """A model folder and a generator of tokens."""

    folder: Path
    seed: int = 0
    batch_size: int = 100
    max_new_tokens: int = 64
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
                tokens = self.model.generate(**batch, **how, max_new_tokens=self.max_new_tokens)
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
    return {
        name: statistics.fmean([float(g[name]) for g in grades if g[name] is not None] or [float("nan")])  # type: ignore[arg-type]
        for name in PARTS
    }


def critiques_of(
    world: World, facts: Sequence[dict[str, Any]], outputs: Sequence[str], seed: int
) -> list[str]:
    """The annotator's critique of every output."""
    rng = random.Random(f"critiques {seed}")
    return [world.critique(rng, fact, output) for fact, output in zip(facts, outputs, strict=True)]


def refinements(
    checkpoint: Checkpoint, world: World, facts: Sequence[dict[str, Any]], seed: int, temperature: float = 1.0
) -> dict[str, list[str]]:
    """Outputs, and one refinement of each without feedback, from another row's critique and from its own."""
    outputs, prompts, critiques = _criticised(checkpoint, world, facts, seed, temperature)
    shuffled = critiques[1:] + critiques[:1]
    return {
        "outputs": outputs,
        "no feedback": checkpoint.write([f"{text}\nBETTER:" for text in prompts], temperature),
        "shuffled": checkpoint.write(_told(prompts, shuffled), temperature),
        "real": checkpoint.write(_told(prompts, critiques), temperature),
    }


def best_of(
    n: int, checkpoint: Checkpoint, world: World, facts: Sequence[dict[str, Any]], seed: int
) -> list[str]:
    """The best of ``n`` refinements from real critiques, by the grader, at temperature 1."""
    _, prompts, critiques = _criticised(checkpoint, world, facts, seed, 1.0)
    drawn = [checkpoint.write(_told(prompts, critiques), 1.0) for _ in range(n)]

    def grade(fact: dict[str, Any], text: str) -> float:
        return float(world.grade(fact, text)["grade"] or 0.0)

    return [max(texts, key=partial(grade, fact)) for fact, *texts in zip(facts, *drawn, strict=True)]


def _criticised(
    checkpoint: Checkpoint, world: World, facts: Sequence[dict[str, Any]], seed: int, temperature: float
) -> tuple[list[str], list[str], list[str]]:
    prompts = [world.prompt(fact) for fact in facts]
    outputs = checkpoint.write(prompts, temperature)
    critiques = critiques_of(world, facts, outputs, seed)
    return outputs, [prompt + output for prompt, output in zip(prompts, outputs, strict=True)], critiques


def _told(prompts: Sequence[str], critiques: Sequence[str]) -> list[str]:
    return [
        f"{text}\nFEEDBACK: {critique}\nBETTER:" for text, critique in zip(prompts, critiques, strict=True)
    ]


def changes(
    facts: Sequence[dict[str, Any]], before: Sequence[str], after: Sequence[str], said: Sequence[str]
) -> dict[str, float]:
    """Faults a text: before, fixed, new, and new ones whose value the critique told; parsed texts only."""
    counts = {"before": 0, "fixed": 0, "new": 0, "told": 0}
    n_texts = 0
    for fact, old, new, critique in zip(facts, before, after, said, strict=True):
        parsed = [parse(old), parse(new)]
        if None in parsed:
            continue
        n_texts += 1
        was, now = ({(fault.slot, fault.kind, fault.bad) for fault in faults(fact, s)} for s in parsed if s)
        counts["before"] += len(was)
        counts["fixed"] += len(was - now)
        counts["new"] += len(now - was)
        counts["told"] += sum(bad is not None and f" {bad}" in critique for _, _, bad in now - was)
    return {name: count / n_texts for name, count in counts.items()}


def _show(title: str, parts: dict[str, float]) -> None:
    print(f"  {title:34s}" + "".join(f"{parts[name]:10.3f}" for name in parts))


def _drawn(world: Nano, split: str, n: int, seed: int) -> list[dict[str, Any]]:
    rng = random.Random(f"posts {split} {seed}")
    return [world.facts(rng, split) for _ in range(n)]


def _show_base(
    checkpoint: Checkpoint, world: Nano, title: str, facts: Sequence[dict[str, Any]], temperature: float
) -> float:
    texts = checkpoint.write([world.prompt(fact) for fact in facts], temperature)
    parts = mean_parts(world, facts, texts)
    _show(title, parts)
    return parts["grade"]


def _show_refinements(
    checkpoint: Checkpoint, world: Nano, facts: Sequence[dict[str, Any]], seed: int
) -> dict[str, float]:
    texts = refinements(checkpoint, world, facts, seed)
    told = critiques_of(world, facts, texts["outputs"], seed)
    sources = {"no feedback": [""] * len(facts), "shuffled": told[1:] + told[:1], "real": told}
    texts["best of 8"] = best_of(8, checkpoint, world, facts, seed)
    graded = {name: mean_parts(world, facts, texts[name]) for name in texts}
    for name, parts in graded.items():
        _show(f"T=1: {name}", parts)
    print("\n  faults a text: before, fixed, new, and new ones with a value that the critique told")
    for name, said in sources.items():
        counts = changes(facts, texts["outputs"], texts[name], said)
        print(f"  {name:34s}" + "".join(f"{count:10.3f}" for count in counts.values()))
    print()
    return {name: parts["grade"] for name, parts in graded.items()}


def _show_splits(checkpoint: Checkpoint, world: Nano, n: int, seed: int) -> None:
    for split in world.splits:
        facts = _drawn(world, split, n, seed) * 2
        _show_base(checkpoint, world, f"base, T=1, {split}", facts, 1.0)
        if split.startswith("test"):
            held_out = refinements(checkpoint, Nano(critique_phrasing="held_out"), facts, seed)
            known = refinements(checkpoint, world, facts, seed)
            _show(f"real, {split}", mean_parts(world, facts, known["real"]))
            _show(f"real, {split}, new critique words", mean_parts(world, facts, held_out["real"]))


def main() -> int:
    parser = argparse.ArgumentParser(description="Prints the gates of a checkpoint of the nano world.")
    parser.add_argument("folder", nargs="?", type=Path, default=SHIPPED)
    parser.add_argument("--posts", type=int, default=200, help="posts of the split (each sampled twice)")
    parser.add_argument("--seed", type=int, default=0, help="of posts, critiques and samples")
    parser.add_argument("--split", default="validation", help="that the gates are measured on")
    given = parser.parse_args()
    world, checkpoint = Nano(), Checkpoint(given.folder, given.seed)
    size = sum(path.stat().st_size for path in given.folder.iterdir() if path.is_file())
    print(f"{given.folder.name}: {checkpoint.model.num_parameters():,} parameters, {size:,} bytes")
    twice = _drawn(world, given.split, 2 * given.posts, given.seed)
    accuracy = per_slot_accuracy(checkpoint, world, twice, given.seed)
    print("greedy accuracy: " + "  ".join(f"{slot} {value:.3f}" for slot, value in accuracy.items()))
    facts = _drawn(world, given.split, given.posts, given.seed)
    print(f"\n  {given.split:34s}" + "".join(f"{name:>10s}" for name in PARTS))
    greedy = _show_base(checkpoint, world, "base, T=0", facts, 0.0)
    for temperature in (0.5, 0.7, 1.0):
        _show_base(checkpoint, world, f"base, T={temperature}", facts * 2, temperature)
    graded = _show_refinements(checkpoint, world, facts * 2, given.seed)
    _show(
        "T=0: real", mean_parts(world, facts, refinements(checkpoint, world, facts, given.seed, 0.0)["real"])
    )
    _show_splits(checkpoint, world, given.posts, given.seed)
    margin = graded["real"] - graded["shuffled"]
    gates = {
        f"per-slot greedy accuracy >= .97: {min(accuracy.values()):.3f}": min(accuracy.values()) >= 0.97,
        f"base at T=0 under .75: {greedy:.3f}": greedy < 0.75,
        f"real refinements at least .08 over shuffled: {margin:.3f}": margin >= 0.08,
    }
    print()
    for gate, holds in gates.items():
        print(f"{'ok  ' if holds else 'FAIL'} {gate}")
    return 0 if all(gates.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
