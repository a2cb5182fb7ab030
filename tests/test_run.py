"""Running steps: what an address is made of, what is reused, who waits, and what a dry run promises."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from toys.echo import Echo

from ilf import read_recipe, run_recipe
from ilf.errors import Busy, ComponentError, Waiting
from ilf.outlook import outlook
from ilf.progress import Progress
from ilf.store import Step

run = importlib.import_module("ilf.run")

ROOT = Path(__file__).parent.parent
QUIET = Progress(quiet=True)

RECIPE = """
world: nano
form: nano
generator: {name: toys.echo, calls: CALLS}
threads: 1
steps:
  load: {n: 4}
  sample: {}
  collect: {feedback: simulated}
  refine: {n: 2}
  choose: {ranker: length}
  train: {start: nano, strategy: toys.slow_learner}
  evaluate: {reads: choose, grader: world, text: completion}
"""
#: Rows of one's own instead of a world's; written beside the recipe.
OWN = """
generator: {name: toys.echo}
form: base
steps:
  load: {path: in.jsonl, columns: {prompt: prompt, output: output, critique: critique}}
  refine: {n: 2}
  choose: {ranker: length}
"""
LINES = '{"prompt": "Colour?", "output": " red", "critique": "say blue"}\n'
#: A generator that has what a real one has: a model, a device.
WITH_MODEL = '''
from dataclasses import dataclass


@dataclass(frozen=True)
class WithModel:
    """Answers with the name of nothing."""

    model: str = "nano"
    device: str = "auto"
    revision = 1

    def generate(self, prompts, n, seeds):
        return [[" yes"] * n for _ in prompts]
'''


@pytest.fixture
def recipe(recipe_file: Any, tmp_path: Path) -> Any:
    """Writes a recipe with its input and returns the recipe as read."""

    def write(text: str = RECIPE, name: str = "toy", lines: str = LINES, **overrides: Any) -> Any:
        path = recipe_file(text.replace("CALLS", str(tmp_path / "calls")), name)
        (path.parent / "in.jsonl").write_text(lines)
        return read_recipe(str(path)).override(overrides)

    return write


@pytest.fixture
def with_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of somebody's own component, importable during one test."""
    package = tmp_path / "own" / "ownlab"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "with_model.py").write_text(WITH_MODEL)
    monkeypatch.syspath_prepend(str(package.parent))
    return "ownlab.with_model"


def made(recipe: Any, runs: Path) -> dict[str, Step]:
    return dict(run.run_steps(recipe.plan(), runs, QUIET))


def folders(recipe: Any, runs: Path) -> dict[str, str]:
    return {name: step.folder.name for name, step in made(recipe, runs).items()}


def finished_at(runs: Path) -> dict[str, int]:
    return {str(p.relative_to(runs)): p.stat().st_mtime_ns for p in runs.rglob("made_by.json")}


def first_address(recipe: Any) -> Any:
    """The address of the first step, which reads no other."""
    return run.address_of(recipe.plan()[0], {}, Path("runs"))


# --- content addresses


def test_the_same_rows_again_and_nothing_after_them_runs_again(recipe: Any, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    first = folders(recipe(), runs)
    before = finished_at(runs)
    # Another setting, another address, but length needs no critique: the same rows.
    second = folders(recipe(**{"choose.without_critique": "tie"}), runs)
    assert {name for name in first if first[name] != second[name]} == {"choose"}
    assert {path: at for path, at in finished_at(runs).items() if path in before} == before
    assert len(finished_at(runs)) == len(before) + 1
    other = folders(recipe(**{"choose.ranker": "chance"}), runs)
    assert other["evaluate"] != first["evaluate"], "other rows, another address"


def test_moving_the_runs_changes_nothing(recipe: Any, tmp_path: Path) -> None:
    first = folders(recipe(), tmp_path / "here")
    calls, before = (tmp_path / "calls").read_text(), finished_at(tmp_path / "here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert folders(recipe(), tmp_path / "there") == first
    assert finished_at(tmp_path / "there") == before
    assert (tmp_path / "calls").read_text() == calls, "the generator was asked again"


def test_an_input_file_is_what_it_holds_not_where_it_lies(recipe: Any, tmp_path: Path) -> None:
    here, there = first_address(recipe(OWN)), first_address(recipe(OWN, "elsewhere"))
    assert here == there
    assert str(tmp_path) not in json.dumps(here.hashed)
    changed = first_address(recipe(OWN, lines=LINES.replace("blue", "green")))
    assert changed.folder != here.folder


def test_an_encoder_in_a_folder_is_what_it_holds(tmp_path: Path) -> None:
    from ilf.run import _files_by_content

    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text("the same")
    here, there = ({"revision": 1, "encoder": str(tmp_path / name)} for name in ("here", "there"))
    before = _files_by_content(here)
    assert before == _files_by_content(there)
    (tmp_path / "here" / "weights").write_text("others")
    assert _files_by_content(here) != before
    named = {"revision": 1, "encoder": "all-MiniLM-L6-v2"}
    assert _files_by_content(named) == named


def test_an_answers_file_is_what_it_holds(recipe: Any, tmp_path: Path) -> None:
    """The file of a component inside of a verb is hashed too: new answers are new work."""
    feedback = {"name": "jsonl_file", "path": "answers.jsonl"}
    recipe = recipe()
    recipe.raw["steps"]["collect"]["feedback"] = feedback
    steps = recipe.plan("sample")
    samples = run.run_steps(steps, tmp_path / "runs", QUIET)
    collect = recipe.plan()[2]
    answers = recipe.folder / "answers.jsonl"
    found = []
    for text in (None, "{}\n", '{"id": "x"}\n', "{}\n"):
        if text is not None:
            answers.write_text(text)
        found.append(run.address_of(collect, samples, tmp_path / "runs").folder.name)
    assert len(set(found)) == 3
    assert found[1] == found[3]


def test_a_column_called_path_is_no_file(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = OWN.replace("critique: critique}", "critique: critique, path: place}")
    lines = LINES.replace("}", ', "place": "p. 7"}')
    Path("place").write_text("a file that happens to be called like the column")
    before = first_address(recipe(text, lines=lines))
    Path("place").write_text("changed")
    assert first_address(recipe(text, lines=lines)) == before
    assert before.hashed["settings"]["columns"]["path"] == "place"
    assert made(recipe(text, lines=lines), tmp_path / "runs")["load"].rows()[0]["path"] == "p. 7"


def test_a_revision_is_part_of_the_address(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = folders(recipe(), tmp_path / "runs")
    monkeypatch.setattr(Echo, "revision", 2)
    second = folders(recipe(), tmp_path / "runs")
    # The mended generator gave the same rows, so what follows is the same work.
    assert {name for name in first if first[name] != second[name]} == {"sample", "refine"}


def test_speed_only_settings_are_no_part_of_the_address(recipe: Any, tmp_path: Path) -> None:
    first = folders(recipe(), tmp_path / "runs")
    assert folders(recipe(**{"sample.generator.slow": 0.01}), tmp_path / "runs") == first
    assert (
        folders(recipe(**{"sample.generator.words": ["x"]}), tmp_path / "runs")["sample"] != first["sample"]
    )


def test_device_and_threads_count_where_something_computes(
    recipe: Any, tmp_path: Path, with_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def addresses(**overrides: Any) -> tuple[str, ...]:
        load, sample, *_ = recipe(**overrides).plan()
        loaded = {"load": Step(tmp_path / "load")}
        return tuple(run.address_of(step, loaded, tmp_path).folder.name for step in (load, sample))

    loaded = Step(tmp_path / "load")
    loaded.folder.mkdir()
    loaded.finish({})
    plain = addresses()
    assert addresses(threads=2) == plain, (
        "a component without a device gives the same on any number of threads"
    )
    own = {"generator": {"name": with_model, "device": "cpu"}}
    one = addresses(**own)
    two = addresses(**own, threads=2)
    assert one[0] == two[0] == plain[0]
    assert one[1] != two[1], "sums in another order round differently"
    seen = {}
    for device in ("cpu", "cuda"):
        monkeypatch.setattr("ilf.config.resolve_device", lambda name, d=device: d if name == "auto" else name)
        seen[device] = addresses(generator={"name": with_model})
    assert seen["cpu"] == one, "auto is the device that it stands for"
    assert seen["cuda"][1] != one[1]


def test_a_trained_model_is_its_bytes_not_how_it_came_about(
    recipe: Any, tmp_path: Path, with_model: str
) -> None:
    text = f"{RECIPE}  answer: {{do: sample, reads: load, generator: {{name: {with_model}}}, model: steps.train}}\n"
    runs = tmp_path / "runs"
    first = made(recipe(text), runs)
    # Other completions, as many of them: this toy learns the same.
    same = made(recipe(text, **{"choose.ranker": "chance"}), runs)
    other = made(recipe(text, **{"train.seed": 3}), runs)
    assert first["train"].folder != same["train"].folder
    assert first["answer"].folder == same["answer"].folder
    assert first["answer"].folder != other["answer"].folder
    settings = first["answer"].made_by["settings"]
    assert settings["generator"]["model"] == first["train"].made_by["model"]


# --- what is on disk


def contents(runs: Path) -> dict[str, bytes]:
    files = (p for p in sorted(runs.rglob("*")) if p.is_file() and ".locks" not in p.parts)
    return {str(p.relative_to(runs)): p.read_bytes() for p in files if p.name != "measured.json"}


def test_two_runs_in_two_folders_are_the_same_bytes(recipe: Any, tmp_path: Path) -> None:
    for runs in (tmp_path / "one", tmp_path / "deep" / "two"):
        made(recipe(), runs)
    assert contents(tmp_path / "one") == contents(tmp_path / "deep" / "two")
    assert len([name for name in contents(tmp_path / "one") if name.endswith("made_by.json")]) == 7


def test_clocks_stay_outside_of_what_a_step_was_made_by(recipe: Any, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    first = made(recipe(**{"generator.slow": 0.05}), runs)
    assert set(first["sample"].measured) == {"wall_seconds", "cpu_seconds", "sittings"}
    assert first["sample"].measured["wall_seconds"] >= 0.05
    assert "seconds" not in json.dumps(first["sample"].made_by)
    (first["sample"].folder / "measured.json").write_text('{"wall_seconds": 1e9}')
    assert made(recipe(), runs)["choose"].folder == first["choose"].folder


def test_people_who_have_not_answered_leave_no_step_behind(recipe: Any, tmp_path: Path) -> None:
    recipe, runs = recipe(), tmp_path / "runs"
    recipe.raw["steps"]["collect"]["feedback"] = {
        "name": "jsonl_file",
        "path": "answers.jsonl",
        "seconds": 60.0,
    }
    for _ in range(2):
        with pytest.raises(Waiting, match="0 of 4 rows are answered"):
            made(recipe, runs)
        assert sorted(p.name.partition("-")[0] for p in runs.iterdir() if p.name != ".locks") == [
            "load",
            "sample",
        ]
    answers = recipe.folder / "answers.jsonl"
    asked = [json.loads(line) for line in answers.read_text().splitlines()]
    answers.write_text("".join(json.dumps({**entry, "critique": "say more"}) + "\n" for entry in asked))
    assert len(made(recipe, runs)["choose"].rows()) == 4


def test_a_step_that_fails_leaves_what_is_finished_and_no_more(recipe: Any, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with pytest.raises(ComponentError, match="never works"):
        made(recipe(**{"choose.ranker": "toys.broken"}), runs)
    assert len(finished_at(runs)) == 4
    assert not list(runs.glob("choose-*"))


# --- one writer


def test_who_does_not_wait_is_told(recipe: Any, tmp_path: Path) -> None:
    steps, runs = recipe().plan(), tmp_path / "runs"
    folder = run.address_of(steps[0], {}, runs).folder
    with (
        Step(folder).lock(wait=True, say=print),
        pytest.raises(Busy, match=f"{folder.name} is being made by process"),
    ):
        run.run_steps(steps, runs, QUIET, wait=False)
    assert run.run_steps(steps, runs, QUIET, wait=False)["choose"].is_finished


def test_two_processes_make_one_run(recipe: Any, tmp_path: Path) -> None:
    recipe(RECIPE.replace("calls:", "slow: 0.2, calls:"))
    code = "import sys; from ilf import run_recipe; run_recipe(sys.argv[1], runs=sys.argv[2])"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); {code}"]
    command += [str(tmp_path / "toy"), str(tmp_path / "runs")]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert (tmp_path / "calls").read_text() == "4\n" * 2, "one sample, one refine"
    alone = run_recipe(str(tmp_path / "toy"), runs=tmp_path / "alone", quiet=True)
    assert len(alone) == 7
    assert contents(tmp_path / "runs") == contents(tmp_path / "alone")


# --- dry runs


def told(recipe: Any, runs: Path) -> dict[str, Any]:
    return {line.step: line for line in outlook(recipe.plan(), runs)}


def test_a_dry_run_says_what_is_known_and_makes_nothing(recipe: Any, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    lines = told(recipe(), runs)
    assert lines["load"].state == "to do"
    assert {line.state for line in lines.values() if line.step != "load"} == {"decided after load"}
    assert [line.folder is None for line in lines.values()] == [False] + [True] * 6
    rows = {name: line.rows for name, line in lines.items()}
    assert rows == {**dict.fromkeys(lines, 4), "train": None}
    assert {name: line.human_seconds for name, line in lines.items() if line.human_seconds} == {
        "collect": 4 * 182.5
    }
    assert not runs.exists()


def test_a_dry_run_names_what_is_reused_and_what_the_rest_waits_for(recipe: Any, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    done = made(recipe(), runs)
    lines = told(recipe(), runs)
    assert {line.state for line in lines.values()} == {"reused"}
    assert sum(line.human_seconds for line in lines.values()) == 0, "who has answered is not asked again"
    assert {name: line.folder for name, line in lines.items()} == {n: str(s.folder) for n, s in done.items()}
    assert lines["train"].rows == 10, "the lines of its log"
    changed = told(recipe(**{"refine.n": 3}), runs)
    states = {name: line.state for name, line in changed.items()}
    assert states == {
        **dict.fromkeys(("load", "sample", "collect"), "reused"),
        "refine": "to do",
        **dict.fromkeys(("choose", "train", "evaluate"), "decided after refine"),
    }
    assert not Path(str(changed["refine"].folder)).exists()


def test_a_step_waits_for_its_own_inputs_not_for_a_stranger(recipe: Any, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    made(recipe(), runs)
    text = RECIPE.replace("  sample: {}\n", "  sample: {}\n  own: {do: sample, reads: load, n: 8}\n")
    text = text.replace("collect: {", "collect: {reads: sample, ").replace("refine: {n: 2}", "refine: {n: 3}")
    lines = told(recipe(text), runs)
    assert (lines["own"].state, lines["refine"].state) == ("to do", "to do")
    assert lines["choose"].state == lines["train"].state == "decided after refine"


def test_the_price_of_a_ranking_is_that_of_its_comparisons(recipe: Any, tmp_path: Path) -> None:
    text = """
world: nano
generator: toys.echo
steps: {load: {n: 5}, sample: {n: 4}, collect: {feedback: simulated, job: rank}}
"""
    before = told(recipe(text), tmp_path / "runs")["collect"].human_seconds
    ledger = {
        row["annotation_id"]: row["seconds"]
        for row in made(recipe(text), tmp_path / "runs")["collect"].rows()
    }
    assert before == pytest.approx(sum(ledger.values()))
    assert len(ledger) == 5


def test_a_price_that_depends_on_unknown_rows_is_unknown(recipe_file: Any, tmp_path: Path) -> None:
    text = (
        "generator: toys.echo\nsteps:\n  load: {path: in.jsonl}\n  sample: {}\n"
        "  collect: {feedback: {name: jsonl_file, path: answers.jsonl}}\n"
    )
    path = recipe_file(text)
    (path.parent / "in.jsonl").write_text('{"prompt": "Colour?"}\n')
    seen = told(read_recipe(str(path)), tmp_path / "runs")
    assert seen["collect"].rows is None
    assert seen["collect"].human_seconds is None
