"""The seven jobs: the page a person sees, the data that page is given, and the order outputs stand in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ilf.errors import DataError, UsageError, nearest
from ilf.label_studio import pages
from ilf.label_studio.pages import Look
from ilf.records import SHOWN, digest, messages_text, problem_of

JOBS: tuple[str, ...] = ("critique", "rank", "pairwise", "demonstrate", "rate", "verdict", "refine")
#: Kinds of fault that a critique page offers.
FAULTS: tuple[str, ...] = ("factual error", "made up", "left out", "off topic", "unclear", "style", "harmful")
#: Columns of a row that the page of a job shows.
NEEDS = SHOWN
#: Halves of broken emoji.
_HALVES = re.compile("[\ud800-\udfff]")
#: Most outputs that one page ranks.
MOST_OUTPUTS = 8
#: Most kinds of fault: the keys 1 to 9.
MOST_FAULTS = 9


@dataclass(frozen=True)
class Page:
    """A labelling page: its config (XML), the instruction shown before it (HTML), a hash of both."""

    job: str
    config: str
    instruction: str
    version: str


def page(
    job: str,
    n_outputs: int = 0,
    *,
    faults: Sequence[str] = FAULTS,
    warning: str = "",
    instruction: str = "",
    why: str = "optional",
    suggest: bool = False,
) -> Page:
    """The page of a job; ``n_outputs`` is how many a rank page shows, 0 for rows of different length."""
    if job not in JOBS:
        raise UsageError(f"label_studio: no job '{job}'.{nearest(job, JOBS)} Jobs: {', '.join(JOBS)}.")
    _check(n_outputs, faults, why)
    look = Look(
        job=job,
        n_outputs=n_outputs,
        faults=tuple(faults),
        warning=warning.strip(),
        instruction=instruction,
        why=why,
        suggest=suggest and job == "critique",
        most_outputs=MOST_OUTPUTS,
    )
    config, said = pages.config(look), pages.instruction(look)
    return Page(job, config, said, digest([config, said], 12))


def _check(n_outputs: int, faults: Sequence[str], why: str) -> None:
    if n_outputs and not 2 <= n_outputs <= MOST_OUTPUTS:
        raise UsageError(
            f"label_studio: a page ranks 2 to {MOST_OUTPUTS} outputs, not {n_outputs}. Sample fewer."
        )
    if why not in ("optional", "required"):
        raise UsageError(f"label_studio: why: '{why}' must be 'optional' or 'required'.")
    if isinstance(faults, str) or len(faults) > MOST_FAULTS:
        raise UsageError(f"label_studio: faults: give a list of at most {MOST_FAULTS} kinds (one key each).")
    names = [fault.strip() for fault in faults]
    if not all(names) or len(set(names)) < len(names) or list(faults) != names:
        raise UsageError("label_studio: faults: each kind needs a name of its own, without blanks around it.")
    if any("$" in name for name in names):
        raise UsageError("label_studio: faults: leave the $ out (Label Studio puts a column into $x).")


def item_id(job: str, row_id: str) -> str:
    """The id of a row that an annotator may see: it says nothing."""
    return digest(["label_studio", job, row_id], 12)


def order(job: str, row_id: str, n: int) -> list[int]:
    """Indices of ``n`` outputs in the order in which they stand on the page; the same for ever."""
    return sorted(range(n), key=lambda index: digest(["order", job, row_id, index]))


def task_data(job: str, row: Mapping[str, Any], *, suggestion: str | None = None) -> dict[str, Any]:
    """What Label Studio is given of a row: the keys that the page names, and ``ilf_id``; nothing else.

    ``suggestion`` is the rewrite that a refine page shows, the first of ``refinements`` where there is none.
    ``row["earlier"]``, if any, is shown too. DataError names row and column.
    """
    if problem := problem_of_row(job, row):
        raise DataError(f"label_studio: {job}: row {row.get('id', '(without id)')}: {problem}.")
    prompt = row["prompt"]
    data: dict[str, Any] = {
        "ilf_id": item_id(job, row["id"]),
        "prompt": shown_text(prompt if isinstance(prompt, str) else messages_text(prompt)),
        "earlier": shown_text(row.get("earlier") or ""),
    }
    if "output" in NEEDS[job]:
        data["output"] = shown_text(row["output"])
    if job == "refine":
        rewrite = row["refinements"][0] if suggestion is None else suggestion
        data |= {"critique": shown_text(row["critique"]), "refinement": shown_text(rewrite)}
    if "outputs" in NEEDS[job]:
        outputs = [shown_text(text) for text in row["outputs"]]
        shown = [outputs[index] for index in order(job, row["id"], len(outputs))]
        if job == "rank":
            data["items"] = [{"body": text} for text in shown]
        else:
            data["left"], data["right"] = shown
    return data


def shown_text(text: str) -> str:
    """A text as the page shows it: halves of broken emoji, which no request can carry, become U+FFFD.

    It has as many code points as the text, so that marks keep their place.
    """
    return _HALVES.sub("\ufffd", text)


def problem_of_row(job: str, row: Mapping[str, Any]) -> str | None:
    """Why a row cannot be shown on the page of a job, or None."""
    for column in ("id", *NEEDS[job]):
        problem = problem_of(column, row[column]) if column in row else f"has no '{column}'"
        if problem:
            return problem
    if "outputs" in NEEDS[job]:
        n, most = len(row["outputs"]), MOST_OUTPUTS if job == "rank" else 2
        if not 2 <= n <= most:
            return f"'outputs' must hold {f'2 to {most}' if job == 'rank' else 'exactly 2'} texts, holds {n}"
    if job == "refine" and not row["refinements"]:
        return "'refinements' is empty"
    return None
