"""Rankers: which of these candidate texts uses the critique best? Usable alone, knows nothing of ilf.

    from rankers import Similarity, rank order = rank(Similarity(), {"critique": "The price is missing."},
    ["He bought a lamp.", "He paid 40 for a lamp."])

Importing this package costs nothing; each name is loaded when it is first used (PEP 562). A ranker is one
file here, with one public frozen dataclass named like the file: ``critique_perplexity.py`` gives
``rankers.CritiquePerplexity``.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rankers._api import Pick as Pick
    from rankers._api import Ranker as Ranker
    from rankers._api import RankerError as RankerError
    from rankers._api import best as best
    from rankers._api import missing_model as missing_model
    from rankers._api import rank as rank
    from rankers._lm import fill as fill
    from rankers.chance import Chance as Chance
    from rankers.consensus import Consensus as Consensus
    from rankers.critique_perplexity import CritiquePerplexity as CritiquePerplexity
    from rankers.ensemble import Ensemble as Ensemble
    from rankers.fixpoint import Fixpoint as Fixpoint
    from rankers.heeded import Heeded as Heeded
    from rankers.judge import Judge as Judge
    from rankers.length import Length as Length
    from rankers.likelihood import Likelihood as Likelihood
    from rankers.overlap import Overlap as Overlap
    from rankers.reward import Reward as Reward
    from rankers.similarity import Similarity as Similarity
    from rankers.similarity_direction import SimilarityDirection as SimilarityDirection

_HELPERS = {
    "Pick": "_api",
    "Ranker": "_api",
    "RankerError": "_api",
    "best": "_api",
    "fill": "_lm",
    "missing_model": "_api",
    "rank": "_api",
}


def _components() -> dict[str, str]:
    """Class name -> module name of every ranker, from the files in this folder."""
    stems = (path.stem for path in sorted(Path(__file__).parent.glob("[!_]*.py")))
    return {"".join(part.capitalize() for part in stem.split("_")): stem for stem in stems}


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return sorted({**_components(), **_HELPERS})
    if name in _HELPERS:
        module = _HELPERS[name]
    elif re.fullmatch(r"[A-Z][A-Za-z0-9]*", name) and name in (components := _components()):
        module = components[name]
    else:
        raise AttributeError(f"module 'rankers' has no attribute '{name}'")
    return getattr(importlib.import_module(f"rankers.{module}"), name)


def __dir__() -> list[str]:
    return sorted({**globals(), **_components(), **_HELPERS})
