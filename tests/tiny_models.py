"""Tiny random causal language models, built from their configuration classes: no download, a tenth of a
second.

    folder = tiny_model(tmp_path / "llama", "llama")
    model = AutoModelForCausalLM.from_pretrained(folder)

They know nothing, but their logits depend strongly on every token and on its position, so that a wrong mask,
a wrong position or a wrong label shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

EOS, PAD, BOS = "<|endoftext|>", "<|pad|>", "<|begin|>"

_LINES = (
    "Anna the cook from Brimley had trouble with her lamp, paid 40 coins.",
    "POST: My name is Tom. I broke the kettle. It cost me 270 coins.\nTL;DR: Tom broke his kettle.",
    "FEEDBACK: the price is missing, and it was a kettle.\nBETTER: Tom broke a kettle, which cost 270 coins.",
    "def add(a, b):\n    return a + b\n",
)
_CHAT = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tiny_model(
    folder: Path | str,
    kind: Literal["llama", "qwen2", "gpt2"] = "llama",
    *,
    seed: int = 0,
    bos: bool = False,
    chat: bool = False,
    positions: int = 512,
) -> Path:
    """Writes a random model of 20,000 to 35,000 parameters with its tokenizer into ``folder`` and returns the
    folder.

    ``bos`` gives a tokenizer that puts a begin token before every text, ``chat`` one with a chat template.
    """
    import torch
    from transformers import AutoModelForCausalLM

    folder = Path(folder)
    tokenizer = _tokenizer(bos, chat)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(_config(kind, len(tokenizer), tokenizer, positions))
    model.float().eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_reward_model(folder: Path | str, base: Path | str, *, seed: int = 0, mean: float = 0.0) -> Path:
    """Writes a reward model on the trunk of a tiny model: a sequence classifier with one label, random head."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = Path(folder)
    tokenizer = AutoTokenizer.from_pretrained(base)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_pretrained(
            base, num_labels=1, pad_token_id=tokenizer.pad_token_id, dtype=torch.float32
        )
        torch.nn.init.normal_(model.score.weight, std=(model.config.hidden_size + 1) ** -0.5)
    model.config.reward_mean = mean
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(bos: bool, chat: bool) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = [EOS, PAD, BOS] if bos else [EOS, PAD]
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    raw.train_from_iterator(_LINES, trainer)
    if bos:
        raw.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 2)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token=EOS, pad_token=PAD, **({"bos_token": BOS} if bos else {})
    )
    if chat:
        tokenizer.chat_template = _CHAT
    return tokenizer


def _config(kind: str, vocabulary: int, tokenizer: Any, positions: int) -> Any:
    from transformers import GPT2Config, LlamaConfig, Qwen2Config

    ends = {
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
    }
    if kind == "gpt2":
        return GPT2Config(
            vocab_size=vocabulary, n_positions=positions, n_embd=24, n_layer=2, n_head=2,
            initializer_range=0.2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **ends,
        )  # fmt: skip
    config = {"llama": LlamaConfig, "qwen2": Qwen2Config}[kind]
    return config(
        vocab_size=vocabulary, hidden_size=24, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=positions,
        tie_word_embeddings=True, initializer_range=0.2, attention_dropout=0.0, **ends,
    )  # fmt: skip
