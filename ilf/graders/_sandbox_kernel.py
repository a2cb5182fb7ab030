"""What the kernel does for the sandbox: namespaces, mounts, dropped rights, a filter of system calls.

Called by the child alone, which is single-threaded, as ``unshare`` of a user namespace demands.
``os.unshare`` came with Python 3.12 only, and mounts and filters are in no version of ``os``, so all of it
goes through libc. Every function raises OSError with the name of the refused step.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
from pathlib import Path

# Linux, include/uapi/linux/sched.h
NEWNS, NEWUTS, NEWIPC = 0x00020000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
#: Namespaces of the whole sandbox; every program gets further ones, for mounts and processes.
NAMESPACES = {"user": NEWUSER, "mount": NEWNS, "network": NEWNET, "ipc": NEWIPC, "host name": NEWUTS}
_ALL_NEW = NEWNS | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET | 0x02000000  # and cgroup

# include/uapi/linux/mount.h
_NOSUID, _NODEV, _NOEXEC, _BIND, _REC, _PRIVATE, _DETACH = 0x2, 0x4, 0x8, 0x1000, 0x4000, 0x40000, 0x2
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 0x1, 0x2, 0x4
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_SETATTR = 442  # one number on all machines

# include/uapi/linux/prctl.h
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 22, 36, 38
_SIGKILL = 9


def _numbers(text: str) -> dict[str, int]:
    return {name: int(number) for name, number in (word.split("=") for word in text.split())}


#: Machine -> (audit architecture, numbers of the system calls named in _DENIED and below).
_MACHINES: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        _numbers(
            "socket=41 clone=56 clone3=435 fork=57 vfork=58 pivot_root=155 shmget=29 semget=64 msgget=68 "
            "mq_open=240 ptrace=101 process_vm_readv=310 process_vm_writev=311 add_key=248 "
            "request_key=249 keyctl=250 bpf=321 perf_event_open=298 userfaultfd=323 io_uring_setup=425 "
            "memfd_create=319 memfd_secret=447 unshare=272 setns=308 mount=165 umount2=166 chroot=161 "
            "open_tree=428 move_mount=429 fsopen=430 fsmount=432 fspick=433 pidfd_getfd=438 "
            "personality=135"
        ),
    ),
    "aarch64": (
        0xC00000B7,
        _numbers(
            "socket=198 clone=220 clone3=435 pivot_root=41 shmget=194 semget=190 msgget=186 mq_open=180 "
            "ptrace=117 process_vm_readv=270 process_vm_writev=271 add_key=217 request_key=218 keyctl=219 "
            "bpf=280 perf_event_open=241 userfaultfd=282 io_uring_setup=425 memfd_create=279 "
            "memfd_secret=447 unshare=97 setns=268 mount=40 umount2=39 chroot=51 open_tree=428 "
            "move_mount=429 fsopen=430 fsmount=432 fspick=433 pidfd_getfd=438 personality=92"
        ),
    ),
}
_ASKED = ("socket", "clone", "clone3", "fork", "vfork")  # by their arguments or by setting, see filter_calls
_FAMILIES = (
    1,
    2,
    10,
)  # AF_UNIX, AF_INET, AF_INET6: those that a network namespace cuts (AF_VSOCK it does not)
_EPERM, _EAGAIN, _ENOSYS, _EAFNOSUPPORT = 1, 11, 38, 97


def is_known_machine() -> bool:
    """Whether the numbers of this processor's system calls are known here."""
    return platform.machine() in _MACHINES


def unshare(flags: int) -> None:
    """Moves this process into new namespaces (``NEWPID``: its children)."""
    _checked(_libc().unshare(flags), "unshare (a new namespace)")


def mount_tmpfs(target: Path | str, options: str) -> None:
    """Mounts an empty file system in memory: nothing in it can be executed or be a device."""
    _mount(b"tmpfs", target, b"tmpfs", _NOSUID | _NODEV | _NOEXEC, options.encode())


def bind(source: Path | str, target: Path | str) -> None:
    """Shows a folder or file at another place too."""
    _mount(os.fsencode(source), target, None, _BIND | _REC, None)


def read_only(path: Path | str, *, recursive: bool) -> None:
    """Makes a mount (``recursive``: and those below it) read-only, without set-uid programs and devices."""
    attributes = struct.pack("=4Q", _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV, 0, 0, 0)
    code = _syscall(
        _MOUNT_SETATTR,
        _AT_FDCWD,
        os.fsencode(path),
        _AT_RECURSIVE if recursive else 0,
        attributes,
        len(attributes),
    )
    _checked(code, f"mount_setattr ({path} read-only)")


def private_mounts() -> None:
    """Keeps what is mounted from here on out of every other mount namespace."""
    _mount(None, "/", None, _REC | _PRIVATE, None)


def enter_root(folder: Path | str) -> None:
    """Makes a mounted folder the root and takes the old root away: no path leads back."""
    os.chdir(folder)
    _checked(_syscall(_MACHINES[platform.machine()][1]["pivot_root"], b".", b"."), "pivot_root")
    _checked(_libc().umount2(b".", _DETACH), "umount2 (the old root)")
    os.chdir("/")


def limit(cpu_seconds: int, memory_mib: int, processes: int, file_mib: int) -> None:
    """Hard limits of this process; ``processes`` counts all of this user's in the sandbox, threads too."""
    mib = 1 << 20
    for what, value in (
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, memory_mib * mib),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_FSIZE, file_mib * mib),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        resource.setrlimit(what, (value, value))


def drop_rights(uid: int) -> None:
    """Becomes an ordinary user of the sandbox, without capabilities and without a way to get any."""
    if os.getuid() != uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    header = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    _checked(_libc().capset(header, bytes(24)), "capset (no capabilities)")
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, "no_new_privs")


def die_with_parent() -> None:
    """Has the kernel kill this process when the one that forked it ends."""
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL, "the parent's death signal")


def adopt_orphans() -> None:
    """Makes this process the parent of every descendant that loses its own: it can wait for their end."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, "adopting orphans")


def filter_calls(*, may_fork: bool) -> None:
    """Refuses for good the system calls that reach past namespaces and limits; needs ``drop_rights`` first.

    Refused: new namespaces and mounts, tracing, keyrings, bpf, io_uring, perf, memory outside of RLIMIT_AS
    (System V, memfd), and sockets of every family but Unix and IP, which the namespaces confine.
    ``may_fork``: whether there may be further processes and threads.
    """
    program = b"".join(struct.pack("=HBBI", *step) for step in _filter_program(platform.machine(), may_fork))
    steps = ctypes.create_string_buffer(program)
    prog = struct.pack("@HP", len(program) // 8, ctypes.addressof(steps))
    words = [ctypes.c_ulong(2), ctypes.c_char_p(prog), ctypes.c_ulong(0), ctypes.c_ulong(0)]
    _checked(_libc().prctl(_PR_SET_SECCOMP, *words), "seccomp (the filter of system calls)")


def _filter_program(machine: str, may_fork: bool) -> list[tuple[int, int, int, int]]:
    """A classic BPF program over ``struct seccomp_data``: (code, jump if true, jump if false, constant)."""
    load, equal, at_least, any_bit, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, kill, errno = 0x7FFF0000, 0x80000000, 0x00050000
    number, architecture, first_argument = 0, 4, 16
    audit, calls = _MACHINES[machine]
    steps = [(load, 0, 0, architecture), (equal, 1, 0, audit), (answer, 0, 0, kill), (load, 0, 0, number)]
    if machine == "x86_64":  # x32 numbers are a second door to every call
        steps += [(at_least, 0, 1, 0x40000000), (answer, 0, 0, errno | _EPERM)]
    for name, call in calls.items():
        if name not in _ASKED:
            steps += [(equal, 0, 1, call), (answer, 0, 0, errno | _EPERM)]
    if not may_fork:
        for name in ("fork", "vfork", "clone", "clone3"):
            steps += [(equal, 0, 1, calls[name]), (answer, 0, 0, errno | _EAGAIN)] if name in calls else []
    # clone3 hides its flags behind a pointer; "not there" makes libc use clone.
    steps += [(equal, 0, 1, calls["clone3"]), (answer, 0, 0, errno | _ENOSYS)]
    steps += [(equal, 0, 4, calls["clone"]), (load, 0, 0, first_argument)]
    steps += [(any_bit, 0, 1, _ALL_NEW), (answer, 0, 0, errno | _EPERM), (answer, 0, 0, allow)]
    steps += [(equal, 0, 2 + len(_FAMILIES), calls["socket"]), (load, 0, 0, first_argument)]
    steps += [(equal, len(_FAMILIES) - i, 0, family) for i, family in enumerate(_FAMILIES)]
    return [*steps, (answer, 0, 0, errno | _EAFNOSUPPORT), (answer, 0, 0, allow)]


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _syscall(number: int, *arguments: int | bytes) -> int:
    # Every argument as a full machine word: ctypes would pass a plain int as 32 bits.
    words = [ctypes.c_char_p(a) if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments]
    return int(_libc().syscall(ctypes.c_long(number), *words))


def _mount(
    source: bytes | None, target: Path | str, kind: bytes | None, flags: int, data: bytes | None
) -> None:
    code = _libc().mount(source, os.fsencode(target), kind, ctypes.c_ulong(flags), data)
    _checked(code, f"mount ({target})")


def _prctl(option: int, value: int, what: str) -> None:
    words = [ctypes.c_ulong(word) for word in (value, 0, 0, 0)]
    _checked(_libc().prctl(option, *words), what)


def _checked(code: int, what: str) -> None:
    if code < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
