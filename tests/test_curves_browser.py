"""The pages of curves in a real browser: narrow and wide, light and dark, pointed at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from result_page import a_result
from training_logs import a_log, a_reward_log

from ilf import curves, report

pytestmark = pytest.mark.slow

ARMS: dict[str, Any] = {
    "ppo_with_a_reward_model_of_100_rankings": [a_log(seed) for seed in range(3)],
    "rloo": [a_log(9, turns_at=None)],
    "reward": [a_reward_log()],
}
#: Texts that overlap another of their chart, and plots that are too small to read.
PROBLEMS = """() => {
    const found = [];
    for (const figure of document.querySelectorAll('details > summary, figure.curve')) {
        if (figure.tagName === 'SUMMARY') { figure.parentElement.open = true; continue; }
        const boxes = [...figure.querySelectorAll('figcaption, text, .across')].map(e => [e.textContent, e.getBoundingClientRect()]);
        for (const [i, [a, p]] of boxes.entries()) {
            if (p.left < 0 || p.right > innerWidth + 0.5) found.push(['outside', a]);
            for (const [b, q] of boxes.slice(i + 1))
                if (p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 2 && q.top < p.bottom - 2)
                    found.push(['overlap', a, b]);
        }
        const plot = figure.querySelector('.lines').getBoundingClientRect();
        if (plot.width < 170 || plot.height < 130) found.push(['small', plot.width, plot.height]);
        for (const e of figure.querySelectorAll('text'))
            if (parseFloat(getComputedStyle(e).fontSize) < 12) found.push(['tiny', e.textContent]);
    }
    if (document.documentElement.scrollWidth > innerWidth) found.push(['scrolls', document.documentElement.scrollWidth]);
    return found;
}"""


@pytest.fixture(params=["curves", "comparison"])
def page_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "page.html"
    if request.param == "curves":
        curves.write(path, ARMS, "nano", sources={}, command="")
    else:
        logs = {name: [curves.slim(log) for log in found] for name, found in ARMS.items() if name != "reward"}
        report.write({**a_result(), "curves": logs}, path)
    return path


@pytest.mark.parametrize("width", [400, 1200])
def test_it_is_readable_at_every_width(chromium: Any, page_file: Path, width: int) -> None:
    page = chromium.new_context(viewport={"width": width, "height": 900}).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(page_file.as_uri())
    assert page.evaluate(PROBLEMS) == []
    assert said == []
    page.context.close()


def test_lines_have_the_colours_of_the_scheme(chromium: Any, page_file: Path) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        page = chromium.new_context(color_scheme=scheme).new_page()
        page.goto(page_file.as_uri())
        stroke = "e => getComputedStyle(e).stroke"
        colours[scheme] = [page.locator(f".lines .mean.c{arm}").first.evaluate(stroke) for arm in (0, 1)]
        page.context.close()
    assert colours == {
        "light": ["rgb(10, 90, 156)", "rgb(180, 64, 10)"],
        "dark": ["rgb(111, 181, 247)", "rgb(251, 146, 60)"],
    }


def test_pointing_at_a_plot_finds_its_step(chromium: Any, page_file: Path) -> None:
    """The strip under the pointer is the step above its tick, and nothing lies over it."""
    page = chromium.new_context(viewport={"width": 1200, "height": 900}).new_page()
    page.goto(page_file.as_uri())
    plot = page.locator(".curve .lines").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    tick = page.locator("figure.curve").first.locator(".along text", has_text="20").first.bounding_box()
    told = page.evaluate(
        "([x, y]) => document.elementFromPoint(x, y).querySelector('title')?.textContent",
        [tick["x"] + tick["width"] / 2, box["y"] + box["height"] / 2],
    )
    assert told.startswith("step 20\n")
    page.context.close()
