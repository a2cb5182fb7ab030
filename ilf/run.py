"""Running the steps of a recipe: content addresses, resume, and one writer per step."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ilf import _ranks
from ilf.config import Spec
from ilf.errors import DataError, UsageError
from ilf.files import folder_digest, sha256_file, write_whole
from ilf.plan import PATH_SETTINGS, PlannedStep
from ilf.progress import Progress
from ilf.protocols import Row
from ilf.recipe import SHIPPED, read_recipe, shipped
from ilf.records import Rows, digest
from ilf.store import MODEL, ROWS, Step

#: Hex digits of the hash in a step folder's name.
ADDRESS_DIGITS = 10
#: Rows that go to the disk together in a step that starts again when it was interrupted.
COMMIT_ROWS = 256
#: Folder of a run where sources keep what people said, and the file that counts its later snapshots.
PEOPLE, SNAPSHOTS = "people", "snapshots"


@dataclass(frozen=True)
class Address:
    """Where a step lies, everything that its hash was made from, and where what people say is kept."""

    folder: Path
    hashed: dict[str, Any]
    people: Path | None = None


def run_steps(
    steps: Sequence[PlannedStep], runs: Path, progress: Progress, *, wait: bool = True, refresh: bool = False
) -> dict[str, Step]:
    """Runs the steps in order, reusing what is finished; returns name -> finished step.

    ``refresh`` asks again what people said and makes a new snapshot of what they changed. Raises Waiting
    where people have not answered, Busy where another process works on a step and ``wait`` is false.
    """
    made: dict[str, Step] = {}
    for step in steps:
        if refresh and step.asks_people:
            refresh_step(step, made, runs, progress, wait=wait)
        made[step.name] = run_step(step, made, runs, progress, wait=wait)
    return made


def run_step(
    step: PlannedStep, made: Mapping[str, Step], runs: Path, progress: Progress, *, wait: bool = True
) -> Step:
    """Makes one step from the finished steps it reads, or finds it made."""
    address = address_of(step, made, runs)
    folder = Step(address.folder)
    if _is_reused(folder, step.name, progress):
        return folder
    use_threads(step.threads)
    if _ranks.index():
        return _follow(step, made, folder)
    with folder.lock(wait=wait, say=progress.say):
        if _is_reused(folder, step.name, progress):  # another process finished it while this one waited
            return folder
        _make_measured(step, made, folder, address.people, progress)
        folder.finish(_made_by(step, address))
    return folder


def refresh_step(
    step: PlannedStep, made: Mapping[str, Step], runs: Path, progress: Progress, *, wait: bool = True
) -> None:
    """Asks people's source again; where a finished step's rows have changed, makes them a new snapshot.

    The earlier snapshot stays as it is. A step that is not finished is left to ``run_step``.
    """
    address = address_of(step, made, runs)
    if address.people is None or not Step(address.folder).is_finished:
        return
    with Step(address.folder).lock(wait=wait, say=progress.say):
        address = address_of(step, made, runs)  # another process may have refreshed meanwhile
        trial = Step(runs / f".refresh-{address.folder.name}")
        trial.folder.mkdir(exist_ok=True)
        try:
            _make_measured(step, made, trial, address.people, progress)
            if sha256_file(trial.folder / ROWS) == Step(address.folder).made_by["content"]:
                progress.say(f"{step.name:<12} people have changed nothing since")
                return
            assert address.people is not None
            snapshots = _snapshots(address.people) + 1
            write_whole(address.people / SNAPSHOTS, f"{snapshots}\n")
            after = address_of(step, made, runs)
            shutil.rmtree(after.folder, ignore_errors=True)
            trial.folder.rename(after.folder)
            Step(after.folder).finish(_made_by(step, after))
            progress.say(f"{step.name:<12} people changed something: snapshot {snapshots}")
        finally:
            shutil.rmtree(trial.folder, ignore_errors=True)


def _made_by(step: PlannedStep, address: Address) -> dict[str, Any]:
    people = {"people": address.people.name} if address.people else {}
    return {**address.hashed, **people, "speed_only": step.spec.only_speed(), **provenance()}


def _make_measured(
    step: PlannedStep, made: Mapping[str, Step], folder: Step, people: Path | None, progress: Progress
) -> None:
    started, cpu_started = time.perf_counter(), time.process_time()
    try:
        _make(step, made, folder, people, progress)
    finally:
        folder.measure(time.perf_counter() - started, time.process_time() - cpu_started)
        folder.remove_if_empty()


def _follow(step: PlannedStep, made: Mapping[str, Step], folder: Step) -> Step:
    """What the other processes of torchrun do: their part of a training that is shared; else they wait."""
    arguments = step.spec.arguments(functools.partial(model_path, made=made))
    if _is_shared(step, arguments):
        _ranks.meet()
        for _ in step.spec.target(read(step, made), folder.folder, **arguments):
            pass
    while not folder.is_finished:
        time.sleep(0.1)
    return folder


def _is_shared(step: PlannedStep, arguments: Mapping[str, Any]) -> bool:
    """Whether several processes share the work of a step."""
    return step.verb == "train" and getattr(arguments["strategy"], "is_distributed", False)


def _is_reused(folder: Step, name: str, progress: Progress) -> bool:
    if folder.is_finished:
        progress.reused(name, folder.made_by["rows"])
    return folder.is_finished


def _make(
    step: PlannedStep, made: Mapping[str, Step], folder: Step, people: Path | None, progress: Progress
) -> None:
    arguments = step.spec.arguments(functools.partial(model_path, made=made))
    function = step.spec.target
    rows = read(step, made)
    window: int | None = step.module.WINDOW
    resumes = step.verb == "train" and hasattr(arguments["strategy"], "checkpoint_every")
    if resumes:
        # Row by row, because a checkpoint must never be ahead of the log.
        done, window = folder.rows_of_checkpoint(), 1
    elif window is None:
        folder.discard()
        done, window = 0, COMMIT_ROWS
    else:
        done = folder.whole_rows(window)
    if step.verb == "train":
        if _is_shared(step, arguments):
            _ranks.meet()  # the others must not see a checkpoint that is about to be discarded
        output = function(rows, folder.folder, **arguments)
        total = getattr(arguments["strategy"], "steps", None)
    elif step.verb == "load":
        output = function(**arguments, done=done)
        total = arguments.get("n")
    elif people is not None:
        output = function(rows, people, **arguments, done=done)
        total = None
    else:
        output = function(rows, **arguments, done=done)
        total = len(rows) if step.module.WINDOW else None
    with progress.bar(step.name, total, done) as tick:
        folder.write_rows(iter(output), window, tick)


def read(step: PlannedStep, made: Mapping[str, Step]) -> Sequence[Row]:
    """The rows that a step reads; several steps are read one after the other."""
    sources: list[Rows] = [made[name].rows() for name in step.reads]
    return sources[0] if len(sources) == 1 else list(chain.from_iterable(sources))


def address_of(step: PlannedStep, made: Mapping[str, Step], runs: Path) -> Address:
    """The step's folder: a hash of verb, settings that change results, and the content of what it reads."""
    hashed: dict[str, Any] = {
        "stage": step.verb,
        "settings": step.spec.described(functools.partial(model_content, made=made)),
        "content_read": [made[name].made_by["content"] for name in step.reads],
    }
    hashed["settings"] = _files_by_content(hashed["settings"])
    if step.spec.uses("device"):
        # Sums in another order round differently, so the number of threads changes results.
        hashed["threads"] = step.threads
    people = _people_folder(step, made, hashed, runs) if step.asks_people else None
    if people is not None and (snapshots := _snapshots(people)):
        hashed["snapshot"] = snapshots
    return Address(runs / f"{step.name}-{digest(hashed, ADDRESS_DIGITS)}", hashed, people)


def _people_folder(
    step: PlannedStep, made: Mapping[str, Step], hashed: Mapping[str, Any], runs: Path
) -> Path:
    """Where a source keeps what people say: named by what they are shown, not by how many are asked."""
    source: Spec | None = step.spec.settings.get("feedback")
    policy: frozenset[str] = getattr(source.target, "policy", frozenset()) if source else frozenset()
    left_out = {"seed", *getattr(step.module, "POLICY", ())}
    settings = {key: value for key, value in hashed["settings"].items() if key not in left_out}
    if isinstance(settings.get("feedback"), dict):
        settings["feedback"] = {k: v for k, v in settings["feedback"].items() if k not in policy}
    # What people said earlier may change; those who are asked about it are asked in the same place.
    read = [made[name].made_by.get("people", made[name].made_by["content"]) for name in step.reads]
    return runs / PEOPLE / f"{step.name}-{digest({'settings': settings, 'read': read}, ADDRESS_DIGITS)}"


def _snapshots(people: Path) -> int:
    """How often what people said has changed after a step was finished."""
    try:
        return int((people / SNAPSHOTS).read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0
    except ValueError:
        raise DataError(f"{people / SNAPSHOTS}: holds no number. Remove the file to count from 0.") from None


def _files_by_content(settings: Any) -> Any:
    """Replaces files (``path``) and folders of encoders by the hash of their bytes: what they are."""
    if isinstance(settings, dict) and "revision" in settings:  # a verb or a component, not a user's mapping
        return {
            k: file_content(v) if _names_files(k, v) else _files_by_content(v) for k, v in settings.items()
        }
    return [_files_by_content(item) for item in settings] if isinstance(settings, list) else settings


def _names_files(setting: str, value: Any) -> bool:
    if not isinstance(value, str) or not value:
        return False
    return setting in PATH_SETTINGS or (setting == "encoder" and Path(value).is_dir())


def file_content(path: str) -> str:
    """The hash of a file's (or folder's) bytes; a path that does not exist yet is 'absent'."""
    where = Path(path)
    if where.is_dir():
        return folder_digest(where)
    return sha256_file(where) if where.exists() else "absent"


def model_path(reference: str, made: Mapping[str, Step]) -> str:
    """A model reference as what ``from_pretrained`` takes."""
    if reference.startswith("steps."):
        return str(made[reference.removeprefix("steps.")].folder / MODEL)
    if reference in SHIPPED:
        return shipped(reference)
    return reference


def model_content(reference: str, made: Mapping[str, Step]) -> str:
    """A model reference as the hash of its content: a folder's bytes, or a hub id with its commit."""
    if reference.startswith("steps."):
        return str(made[reference.removeprefix("steps.")].made_by["model"])
    path = Path(model_path(reference, made))
    return _folder_digest(path) if path.is_dir() else _hub_commit(reference)


@functools.cache
def _folder_digest(path: Path) -> str:
    return folder_digest(path)


@functools.cache
def _hub_commit(name: str) -> str:
    """``name@commit`` of a model on the hub, from the local cache if it is there."""
    import huggingface_hub

    try:
        try:
            return f"{name}@{Path(huggingface_hub.snapshot_download(name, local_files_only=True)).name}"
        except Exception:  # noqa: BLE001 - not in the cache, for whatever reason: ask the hub
            return f"{name}@{huggingface_hub.HfApi().model_info(name).sha}"
    except Exception as error:  # noqa: BLE001 - the hub client raises many kinds; all mean the same here
        raise UsageError(
            f"model '{name}': neither a folder, nor a shipped model ({', '.join(SHIPPED)}), nor found on the "
            f"hub ({type(error).__name__}). Check the name, or give the path of a folder."
        ) from None


def use_threads(threads: int | None) -> None:
    """Sets torch's threads for this process, if a recipe asks for a number and torch will be used."""
    if threads is None:
        return
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


@functools.cache
def provenance() -> dict[str, Any]:
    """Versions of ilf and of the libraries that move numbers; the same on every call of a process."""
    libraries = {}
    for name in (
        "torch",
        "transformers",
        "tokenizers",
        "datasets",
        "peft",
        "accelerate",
        "sentence-transformers",
        "numpy",
    ):
        try:
            libraries[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"version": version(), "commit": _commit(), "libraries": libraries}


def version() -> str:
    """The installed version of ilf."""
    try:
        return importlib.metadata.version("ilf")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _commit() -> str | None:
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def run_recipe(
    name: str, overrides: Mapping[str, Any] | None = None, runs: str | Path = "runs", *, quiet: bool = False
) -> dict[str, Step]:
    """Reads, checks and runs a recipe; returns its finished steps by name (``step.rows()`` reads them).

    The same as ``ilf run NAME key=value ...``; what is made already is reused.
    """
    recipe = read_recipe(name).override(overrides or {})
    return run_steps(recipe.plan(), Path(runs) / recipe.name, Progress(quiet=quiet))
