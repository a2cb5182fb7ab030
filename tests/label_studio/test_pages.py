"""The pages as text: what they ask Label Studio to show, and what they are given of a row."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from importlib.resources import files
from typing import Any
from xml.etree import ElementTree

import pytest

from ilf.errors import DataError, UsageError
from ilf.label_studio.jobs import (
    FAULTS,
    JOBS,
    MOST_OUTPUTS,
    NEEDS,
    item_id,
    order,
    page,
    task_data,
)

SECRET = "only-we-know-this"
ROW: dict[str, Any] = {
    "id": "row-1",
    "sample_id": SECRET,
    "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who <b>sat</b>?"}],
    "output": "A cat.",
    "outputs": ["one", "two"],
    "critique": "It was a dog.",
    "refinements": ["A dog.", SECRET],
    "facts": {"answer": SECRET},
    "reference": SECRET,
    "model": SECRET,
    "models": [SECRET, SECRET],
    "scores": [0.123456],
    "annotator": SECRET,
}
#: Keys that Label Studio keeps for itself on such a page.
TAKEN = {"u", "enter", "escape", "backspace", "delete"}
VARIANTS = [
    *((job, {}) for job in JOBS),
    ("rank", {"n_outputs": 2}),
    ("rank", {"n_outputs": MOST_OUTPUTS, "why": "required"}),
    ("critique", {"suggest": True, "faults": [f"kind {n}" for n in range(9)], "warning": "Beware."}),
    ("critique", {"faults": []}),
    ("pairwise", {"why": "required", "instruction": "Be fair."}),
]


def tags(config: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(config).iter())


@pytest.mark.parametrize(("job", "options"), VARIANTS)
def test_a_page_is_whole(job: str, options: dict[str, Any]) -> None:
    made = page(job, **options)
    found = tags(made.config)
    assert "[[" not in made.config.replace("$items[[", "")
    assert "[[" not in made.instruction
    names = [tag.get("name") for tag in found if tag.get("name")]
    assert len(set(names)) == len(names)
    assert {tag.get("toName") for tag in found if tag.get("toName")} <= set(names)
    keys = [tag.get("hotkey", "").lower() for tag in found if tag.get("hotkey")]
    assert len(set(keys)) == len(keys)
    assert not set(keys) & TAKEN


@pytest.mark.parametrize(("job", "options"), VARIANTS)
def test_a_page_is_given_what_it_names_and_nothing_else(job: str, options: dict[str, Any]) -> None:
    outputs = ["one", "two"] * 4 if options.get("n_outputs") == MOST_OUTPUTS else ["one", "two"]
    data = task_data(job, {**ROW, "outputs": outputs})
    named = {match for tag in tags(page(job, **options).config) for match in variables(tag)}
    assert {name for name, _ in named} == set(data) - {"ilf_id"}
    most = max((int(index) for name, index in named if name == "items" and index.isdigit()), default=-1)
    assert most < len(data.get("items", ()))
    assert all(isinstance(value, (str, list)) for value in data.values())
    assert SECRET not in json.dumps(data)


def variables(tag: ElementTree.Element) -> set[tuple[str, str]]:
    text = " ".join(tag.attrib.values())
    return {(name, index) for name, index in re.findall(r"\$(\w+)(?:\[([^\]]*)\])?", text)}


@pytest.mark.parametrize("job", JOBS)
def test_ids_that_people_see_say_nothing(job: str) -> None:
    data = task_data(job, ROW)
    assert data["ilf_id"] == item_id(job, "row-1")
    assert re.fullmatch("[0-9a-f]{12}", data["ilf_id"])
    assert "row-1" not in json.dumps(data)
    assert len({item_id(job, f"row-{n}") for n in range(1000)} | {item_id("x", "row-1")}) == 1001


def test_texts_are_passed_on_as_they_are() -> None:
    hostile = "<script>x</script> $prompt {{idx}} [[style]]\r\n\t&amp; \u05d0 \U0001f600\x00"
    data = task_data("critique", {**ROW, "output": hostile, "earlier": "Earlier answers:\n- x"})
    assert data["output"] == hostile
    assert data["prompt"] == "system: Be brief.\nuser: Who <b>sat</b>?"
    assert (data["earlier"], task_data("critique", ROW)["earlier"]) == ("Earlier answers:\n- x", "")
    assert task_data("rate", {**ROW, "output": "a\ud800b"})["output"] == "a\ufffdb"
    assert task_data("refine", ROW)["refinement"] == "A dog."
    assert task_data("refine", ROW, suggestion="Dogs.")["refinement"] == "Dogs."


def test_outputs_stand_in_the_order_that_is_recorded() -> None:
    outputs = [f"text {n}" for n in range(5)]
    shown = order("rank", "row-1", 5)
    items = task_data("rank", {**ROW, "outputs": outputs})["items"]
    assert [item["body"] for item in items] == [outputs[index] for index in shown]
    left, right = order("verdict", "row-1", 2)
    data = task_data("verdict", ROW)
    assert (data["left"], data["right"]) == (ROW["outputs"][left], ROW["outputs"][right])


def test_the_order_never_changes() -> None:
    assert order("rank", "row-1", 5) == [0, 3, 2, 4, 1]
    assert order("pairwise", "row-1", 2) == [0, 1]
    assert sorted(order("rank", "x", 8)) == list(range(8))


@pytest.mark.parametrize("n", [2, 3])
def test_every_order_is_as_frequent(n: int) -> None:
    orders = list(itertools.permutations(range(n)))
    seen = Counter(tuple(order("rank", f"row-{i}", n)) for i in range(3000))
    expected = 3000 / len(orders)
    chi2 = sum((seen[one] - expected) ** 2 / expected for one in orders)
    # The 99.9th percentile of chi-squared with 1 and with 5 degrees of freedom.
    assert chi2 < {2: 10.83, 3: 20.52}[n]


def test_jobs_shuffle_apart() -> None:
    same = sum(order("pairwise", f"row-{i}", 2) == order("verdict", f"row-{i}", 2) for i in range(400))
    assert 150 < same < 250


def test_what_a_recipe_says_is_text_on_the_page() -> None:
    evil = '"><script>x</script> [[style]] $100 & {{idx}}'
    made = page(
        "critique", warning=evil, instruction=f"{evil}\nsecond", faults=['a "<b>" & [[warning]]', "c"]
    )
    shown = [tag.get("value", "") for tag in tags(made.config)]
    assert any(evil.replace("$", "$\u2060") in value for value in shown)
    assert 'a "<b>" & [[warning]]' in shown
    assert "<script" not in made.config + made.instruction
    assert "second" in made.instruction
    # Label Studio would put a column into $100.
    assert "$1" not in made.config


def test_every_page_tells_how_it_is_used() -> None:
    for job in JOBS:
        plain = page(job, warning="There is violence in these posts.")
        assert "An example." in plain.instruction
        assert "There is violence" in plain.instruction
        assert "There is violence" in plain.config
        for key in ("Ctrl+Enter", "Ctrl+Space"):
            assert key in plain.config
            assert key in plain.instruction
        assert "violence" not in page(job).config + page(job).instruction
    for meaning in ("Helpful", "Truthful", "Toxic", "Biased", "not at all", "very"):
        assert meaning in page("rate").config


def test_a_required_why_is_required() -> None:
    for job in ("rank", "pairwise", "verdict"):
        by_name = {tag.get("name"): tag for tag in tags(page(job, why="required").config)}
        assert by_name["why"].get("required") == "true"
        by_name = {tag.get("name"): tag for tag in tags(page(job).config)}
        assert by_name["why"].get("required") is None


def test_the_area_for_the_rewrite_is_there_where_it_is_asked_for() -> None:
    with_it = {tag.get("name"): tag for tag in tags(page("critique", suggest=True).config)}
    assert {"rewrite", "rewrite_decision"} <= set(with_it)
    # Only the critique asks the model, and it does so whatever the switch says.
    asking = [
        name for name, tag in with_it.items() if name and tag.get("toName") and tag.get("smart") != "false"
    ]
    assert asking == ["critique"]
    assert with_it["critique"].get("smartOnly") == "true"
    assert "rewrite" not in page("critique").config
    assert page("rank", 4, suggest=True) == page("rank", 4)


def test_a_changed_page_has_a_new_version() -> None:
    versions = {page(job, **options).version for job, options in VARIANTS}
    assert len(versions) == len(VARIANTS)
    assert page("critique").version == page("critique", faults=FAULTS).version
    assert page("critique", instruction="x").version != page("critique").version


@pytest.mark.parametrize(
    ("job", "options", "said"),
    [
        ("critic", {}, "Did you mean 'critique'?"),
        ("rank", {"n_outputs": 9}, "2 to 8"),
        ("rank", {"n_outputs": 1}, "2 to 8"),
        ("rank", {"why": "perhaps"}, "optional"),
        ("critique", {"faults": "style"}, "list"),
        ("critique", {"faults": [str(n) for n in range(10)]}, "at most 9"),
        ("critique", {"faults": ["a", "a"]}, "a name of its own"),
        ("critique", {"faults": ["a", " "]}, "a name of its own"),
        ("critique", {"faults": ["costs $5"]}, "$"),
    ],
)
def test_a_page_that_cannot_be_is_refused(job: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        page(job, **options)


@pytest.mark.parametrize(
    ("job", "change", "said"),
    [
        ("critique", {"output": None}, "'output' must be text"),
        ("critique", {"prompt": " "}, "'prompt' is empty"),
        ("rank", {"outputs": ["x"]}, "2 to 8 texts, holds 1"),
        ("rank", {"outputs": ["x"] * 9}, "2 to 8 texts, holds 9"),
        ("pairwise", {"outputs": ["x"] * 3}, "exactly 2 texts, holds 3"),
        ("refine", {"refinements": []}, "'refinements' is empty"),
    ],
)
def test_a_row_that_cannot_be_shown_is_named(job: str, change: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)) as raised:
        task_data(job, {**ROW, **change})
    assert "row row-1" in str(raised.value)
    missing = {column: value for column, value in ROW.items() if column != NEEDS[job][-1]}
    with pytest.raises(DataError, match=f"has no '{NEEDS[job][-1]}'"):
        task_data(job, missing)


def test_every_template_ships_and_is_used() -> None:
    folder = files("ilf.label_studio") / "pages"
    there = {entry.name for entry in folder.iterdir()}
    source = (files("ilf.label_studio") / "pages.py").read_text(encoding="utf-8")
    for name in there:
        assert name.split(".")[0] in JOBS or f'"{name}"' in source, f"{name} is used by no page"
