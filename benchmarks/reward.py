"""What a reward model costs: rankings of four by four forwards, by twelve, and by TRL's RewardTrainer.

    python -m venv ELSEWHERE && ELSEWHERE/bin/pip install "torch==2.13.0" "trl==1.16.*"
    python benchmarks/reward.py [--trl ELSEWHERE/bin/python] [--sizes 1M 124M] [--turns 3] [--save]

Rankings of four outputs of the nano world: ours runs each text once, or twelve texts as if every pair stood
by itself; TRL is given the six pairs. Then plain pairs, where every text is in one pair. Same batches in the
same order, same rates, AdamW, gradients clipped at 1, no dropout, float32, one thread. 1M: the nano
checkpoint, 16 rankings (or 48 pairs) an update; 124M: GPT-2's shape with random weights, 2 rankings (or 6
pairs). Losses must agree to 1e-5, update by update.

Each arm runs in a process of its own, turn by turn; what is measured are its processor seconds (user and
system) from the end of its first update to the end of its last, the least of all turns. Whole seconds, with
loading, tokenising and measuring, and the largest resident set stand beside them in the raw figures.
"""

from __future__ import annotations

import argparse
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
#: Rankings an update, pairs an update of the plain pairs, and updates.
SIZES = {"1M": (16, 48, 12), "124M": (2, 6, 4)}
OURS = {
    "ours": {},
    "ours, prompts read again for every text": {"share": False},
    "ours, every pair by itself": {"share": False, "apart": True},
}
TRL = "TRL"
#: Times as fast as TRL on rankings of four (issue 5).
GOAL = 2.0

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
        "--save", action="store_true", help="keep the figures in benchmarks/results/reward.json"
    )
    given = options.parse_args()
    is_reached = True
    for size in given.sizes:
        n_rankings, n_pairs, updates = SIZES[size]
        with tempfile.TemporaryDirectory() as folder:
            start = call(sys.executable, __file__, "prepare", folder=folder, size=size)
            rows = call(sys.executable, __file__, "ranked", n=n_rankings * updates)
            plain = [six[random.Random(i).randrange(6)] for i, six in enumerate(rows)]
            tasks = {
                "rankings of four": ([row for six in rows for row in six], n_rankings, 6 * n_rankings),
                "plain pairs": ([*plain, *plain, *plain][: n_pairs * updates], n_pairs, n_pairs),
            }
            for task, (data, batch, pairs) in tasks.items():
                found = compare(start, data, (batch, pairs), given.trl, given.turns, whole="plain" in task)
                is_reached &= show(f"{size}, {task}", found, GOAL if task == "rankings of four" else 0.0)
                if given.save:
                    save(
                        "reward", f"{size}, {task}", {"machine": machine(), "updates": updates, "arms": found}
                    )
    return int(not is_reached)


def compare(
    start: str, rows: Sequence[Row], sizes: tuple[int, int], trl: str | None, turns: int, *, whole: bool
) -> dict[str, Found]:
    """The arms in turns: seconds of every turn, losses, memory. ``sizes``: prompts and pairs an update."""
    from ilf.strategies.reward import Reward

    n = len(rows) // sizes[1]
    rates = [Reward(learning_rate=RATE).rate(step, n) for step in range(1, n + 1)]
    # Plain pairs come thrice, with other companions: each is a prompt of its own.
    rows = [{**row, "group": str(i if whole else i // 6)} for i, row in enumerate(rows)]
    arms: dict[str, tuple[str, str, dict[str, Any]]] = {}
    for name, how in OURS.items():
        if not (whole and "apart" in how):
            batch = sizes[1] if "apart" in how else sizes[0]
            arms[name] = (sys.executable, "ours", {"batch_size": batch, **how})
    if trl:
        arms[TRL] = (trl, "theirs", {"batch_size": sizes[1], "rates": rates})
    found: dict[str, Found] = {}
    for _ in range(turns):
        for name, (python, function, how) in arms.items():
            one = call(python, __file__, function, start=start, rows=rows, **how)
            kept = found.setdefault(name, {**one, "seconds": [], "whole_seconds": []})
            kept["seconds"].append(one["seconds"])
            kept["whole_seconds"].append(one["whole_seconds"])
            off = max(abs(a - b) for a, b in zip(one["losses"], found["ours"]["losses"], strict=True))
            if off > 1e-5:
                raise SystemExit(f"{name}: a loss differs by {off}")
            kept["largest_difference"] = max(off, kept.get("largest_difference", 0.0))
    return found


def show(task: str, found: Mapping[str, Found], goal: float) -> bool:
    """Prints the arms; whether the goal is reached (or nothing there to hold it against)."""
    print(task)
    least = {name: min(arm["seconds"]) for name, arm in found.items()}
    for name, arm in found.items():
        print(
            f"  {name:40} {least[name]:7.2f} s  {least[name] / least['ours']:5.2f} x  "
            f"{arm['peak_mib']:6.0f} MiB  losses within {arm['largest_difference']:.0e}",
            flush=True,
        )
    return TRL not in least or least[TRL] / least["ours"] >= goal


def prepare(folder: str, size: str) -> str:
    """A classifier with a random head: on the nano checkpoint, or on GPT-2's shape with random weights."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config

    from ilf.strategies._classifier import fresh_classifier
    from ilf.strategies._models import save_model

    torch.manual_seed(0)
    base = str(NANO)
    if size == "124M":
        base = str(Path(folder) / "base")
        tokenizer = AutoTokenizer.from_pretrained(NANO)
        ends = {name: getattr(tokenizer, name) for name in ("eos_token_id", "pad_token_id")}
        AutoModelForCausalLM.from_config(GPT2Config(bos_token_id=None, **ends)).save_pretrained(base)
        tokenizer.save_pretrained(base)
    made = fresh_classifier(base, "cpu", "normal")
    save_model(made.model, made.tokenizer, Path(folder) / "start", merge=True)
    return str(Path(folder) / "start")


def ranked(n: int) -> list[list[Row]]:
    """For each of ``n`` posts the six pairs of a ranking of four different outputs."""
    from benchmarks.parity.reward import rankings

    return rankings(n)


def ours(
    start: str, rows: Sequence[Row], batch_size: int, *, share: bool = True, apart: bool = False
) -> Found:
    """Our strategy; ``share`` prompts between texts, or every pair ``apart``, texts and all."""
    import torch

    from benchmarks.parity._proof import in_order
    from ilf.strategies import reward as module
    from ilf.strategies._end_states import EndStates

    torch.set_num_threads(1)
    if apart:
        rows = [{**row, "group": str(i)} for i, row in enumerate(rows)]
    strategy = module.Reward(
        batch_size=batch_size, learning_rate=RATE, device="cpu", microbatch_tokens=2**20, normalise="none"
    )
    ends: list[float] = []
    updates = module.Reward.updates

    def timed(self: Any, *arguments: Any, **how: Any) -> Iterator[Row]:
        for row in updates(self, *arguments, **how):
            ends.append(time.process_time())
            yield row

    def one_by_one(lm: Any, trunk: Any) -> EndStates:
        return EndStates(trunk, lm.device, can_share=False)

    begin = time.process_time()
    with (
        tempfile.TemporaryDirectory() as folder,
        in_order(strategy),
        mock.patch.object(module.Reward, "updates", timed),
        mock.patch.object(module, "end_states_of", module.end_states_of if share else one_by_one),
    ):
        log = list(strategy.train(rows, Path(folder), start=start, seed=0))
    return told(begin, ends, [row["loss"] for row in log], "torch", "transformers")


def theirs(start: str, rows: Sequence[Row], batch_size: int, rates: Sequence[float]) -> Found:
    """TRL's RewardTrainer on the pairs in their order, at our rates."""
    import torch
    import trl
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback

    torch.set_num_threads(1)
    begin = time.process_time()
    losses: list[float] = []
    ends: list[float] = []

    class Recorded(trl.RewardTrainer):  # type: ignore[misc]
        def compute_loss(self, *arguments: Any, **how: Any) -> Any:
            loss = super().compute_loss(*arguments, **how)
            losses.append(loss.item())
            return loss

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.process_time())

    columns = ("prompt", "chosen", "rejected")
    with tempfile.TemporaryDirectory() as folder:
        settings = trl.RewardConfig(
            folder, num_train_epochs=1, per_device_train_batch_size=batch_size, learning_rate=RATE,
            max_length=None, bf16=False, gradient_checkpointing=False, optim="adamw_torch_fused",
            adam_epsilon=1e-5, weight_decay=0.0, max_grad_norm=1.0, train_sampling_strategy="sequential",
            use_cpu=True, report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
        )  # fmt: skip
        trainer = Recorded(
            model=AutoModelForSequenceClassification.from_pretrained(start, dtype=torch.float32),
            args=settings,
            train_dataset=Dataset.from_list([{name: row[name] for name in columns} for row in rows]),
            processing_class=AutoTokenizer.from_pretrained(start),
            callbacks=[Clock()],
        )
        trainer.create_optimizer()
        trainer.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            trainer.optimizer, lambda done: rates[min(done, len(rates) - 1)] / RATE
        )
        trainer.train()
    return told(begin, ends, losses, "torch", "transformers", "trl")


def told(begin: float, ends: Sequence[float], losses: Sequence[float], *packages: str) -> Found:
    return {
        "seconds": ends[-1] - ends[0],
        "whole_seconds": time.process_time() - begin,
        "losses": list(losses),
        "peak_mib": peak_mib(),
        "versions": versions(*packages),
    }


if __name__ == "__main__":
    sys.exit(main())
