"""A stand-in for ``pytest`` with its ``approx`` alone: tests that import it are graded without pytest.

It answers as pytest 9.2 does for numbers, None, texts, lists, tuples and dicts (a test holds it against the
real one); numpy arrays, dates and Decimals with float tolerances are left out: none can reach a test of the
sandbox.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from numbers import Complex
from types import ModuleType
from typing import Any

_RELATIVE, _ABSOLUTE = 1e-6, 1e-12


def approx(expected: Any, rel: float | None = None, abs: float | None = None, nan_ok: bool = False) -> Approx:
    """Equals whatever is near ``expected``: within 1e-6 of its size or 1e-12, the larger of the two."""
    if isinstance(expected, Mapping):
        return _ApproxMapping(expected, rel, abs, nan_ok)
    if isinstance(expected, Collection) and not isinstance(expected, (str, bytes)):
        if not hasattr(expected, "__getitem__"):
            raise TypeError(f"approx() only supports ordered sequences, but got: {expected!r}")
        return _ApproxSequence(expected, rel, abs, nan_ok)
    return Approx(expected, rel, abs, nan_ok)


class Approx:
    """One expected number; anything else must be equal."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, expected: Any, rel: float | None, absolute: float | None, nan_ok: bool) -> None:
        self.expected, self.rel, self.absolute, self.nan_ok = expected, rel, absolute, nan_ok

    def __repr__(self) -> str:
        return f"approx({self.expected!r})"

    def __bool__(self) -> bool:
        raise AssertionError("approx() is not supported in a boolean context. Use: assert a == approx(b)")

    def __ne__(self, actual: object) -> bool:
        return not self == actual

    def __eq__(self, actual: object) -> bool:
        expected: Any = self.expected
        if isinstance(expected, bool) and not isinstance(actual, bool):
            return False
        if actual == expected:
            return True
        if isinstance(expected, bool) or not (isinstance(expected, Complex) and isinstance(actual, Complex)):
            return False
        size = float(abs(expected))
        if math.isnan(size):
            return self.nan_ok and math.isnan(abs(actual))
        return not math.isinf(size) and bool(abs(expected - actual) <= self._tolerance())

    def _tolerance(self) -> Any:
        absolute = _ABSOLUTE if self.absolute is None else self.absolute
        relative = (_RELATIVE if self.rel is None else self.rel) * abs(self.expected)
        if self.rel is None and self.absolute is not None:
            relative = absolute  # an absolute tolerance alone switches the relative one off
        if min(relative, absolute) < 0 or math.isnan(relative) or math.isnan(absolute):
            raise ValueError(f"a tolerance cannot be negative or NaN: rel={self.rel}, abs={self.absolute}")
        return max(relative, absolute)

    def _all_near(self, pairs: Iterable[tuple[Any, Any]]) -> bool:
        return all(actual == Approx(wanted, self.rel, self.absolute, self.nan_ok) for actual, wanted in pairs)

    def _refuse_nested(self, values: Iterable[Any]) -> None:
        for value in values:
            if isinstance(value, Collection) and not isinstance(value, (str, bytes, bytearray)):
                raise TypeError(f"approx() does not support nested data structures: {value!r}")


class _ApproxMapping(Approx):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._refuse_nested(self.expected.values())

    def __eq__(self, actual: object) -> bool:
        if not isinstance(actual, Mapping) or set(actual) != set(self.expected):
            return False
        return self._all_near((actual[key], value) for key, value in self.expected.items())


class _ApproxSequence(Approx):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._refuse_nested(self.expected)

    def __eq__(self, actual: Any) -> bool:
        try:
            if len(actual) != len(self.expected):
                return False
        except TypeError:
            return False
        return self._all_near(zip(actual, self.expected, strict=True))


def pytest_stand_in() -> ModuleType:
    """The module that a test gets from ``import pytest``."""
    module = ModuleType("pytest", "ilf's stand-in: approx alone.")
    module.approx = approx  # type: ignore[attr-defined]
    return module
