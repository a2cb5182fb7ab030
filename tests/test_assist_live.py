"""ilf assist with a real Label Studio and a real browser: the rewrite appears while a person types."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from assisting import Assist, Run, committed, criticise, extend, rewrite
from browser import log_in, open_project, submit, tab_to
from playwright.sync_api import Browser, Page
from studio import Studio

from ilf import choose
from ilf.label_studio import served
from rankers import Length

pytestmark = pytest.mark.slow
#: What the issue asks for: seconds from the committed critique to the rewrite on the page, nano model.
AT_MOST_SECONDS = 3.0
RECIPE = """
seed: 0
threads: 1
world: nano
model: nano
generator: {name: transformers_lm, max_new_tokens: 64}
form: nano
steps:
  load: {split: train, n: 4}
  sample: {}
  collect: {feedback: {name: label_studio, suggest: true, enough: 0.25}, job: critique}
  refine: {n: 2}
  choose: {ranker: length}
"""


def started(folder: Path, studio: Studio, recipe: str = RECIPE) -> Run:
    """A recipe that was run until it waits for people."""
    (folder / "toy").mkdir()
    (folder / "toy/recipe.yaml").write_text(recipe, encoding="utf-8")
    made = Run(folder, studio)
    status, _, error = made.run()
    assert status == 75, error
    return made


@pytest.fixture(scope="module")
def run(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return started(tmp_path_factory.mktemp("assist"), studio)


@pytest.fixture(scope="module")
def running(run: Run) -> Iterator[list[Assist]]:
    """The ``ilf assist`` of this module; one that a test ended is started again for the next."""
    kept: list[Assist] = []
    yield kept
    for assist in kept:
        if assist.process.poll() is None:
            assist.end()


@pytest.fixture
def assist(run: Run, running: list[Assist]) -> Assist:
    if not running or running[-1].process.poll() is not None:
        running.append(Assist(run))
    return running[-1]


def interactive(run: Run, task: int, critique: str, key: str | None = None) -> dict[str, Any]:
    """What the page asks Label Studio when a critique is committed."""
    entry = {"from_name": "critique", "to_name": "output", "type": "textarea", "value": {"text": [critique]}}
    (model,) = run.registered()
    with run.studio.client(key) as client:
        path = f"/api/ml/{model['id']}/interactive-annotating"
        reply = client.post(path, json={"task": task, "context": {"result": [entry]}})
        found: dict[str, Any] = reply.raise_for_status().json()
        return found


def rewrite_in(reply: dict[str, Any]) -> str:
    (result,) = reply["data"]["result"]
    return str(result["value"]["text"][0])


def test_through_label_studio_within_three_seconds(run: Run, assist: Assist) -> None:
    task = run.tasks()[0]
    started = time.monotonic()
    text = rewrite_in(interactive(run, task["id"], "It leaves out the day."))
    seconds = time.monotonic() - started
    print(f"through the API: {seconds:.2f} s")
    assert seconds < AT_MOST_SECONDS
    entry = served.served(run.people)[-1]
    assert (entry.text, entry.task, entry.item) == (text, task["id"], task["data"]["ilf_id"])
    assert entry.critique == "It leaves out the day."
    assert entry.model.startswith("nano@")


def test_the_person_is_known_from_their_draft(run: Run, assist: Assist) -> None:
    from ilf.label_studio.events import pseudonym

    ann, task = run.studio.person("ann"), run.tasks()[1]["id"]
    with run.studio.client(ann.key) as client:
        draft = {"result": [], "lead_time": 1.0}
        client.post(
            f"/api/tasks/{task}/drafts", json=draft, params={"project": run.project}
        ).raise_for_status()
    interactive(run, task, "first", ann.key)
    interactive(run, task, "second")
    assert [e.person for e in served.served(run.people)[-2:]] == [pseudonym(run.people, ann.id), None]


def test_it_takes_itself_off_and_leaves_nothing_behind(run: Run, assist: Assist) -> None:
    (model,) = run.registered()
    assert (model["title"], model["is_interactive"], model["auth_method"]) == (
        "ilf assist",
        True,
        "BASIC_AUTH",
    )
    assert model["url"].startswith("http://127.0.0.1:")
    assert run.api("/api/webhooks/", project=run.project) == [], "nobody is told of what people write"
    assert not run.api(f"/api/projects/{run.project}")["model_version"], "else stored predictions are hidden"
    status, said = assist.end()
    assert (status, run.registered()) == (143, [])
    assert "taken off the project" in said


def test_the_secret_is_nowhere_to_be_read(run: Run, assist: Assist) -> None:
    import httpx

    (model,) = run.registered()
    assert httpx.get(f"{model['url']}/health").status_code == 401
    assert "basic_auth_pass" not in model
    command = (
        Path(f"/proc/{assist.process.pid}/cmdline").read_bytes()
        + Path(f"/proc/{assist.process.pid}/environ").read_bytes()
    )
    interactive(run, run.tasks()[0]["id"], "It leaves out the day.")
    password = _password(run.studio, model["id"])
    assert len(password) > 30
    _, said = assist.end()
    files = [path for path in run.folder.rglob("*") if path.is_file()]
    held = command + said.encode() + b"".join(path.read_bytes() for path in files)
    assert password.encode() not in held
    assert run.studio.key.encode() not in said.encode() + b"".join(path.read_bytes() for path in files)


def _password(studio: Studio, number: int) -> str:
    """What Label Studio keeps, from its database."""
    import sqlite3

    with sqlite3.connect(f"file:{studio.data / 'label_studio.sqlite3'}?mode=ro", uri=True) as database:
        query = "select basic_auth_pass from ml_mlbackend where id = ?"
        return str(database.execute(query, (number,)).fetchone()[0])


def test_killed_and_started_again(run: Run, assist: Assist, running: list[Assist]) -> None:
    """What a killed one left behind is removed, and a line that it was writing is dropped."""
    task = run.tasks()[0]["id"]
    before = rewrite_in(interactive(run, task, "It leaves out the day."))
    assist.end(signal.SIGKILL)
    assert "errors" in interactive(run, task, "nobody is there"), "the page is told, and shows nothing"
    log = run.people / served.SERVED
    n_served = len(served.served(run.people))
    log.write_bytes(log.read_bytes() + b'{"time":"20')
    running.append(Assist(run))
    assert any("earlier ilf assist left behind" in line for line in running[-1].said)
    assert rewrite_in(interactive(run, task, "It leaves out the day.")) == before, "as it was answered before"
    assert len(served.served(run.people)) == n_served + 1


def test_a_second_one_is_refused(run: Run, assist: Assist) -> None:
    second = run.ilf("assist", "toy")
    _, said = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "another ilf assist serves" in said
    assert rewrite_in(interactive(run, run.tasks()[0]["id"], "Still there."))


def test_label_studio_is_killed_and_comes_back(run: Run, assist: Assist) -> None:
    task = run.tasks()[0]["id"]
    rewrite_in(interactive(run, task, "before"))
    run.studio.kill()
    run.studio.start()
    assert rewrite_in(interactive(run, task, "after"))


def test_one_page_gets_its_rewrite_while_another_fails(run: Run, assist: Assist) -> None:
    """A critique that the model has no room for is refused; the next one is answered."""
    first, second = (task["id"] for task in run.tasks()[:2])
    assert interactive(run, first, "far too long for the model " * 2000).get("errors")
    assert rewrite_in(interactive(run, second, "It leaves out the day."))
    _, said = assist.end()
    assert "422 the model cannot answer (DataError)" in said
    assert "far too long" not in said


def test_without_suggest_the_remedy_is_told(studio: Studio, tmp_path: Path) -> None:
    run = started(tmp_path, studio, RECIPE.replace("suggest: true, ", ""))
    process = run.ilf("assist", "toy")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert re.search(r"its page has no text area 'rewrite'. Set suggest: true", said)


@pytest.fixture
def page(studio: Studio, chromium: Browser) -> Iterator[Page]:
    made = log_in(chromium, studio.url, studio.email, studio.password)
    yield made
    made.context.close()


def test_in_the_browser_by_keyboard(run: Run, assist: Assist, page: Page) -> None:
    """Accepted, edited after a second look, and ignored; pulled with their origins, the waits taken off."""
    open_project(page, run.studio.url, run.project)
    waits = [criticise(page, "It leaves out the day.")]
    accepted = rewrite(page)
    if folder := os.environ.get("ILF_PICTURES"):
        page.screenshot(path=f"{folder}/assist.png")
    page.keyboard.press("y")
    submitted = [submit(page)]

    open_project(page, run.studio.url, run.project)
    waits.append(criticise(page, "Say what he does for a living."))
    looked = rewrite(page)
    extend(page, "critique", " And say when.")
    waits.append(committed(page))
    again = rewrite(page)
    extend(page, "rewrite", " As I say.")
    page.keyboard.press("Shift+Enter")
    page.get_by_text(f"{again} As I say.").wait_for()
    page.keyboard.press("y")
    submitted.append(submit(page))

    open_project(page, run.studio.url, run.project)
    waits.append(criticise(page, "It leaves out the price."))
    page.keyboard.press("x")
    submitted.append(submit(page))
    print(f"critique committed -> rewrite on the page: {', '.join(f'{w:.2f}' for w in waits)} s")
    assert max(waits) < AT_MOST_SECONDS
    assert looked != again
    one, two, three = _collected(run, submitted)
    assert (one["critique"], one["preferred"].strip()) == ("It leaves out the day.", accepted.strip())
    assert one["origins"][one["refinements"].index(one["preferred"])] == "prefilled"
    assert two["critique"] == "Say what he does for a living. And say when."
    assert two["preferred"].strip() == f"{again.strip()} As I say."
    assert two["origins"][two["refinements"].index(two["preferred"])] == "prefilled-changed"
    texts = [entry.text for entry in served.served(run.people)]
    assert one["preferred"] in texts, "as the model wrote it, with the space that its texts begin with"
    assert two["preferred"].startswith(" ")
    assert {looked.strip(), again.strip()} < {text.strip() for text in two["refinements"]}
    assert not three.get("preferred")


def _collected(run: Run, submitted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that `ilf run` pulls of these annotations; in each the wait for the model is taken off."""
    status, told, error = run.run()
    assert status == 0, error
    folder = next(Path(step["folder"]) for step in told["steps"] if step["step"] == "collect")
    lines = (run.folder / folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    rows = {row["provenance"]["annotation"]: row for row in map(json.loads, lines)}
    for annotation in submitted:
        row = rows[annotation["id"]]
        waits = [e.seconds for e in served.served(run.people) if e.critique in row["critique"]]
        assert 0 < row["lead_seconds"] - row["seconds"] < sum(waits) + 0.1
    return [rows[annotation["id"]] for annotation in submitted]


def test_a_batch_of_rewrites_needs_no_server_of_ours(
    studio: Studio, page: Page, tmp_path: Path, monkeypatch: Any
) -> None:
    """The job `refine` brings the rewrites with the tasks: accepted, edited without a change, and changed."""
    from ilf.collect import collect
    from ilf.errors import Waiting
    from ilf.feedback.label_studio import LabelStudio

    studio.use(monkeypatch)
    words = {"prompt": "POST: Tom fell.\nTL;DR:", "output": " Tom.", "critique": "Say what happened."}
    rows = [{"id": f"r{i}", **words, "refinements": [f" Tom fell, {i}."]} for i in range(3)]
    with pytest.raises(Waiting):
        list(collect(rows, tmp_path / "people", feedback=LabelStudio(), job="refine"))
    project = json.loads((tmp_path / "people/project.json").read_text(encoding="utf-8"))["project"]
    for key, more in (("1", ""), ("2", ""), ("2", " Mine.")):
        open_project(page, studio.url, project)
        page.keyboard.press(key)
        if more:
            tab_to(page, "edited")
            page.keyboard.press("Control+End")
            page.keyboard.type(more)
            page.keyboard.press("Shift+Enter")
        submit(page)
    found = list(collect(rows, tmp_path / "people", feedback=LabelStudio(), job="refine"))
    assert [row["decision"] for row in found] == ["accept", "edit", "edit"]
    assert [row["preferred"].strip() for row in found] == [
        "Tom fell, 0.",
        "Tom fell, 1.",
        "Tom fell, 2. Mine.",
    ]
    origins = [row["origins"][row["refinements"].index(row["preferred"])] for row in found]
    assert origins == ["model", "prefilled", "prefilled-changed"]
    chosen = choose(found, ranker=Length())
    assert [row["picked_by"] for row in chosen] == ["person"] * 3
