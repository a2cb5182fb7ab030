"""What fine-tuning costs: only completion states projected, like lengths together, against other ways.

    OMP_NUM_THREADS=1 python benchmarks/sft.py
    OMP_NUM_THREADS=1 python benchmarks/sft.py --model FOLDER --rows 32 --epochs 1

Posts and demonstrations of the nano world. Every arm trains the same model on the same rows with the same
updates; times are processor seconds of a whole training (loading included), the least of several turns, arms
interleaved. Losses must agree to 1e-5 update by update; of the arm in random order, whose batches are others,
the loss of all rows together, at a rate at which nothing moves.

Measured (one thread, a shared machine with two cores, torch 2.13, transformers 5.24; seconds as a multiple of
ours, 96 rows x 5 epochs), nano's vocabulary of 1,280 and then 32,000: ours 1 (2.1 s) and 1 (5.7 s), every
position projected 1.06 and 2.67, random order 1.20 and 1.06, microbatches of one row 1.89 and 1.90, LoRA 1.05
and 0.89, Trainer 1.29 and 2.76. The largest difference of a loss is 3e-6.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).parent.parent
sys.path[0] = str(ROOT)
NANO = ROOT / "ilf" / "worlds" / "checkpoints" / "nano"

Rows = list[dict[str, Any]]
Log = list[dict[str, Any]]


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--model", default=str(NANO), help="causal LM folder or hub id (default: nano)")
    options.add_argument("--rows", type=int, default=96, help="rows, a multiple of 16")
    options.add_argument("--epochs", type=int, default=5)
    options.add_argument("--turns", type=int, default=3, help="times each arm runs; the least counts")
    options.add_argument(
        "--vocabulary", type=int, default=32_000, help="of the second model, nano's size else"
    )
    given = options.parse_args()
    import torch

    from ilf.strategies.sft import SFT

    torch.set_num_threads(1)
    if given.rows % 16:
        options.error("--rows must be a multiple of 16, so that Trainer can be given the same batches")
    strategy = SFT(epochs=given.epochs, batch_size=16, learning_rate=1e-5, device="cpu", chat="never")
    with tempfile.TemporaryDirectory() as folder:
        large = wider(Path(folder), given.vocabulary)
        for name, model in ((given.model, given.model), (f"the same, vocabulary {given.vocabulary}", large)):
            print(f"{Path(name).name}: {given.rows} rows, {given.epochs} epochs")
            compare(strategy, model, rows_of(given.rows), given.turns)
            if given.model != str(NANO):
                break


def rows_of(n: int) -> Rows:
    """Posts of the nano world with the annotator's own answer."""
    from ilf.worlds.nano import Nano

    world, rows = Nano(), []
    for i in range(n):
        rng = random.Random(i)
        facts = world.facts(rng, "train")
        rows.append({"prompt": world.prompt(facts), "completion": world.demonstrate(rng, facts)})
    return rows


def wider(folder: Path, vocabulary: int) -> str:
    """Nano's shape with random weights and more tokens, of which its tokenizer uses its own."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(NANO, vocab_size=vocabulary)
    with quiet():
        AutoModelForCausalLM.from_config(config).float().save_pretrained(folder)
    AutoTokenizer.from_pretrained(NANO).save_pretrained(folder)
    return str(folder)


def compare(strategy: Any, model: str, rows: Rows, turns: int) -> None:
    """Runs the arms in turns; prints seconds, ratio to ours, and the largest difference of a loss."""
    arms: dict[str, Callable[[], Log]] = {
        "ours": lambda: ours(strategy, model, rows),
        "ours, every position projected": lambda: everything_projected(strategy, model, rows),
        "ours, batches in random order": lambda: unsorted(strategy, model, rows),
        "ours, microbatches of one row": lambda: ours(replace(strategy, microbatch_tokens=1), model, rows),
        "ours, LoRA of rank 8 on all layers": lambda: ours(replace(strategy, lora_rank=8), model, rows),
        "transformers.Trainer": lambda: by_trainer(strategy, model, rows),
    }
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    logs: dict[str, Log] = {}
    for _ in range(turns):
        for name, arm in arms.items():
            start = time.process_time()
            logs[name] = arm()
            seconds[name].append(time.process_time() - start)
    for name, values in seconds.items():
        told = difference(logs["ours"], logs[name], strategy, model, rows, name)
        print(f"  {name:36} {min(values):6.2f} s  {min(values) / min(seconds['ours']):5.2f} x  {told}")
    print(flush=True)


def difference(expected: Log, found: Log, strategy: Any, model: str, rows: Rows, name: str) -> str:
    """The largest difference of a loss, and an end of the benchmark where it must not be."""
    if "LoRA" in name:
        return "(fewer weights are trained)"
    if "random order" in name:
        still = replace(strategy, learning_rate=1e-30, epochs=1)
        off = abs(mean(ours(still, model, rows)) - mean(unsorted(still, model, rows)))
    else:
        off = max(abs(a["loss"] - b["loss"]) for a, b in zip(expected, found, strict=True))
    if off > 1e-5:
        raise SystemExit(f"{name}: a loss differs by {off}")
    return f"losses within {off:.0e}"


def mean(log: Log) -> float:
    return float(sum(row["loss"] * row["tokens"] for row in log) / sum(row["tokens"] for row in log))


def ours(strategy: Any, model: str, rows: Rows) -> Log:
    with tempfile.TemporaryDirectory() as folder:
        return list(strategy.train(rows, Path(folder), start=model, seed=0))


def everything_projected(strategy: Any, model: str, rows: Rows) -> Log:
    """The same loop with logits of all positions, as ``model(input_ids, labels=...)`` computes them."""
    import torch

    from ilf.strategies import sft
    from ilf.strategies._encode import padded

    def completion_logprob(trunk: Any, head: Any, examples: Sequence[Any], device: str) -> Any:
        ids, at, targets = padded(examples)
        logits = head(trunk(input_ids=ids, use_cache=False)[0]).float().flatten(0, 1)
        labels = torch.full((len(logits),), -100)
        labels[at] = targets
        return -torch.nn.functional.cross_entropy(logits, labels, reduction="sum")

    with mock.patch.object(sft, "completion_logprob", completion_logprob):
        return ours(strategy, model, rows)


def unsorted(strategy: Any, model: str, rows: Rows) -> Log:
    """The same loop with batches drawn from all rows, whatever their lengths."""
    from ilf.strategies.sft import SFT

    def batches(self: Any, lengths: Sequence[int], seed: int) -> Iterator[list[int]]:
        for epoch in range(self.epochs):
            order = random.Random(f"{seed} {epoch}").sample(range(len(lengths)), len(lengths))
            yield from (order[at : at + self.batch_size] for at in range(0, len(order), self.batch_size))

    with mock.patch.object(SFT, "batches", batches):
        return ours(strategy, model, rows)


def by_trainer(strategy: Any, model: str, rows: Rows) -> Log:
    """``transformers.Trainer`` on the same batches in the same order, with the same optimizer and rates."""
    import torch
    from transformers import Trainer, TrainingArguments

    from ilf.strategies._encode import encode
    from rankers._lm import _loaded

    lm = _loaded(model, "cpu", "float32", "benchmark")
    examples = [encode(row["prompt"], row["completion"], lm, chat=strategy.chat) for row in rows]
    order = strategy.batches([len(example) for example in examples], 0)
    flat = [examples[i] for batch in order for i in batch]
    losses: list[float] = []

    class Recorded(Trainer):  # type: ignore[misc]
        def _get_train_sampler(self, *_: Any) -> Any:
            return torch.utils.data.SequentialSampler(flat)

        def compute_loss(self, *args: Any, **how: Any) -> Any:
            loss = super().compute_loss(*args, **how)
            losses.append(loss.item())
            return loss

    with tempfile.TemporaryDirectory() as folder, quiet():
        settings = TrainingArguments(
            folder,
            num_train_epochs=1,
            per_device_train_batch_size=strategy.batch_size,
            learning_rate=strategy.learning_rate,
            max_grad_norm=strategy.clip,
            optim="adamw_torch_fused",
            weight_decay=0.0,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = Recorded(lm.model, settings, train_dataset=flat, data_collator=collated)
        trainer.create_optimizer()
        steps = len(flat) // strategy.batch_size
        trainer.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            trainer.optimizer, lambda done: strategy.rate(done + 1, steps) / strategy.learning_rate
        )
        trainer.train()
    return [{"loss": loss} for loss in losses]


def collated(examples: Sequence[Any]) -> dict[str, Any]:
    """Padded on the right, with labels on completions alone."""
    import torch

    longest = max(map(len, examples))
    ids, mask = torch.zeros(len(examples), longest, dtype=torch.long), torch.zeros(len(examples), longest)
    labels = torch.full((len(examples), longest), -100)
    for i, example in enumerate(examples):
        ids[i, : len(example)] = torch.tensor([*example.prompt, *example.completion])
        labels[i, len(example.prompt) : len(example)] = torch.tensor(example.completion)
        mask[i, : len(example)] = 1
    return {"input_ids": ids, "attention_mask": mask.long(), "labels": labels}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No bars, and what Trainer prints at its end goes nowhere."""
    import io

    from rankers._lm import no_progress_bars

    with no_progress_bars(), contextlib.redirect_stdout(io.StringIO()):
        yield


if __name__ == "__main__":
    main()
