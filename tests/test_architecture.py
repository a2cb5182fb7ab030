"""The house: who may import whom, what importing costs, and which names are public."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FAMILIES = ("generators", "feedback", "strategies", "graders", "rankers", "selectors", "worlds", "metrics")
VERBS = (
    *("load", "sample", "select", "collect", "settle", "buy", "unlabel"),
    *("refine", "choose", "choice", "pair", "train", "evaluate"),
)
BASE = {"protocols", "errors", "records", "files"}
#: What components share beside it: the sampler, the processes of torchrun, and intervals.
SHARED = {"_decode", "_ranks", "stats", "_forms"}
#: Module of ilf -> what else of ilf it may import (rankers: anybody may).
LAYERS = {
    "errors": set(),
    "protocols": set(),
    "records": {"protocols", "errors"},
    "files": {"records"},
    "stats": set(),
    "progress": set(),
    "config": {"errors"},
    "store": {"protocols", "errors", "records", "files"},
    "plan": {"config", "errors", "records"},
    "recipe": {"config", "errors", "plan"},
    "run": {
        "config",
        "errors",
        "files",
        "plan",
        "progress",
        "protocols",
        "recipe",
        "records",
        "store",
        "_ranks",
    },
    "outlook": {"plan", "run", "store"},
    "workers": {"errors", "plan", "progress", "run", "store"},
    "report": {"_report", "curves", "files"},
    "curves": {"_report", "files"},
    "cards": {"_report"},
    "findings": {"_compare", "_findings"},
    "energy": {"files"},
    "compare": {
        "_compare",
        "energy",
        "errors",
        "files",
        "findings",
        "progress",
        "recipe",
        "run",
        "store",
        "workers",
    },
    "agreement": {"_agreement", "stats"},
    "verdict": {"_verdict", "errors", "protocols", "records", "stats"},
    "forget": {"_forget", "files", "label_studio", "records", "store"},
    "assist": {"_assist", "errors", "label_studio", "protocols", "records", "refine"},
}
#: The client of Label Studio: under the components, above the spine's base.
CLIENT = {"label_studio", "progress"}


def imports(path: Path, package: str) -> Iterator[tuple[str, int]]:
    """(module, line) of every import of a package in a file, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] == package:
                yield name, node.lineno


def unit(name: str) -> str:
    """``ilf.generators.transformers_lm.TransformersLM`` -> ``generators``; ``ilf.records.check`` -> ``records``."""
    return [*name.split("."), ""][1]


def test_rankers_know_nothing_of_ilf() -> None:
    found = [
        f"{path}:{line}: {name}"
        for path in (ROOT / "rankers").rglob("*.py")
        for name, line in imports(path, "ilf")
    ]
    assert not found


@pytest.mark.parametrize("family", FAMILIES)
def test_components_import_only_protocols_errors_records(family: str) -> None:
    """Never another family, never a verb, never each other (private helpers of their own folder apart)."""
    for path in sorted((ROOT / "ilf" / family).rglob("*.py")):
        for name, line in imports(path, "ilf"):
            own_helper = name.startswith(f"ilf.{family}._") or (
                family == "graders" and unit(name) == "metrics"
            )
            own_client = family == "feedback" and unit(name) == "label_studio"
            assert unit(name) in BASE | SHARED or own_helper or own_client, (
                f"{path}:{line}: a component imports {name}"
            )


def test_the_client_of_label_studio_imports_nothing_above_it() -> None:
    for path in sorted((ROOT / "ilf" / "label_studio").rglob("*.py")):
        for name, line in imports(path, "ilf"):
            assert unit(name) in BASE | CLIENT, f"{path}:{line}: {name}"


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_import_no_component_and_no_verb(verb: str) -> None:
    for name, line in imports(ROOT / "ilf" / f"{verb}.py", "ilf"):
        assert unit(name) in BASE | {"store", "stats"} or unit(name).startswith("_"), (
            f"{verb}.py:{line} imports {name}"
        )


@pytest.mark.parametrize("module", LAYERS)
def test_everything_points_down(module: str) -> None:
    path = ROOT / "ilf" / module
    for file in path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]:
        for name, line in imports(file, "ilf"):
            own = path.is_dir() and unit(name) == module
            assert own or unit(name) in LAYERS[module], f"{file.name}:{line} imports {name}"


def test_every_module_stands_in_a_layer() -> None:
    """A new file at the top of ilf/ is put into a layer, or is a verb."""
    modules = {path.stem for path in (ROOT / "ilf").glob("*.py")}
    rest = modules - set(LAYERS) - set(VERBS) - {"__init__", "__main__"}
    assert {name for name in rest if not name.startswith("_")} == set()


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


HEAVY = (
    "torch",
    "transformers",
    "datasets",
    "numpy",
    "yaml",
    "sentence_transformers",
    "peft",
    "accelerate",
    "evaluate",
)


def test_import_costs_nothing() -> None:
    loaded = run_python("import sys, ilf, rankers, ilf.protocols; print(*sorted(sys.modules))").split()
    assert not set(HEAVY) & set(loaded)


def test_public_names_are_there_and_verbs_stay_functions() -> None:
    code = (
        "import importlib, ilf\n"
        "missing = [n for n in ilf.__all__ if not hasattr(ilf, n)]\n"
        "assert not missing, missing\n"
        "importlib.import_module('ilf.choose'); importlib.import_module('ilf.refine')\n"
        "from ilf import choose, refine\n"
        "assert callable(choose) and callable(refine)\n"
        "print(*ilf.__all__)"
    )
    public = run_python(code).split()
    assert public == sorted(public)
    assert "refine" in public


def test_no_heavy_import_above_a_function_body() -> None:
    """What ruff's TID253 enforces, kept true where ruff is not run."""
    for package in ("ilf", "rankers"):
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in tree.body:
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not {n.split(".")[0] for n in names} & set(HEAVY) - {"numpy"}, f"{path}: {names}"
