"""TRL's side of the parity proofs: its trainers on given rows, in their order, at given rates.

Runs in an environment that has TRL (``_other_environment.call``); see sft.py for how to make one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks._other_environment import versions


def installed() -> dict[str, str]:
    """The versions of what decides about losses."""
    return versions("torch", "transformers", "trl")


def updates(
    kind: str,
    rows: Sequence[Mapping[str, Any]],
    model: str,
    rates: Sequence[float],
    batch_size: int,
    settings: Mapping[str, Any],
) -> list[float]:
    """The loss of every update that TRL's trainer of ``kind`` (sft, dpo, kto, reward) makes with ``rows``.

    ``rates`` are the learning rates of the updates; ``settings`` go into the trainer's configuration.
    ``model`` is a folder; for dpo and kto it is the reference as well.
    """
    import torch
    import trl
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    torch.set_num_threads(1)
    names = {"sft": "SFT", "dpo": "DPO", "kto": "KTO", "reward": "Reward"}
    losses: list[float] = []

    class Recorded(getattr(trl, f"{names[kind]}Trainer")):  # type: ignore[misc]
        def compute_loss(self, *arguments: Any, **how: Any) -> Any:
            loss = super().compute_loss(*arguments, **how)
            losses.append(loss.item())
            return loss

    def loaded(folder: str) -> Any:
        family = AutoModelForSequenceClassification if kind == "reward" else AutoModelForCausalLM
        return family.from_pretrained(folder, dtype=torch.float32)

    with tempfile.TemporaryDirectory() as folder:
        configuration = getattr(trl, f"{names[kind]}Config")(
            folder,
            num_train_epochs=1,
            per_device_train_batch_size=batch_size,
            learning_rate=rates[0],
            max_length=None,
            bf16=False,
            gradient_checkpointing=False,
            optim="adamw_torch_fused",
            train_sampling_strategy="sequential",
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            **{"weight_decay": 0.0, "max_grad_norm": 1.0, **settings},
        )
        frozen = {"ref_model": loaded(model)} if kind in ("dpo", "kto") else {}
        trainer = Recorded(
            model=loaded(model),
            args=configuration,
            train_dataset=Dataset.from_list([dict(row) for row in rows]),
            processing_class=AutoTokenizer.from_pretrained(model),
            **frozen,
        )
        trainer.create_optimizer()
        trainer.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            trainer.optimizer, lambda done: rates[min(done, len(rates) - 1)] / rates[0]
        )
        trainer.train()
    return losses
