"""The page: what it shows, that it shows it of hostile text too, and that it never runs it."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
from pathlib import Path

import pytest
from result_page import HOSTILE, Page, a_result, poisoned_result

from ilf import report
from ilf._report.axis import Axis


def test_hostile_text_in_every_column_changes_no_tag() -> None:
    """The page of hostile text has the tags and attributes' names of the page of harmless text, in order."""
    harmless = a_result()
    harmless["arms"][0]["arm"] = "basis"  # the names base, chance, oracle draw lines and hollow marks
    harmless["picks"][0]["ranker"] = "coin"
    harmless["worth"].pop()
    hostile = poisoned_result()
    hostile["worth"].pop()
    shapes = [
        [
            (tag, sorted(attributes))
            for tag, attributes in Page(report.render(each)).tags
            if tag not in ("wbr", "ins", "del")  # names and changes of other texts
        ]
        for each in (harmless, hostile)
    ]
    assert shapes[0] == shapes[1]
    tags = {tag for tag, _ in shapes[1]}
    assert not tags & {"img", "iframe", "textarea", "object", "embed", "form"}
    assert [tag for tag, _ in shapes[1]].count("script") == 1
    assert not [names for _, names in shapes[1] if any(name.startswith("on") for name in names)]


def test_hostile_text_is_shown_as_it_is() -> None:
    page = Page(report.render(poisoned_result()))
    shown = re.sub(r"[\x00-\x08\x1b\ud800]", "\ufffd", HOSTILE)
    shown = " ".join(shown.split())
    named = shown.replace("\u202e", "\ufffd")  # a name may not turn the direction of what follows it
    for word in (
        "Sum it up.",
        "An output.",
        "The price is missing.",
        "An answer.",
    ):
        assert f"{word}{shown}" in page.text, word
    assert f"about base{named}" in page.text
    assert "\u202e" in page.text
    assert "\u202e" not in "".join(report.render(poisoned_result()).partition("row to read")[0])
    assert "49" not in re.sub(r"0\.49|499", "", page.text)  # {{ 7*7 }} was not computed


def test_one_script_can_run_and_nothing_is_fetched() -> None:
    html = report.render(a_result())
    policy = next(
        a["content"] for tag, a in Page(html).tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert policy == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert len(scripts) == html.count("<script") == 1
    for word in ("fetch", "XMLHttpRequest", "innerHTML", "eval", "import("):
        assert word not in scripts[0]
    assert "http://" not in html
    assert "https://" not in html
    assert "url(" not in html
    assert {a["href"] for _, a in Page(html).tags if "href" in a and not str(a["href"]).startswith("#")} == {
        "data:,"
    }


def test_the_same_result_gives_the_same_bytes_and_is_left_alone() -> None:
    result = a_result()
    before = copy.deepcopy(result)
    assert report.render(result) == report.render(json.loads(json.dumps(result)))
    assert report.terminal(result) == report.terminal(result)
    assert result == before


def test_write_leaves_the_page_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    report.write(poisoned_result(), path)
    assert path.read_text(encoding="utf-8") == report.render(poisoned_result())
    assert [found.name for found in tmp_path.iterdir()] == ["report.html"]


SECTIONS = {
    "arms": "Grade of every arm, and its price",
    "worth": "What real feedback adds",
    "picks": "How well the rankers choose",
    "generalisation": "Generalisation",
    "examples": "1 row to read",
    "notes": "Counts and notes",
}


@pytest.mark.parametrize("key", SECTIONS)
def test_an_absent_key_leaves_its_section_out(key: str) -> None:
    result = a_result()
    assert f">{SECTIONS[key]}</h2>" in report.render(result)
    del result[key]
    if key == "notes":
        del result["counts"]
    assert f">{SECTIONS[key]}</h2>" not in report.render(result)


def test_an_empty_result_is_a_page_and_a_text() -> None:
    assert "Run it again" in Page(report.render({})).text
    assert report.terminal({"recipe": "nano"}) == "nano\n"
    assert report.headline({}) == []


def test_the_page_can_be_read_without_eyes_or_mouse() -> None:
    """Language, landmarks, unique ids, scoped headers, a name and a tab stop for every plot and wide table."""
    tags = Page(report.render(a_result())).tags
    assert ("html", {"lang": "en"}) in tags
    assert {"header", "nav", "main", "footer", "h1"} <= {tag for tag, _ in tags}
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))
    for tag, attributes in tags:
        if tag == "th":
            assert attributes.get("scope") in ("row", "col", "rowgroup")
        if attributes.get("role") == "region":
            assert attributes.get("aria-label")
            assert attributes.get("tabindex") == "0"
        if tag == "svg":
            assert attributes.get("role") in ("img", "group") or attributes.get("aria-hidden") == "true"
        for reference in ("aria-labelledby", "aria-describedby"):
            assert attributes.get(reference) is None or attributes[reference] in ids
        if str(attributes.get("href")).startswith("#"):
            assert str(attributes["href"])[1:] in ids


def test_plots_stay_inside_and_follow_the_numbers() -> None:
    tags = Page(report.render(a_result())).tags
    for tag, attributes in tags:
        for name in {"x", "x1", "x2", "cx"} & set(attributes):
            assert 0 <= float(str(attributes[name]).rstrip("%")) <= 100, (tag, attributes)
    axis = Axis.over(a_result()["arms"], "grade")
    assert axis is not None
    ends = [float(axis.at(value).rstrip("%")) for value in (0.46, 0.48, 0.49, 0.88, 0.9)]
    assert ends == sorted(ends)
    assert axis.at(axis.low) == "0.00%"
    assert axis.at(axis.high) == "100.00%"
    assert (f"{axis.at(0.5)}", "0.5") in axis.ticks


@pytest.mark.parametrize("values", [(0.5,), (0.0, 0.0), (-1e-9, 1e-9), (0.1, 0.1001), (-300.0, 8000.0)])
def test_ticks_are_few_and_differ(values: tuple[float, ...]) -> None:
    axis = Axis.over([{"grade": value} for value in values], "grade")
    assert axis is not None
    labels = [label for _, label in axis.ticks]
    assert 2 <= len(labels) <= 8
    assert len(set(labels)) == len(labels)
    assert Axis.over([{"grade": None}], "grade", also=(0.0,)) is None


def test_the_pick_is_marked_at_its_refinement() -> None:
    page = " ".join(" ".join(Page(report.render(a_result())).words).split())
    assert "First rewrite . grade 0.400 highest of this row \u2605 chance 0.250 fixpoint \u22123.500" in page
    assert "Second rewrite . chance 0.500 \u2713 picked fixpoint \u22121.250 \u2713 picked" in page
    assert "user: Sum it up." in page
