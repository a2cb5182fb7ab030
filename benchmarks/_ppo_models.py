"""Models and prompts for ppo.py: a start whose end token cannot be sampled, a reward model on its trunk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._other_environment import ROOT

NANO = ROOT / "ilf" / "worlds" / "checkpoints" / "nano"


def prepare(folder: str, size: str, rank: int) -> dict[str, Any]:
    """Writes start and reward model (with its adapter); their folders, and prompts as text and as ids."""
    import random

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config

    from ilf.strategies.reward import Reward
    from ilf.worlds.nano import Nano

    torch.manual_seed(0)
    torch.set_num_threads(1)
    if size == "1M":
        model = AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32)
    else:
        config = GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    vocabulary = model.config.vocab_size
    # Nobody can sample an end token outside of the vocabulary.
    for ids in (model.config, model.generation_config):
        ids.eos_token_id, ids.pad_token_id, ids.bos_token_id = vocabulary, None, None
    # TRL finds the end of a text by its padding, which must not be sampled either; the reward model is
    # trained with an end token that it can read.
    for name, end, pad in (("start", "<end>", "t1"), ("theirs", "<end>", "<pad>"), ("base", "t0", "t1")):
        model.save_pretrained(Path(folder) / name)
        words(vocabulary, end, pad).save_pretrained(Path(folder) / name)
    tokenizer, world = AutoTokenizer.from_pretrained(NANO), Nano()
    prompts = []
    for i in range(256):
        rng = random.Random(i)
        prompts.append(tokenizer(world.prompt(world.facts(rng, "train")))["input_ids"])
    rows = [
        {"prompt": text(ids), "chosen": text(ids[2:8]), "rejected": text(ids[3:12])} for ids in prompts[:8]
    ]
    strategy = Reward(lora_rank=rank, learning_rate=1e-4, batch_size=4, device="cpu", chat="never")
    list(strategy.train(rows, Path(folder), start=str(Path(folder) / "base"), seed=0))
    words(vocabulary, "<end>", "t1").save_pretrained(Path(folder) / "model")
    return {
        "start": str(Path(folder) / "start"),
        "their_policy": str(Path(folder) / "theirs"),
        "reward": str(Path(folder) / "model"),
        "prompts": prompts,
        "texts": [text(ids) for ids in prompts],
    }


def text(ids: Sequence[int]) -> str:
    return " ".join(f"t{i}" for i in ids)


def words(vocabulary: int, end: str, pad: str) -> Any:
    """A tokenizer with a word a token; ``<end>`` and ``<pad>`` come after all that a model knows."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    known = {f"t{i}": i for i in range(vocabulary)} | {"<end>": vocabulary, "<pad>": vocabulary + 1}
    raw = Tokenizer(models.WordLevel(known, unk_token="t0"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=end, pad_token=pad)
