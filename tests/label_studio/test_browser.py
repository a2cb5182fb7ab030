"""The seven pages in real Chromium: rendered, answered by keyboard, read back, with texts that would do harm."""

from __future__ import annotations

import os
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import (
    answer_critique,
    answer_demonstrate,
    answer_pairwise,
    answer_rank,
    answer_rate,
    answer_refine,
    change,
    log_in,
    open_project,
    skip,
    submit,
    wait_task,
    write,
)
from pages_lab import (
    CRITIQUE,
    HARM,
    LONG,
    OUTPUTS,
    REWRITE,
    SIZES,
    click_on,
    drag_over,
    lines,
    options,
    project,
    row,
    stored,
    texts,
)
from playwright.sync_api import Browser, Page

from ilf.label_studio.answers import read
from ilf.label_studio.jobs import JOBS, order, task_data

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def person(studio: Any, chromium: Browser) -> Iterator[Page]:
    """The owner at a screen of 1280x800."""
    page = log_in(chromium, studio.url, studio.email, studio.password)
    page.set_default_timeout(20_000)
    yield page
    page.context.close()


def assert_legible(person: Page, job: str) -> None:
    sizes = person.evaluate(SIZES)
    boxes = {"critique": 2, "rank": 5, "pairwise": 3, "demonstrate": 1, "rate": 2, "verdict": 3, "refine": 4}[
        job
    ]
    expected = {
        "sideways": 0,
        "down": 0,
        "outside": 0,
        "tall": 0,
        "cut": 0,
        "boxes": boxes,
        "buttons": 2,
        "small": 0,
    }
    assert sizes == expected


def answer(job: str, person: Page) -> int:
    """What a person does on the page of a job, by keyboard; the number of key presses without the writing."""
    hands: dict[str, Callable[[], int]] = {
        "critique": lambda: answer_critique(person, CRITIQUE + "\nSecond line.", faults="13"),
        "rank": lambda: answer_rank(person, [2, 4, 1, 2], "The best one asks the question."),
        "pairwise": lambda: answer_pairwise(person, "right", "It asks the question."),
        "demonstrate": lambda: answer_demonstrate(person, "Go alone?\n\nAsk for half."),
        "rate": lambda: answer_rate(person, 2, 3, 1, 1),
        "verdict": lambda: answer_pairwise(person, "tie"),
        "refine": lambda: answer_refine(person, "edit", "Go alone, and ask him for his half."),
    }
    return hands[job]()


def expected(job: str, asked: dict[str, Any]) -> dict[str, Any]:
    """What is read of ``answer``."""
    shown = order(job, asked["id"], len(asked["outputs"]))
    loser = asked["outputs"][shown[0]]
    why = "It asks the question."
    edited = "Go alone, and ask him for his half."
    return {
        "critique": {
            "critique": CRITIQUE + "\nSecond line.",
            "is_faultless": False,
            "marks": [],
            "faults": ["factual error", "left out"],
        },
        "rank": {
            "ranking": [[shown[1]], sorted([shown[0], shown[-1]]), [shown[-2]]],
            "why": "The best one asks the question.",
        },
        "pairwise": {"ranking": [[shown[1]], [shown[0]]], "why": why, "critique": why, "output": loser},
        "demonstrate": {"completion": "Go alone?\n\nAsk for half."},
        "rate": {"ratings": {"helpful": 2, "truthful": 3, "toxic": 1, "biased": 1}},
        "verdict": {"ranking": [[0, 1]], "why": None},
        "refine": {
            "decision": "edit",
            "preferred": edited,
            "refinements": [REWRITE, edited],
            "origins": ["model", "prefilled-changed"],
        },
    }[job]


@pytest.mark.parametrize("job", JOBS)
def test_a_job_is_answered_by_keyboard(studio: Any, person: Page, job: str) -> None:
    asked = row(job)
    with project(studio, job, [asked], **options(job)) as (number, tasks):
        person.goto(f"{studio.url}/projects/{number}/data?labeling=1")
        instructions = person.locator(".ilf-help").inner_text()
        assert "An example." in instructions
        assert "Ctrl+Enter" in instructions
        open_project(person, studio.url, number)
        assert_legible(person, job)
        answer(job, person)
        submit(person)
        given = stored(studio, tasks[0])
        said = read(job, given[0]["result"], asked)
        assert (len(given), said.state, said.reason) == (1, "usable", None)
        assert said.said == expected(job, asked)


@pytest.mark.parametrize("job", JOBS)
def test_a_text_that_would_do_harm_is_shown_as_text(studio: Any, person: Page, job: str) -> None:
    asked = row(
        job,
        prompt=[{"role": "user", "content": HARM}],
        output=HARM,
        outputs=[HARM, LONG, "", HARM + "2"],
        critique=HARM,
        refinements=[HARM],
        earlier="Earlier answers:\n" + HARM,
    )
    requests: list[str] = []
    person.on("request", remember := lambda request: requests.append(request.url))
    try:
        with project(studio, job, [asked], warning="It costs $100 <b>", **options(job)) as (number, _):
            open_project(person, studio.url, number)
            before = texts(person)
            given = task_data(job, asked)
            meant = [given[key] for key in given if key not in ("ilf_id", "items")]
            meant += [item["body"] for item in given.get("items", ())]
            assert sorted(before) == sorted(lines(text) for text in meant)
            # As it is seen, not only as it stands in the page: blanks are not drawn together.
            assert "\ttab,  two blanks,   three" in "".join(person.locator(".ilf-text").all_inner_texts())
            sizes = person.evaluate(SIZES)
            assert {key: sizes[key] for key in ("sideways", "down", "outside", "tall", "buttons")} == {
                "sideways": 0, "down": 0, "outside": 0, "tall": 0, "buttons": 2
            }  # fmt: skip
            assert "It costs $\u2060100 <b>" in person.locator(".ilf-warning").inner_text()
            open_project(person, studio.url, number)
            assert texts(person) == before, "another order after a reload"
            assert person.evaluate("window.harm") is None
            assert person.locator("iframe").count() == 0
    finally:
        person.remove_listener("request", remember)
    assert not [url for url in requests if "harm.invalid" in url or "//b/k" in url]
    assert not [url for url in requests if not url.startswith((studio.url, "data:", "blob:"))]


def test_long_texts_stay_in_their_boxes(studio: Any, person: Page) -> None:
    for job in ("critique", "rank", "refine"):
        long = row(job, prompt=LONG, output=LONG, outputs=[LONG] * 4, critique=LONG, refinements=[LONG])
        with project(studio, job, [long], warning="Beware.", **options(job)) as (number, _):
            open_project(person, studio.url, number)
            assert_legible(person, job)
            for name in {"critique": ["critique"], "rank": ["why"], "refine": []}[job]:
                assert person.locator(f"textarea[name={name}]").bounding_box()


def test_marks_by_mouse_lie_where_they_were_made(studio: Any, person: Page) -> None:
    asked = row("critique", output="One \U0001f600\ttwo.\r\nThree \u05e9\u05dc\u05d5\u05dd four and five.")
    with project(studio, "critique", [asked]) as (number, tasks):
        open_project(person, studio.url, number)
        for key, word in (("g", "two"), ("b", "four")):
            person.keyboard.press(key)
            drag_over(person, word)
        # A click on a mark selects it, and asks for its remark.
        click_on(person, "four")
        person.locator("textarea[name=remark]").wait_for()
        write(person, "remark", "is a number")
        person.keyboard.press("Escape")
        answer_critique(person, "Too many numbers.")
        submit(person)
        said = read("critique", stored(studio, tasks[0])[0]["result"], asked)
    assert (said.state, said.reason) == ("usable", None)
    marks = [(mark["text"].strip(" .\t"), mark["label"], mark["remark"]) for mark in said.said["marks"]]
    assert marks == [("two", "good", None), ("four", "bad", "is a number")]


def test_nothing_to_criticise_and_skip_by_keyboard(studio: Any, person: Page) -> None:
    rows = [row("critique", number) for number in range(3)]
    with project(studio, "critique", rows) as (number, tasks):
        open_project(person, studio.url, number)
        person.keyboard.press("1")
        person.keyboard.press("Control+Enter")
        person.get_by_text("press n if there is nothing to criticise").wait_for()
        person.keyboard.press("Enter")
        assert stored(studio, tasks[0]) == []
        person.keyboard.press("1")
        answer_critique(person, "", nothing=True)
        assert not person.locator("textarea[name=critique]").is_visible()
        submit(person)
        wait_task(person, tasks[1])
        skip(person)
        assert read("critique", stored(studio, tasks[0])[0]["result"], rows[0]).said["is_faultless"]
        skipped = stored(studio, tasks[1])
    assert [(one["was_cancelled"], one["result"]) for one in skipped] == [(True, [])]


def test_a_critique_is_changed_by_keyboard_before_it_is_submitted(studio: Any, person: Page) -> None:
    asked = row("critique")
    with project(studio, "critique", [asked], suggest=True) as (number, tasks):
        open_project(person, studio.url, number)
        answer_critique(person, "A draft.")
        change(person, "critique", "It swaps the people.")
        # As long as no model answers, somebody may write the rewrite too.
        write(person, "rewrite", "Go alone.")
        person.keyboard.press("y")
        assert_legible(person, "critique")
        submit(person)
        said = read("critique", stored(studio, tasks[0])[0]["result"], asked)
    assert (said.state, said.said["critique"]) == ("usable", "It swaps the people.")
    assert (said.said["preferred"], said.said["origins"][-1]) == ("Go alone.", "typed")


def test_rows_with_other_numbers_of_outputs_share_a_page(studio: Any, person: Page) -> None:
    rows = [row("rank", 0, outputs=OUTPUTS[:3]), row("rank", 1, outputs=OUTPUTS[:2])]
    with project(studio, "rank", rows) as (number, tasks):
        open_project(person, studio.url, number)
        for one, task, stars in ((rows[0], tasks[0], [1, 3, 2]), (rows[1], tasks[1], [1, 1])):
            wait_task(person, task)
            answer_rank(person, stars, first_key=0)
            submit(person)
            shown = order("rank", one["id"], len(one["outputs"]))
            said = read("rank", stored(studio, task)[0]["result"], one)
            meant = [[shown[1]], [shown[2]], [shown[0]]] if len(stars) == 3 else [[0, 1]]
            assert (said.state, said.said.get("ranking")) == ("usable", meant)


@pytest.mark.parametrize("decision", ["accept", "criticise"])
def test_refine_by_keyboard_after_a_change_of_mind(studio: Any, person: Page, decision: str) -> None:
    asked = row("refine")
    with project(studio, "refine", [asked]) as (number, tasks):
        open_project(person, studio.url, number)
        answer_refine(person, "edit", "half a sent")
        answer_refine(person, decision, "It still does not say what the deposits cost.")
        submit(person)
        said = read("refine", stored(studio, tasks[0])[0]["result"], asked)
    assert said.state == "usable"
    if decision == "accept":
        assert (said.said["preferred"], said.said["refinements"]) == (REWRITE, [REWRITE])
    else:
        assert said.said["critique"] == "It still does not say what the deposits cost."


def test_overhead_of_an_annotator(studio: Any, person: Page, capsys: pytest.CaptureFixture[str]) -> None:
    """Task shown -> submitted -> next one shown, with the writing done at once: what the page itself costs."""
    n_tasks, report = 4, []
    for job in JOBS:
        rows = [row(job, number) for number in range(n_tasks)]
        with project(studio, job, rows, **options(job)) as (number, tasks):
            open_project(person, studio.url, number)
            hands, waits, presses = [], [], []
            for task, following in zip(tasks, [*tasks[1:], None], strict=True):
                started = time.monotonic()
                presses.append(answer(job, person) + 1)
                submit(person)
                hands.append(time.monotonic() - started)
                if following:
                    wait_task(person, following)
                    waits.append(time.monotonic() - started - hands[-1])
                assert len(stored(studio, task)) == 1
        # The first task of a session is left out: Tab has to pass the bar at the top once.
        seconds, wait = statistics.median(hands[1:]), statistics.median(waits)
        report.append(f"{job:12} {presses[1]:3} keys {seconds:6.2f} s + {wait:5.2f} s until the next task")
        assert presses[1] <= 16
        assert seconds + wait < 6
    with capsys.disabled():
        print("\nOverhead of an annotator (median of 3, writing not counted):", *report, sep="\n  ")


@pytest.mark.skipif(
    "ILF_PICTURES" not in os.environ, reason="set ILF_PICTURES=docs/pictures to take them anew"
)
def test_pictures(studio: Any, person: Page) -> None:
    """Takes the pictures for the documents; ILF_PICTURES names the folder that keeps them."""
    folder = Path(os.environ["ILF_PICTURES"])
    for job in JOBS:
        with project(studio, job, [row(job)], **options(job)) as (number, _):
            open_project(person, studio.url, number)
            pose(job, person)
            take(person, folder / f"{job}.png")
    with project(studio, "critique", [row("critique")], warning=WARNING) as (number, _):
        person.goto(f"{studio.url}/projects/{number}/data?labeling=1")
        person.locator(".ilf-help").wait_for()
        person.wait_for_timeout(400)
        around = person.locator(".ilf-help").bounding_box()
        assert around
        x, y, width, height = (around[side] for side in ("x", "y", "width", "height"))
        clip = {"x": x - 28, "y": y - 80, "width": width + 56, "height": height + 104}
        person.screenshot(path=folder / "instructions.png", clip=clip)
    # Without what only machines with more fonts can show.
    harm = re.sub("[\u200d\U0001f467-\U0001f469\u4e00-\u9fff]", "", HARM)
    hostile = row("critique", prompt=LONG, output=harm)
    with project(studio, "critique", [hostile], warning=WARNING) as (number, _):
        open_project(person, studio.url, number)
        take(person, folder / "hostile.png")
    assert all(path.stat().st_size < 200_000 for path in folder.glob("*.png"))


WARNING = "Some of these posts speak of violence and of illness."


def pose(job: str, person: Page) -> None:
    """A page in the middle of being answered."""
    if job == "critique":
        for key, word in (
            ("b", "wants to come with me instead"),
            ("b", "Should I move out"),
            ("g", "third time"),
        ):
            person.keyboard.press(key)
            drag_over(person, word)
            person.keyboard.press("Escape")
        answer_critique(person, CRITIQUE, faults="13")
    elif job == "demonstrate":
        person.fill("textarea[name=demonstration]", REWRITE)
    elif job in ("pairwise", "verdict"):
        better = "left" if order(job, f"{job}-0", 2) == [1, 0] else "right"
        answer_pairwise(person, better, "The other one gets the sister wrong and asks about moving out.")
    elif job == "rank":
        stars = [(2, 4, 2, 1)[index] for index in order(job, f"{job}-0", 4)]
        answer_rank(person, stars, "Only one says what was paid, what to ask for, and keeps the question.")
    elif job == "refine":
        person.keyboard.press("2")
    else:
        answer(job, person)


def take(person: Page, path: Path) -> None:
    person.mouse.move(640, 740)
    person.wait_for_timeout(400)
    person.screenshot(path=path)
