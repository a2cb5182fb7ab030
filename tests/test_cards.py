"""Model and data cards: from the page's numbers, with its warnings, and with no markup of somebody else's."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from result_page import a_full_result

from ilf.cards import data_card, model_card


def changed(**arm: Any) -> dict[str, Any]:
    result = a_full_result()
    result["arms"][-1] = {**result["arms"][-1], **arm}
    return result


def test_a_card_has_the_numbers_of_the_page() -> None:
    result = a_full_result()
    row = result["arms"][-1]
    card = model_card(result, row["arm"])
    front = yaml.safe_load(card.split("---")[1])
    assert front["library_name"] == "ilf"
    assert f"{row['grade']:.3f} [{row['low']:.3f}, {row['high']:.3f}]" in card
    assert result["world_note"][:40] in card
    with pytest.raises(KeyError):
        model_card(result, "nobody")


def test_warnings_stand_on_the_card_of_their_arm_alone() -> None:
    result = a_full_result()
    flagged = {flag["arm"] for flag in result["flags"]}
    for row in result["arms"]:
        assert ("**Warning.**" in model_card(result, row["arm"])) == (row["arm"] in flagged)
    assert flagged


def test_hostile_names_and_texts_stay_text() -> None:
    result = changed(arm="a|b<script>", about="x\n# heading\n| cell | <img>")
    _, front, card = model_card(result, "a|b<script>").split("---\n", 2)
    assert yaml.safe_load(front)["model_name"] == "a|b<script>"
    assert "<script>" not in card.replace("\\<", "")
    assert "\n# heading" not in card
    assert "<img>" not in card.replace("\\<", "")


def test_the_data_card_counts_answers_by_job_and_never_names_a_person() -> None:
    result = a_full_result()
    card = data_card(result)
    for job in result["ledger"]["by_job"]:
        assert f"| {job} |" in card
    assert "ilf forget" in card
