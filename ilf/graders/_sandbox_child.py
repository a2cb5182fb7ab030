"""The child of the sandbox: moves itself into namespaces once, then forks three processes for every program.

    child          once: own user, network, IPC and mounts, a root with nothing in it but Python
     supervisor      own processes and mounts, an empty scratch folder; ends when the judge ends
      judge            reads the test AFTER it forked the program; no rights; its verdict goes up a pipe
       program           own processes again, so that it sees no other; no rights; limits; no test, no pipe

The end of a process that is the first of a namespace is the end of all in it: no daemon outlives its program.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ilf.graders import _sandbox_kernel as kernel
from ilf.graders._sandbox_judge import _Program, judge, serve

#: Imported once, before any program, so that no program pays for it.
_PRELOADED = """
    abc array bisect calendar cmath collections copy dataclasses datetime decimal enum fractions functools
    heapq itertools json math operator random re statistics string textwrap time traceback types typing
"""
#: Shown read-only, where they exist: what Python's own modules are linked against.
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
_SCRATCH = "/tmp"


def main() -> None:
    """Prepares the sandbox, says so (or what was refused) on the control socket, runs programs to its end."""
    control = socket.socket(fileno=int(sys.argv[2]))
    settings: dict[str, Any] = json.loads(sys.argv[3])
    sys.path.pop(0)  # the folder that ilf lies in
    try:
        for name in _PRELOADED.split():
            importlib.import_module(name)
        _enter(control, settings)
    except (OSError, ValueError) as error:
        control.send(json.dumps({"problem": str(error)}).encode())
        return
    gc.freeze()
    control.send(b"{}")
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 16, 3)
        if not message:
            return
        control.send(_run(descriptors, settings))


def _enter(control: socket.socket, settings: dict[str, Any]) -> None:
    kernel.adopt_orphans()
    kernel.unshare(sum(kernel.NAMESPACES.get(name, 0) for name in settings["namespaces"]))
    control.send(b"unshared")
    if control.recv(16) != b"mapped":  # by the parent, who has the right to
        raise OSError("the user namespace got no users")
    if "host name" in settings["namespaces"]:
        socket.sethostname("sandbox")
    if "mount" in settings["namespaces"]:
        _new_root(Path(settings["root"]))


def _new_root(root: Path) -> None:
    """A root in memory that shows Python's own library and what it is linked against, read-only; no more."""
    kernel.private_mounts()
    kernel.mount_tmpfs(root, "size=1m,mode=755")
    shown: list[str] = []
    for path in sorted({*_LIBRARIES, f"{sys.base_prefix}/lib", f"{sys.base_exec_prefix}/lib"}):
        if any(path.startswith(f"{folder}/") for folder in shown) or not Path(path).exists():
            continue
        place = Path(f"{root}{path}")
        place.parent.mkdir(parents=True, exist_ok=True)
        if Path(path).is_symlink():
            place.symlink_to(Path(path).readlink())
            continue
        _show(path, place)
        shown.append(path)
    for device in _DEVICES:
        _show(device, Path(f"{root}{device}"), is_device=True)
    Path(f"{root}{_SCRATCH}").mkdir()
    kernel.enter_root(root)
    kernel.read_only("/", recursive=False)


def _show(source: str, place: Path, *, is_device: bool = False) -> None:
    if Path(source).is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    kernel.bind(source, place)
    if is_device:
        return
    kernel.read_only(place, recursive=True)
    # Installed packages are the user's, not Python's.
    for pattern in ("*-packages", "python*/*-packages"):
        for packages in place.glob(pattern) if place.is_dir() else ():
            kernel.mount_tmpfs(packages, "size=4k,mode=755,ro")


def _run(descriptors: list[int], settings: dict[str, Any]) -> bytes:
    """One program, from fork to end; ``timeout`` where it had to be ended."""
    pid = _forked(lambda: _supervise(descriptors, settings))
    for descriptor in descriptors:
        os.close(descriptor)
    watch = os.pidfd_open(pid)
    ended, _, _ = select.select([watch], [], [], settings["wall_seconds"])
    if not ended:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(watch)
    # The judge dies with its supervisor, the program with the judge: both are gone before the next starts.
    with contextlib.suppress(ChildProcessError):
        while not ended:
            os.wait()
    return b"ended" if ended else b"timeout"


def _supervise(descriptors: list[int], settings: dict[str, Any]) -> None:
    kernel.die_with_parent()
    _, _, verdict = descriptors
    uid = settings["uid"]
    try:
        kernel.unshare(_own_processes(settings) | kernel.NEWNS)
        size = f"size={settings['scratch_mib']}m,nr_inodes=1024"
        if "mount" in settings["namespaces"]:
            kernel.mount_tmpfs(_SCRATCH, f"{size},mode=700,uid={uid},gid={settings['gid']}")
        pid = _forked(lambda: _judge(descriptors, settings))
    except OSError as error:
        _write(verdict, {"problem": str(error)})
        return
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        # Its limits are the program's: an answer too large to compare, a test without an end.
        reason = f"the test was ended by signal {os.WTERMSIG(status)} (its limits of time and memory)"
        _write(verdict, {"passed": False, "kind": "timeout", "reason": reason})


def _judge(descriptors: list[int], settings: dict[str, Any]) -> None:
    program, test, verdict = descriptors
    try:
        kernel.unshare(_own_processes(settings))
        channel, theirs = socket.socketpair()
        pid = _forked(lambda: _serve(theirs, program, settings))
        theirs.close()
        _confine(settings, processes=1)
        kernel.die_with_parent()
        case = json.loads(_read(test))
        found = judge(_Program(channel, pid, settings["cpu_seconds"]), case["test"], case["entry"])
    except Exception as error:  # noqa: BLE001 - our own fault, said upstairs
        found = {"problem": f"{type(error).__name__}: {error}"}
    _write(verdict, found)


def _serve(channel: socket.socket, program: int, settings: dict[str, Any]) -> None:
    text = _read(program).decode("utf-8", "surrogatepass")
    null = os.open("/dev/null", os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    os.dup2(channel.detach(), 3)
    os.closerange(4, 1 << 16)  # the test and the verdict's pipe among them
    os.chdir(_SCRATCH)
    os.environ.clear()
    os.environ.update(HOME=_SCRATCH, TMPDIR=_SCRATCH)
    sys.argv[:] = ["program"]
    _confine(settings, settings["processes"])
    random.seed(0)  # the same verdict every time
    # The channel may break because the judge has heard enough.
    with contextlib.suppress(OSError):
        serve(socket.socket(fileno=3), text)


def _confine(settings: dict[str, Any], processes: int) -> None:
    kernel.drop_rights(settings["uid"])
    # Root's judge alone shares the program's user; an ordinary user's child and supervisor do too.
    others = 1 if settings["uid"] != settings["own_uid"] else 3
    kernel.limit(settings["cpu_seconds"], settings["memory_mib"], others + processes, settings["scratch_mib"])
    kernel.filter_calls(may_fork=processes > 1)


def _own_processes(settings: dict[str, Any]) -> int:
    return kernel.NEWPID if "processes" in settings["namespaces"] else 0


def _forked(body: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        body()
    except BaseException:  # noqa: BLE001 - nothing of the child's may go on in its copy
        os._exit(70)
    os._exit(0)


def _read(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _write(descriptor: int, found: dict[str, Any]) -> None:
    os.write(descriptor, json.dumps(found).encode())
