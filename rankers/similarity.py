"""Nearness in meaning to what the person said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from rankers._api import Query, critique_of, text_of
from rankers._encoder import Encoding, cosine


@dataclass(frozen=True)
class Similarity:
    """Cosine of critique and candidate under a sentence encoder.

    The ranker of Scheurer et al. 2022 (2204.14146), at chance in their 2023 study (48.3 %): a candidate that
    echoes "remove X" says X. ``against="prompt"`` compares with the prompt instead and reads no critique: a
    control. Candidates of a query without a critique tie at 0.
    """

    encoder: str = "all-MiniLM-L6-v2"
    """``all-MiniLM-L6-v2``, a folder, or a hub id."""
    against: Literal["critique", "prompt"] = "critique"
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 is quicker on some processors and moves cosines by up to 0.006."""
    device: str = "auto"
    batch_size: int = field(default=32, compare=False)
    cache: str | None = field(default=None, compare=False)
    """A folder that keeps vectors between runs."""

    revision: ClassVar[int] = 1

    @property
    def needs_critique(self) -> bool:
        """Whether critiques are read."""
        return self.against == "critique"

    def score(self, queries: Sequence[Query], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """Cosine in [-1, 1] per candidate; RankerError where the encoder cannot be had."""
        anchors = [
            self._anchor(query) if texts else None for query, texts in zip(queries, candidates, strict=True)
        ]
        pairs = [
            (anchor, texts) for anchor, texts in zip(anchors, candidates, strict=True) if anchor is not None
        ]
        encoding = Encoding(self.encoder, self.device, self.dtype, self.batch_size, self.cache)
        vectors = encoding.vectors(text for anchor, texts in pairs for text in (anchor, *texts))
        return [
            [0.0 if anchor is None else cosine(vectors[anchor], vectors[text]) for text in texts]
            for anchor, texts in zip(anchors, candidates, strict=True)
        ]

    def _anchor(self, query: Query) -> str | None:
        if self.against == "critique":
            return critique_of(query, "similarity")
        return text_of(query, "prompt", "similarity")
