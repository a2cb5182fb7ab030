"""What ranking costs: each text encoded once against naively, shared beginnings against plain batches.

    OMP_NUM_THREADS=1 python benchmarks/rankers.py
    OMP_NUM_THREADS=1 python benchmarks/rankers.py --model FOLDER --posts 20

Real texts: posts, outputs and critiques of the nano world, refinements sampled from its checkpoint. All arms
see the same rows and must give the same scores; times are processor seconds, the least of several turns, arms
interleaved.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).parent.parent
# A script's own folder comes first on the path, and there this file would be found as ``rankers``.
sys.path[0] = str(ROOT)
NANO = ROOT / "ilf" / "worlds" / "checkpoints" / "nano"

Rows = list[dict[str, Any]]
Scores = list[list[float]]


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--model", default=str(NANO), help="causal LM folder or hub id (default: the nano checkpoint)"
    )
    options.add_argument("--posts", type=int, default=100, help="rows, with 8 candidates each")
    options.add_argument("--turns", type=int, default=3, help="times each arm runs; the least counts")
    given = options.parse_args()
    rows, candidates, grades = texts(given.posts)
    n = sum(map(len, candidates))
    distinct = len({text for row in candidates for text in row} | {row["critique"] for row in rows})
    print(f"{n} candidates of {len(rows)} rows; distinct texts to encode: {distinct} of {2 * n} uses\n")
    picks(rows, candidates, grades, given.model)
    cold_start()
    with tempfile.TemporaryDirectory() as cache:
        compare("Similarity", embedding_arms(cache), rows, candidates, given.turns)
    for name, arms in language_model_arms(given.model).items():
        # The judge puts five long questions per candidate, so a tenth of the rows says as much.
        some = slice(max(1, len(rows) // 10) if name == "Judge" else None)
        compare(
            f"{name}, {sum(map(len, candidates[some]))} candidates",
            arms,
            rows[some],
            candidates[some],
            given.turns,
        )


def texts(posts: int) -> tuple[Rows, list[list[str]], Scores]:
    """Nano rows with 8 sampled refinements each, and the true grades of these."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from ilf.worlds.nano import Nano

    world, rng = Nano(), random.Random(0)
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32),
        AutoTokenizer.from_pretrained(NANO),
    )
    torch.manual_seed(0)
    rows, candidates, grades = [], [], []
    for i in range(posts):
        facts = world.facts(rng, "train")
        output = world.faulty(rng, facts)
        row = {
            "id": str(i),
            "prompt": world.prompt(facts),
            "output": output,
            "critique": world.critique(rng, facts, output),
        }
        prompt = tokenizer(
            f"{row['prompt']}{output}\nFEEDBACK: {row['critique']}\nBETTER:", return_tensors="pt"
        )
        answers = model.generate(
            **{key: prompt[key] for key in ("input_ids", "attention_mask")},
            do_sample=True, max_new_tokens=48, num_return_sequences=8, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        start = prompt["input_ids"].shape[1]
        rows.append(row)
        candidates.append(tokenizer.batch_decode(answers[:, start:], skip_special_tokens=True))
        grades.append([float(world.grade(facts, text)["grade"] or 0.0) for text in candidates[-1]])
    return rows, candidates, grades


def picks(rows: Rows, candidates: list[list[str]], grades: Scores, model: str) -> None:
    """Mean true grade of every ranker's picks; the judge asks what a model of the nano world can answer."""
    import rankers as r

    asked = {"questions": ("{prompt}{refinement}\nFEEDBACK:",), "yes": (" Nothing to change.",), "no": ("",)}
    each: dict[str, Any] = {
        "chance": r.Chance(),
        "length": r.Length(),
        "overlap": r.Overlap(),
        "similarity": r.Similarity(),
        "similarity, against: prompt": r.Similarity(against="prompt"),
        "similarity_direction": r.SimilarityDirection(),
        "fixpoint": r.Fixpoint(model=model),
        "fixpoint without critique": r.Fixpoint(model=model, refine_form="{prompt}{output}\nBETTER:"),
        "likelihood": r.Likelihood(model=model),
        "likelihood, subtract_answer": r.Likelihood(model=model, subtract_answer=True),
        "critique_perplexity": r.CritiquePerplexity(model=model),
        "judge (nothing to change?)": r.Judge(model=model, **asked),
    }
    scores = {name: ranker.score(rows, candidates) for name, ranker in each.items()} | {
        "the grade itself": grades
    }
    print(f"{'picks by':32} grade    (a random pick has {fmean(map(fmean, grades)):.3f})")
    for name, by_row in scores.items():
        chosen = [
            grade[r.best(row, i).candidate] for i, (row, grade) in enumerate(zip(by_row, grades, strict=True))
        ]
        print(f"  {name:30} {fmean(chosen):.3f}")
    print()


def cold_start() -> None:
    """Seconds of a new process until its first score, the least of three."""
    nano = f"rankers.Fixpoint(model={str(NANO)!r})"
    query = "{'id': 'a', 'critique': 'The price is missing.', 'prompt': 'p', 'output': 'o'}"
    for name, code in {
        "a bare interpreter": "pass",
        "import rankers": "import rankers",
        "torch": "import torch",
        "torch, sentence_transformers": "import sentence_transformers",
        "similarity, first score": f"import rankers; rankers.Similarity().score([{query}], [['a', 'b']])",
        "fixpoint (nano), first score": f"import rankers; {nano}.score([{query}], [['a', 'b']])",
    }.items():
        turns = []
        for _ in range(3):
            start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            turns.append((used, time.perf_counter() - start))
        print(f"cold start, {name:32} {min(turns)[0]:6.2f} processor s, {min(w for _, w in turns):6.2f} s")
    print()


def embedding_arms(cache: str) -> dict[str, Callable[[Rows, list[list[str]]], Scores]]:
    """Naive: every use of a text is encoded, in the order in which it comes."""
    from rankers import Similarity
    from rankers._encoder import _loaded, cosine, find

    def naive(rows: Rows, candidates: list[list[str]]) -> Scores:
        model = _loaded(find("all-MiniLM-L6-v2"), "cpu", "float32")
        uses = [
            text
            for row, texts in zip(rows, candidates, strict=True)
            for x in texts
            for text in (row["critique"], x)
        ]
        vectors = [
            v
            for i in range(0, len(uses), 32)
            for v in model.encode(uses[i : i + 32], show_progress_bar=False)
        ]
        flat = iter([cosine(a, b) for a, b in zip(vectors[::2], vectors[1::2], strict=True)])
        return [[next(flat) for _ in texts] for texts in candidates]

    arms: dict[str, Callable[[Rows, list[list[str]]], Scores]] = {"every use, in given order": naive}
    for size in (32, 8, 128):
        arms[f"each text once, batch {size}"] = Similarity(batch_size=size).score  # type: ignore[assignment]
    arms["each text once, bfloat16 (other scores)"] = Similarity(dtype="bfloat16").score  # type: ignore[assignment]
    cached = Similarity(cache=cache)
    arms["from the cache on disk"] = cached.score  # type: ignore[assignment]
    return arms


def language_model_arms(model: str) -> dict[str, dict[str, Callable[[Rows, list[list[str]]], Scores]]]:
    """One by one, in plain batches, and with the candidates' common beginning computed once."""
    from rankers import CritiquePerplexity, Fixpoint, Judge, Likelihood, _logprobs

    def arm(kind: Any, size: int, shared: int) -> Callable[[Rows, list[list[str]]], Scores]:
        ranker = kind(model=model, batch_size=size)

        def score(rows: Rows, candidates: list[list[str]]) -> Scores:
            before, _logprobs.MIN_SHARED = _logprobs.MIN_SHARED, shared
            try:
                return ranker.score(rows, candidates)  # type: ignore[no-any-return]
            finally:
                _logprobs.MIN_SHARED = before

        return score

    never = 2**30
    settings = {
        "one by one": (1, never),
        "batches of 16": (16, never),
        "batches of 32": (32, never),
        "shared, batches of 16": (16, _logprobs.MIN_SHARED),
        "shared, batches of 32": (32, _logprobs.MIN_SHARED),
    }
    return {
        kind.__name__: {name: arm(kind, *how) for name, how in settings.items()}
        for kind in (Fixpoint, Likelihood, CritiquePerplexity, Judge)
    }


def compare(
    title: str,
    arms: dict[str, Callable[[Rows, list[list[str]]], Scores]],
    rows: Rows,
    candidates: Sequence[Sequence[str]],
    turns: int,
) -> None:
    """Runs the arms in turns; prints seconds, ratio to the first, largest difference from its scores."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    scores: dict[str, Scores] = {}
    for turn in range(turns + 1):
        for name, arm in arms.items():
            start = time.process_time()
            scores[name] = arm(rows, candidates)  # type: ignore[arg-type]
            # The first turn warms up.
            if turn:
                seconds[name].append(time.process_time() - start)
    first = next(iter(arms))
    print(f"{title:44} processor s   ratio   largest difference")
    for name, values in seconds.items():
        pairs = zip(scores[first], scores[name], strict=True)
        off = max(abs(a - b) for xs, ys in pairs for a, b in zip(xs, ys, strict=True))
        print(f"  {name:42} {min(values):10.3f} {min(seconds[first]) / min(values):8.2f}x {off:12.1e}")
    print(flush=True)


if __name__ == "__main__":
    main()
