"""Models to be trained: loading with or without adapters, saving without a trace of where, and a card."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ilf.errors import ComponentError
from ilf.protocols import Row
from rankers import RankerError
from rankers._lm import load, no_progress_bars, resolve_device


def learner(start: str, strategy: Any) -> tuple[Any, Any, str]:
    """The model ``start`` in training mode (with adapters where ``lora_rank`` is set), tokenizer and device."""
    import copy

    device = resolve_device(strategy.device)
    try:
        lm = load(start, device=device, dtype=strategy.dtype, who="training")
    except RankerError as error:
        raise ComponentError(str(error)) from None
    # The loaded model may be shared with rankers and generators of this process, which must not see it change.
    model = copy.deepcopy(lm.model)
    if strategy.lora_rank is not None:
        import peft

        targets = list(strategy.lora_targets) or "all-linear"
        config = peft.LoraConfig(
            r=strategy.lora_rank,
            lora_alpha=strategy.lora_alpha,
            lora_dropout=0.0,
            target_modules=targets,
            # GPT-2's layers hold their weights the other way round.
            fan_in_fan_out=any(type(module).__name__ == "Conv1D" for module in model.modules()),
            task_type="CAUSAL_LM",
        )
        with warnings.catch_warnings():
            # peft 0.21 reads a property that transformers 5.24 renames: nothing that a user could change.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            model = peft.get_peft_model(model, config)
    return model.train(), lm.tokenizer, device


def save_model(model: Any, tokenizer: Any, folder: Path, *, merge: bool) -> None:
    """Writes safetensors, tokenizer and generation config; adapters are merged, or saved by themselves.

    No path is written: the same training gives the same bytes wherever it ran.
    """
    folder.mkdir(parents=True, exist_ok=True)
    is_adapted = hasattr(model, "merge_and_unload")
    if is_adapted and merge:
        model = model.merge_and_unload()
    with no_progress_bars():
        model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if not is_adapted or merge:
        _forget_path(folder / "config.json")


def _forget_path(path: Path) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def write_card(
    folder: Path, strategy: Any, *, start: str, seed: int, n_rows: int, log: Sequence[Row]
) -> None:
    """The model card: what was trained on how many rows with which settings, and how the loss went."""
    settings = {f.name: getattr(strategy, f.name) for f in dataclasses.fields(strategy)}
    lines = [
        "---",
        "library_name: transformers",
        "tags: [ilf]",
        "---",
        "",
        "# A model tuned with ilf",
        "",
        f"Tuned from `{Path(start).name}` with `{type(strategy).__name__}` on {n_rows} rows, seed {seed}.",
        "",
        f"- updates: {len(log)}, completion tokens: {sum(row['tokens'] for row in log)}",
        f"- loss, nats a token: first update {log[0]['loss']:.4f}, last {log[-1]['loss']:.4f}",
        "- settings: `" + json.dumps(settings, sort_keys=True) + "`",
        "",
        "Data, cost and grades stand in the run's folder; a model tuned on feedback repeats what its annotators and "
        "its start model got wrong. Measure it on your own data before you rely on it.",
        "",
    ]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")
