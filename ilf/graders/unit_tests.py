"""Programs judged by running their tests, in a sandbox that the kernel keeps."""

from __future__ import annotations

import queue
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ilf.errors import DataError, UsageError, listed
from ilf.graders._sandbox import Limits, Sandbox, Verdict
from ilf.protocols import Grade, Row

#: How a program can fail; each is a part of the grade, 0 or 1, so that its mean is a share.
FAILURES = ("syntax", "exception", "assertion", "timeout", "memory", "exit", "result")


@dataclass(frozen=True)
class UnitTests:
    """1 where the row's program passes the row's tests in a sandboxed process, 0 where it does not.

    The tests are a text of Python in the column ``tests``: ``check(candidate)`` with assertions, as in MBPP
    and HumanEval, or assertions alone. They run in another process than the program, and only plain data
    passes between the two. Parts: one per kind of failure (``syntax``, ``exception`` raised, ``assertion``
    wrong answer, ``timeout``, ``memory``, ``exit`` of the process, ``result`` that is no plain data). The
    grade is None where the row has no tests or they cannot be run. Raises ComponentError where the machine
    has no sandbox. Details: ``docs/sandbox.md``.
    """

    tests: str = "test"
    """Column that holds the tests."""
    program: Literal["prompt+output", "output"] = "prompt+output"
    """The program is the output behind its prompt, or the output alone."""
    cpu_seconds: int = 5
    wall_seconds: int = 60
    """For programs that wait; one that computes meets it only on a machine twelve times overbooked."""
    memory_mib: int = 512
    processes: int = 1
    """Processes and threads that a program may have, itself counted."""
    workers: int = field(default=2, compare=False)
    """Programs run at the same time."""

    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for name in ("cpu_seconds", "wall_seconds", "memory_mib", "processes", "workers"):
            if getattr(self, name) < 1:
                raise UsageError(f"unit_tests.{name}: {getattr(self, name)} must be 1 or more.")

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that are read beside the text to grade."""
        return ("prompt", self.tests)

    def grade(self, rows: Sequence[Row]) -> list[Grade]:
        """One verdict per row: ``grade`` 1.0 or 0.0, the kinds of failure; ``reason`` where it is not 1.0."""
        programs = self._programs(rows)
        cases = [(p, row.get(self.tests), row) for p, row in zip(programs, rows, strict=True)]
        workers = min(self.workers, len(cases))
        limits = Limits(self.cpu_seconds, self.wall_seconds, self.memory_mib, self.processes)
        free: queue.SimpleQueue[Sandbox] = queue.SimpleQueue()

        def verdict(case: tuple[str, str | None, Row]) -> Verdict:
            program, tests, row = case
            if not isinstance(tests, str) or not tests.strip():
                return Verdict(None, reason=f"the row has no tests in the column '{self.tests}'")
            sandbox = free.get()
            try:
                return sandbox.run(program, tests, entry_point(row, program))
            finally:
                free.put(sandbox)

        with ExitStack() as stack:
            for _ in range(workers):
                free.put(stack.enter_context(Sandbox(limits)))
            with ThreadPoolExecutor(max(workers, 1)) as threads:
                return [_grade(found) for found in threads.map(verdict, cases)]

    def _programs(self, rows: Sequence[Row]) -> list[str]:
        if self.program == "output":
            return [row["output"] for row in rows]
        wrong = [
            f"row {row.get('id', i + 1)}" for i, row in enumerate(rows) if not isinstance(row["prompt"], str)
        ]
        if wrong:
            raise DataError(
                "unit_tests: a prompt of messages is no beginning of a program; set program: output. "
                f"{len(wrong)} row(s):\n{listed(wrong)}"
            )
        return [row["prompt"] + row["output"] for row in rows]


def entry_point(row: Row, program: str) -> str:
    """The function that ``check`` gets: the row's ``entry_point``, else the last that its prompt defines.

    Functions above the last are helpers that the task gives. Where the prompt has none, the program's last.
    """
    if isinstance(row.get("entry_point"), str):
        return str(row["entry_point"])
    for text in (row.get("prompt"), program):
        names = re.findall(r"^(?:async )?def\s+(\w+)", text, re.MULTILINE) if isinstance(text, str) else []
        if names:
            return str(names[-1])
    return ""


def _grade(verdict: Verdict) -> Grade:
    if verdict.passed is None:
        return {"grade": None, **dict.fromkeys(FAILURES), "reason": verdict.reason}
    parts = {kind: float(kind == verdict.kind) for kind in FAILURES}
    if verdict.passed:
        return {"grade": 1.0, **parts}
    return {"grade": 0.0, **parts, "reason": f"{verdict.kind}: {verdict.reason}"}
