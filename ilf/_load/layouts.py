"""Layouts that ``load`` knows by name: which of their fields become which columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ilf._load.columns import Plan
from ilf._load.layouts_sets import SETS


def _slf5k(job: str, seconds: str, columns: Mapping[str, str | Sequence[str]]) -> Plan:
    preference = "comparison_preference"
    return Plan(
        columns={
            "prompt": "summary_prompt",
            "id": "id",
            **columns,
            "seconds": f"time_spent_in_seconds_{seconds}",
            "reference": " {tldr_human_reference_summary|strip}",
        },
        values={"ranking": {"Summary A": [[0], [1]], "Summary B": [[1], [0]]}} if job == "rank" else {},
        where={preference: ["Summary A", "Summary B"]} if job == "rank" else {},
        optional=("seconds", "reference"),
    )


def _label_studio(**columns: str | Sequence[str]) -> Plan:
    """The names that our own labelling pages use; a recipe's ``columns`` say what others are called."""
    said = {"prompt": "prompt", **columns, "annotator": "annotator", "seconds": "seconds"}
    return Plan(columns=said, optional=("annotator", "seconds"))


#: What people filled in, by job: the column that a row of the layout label_studio cannot do without.
SAID = {"critique": "critique", "rank": "ranking", "demonstrate": "completion"}

#: Layout -> job -> plan. SLF5K (Scheurer et al. 2023, arXiv 2303.16755): its prompts end in "TL;DR:" and its
#: summaries are stripped, hence the leading spaces; rows without a preference are no comparisons.
LAYOUTS: dict[str, dict[str, Plan]] = {
    "slf5k": {
        "critique": _slf5k(
            "critique",
            "feedback",
            {"output": " {generated_summary_for_feedback|strip}", "critique": "feedback"},
        ),
        "rank": _slf5k(
            "rank",
            "comparison",
            {
                "outputs": [f" {{generated_summary_for_comparison_{letter}|strip}}" for letter in "AB"],
                "ranking": "comparison_preference",
            },
        ),
        "demonstrate": _slf5k(
            "demonstrate", "ideal_human_summary", {"completion": " {ideal_human_summary|strip}"}
        ),
    },
    "label_studio": {
        "critique": _label_studio(output="output", critique="critique"),
        "rank": _label_studio(outputs="items", ranking="ranking"),
        "demonstrate": _label_studio(completion="demonstration"),
    },
    # Public sets are no annotations: their one plan stands under no job.
    **{layout: {"": plan} for layout, plan in SETS.items()},
}
