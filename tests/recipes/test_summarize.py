"""recipes/summarize with random tiny models of the shapes that people use, through the path of the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_model

from ilf.compare import compare
from ilf.errors import DataError, UsageError, Waiting
from ilf.files import sha256_file
from ilf.progress import Progress
from ilf.recipe import packaged, read_overrides, read_recipe
from ilf.run import run_steps

FOLDER = packaged()["summarize"]
SMALL = {"generator.max_new_tokens": 8, "refine.n": 3, "threads": 1}
QUIET = Progress(quiet=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("model") / "qwen2", "qwen2", chat=True, positions=4096))


def recipe(model: str, **overrides: Any) -> Any:
    return read_recipe("summarize").override({"model": model, **SMALL, **overrides})


def rows(step: Any) -> list[dict[str, Any]]:
    return list(step.rows())


@pytest.fixture(scope="module")
def finished(model: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    runs = tmp_path_factory.mktemp("runs")
    return runs, run_steps(recipe(model).plan(), runs, QUIET)


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


def check_run(made: dict[str, Any], model: str) -> None:
    """What every shape must give: rewrites, a pick, a tuned model that differs, graded answers before and after."""
    asked = lines_of(FOLDER / "critiques.jsonl")
    chosen = rows(made["choose"])
    assert [row["critique_shown"] for row in chosen] == [row["critique"] for row in asked]
    for row in chosen:
        assert len(row["refinements"]) == len(row["scores"]) == 3
        assert row["completion"] == row["refinements"][row["picked"]]
        assert row["scores"][row["picked"]] == max(row["scores"])
    log = rows(made["train"])
    assert log[0]["tokens"] > len(chosen), "the completions' tokens, end tokens included"
    tuned = made["train"].folder / "model" / "model.safetensors"
    assert sha256_file(tuned) != sha256_file(Path(model) / "model.safetensors")
    for step in ("graded_before", "evaluate"):
        found = rows(made[step])
        assert [row["grade"] is None for row in found] == [False, False, False, True]
        assert found[3]["reasons"] == ["no 'reference'"]
        assert set(found[0]["parts"]) == {"rouge1", "rouge2", "rougeL"}
    used = {step: made[step].made_by["settings"]["generator"]["model"] for step in ("before", "answer")}
    assert used["answer"] == made["train"].made_by["model"] != used["before"]
    before, after = rows(made["before"]), rows(made["answer"])
    assert [row["prompt"] for row in before] == [row["prompt"] for row in after]


def test_the_whole_loop_on_a_chat_model(finished: tuple[Path, dict[str, Any]], model: str) -> None:
    check_run(finished[1], model)


def test_again_costs_nothing_and_changes_nothing(finished: tuple[Path, dict[str, Any]], model: str) -> None:
    runs, made = finished
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}
    again = run_steps(recipe(model).plan(), runs, QUIET)
    assert {name: step.folder for name, step in again.items()} == {name: s.folder for name, s in made.items()}
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()} == before


def test_the_same_seed_gives_the_same_bytes(
    finished: tuple[Path, dict[str, Any]], model: str, tmp_path: Path
) -> None:
    first, second = finished[1], run_steps(recipe(model).plan(), tmp_path, QUIET)
    for name, step in first.items():
        assert second[name].folder.name == step.folder.name
        assert second[name].made_by["content"] == step.made_by["content"]
    assert second["train"].made_by["model"] == first["train"].made_by["model"]


def test_chat_template_is_used(finished: tuple[Path, dict[str, Any]], model: str) -> None:
    """The refiner is asked in one user message, open for the answer."""
    from ilf.generators.transformers_lm import TransformersLM

    generator = TransformersLM(model=model, device="cpu")
    text = generator.lm.tokenizer.decode(generator.prompt_ids("Summarize"))
    assert text == "<|user|>Summarize\n<|assistant|>"


def test_controls_share_what_they_can(finished: tuple[Path, dict[str, Any]], model: str) -> None:
    """Another ranker runs again from choose on, and no earlier."""
    runs, made = finished
    chance = run_steps(recipe(model, **{"choose.ranker": "chance"}).plan("train"), runs, QUIET)
    assert chance["refine"].folder == made["refine"].folder
    assert chance["train"].folder != made["train"].folder
    ranker_scores = [row["scores"] for row in rows(chance["choose"])]
    assert ranker_scores != [row["scores"] for row in rows(made["choose"])]


def test_critiques_of_ones_own(model: str, tmp_path: Path) -> None:
    """The README's command for a CSV file with other column names."""
    (tmp_path / "mine.csv").write_text(
        "post,summary,comment,who,took\nA long post.,Short.,Name the price.,ann,40\nMore.,Less.,Too short.,bo,55\n",
        encoding="utf-8",
    )
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(load: \{path: mine\.csv.*?)```", text, re.DOTALL)
    assert block, "the README shows how to map columns"
    copied = tmp_path / "recipe.yaml"
    copied.write_text(
        (FOLDER / "recipe.yaml")
        .read_text(encoding="utf-8")
        .replace("  load: {path: critiques.jsonl, job: critique}\n", _indented(block[1])),
        encoding="utf-8",
    )
    for name in ("critiques.jsonl", "test.jsonl"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    own = read_recipe(str(copied)).override({"model": model, **SMALL})
    found = rows(run_steps(own.plan("refine"), tmp_path / "runs", QUIET)["refine"])
    assert [(row["critique"], row["annotator"], row["seconds"]) for row in found] == [
        ("Name the price.", "ann", 40), ("Too short.", "bo", 55),
    ]  # fmt: skip


def _indented(block: str) -> str:
    return "".join(f"  {line}\n" if line.strip() else "\n" for line in block.splitlines())


def test_critiques_of_the_models_own_answers(model: str, tmp_path: Path) -> None:
    """The README's other way: the model answers, people write into a file, the run waits for them."""
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(load: \{path: posts\.jsonl.*?)```", text, re.DOTALL)
    assert block, "the README shows how to have the model's own answers criticised"
    recipe_text = (FOLDER / "recipe.yaml").read_text(encoding="utf-8")
    steps = _indented(block[1])
    recipe_text = recipe_text.replace("  load: {path: critiques.jsonl, job: critique}\n", steps)
    copied = tmp_path / "recipe.yaml"
    copied.write_text(
        re.sub(r"refine: \{reads: load, ", "refine: {reads: collect, ", recipe_text), encoding="utf-8"
    )
    posts = [{"prompt": row["prompt"]} for row in lines_of(FOLDER / "test.jsonl")]
    (tmp_path / "posts.jsonl").write_text("".join(json.dumps(p) + "\n" for p in posts), encoding="utf-8")
    for name in ("critiques.jsonl", "test.jsonl"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    own = read_recipe(str(copied)).override({"model": model, **SMALL})
    runs = tmp_path / "runs"
    with pytest.raises(Waiting, match=r"0 of 4 rows are answered in .*answers\.jsonl"):
        run_steps(own.plan("choose"), runs, QUIET)
    answers = tmp_path / "answers.jsonl"
    asked = lines_of(answers)
    said = [{**entry, "critique": f"Say more about {i}.", "seconds": 60 + i} for i, entry in enumerate(asked)]
    answers.write_text("".join(json.dumps(entry) + "\n" for entry in said), encoding="utf-8")
    made = run_steps(own.plan("choose"), runs, QUIET)
    assert [row["critique_shown"] for row in rows(made["choose"])] == [
        f"Say more about {i}." for i in range(4)
    ]
    assert [row["seconds"] for row in rows(made["choose"])] == [60, 61, 62, 63]
    answers.write_text(
        answers.read_text(encoding="utf-8").replace("about 0", "about the end"), encoding="utf-8"
    )
    again = run_steps(own.plan("choose"), runs, QUIET)
    assert again["sample"].folder == made["sample"].folder
    assert again["choose"].folder != made["choose"].folder, "an edited critique is another critique"


def test_a_model_that_is_not_there_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model 'no/such-model': neither a folder"):
        run_steps(recipe("no/such-model").plan(), tmp_path / "runs", QUIET)


def test_a_broken_critique_is_named_with_its_line(model: str, tmp_path: Path) -> None:
    bad = tmp_path / "mine.jsonl"
    lines = (FOLDER / "critiques.jsonl").read_text(encoding="utf-8").splitlines()
    bad.write_text(
        "\n".join([lines[0], json.dumps({**json.loads(lines[1]), "critique": " "})]), encoding="utf-8"
    )
    with pytest.raises(DataError, match=r"mine\.jsonl: line 2: 'critique' is empty"):
        run_steps(
            recipe(model, **read_overrides([f"load.path={bad}"])).plan("load"), tmp_path / "runs", QUIET
        )


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "chat"), [("llama", True), ("llama", False), ("gpt2", False)])
def test_other_shapes(kind: Any, chat: bool, tmp_path: Path) -> None:
    """About five seconds each; without a chat template the forms are continued as plain text."""
    folder = str(tiny_model(tmp_path / kind, kind, chat=chat, positions=4096))
    check_run(run_steps(recipe(folder).plan(), tmp_path / "runs", QUIET), folder)


@pytest.mark.slow
def test_every_arm_runs_and_the_table_is_whole(model: str, tmp_path: Path) -> None:
    """About a minute: thirteen arms at two seeds, sharing what they share."""
    two = recipe(model, **{"compare.seeds": [0, 1], "compare.workers": 2})
    result = compare(two, tmp_path / "runs", QUIET)
    arms = {arm["arm"]: arm for arm in result["arms"]}
    assert set(arms) == {"base", "sft_initial", "critiques_in_context", "prompt_from_critiques"} | {
        f"{source}_{ranker}"
        for source in ("ilf", "shuffled", "no_feedback")
        for ranker in ("chance", "length", "judge")
    }
    assert arms["base"]["vs"] is None
    assert arms["ilf_judge"]["vs"]["control"] == "no_feedback_judge"
    assert all(arm["grade"] is not None and arm["seeds"] == 2 for arm in arms.values())
    assert [entry["ranker"] for entry in result["worth"]] == ["chance", "length", "judge"]
    json.dumps(result, allow_nan=False)
