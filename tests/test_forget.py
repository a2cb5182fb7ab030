"""forget: nothing of one person is left in a real run, nothing of others is gone, also when it was killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ilf.errors import DataError, Waiting
from ilf.forget import erase, look, run_folders
from ilf.label_studio import events
from ilf.records import line
from ilf.run import run_recipe
from ilf.store import Step

TESTS = Path(__file__).parent
RECIPE = """
about: two people criticise
world: nano
form: nano
generator: {name: toys.echo, words: [red, green]}
steps:
  load: {split: train, n: 8}
  sample: {}
  collect: {feedback: {name: jsonl_file, path: said.jsonl}, job: critique}
  remembered: {do: train, reads: collect, strategy: remember}
  distilled: {do: train, reads: collect, strategy: {name: distil_prompt, by: extraction}}
  shuffled: {do: refine, reads: collect, n: 2, feedback: shuffled}
  refine: {reads: collect, n: 3}
  choose: {ranker: chance}
  train: {strategy: toys.slow_learner, start: nano}
  answer: {do: sample, reads: load, model: steps.train, generator: {name: toys.model_echo}}
  pick: {do: choose, ranker: chance, candidates: outputs, without_critique: tie, reads: answer}
  again: {do: train, reads: pick, strategy: toys.slow_learner, start: nano}
"""
ANN = 'It forgets zebra {} and does not say why 🦓 "at all".'
BOB = "It should name walrus {} before anything else is said."


def names(*who: str) -> Callable[[Path], frozenset[str]]:
    return lambda run: frozenset(who)


def holding(folder: Path, *words: str) -> list[Path]:
    """Files below a folder in which one of the words stands, byte for byte or as JSON and pages write it."""
    forms = [
        form.encode()
        for word in words
        for form in (word, json.dumps(word)[1:-1], word.replace('"', "&quot;"))
    ]
    return [p for p in folder.rglob("*") if p.is_file() and any(form in p.read_bytes() for form in forms)]


@pytest.fixture
def run(tmp_path: Path, recipe_file: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, Step]]:
    """A recipe with two people, run to its end; returns what runs it again."""
    monkeypatch.chdir(tmp_path)
    path = recipe_file(RECIPE)

    def again() -> dict[str, Step]:
        return run_recipe(str(path), {}, tmp_path / "runs", quiet=True)

    with pytest.raises(Waiting):
        again()
    asked = [json.loads(text) for text in (path.parent / "said.jsonl").read_text().splitlines()]
    lines = []
    for i, entry in enumerate(asked):
        lines.append({**entry, "annotator": "ann", "critique": ANN.format(i), "seconds": 60})
        if i % 2:
            lines.append({**entry, "annotator": "bob", "critique": BOB.format(i), "seconds": 30})
    lines[0] |= {"annotator": "bob", "critique": "Too long."}  # both say this of other outputs
    lines[1] |= {"critique": "Too long."}
    (path.parent / "said.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in lines))
    again()
    return again


def rows(step: Step) -> list[dict[str, Any]]:
    return list(step.rows())


def test_nothing_of_one_person_is_left_and_all_of_the_other(tmp_path: Path, run: Any) -> None:
    runs = tmp_path / "runs"
    before = run()
    kept = {name: [r for r in rows(step) if r.get("annotator") == "bob"] for name, step in before.items()}
    assert {r["annotator"] for r in rows(before["choose"])} == {"ann", "bob"}
    (runs / "toy" / "report.html").write_text("<p>It forgets zebra 3 and does not say why ...</p>")
    (runs / "toy" / "result.json").write_text(json.dumps({"examples": [ANN.format(4)]}))
    found = look(runs, names("ann"))
    assert {part.kind for part in found.parts} == {"rows", "page", "memory"}
    kept_words = [before[name].folder for name in ("remembered", "distilled")]
    assert holding(kept_words[0] / "model", "zebra")
    erase(found)
    assert not any(folder.exists() for folder in kept_words), (
        "what kept words is made again, not trained again"
    )
    assert holding(runs, *[ANN.format(i) for i in range(8)], "zebra", '"ann"') == []
    for name in ("collect", "refine", "choose"):
        assert rows(before[name]) == kept[name]
    assert len(rows(before["load"])) == len(rows(before["sample"])) == 8
    assert look(runs, names("ann")).is_empty
    # Where Bob's row was shown Ann's words it is gone, too.
    shown = {r["critique_shown"] for r in rows(before["shuffled"])}
    assert not [text for text in shown if "zebra" in text]


def test_the_recipe_runs_again_and_makes_what_follows_without_them(tmp_path: Path, run: Any) -> None:
    before = run()
    erase(look(tmp_path / "runs", names("ann")))
    after = run()
    for name in ("load", "sample", "collect"):
        assert after[name].folder == before[name].folder
    for name in ("refine", "choose", "train", "remembered", "distilled"):
        assert after[name].folder != before[name].folder
    assert holding(after["remembered"].folder, "walrus")
    assert {r["annotator"] for r in rows(after["choose"])} == {"bob"}
    assert holding(tmp_path / "runs", "zebra") == []


def test_models_are_kept_and_named_with_their_rows(tmp_path: Path, run: Any) -> None:
    made = run()
    found = look(tmp_path / "runs", names("ann"))
    by_folder = {model.folder: model for model in found.models}
    assert set(by_folder) == {made["train"].folder, made["again"].folder}
    direct, indirect = by_folder[made["train"].folder], by_folder[made["again"].folder]
    theirs = sum(r["annotator"] == "ann" for r in rows(made["choose"]))
    assert (direct.rows, direct.total) == (theirs, len(rows(made["choose"])))
    assert indirect.rows == 0
    erase(found)
    assert (made["train"].folder / "model").exists()
    assert look(tmp_path / "runs", names("nobody")).models == []


def test_what_others_said_in_the_same_words_stays(tmp_path: Path, run: Any) -> None:
    made = run()
    assert [r["annotator"] for r in rows(made["collect"]) if r["critique"] == "Too long."] == ["bob", "ann"]
    erase(look(tmp_path / "runs", names("ann")))
    assert [r["annotator"] for r in rows(made["collect"]) if r["critique"] == "Too long."] == ["bob"]


def test_files_outside_of_the_runs_are_named_and_untouched(tmp_path: Path, run: Any) -> None:
    made = run()
    said_file = tmp_path / "toy" / "said.jsonl"
    before = said_file.read_bytes()
    (tmp_path / "runs" / "my notes.txt").write_text(ANN.format(5))
    found = look(tmp_path / "runs", names("ann"))
    assert found.files_outside == [str(made["collect"].folder)]
    assert found.quoted_elsewhere == [tmp_path / "runs" / "my notes.txt"]
    erase(found)
    assert said_file.read_bytes() == before
    assert (tmp_path / "runs" / "my notes.txt").exists()


def test_an_unfinished_step_with_their_rows_starts_again(tmp_path: Path, run: Any) -> None:
    made = run()
    (made["refine"].folder / "made_by.json").unlink()
    leftover = tmp_path / "runs" / "toy" / ".refresh-collect-0123456789"
    leftover.mkdir()
    (leftover / "rows.jsonl").write_bytes((made["collect"].folder / "rows.jsonl").read_bytes())
    erase(look(tmp_path / "runs", names("ann")))
    assert not made["refine"].folder.exists()
    assert holding(tmp_path / "runs", "zebra") == []
    assert {r["annotator"] for r in rows(run()["refine"])} == {"bob"}


# --- killed in the middle

_KILLED = """
import sys
sys.path[:0] = sys.argv[4:]
from pathlib import Path
import os, signal
from ilf import forget
at, seen = int(sys.argv[2]), 0
def tick(event, arguments):
    global seen
    # Every rename, and every removal of a file, is a moment at which power may fail.
    if event in ("os.rename", "os.remove") and "/runs/" in str(arguments[0]):
        seen += 1
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(tick)
runs = Path(sys.argv[1])
who = frozenset(sys.argv[3].split())
forget.erase(forget.look(runs, lambda run: who))
print("done")
"""


def killed(runs: Path, at: int, who: str) -> bool:
    """Erases in another process that is killed before its ``at``-th change of a file; whether it was."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(runs), str(at), who, str(TESTS.parent), str(TESTS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, -9), done.stderr
    return done.returncode == -9


def test_killed_at_any_moment_the_same_call_finishes(tmp_path: Path, run: Any) -> None:
    import shutil

    made = run()
    with_people(tmp_path / "runs" / "toy")
    whole = tmp_path / "whole"
    shutil.copytree(tmp_path / "runs", whole)
    erase(look(whole, names("ann", PSEUDONYM)))
    wanted = tree(whole)
    at = 0
    while True:
        at += 1
        copy = tmp_path / f"killed{at}" / "runs"
        shutil.copytree(tmp_path / "runs", copy)
        if not killed(copy, at, f"ann {PSEUDONYM}"):
            break
        for part in copy.rglob("rows.jsonl"):  # half a step is refused, never read with them in it
            step = Step(part.parent)
            if step.is_finished and len(part.read_bytes().splitlines()) != step.made_by["rows"]:
                with pytest.raises(DataError):
                    step.rows()
        erase(look(copy, names("ann", PSEUDONYM)))
        assert tree(copy) == wanted, at
    assert at > 8
    assert made


def test_words_are_known_until_the_last_copy_is_gone(tmp_path: Path) -> None:
    """A step may lack Ann's row and show its words to Bob's: what it was made from must go after it."""
    ann = [
        {
            "id": f"a{i}",
            "job": "critique",
            "annotator": "ann",
            "annotation_id": f"A{i}",
            "critique": ANN.format(i),
        }
        for i in range(2)
    ]
    bob = {"id": "b", "job": "critique", "annotator": "bob", "annotation_id": "B", "critique": "Fine."}
    collect, refine = (tmp_path / "runs/toy" / name for name in ("collect-0000000001", "a_refine-0000000002"))
    finish(collect, [*ann, bob], [])
    content = Step(collect).made_by["content"]
    finish(refine, [ann[0], {**bob, "critique_shown": ANN.format(1)}], [content])
    seen: list[str] = []

    def say(text: str) -> None:
        seen.append(text)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        erase(look(tmp_path / "runs", names("ann")), say)
    assert "a_refine" in seen[0]
    erase(look(tmp_path / "runs", names("ann")))
    assert holding(tmp_path / "runs", "zebra") == []
    assert rows(Step(collect)) == [bob]


def finish(folder: Path, content: list[dict[str, Any]], reads: list[str]) -> None:
    folder.mkdir(parents=True)
    (folder / "rows.jsonl").write_bytes(b"".join(map(line, content)))
    Step(folder).finish({"stage": folder.name.partition("-")[0], "content_read": reads})


def tree(folder: Path) -> dict[str, bytes]:
    """Every file but clocks and locks; when somebody was forgotten is no part of it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and ".locks" not in path.parts:
            found[path.relative_to(folder).as_posix()] = b"".join(
                text
                for text in path.read_bytes().splitlines(keepends=True)
                if b'"kind":"forgotten"' not in text
            )
    return found


# --- people folders, as the source label_studio keeps them

PSEUDONYM = "p-0123456789"
OTHER = "p-ffffffffff"


def answer(number: int, who: str, critique: str, item: str = "i1") -> dict[str, Any]:
    return {
        "kind": "answer",
        "annotation": number,
        "annotator": who,
        "item": item,
        "row": "r",
        "state": "usable",
        "said": {"critique": critique},
    }


def with_people(run_folder: Path) -> Path:
    folder = run_folder / "people" / "collect-0123456789"
    words = [answer(1, PSEUDONYM, ANN.format(91)), answer(2, OTHER, BOB.format(92), "i2")]
    events.append(folder, [*words, {"kind": "withdrawn", "annotation": 1}])
    served = [
        {"item": "i1", "critique": "It forgets zebra but unfin", "text": "rewrite", "person": None},
        {"item": "i2", "critique": BOB.format(92), "text": "rewrite", "person": None},
        {"item": "i3", "critique": "zebra", "text": "rewrite", "person": PSEUDONYM},
        {"item": "i2", "critique": ANN.format(91) + " More.", "text": "rewrite", "person": None},
    ]
    (folder / "served.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in served))
    (folder / "served.jsonl").chmod(0o600)
    (folder / "project.json").write_text(json.dumps({"server": "http://x", "project": 3, "title": "t"}))
    return folder


def test_events_go_and_the_person_stays_forgotten(tmp_path: Path) -> None:
    folder = with_people(tmp_path / "runs" / "toy")
    later = tmp_path / "runs" / "toy" / "people" / "collect-later00000"
    events.append(later, [answer(5, OTHER, "fine")])
    erase(look(tmp_path / "runs", names(PSEUDONYM)))
    assert holding(tmp_path / "runs", "zebra") == []
    assert set(events.heard(folder).answers) == {2}
    assert events.heard(folder).forgotten == {PSEUDONYM}
    assert events.heard(later).forgotten == {PSEUDONYM}  # they may turn up there with the next pull
    left = [json.loads(text) for text in (folder / "served.jsonl").read_text().splitlines()]
    assert [entry["item"] for entry in left] == ["i2"]
    assert (folder / "served.jsonl").stat().st_mode & 0o777 == 0o600
    # What a pull that came in between had brought back is not heard, and goes with the next call.
    events.append(folder, [answer(7, PSEUDONYM, ANN.format(93))])
    assert set(events.heard(folder).answers) == {2}
    erase(look(tmp_path / "runs", names(PSEUDONYM)))
    assert holding(tmp_path / "runs", "zebra") == []
    assert sum(e["kind"] == "forgotten" for e in events.read_events(folder)) == 1


def test_a_run_without_steps_is_looked_at(tmp_path: Path) -> None:
    with_people(tmp_path / "runs" / "waiting")
    assert [run.name for run in run_folders(tmp_path / "runs")] == ["waiting"]
    assert {part.kind for part in look(tmp_path / "runs", names(PSEUDONYM)).parts} == {"events", "served"}


def test_the_forgotten_persons_name_is_not_kept(tmp_path: Path, run: Any) -> None:
    made = run()
    erase(look(tmp_path / "runs", names("ann")))
    note = made["collect"].made_by["forgotten"]
    assert [entry["annotator"] for entry in note] == [None]
    assert note[0]["rows"] == 7
