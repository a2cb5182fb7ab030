"""The page of curves, and the curves on a comparison's page: hostile text, keyboard, colours, and no script."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from result_page import HOSTILE, Page, a_result, poisoned, poisoned_result
from training_logs import a_log, a_reward_log

import ilf
from ilf import curves, report

CSS = Path(ilf.__file__).parent / "_report" / "templates"
ARMS: dict[str, Any] = {"ppo": [a_log(0), a_log(1), a_log(2)], "rloo": [a_log(3, turns_at=None)]}


def page(arms: Any = ARMS, **more: Any) -> str:
    return curves.render(arms, "nano", **{"sources": {name: ["runs/nano/x"] for name in arms}, **more})


def hostile(arms: Any) -> dict[str, Any]:
    """The same logs with hostile names of arms and columns, hostile texts, and a hostile title."""
    rows = {
        name + HOSTILE: [[{**poisoned(row), "extra" + HOSTILE: 1.0} for row in log] for log in logs]
        for name, logs in arms.items()
    }
    return json.loads(json.dumps(rows))


def test_hostile_logs_change_no_tag() -> None:
    harmless = {name: [[{**row, "extra": 1.0} for row in log] for log in logs] for name, logs in ARMS.items()}
    both = [page(harmless, command="ilf curves"), page(hostile(ARMS), command=HOSTILE)]
    shapes = [[(tag, sorted(attributes)) for tag, attributes in Page(each).tags] for each in both]
    # A name with underscores may be broken there: HOSTILE has one more than the name.
    shapes = [[shape for shape in each if shape[0] != "wbr"] for each in shapes]
    assert shapes[0] == shapes[1]
    assert not {tag for tag, _ in shapes[1]} & {"script", "img", "iframe", "object", "embed", "form"}
    assert not [names for _, names in shapes[1] if any(name.startswith("on") for name in names)]


def test_hostile_text_is_shown_as_it_is() -> None:
    shown = " ".join(re.sub(r"[\x00-\x08\x1b\ud800]", "\ufffd", HOSTILE).split())
    told = Page(page(hostile(ARMS))).text
    for word in ("A summary of 40.", "POST: 5 at 40", "ppo", "rloo", "extra"):
        assert f"{word}{shown}" in told, word


def test_no_script_and_nothing_is_fetched() -> None:
    html = page()
    policy = next(
        a["content"] for _, a in Page(html).tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert str(policy).startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    for word in ("<script", "http://", "https://", "url("):
        assert word not in html


def test_the_same_logs_give_the_same_bytes() -> None:
    assert page() == page(json.loads(json.dumps(ARMS)))


def check_readable(html: str) -> None:
    """Language, unique ids, scoped headers, a name and a tab stop for every picture and wide table."""
    tags = Page(html).tags
    assert ("html", {"lang": "en"}) in tags
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))
    for tag, attributes in tags:
        if tag == "th":
            assert attributes.get("scope") in ("row", "col", "rowgroup")
        if attributes.get("role") == "region" or attributes.get("class") == "lines":
            assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"
            assert attributes.get("tabindex") == "0" or attributes.get("aria-hidden") == "true"
        if tag == "svg":
            assert attributes.get("role") in ("img", "group") or attributes.get("aria-hidden") == "true"
        for reference in ("aria-labelledby", "aria-describedby"):
            assert attributes.get(reference) is None or attributes[reference] in ids
        if str(attributes.get("href")).startswith("#"):
            assert str(attributes["href"])[1:] in ids


def test_the_pages_can_be_read_without_eyes_or_mouse() -> None:
    check_readable(page())
    check_readable(page({"reward": [a_reward_log()]}))
    check_readable(report.render({**a_result(), "curves": ARMS}))


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of ``#rgb`` or ``#rrggbb``."""
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast_of(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_line_stands_out_from_the_paper(scheme: int) -> None:
    """3:1 is asked of graphics (WCAG 2.2, 1.4.11), 4.5:1 of text; the lines reach the latter."""
    pairs = {
        name: both
        for sheet in ("style.css", "curves.css")
        for name, *both in re.findall(
            r"--([\w-]+):light-dark\((#[0-9a-f]+),(#[0-9a-f]+)\)", (CSS / sheet).read_text()
        )
    }
    lines = {pairs[f"c{i}"][scheme] for i in range(8)}
    assert len(lines) == 8
    texts = {pairs[name][scheme] for name in ("ink", "soft", "mark", "up", "down", "warn")}
    for colour in lines | texts:
        assert contrast_of(colour, pairs["paper"][scheme]) >= 4.5, colour
    for text, bed in (
        ("up", "up-bed"),
        ("down", "down-bed"),
        ("soft", "up-bed"),
        ("soft", "down-bed"),
        ("warn", "warn-bed"),
    ):
        assert contrast_of(pairs[text][scheme], pairs[bed][scheme]) >= 4.5, (text, bed)


def test_arms_differ_by_more_than_colour() -> None:
    """Neighbouring arms have different dashes, in the plot as in the legend."""
    html = page({f"arm{i}": [a_log(i, steps=5)] for i in range(4)})
    assert [re.findall(rf'class="mean d{i} c{i}"', html) != [] for i in range(4)] == [True] * 4
    for i in (1, 2, 3):
        assert f".lines path.d{i},.swatch path.d{i}{{stroke-dasharray:" in html


# --- what stands on it


def test_the_page_shows_the_sentence_the_steps_and_the_samples() -> None:
    html = page(command="ilf curves nano/ppo")
    told = Page(html).text.replace("\u2212", "-")
    for sentence in curves.sentences(ARMS):
        assert sentence in told
    assert "ppo (3 seeds) rloo" in told
    found = re.findall(r'<th scope="row">ppo</th><td class="left">([^<]*)</td><td>([^<]*)</td>', html)
    peak = curves.numbers(ARMS)[0]["turn"]["peak_step"]
    assert found == [("first", "1"), ("best grade", f"{peak:g}"), ("last", "40")]
    assert "ppo, step 10 (near the best grade)" in told
    assert "ppo, step 40 (last)" in told
    assert told.count("A summary of 40.") == 2 * 6  # six of a step's samples, of the first seed only
    assert "reward 0.500 kl 1.250 grade 0.750" in told
    assert "Every other column (4)" in told
    assert "ilf curves nano/ppo" in told


def test_the_table_of_steps_holds_means_over_seeds() -> None:
    html = page({"ppo": [[{"step": 1, "kl": 1.0, "loss": 2.0}], [{"step": 1, "kl": 2.0}]]})
    row = re.search(r"<tr><th scope=\"row\">ppo</th>.*?first.*?</tr>", html)
    assert row is not None
    assert re.findall(r"<td>([^<]*)</td>", row[0]) == ["1", "1.500", "2"]


def test_a_log_without_reward_has_curves_and_no_sentence() -> None:
    told = Page(
        page({"sft": [[{"step": i, "loss": 1 / i, "learning_rate": 1e-3} for i in range(1, 20)]]})
    ).text
    assert "loss" in told
    assert "Reward and true grade" not in told
    assert "grade" not in told.partition("Where it comes from")[0]


def test_a_reward_models_verdict_is_a_table() -> None:
    told = Page(page({"reward": [a_reward_log()]})).text.replace("\u2212", "-")
    assert "measure [95 %]held outtrained on" in told
    assert "accuracy0.710 [0.660, 0.760]0.930 [0.660, 0.760]" in told
    assert "agreement with length (tau)-0.120 [-0.220, -0.020]" in told
    assert "calibration slope (1 is right)0.800 [no interval]" in told
    assert "held out: one prompt. trained on: one prompt." in told
    assert "calibration error0.0400.040" in told
    assert "0.50 to 0.601000.5500.520" in told
    assert "0.60 to 0.70" not in told  # an empty bin says nothing


@pytest.mark.parametrize("found", [None, {}, 3, {"accuracy": None}, {"calibration": None}])
def test_no_verdict_no_table(found: Any) -> None:
    assert curves.validation_tables({"validation": found}) == []
    assert 'id="validation"' not in page({"reward": [[{"step": 1, "loss": 1.0, "validation": found}]]})


@pytest.mark.parametrize(
    "broken", [None, "text", [None, 3], [{}], [{"prompt": 3, "output": None, "reward": "high"}]]
)
def test_broken_samples_break_no_page(broken: Any) -> None:
    log = a_log(steps=6)
    log[-1]["samples"] = broken
    assert "How training went" in page({"ppo": [log]})


# --- on the comparison's page


def test_the_comparison_has_a_section_where_arms_followed_a_reward() -> None:
    result = {
        **a_result(),
        "curves": {name: [curves.slim(log) for log in logs] for name, logs in ARMS.items()},
    }
    told = Page(report.render(result)).text.replace("\u2212", "-")
    text = " ".join(report.terminal(result).split())
    assert "Learning curves" in told
    for sentence in curves.sentences(ARMS):
        assert sentence in told
        assert sentence in text
    for empty in ({}, None):
        without = {**a_result(), "curves": empty}
        assert report.render(without) == report.render(a_result())
        assert report.terminal(without) == report.terminal(a_result())


def test_hostile_logs_change_no_tag_of_a_comparison() -> None:
    shapes = []
    for result in ({**a_result(), "curves": ARMS}, {**poisoned_result(), "curves": hostile(ARMS)}):
        for row in (*result["arms"], *result["picks"], *result["worth"]):
            for key in ("arm", "ranker"):
                if key in row:
                    row[key] = f"x{row[key]}"  # the names base, chance, oracle draw lines of their own
        html = re.sub(
            r"<svg class=\"lines\".*?</svg>|<figure.*?</figure>", "", report.render(result), flags=re.S
        )
        shapes.append([tag for tag, _ in Page(html).tags if tag != "wbr"])
    assert shapes[0] == shapes[1]


def test_how_far_the_policies_went_is_a_column_only_where_it_is_known() -> None:
    result = a_result()
    plain = report.render(result), report.terminal(result, 120)
    for arm in result["arms"]:
        arm["kl"] = None
    assert (report.render(result), report.terminal(result, 120)) == plain
    assert "KL" not in plain[0] + plain[1]
    result["arms"][2]["kl"] = 6.254
    html = report.render(result)
    assert html.count('<th scope="col">KL</th>') == 1
    assert ">6.25</td>" in html
    head = next(line for line in report.terminal(result, 120).splitlines() if line.startswith("arm (*"))
    assert re.search(r"comp s +KL$", head)
    result["arms"][2]["arm"] = "a_name_that_leaves_no_room"
    assert max(map(len, report.terminal(result, 80).splitlines())) <= 80
    assert not re.search(r"comp s +KL$", report.terminal(result, 80), re.MULTILINE)
