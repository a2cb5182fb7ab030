"""A one-token world whose optimum is known: a prompt, a few words to answer with, and a reward for each.

    bandit = Bandit(tmp_path, reference=(0.5, 0.3, 0.2), rewards=(0.0, 1.0, 2.0))
    bandit.optimum(kl_coef=1.0)  # pi* ~ pi_ref exp(r / kl_coef), from the numbers alone
    bandit.policy(folder / "model")  # what a trained model answers with, from its logits

Start model and reward model are real folders with weights solved for these numbers: the start answers with one
word and the end token, and the reward model gives a text its word's reward at its end token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

END, PAD, PROMPT = "<|end|>", "<|pad|>", "ask"
WORDS = ("red", "green", "blue", "grey", "gold", "pink")
#: Log-odds of the end token against any other behind a word, and of a word against anything else before it.
SURE = 12.0
#: Standard deviation of what the heads of the words hold beyond the logits of the start.
SPREAD = 0.3


@dataclass(frozen=True)
class Bandit:
    """``reference`` are the start's probabilities of the words, ``rewards`` what the reward model gives them."""

    folder: Path
    reference: tuple[float, ...]
    rewards: tuple[float, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """The arms."""
        return WORDS[: len(self.rewards)]

    @property
    def start(self) -> str:
        """The start model's folder, made when first asked for."""
        folder = self.folder / "start"
        if not folder.exists():
            _save_start(folder, self)
        return str(folder)

    @property
    def reward(self) -> str:
        """The reward model's folder."""
        folder = self.folder / "reward"
        if not folder.exists():
            _save_reward(folder, self, self.start)
        return str(folder)

    def optimum(self, kl_coef: float) -> np.ndarray[Any, Any]:
        """The policy with the highest E[r] - kl_coef KL(policy || reference)."""
        weights = np.array(self.reference) * np.exp(np.array(self.rewards) / kl_coef)
        return np.asarray(weights / weights.sum())

    def worth(self, policy: np.ndarray[Any, Any], kl_coef: float) -> float:
        """E[r] - kl_coef KL(policy || reference), by summing over the words."""
        divergence = np.sum(policy * (np.log(policy) - np.log(self.reference)))
        return float(policy @ np.array(self.rewards) - kl_coef * divergence)

    def shortfall(self, policy: np.ndarray[Any, Any], kl_coef: float) -> float:
        """Share of the way from the reference's worth to the optimum's that a policy still has to go."""
        best, first = (self.worth(p, kl_coef) for p in (self.optimum(kl_coef), np.array(self.reference)))
        return (best - self.worth(policy, kl_coef)) / (best - first)

    def answers(self, model: Path | str) -> np.ndarray[Any, Any]:
        """What a model answers with: p(word, end token | prompt); what is missing to 1 goes to other texts."""
        import torch
        from transformers import AutoModelForCausalLM

        loaded = AutoModelForCausalLM.from_pretrained(model).double().eval()
        first = len(_SPECIAL)
        texts = torch.tensor([[_SPECIAL.index(PROMPT), first + i] for i in range(len(self.words))])
        with torch.no_grad():
            logprobs = loaded(input_ids=texts).logits.log_softmax(-1)
        at_word = logprobs[0, 0, first : first + len(self.words)]
        return np.asarray((at_word + logprobs[:, 1, _SPECIAL.index(END)]).exp().numpy())


_SPECIAL = (END, PAD, PROMPT)


def _save_start(folder: Path, bandit: Bandit) -> None:
    """A random Llama with the head that gives the wanted logits behind the prompt and behind every word."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    vocabulary = len(_SPECIAL) + len(bandit.words)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=64, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=16, tie_word_embeddings=False,
        initializer_range=0.2, eos_token_id=0, pad_token_id=1, bos_token_id=None,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        # Large enough for states that differ by their own word, so that the solved heads are small.
        torch.nn.init.normal_(model.model.embed_tokens.weight)
    model = model.double().eval()
    texts = torch.tensor([[_SPECIAL.index(PROMPT), len(_SPECIAL) + i] for i in range(len(bandit.words))])
    with torch.no_grad():
        states = model.model(input_ids=texts)[0]
        wanted = torch.full((1 + len(texts), vocabulary), -SURE, dtype=torch.float64)
        wanted[0, len(_SPECIAL) :] = torch.tensor(bandit.reference, dtype=torch.float64).log()
        wanted[1:, 0] = 0.0
        states = torch.cat([states[:1, 0], states[:, 1]])
        weights = _solved(states, wanted).T
        # What no state of the start sees: so that words differ, and the trunk has something to learn, too.
        unseen = torch.eye(64, dtype=torch.float64) - torch.linalg.pinv(states) @ states
        noise = torch.randn(weights.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        model.lm_head.weight.copy_(weights + SPREAD * noise @ unseen)
    model.float().save_pretrained(folder)
    _tokenizer(bandit.words).save_pretrained(folder)


def _save_reward(folder: Path, bandit: Bandit, start: str) -> None:
    """A classifier on the start's trunk with the head that gives every word its reward at the end token.

    Any other answer of one token, and none at all, gets less than the worst word.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(start, num_labels=1))
    model.base_model.load_state_dict(AutoModelForCausalLM.from_pretrained(start).model.state_dict())
    model = model.double().eval()
    prompt, vocabulary = _SPECIAL.index(PROMPT), len(_SPECIAL) + len(bandit.words)
    with torch.no_grad():
        states = model.base_model(input_ids=torch.tensor([[prompt, i, 0] for i in range(vocabulary)]))[0]
        # Behind the end token nothing counts.
        states = torch.cat([states[:1, 1], states[1:, 2]])
        others = [min(bandit.rewards) - 1] * len(_SPECIAL)
        wanted = torch.tensor([*others, *bandit.rewards], dtype=torch.float64)[:, None]
        model.score.weight.copy_(_solved(states, wanted).T)
    model.float().save_pretrained(folder)
    _tokenizer(bandit.words).save_pretrained(folder)


def _solved(states: Any, wanted: Any) -> Any:
    """The smallest weights W with states @ W = wanted: (hidden, outputs)."""
    import torch

    weights = torch.linalg.pinv(states) @ wanted
    assert torch.allclose(states @ weights, wanted, atol=1e-6)
    return weights


def _tokenizer(words: Sequence[str]) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate((*_SPECIAL, *words))}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token=PAD))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=END, pad_token=PAD)
