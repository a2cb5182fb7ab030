"""The page of a comparison in Chromium: hostile rows, keyboard, sorting, filters, themes, paper, and readability."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from result_page import a_full_result, poisoned
from training_logs import a_log

from ilf import curves, report

pytestmark = pytest.mark.slow

CURVES = {"ppo": [curves.slim(a_log(seed)) for seed in range(2)]}
#: What WCAG asks of texts, names, headings and ids, measured in the page: contrast of every text against what
#: lies behind it (1.4.3), a name for everything that takes the focus (4.1.2), no level of heading left out.
PROBLEMS = """() => {
    const found = [];
    const parts = colour => (colour.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
    const behind = element => {
        for (let e = element; e; e = e.parentElement) {
            const [r, g, b, a = 1] = parts(getComputedStyle(e).backgroundColor);
            if (a === 1) return [r, g, b];
        }
        return [255, 255, 255];
    };
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node; node = walk.nextNode();) {
        const element = node.parentElement;
        if (!node.data.trim() || element.closest('script, style, title, [hidden]') || !element.getClientRects().length) continue;
        const style = getComputedStyle(element), colour = parts(element.closest('svg') ? style.fill : style.color);
        const [high, low] = [light(colour), light(behind(element))].sort((a, b) => b - a);
        const large = parseFloat(style.fontSize) >= 24;
        if ((high + .05) / (low + .05) < (large ? 3 : 4.5)) found.push(['contrast', node.data.trim().slice(0, 40), style.color]);
        if (parseFloat(style.fontSize) < 10.5) found.push(['tiny', node.data.trim().slice(0, 40), style.fontSize]);
    }
    const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
    if (new Set(ids).size < ids.length) found.push(['ids', ids.filter((id, i) => ids.indexOf(id) < i)]);
    let level = 0;
    for (const heading of document.querySelectorAll('h1, h2, h3, h4, h5')) {
        const own = Number(heading.tagName[1]);
        if (own > level + 1) found.push(['heading', heading.textContent]);
        level = own;
    }
    for (const e of document.querySelectorAll('a, button, input, summary, [tabindex], svg[role]')) {
        const named = e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length;
        if (!named) found.push(['name', e.outerHTML.slice(0, 80)]);
    }
    for (const e of document.querySelectorAll('th')) if (!e.scope) found.push(['scope', e.textContent]);
    if (document.documentElement.scrollWidth > innerWidth) found.push(['sideways', document.documentElement.scrollWidth]);
    return found;
}"""


def the_result(**change: Any) -> dict[str, Any]:
    return a_full_result(curves=CURVES, **change)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    report.write(the_result(), path)
    return path


@pytest.fixture
def opened(chromium: Any, page_file: Path) -> Iterator[Any]:
    page = chromium.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.goto(page_file.as_uri())
    yield page
    page.context.close()


def test_hostile_text_in_every_column_runs_nothing(chromium: Any, tmp_path: Path) -> None:
    """No dialog, no request, no message in the console, no global; and the page's own script runs."""
    result = json.loads(json.dumps(poisoned(the_result())))
    for example in result["examples"]:
        for key in ("scores", "picked", "answers"):
            example[key] = {poisoned(name): value for name, value in example[key].items()}
    result["answers"][0]["arms"] = {poisoned(k): v for k, v in result["answers"][0]["arms"].items()}
    result["ledger"]["by_job"] = {poisoned(k): v for k, v in result["ledger"]["by_job"].items()}
    path = tmp_path / "report.html"
    report.write([result, result], path)
    page = chromium.new_context().new_page()
    seen: list[str] = []
    page.on("console", lambda message: seen.append(message.text))
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.on("dialog", lambda dialog: (seen.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: seen.append(request.url))
    page.goto(path.as_uri())
    page.evaluate("() => document.querySelectorAll('details').forEach(part => { part.open = true; })")
    page.locator("#theme").click()
    page.locator("th button").first.click()
    page.locator(".pt").first.hover()
    assert [url for url in seen if url != path.as_uri()] == []
    assert page.evaluate("() => window.pwned") is None
    assert page.evaluate("() => document.scripts.length") == 1
    page.context.close()


def test_no_other_script_runs(chromium: Any, tmp_path: Path, page_file: Path) -> None:
    """A script that got into the page all the same is stopped by the policy."""
    path = tmp_path / "report.html"
    html = page_file.read_text(encoding="utf-8")
    path.write_text(html.replace("</main>", "<script>window.pwned=1</script></main>"), encoding="utf-8")
    page = chromium.new_context().new_page()
    page.goto(path.as_uri())
    assert page.evaluate("() => window.pwned") is None
    assert page.locator("#theme").is_visible()
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280, 1920])
def test_it_is_readable_at_every_width_in_both_themes(
    chromium: Any, page_file: Path, width: int, scheme: str
) -> None:
    page = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme).new_page()
    page.goto(page_file.as_uri())
    page.evaluate("() => document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert page.evaluate(PROBLEMS) == []
    answer, first = (page.locator(each).first.bounding_box() for each in (".answer", ".forest .pt"))
    assert answer["y"] + answer["height"] < 800
    assert first["y"] < (800 if width > 400 else 1500)
    page.context.close()


@pytest.mark.skipif("AXE" not in os.environ, reason="AXE names no axe.min.js")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("runs", [1, 2])
def test_axe_finds_nothing(chromium: Any, tmp_path: Path, scheme: str, runs: int) -> None:
    path = tmp_path / "report.html"
    report.write([the_result()] * runs, path)
    page = chromium.new_context(color_scheme=scheme, bypass_csp=True).new_page()
    page.goto(path.as_uri())
    page.evaluate("() => document.querySelectorAll('details').forEach(part => { part.open = true; })")
    page.add_script_tag(path=os.environ["AXE"])
    found = page.evaluate(
        "() => axe.run().then(all => all.violations.map(v => [v.id, v.impact, v.nodes[0].html]))"
    )
    assert found == []
    page.context.close()


def test_a_chart_is_one_stop_and_the_arrows_go_on_in_it(opened: Any) -> None:
    focused = "() => document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"
    points = opened.locator(".score .pt")
    assert opened.locator(".score .pt[tabindex='0']").count() == 1
    points.first.focus()
    assert opened.locator("#tip").inner_text().startswith("ilf_fixpoint@2000: 0.680")
    opened.keyboard.press("ArrowRight")
    assert opened.evaluate(focused).startswith("ilf_fixpoint@20000: 0.780")
    assert opened.locator("#tip").is_visible()
    opened.keyboard.press("End")
    assert opened.evaluate(focused).startswith("prompt_from_critiques@200000")
    opened.keyboard.press("Home")
    opened.keyboard.press("Tab")
    assert opened.evaluate("() => !document.activeElement.closest('.score')")
    opened.locator(".lines .spot").first.focus()
    opened.keyboard.press("ArrowDown")
    assert opened.evaluate(focused).startswith("step 2\n")


def test_pointing_shows_the_numbers_once(opened: Any) -> None:
    opened.locator(".forest .pt").first.hover()
    assert "human hours" in opened.locator("#tip").inner_text()
    assert opened.locator(".forest .pt").first.locator("title").count() == 0  # no second, native tip


def test_tables_sort_with_the_unknown_last(opened: Any) -> None:
    table = opened.locator(".forest").first
    head = table.locator("thead th", has_text="Samples")
    head.locator("button").focus()
    opened.keyboard.press("Enter")
    names = table.locator("tbody").nth(1).locator("tr:not(.over) th")
    assert head.get_attribute("aria-sort") == "descending"
    assert (
        table.locator("tbody").first.locator("tr:not(.over) th").first.inner_text().startswith("ilf_fixpoint")
    )
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert names.last.inner_text().split()[0] in (
        "base",
        "own_outputs",
        "no_feedback",
    )  # nobody sampled there
    table.locator("thead th", has_text="Arm").locator("button").click()
    assert head.get_attribute("aria-sort") is None
    first = names.all_inner_texts()
    assert first == sorted(first)


def test_filters_show_what_is_meant_and_say_how_much(opened: Any) -> None:
    box = opened.get_by_label("Find arms")
    box.fill("dpo @2000")
    assert opened.locator(".forest [data-arm]:visible").evaluate_all("all => all.map(e => e.dataset.arm)") == [
        "dpo@200000", "dpo@20000", "dpo@2000",
    ]  # fmt: skip
    assert opened.locator("output").first.inner_text() == "3 of 24 arms"
    box.fill("")
    assert opened.locator("details.more").get_attribute("open") is None  # folded again
    assert opened.locator(".off").count() == 0
    opened.get_by_label("Find test prompts").fill("prompt 1.")
    assert opened.locator("#answers ~ .row:visible").count() == 1


def test_the_theme_goes_round_and_is_seen(opened: Any) -> None:
    paper = "() => getComputedStyle(document.body).backgroundColor"
    button = opened.locator("#theme")
    found = []
    for _ in range(3):
        button.click()
        found.append((button.inner_text(), opened.evaluate(paper)))
    assert found == [
        ("Theme: light", "rgb(255, 255, 255)"),
        ("Theme: dark", "rgb(16, 20, 24)"),
        ("Theme: auto", "rgb(255, 255, 255)"),
    ]


def test_without_its_script_all_of_it_is_there(chromium: Any, page_file: Path) -> None:
    page = chromium.new_context(java_script_enabled=False).new_page()
    page.goto(page_file.as_uri())
    assert page.locator(".tools:visible").count() == 0
    assert page.locator(".forest [data-arm]").count() == 24
    assert page.locator(".answer").is_visible()
    page.context.close()


def test_on_paper_everything_is_unfolded_and_nothing_can_be_pressed(opened: Any) -> None:
    opened.emulate_media(media="print", color_scheme="dark")
    assert opened.locator("button:visible, input:visible, nav:visible").count() == len(
        opened.locator("th button").all()
    )
    assert opened.locator("details.more .forest tr[data-arm]").last.bounding_box()["height"] > 5
    assert opened.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
