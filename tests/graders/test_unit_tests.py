"""unit_tests: what a row needs, which function is tested, and what a grade says."""

from __future__ import annotations

from typing import Any

import pytest

from ilf.errors import ComponentError, DataError, UsageError
from ilf.graders import unit_tests
from ilf.graders._sandbox import NAMESPACES, Sandbox
from ilf.graders.unit_tests import FAILURES, UnitTests, entry_point
from ilf.protocols import Grader, Row

PROMPT = 'def add(a, b):\n    """Adds."""\n'
CHECK = "def check(candidate):\n    assert candidate(2, 3) == 5\n    assert candidate(-1, 1) == 0\n"


def row(output: str, **more: Any) -> Row:
    return {"id": "x", "prompt": PROMPT, "output": output, "test": CHECK, **more}


OUTPUTS = {
    "    return a + b\n": None,
    "    return a + b\r\n": None,
    "    return a - b\n": "assertion",
    "    return a +\n": "syntax",
    "    return a + c\n": "exception",
    "    import os\n    os._exit(0)\n": "exit",
    "    return bytearray(1 << 30)\n": "memory",
    "    while True:\n        a += b\n": "timeout",
    "    return lambda: a + b\n": "result",
}


def test_a_grade_is_one_or_zero_with_the_kind_of_failure() -> None:
    grades = UnitTests(cpu_seconds=1).grade([row(output) for output in OUTPUTS])
    for found, kind in zip(grades, OUTPUTS.values(), strict=True):
        assert found["grade"] == float(kind is None)
        assert {name: found[name] for name in FAILURES} == {name: float(name == kind) for name in FAILURES}
        assert str(found.get("reason", "None")).startswith(str(kind))


def test_it_is_a_grader_and_says_what_it_reads() -> None:
    assert isinstance(UnitTests(), Grader)
    assert UnitTests(tests="checks").needs == ("prompt", "checks")
    assert UnitTests().grade([]) == []


def test_rows_that_cannot_be_graded_have_no_grade() -> None:
    good = "    return a + b\n"
    rows = [row(good, test=None), row(good, test="  "), row(good, test="def check(c:"), row(good)]
    del rows[0]["test"]
    grades = UnitTests().grade(rows)
    assert [found["grade"] for found in grades] == [None, None, None, 1.0]
    assert {found["assertion"] for found in grades[:3]} == {None}
    assert "no tests in the column 'test'" in str(grades[0]["reason"])
    assert "does not compile" in str(grades[2]["reason"])


def test_the_output_alone_may_be_the_program() -> None:
    whole = {
        **row("def add(a, b):\n    return a + b\n"),
        "prompt": [{"role": "user", "content": "Write add."}],
    }
    assert UnitTests(program="output").grade([whole])[0]["grade"] == 1.0
    with pytest.raises(DataError, match=r"set program: output.*1 row"):
        UnitTests().grade([whole])


def test_the_column_of_the_tests_is_a_setting() -> None:
    assert (
        UnitTests(tests="checks").grade([row("    return 5\n", checks="assert add(2, 3) == 5")])[0]["grade"]
        == 1.0
    )


@pytest.mark.parametrize(
    ("prompt", "program", "name"),
    [
        (PROMPT, "", "add"),
        ("def helper(x):\n    return x\n\ndef main_one(x):\n", "", "main_one"),
        ("class A:\n    def inner(self):\n        pass\ndef outer():\n", "", "outer"),
        ("async def later(x):\n", "", "later"),
        ("Write a function.", "def first():\n    pass\ndef last():\n    pass\n", "last"),
        ([{"role": "user", "content": "def no():\n"}], "def yes():\n    pass\n", "yes"),
        ("Write a lambda.", "f = lambda: 1\n", ""),
    ],
)
def test_which_function_is_tested(prompt: Any, program: str, name: str) -> None:
    assert entry_point({"prompt": prompt}, program) == name
    assert entry_point({"prompt": prompt, "entry_point": "given"}, program) == "given"


def test_the_number_of_workers_changes_no_grade() -> None:
    rows = [row(f"    return a + b + {i % 3}\n", id=str(i)) for i in range(20)]
    assert UnitTests(workers=1).grade(rows) == UnitTests(workers=3).grade(rows)
    assert UnitTests(workers=1) == UnitTests(workers=3), "no part of a run's address"


@pytest.mark.parametrize("name", ["cpu_seconds", "wall_seconds", "memory_mib", "processes", "workers"])
def test_limits_are_positive(name: str) -> None:
    with pytest.raises(UsageError, match=rf"unit_tests.{name}: 0"):
        UnitTests(**{name: 0})


def test_no_program_runs_where_there_is_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(ComponentError, match="docs/sandbox.md"):
        UnitTests().grade([row("    return a + b\n")])


def test_it_runs_in_the_whole_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every namespace; and the limits are those of the settings."""
    made: list[Sandbox] = []

    class Seen(Sandbox):
        def __enter__(self) -> Sandbox:
            made.append(self)
            return super().__enter__()

    monkeypatch.setattr(unit_tests, "Sandbox", Seen)
    UnitTests(cpu_seconds=2, wall_seconds=9, memory_mib=300, processes=2, workers=1).grade(
        [row("    return 5\n")]
    )
    assert made[0].namespaces == NAMESPACES
    limits = made[0].limits
    assert (limits.cpu_seconds, limits.wall_seconds, limits.memory_mib, limits.processes) == (2, 9, 300, 2)
