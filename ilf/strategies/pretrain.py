"""Pretraining a small Llama from nothing on the episodes of a world."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from ilf.errors import ComponentError, UsageError
from ilf.protocols import Row, World
from rankers._lm import resolve_device

#: Episodes that are sorted by length together, so that a batch has little padding.
_BATCHES_SORTED_TOGETHER = 8
_EOS, _PAD = "<|end|>", "<|pad|>"
_IGNORED = -100


@dataclass(frozen=True)
class Pretrain:
    """Trains a byte-level BPE tokenizer and a Llama from nothing on fresh episodes of a world.

    It reads no rows and no start model. Next-token loss on completions and their end token only, AdamW,
    linear warm-up, a constant rate for the share ``hold`` of all ``tokens``, then a cosine to 2 % of it: a
    rate that falls early leaves the slots that are learnt last (jobs, prices) unlearnt. ``tokens`` counts
    prompts and completions without padding.
    """

    world: World
    tokens: int = 9_500_000
    batch_size: int = 32
    learning_rate: float = 3e-3
    warmup_steps: int = 60
    hold: float = 0.5
    weight_decay: float = 0.05
    vocabulary: int = 1280
    tokenizer_episodes: int = 15_000
    hidden: int = 128
    intermediate: int = 344
    layers: int = 4
    heads: int = 4
    context_tokens: int = 512
    stored: Literal["float16", "float32"] = "float16"
    device: str = "auto"
    log_every: int = 100

    needs: ClassVar[tuple[str, ...]] = ()
    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuses settings with which no schedule and no batch can be made."""
        if not 0.0 <= self.hold < 1.0:
            raise UsageError(f"hold: {self.hold} is no share in [0, 1).")
        for name in ("tokens", "batch_size", "warmup_steps", "log_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}: {getattr(self, name)} must be at least 1.")

    def train(
        self,
        rows: Sequence[Row],
        folder: Path,
        *,
        start: str,
        seed: int,
        probe: Callable[[Sequence[Row]], Mapping[str, float]] | None = None,
    ) -> Iterator[Row]:
        """Writes ``folder/model`` whenever it logs; a row's loss is the mean since the last, in nats.

        ``probe`` is not asked: nothing is sampled.
        """
        import torch

        device = resolve_device(self.device)
        tokenizer = self.tokenizer(random.Random(f"tokenizer {seed}"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self._model(tokenizer).to(device)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=0.0, betas=(0.9, 0.98), weight_decay=self.weight_decay, fused=True
        )
        seen, loss_sum, n_targets = 0, 0.0, 0
        for step, batch in enumerate(self._batches(tokenizer, random.Random(f"episodes {seed}")), start=1):
            rate = self.rate(step, seen)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss, n = self._loss(model, batch, device)
            (loss / n).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            seen += sum(len(ids) for ids, _ in batch)
            loss_sum, n_targets = loss_sum + loss.item(), n_targets + n
            is_last = seen >= self.tokens
            if step % self.log_every == 0 or is_last:
                self._save(model, tokenizer, folder / "model")
                yield {
                    "step": step,
                    "tokens": seen,
                    "loss": loss_sum / n_targets,
                    "learning_rate": rate,
                }
                loss_sum, n_targets = 0.0, 0
            if is_last:
                return

    def rate(self, step: int, seen: int) -> float:
        """The learning rate of a step (from 1) after ``seen`` tokens."""
        progress = max(0.0, seen / self.tokens - self.hold) / (1.0 - self.hold)
        cosine = 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
        return self.learning_rate * min(1.0, step / self.warmup_steps) * cosine

    def tokenizer(self, rng: random.Random) -> Any:
        """A byte-level BPE tokenizer trained on the world's own text; ids 0 and 1 are end and padding."""
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
        from transformers import PreTrainedTokenizerFast

        bpe = Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocabulary,
            special_tokens=[_EOS, _PAD],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        episodes = itertools.islice(self.world.episodes(rng), self.tokenizer_episodes)
        bpe.train_from_iterator((prompt + completion for prompt, completion in episodes), trainer)
        return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_object=bpe,
            eos_token=_EOS,
            pad_token=_PAD,
            model_max_length=self.context_tokens,
            clean_up_tokenization_spaces=False,
        )

    def _model(self, tokenizer: Any) -> Any:
        from transformers import LlamaConfig, LlamaForCausalLM

        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=self.hidden,
                intermediate_size=self.intermediate,
                num_hidden_layers=self.layers,
                num_attention_heads=self.heads,
                max_position_embeddings=self.context_tokens,
                tie_word_embeddings=True,
                bos_token_id=None,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )

    def _batches(self, tokenizer: Any, rng: random.Random) -> Iterator[list[tuple[list[int], int]]]:
        """Endless batches of (token ids, number of prompt tokens), of similar length within a batch."""
        episodes = self.world.episodes(rng)
        while True:
            group = list(itertools.islice(episodes, _BATCHES_SORTED_TOGETHER * self.batch_size))
            prompts = tokenizer([prompt for prompt, _ in group])["input_ids"]
            completions = tokenizer([completion for _, completion in group])["input_ids"]
            encoded = [
                (p + c + [tokenizer.eos_token_id], len(p)) for p, c in zip(prompts, completions, strict=True)
            ]
            encoded.sort(key=lambda item: len(item[0]))
            if len(encoded[-1][0]) > self.context_tokens:
                raise ComponentError(
                    f"pretrain: an episode has {len(encoded[-1][0])} tokens, more than context_tokens = "
                    f"{self.context_tokens}; raise context_tokens."
                )
            batches = [encoded[i : i + self.batch_size] for i in range(0, len(encoded), self.batch_size)]
            rng.shuffle(batches)
            yield from batches

    def _loss(self, model: Any, batch: Sequence[tuple[list[int], int]], device: str) -> tuple[Any, int]:
        """Summed loss in nats over the completion tokens of a batch, and how many they are."""
        import torch

        longest = max(len(ids) for ids, _ in batch)
        tokens = torch.full((len(batch), longest), model.config.pad_token_id)  # (B, T)
        targets = torch.full((len(batch), longest), _IGNORED)  # (B, T), shifted by one
        for i, (ids, n_prompt) in enumerate(batch):
            tokens[i, : len(ids)] = torch.tensor(ids)
            targets[i, n_prompt - 1 : len(ids) - 1] = tokens[i, n_prompt : len(ids)]
        # Padding is on the right, where no token that counts looks: no attention mask.
        hidden = model.model(input_ids=tokens.to(device), use_cache=False).last_hidden_state  # (B, T, D)
        at = targets != _IGNORED
        logits = model.lm_head(hidden[at.to(device)])  # (completion tokens, V)
        return torch.nn.functional.cross_entropy(logits, targets[at].to(device), reduction="sum"), int(
            at.sum()
        )

    def _save(self, model: Any, tokenizer: Any, folder: Path) -> None:
        """Weights in the ``stored`` precision, tokenizer and generation config; loads as float32."""
        import torch
        from safetensors.torch import save
        from transformers import GenerationConfig

        folder.mkdir(parents=True, exist_ok=True)
        weights = {
            name: tensor.detach().to("cpu", getattr(torch, self.stored)).contiguous()
            for name, tensor in model.state_dict().items()
            if name != "lm_head.weight"  # tied to the embeddings
        }
        (folder / "model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))
        tokenizer.save_pretrained(folder)
        ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
        generation = GenerationConfig(**ends, max_new_tokens=64)  # type: ignore[no-untyped-call]
        generation.save_pretrained(folder)
        # Whoever loads without saying a precision gets the one of training.
        config = {k: v for k, v in model.config.to_diff_dict().items() if k != "_name_or_path"}
        config |= {"architectures": ["LlamaForCausalLM"], "dtype": "float32"}
        (folder / "config.json").write_text(
            json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8"
        )
