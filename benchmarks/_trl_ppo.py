"""TRL's experimental PPO (up to 1.12) for parity/ppo.py and ppo.py; runs in an environment that has it.

python -m venv ELSEWHERE && ELSEWHERE/bin/pip install "torch==2.13.0" "trl==1.12.*" peft
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks._other_environment import peak_mib, versions

PACKAGES = ("torch", "transformers", "trl", "peft")


def installed() -> dict[str, str]:
    """The versions of what decides about results."""
    return versions(*PACKAGES)


def trainer(
    folder: str,
    policy: str,
    reward: str,
    prompts: Sequence[Sequence[int]],
    settings: Mapping[str, Any],
    lora: Mapping[str, Any] | None = None,
) -> Any:
    """PPOTrainer on whole models, or with ``lora`` (settings of peft.LoraConfig) on the policy alone.

    ``policy`` is the folder of a causal model, ``reward`` that of a classifier with one label, from which the
    value model starts as well. Float32, no gradient checkpointing, no files, dropout off (as TRL does).
    """
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(policy, padding_side="left")

    def classifier() -> Any:
        return AutoModelForSequenceClassification.from_pretrained(reward, num_labels=1, dtype=torch.float32)

    data = Dataset.from_list([{"input_ids": list(ids)} for ids in prompts])
    return PPOTrainer(
        args=PPOConfig(
            folder,
            bf16=False,
            gradient_checkpointing=False,
            num_sample_generations=0,
            optim="adamw_torch_fused",
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            **settings,
        ),
        processing_class=tokenizer,
        model=AutoModelForCausalLM.from_pretrained(policy, dtype=torch.float32),
        ref_model=None,
        reward_model=classifier(),
        value_model=classifier(),
        train_dataset=data,
        eval_dataset=data,
        peft_config=None if lora is None else LoraConfig(task_type="CAUSAL_LM", **lora),
    )


def steps(**arguments: Any) -> dict[str, Any]:
    """Processor seconds of every step of ``trainer`` but the first, and the peak memory of the process."""
    from transformers import TrainerCallback

    ends: list[float] = []
    tokens: list[int] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.process_time())
            tokens.append(int((~_held_by_train()["padding_mask"]).sum()))

    with tempfile.TemporaryDirectory() as folder:
        trained = trainer(folder, **arguments)
        trained.add_callback(Clock())
        trained.train()
    return {
        "seconds": [end - start for start, end in itertools.pairwise(ends)],
        "completion_tokens": tokens[1:],
        "peak_mib": peak_mib(),
        "versions": installed(),
    }


def _held_by_train() -> Mapping[str, Any]:
    """The local variables of PPOTrainer.train, which called this."""
    frame = sys._getframe(1)
    while frame.f_code.co_name != "train":
        assert frame.f_back is not None
        frame = frame.f_back
    return frame.f_locals


#: What a step of TRL's holds when it goes backward, by its own names.
STEP = (
    "queries", "responses", "sequence_lengths", "padding_mask", "padding_mask_p1", "logprobs", "ref_logprobs",
    "values", "scores", "kl", "rewards", "advantages", "returns",
)  # fmt: skip
UPDATE = ("mini_batch_inds", "new_logprobs", "vpred", "pg_loss", "vf_loss", "loss")


def recorded(**arguments: Any) -> list[dict[str, Any]]:
    """The tensors of every step of ``trainer``, and of its updates, as they stand when it goes backward.

    Three things are made as we have them: variances are divided by n and texts stand in the full response
    length, so that there is a place behind the end of all (both as in the code that TRL's is taken from); the
    head of the value model has a bias, 0 at the start.
    """
    import numpy as np
    import torch
    from trl.experimental.ppo import ppo_trainer

    found: list[dict[str, Any]] = []
    np.random.seed(0)  # noqa: NPY002 - what TRL shuffles with
    ppo_trainer.masked_var.__defaults__ = (False,)
    generation = ppo_trainer.batch_generation

    def wide(model: Any, queries: Any, batch_size: int, pad_token_id: int, how: Any) -> tuple[Any, Any]:
        ids, logits = generation(model, queries, batch_size, pad_token_id, how)
        missing = queries.shape[1] + how.max_new_tokens - ids.shape[1]
        pad = torch.nn.functional.pad
        return pad(ids, (0, missing), value=pad_token_id), pad(logits, (0, 0, 0, missing))

    ppo_trainer.batch_generation = wide
    with tempfile.TemporaryDirectory() as folder:
        trained = trainer(folder, **arguments)
        head = trained.value_model.score
        head.bias = torch.nn.Parameter(torch.zeros(1))
        trained.optimizer.add_param_group({"params": [head.bias], "weight_decay": 0.0})
        trained.lr_scheduler.base_lrs.append(trained.lr_scheduler.base_lrs[0])
        trained.lr_scheduler.lr_lambdas.append(trained.lr_scheduler.lr_lambdas[0])
        backward = trained.accelerator.backward

        def recording(loss: Any, **how: Any) -> None:
            held = _held_by_train()
            if len(found) < held["update"]:
                found.append({name: held[name].tolist() for name in STEP} | {"updates": []})
            found[-1]["updates"].append({name: held[name].tolist() for name in UPDATE})
            backward(loss, **how)

        trained.accelerator.backward = recording
        trained.train()
    return found
