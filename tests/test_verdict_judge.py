"""A judge's verdicts beside people's: whom he is compared with, what both say together, what he may never say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ilf.errors import DataError, UsageError
from ilf.stats import judge_card, prediction_powered_mean
from ilf.verdict import OPINION, Pairs, beside_people, pairs, tally

RANKING = {"A": [[0], [1]], "B": [[1], [0]], "=": [[0, 1]]}
SCORE = {"A": 1.0, "B": 0.0, "=": 0.5}


def pair_of_steps(n: int, n_same: int = 0) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    a = [{"id": f"a{i}", "prompt": f"prompt {i}", "output": f"one {i}"} for i in range(n + n_same)]
    b = [
        {**row, "id": f"b{i}", "output": row["output"] if i >= n else f"the other {i}"}
        for i, row in enumerate(a)
    ]
    return a, b


def said(row: dict[str, Any], who: str, winner: str, **more: Any) -> dict[str, Any]:
    name = f"{row['id']}/{who}"
    return {
        **row,
        "id": name,
        "annotation_id": name,
        "annotator": who,
        "ranking": RANKING[winner],
        "seconds": 9.0,
        **more,
    }


def judged(whole: Pairs, winners: str, **more: Any) -> list[dict[str, Any]]:
    return [
        said(row, "judge:tiny", w, seconds=0.0, **more) for row, w in zip(whole.rows, winners, strict=True)
    ]


def drawn_letters(seed: int, n: int, p: tuple[float, float, float] = (0.4, 0.2, 0.4)) -> str:
    return "".join(np.random.default_rng(seed).choice(list("A=B"), size=n, p=p))


def test_both_together_are_the_prediction_powered_mean_of_matched_pairs() -> None:
    steps = pair_of_steps(200)
    whole, part = pairs(*steps), pairs(*steps, n=40)
    his = drawn_letters(0, 200)
    truth = {row["id"]: w for row, w in zip(whole.rows, his, strict=True)}
    flip = {row["id"]: i % 4 == 0 for i, row in enumerate(part.rows)}
    hers = {pair: "A" if flip[pair] else truth[pair] for pair in flip}
    verdicts = [said(row, "ann", hers[row["id"]]) for row in part.rows]
    told = beside_people(whole, part, verdicts, judged(whole, his)[::-1])
    expected = prediction_powered_mean(
        [SCORE[hers[row["id"]]] for row in part.rows],
        [SCORE[truth[row["id"]]] for row in part.rows],
        [SCORE[w] for row, w in zip(whole.rows, his, strict=True) if row["id"] not in hers],
        within=(0.0, 1.0),
    )
    assert told["combined"]["estimate"] == pytest.approx(expected.estimate)
    assert told["combined"]["low"] == pytest.approx(expected.low)
    assert told["combined"]["prompts"] == 40
    agreed = np.mean([hers[pair] == truth[pair] for pair in hers])
    assert told["card"]["agreement"]["estimate"] == pytest.approx(agreed)
    assert (told["card"]["pairs"], told["prompts"], told["pairs"]) == (40, 200, 200)
    assert told["card"]["unreliable"] is None
    assert (told["without_judge"], told["other_pairs"]) == (0, 0)


def test_a_judge_who_always_says_a_moves_nothing() -> None:
    """People see no difference; the judge is for A on every pair. His opinion is 100 %, and nobody wins."""
    steps = pair_of_steps(300)
    whole, part = pairs(*steps), pairs(*steps, n=60)
    verdicts = [said(row, "ann", "AB"[i % 2]) for i, row in enumerate(part.rows)]
    told = beside_people(whole, part, verdicts, judged(whole, "A" * 300))
    assert told["opinion"]["estimate"] == 1.0
    assert told["opinion"]["note"] == OPINION
    assert told["combined"]["estimate"] == pytest.approx(0.5)
    assert told["winner"] is None


def test_a_biased_judge_does_not_bend_the_interval() -> None:
    """He turns a fifth of B's wins into A's, as quick simulation: the truth is covered as promised."""
    covered, n = 0, 150
    for seed in range(120):
        steps = pair_of_steps(n)
        whole, part = pairs(*steps), pairs(*steps, n=40, seed=seed)
        generator = np.random.default_rng(seed)
        truth = dict(zip([row["id"] for row in whole.rows], drawn_letters(seed, n), strict=True))
        his = "".join("A" if generator.random() < 0.2 else truth[row["id"]] for row in whole.rows)
        verdicts = [said(row, "ann", truth[row["id"]]) for row in part.rows]
        found = beside_people(whole, part, verdicts, judged(whole, his))["combined"]
        covered += found["low"] <= 0.5 <= found["high"]
    assert covered / 120 >= 0.95 - 2 * (0.05 * 0.95 / 120) ** 0.5


def test_same_texts_are_known_ties_and_are_not_estimated() -> None:
    """Half of the prompts have one text: whatever was drawn of them, the win rate goes half way to one half."""
    steps = pair_of_steps(100, 100)
    whole, part = pairs(*steps), pairs(*steps, n=80)
    his = dict(zip([row["id"] for row in whole.rows], drawn_letters(2, 100), strict=True))
    verdicts = [said(row, "ann", his[row["id"]] if i % 5 else "A") for i, row in enumerate(part.rows)]
    told = beside_people(whole, part, verdicts, judged(whole, "".join(his.values())))
    plain_steps = pair_of_steps(100)
    plain = pairs(*plain_steps)
    rows = [row for row in plain.rows if row["id"] in {v["sample_id"] for v in verdicts}]
    asked = Pairs(tuple(rows), (), len(rows), 100, 0, 0, 0)
    without = beside_people(plain, asked, verdicts, judged(plain, "".join(his.values())))
    for end in ("estimate", "low", "high"):
        assert told["combined"][end] - 0.5 == pytest.approx((without["combined"][end] - 0.5) / 2)
        assert told["opinion"][end] - 0.5 == pytest.approx((without["opinion"][end] - 0.5) / 2)


def test_the_card_has_all_that_the_rows_tell() -> None:
    steps = pair_of_steps(60)
    whole = pairs(*steps)
    generator = np.random.default_rng(5)
    chance = generator.uniform(0.05, 0.95, 60).round(6)
    flipped = generator.random(60) < 0.2
    his = ["=" if f else "A" if p > 0.5 else "B" for f, p in zip(flipped, chance, strict=True)]
    hers = ["A" if generator.random() < p else "B" for p in chance]
    rows = judged(whole, "".join(his))
    rows = [
        {**row, "probability": float(p), "flipped": bool(f)}
        for row, p, f in zip(rows, chance, flipped, strict=True)
    ]
    verdicts = [said(row, "ann", w) for row, w in zip(whole.rows, hers, strict=True)]
    card = beside_people(whole, whole, verdicts, rows)["card"]
    told = [SCORE[w] for w in his]
    expected = judge_card(
        [SCORE[w] for w in hers],
        told,
        probability=chance,
        swapped=np.where(flipped, -1, told),
        lengths=[len(row["outputs"][0]) - len(row["outputs"][1]) for row in whole.rows],
    )
    assert card["flips"]["estimate"] == pytest.approx(flipped.mean())
    assert card["ece"] == pytest.approx(expected.ece)
    assert expected.prefers_longer is not None
    assert card["prefers_longer"]["estimate"] == pytest.approx(expected.prefers_longer.estimate)
    assert card["slope"]["estimate"] == pytest.approx(expected.slope.estimate)  # type: ignore[union-attr]
    bare = beside_people(whole, whole, verdicts, judged(whole, "".join(his)))["card"]
    assert (bare["ece"], bare["slope"], bare["flips"]) == (None, None, None)


def test_below_twenty_pairs_he_is_unreliable_and_nothing_rests_on_him() -> None:
    steps = pair_of_steps(100)
    whole, part = pairs(*steps), pairs(*steps, n=19)
    told = beside_people(whole, part, [said(row, "ann", "A") for row in part.rows], judged(whole, "A" * 100))
    assert "only 19 pairs" in told["card"]["unreliable"]
    assert (told["combined"]["low"], told["winner"]) == (None, None)


def test_while_people_still_annotate_both_together_name_nobody() -> None:
    steps = pair_of_steps(200)
    whole, part = pairs(*steps), pairs(*steps, n=100)
    verdicts = [said(row, "ann", "AAAB"[i % 4]) for i, row in enumerate(part.rows[:60])]
    rows = judged(whole, drawn_letters(1, 200, (0.7, 0.0, 0.3)))
    early = tally(part, verdicts)["no_verdict_yet"]
    told = beside_people(whole, part, verdicts, rows, early=early)
    assert told["combined"]["reason"] == "60 of 100 prompts are judged"
    assert told["winner"] is None
    assert beside_people(whole, part, verdicts, rows)["winner"] == "A"


def test_without_people_there_is_only_an_opinion() -> None:
    whole = pairs(*pair_of_steps(30))
    told = beside_people(whole, whole, [], judged(whole, "A" * 30))
    assert (told["card"], told["combined"], told["winner"]) == (None, None, None)
    alone = tally(whole, judged(whole, "A" * 30))
    assert (alone["by"], alone["winner"]) == ("a model", None)
    assert alone["win_rate_of_a"]["note"] == OPINION
    assert tally(whole, [said(row, "ann", "A") for row in whole.rows])["winner"] == "A"


def test_what_he_did_not_judge_is_left_out_and_counted() -> None:
    steps = pair_of_steps(100)
    whole, part = pairs(*steps), pairs(*steps, n=50)
    verdicts = [said(row, "ann", "AB"[i % 2]) for i, row in enumerate(part.rows)]
    rows = judged(whole, drawn_letters(3, 100))
    missing = {row["id"] for row in part.rows[:5]}
    elsewhere = {**rows[0], "id": "x", "sample_id": "x"}
    told = beside_people(
        whole, part, verdicts, [*(row for row in rows if row["sample_id"] not in missing), elsewhere]
    )
    assert (told["without_judge"], told["other_pairs"], told["combined"]["prompts"]) == (5, 1, 45)
    with pytest.raises(DataError, match="none of the judge's 1 verdicts is about these 100 pairs"):
        beside_people(whole, part, verdicts, [elsewhere])


def test_several_of_his_verdicts_on_a_pair_are_their_majority() -> None:
    whole = pairs(*pair_of_steps(40))
    verdicts = [said(row, "ann", "AB"[i % 2]) for i, row in enumerate(whole.rows)]
    right = "AB" * 20
    three = [
        said(row, f"judge:{k}", w if k else "A")
        for k in range(3)
        for row, w in zip(whole.rows, right, strict=True)
    ]
    assert beside_people(whole, whole, verdicts, three)["card"]["agreement"]["estimate"] == 1.0


def test_a_judge_is_compared_with_people_and_not_with_himself() -> None:
    whole = pairs(*pair_of_steps(30))
    people = [said(row, "ann", "A") for row in whole.rows]
    with pytest.raises(UsageError, match="the very verdicts"):
        beside_people(whole, whole, people, people)
    with pytest.raises(UsageError, match="here a model has judged"):
        beside_people(
            whole, whole, judged(whole, "A" * 30), [said(row, "judge:b", "A") for row in whole.rows]
        )
    beside_people(whole, whole, people, [said(row, "bob", "A") for row in whole.rows])  # by anybody
