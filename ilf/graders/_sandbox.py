"""Runs programs that nobody has read: with users, network, processes, mounts and limits of their own.

``docs/sandbox.md`` says what is protected and what is not. There is no weaker mode: where the kernel refuses
a part, ComponentError says which, and nothing is run.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from ilf.errors import ComponentError

#: Namespaces of the sandbox; a test takes one away to show that it is what protects.
NAMESPACES = ("user", "mount", "network", "ipc", "host name", "processes")
#: The user that programs run as where the caller is root ("nobody", by convention of the kernel).
_NOBODY = 65534
#: Seconds that preparing the child, and ending a program, may take on a busy machine.
_PATIENCE = 60.0
_MOST_BYTES = 1 << 16
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from ilf.graders._sandbox_child import main; main()"
_REMEDY = (
    "Programs are never run without it. As root nothing is needed but a kernel with user namespaces; in a "
    "container, add --security-opt seccomp=unconfined or --cap-add SYS_ADMIN. For an ordinary user an "
    "administrator allows them once: sysctl -w user.max_user_namespaces=10000, on Ubuntu also sysctl -w "
    "kernel.apparmor_restrict_unprivileged_userns=0, on older Debian kernel.unprivileged_userns_clone=1. "
    "See docs/sandbox.md."
)


@dataclass(frozen=True)
class Limits:
    """What a program may use: seconds, MiB of address space and of files, processes and threads."""

    cpu_seconds: int = 5
    wall_seconds: int = 60
    memory_mib: int = 512
    processes: int = 1
    scratch_mib: int = 16


class Verdict(NamedTuple):
    """``passed`` is None where it cannot be known; ``kind`` names the failure, ``reason`` describes it."""

    passed: bool | None
    kind: str = ""
    reason: str = ""


class Sandbox:
    """A prepared child that runs programs one after the other, each in processes and a folder of its own.

    Use it as a context manager. Raises ComponentError where the kernel refuses a part of it. Not for two
    threads.
    """

    def __init__(self, limits: Limits | None = None, namespaces: tuple[str, ...] = NAMESPACES) -> None:
        self.limits = limits or Limits()
        self.namespaces = namespaces

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def run(self, program: str, test: str, entry: str = "") -> Verdict:
        """Runs a test against a program. ``entry`` names the function that ``check(candidate)`` gets.

        A program that takes the child down with it (the kernel ran out of memory) is tried once more, and
        then failed.
        """
        for _ in range(2):
            try:
                return self._once(program, test, entry)
            except (EOFError, ConnectionError):
                self._stop()
                self._start()
        return Verdict(passed=False, kind="exit", reason="the sandbox was killed twice while the program ran")

    def _once(self, program: str, test: str, entry: str) -> Verdict:
        upstairs, verdict = os.pipe()
        case = json.dumps({"test": test, "entry": entry}).encode()
        files = [_in_memory(program.encode("utf-8", "surrogatepass")), _in_memory(case), verdict]
        try:
            try:
                socket.send_fds(self._control, [b"run"], files)
            finally:
                for descriptor in files:
                    os.close(descriptor)
            deadline = self.limits.wall_seconds + _PATIENCE
            data = _read(upstairs, deadline)
            state = self._heard(deadline)
        finally:
            os.close(upstairs)
        if state == b"timeout":
            return Verdict(passed=False, kind="timeout", reason=f"more than {self.limits.wall_seconds} s")
        if not data:
            raise EOFError
        found: dict[str, Any] = json.loads(data)
        if "problem" in found:
            raise ComponentError(f"unit tests: the sandbox broke: {found['problem']}. {_REMEDY}")
        return Verdict(found["passed"], found.get("kind", ""), found.get("reason", ""))

    def _start(self) -> None:
        if problem := _missing():
            raise ComponentError(f"unit tests need a sandbox: {problem}. {_REMEDY}")
        uid = _NOBODY if os.geteuid() == 0 and _is_mapped(_NOBODY) else os.geteuid()
        gid = uid if uid == _NOBODY else os.getegid()
        if uid == 0 and self.limits.processes > 1:  # the kernel never limits the number of root's processes
            raise ComponentError(
                "unit tests: as root where no user 65534 is known, a program may have one process only; run "
                "this as an ordinary user, or set processes: 1."
            )
        # The mount point of the child's root; in every other mount namespace it stays an empty folder.
        root = tempfile.mkdtemp(prefix="ilf-sandbox-")
        settings = {
            **asdict(self.limits),
            **{"namespaces": self.namespaces, "root": root, "uid": uid, "gid": gid, "own_uid": os.geteuid()},
        }
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._child = _child(theirs.fileno(), settings)
            self._hear_ready(uid, gid)
        except BaseException:
            self._stop()
            raise
        finally:
            with contextlib.suppress(OSError):
                Path(root).rmdir()

    def _hear_ready(self, uid: int, gid: int) -> None:
        try:
            if (message := self._heard(_PATIENCE)) == b"unshared":
                if "user" in self.namespaces:
                    _map_users(self._child.pid, uid, gid)
                self._control.send(b"mapped")
                message = self._heard(_PATIENCE)
            problem = json.loads(message).get("problem")
        except (EOFError, OSError, ValueError) as error:
            problem = f"its child did not start ({error or 'it ended'})"
        if problem:
            raise ComponentError(
                f"unit tests need a sandbox, which this machine refuses: {problem}. {_REMEDY}"
            )

    def _heard(self, seconds: float) -> bytes:
        message = self._control.recv(_MOST_BYTES) if _is_ready(self._control.fileno(), seconds) else b""
        if not message:
            raise EOFError
        return message

    def _stop(self) -> None:
        self._control.close()
        if child := getattr(self, "_child", None):
            child.kill()  # its supervisor dies with it, and with that one all that it watched
            child.wait()


def sandbox_problem() -> str | None:
    """Why unit tests cannot be run here, and what to do about it; None where a program was run and judged."""
    try:
        with Sandbox() as sandbox:
            verdict = sandbox.run("def two():\n    return 2\n", "assert two() == 2\n")
    except ComponentError as error:
        return str(error)
    return None if verdict.passed else f"the sandbox gave a wrong verdict: {verdict.kind}: {verdict.reason}"


def _missing() -> str | None:
    """What can be seen to be missing without trying."""
    if sys.platform != "linux":
        return f"it is made of Linux namespaces, this is {sys.platform}; use Linux, WSL 2 or a container"
    from ilf.graders._sandbox_kernel import is_known_machine

    if not is_known_machine():
        return f"it knows the system calls of x86_64 and aarch64, this is {os.uname().machine}"
    return None if sys.executable and shutil.which(sys.executable) else "no Python program to start is known"


def _child(control: int, settings: dict[str, Any]) -> subprocess.Popen[bytes]:
    arguments = [str(Path(__file__).parents[2]), str(control), json.dumps(settings)]
    return subprocess.Popen(
        [sys.executable, "-s", "-S", "-P", "-B", "-c", _BOOT, *arguments],
        pass_fds=[control],
        # No variable of ours; a fixed hash seed, so that sets have one order.
        env={"PYTHONHASHSEED": "0", "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )


def _is_mapped(uid: int) -> bool:
    """Whether a user exists in the namespace we are in."""
    for line in Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines():
        first, _, length = map(int, line.split())
        if first <= uid < first + length:
            return True
    return False


def _map_users(pid: int, uid: int, gid: int) -> None:
    """Who exists in the child's namespace: the caller, and for root also the one that programs run as."""
    folder = Path(f"/proc/{pid}")
    own_uid, own_gid = os.geteuid(), os.getegid()
    if uid == own_uid:
        (folder / "setgroups").write_text("deny", encoding="ascii")
    for name, own, other in (("gid_map", own_gid, gid), ("uid_map", own_uid, uid)):
        lines = [f"{number} {number} 1" for number in dict.fromkeys((own, other))]
        (folder / name).write_text("\n".join(lines), encoding="ascii")


def _in_memory(data: bytes) -> int:
    descriptor = os.memfd_create("ilf")
    os.write(descriptor, data)
    return descriptor


def _read(descriptor: int, seconds: float) -> bytes:
    """All that is written to a pipe until its last writer ends."""
    data = b""
    while len(data) <= _MOST_BYTES:
        part = os.read(descriptor, _MOST_BYTES) if _is_ready(descriptor, seconds) else b""
        if not part:
            return data
        data += part
    raise EOFError


def _is_ready(descriptor: int, seconds: float) -> bool:
    """Whether there is something to read, or an end, within so many seconds."""
    # Not select, which takes no descriptor above 1023.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
