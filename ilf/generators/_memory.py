"""What strategies without weights kept in ``folder/model``, as generators read it, and what is near in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ilf.errors import ComponentError, DataError
from ilf.protocols import Row
from ilf.records import Rows, check, messages_text
from rankers import RankerError
from rankers._api import DECIMALS
from rankers._encoder import Encoding
from rankers._words import Words

#: Files that ``remember`` and ``distil_prompt`` write.
CRITIQUES, INSTRUCTION = "critiques.jsonl", "instruction.txt"


def read_critiques(memory: str, who: str) -> list[Row]:
    """The rows (``prompt output critique``) that ``remember`` kept in the folder ``memory``, oldest first."""
    rows = list(Rows(_file(memory, CRITIQUES, "remember", who)))
    check(rows, ("prompt", "output", "critique"), f"{who}.memory")
    if not rows:
        raise DataError(f"{who}.memory: {CRITIQUES} holds no critique.")
    return rows


def read_instruction(memory: str, who: str) -> str:
    """The instruction that ``distil_prompt`` wrote into the folder ``memory``, without space around it."""
    text = _file(memory, INSTRUCTION, "distil_prompt", who).read_text(encoding="utf-8").strip()
    if not text:
        raise DataError(f"{who}.memory: {INSTRUCTION} is empty.")
    return text


def _file(memory: str, name: str, strategy: str, who: str) -> Path:
    path = Path(memory) / name
    if not memory or not path.is_file():
        raise ComponentError(
            f"{who}.memory: there is no {name} in '{memory}'. Name a train step with the strategy {strategy} "
            f"(memory: steps.NAME), or the folder that it wrote."
        )
    return path


class Near:
    """Which of some prompts are nearest to another: by their words, or as a sentence encoder sees them."""

    def __init__(self, prompts: Sequence[Any], encoder: str, device: str, who: str) -> None:
        self._texts = [messages_text(prompt) for prompt in prompts]
        self._encoding = Encoding(encoder, device) if encoder else None
        self._who = who
        self._words = None if encoder else Words(self._texts)
        self._matrix = self._vectors(self._texts) if encoder else None  # (texts, width), rows of length 1

    def nearest(self, prompts: Sequence[Any], k: int) -> list[list[int]]:
        """Indices of the ``k`` nearest per prompt, best first; of equals the first."""
        texts = [messages_text(prompt) for prompt in prompts]
        if self._words is not None:
            return [self._words.nearest(text, k) for text in texts]
        import numpy as np

        # A product for each text, so that what is near does not depend on the others that are asked.
        scores = [np.round(self._matrix @ vector, DECIMALS) for vector in self._vectors(texts)]
        return [np.argsort(-row, kind="stable")[:k].tolist() for row in scores]

    def _vectors(self, texts: Sequence[str]) -> Any:
        import numpy as np

        if self._encoding is None or not texts:
            return np.zeros((0, 0))
        try:
            found = self._encoding.vectors(texts)
        except RankerError as error:
            raise ComponentError(f"{self._who}.encoder: {error}") from None
        rows = np.stack([found[text] for text in texts])
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.where(lengths == 0, 1.0, lengths)
