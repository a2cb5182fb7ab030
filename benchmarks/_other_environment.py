"""Runs a function of a benchmark in a process of its own, if need be with another Python and other packages.

    result = call("other/bin/python", __file__, "theirs", rows=rows, model=folder)

``theirs(rows=..., model=...)`` of that file runs there; arguments and result travel as JSON (floats exactly).
The file must be importable there: heavy imports belong into its functions. Results are kept by ``save``.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
#: One thread; nothing fetched; no bars, whose threads would be measured as well.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "PYTHONWARNINGS": "ignore",
}


def call(python: str, file: Path | str, function: str, /, **values: Any) -> Any:
    """What ``function`` of ``file`` returns for ``values`` when ``python`` runs it.

    SystemExit with the end of what it printed where it fails.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "values.json").write_text(json.dumps(values), encoding="utf-8")
        command = [python, __file__, str(Path(file).resolve()), function, name]
        try:
            done = subprocess.run(
                command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise SystemExit(f"{python} cannot be run: {error}") from None
        if done.returncode:
            printed = (done.stdout + done.stderr)[-4000:]
            raise SystemExit(f"{Path(file).name}: {function} failed with {python}:\n{printed}")
        return json.loads((folder / "result.json").read_text(encoding="utf-8"))


def versions(*packages: str) -> dict[str, str]:
    """The versions of packages in this environment, Python's first."""
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in packages
    }


def machine() -> dict[str, Any]:
    """The processor's name and its number of cores."""
    name = platform.processor() or platform.machine()
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        lines = cpus.read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return {"processor": name, "cores": os.cpu_count()}


def peak_mib() -> float:
    """The largest resident set of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would give the parent's peak where that is larger
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def save(file: str, name: str, figures: Mapping[str, Any]) -> None:
    """Puts ``figures`` under ``name`` into ``results/FILE.json``, beside what has other names there."""
    path = RESULTS / f"{file}.json"
    held = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(held | {name: figures}, indent=1, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


def _serve(file: str, function: str, folder: str) -> None:
    """The other side of ``call``."""
    sys.path[0] = str(ROOT)  # not this folder: its rankers.py must not stand in for the package
    spec = importlib.util.spec_from_file_location("there", file)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules["there"] = module
    spec.loader.exec_module(module)
    values = json.loads((Path(folder) / "values.json").read_text(encoding="utf-8"))
    result = getattr(module, function)(**values)
    (Path(folder) / "result.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    try:
        _serve(*sys.argv[1:])
    except Exception:  # noqa: BLE001 - whatever it is, the caller shows it
        traceback.print_exc()
        sys.exit(1)
