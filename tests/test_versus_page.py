"""Arms against arms on the page, in the terminal, in Markdown, and in the sentences."""

from __future__ import annotations

from typing import Any

import pytest

from ilf import report
from ilf._report.versus import versus_sentences, versus_view


def pair(row: str, column: str, size: float, half: float, p: float, **more: Any) -> dict[str, Any]:
    reach = {"low": size - half, "high": size + half}
    return {
        "row": row,
        "column": column,
        "budget": 100.0,
        "difference": size,
        "p_holm": p,
        "mde": 0.07,
        **reach,
        **more,
    }


@pytest.fixture
def result() -> dict[str, Any]:
    versus = [
        pair("a", "x", 0.2, 0.1, 0.001),
        pair("a", "y", -0.3, 0.1, 0.001),
        pair("b", "x", 0.01, 0.1, 1.0),
        pair("b", "y", 0.11, 0.1, 0.09),
    ]
    arms = [{"arm": name, "grade": 0.5, "low": 0.4, "high": 0.6, "seeds": 3} for name in "abxy"]
    return {"recipe": "r", "arms": arms, "versus": versus, "versus_about": "whose <b>time</b>"}


def test_the_table_has_a_cell_per_pair_with_sign_size_and_reach(result: dict[str, Any]) -> None:
    (table,) = versus_view(result)
    assert (table["budget"], table["columns"]) == (100.0, ["x", "y"])
    kinds = {
        (row["name"], name): c["kind"]
        for row in table["rows"]
        for name, c in zip("xy", row["cells"], strict=True)
    }
    assert kinds == {("a", "x"): "more", ("a", "y"): "less", ("b", "x"): "none", ("b", "y"): "unsettled"}
    assert table["rows"][0]["cells"][0]["reach"] == "+0.10 to +0.30"


def test_the_sentence_counts_many_pairs_and_tells_few_with_what_could_have_been_seen(
    result: dict[str, Any],
) -> None:
    (said,) = versus_sentences(result)
    assert "at 100 s each" in said
    assert "of 4 planned pairs 1 above, 1 below, 2 not told apart" in said
    result["versus"] = result["versus"][2:3]
    (said,) = versus_sentences(result)
    assert "b minus x" in said
    assert "could have seen" in said


def test_page_terminal_and_markdown_show_it_and_no_words_of_it_are_markup(result: dict[str, Any]) -> None:
    page = report.render([result])
    assert 'id="versus"' in page
    assert "whose &lt;b&gt;time&lt;/b&gt;" in page
    assert page.count("+0.10 to +0.30") == 1
    assert "row minus column at 100 s" in report.terminal(result)
    text = report.markdown(result)
    assert "row minus column, 100 s each" in text
    assert "<b>" not in text


def test_without_pairs_nothing_is_shown(result: dict[str, Any]) -> None:
    result["versus"] = []
    assert "Arms against arms" not in report.render([result])
    assert "row minus column" not in report.terminal(result) + report.markdown(result)
    assert versus_sentences(result) == []
