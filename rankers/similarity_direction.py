"""Did the text move the way the person pointed?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from rankers._api import Query, critique_of, text_of
from rankers._encoder import Encoding, cosine

if TYPE_CHECKING:
    import numpy as np

#: Below this length a difference of embeddings is float noise: the encoder sees no change.
_NOISE = 1e-5


@dataclass(frozen=True)
class SimilarityDirection:
    """Cosine of (candidate - output) with the critique in embedding space: the change, not the topic.

    -1 where candidate and output are equal, to the encoder at least. Untested in the literature. Candidates
    of a query without a critique tie at 0.
    """

    encoder: str = "all-MiniLM-L6-v2"
    """``all-MiniLM-L6-v2``, a folder, or a hub id."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 is quicker on some processors and moves cosines by up to 0.006 and more."""
    device: str = "auto"
    batch_size: int = field(default=32, compare=False)
    cache: str | None = field(default=None, compare=False)
    """A folder that keeps vectors between runs."""

    needs_critique: ClassVar[bool] = True
    revision: ClassVar[int] = 1

    def score(self, queries: Sequence[Query], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """Cosine in [-1, 1] per candidate; RankerError where the encoder cannot be had."""
        anchors = [
            (text_of(query, "output", "similarity_direction"), critique_of(query, "similarity_direction"))
            if texts
            else ("", None)
            for query, texts in zip(queries, candidates, strict=True)
        ]
        needed = [
            text
            for (output, critique), texts in zip(anchors, candidates, strict=True)
            if critique is not None
            for text in (output, critique, *texts)
        ]
        vectors = Encoding(self.encoder, self.device, self.dtype, self.batch_size, self.cache).vectors(needed)
        return [
            [0.0 if critique is None else _direction(vectors, output, critique, text) for text in texts]
            for (output, critique), texts in zip(anchors, candidates, strict=True)
        ]


def _direction(vectors: Mapping[str, np.ndarray[Any, Any]], output: str, critique: str, text: str) -> float:
    change = vectors[text] - vectors[output]
    if text == output or float((change**2).sum()) < _NOISE**2:
        return -1.0
    return cosine(change, vectors[critique])
