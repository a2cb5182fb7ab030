"""ilf: language models that learn from what people say about their answers.

The verbs are functions on rows: ``load``, ``sample``, ``collect``, ``refine``, ``choose``, ``train``,
``evaluate``. Importing ilf costs nothing; each name is loaded when it is first used (PEP 562).
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ilf.buy import buy as buy
    from ilf.choice import choice as choice
    from ilf.choose import choose as choose
    from ilf.collect import collect as collect
    from ilf.compare import compare as compare
    from ilf.evaluate import evaluate as evaluate
    from ilf.load import load as load
    from ilf.pair import pair as pair
    from ilf.refine import refine as refine
    from ilf.sample import sample as sample
    from ilf.select import select as select
    from ilf.settle import settle as settle
    from ilf.train import train as train
    from ilf.unlabel import unlabel as unlabel

_VERBS = (
    "load", "sample", "select", "collect", "settle", "buy", "unlabel", "refine", "choose", "choice", "pair",
    "train", "evaluate", "compare",
)  # fmt: skip
_NAMES = {
    **{verb: f"ilf.{verb}" for verb in _VERBS},
    "read_recipe": "ilf.recipe",
    "run_recipe": "ilf.run",
    "shipped": "ilf.recipe",
    "DataError": "ilf.errors",
    "IlfError": "ilf.errors",
    "UsageError": "ilf.errors",
    "Waiting": "ilf.errors",
    "TransformersLM": "ilf.generators.transformers_lm",
    "BestOfN": "ilf.generators.best_of_n",
    "SelfRefine": "ilf.generators.self_refine",
    "CritiquesInContext": "ilf.generators.critiques_in_context",
    "PromptFromCritiques": "ilf.generators.prompt_from_critiques",
    "SFT": "ilf.strategies.sft",
    "Reward": "ilf.strategies.reward",
    "PPO": "ilf.strategies.ppo",
    "RLOO": "ilf.strategies.rloo",
    "DPO": "ilf.strategies.dpo",
    "KTO": "ilf.strategies.kto",
    "CFT": "ilf.strategies.cft",
    "SDPO": "ilf.strategies.sdpo",
    "CritiqueReward": "ilf.strategies.critique_reward",
    "Remember": "ilf.strategies.remember",
    "DistilPrompt": "ilf.strategies.distil_prompt",
    "Nano": "ilf.worlds.nano",
    "WordRemoval": "ilf.worlds.word_removal",
    "Judge": "ilf.feedback.judge",
    "Simulated": "ilf.feedback.simulated",
    "LabelStudio": "ilf.feedback.label_studio",
    "Oracle": "ilf.rankers.oracle",
    "WorldGrader": "ilf.graders.world",
    "UnitTests": "ilf.graders.unit_tests",
}

__all__ = sorted(_NAMES)  # noqa: PLE0605 - a test compares it with what is really there


class _Package(types.ModuleType):
    """``ilf.refine`` is the verb, also after its module of the same name was imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _VERBS and isinstance(value, types.ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'ilf' has no attribute '{name}'")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    setattr(sys.modules[__name__], name, value)
    return value


def __dir__() -> list[str]:
    return list(__all__)
