"""Real Chromium for tests of the labelling pages, and a person's hands on the keyboard: one driver per job.

    def test_something(studio, chromium):
        page = log_in(chromium, studio.url, studio.email, studio.password)
        open_project(page, studio.url, project)          # the stream of tasks, instructions closed with Esc
        answer_critique(page, "It names no dog.", faults="13")
        submit(page)                                     # Ctrl+Enter; waits until the server has it

Every driver uses keys only, as the instructions on the page say. ``chromium`` is a session fixture:
tests/conftest.py makes it known everywhere, once, for Playwright allows one at a time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Response, sync_playwright

VIEWPORT = {"width": 1280, "height": 800}
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
_FOCUSED = "() => document.activeElement.name || ''"
_ON_PENCIL = """name => document.activeElement.getAttribute('aria-label') === 'Edit Region'
    && !!document.activeElement.closest('.lsf-text-area').querySelector(`[name^="${name}:"]`)"""
_IN_EDITOR = "name => (document.activeElement.name || '').startsWith(name + ':')"
_IS_TASK = (
    "id => document.querySelector('.lsf-current-task__task-id')?.innerText.split('\\n')[0].trim() === id"
)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for the session; CHROMIUM names it where it is not on the path."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


def log_in(browser: Browser, url: str, email: str, password: str) -> Page:
    """A page of a browser of one's own, logged in through the form, 1280x800."""
    page = browser.new_context(viewport=VIEWPORT).new_page()
    page.goto(f"{url}/user/login")
    page.fill("input[name=email]", email)
    page.fill("input[name=password]", password)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(lambda address: "/user/login" not in address)
    return page


def open_project(page: Page, url: str, project: int, *, task: int | None = None) -> None:
    """Opens the stream of tasks (or one task), and closes the instructions where they are shown."""
    where = "labeling=1" if task is None else f"task={task}"
    page.goto(f"{url}/projects/{project}/data?{where}")
    wait_shown(page)
    if task is None:
        page.locator(".ilf-help").wait_for()
        page.keyboard.press("Escape")
        page.locator(".ilf-help").wait_for(state="hidden")


def wait_shown(page: Page) -> None:
    """Waits until a task is on the page."""
    page.locator(".ilf-text .lsf-richtext__line").first.wait_for()


def wait_task(page: Page, task: int) -> None:
    """Waits until this task is on the page."""
    page.wait_for_function(_IS_TASK, arg=str(task))
    wait_shown(page)


def submit(page: Page) -> dict[str, Any]:
    """Ctrl+Enter; the annotation as the server stored it."""
    with page.expect_response(_is_annotation) as sent:
        page.keyboard.press("Control+Enter")
    annotation: dict[str, Any] = sent.value.json()
    return annotation


def skip(page: Page) -> dict[str, Any]:
    """Ctrl+Space."""
    with page.expect_response(_is_annotation) as sent:
        page.keyboard.press("Control+Space")
    annotation: dict[str, Any] = sent.value.json()
    return annotation


def _is_annotation(response: Response) -> bool:
    return response.request.method == "POST" and "/annotations" in response.url


def tab_to(page: Page, name: str) -> int:
    """Presses Tab until a text box has the focus; how often it was pressed."""
    for presses in range(60):
        if page.evaluate(_FOCUSED) == name:
            return presses
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach the text box '{name}'")


def write(page: Page, name: str, text: str) -> int:
    """Tab into a text box, write, Shift+Enter; the number of key presses without the text itself."""
    presses = tab_to(page, name)
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)
    page.keyboard.press("Shift+Enter")
    return presses + 1


def change(page: Page, name: str, text: str) -> None:
    """Changes a text that was written already: Tab to its pencil, Space, write, Shift+Enter."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(_ON_PENCIL, name):
            break
    else:
        raise AssertionError(f"Tab does not reach the pencil of '{name}'")
    page.keyboard.press("Space")
    page.wait_for_function(_IN_EDITOR, arg=name)
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)
    page.keyboard.press("Shift+Enter")


def answer_critique(page: Page, text: str, *, faults: str = "", nothing: bool = False) -> int:
    """``faults``: keys of kinds; ``nothing``: nothing to criticise. Key presses, as for all drivers."""
    presses = 0 if nothing else write(page, "critique", text)
    for key in ("n" if nothing else "") + faults:
        page.keyboard.press(key)
        presses += 1
    return presses


def answer_rank(page: Page, stars: Sequence[int], why: str = "", *, first_key: int = 1) -> int:
    """``stars`` of the answers as they stand on the page."""
    for key, count in enumerate(stars, first_key):
        for _ in range(count):
            page.keyboard.press(str(key))
    return sum(stars) + (write(page, "why", why) if why else 0)


def answer_pairwise(page: Page, better: str, why: str = "") -> int:
    """``better``: left, tie or right."""
    page.keyboard.press({"left": "1", "tie": "2", "right": "3"}[better])
    return 1 + (write(page, "why", why) if why else 0)


answer_verdict = answer_pairwise


def answer_demonstrate(page: Page, text: str) -> int:
    """Writes the ideal answer."""
    return write(page, "demonstration", text)


def answer_rate(page: Page, helpful: int, truthful: int, toxic: int, biased: int) -> int:
    """Marks from 1 to 5."""
    rows = ("12345", "qwert", "asdfg", "zxcvb")
    for row, mark in zip(rows, (helpful, truthful, toxic, biased), strict=True):
        page.keyboard.press(row[mark - 1])
    return 4


def answer_refine(page: Page, decision: str, text: str = "") -> int:
    """``decision``: accept, edit (to ``text``) or criticise (``text``)."""
    page.keyboard.press({"accept": "1", "edit": "2", "criticise": "3"}[decision])
    if decision == "accept":
        return 1
    return 1 + write(page, {"edit": "edited", "criticise": "critique"}[decision], text)
