"""The examples in docs/rankers.md run."""

from __future__ import annotations

import doctest
from pathlib import Path

import rankers

DOC = Path(rankers.__file__).parent.parent / "docs" / "rankers.md"


def test_examples_run():
    failed, tried = doctest.testfile(str(DOC), module_relative=False)
    assert tried > 5
    assert failed == 0
