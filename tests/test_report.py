"""The page and the terminal: what they say, that they say it of hostile text too, and that they never run it."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ilf import report

HOSTILE = (
    "<script>window.pwned=1</script></textarea></title></style><img src=x onerror=alert(1)>"
    "\"'`><svg/onload=alert(1)> \u2028 {{ 7*7 }} {% raw %} &lt; \x00\x1b[31m \ud800 \u202e javascript:alert(1)"
)
VOID = {"meta", "link", "wbr", "img", "br"}


def contrast(difference: float | None, reach: float = 0.02, **more: Any) -> dict[str, Any]:
    if difference is None:
        return {"difference": None, "low": None, "high": None, "p": None, **more}
    return {
        "difference": difference,
        "low": difference - reach,
        "high": difference + reach,
        "p": 0.001,
        **more,
    }


def an_arm(name: str, grade: float | None, **more: Any) -> dict[str, Any]:
    ends = {} if grade is None else {"low": grade - 0.02, "high": grade + 0.02}
    return {
        "arm": name,
        "about": f"about {name}",
        "grade": grade,
        "low": None,
        "high": None,
        **ends,
        "parts": {"recall": 0.5, "bias": None},
        "seeds": 3,
        "rows": 100,
        "human_seconds": 18_250.0,
        "compute_seconds": 1234.5,
        "is_control": False,
        "vs": None,
        **more,
    }


def a_result() -> dict[str, Any]:
    vs = {"control": "sft_initial", **contrast(0.2)}
    example = {
        "prompt": [{"role": "user", "content": "Sum it up."}],
        "output": " An output.",
        "critique": "The price is missing.",
        "refinements": [" First rewrite.", " Second rewrite."],
        "scores": {"chance": [0.25, 0.5], "fixpoint": [-3.5, -1.25]},
        "picked": {"chance": 1, "fixpoint": 1},
        "grades": [0.4, None],
        "answers": {"base": " An answer."},
    }
    return {
        "recipe": "nano",
        "about": "three arms",
        "run": "runs/nano",
        "command": "ilf compare nano",
        "version": "0.1.0",
        "made": None,
        "world_note": "closed world: it tests the machinery and is no evidence about people",
        "arms": [
            an_arm("base", 0.49, is_control=True, human_seconds=0),
            an_arm("sft_initial", 0.48, is_control=True),
            an_arm("ilf_fixpoint", 0.88, vs=vs),
            an_arm(
                "ppo",
                None,
                reason="the reward was not finite",
                vs={"control": "sft_initial", **contrast(None)},
            ),
        ],
        "worth": [
            worth_row("chance", 0.738, vs_none=contrast(0.14), vs_shuffled=contrast(0.1)),
            worth_row("fixpoint", 0.888, vs_none=contrast(0.01, mde=0.03), vs_shuffled=contrast(-0.01)),
            worth_row("oracle", 0.89, vs_none=contrast(0.3), vs_shuffled=contrast(0.3)),
        ],
        "picks": [
            {"ranker": "chance", "grade": 0.78, "low": 0.77, "high": 0.79, "headroom": 0.0, "tau": None},
            {"ranker": "judge", "grade": None, "low": None, "high": None, "reason": "needs model="},
        ],
        "generalisation": [
            {"arm": "base", "split": "iid", "grade": 0.499, "low": 0.48, "high": 0.52},
            {"arm": "base", "split": "held_phrasing", "grade": 0.454, "low": 0.43, "high": 0.48},
        ],
        "examples": [example],
        "counts": {"refinements cut at the token limit": 4},
        "notes": ["Times were measured on a shared machine."],
        "p_correction": "Holm",
    }


def worth_row(ranker: str, real: float, **more: Any) -> dict[str, Any]:
    return {"ranker": ranker, "real": real, "shuffled": 0.63, "none": 0.6, "own": 0.48, **more}


class Page(HTMLParser):
    """Start tags with their attributes, the text, and whether every tag is closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def poisoned(value: Any) -> Any:
    """The same structure with hostile text behind every string, keys of the user included."""
    if isinstance(value, str):
        return value + HOSTILE
    if isinstance(value, list):
        return [poisoned(item) for item in value]
    if isinstance(value, dict):
        return {key: poisoned(item) for key, item in value.items()}
    return value


def poisoned_result() -> dict[str, Any]:
    result = poisoned(a_result())
    for arm in result["arms"]:
        arm["parts"] = {poisoned(name): part for name, part in arm["parts"].items()}
    for example in result["examples"]:
        for key in ("scores", "picked", "answers"):
            example[key] = {poisoned(name): found for name, found in example[key].items()}
    result["counts"] = poisoned({name + HOSTILE: count for name, count in result["counts"].items()})
    return json.loads(json.dumps(result))


def test_hostile_text_in_every_column_changes_no_tag() -> None:
    """The page of hostile text has the tags and attributes' names of the page of harmless text, in order."""
    harmless = a_result()
    harmless["arms"][0]["arm"] = "basis"  # the names base, chance, oracle draw lines and hollow marks
    harmless["picks"][0]["ranker"] = "coin"
    harmless["worth"].pop()
    hostile = poisoned_result()
    hostile["worth"].pop()
    shapes = [
        [(tag, sorted(attributes)) for tag, attributes in Page(report.render(each)).tags]
        for each in (harmless, hostile)
    ]
    assert shapes[0] == shapes[1]
    tags = {tag for tag, _ in shapes[1]}
    assert not tags & {"script", "img", "iframe", "textarea", "object", "embed", "form"}
    assert not [names for _, names in shapes[1] if any(name.startswith("on") for name in names)]


def test_hostile_text_is_shown_as_it_is() -> None:
    page = Page(report.render(poisoned_result()))
    shown = re.sub(r"[\x00-\x08\x1b\ud800]", "\ufffd", HOSTILE)
    shown = " ".join(shown.split())
    for word in (
        "Sum it up.",
        "An output.",
        "The price is missing.",
        "Second rewrite.",
        "An answer.",
        "about base",
    ):
        assert f"{word}{shown}" in page.text, word
    assert "49" not in re.sub(r"0\.49|499", "", page.text)  # {{ 7*7 }} was not computed


def test_no_script_can_run_and_nothing_is_fetched() -> None:
    html = report.render(a_result())
    policy = next(
        a["content"] for tag, a in Page(html).tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    assert "<script" not in html
    assert "http://" not in html
    assert "https://" not in html
    assert "url(" not in html
    assert {a["href"] for _, a in Page(html).tags if "href" in a and not str(a["href"]).startswith("#")} == {
        "data:,"
    }


def test_the_terminal_shows_no_control_character() -> None:
    text = report.terminal(poisoned_result())
    assert all(character.isprintable() or character == "\n" for character in text)


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
    "arms": "Grade of every arm",
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
            assert attributes.get("scope") in ("row", "col")
        if attributes.get("role") in ("img", "region"):
            assert attributes.get("aria-label")
            assert attributes.get("tabindex") == "0"
        if tag == "svg":
            assert attributes.get("role") == "img" or attributes.get("aria-hidden") == "true"
        for reference in ("aria-labelledby", "aria-describedby"):
            assert attributes.get(reference) is None or attributes[reference] in ids
        if str(attributes.get("href")).startswith("#"):
            assert str(attributes["href"])[1:] in ids


def test_plots_stay_inside_and_follow_the_numbers() -> None:
    tags = Page(report.render(a_result())).tags
    for tag, attributes in tags:
        for name in {"x", "x1", "x2", "cx"} & set(attributes):
            assert 0 <= float(str(attributes[name]).rstrip("%")) <= 100, (tag, attributes)
    axis = report.Axis.over(a_result()["arms"], "grade")
    assert axis is not None
    ends = [float(axis.at(value).rstrip("%")) for value in (0.46, 0.48, 0.49, 0.88, 0.9)]
    assert ends == sorted(ends)
    assert axis.at(axis.low) == "0.00%"
    assert axis.at(axis.high) == "100.00%"
    assert (f"{axis.at(0.5)}", "0.5") in axis.ticks


@pytest.mark.parametrize("values", [(0.5,), (0.0, 0.0), (-1e-9, 1e-9), (0.1, 0.1001), (-300.0, 8000.0)])
def test_ticks_are_few_and_differ(values: tuple[float, ...]) -> None:
    axis = report.Axis.over([{"grade": value} for value in values], "grade")
    assert axis is not None
    labels = [label for _, label in axis.ticks]
    assert 2 <= len(labels) <= 8
    assert len(set(labels)) == len(labels)
    assert report.Axis.over([{"grade": None}], "grade", also=(0.0,)) is None


def test_unknown_numbers_are_named_with_their_reason_and_never_zero() -> None:
    page = Page(report.render(a_result())).text
    assert "not measured: the reward was not finite" in page
    assert "not measured: needs model=" in page
    text = report.terminal(a_result())
    assert re.search(r"^ppo +- +- +- ", text, re.MULTILINE)
    assert "ppo: the reward was not finite" in text
    assert "judge: needs model=" in text
    assert (
        report.estimate({"grade": 0.5, "reason": "only one prompt"}) == "0.500 [no interval: only one prompt]"
    )
    assert report.estimate({"grade": float("nan")}) == "not measured"


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        (report.plain, 0.7384, "0.738"),
        (report.plain, None, "-"),
        (report.plain, True, "-"),
        (report.plain, "0.7", "-"),
        (report.plain, float("inf"), "-"),
        (report.signed, 0.1451, "+0.145"),
        (report.signed, -0.0001, "0.000"),
        (report.probability, 0.00099, "<0.001"),
        (report.probability, 0.001, "0.001"),
        (report.hours, 18_250, "5.1"),
        (report.hours, 0, "0"),
    ],
)
def test_numbers_as_text(form: Any, value: object, expected: str) -> None:
    assert form(value) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (contrast(0.1), "more"),
        (contrast(-0.1), "less"),
        (contrast(0.01), "none"),
        ({"difference": 0.1, "low": 0.0, "high": 0.2, "p": 0.05}, "none"),
        ({**contrast(0.1), "p": 0.06}, "unsettled"),
        ({**contrast(0.1), "p_holm": 0.06}, "unsettled"),
        ({**contrast(0.1), "p": None}, "more"),
        (contrast(None), "unknown"),
        ({"difference": 0.1, "low": None, "high": None, "p": None}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_verdict(row: dict[str, Any], expected: str) -> None:
    assert report.verdict(row) == expected


def test_the_answer_counts_what_it_claims_and_names_what_it_does_not() -> None:
    answer, shuffled, control, highest = report.headline(a_result())
    assert answer == (
        "In this closed world real feedback adds to the grade with 1 of 2 rankers (each against itself without "
        "feedback, 95 % intervals): chance +0.140 [+0.120, +0.160]. No difference seen with fixpoint +0.010 "
        "[-0.010, +0.030] (could have seen 0.030 or more)."
    )
    assert shuffled == (
        "Over feedback shuffled between rows real feedback adds with 1 of 2 rankers: chance +0.100 "
        "[+0.080, +0.120]. No difference seen with fixpoint -0.010 [-0.030, +0.010]."
    )
    assert control == (
        "The loop with fixpoint reaches 0.888 on real feedback, 0.630 on shuffled feedback, 0.600 without "
        "feedback, 0.480 on its own first outputs (0.490 untrained): the feedback's part is the step from 0.600 "
        "to 0.888."
    )
    assert highest == (
        "The one arm measured that is no control: ilf_fixpoint 0.880 [0.860, 0.900], for 5.1 human hours."
    )


def test_a_loss_and_an_unsettled_difference_are_said() -> None:
    worth = [
        worth_row("a", 0.5, vs_none=contrast(-0.1), vs_shuffled=contrast(0.0)),
        worth_row("b", 0.6, vs_none=contrast(0.05, p_holm=0.2), vs_shuffled=contrast(None)),
    ]
    answer, shuffled, _ = report.headline({"worth": worth})
    assert answer.startswith("Real feedback lowers the grade with 1 of 2 rankers")
    assert "Unsettled (interval without 0, but corrected p of .05 or more): b +0.050" in answer
    assert "Not measured with b." in shuffled
    assert shuffled.endswith("nothing here shows that a critique has to be about its own output.")


def test_a_long_list_names_its_two_ends() -> None:
    worth = [worth_row(name, 0.6, vs_none=contrast(0.1 * i)) for i, name in enumerate("abcde", start=1)]
    answer = report.headline({"worth": worth})[0]
    assert "with all 5 rankers" in answer
    assert "from a +0.100 [+0.080, +0.120] to e +0.500 [+0.480, +0.520]." in answer


def test_without_worth_the_arms_answer() -> None:
    result = {"arms": a_result()["arms"]}
    assert report.headline(result)[0] == (
        "Graded above their control (95 % intervals): 1 of 2 arms: ilf_fixpoint +0.200 [+0.180, +0.220]. "
        "Not measured with ppo."
    )


@pytest.mark.parametrize(("seeds", "said"), [(1, "training variance unknown"), (2, "hardly known"), (3, "")])
def test_few_seeds_are_said(seeds: int, said: str) -> None:
    last = report.headline({"arms": [an_arm("a", 0.5, seeds=seeds)]})[-1]
    assert said in last
    assert ("training variance" in last) == bool(said)


def test_page_and_terminal_say_the_same_sentences() -> None:
    result = a_result()
    page, text = Page(report.render(result)).text, " ".join(report.terminal(result).split())
    for sentence in report.headline(result):
        assert sentence in text
        assert sentence in page.replace("\u2212", "-")
    for shown in (page, text):
        assert "no evidence about people" in shown
        assert "works for people" not in shown


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_keeps_its_width_and_its_columns(width: int) -> None:
    result = a_result()
    result["arms"].append(an_arm("an_arm_with_a_name_that_is_longer_than_any_column_could_be_here", 0.7))
    lines = report.terminal(result, width).splitlines()
    assert max(map(len, lines)) <= width
    table = lines[next(i for i, line in enumerate(lines) if line.startswith("arm (* control)")) :]
    table = table[: next(i for i, line in enumerate(table) if line.startswith("Control:"))]
    names = [line.split()[0] for line in table]
    assert [name for name in names if name in ("base", "sft_initial", "ilf_fixpoint", "ppo")] == [
        "ilf_fixpoint",
        "base",
        "sft_initial",
        "ppo",
    ]
    assert len({len(line) for line in table if line.endswith(("comp s", "1,234"))}) == 1
    assert "base *" in "\n".join(table)
    assert "Control: sft_initial. Hours are people's, comp s is compute; p corrected by Holm." in " ".join(
        lines
    )


def test_arms_are_sorted_by_grade_with_the_unknown_last() -> None:
    rows = [{"grade": None, "n": 1}, {"grade": 0.1}, {"grade": float("nan"), "n": 2}, {"grade": 0.9}]
    ordered = report.by_grade(rows)
    assert [row.get("grade") for row in ordered[:2]] == [0.9, 0.1]
    assert [row.get("n") for row in ordered[2:]] == [1, 2]


def test_the_pick_is_marked_at_its_refinement() -> None:
    page = " ".join(" ".join(Page(report.render(a_result())).words).split())
    assert "First rewrite. grade 0.400 chance 0.250 fixpoint \u22123.500 Second rewrite." in page
    assert "Second rewrite. chance 0.500 \u2713 picked fixpoint \u22121.250 \u2713 picked" in page
    assert "user: Sum it up." in page
