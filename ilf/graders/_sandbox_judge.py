"""The two processes behind a verdict: the program, which answers calls, and the judge, which runs the test.

They share nothing but a socket that carries plain data. The test and the values it expects are never in the
program's process, and no object of the program's is ever in the judge's: a program passes by answering right,
or not at all.
"""

from __future__ import annotations

import builtins
import os
import socket
import sys
import traceback
from collections.abc import Iterator
from functools import partial
from types import CodeType, FunctionType, ModuleType
from typing import Any, NoReturn

from ilf.graders import _sandbox_wire as wire
from ilf.graders._approx import pytest_stand_in

_LONGEST_REASON = 300
_SIGKILL, _SIGXCPU = 9, 24


# ---------------------------------------------------------------------------------------- the program's
# process


def serve(channel: socket.socket, program: str) -> None:
    """Loads the program as a module of its own and answers calls of its functions until the channel ends."""
    module = sys.modules["program"] = ModuleType("program")
    try:
        # Not under __main__: what a script does when it is started is no part of its functions.
        code = compile(program, "<program>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        wire.send(channel, {"failed": ["syntax", _said(error)]})
        return
    try:
        exec(code, module.__dict__)  # noqa: S102 - what the sandbox is for
    except BaseException as error:  # noqa: BLE001 - SystemExit and all others alike: it did not load
        wire.send(channel, {"failed": [_kind(error), _said(error)]})
        return
    wire.send(channel, {"loaded": True})
    while True:
        try:
            request = wire.receive(channel)
        except EOFError:
            return
        answer = _answer(module, request)
        try:
            wire.send(channel, answer)
        except wire.NotPlain as error:
            wire.send(channel, {"opaque": f"text of {error}"})


def _answer(module: ModuleType, request: dict[str, Any]) -> dict[str, Any]:
    try:
        function = vars(module)[request["call"]]
    except KeyError:
        return {"raised": ["exception", "NameError", f"the program has no '{request['call']}'"]}
    try:
        value = function(*wire.decode(request["arguments"]), **wire.decode(request["named"]))
        return {"value": wire.encode(value)}
    except wire.NotPlain as error:
        return {"opaque": str(error)}
    except BaseException as error:  # noqa: BLE001 - whatever it raises is its answer
        return {"raised": [_kind(error), type(error).__name__, _text(error)]}


def _kind(error: BaseException) -> str:
    return "memory" if isinstance(error, MemoryError) else "exception"


def _said(error: BaseException) -> str:
    text = _text(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _text(error: BaseException) -> str:
    try:
        return str(error)[:_LONGEST_REASON]
    except BaseException:  # noqa: BLE001 - a program's exception may have any __str__
        return ""


# ------------------------------------------------------------------------------------------ the judge's
# process


class _Ended(BaseException):
    """The program can answer no more; not an Exception, so that no test catches it by accident."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(kind, reason)
        self.kind, self.reason = kind, reason


class _Unfit(BaseException):
    """The test asks for what cannot be done here: the verdict is unknown."""


class _Opaque:
    """Stands for an answer that is no plain data: equal to nothing, and of no use."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"<{self.kind}>"


class _Program:
    """The program as its test sees it."""

    def __init__(self, channel: socket.socket, pid: int, cpu_seconds: int) -> None:
        self.channel, self.pid, self.cpu_seconds = channel, pid, cpu_seconds
        self.calls = 0
        self.raised: BaseException | None = None
        self.kind = "exception"
        self.opaque = ""

    def load(self) -> None:
        """Waits until the program is loaded; raises _Ended where it could not be."""
        message = self._receive()
        if "failed" in message:
            kind, reason = message["failed"]
            raise _Ended(str(kind), str(reason))

    def call(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Calls a function of the program's: its answer, or its exception raised here."""
        self.calls += 1
        try:
            sent = {"call": name, "arguments": wire.encode(list(arguments)), "named": wire.encode(named)}
            wire.send(self.channel, sent)
        except wire.NotPlain as error:
            raise _Unfit(f"the test hands the program a value that is no plain data ({error})") from None
        except OSError:
            self._ended()
        message = self._receive()
        if "raised" in message:
            self._raise(*message["raised"])
        if "opaque" in message:
            self.opaque = str(message["opaque"])[:_LONGEST_REASON]
            return _Opaque(self.opaque)
        try:
            return wire.decode(message["value"])
        except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
            raise _Ended("result", f"its answer cannot be read: {_said(error)}") from None

    def _receive(self) -> dict[str, Any]:
        try:
            message = wire.receive(self.channel)
        except (EOFError, OSError):
            self._ended()
        except (ValueError, RecursionError) as error:
            raise _Ended("result", f"its answer cannot be read: {_said(error)}") from None
        return message if isinstance(message, dict) else {}

    def _raise(self, kind: str, name: str, text: str) -> NoReturn:
        known = getattr(builtins, str(name), None)
        is_error = isinstance(known, type) and issubclass(known, Exception)
        error: BaseException
        try:
            error = known(str(text)) if is_error and known is not None else RuntimeError(f"{name}: {text}")
        except TypeError:  # UnicodeError and its like take more
            error = RuntimeError(f"{name}: {text}")
        self.raised, self.kind = error, "memory" if kind == "memory" else "exception"
        raise error

    def _ended(self) -> NoReturn:
        _, status, used = os.wait4(self.pid, 0)
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            spent = used.ru_utime + used.ru_stime
            if number in (_SIGKILL, _SIGXCPU) and spent > self.cpu_seconds - 0.5:
                raise _Ended("timeout", f"more than {self.cpu_seconds} s of CPU time")
            raise _Ended("exit", f"the program's process was ended by signal {number}")
        raise _Ended("exit", f"the program ended its process (status {os.WEXITSTATUS(status)})")


def judge(program: _Program, test: str, entry: str) -> dict[str, Any]:
    """Runs a test against a program: ``passed`` (None: unknown), ``kind`` and ``reason`` of a failure.

    The test defines ``check(candidate)``, or asserts as it runs; other names that it uses and does not define
    are the program's functions.
    """
    try:
        code = compile(test, "<test>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return _unknown(f"the test does not compile: {_said(error)}")
    sys.modules["pytest"] = pytest_stand_in()
    names: dict[str, Any] = {name: partial(program.call, name) for name in sorted(_names(code))}
    names["__name__"] = "test"
    is_ready = False
    try:
        program.load()
        exec(code, names)  # noqa: S102 - the data's own tests, inside of the sandbox
        is_ready = True
        if isinstance(names.get("check"), FunctionType):
            names["check"](partial(program.call, entry))
    except _Ended as end:
        return _failed(end.kind, end.reason)
    except _Unfit as error:
        return _unknown(str(error))
    except BaseException as error:  # noqa: BLE001 - a test may raise anything
        return _failure(program, error, test, is_ready=is_ready)
    return {"passed": True} if program.calls else _unknown("the test calls nothing of the program")


def _names(code: CodeType) -> Iterator[str]:
    """Names used in the code and its functions that Python does not have; attributes ride along unused."""
    yield from (name for name in code.co_names if not hasattr(builtins, name))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _failure(program: _Program, error: BaseException, test: str, *, is_ready: bool) -> dict[str, Any]:
    if error is program.raised:
        return _failed(program.kind, _said(error))
    if program.opaque:
        return _failed("result", f"its answer cannot cross to the test: {program.opaque}")
    if isinstance(error, MemoryError):
        return _failed("memory", "its answer does not fit into memory")
    if isinstance(error, AssertionError):
        return _failed("assertion", _text(error) or _line(error, test))
    if is_ready:
        return _failed("result", f"the test cannot use its answer: {_said(error)}")
    return _unknown(f"the test cannot be prepared: {_said(error)}")


def _line(error: BaseException, test: str) -> str:
    """The line of the test that failed."""
    lines = test.splitlines()
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == "<test>" and f.lineno]
    return lines[(frames[-1].lineno or 1) - 1].strip() if frames and lines else ""


def _failed(kind: str, reason: str) -> dict[str, Any]:
    return {"passed": False, "kind": kind, "reason": reason[:_LONGEST_REASON]}


def _unknown(reason: str) -> dict[str, Any]:
    return {"passed": None, "kind": "", "reason": reason[:_LONGEST_REASON]}
