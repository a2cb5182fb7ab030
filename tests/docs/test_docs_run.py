"""The documents run: every ``>>>`` in docs/, with the files that a document shows, and the table of columns."""

from __future__ import annotations

import doctest
import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from toys.echo import Echo

from ilf import Nano, Simulated, WorldGrader, choose, collect, evaluate, load, refine, sample
from ilf.config import FAMILIES, find
from ilf.records import COLUMNS
from rankers import Length

ROOT = Path(__file__).parent.parent.parent
DOCS = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
#: A fenced block that shows a file: its first line is a comment with the file's name.
SHOWN_FILE = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def write_shown_files(document: Path, folder: Path) -> list[str]:
    files = SHOWN_FILE.findall(document.read_text(encoding="utf-8"))
    for name, text in files:
        (folder / name).write_text(text, encoding="utf-8")
    return [name for name, _ in files]


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that modules can be imported from; they are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    importlib.invalidate_caches()


@pytest.mark.parametrize("document", DOCS, ids=lambda path: path.stem)
def test_examples_print_what_they_say(document: Path, shown: Path) -> None:
    write_shown_files(document, shown)
    failed = doctest.testfile(str(document), module_relative=False, encoding="utf-8")
    assert failed.failed == 0


def test_links_between_documents_lead_somewhere() -> None:
    for document in DOCS:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def _columns_table() -> set[str]:
    text = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    table = text.partition("| column |")[2].partition("\n\n")[0]
    return {
        name
        for line in table.splitlines()
        for name in re.findall(r"`(\w+)`", line.split("|")[1] if "|" in line else "")
    }


def test_concepts_lists_every_column() -> None:
    """Those that are checked, and all that a row has when it went through the whole loop."""
    world = Nano()
    rows = list(load(world=world, split="train", n=2))
    rows = list(sample(rows, generator=Echo(), n=2))
    ranked = list(collect(rows, feedback=Simulated(world), job="rank"))
    rows = list(collect(rows, feedback=Simulated(world), job="critique"))
    rows = list(refine(rows, generator=Echo(), n=2, form="nano"))
    rows = list(choose(rows, ranker=Length()))
    rows = list(evaluate(rows, grader=WorldGrader(world), text="completion"))
    seen = set(COLUMNS) | set(rows[0]) | set(ranked[0])
    assert seen <= _columns_table(), seen - _columns_table()


def test_a_file_of_ones_own_is_a_component(shown: Path) -> None:
    write_shown_files(ROOT / "docs" / "add-a-component.md", shown)
    (shown / "mylab").mkdir()
    (shown / "mylab" / "__init__.py").touch()
    shutil.copy(shown / "mentions.py", shown / "mylab" / "mentions.py")
    assert find("Ranker", "mylab.mentions").__name__ == "Mentions"


def test_a_file_in_the_folder_of_its_family_is_listed(shown: Path) -> None:
    """In a copy of the packages, so that nothing is left behind here."""
    write_shown_files(ROOT / "docs" / "add-a-component.md", shown)
    copy = shown / "copy"
    for package in ("ilf", "rankers"):
        shutil.copytree(
            ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors")
        )
    shutil.copy(shown / "mentions.py", copy / "rankers")
    shutil.copy(shown / "brief.py", copy / "ilf" / "graders")
    code = (
        "from ilf.config import find, modules, summary\n"
        "for family, name in (('Ranker', 'mentions'), ('Grader', 'brief')):\n"
        "    print(find(family, name).__name__, summary(modules(family)[name]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=copy, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        "Mentions How many of the critique's longer words a candidate mentions.",
        "Brief 1.0 up to a number of words, then falling as words are added.",
    ], done.stderr


@pytest.mark.slow
def test_the_contract_tests_run_over_a_new_file(shown: Path) -> None:
    """Seconds of imports: the whole contract of two families, in a copy, on the components of the document."""
    write_shown_files(ROOT / "docs" / "add-a-component.md", shown)
    copy = shown / "copy"
    for package in ("ilf", "rankers", "tests"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    shutil.copy(shown / "mentions.py", copy / "rankers")
    shutil.copy(shown / "brief.py", copy / "ilf" / "graders")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/contract",
        "-k",
        "mentions or brief",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) >= 15


def test_every_family_is_in_the_guide() -> None:
    text = (ROOT / "docs" / "add-a-component.md").read_text(encoding="utf-8")
    for packages in FAMILIES.values():
        assert f"`{packages[0].replace('.', '/')}/`" in text


def test_the_readme_s_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As written but for its size: the loop on the shipped model, down to a tuned model's folder."""
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    small = code.replace("n=20", "n=4").replace("n=8", "n=2").replace("epochs=5", "epochs=1")
    assert small != code
    exec(small, {})  # noqa: S102 - our own README
    assert (tmp_path / "tuned" / "model" / "model.safetensors").exists()


def test_the_python_of_preferences_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "preferences.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    found: dict[str, object] = {}
    exec(code, found)  # noqa: S102 - our own document
    assert found["log"][-1]["reward_accuracy"] >= 0.5  # type: ignore[index]
    assert (tmp_path / "tuned-by-pairs" / "model" / "model.safetensors").is_file()
