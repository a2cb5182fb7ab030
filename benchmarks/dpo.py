"""What DPO costs: the shared prompt read once, every text once, the reference once; and TRL's DPOTrainer.

    python -m venv ELSEWHERE && ELSEWHERE/bin/pip install "torch==2.13.0" "trl==1.16.*"
    python benchmarks/dpo.py [--trl ELSEWHERE/bin/python] [--sizes 1M 124M] [--turns 3] [--save]

Plain pairs (two outputs of a post of the nano world), and rankings of four outputs as their six pairs. Same
batches in the same order, same rates, AdamW, gradients clipped at 1, no dropout, float32, one epoch, one
thread. 1M: the nano checkpoint; 124M: GPT-2's shape with random weights. Losses must agree to 1e-5, update by
update; at 124M, which has not been run to its end yet, to 1e-4.

Each arm runs in a process of its own, turn by turn. What is measured are its processor seconds (user and
system), the least of all turns: of ours from the loaded model to the last update, tokenising and the
reference's pass included; of TRL those of ``trainer.train()`` alone, its tokenising left out. The largest
resident set stands beside them.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).parent.parent
sys.path[0] = str(ROOT)

from benchmarks._other_environment import call, machine, peak_mib, save, versions  # noqa: E402

NANO = ROOT / "ilf" / "worlds" / "checkpoints" / "nano"
RATE = 1e-5
#: Plain pairs an update, rankings an update, and updates.
SIZES = {"1M": (16, 4, 12), "124M": (4, 1, 4)}
TOLERANCE = {"1M": 1e-5, "124M": 1e-4}
TRL = "TRL"
#: Times as fast as TRL on plain pairs (issue 5).
GOAL = 1.3

Row = dict[str, Any]
Found = dict[str, Any]


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--trl", metavar="PYTHON", help="an interpreter that has TRL")
    options.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    options.add_argument("--turns", type=int, default=3, help="times each arm runs, one after the other")
    options.add_argument(
        "--save", action="store_true", help="keep the figures in benchmarks/results/dpo.json"
    )
    given = options.parse_args()
    is_reached = True
    for size in given.sizes:
        n_pairs, n_rankings, updates = SIZES[size]
        with tempfile.TemporaryDirectory() as folder:
            start = call(sys.executable, __file__, "prepare", folder=folder, size=size)
            plain = call(sys.executable, __file__, "pairs_of", n=n_pairs * updates)
            ranked = call(sys.executable, __file__, "rankings_of", n=n_rankings * updates)
            for task, rows, batch, pairs in (
                ("plain pairs", plain, n_pairs, n_pairs),
                ("rankings of four", ranked, n_rankings, 6 * n_rankings),
            ):
                found = compare(start, rows, (batch, pairs), given.trl, given.turns, TOLERANCE[size])
                is_reached &= show(f"{size}, {task}", found)
                if given.save:
                    figures = {
                        "machine": machine(),
                        "updates": updates,
                        "pairs_an_update": pairs,
                        "arms": found,
                    }
                    save("dpo", f"{size}, {task}", figures)
    return int(not is_reached)


def compare(
    start: str, rows: Sequence[Row], sizes: tuple[int, int], trl: str | None, turns: int, tolerance: float
) -> dict[str, Found]:
    """The arms in turns: seconds of every turn, losses, memory. ``sizes``: prompts and pairs an update."""
    from ilf.strategies.dpo import DPO

    n = len(rows) // sizes[1]
    rates = [DPO(learning_rate=RATE).rate(step, n) for step in range(1, n + 1)]
    arms: dict[str, tuple[str, str, dict[str, Any]]] = {
        "ours": (sys.executable, "ours", {"batch_size": sizes[0]}),
        "ours, every text by itself": (sys.executable, "ours", {"batch_size": sizes[0], "share": False}),
    }
    if trl:
        arms[TRL] = (trl, "theirs", {"batch_size": sizes[1], "rates": rates})
    found: dict[str, Found] = {}
    for _ in range(turns):
        for name, (python, function, how) in arms.items():
            one = call(python, __file__, function, start=start, rows=rows, **how)
            kept = found.setdefault(name, {**one, "seconds": []})
            kept["seconds"].append(one["seconds"])
            off = max(abs(a - b) for a, b in zip(one["losses"], found["ours"]["losses"], strict=True))
            if off > tolerance:
                raise SystemExit(f"{name}: a loss differs by {off}")
            kept["largest_difference"] = max(off, kept.get("largest_difference", 0.0))
    return found


def show(task: str, found: Mapping[str, Found]) -> bool:
    """Prints the arms; whether the goal is reached (or nothing there to hold it against)."""
    print(task)
    least = {name: min(arm["seconds"]) for name, arm in found.items()}
    for name, arm in found.items():
        print(
            f"  {name:28} {least[name]:7.2f} s  {least[name] / least['ours']:5.2f} x  "
            f"{arm['peak_mib']:6.0f} MiB  losses within {arm['largest_difference']:.0e}",
            flush=True,
        )
    return TRL not in least or least[TRL] / least["ours"] >= GOAL


def prepare(folder: str, size: str) -> str:
    """The nano checkpoint, or GPT-2's shape with random weights and nano's tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config

    if size == "1M":
        return str(NANO)
    torch.manual_seed(0)
    start = str(Path(folder) / "start")
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    ends = {name: getattr(tokenizer, name) for name in ("eos_token_id", "pad_token_id")}
    shape = GPT2Config(bos_token_id=None, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **ends)
    AutoModelForCausalLM.from_config(shape).save_pretrained(start)
    tokenizer.save_pretrained(start)
    return start


def pairs_of(n: int) -> list[Row]:
    """``n`` posts with two different outputs each, the better one first."""
    return [six[random.Random(i).randrange(6)] for i, six in enumerate(_rankings(n))]


def rankings_of(n: int) -> list[Row]:
    """The six pairs of a ranking of four different outputs, of ``n`` posts."""
    return [row for six in _rankings(n) for row in six]


def _rankings(n: int) -> list[list[Row]]:
    from benchmarks.parity.reward import rankings

    return rankings(n)


def ours(start: str, rows: Sequence[Row], batch_size: int, *, share: bool = True) -> Found:
    """Our strategy; ``share`` the prompt between its texts, and a text between its pairs."""
    import torch

    from benchmarks.parity._proof import in_order
    from ilf.strategies import _shared_prompt
    from ilf.strategies import dpo as module

    torch.set_num_threads(1)
    strategy = module.DPO(batch_size=batch_size, learning_rate=RATE, device="cpu", microbatch_tokens=2**20)
    clock: dict[str, float] = {}
    learner, save_model = module.learner, module.save_model

    def loaded(*arguments: Any) -> Any:
        lm = learner(*arguments)
        clock["begin"] = time.process_time()
        return lm

    def saved(*arguments: Any, **how: Any) -> None:
        clock["end"] = time.process_time()
        save_model(*arguments, **how)

    with (
        tempfile.TemporaryDirectory() as folder,
        in_order(strategy),
        mock.patch.object(module, "learner", loaded),
        mock.patch.object(module, "save_model", saved),
        contextlib.nullcontext() if share else _apart(_shared_prompt),
    ):
        log = list(strategy.train(rows, Path(folder), start=start, seed=0))
    return told(clock["end"] - clock["begin"], [row["loss"] for row in log], "torch", "transformers")


@contextlib.contextmanager
def _apart(shared_prompt: Any) -> Iterator[None]:
    """Every chosen and rejected text is a row of its own, as often as it comes."""
    import torch

    from ilf.strategies._encode import padded

    def logprobs(self: Any, examples: Sequence[Any]) -> Any:
        ids, at, targets = padded(examples)
        states = self.trunk(input_ids=ids, use_cache=False)[0].flatten(0, 1)[at]
        values = shared_prompt.token_logprobs(states, self.head, targets)
        return torch.stack([part.sum() for part in values.split([len(e.completion) for e in examples])])

    with (
        mock.patch.object(shared_prompt.Scorer, "logprobs", logprobs),
        mock.patch.object(shared_prompt, "_can_share", return_value=False),
    ):
        yield


def theirs(start: str, rows: Sequence[Row], batch_size: int, rates: Sequence[float]) -> Found:
    """TRL's DPOTrainer on the pairs in their order, at our rates; its reference is a copy of the start."""
    import torch
    import trl
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    losses: list[float] = []

    class Recorded(trl.DPOTrainer):  # type: ignore[misc]
        def compute_loss(self, *arguments: Any, **how: Any) -> Any:
            loss = super().compute_loss(*arguments, **how)
            losses.append(loss.item())
            return loss

    columns = ("prompt", "chosen", "rejected")
    with tempfile.TemporaryDirectory() as folder:
        settings = trl.DPOConfig(
            folder, num_train_epochs=1, per_device_train_batch_size=batch_size, learning_rate=RATE,
            max_length=None, bf16=False, gradient_checkpointing=False, optim="adamw_torch_fused",
            weight_decay=0.0, max_grad_norm=1.0, train_sampling_strategy="sequential", use_cpu=True,
            report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True, beta=0.1,
        )  # fmt: skip
        trainer = Recorded(
            model=AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32),
            args=settings,
            train_dataset=Dataset.from_list([{name: row[name] for name in columns} for row in rows]),
            processing_class=AutoTokenizer.from_pretrained(start),
        )
        trainer.create_optimizer()
        trainer.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            trainer.optimizer, lambda done: rates[min(done, len(rates) - 1)] / RATE
        )
        begin = time.process_time()
        trainer.train()
        seconds = time.process_time() - begin
    return told(seconds, losses, "torch", "transformers", "trl")


def told(seconds: float, losses: Sequence[float], *packages: str) -> Found:
    return {
        "seconds": seconds,
        "losses": list(losses),
        "peak_mib": peak_mib(),
        "versions": versions(*packages),
    }


if __name__ == "__main__":
    sys.exit(main())
