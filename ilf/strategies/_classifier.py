"""Classifiers with one label on the trunk of a causal model: made, adapted, and their adapters saved."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ilf.errors import ComponentError
from ilf.strategies._encode import Example
from ilf.strategies._models import lora_config
from rankers._reward import RewardModel, is_read_at_the_last_token, quiet_loading, rewards

#: Texts whose rewards are measured together.
_MEASURED_BATCH = 16


def fresh_classifier(start: str, device: str, head: str, who: str = "reward") -> RewardModel:
    """The start's trunk with a new head (a start that is a reward model keeps its own), in float32."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    if not start:
        raise ComponentError("training needs a model to start from: start=<folder or hub id>")
    try:
        with quiet_loading():
            model, info = AutoModelForSequenceClassification.from_pretrained(
                start, num_labels=1, dtype=torch.float32, output_loading_info=True
            )
            tokenizer = AutoTokenizer.from_pretrained(start)
    except (OSError, ValueError, RuntimeError) as error:
        raise ComponentError(
            f"{who}: '{start}' cannot be loaded as a sequence classifier: {str(error).splitlines()[0]} "
            "Start from a folder with config.json, weights and tokenizer, or a hub id in reach, of "
            "an architecture for which transformers has a classifier (Llama, Qwen2, GPT-2, ...)."
        ) from None
    if getattr(model, "peft_config", None):
        raise ComponentError(
            f"{who}: '{start}' is an adapter by itself. Start from a whole model: train it with merge=true."
        )
    missing = {key for key in info["missing_keys"] if not key.startswith("score.")}
    reward_model = RewardModel(model.to(device).eval(), tokenizer, device)
    if missing or not is_read_at_the_last_token(reward_model):
        raise ComponentError(
            f"{who}: '{start}' is no causal model whose classifier is a linear head at the last token"
            + (f" (it has no weights for {', '.join(sorted(missing)[:3])})." if missing else ".")
            + " Start from the model that sft made, or another causal model."
        )
    if tokenizer.eos_token_id is None:
        raise ComponentError(f"{who}: the tokenizer of '{start}' has no end token (eos_token).")
    _set_padding(reward_model)
    if info["missing_keys"]:
        weight = model.score.weight
        if head == "zero":
            torch.nn.init.zeros_(weight)
        else:
            torch.nn.init.normal_(weight, std=(weight.shape[1] + 1) ** -0.5)
    return reward_model


def _set_padding(reward_model: RewardModel) -> None:
    """Padding other than the end token, because classifiers of transformers read the last token before it."""
    tokenizer, config = reward_model.tokenizer, reward_model.model.config.get_text_config()
    if tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
        taken = {tokenizer.eos_token_id, tokenizer.bos_token_id}
        spare = [i for i in sorted(tokenizer.all_special_ids) if i not in taken]
        if spare:
            tokenizer.pad_token = tokenizer.convert_ids_to_tokens(spare[0])
        # Without a spare one any token will do: behind the end token it stands for nothing.
        config.pad_token_id = spare[0] if spare else min({0, 1, 2} - taken)
    else:
        config.pad_token_id = tokenizer.pad_token_id


def with_adapter(model: Any, strategy: Any) -> Any:
    """Adapters put on the trunk, in place; the head is trained as a whole."""
    import peft

    # With this task "all-linear" leaves the head alone.
    config = lora_config(model, strategy, "SEQ_CLS")
    try:
        with warnings.catch_warnings():
            # peft 0.21 reads a property that transformers 5.24 renames: nothing that a user could change.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            found = peft.PeftModel(model, config)
    except ValueError as error:
        raise ComponentError(f"{strategy.name}.lora_targets: {error}") from None
    model.score.weight.requires_grad = True
    return found


def save_adapter(adapted: Any, folder: Path) -> None:
    """The adapter alone, as peft reads it, under the names of a causal model's layers; no path in it."""
    import peft
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = peft.get_peft_model_state_dict(adapted, save_embedding_layers=False)
    save_file(
        {name: w.detach().cpu().contiguous() for name, w in weights.items()},
        folder / "adapter_model.safetensors",
    )
    config = adapted.peft_config["default"].to_dict()
    config |= {"task_type": None, "auto_mapping": None, "inference_mode": True}
    # Sets are all that json does not know.
    text = json.dumps(config, indent=2, sort_keys=True, default=sorted)
    (folder / "adapter_config.json").write_text(text + "\n", encoding="utf-8")


def save_head(reward_model: RewardModel, folder: Path, base: str, mean: float) -> None:
    from safetensors.torch import save_file

    save_file({"weight": reward_model.model.score.weight.detach().cpu()}, folder / "head.safetensors")
    text = json.dumps({"fingerprint": base, "reward_mean": mean}, indent=2, sort_keys=True)
    (folder / "base.json").write_text(text + "\n", encoding="utf-8")


def rewards_of(reward_model: RewardModel, groups: Sequence[Sequence[Example]]) -> list[list[float]]:
    """Rewards as the ranker reads them, in the shape of the groups; no mean is taken off."""
    texts = [(*example.prompt, *example.completion) for group in groups for example in group]
    owners = [i for i, group in enumerate(groups) for _ in group]
    flat = iter(rewards(reward_model, texts, _MEASURED_BATCH, groups=owners))
    return [[next(flat) for _ in group] for group in groups]
