"""settle: what training reads of several people's answers: all, the majority, or a third person's.

The answers themselves stay in the ``collect`` step, untouched; so do their seconds, since what an arm cost
is the sum over the distinct annotations of all steps behind it. A merged answer therefore costs 0 seconds
here, and a third person's answer costs its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ilf._agreement.opinions import (
    RANKED,
    common_faults,
    common_ranking,
    common_ratings,
    disagreement,
    earlier,
    most_common,
    question,
)
from ilf.errors import DataError, UsageError, listed
from ilf.protocols import FeedbackSource, Row
from ilf.records import OF_ANNOTATION, SAID, as_sequence, check, row_id

#: Answers about one sample are read together, so an unfinished step starts again.
WINDOW = None

#: Settings that change how many are asked, not what they are shown: they start no new project.
POLICY = frozenset({"take", "threshold"})

Job = Literal["critique", "rank", "pairwise", "rate", "verdict", "refine"]
Take = Literal["all", "majority", "adjudicated"]
#: A row, how it was settled, and the rows it comes from.
Settled = tuple[Row, str, Sequence[Row]]

_SAID: dict[str, tuple[str, ...]] = {
    "critique": ("critique",),
    **dict.fromkeys(RANKED, ("ranking",)),
    "rate": ("ratings",),
    "refine": ("decision", "refinements"),
}
_ADDED = ("settled", "settled_from", "disagreement")


def columns(arguments: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that are read, and those that are added; UsageError where nobody is named to ask."""
    if arguments["take"] == "adjudicated" and arguments["feedback"] is None:
        raise UsageError(
            "take: adjudicated asks a third person: name the source, as in feedback: label_studio."
        )
    if not 0.0 < arguments["threshold"] <= 1.0:
        raise UsageError(f"threshold: {arguments['threshold']} is outside (0, 1].")
    needs = ("id", "sample_id", "annotation_id", "annotator", *_SAID[arguments["job"]])
    return needs, _ADDED


def settle(  # noqa: PLR0913 - the settings of a step
    rows: Iterable[Row],
    folder: str | Path = "people/answers",
    *,
    job: Job = "critique",
    take: Take = "all",
    feedback: FeedbackSource | None = None,
    threshold: float = 0.3,
    show_earlier: bool = True,
    seed: int = 0,
    done: int = 0,
) -> Iterator[Row]:
    """Yields the answers to train on; adds ``settled``, ``settled_from`` (annotation ids), ``disagreement``.

    ``all``: every answer (``settled`` is "given"). ``majority``: one row per sample ("majority"): verdicts by
    vote, a split vote is a tie; rankings by Borda's count; ratings by the median. Texts are not averaged:
    every critique stays, with the kinds of fault that more than half named; of rewrites those stay whose
    decision was the most common one. ``adjudicated``: the same, but where ``disagreement`` (0 to 1, see
    ``ilf agreement --help``) reaches ``threshold``, a third person is asked through ``feedback`` and only
    that answer counts ("adjudicated", or "self-adjudicated" by one of the same people). Whoever is asked
    reads the earlier answers, unless ``show_earlier`` is off; where the question was skipped the majority
    stands ("undecided").

    Raises Waiting while somebody is still to answer; ``done`` must be 0.
    """
    rows = as_sequence(rows)
    groups = _groups(rows, job)
    asked: dict[str, Row] = {}
    answers: dict[str, list[Row]] = {}
    if take == "adjudicated":
        if feedback is None:
            raise UsageError("settle: take='adjudicated' needs a feedback source.")
        asked = _questions(rows, groups, job, threshold, show_earlier=show_earlier)
        answers = _answers(list(asked.values()), feedback, job, seed, Path(folder))
    for key, indices in groups.items():
        given = [rows[index] for index in indices]
        apart = disagreement(job, given)
        for row, how, by in _settled(given, answers.get(key, ()), job, take):
            yield _marked(row, "undecided" if key in asked and not answers.get(key) else how, by, apart)


def _settled(given: Sequence[Row], third: Sequence[Row], job: str, take: Take) -> list[Settled]:
    """What becomes of the answers about one sample."""
    if take == "all":
        return [(row, "given", [row]) for row in given]
    people = {row["annotator"] for row in given}
    if third:
        return [
            (row, "self-adjudicated" if row["annotator"] in people else "adjudicated", given) for row in third
        ]
    return _majority(given, job)


def _groups(rows: Sequence[Row], job: str) -> dict[str, list[int]]:
    """Question -> indices of the rows that answer it, in order; DataError for rows of another job."""
    groups: dict[str, list[int]] = {}
    wrong = []
    for index, row in enumerate(rows):
        check([row], ("id", "sample_id", "annotation_id", "annotator", *_SAID[job]), f"settle {job}")
        if row.get("job", job) != job:
            wrong.append(f"row {index + 1} answers the job '{row['job']}'")
        groups.setdefault(question(row, job), []).append(index)
    if wrong:
        raise DataError(
            f"settle: job is '{job}', but:\n{listed(wrong, 5)}\n"
            "Set settle.job, or let settle read the step that collected it."
        )
    return groups


def _marked(row: Row, how: str, by: Sequence[Row], apart: float | None) -> Row:
    return {**row, "settled": how, "settled_from": [r["annotation_id"] for r in by], "disagreement": apart}


# --- the majority


def _majority(given: Sequence[Row], job: str) -> list[Settled]:
    if len(given) == 1:
        return [(given[0], "given", given)]
    if job == "critique":
        faults = common_faults([row.get("faults") or () for row in given])
        with_faults = any("faults" in row for row in given)
        return [({**row, "faults": faults} if with_faults else row, "given", [row]) for row in given]
    if job == "refine":
        decision = most_common(row["decision"] for row in given)
        return [(row, "given", [row]) for row in given if decision in (None, row["decision"])]
    return [(_merged(given, job), "majority", given)]


def _merged(given: Sequence[Row], job: str) -> Row:
    """One row for several answers; its texts are those of the first person who said exactly this."""
    column = _SAID[job][0]
    value: Any = (
        common_ratings([row["ratings"] for row in given])
        if job == "rate"
        else common_ranking([row["ranking"] for row in given])
    )
    same = next((row for row in given if _same(row[column], value)), None)
    annotation = row_id("majority", *sorted(row["annotation_id"] for row in given))
    blank: Row = {name: None for name in ("lead_seconds", "shown", "provenance") if name in given[0]}
    texts = {} if same else _without_texts(given[0], job)
    return {
        **(same or given[0]),
        **texts,
        **blank,
        column: value,
        "id": row_id(given[0]["sample_id"], annotation),
        "annotation_id": annotation,
        "annotator": f"majority of {len(given)}",
        "seconds": 0.0,  # nobody's time: the answers behind it are paid where they were collected
    }


def _same(said: Any, value: Any) -> bool:
    return bool(said == value if isinstance(value, dict) else [sorted(group) for group in said] == value)


def _without_texts(row: Row, job: str) -> Row:
    texts: Row = {name: None for name in ("why", "critique") if name in row and name in SAID[job]}
    return {**texts, "output": row["outputs"][0]} if job == "pairwise" else texts


# --- a third person


def _questions(
    rows: Sequence[Row],
    groups: Mapping[str, Sequence[int]],
    job: str,
    threshold: float,
    *,
    show_earlier: bool,
) -> dict[str, Row]:
    """Question -> the row that a third person is asked about, where the answers lie too far apart."""
    asked: dict[str, Row] = {}
    for key, indices in groups.items():
        if len(indices) > 1:
            given = [rows[index] for index in indices]
            apart = disagreement(job, given)
            if apart is not None and apart >= threshold:
                asked[key] = {
                    **_sample(given, job),
                    # The same for ever: an answer that was edited later asks nobody again.
                    "id": row_id("settle", job, key),
                    "earlier": earlier(given, job) if show_earlier else "",
                }
    return asked


def _answers(
    asked: Sequence[Row], feedback: FeedbackSource, job: str, seed: int, folder: Path
) -> dict[str, list[Row]]:
    """Question -> the third person's rows; nothing is asked where nobody disagrees."""
    if not asked:
        return {}
    feedback.push(asked, job, seed, folder)
    found: dict[str, list[Row]] = {question(row, job): [] for row in asked}
    for row in feedback.pull(asked, job, seed, folder):
        check([row], ("annotation_id", "annotator", *_SAID[job]), f"settle {job}: {row['id']}")
        found[question(row, job)].append(row)
    return found


def _sample(given: Sequence[Row], job: str) -> Row:
    """The sample without what people said about it."""
    first = given[0]
    if job == "refine":  # a person who criticised again replaced output and critique
        first = next((row for row in given if row["decision"] != "criticise"), first)
    said = {*OF_ANNOTATION, *SAID[job]}
    sample = {name: value for name, value in first.items() if name not in said}
    if job == "critique" and "origins" in first:  # the rewrite that the person took on the page
        sample = {n: v for n, v in sample.items() if n not in ("refinements", "origins", "preferred")}
    if job == "pairwise":
        sample["output"] = first["outputs"][0]  # a reason had put the loser there
    if job == "refine" and "origins" in first:
        pairs = zip(first["refinements"], first["origins"], strict=False)
        sample["refinements"] = [t for t, o in pairs if o == "model"] or first["refinements"][:1]
    return sample
