"""The wheel in an empty environment: commands, packaged recipes, prompt forms, page template and checkpoint are in it."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        ROOT,
        cwd=folder,
    )
    (found,) = folder.glob("ilf-*.whl")
    return found


def test_what_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for needed in (
        "ilf/recipes/nano/recipe.yaml",
        "ilf/recipes/mbpp_feedback/recipe.yaml",
        "ilf/recipes/mbpp_feedback/data/LICENSE",
        "ilf/prompt_forms.yaml",
        "ilf/_report/templates/report.html",
        "ilf/_report/templates/style.css",
        "ilf/_report/templates/curves.html",
        "ilf/_report/templates/page.js",
        "ilf/worlds/checkpoints/nano/model.safetensors",
        "ilf/worlds/checkpoints/nano/README.md",
        "rankers/similarity.py",
        "ilf/py.typed",
        "rankers/py.typed",
    ):
        assert needed in names
    assert not [name for name in names if name.startswith(("recipes/", "tests/", "runs/"))]
    weights = zipfile.ZipFile(wheel).getinfo("ilf/worlds/checkpoints/nano/model.safetensors")
    assert weights.file_size <= 3_000_000


def test_an_empty_environment_runs_the_installed_command(wheel: Path, tmp_path: Path) -> None:
    """The heavy libraries are lent by this environment through a path file; ilf itself comes from the wheel."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
        wheel,
        cwd=tmp_path,
    )
    lent = [path for path in sys.path if path.endswith("site-packages")]
    site = next((tmp_path / "env").glob("lib/python*/site-packages"))
    # Appended behind its own packages, so that the wheel's ilf is found first.
    (site / "lent.pth").write_text("\n".join(lent) + "\n")
    where = run(python, "-c", "import ilf; print(ilf.__file__)", cwd=tmp_path)
    assert str(site) in where
    assert "nano" in run(tmp_path / "env" / "bin" / "ilf", "recipes", cwd=tmp_path)
    assert "fixpoint" in run(tmp_path / "env" / "bin" / "ilf", "list", cwd=tmp_path)
    ilf = tmp_path / "env" / "bin" / "ilf"
    small = [
        "load.n=4",
        "test.n=4",
        "own.n=2",
        "refine.n=2",
        "train.strategy.epochs=1",
        "choose.ranker=length",
    ]
    run(ilf, "run", "nano", "--until", "evaluate", *small, "--quiet", cwd=tmp_path)
    assert list((tmp_path / "runs" / "nano").glob("evaluate-*/made_by.json"))
