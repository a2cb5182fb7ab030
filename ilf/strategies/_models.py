"""Models to be trained: loading with or without adapters, saving without a trace of where, and a card."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ilf.errors import ComponentError
from ilf.protocols import Row
from rankers import RankerError
from rankers._lm import LM, _loaded, no_progress_bars, resolve_device


def learner(start: str, strategy: Any) -> LM:
    """The model ``start`` to be trained, with adapters if ``lora_rank`` is set; still in evaluation mode."""
    if not start:
        raise ComponentError("training needs a model to start from: start=<folder or hub id>")
    try:
        # Not the one that rankers and generators of this process may share: they must not see it change.
        # In float32 whatever the arithmetic: half precision would round small updates away.
        lm = _loaded(start, resolve_device(strategy.device), "float32", "training")
    except RankerError as error:
        raise ComponentError(
            f"{error} Start from a folder with config.json, weights and tokenizer, or from a hub id that can "
            "be reached (or was downloaded before)."
        ) from None
    if strategy.lora_rank is None:
        return lm
    return dataclasses.replace(lm, model=_adapted(lm.model, strategy))


def lora_config(model: Any, strategy: Any, task_type: str) -> Any:
    """Peft's configuration of a strategy's ``lora_*`` settings for a model."""
    import peft
    from transformers.pytorch_utils import Conv1D

    return peft.LoraConfig(
        r=strategy.lora_rank,
        lora_alpha=strategy.lora_alpha,
        lora_dropout=0.0,
        target_modules=list(strategy.lora_targets) or "all-linear",
        # GPT-2's layers keep their weights the other way round.
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        task_type=task_type,
    )


def _adapted(model: Any, strategy: Any) -> Any:
    import peft

    config = lora_config(model, strategy, "CAUSAL_LM")
    try:
        with warnings.catch_warnings():
            # peft 0.21 reads a property that transformers 5.24 renames: nothing that a user could change.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            return peft.get_peft_model(model, config)
    except ValueError as error:
        raise ComponentError(f"{strategy.name}.lora_targets: {error}") from None


@contextlib.contextmanager
def own_randomness(device: str, *key: object) -> Iterator[None]:
    """Global random numbers (dropout, fresh adapters) drawn from ``key``; afterwards the caller's are back.

    Never held across the ``yield`` of a log row: what the caller draws meanwhile is his own.
    """
    import torch

    generators = [torch.default_generator]
    if device.startswith("cuda"):
        current, index = torch.cuda.current_device(), torch.device(device).index
        generators.append(torch.cuda.default_generators[current if index is None else index])
    states = [generator.get_state() for generator in generators]
    seed = random.Random(repr(key)).getrandbits(63)
    for generator in generators:
        generator.manual_seed(seed)
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def save_model(model: Any, tokenizer: Any, folder: Path, *, merge: bool) -> None:
    """Writes safetensors, tokenizer and generation config; adapters are merged, or saved by themselves.

    Whole models hold no path: the same training gives the same bytes wherever it ran. Adapters by themselves
    name the model that they belong to, a folder by its path, because peft finds it by that.
    """
    folder.mkdir(parents=True, exist_ok=True)
    is_adapted = hasattr(model, "merge_and_unload")
    if is_adapted and merge:
        model = model.merge_and_unload()
    with no_progress_bars():
        model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # peft writes sets, whose order changes from process to process.
    for name in ("config.json", "adapter_config.json"):
        if (folder / name).exists():
            _rewrite(folder / name)


def _rewrite(path: Path) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)
    if isinstance(config.get("target_modules"), list):
        config["target_modules"].sort()
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def write_card(
    folder: Path,
    strategy: Any,
    *,
    start: str,
    seed: int,
    n_rows: int,
    log: Sequence[Row],
    notes: Sequence[str] = (),
) -> None:
    """The model card: what was trained on how many rows with which settings, its losses, and ``notes``."""
    settings = {f.name: getattr(strategy, f.name) for f in dataclasses.fields(strategy)}
    # A folder by its name alone: where it lies is nobody's business.
    name = Path(start).name if Path(start).exists() else start
    tokens = f", completion tokens: {sum(row['tokens'] for row in log)}" if "tokens" in log[0] else ""
    lines = [
        "---",
        "library_name: transformers",
        "tags: [ilf]",
        "---",
        "",
        "# A model tuned with ilf",
        "",
        f"Tuned from `{name}` with `{type(strategy).__name__}` on {n_rows} rows, seed {seed}.",
        "",
        f"- updates: {len(log)}{tokens}",
        f"- loss: first update {log[0]['loss']:.4f}, last {log[-1]['loss']:.4f}",
        *(f"- {line}" for line in notes),
        "- settings: `" + json.dumps(settings, sort_keys=True) + "`",
        "",
        "Data, cost and grades stand in the run's folder; a model tuned on feedback repeats what its "
        "annotators and its start model got wrong. Measure it on your own data before you rely on it.",
        "",
    ]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")
