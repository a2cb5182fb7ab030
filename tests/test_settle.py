"""settle: what training reads of several people's answers, what a third person is shown, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from toys.echo import Echo

from ilf import DataError, Nano, Simulated, UsageError, collect, load, sample
from ilf._agreement.opinions import earlier
from ilf.errors import Waiting
from ilf.records import row_id
from ilf.settle import columns, settle

Rows = list[dict[str, Any]]
FIRST, SECOND, TIE = [[0], [1]], [[1], [0]], [[0, 1]]


def answer(sample_id: str, annotator: str, job: str = "verdict", **said: Any) -> dict[str, Any]:
    annotation = row_id(job, sample_id, annotator)
    return {
        "id": row_id(sample_id, annotation),
        "sample_id": sample_id,
        "prompt": f"about {sample_id}",
        "output": "one",
        "outputs": ["one", "two"],
        "annotation_id": annotation,
        "job": job,
        "annotator": annotator,
        "seconds": 30.0,
        "lead_seconds": 40.0,
        **said,
    }


@dataclass(frozen=True)
class Third:
    """A third person, who says what she is told to."""

    said: dict[str, Any]
    annotator: str = "third"
    people: int = 1
    is_away: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    def price(self, job: str, n_outputs: int) -> float:
        return 60.0

    def push(self, rows: Sequence[dict[str, Any]], job: str, seed: int, folder: Path) -> None:
        self.asked.extend(rows)
        self.folders.append(folder)

    def pull(
        self, rows: Sequence[dict[str, Any]], job: str, seed: int, folder: Path
    ) -> Iterator[dict[str, Any]]:
        if self.is_away:
            raise Waiting("0 of 1 rows are answered.")
        for row in rows:
            for person in range(self.people):
                who = self.annotator + (str(person) if person else "")
                annotation = row_id("third", row["id"], who)
                told = {"annotation_id": annotation, "job": job, "annotator": who, "seconds": 60.0}
                yield {**row, "id": row_id(row["id"], annotation), **told, **self.said}


def test_all_passes_every_answer_on_and_says_how_far_apart_they_are() -> None:
    rows = [answer("s1", "a", ranking=FIRST), answer("s1", "b", ranking=TIE), answer("s2", "a", ranking=TIE)]
    found = list(settle(rows, job="verdict"))
    assert [{k: v for k, v in row.items() if k in rows[0]} for row in found] == rows
    assert [row["disagreement"] for row in found] == [1.0, 1.0, None]
    assert [row["settled"] for row in found] == ["given"] * 3
    assert [row["settled_from"] for row in found] == [[row["annotation_id"]] for row in rows]


def test_a_majority_is_one_row_a_sample_and_costs_nothing_more() -> None:
    rows = [
        answer("s1", "a", ranking=SECOND, why="first why", shown=[1, 0]),
        answer("s2", "a", ranking=FIRST, why=None),
        answer("s1", "b", ranking=FIRST, why="because", shown=[0, 1]),
        answer("s1", "c", ranking=FIRST, why="also", shown=[0, 1]),
    ]
    merged, alone = settle(rows, job="verdict", take="majority")
    assert merged["ranking"] == FIRST
    assert merged["why"] == "because", "words of the first who said so"
    assert (merged["settled"], merged["annotator"], merged["seconds"]) == ("majority", "majority of 3", 0.0)
    assert merged["settled_from"] == [rows[i]["annotation_id"] for i in (0, 2, 3)]
    assert merged["annotation_id"] not in {row["annotation_id"] for row in rows}
    assert (merged["lead_seconds"], merged["shown"]) == (None, None)
    assert alone == {
        **rows[1],
        "settled": "given",
        "settled_from": [rows[1]["annotation_id"]],
        "disagreement": None,
    }
    again = next(iter(settle([rows[3], rows[2], rows[0]], job="verdict", take="majority")))
    assert again["annotation_id"] == merged["annotation_id"], "the order of people does not matter"


def test_a_split_vote_is_a_tie_in_nobodys_words() -> None:
    said = {"critique": "bad", "why": "bad", "output": "two"}
    rows = [
        answer("s", "a", "pairwise", ranking=FIRST, **said),
        answer("s", "b", "pairwise", ranking=SECOND, critique="worse", why="worse"),
    ]
    (row,) = settle(rows, job="pairwise", take="majority")
    assert row["ranking"] == TIE
    assert (row["why"], row["critique"], row["output"]) == (None, None, "one")
    (kept,) = settle(
        [*rows, answer("s", "c", "pairwise", ranking=FIRST, **said)], job="pairwise", take="majority"
    )
    assert (kept["critique"], kept["output"]) == ("bad", "two")


def test_rankings_and_ratings_are_merged() -> None:
    orders = ([[0], [1], [2]], [[0], [2], [1]], [[1], [0], [2]])
    rows = [
        answer("s", who, "rank", outputs=["x", "y", "z"], ranking=r)
        for who, r in zip("abc", orders, strict=True)
    ]
    assert next(iter(settle(rows, job="rank", take="majority")))["ranking"] == [[0], [1], [2]]
    rated = [
        answer("s", who, "rate", ratings={"helpful": n, "toxic": 1})
        for who, n in zip("abc", (1, 4, 5), strict=True)
    ]
    (row,) = settle(rated, job="rate", take="majority")
    assert row["ratings"] == {"helpful": 4, "toxic": 1}


def test_texts_are_not_averaged() -> None:
    critiques = [
        answer("s", "a", "critique", critique="ca", faults=["x", "y"], is_faultless=False),
        answer("s", "b", "critique", critique="cb", faults=["x"], is_faultless=False),
        answer("s", "c", "critique", critique="cc", faults=[], is_faultless=True),
    ]
    found = list(settle(critiques, take="majority"))
    assert [row["critique"] for row in found] == ["ca", "cb", "cc"]
    assert [row["faults"] for row in found] == [["x"]] * 3
    assert [row["seconds"] for row in found] == [30.0] * 3
    assert critiques[0]["faults"] == ["x", "y"], "the answers themselves are not changed"
    plain = [answer("s", who, "critique", critique=f"c{who}") for who in "ab"]
    assert ["faults" in row for row in settle(plain, take="majority")] == [False, False]


def test_rewrites_keep_the_most_common_decision() -> None:
    shown = {"critique": "c", "refinements": ["r"]}
    rows = [
        answer("s", "a", "refine", **shown, decision="accept", preferred="r", origins=["model"]),
        answer("s", "b", "refine", **shown, decision="criticise", preferred=None, origins=["model"]),
        answer("s", "c", "refine", **shown, decision="accept", preferred="r", origins=["model"]),
    ]
    assert [r["annotator"] for r in settle(rows, job="refine", take="majority")] == ["a", "c"]
    assert [r["annotator"] for r in settle(rows[:2], job="refine", take="majority")] == ["a", "b"]
    other = answer("s", "d", "refine", **{**shown, "refinements": ["other"]}, decision="criticise")
    apart = [row["disagreement"] for row in settle([rows[0], other], job="refine")]
    assert apart == [None, None], "two rewrites of one sample are two questions"


def test_a_third_person_decides_where_answers_lie_apart() -> None:
    rows = [
        answer("s1", "a", ranking=FIRST, why="shorter"),
        answer("s2", "a", ranking=FIRST),
        answer("s1", "b", ranking=SECOND),
        answer("s2", "b", ranking=FIRST),
        answer("s3", "a", ranking=TIE),
    ]
    third = Third({"ranking": TIE})
    found = list(settle(rows, "people/settle-1", job="verdict", take="adjudicated", feedback=third))
    assert [(r["sample_id"], r["settled"], r["annotator"]) for r in found] == [
        ("s1", "adjudicated", "third"),
        ("s2", "majority", "majority of 2"),
        ("s3", "given", "a"),
    ]
    assert found[0]["settled_from"] == [rows[0]["annotation_id"], rows[2]["annotation_id"]]
    assert found[0]["disagreement"] == 1.0
    assert third.folders == [Path("people/settle-1")]
    (asked,) = third.asked
    assert asked["id"] == row_id("settle", "verdict", "s1")
    assert asked["earlier"] == 'Earlier answers:\n1. "one" > "two" Why: shorter\n2. "two" > "one"'
    said = {"annotation_id", "job", "annotator", "seconds", "lead_seconds", "ranking", "why", "disagreement"}
    assert not said & set(asked), "the third person's row begins without an answer"


def test_what_a_lineage_costs_is_the_sum_over_distinct_annotations() -> None:
    """As the comparison of arms counts it: originals from collect, the third person from settle, nothing twice."""
    rows = [answer(s, who, ranking=r) for s in ("s1", "s2") for who, r in (("a", FIRST), ("b", SECOND))]
    rows += [answer("s3", who, ranking=FIRST) for who in "ab"]
    third = Third({"ranking": FIRST})
    paid = {}
    for take in ("all", "majority", "adjudicated"):
        settled = list(settle(rows, job="verdict", take=take, feedback=third))  # type: ignore[arg-type]
        ledger = {row["annotation_id"]: row["seconds"] for row in (*rows, *settled)}
        paid[take] = sum(ledger.values())
    assert paid == {"all": 180.0, "majority": 180.0, "adjudicated": 180.0 + 2 * 60.0}


def test_nobody_is_asked_where_nobody_disagrees() -> None:
    rows = [answer("s", who, "rank", outputs=list("wxyz"), ranking=[[0], [1], [2], [3]]) for who in "ab"]
    rows[1]["ranking"] = [[1], [0], [2], [3]]  # one of six pairs
    third = Third({"ranking": [[0], [1], [2], [3]]})
    list(settle(rows, job="rank", take="adjudicated", feedback=third))
    assert not third.asked
    assert not third.folders
    (row,) = settle(rows, job="rank", take="adjudicated", feedback=third, threshold=0.16)
    assert (row["settled"], len(third.asked)) == ("adjudicated", 1)


def test_waiting_for_the_third_person_yields_nothing_and_questions_keep_their_ids() -> None:
    rows = [answer("s0", "a", ranking=FIRST)]
    rows += [answer("s1", "a", ranking=FIRST), answer("s1", "b", ranking=SECOND)]
    away = Third({}, is_away=True)
    got: Rows = []
    with pytest.raises(Waiting):
        got.extend(settle(rows, job="verdict", take="adjudicated", feedback=away))
    assert got == []
    rows[1] = answer("s1", "a", ranking=TIE)  # edited meanwhile: still apart
    here = Third({"ranking": FIRST})
    list(settle(rows, job="verdict", take="adjudicated", feedback=here))
    assert here.asked[0]["id"] == away.asked[0]["id"]


def test_a_judge_in_their_own_case_is_marked_and_all_judges_are_passed_on() -> None:
    rows = [answer("s", "a", ranking=FIRST), answer("s", "b", ranking=SECOND)]
    (own,) = settle(rows, job="verdict", take="adjudicated", feedback=Third({"ranking": TIE}, annotator="b"))
    assert own["settled"] == "self-adjudicated"
    two = list(settle(rows, job="verdict", take="adjudicated", feedback=Third({"ranking": TIE}, people=2)))
    assert [row["annotator"] for row in two] == ["third", "third1"]
    assert len({row["id"] for row in two}) == 2


def test_earlier_answers_can_be_hidden() -> None:
    rows = [answer("s", "a", ranking=FIRST), answer("s", "b", ranking=SECOND)]
    third = Third({"ranking": FIRST})
    list(settle(rows, job="verdict", take="adjudicated", feedback=third, show_earlier=False))
    assert third.asked[0]["earlier"] == ""


def test_earlier_answers_name_nobody_and_outputs_by_how_they_begin() -> None:
    long = "word " * 40
    row = answer("s", "p-1", ranking=TIE, outputs=[long, "two\nlines"])
    told = earlier([row], "verdict")
    assert "p-1" not in told
    assert told.split("\n")[1] == f'1. "{("word " * 12).strip()}..." = "two lines"'
    assert earlier([{"critique": "bad", "faults": ["x", "y"]}], "critique").endswith("1. bad [x, y]")
    assert earlier([{"ratings": {"toxic": 5, "helpful": 1}}], "rate").endswith("1. toxic 5, helpful 1")
    assert earlier([{"decision": "edit", "preferred": "new"}], "refine").endswith("1. edit: new")


def test_the_sample_is_as_it_was_before_people_spoke() -> None:
    reason = {"critique": "bad", "why": "bad"}
    rows = [
        answer("s", "a", "pairwise", ranking=FIRST, output="two", **reason),
        answer("s", "b", "pairwise", ranking=SECOND, output="one", **reason),
    ]
    third = Third({"ranking": FIRST})
    list(settle(rows, job="pairwise", take="adjudicated", feedback=third))
    assert third.asked[0]["output"] == "one"
    assert "critique" not in third.asked[0]
    shown = {"critique": "c", "outputs": ["o"]}
    rows = [
        answer("s", "a", "refine", **{**shown, "critique": "new", "output": "r"}, refinements=["r"],
               origins=["model"], decision="criticise", preferred=None),
        answer("s", "b", "refine", **shown, refinements=["r", "r2", "mine"],
               origins=["model", "model", "typed"], decision="edit", preferred="mine"),
    ]  # fmt: skip
    third = Third({"decision": "accept", "refinements": ["r", "r2"]})
    list(settle(rows, job="refine", take="adjudicated", feedback=third))
    (asked,) = third.asked
    assert (asked["output"], asked["critique"], asked["refinements"]) == ("one", "c", ["r", "r2"])
    assert not {"decision", "preferred", "origins"} & set(asked)


def test_where_the_third_person_skips_the_majority_stands_and_is_marked() -> None:
    rows = [
        answer("s", "a", ranking=FIRST),
        answer("s", "b", ranking=SECOND),
        answer("t", "a", ranking=FIRST),
    ]
    found = list(settle(rows, job="verdict", take="adjudicated", feedback=Third({}, people=0)))
    assert [(row["settled"], row["ranking"]) for row in found] == [("undecided", TIE), ("given", FIRST)]
    critiques = [
        answer("s", who, "critique", critique=who, faults=[who], is_faultless=False) for who in ("a", "b")
    ]
    kept = list(settle(critiques, take="adjudicated", feedback=Third({}, people=0)))
    assert [(row["settled"], row["critique"]) for row in kept] == [("undecided", "a"), ("undecided", "b")]


def test_rows_of_another_job_or_without_columns_are_refused() -> None:
    with pytest.raises(DataError, match=r"job is 'rank'(.|\n)*row 1 answers the job 'verdict'"):
        list(settle([answer("s", "a", ranking=FIRST)], job="rank"))
    row = answer("s", "a", ranking=FIRST)
    del row["sample_id"]
    with pytest.raises(DataError, match="has no 'sample_id'"):
        list(settle([row], job="verdict"))


def test_settings_are_checked_before_anything_runs() -> None:
    given = {"job": "rank", "take": "majority", "feedback": None, "threshold": 0.3}
    needs, adds = columns(given)
    assert "ranking" in needs
    assert adds == ("settled", "settled_from", "disagreement")
    with pytest.raises(UsageError, match="asks a third person"):
        columns({**given, "take": "adjudicated"})
    with pytest.raises(UsageError, match=r"threshold: 0\.0 is outside"):
        columns({**given, "threshold": 0.0})
    with pytest.raises(UsageError, match="needs a feedback source"):
        list(settle([], take="adjudicated"))


def test_with_the_simulated_annotator() -> None:
    rows = list(sample(list(load(world=Nano(), n=4)), generator=Echo(), n=3))
    noisy = Simulated(Nano(), error_rate=0.5)
    said = [row for seed in (1, 2) for row in collect(rows, feedback=noisy, job="rank", seed=seed)]
    apart = {row["sample_id"] for row in settle(said, job="rank") if (row["disagreement"] or 0) >= 0.3}
    found = list(settle(said, job="rank", take="adjudicated", feedback=Simulated(Nano()), seed=3))
    assert len(found) == 4
    assert {row["sample_id"] for row in found if row["settled"] == "self-adjudicated"} == apart
    assert sum(row["seconds"] for row in found) == len(apart) * 2 * 61.5


RECIPE = """
about: a toy
world: nano
generator: {name: toys.echo, words: [red, green, blue]}
steps:
  load: {split: train, n: 8}
  sample: {n: 3}
  collect: {job: rank, feedback: toys.panel}
  settle: {job: rank, take: adjudicated, feedback: {name: toys.panel, people: 1}}
"""


def test_in_a_recipe(recipe_file: Any, tmp_path: Path) -> None:
    from ilf.run import run_recipe

    recipe = str(recipe_file(RECIPE))
    steps = run_recipe(recipe, runs=tmp_path / "runs", quiet=True)
    said, settled = list(steps["collect"].rows()), list(steps["settle"].rows())
    assert len(said) == 16
    assert len(settled) == 8
    odd = {row["sample_id"] for row in said if len(row["prompt"]) % 2}
    assert {row["sample_id"] for row in settled if row["settled"] != "majority"} == odd
    assert steps["settle"].made_by["people"].startswith("settle-")
    majority = run_recipe(recipe, {"settle.take": "majority"}, runs=tmp_path / "runs", quiet=True)
    assert majority["collect"].folder == steps["collect"].folder
    assert {row["settled"] for row in majority["settle"].rows()} == {"majority"}
    tied = [row["ranking"] for row in majority["settle"].rows() if row["sample_id"] in odd]
    assert all(len(ranking) < 3 for ranking in tied)
