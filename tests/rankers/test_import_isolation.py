"""Importing rankers costs nothing, and what is exported is really there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import rankers

HEAVY = {"torch", "transformers", "numpy", "sentence_transformers", "datasets", "sqlite3"}
ROOT = Path(rankers.__file__).parent.parent


def _loaded_by(code: str, folder: Path) -> set[str]:
    """Top-level modules in a new interpreter after the code, run in ``folder`` with nothing else on its path."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}; print(' '.join(sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    return {name.partition(".")[0] for name in answer.stdout.split()}


@pytest.mark.parametrize(
    "code",
    [
        "import rankers; rankers.Length",
        "from rankers import *",
        "from rankers import Similarity, Fixpoint, Ensemble, rank, best, fill; Similarity(); Fixpoint()",
        "from rankers import Length, Chance, rank; rank(Length(), {}, ['a', 'b'])",
    ],
)
def test_no_ilf_and_nothing_heavy(code, tmp_path):
    loaded = _loaded_by(code, tmp_path)
    assert "rankers" in loaded
    assert "ilf" not in loaded
    assert not loaded & HEAVY


def test_exported_names_are_there():
    for name in rankers.__all__:
        assert getattr(rankers, name).__name__ in {name, name.capitalize()}
    assert {"Ranker", "RankerError", "Similarity", "SimilarityDirection", "rank", "best", "fill"} <= set(
        rankers.__all__
    )
    with pytest.raises(AttributeError, match="Similarty"):
        _ = rankers.Similarty


def test_a_file_is_enough(tmp_path, monkeypatch):
    """Every file is exported under its own name; the lazy lookup reads the folder, so a new one needs no list."""
    stems = {path.stem for path in Path(rankers.__file__).parent.glob("[!_]*.py")}
    exported = {type_.__module__ for type_ in map(rankers.__getattr__, rankers._components())}
    assert exported == {f"rankers.{stem}" for stem in stems}
