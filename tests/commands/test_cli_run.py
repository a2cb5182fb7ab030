"""ilf run: plans, results on stdout, resume after signals, what is noted for clean."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
STEPS = ["load", "sample", "collect", "refine", "choose", "train", "evaluate"]


def folders() -> list[str]:
    return sorted(path.name for path in Path("runs/toy").glob("*-*"))


def test_a_dry_run_tells_and_does_nothing(ilf: Any, toy: Path) -> None:
    said = ilf("run", "toy", "--dry-run")
    assert said.status == 0
    assert not Path("runs").exists()
    lines = said.out.splitlines()
    assert [line.split()[0] for line in lines[1:8]] == STEPS
    assert "to do" in lines[1]
    assert "load-" in lines[1]
    assert all("decided after load" in line for line in lines[2:8])
    assert "0 reused, 1 to do, 6 decided later; it would ask people for 0.3 hours" in " ".join(
        said.out.split()
    )
    assert all(len(line) <= 80 for line in lines)
    plan = json.loads(ilf("run", "toy", "--dry-run", "--json").out)
    assert [line["step"] for line in plan["steps"]] == STEPS
    assert plan["human_seconds"] == 6 * 182.5
    assert plan["steps"][0]["state"] == "to do"


def test_a_run_tells_steps_grades_and_costs(ilf: Any, toy: Path) -> None:
    said = ilf("run", "toy")
    assert said.status == 0
    for name in STEPS:
        assert f"runs/toy/{name}-" in said.out
    assert "mean grade 0.000 (0 of 6) over 6 texts" in said.out
    assert "0.3 hours of people" in said.out
    assert "evaluate           6 rows" in said.err
    told = json.loads(ilf("run", "toy", "--json", "--quiet").out)
    assert [(entry["step"], entry["rows"]) for entry in told["steps"]] == [
        (name, 10 if name == "train" else 6) for name in STEPS
    ]
    last = told["steps"][-1]["summary"]
    assert last["grade"] == 0.0
    assert last["parts"]["broken"] == 1.0
    assert told["steps"][2]["summary"]["human_seconds"] == 6 * 182.5
    again = ilf("run", "toy")
    assert again.err.count("reused") == len(STEPS)
    assert "7 reused, 0 to do, 0 decided later. Nothing was run." in ilf("run", "toy", "--dry-run").out


def test_quiet_has_results_only(ilf: Any, toy: Path) -> None:
    said = ilf("run", "toy", "--quiet")
    assert said.err == ""
    assert "runs/toy/evaluate-" in said.out


def test_overrides_stand_anywhere_and_until_stops(ilf: Any, toy: Path) -> None:
    said = ilf("run", "--quiet", "toy", "load.n=3", "--until", "refine", "refine.n=2", "--json", "seed=5")
    assert said.status == 0
    steps = json.loads(said.out)["steps"]
    assert [entry["step"] for entry in steps] == ["load", "sample", "collect", "refine"]
    rows = [json.loads(line) for line in Path(steps[-1]["folder"], "rows.jsonl").read_text().splitlines()]
    assert len(rows) == 3
    assert all(len(row["refinements"]) == 2 for row in rows)
    assert ilf("run", "toy", "--until", "chose").status == 2


def test_the_table_of_a_choice_is_printed(ilf: Any, toy: Path) -> None:
    rows = [
        {"prompt": f"p{i}", "output": f" a{i}", "critique": "b", "human_refinement": f" a{i} b"}
        for i in range(9)
    ]
    Path("toy/in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("toy/recipe.yaml").write_text(
        "steps:\n  load: {path: in.jsonl, columns: {prompt: prompt, output: output, critique: critique, "
        "human_refinement: human_refinement}}\n  choice: {rankers: [chance, length, fixpoint]}\n"
    )
    said = ilf("run", "toy", "--quiet")
    assert said.status == 0, said.err
    assert "the person's text among 2 (tidy texts): chance reaches 0.500" in said.out
    assert re.search(r"\nlength +1\.000 \[", said.out)
    assert "fixpoint: not measured: Fixpoint needs model=" in said.out
    assert all(len(line) <= 80 for line in said.out.splitlines())
    assert len(json.loads(ilf("run", "toy", "--json").out)["steps"][-1]["table"]) == 9
    assert re.search(r"\nlength +1\.000 \[", ilf("show", "toy/choice").out)


def test_waiting_for_people_is_status_75(ilf: Any, toy: Path) -> None:
    recipe = (toy / "recipe.yaml").read_text()
    (toy / "recipe.yaml").write_text(
        recipe.replace("feedback: simulated", "feedback: {name: jsonl_file, path: a.jsonl}")
    )
    said = ilf("run", "toy")
    assert said.status == 75
    assert "ilf: waiting: 0 of 6 rows are answered" in said.err
    noted = json.loads(Path("runs/toy/last.json").read_text())["run"]["steps"]
    assert {name.partition("-")[0] for name in noted} == {"load", "sample", "collect"}
    assert set(folders()) <= set(noted), "what a waiting run has made is kept by clean"


def test_what_a_run_used_is_noted_without_secrets(
    ilf: Any, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "hunter2hunter2")
    ilf("run", "toy", "--quiet", "refine.generator.words=[hunter2hunter2]")
    noted = json.loads(Path("runs/toy/last.json").read_text())["run"]
    assert noted["steps"] == folders()
    assert "hunter2" not in json.dumps(noted)
    assert not list(Path("runs/toy/.locks").glob("in-use-*"))


def test_another_process_at_work(ilf: Any, toy: Path) -> None:
    from filelock import FileLock

    plan = json.loads(ilf("run", "toy", "--dry-run", "--json").out)
    locks = Path("runs/toy/.locks")
    locks.mkdir(parents=True)
    with FileLock(locks / f"{Path(plan['steps'][0]['folder']).name}.lock"):
        said = ilf("run", "toy", "--no-wait")
    assert said.status == 1
    assert "is being made by another process" in said.err


def test_own_components_are_found_from_the_current_folder(command: Any, toy: Path, tmp_path: Path) -> None:
    (tmp_path / "mylab").mkdir()
    (tmp_path / "mylab" / "echo.py").write_text((TESTS / "toys" / "echo.py").read_text())
    (tmp_path / "yaml.py").write_text("raise SystemError('a file here stands in for a library')")
    words = ("run", "toy", "generator=mylab.echo", "--until", "sample", "--quiet")
    process = command(*words, python=("-P", "-m", "ilf"), cwd=tmp_path)  # -P: as an installed script sees it
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_goes_on(
    command: Any, toy: Path, tmp_path: Path, number: int, status: int
) -> None:
    """Rows on disk are whole, the exit status is the signal's, and the same command gives the bytes of an unbroken run."""
    slow = ("generator={name: toys.echo, slow: 1.0}", "load.n=600", "--until", "refine")
    process = command("run", "toy", *slow, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in tmp_path.glob("runs/toy/refine-*/rows.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert err.rstrip().endswith("interrupted; run the same command again to go on")
    assert "Traceback" not in err
    (rows,) = tmp_path.glob("runs/toy/refine-*/rows.jsonl")
    assert not (rows.parent / "made_by.json").exists()
    assert all(json.loads(line) for line in rows.read_text().splitlines())
    assert rows.parent.name in json.loads((tmp_path / "runs/toy/last.json").read_text())["run"]["steps"]
    fast = ("generator={name: toys.echo, slow: 0.0}", *slow[1:])
    for words in ((), ("--runs", "other")):
        process = command("run", "toy", *fast, *words, cwd=tmp_path)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert rows.read_bytes() == (tmp_path / "other/toy" / rows.parent.name / "rows.jsonl").read_bytes()
