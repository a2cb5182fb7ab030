"""verdict: which answers are paired, and what verdicts come to; intervals against what they promise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from ilf.errors import DataError
from ilf.stats import confidence_sequence
from ilf.verdict import AT_ANY_LOOK, MIN_PROMPTS, Pairs, pairs, position, score, share, tally


def answer(prompt: str, *outputs: str, **more: Any) -> dict[str, Any]:
    return {"id": f"{prompt}/{outputs}", "prompt": prompt, "output": outputs[0], **more}


def side(texts: dict[str, str]) -> list[dict[str, Any]]:
    return [answer(prompt, text) for prompt, text in texts.items()]


def verdict(row: dict[str, Any], who: str, winner: str, **more: Any) -> dict[str, Any]:
    ranking = {"A": [[0], [1]], "B": [[1], [0]], "=": [[0, 1]]}[winner]
    return {
        **row,
        "annotator": who,
        "ranking": ranking,
        "seconds": 10.0,
        "shown": [0, 1],
        "why": None,
        **more,
    }


def hundred(n: int = 100) -> Pairs:
    prompts = [f"prompt {i}" for i in range(n)]
    return pairs(side({p: "a" + p for p in prompts}), side({p: "b" + p for p in prompts}))


# --- pairs


def test_answers_are_matched_by_prompt_and_what_has_no_partner_is_counted() -> None:
    found = pairs(
        side({"p": "a", "q": "same ", "r": "x"}), side({"q": " same", "p": "b", "s": "y", "t": "z"})
    )
    assert [row["outputs"] for row in found.rows] == [["a", "b"]]
    assert [row["prompt"] for row in found.identical] == ["q"]
    assert (found.prompts, found.matched, found.only_a, found.only_b) == (2, 2, 1, 2)


def test_several_answers_of_a_prompt_are_matched_in_their_order() -> None:
    a = [{**answer("p", "a0"), "outputs": ["a0", "a1", "a2"]}]
    b = [answer("p", "b0"), answer("p", "b1")]
    assert [r["outputs"] for r in pairs(a, b, per_prompt=9).rows] == [["a0", "b0"], ["a1", "b1"]]
    first = pairs(a, b)
    assert [r["outputs"] for r in first.rows] == [["a0", "b0"]]
    assert first.not_asked == 2
    assert pairs(a, b, per_prompt=9).not_asked == 1


def test_rows_of_two_people_about_one_sample_are_one_answer() -> None:
    a = [answer("p", "a", sample_id="s", annotator=who) for who in ("ann", "bob")]
    assert len(pairs(a, [answer("p", "b0"), answer("p", "b1")], per_prompt=9).rows) == 1
    twice = [answer("p", "a", sample_id="s"), answer("p", "a", sample_id="other seed")]
    found = pairs(twice, [answer("p", "b", sample_id="s"), answer("p", "b", sample_id="t")], per_prompt=9)
    assert len({row["id"] for row in found.rows}) == 2  # the same texts drawn twice are two pairs


def test_the_pairs_of_a_drawn_subset_are_those_of_the_whole() -> None:
    """A judge who judged all is met by people who judged a part: also with several pairs of a prompt."""
    a = [answer(f"p{i}", f"a{i}.{k}") for i in range(20) for k in range(3)]
    b = [answer(f"p{i}", f"b{i}.{k}") for i in range(20) for k in range(3)]
    whole = {row["id"]: row for row in pairs(a, b, per_prompt=2).rows}
    part = pairs(a, b, n=7, per_prompt=2).rows
    assert len(part) == 14
    assert all(whole[row["id"]] == row for row in part)


def test_drawing_is_by_seed_and_a_pair_is_the_same_however_many_are_drawn() -> None:
    prompts = {f"p{i}": f"a{i}" for i in range(30)}
    other = {p: f"b{i}" for i, p in enumerate(prompts)}
    ten = pairs(side(prompts), side(other), n=10)
    assert ten == pairs(side(prompts), side(other), n=10)
    assert ten.rows != pairs(side(prompts), side(other), n=10, seed=1).rows
    assert {r["id"] for r in ten.rows} < {r["id"] for r in pairs(side(prompts), side(other)).rows}
    assert (ten.prompts, ten.matched) == (10, 30)


def test_messages_are_prompts_and_a_step_without_answers_is_refused() -> None:
    chat = [{"role": "user", "content": "Why?"}]
    found = pairs([{"prompt": chat, "output": "a"}], [{"prompt": chat, "output": "b"}])
    assert found.rows[0]["prompt"] == chat
    with pytest.raises(DataError, match="B: row x: .*has no 'output'"):
        pairs(side({"p": "a"}), [{"id": "x", "prompt": "p"}])
    with pytest.raises(DataError, match="none is the same"):
        pairs(side({"p": "a"}), side({"q": "a"}))


def test_no_pair_tells_which_model_wrote_what() -> None:
    (row,) = pairs([answer("p", "a", model="one", arm="ilf")], [answer("p", "b", model="two")]).rows
    assert set(row) == {"id", "sample_id", "prompt_id", "prompt", "outputs"}


# --- what verdicts come to


def test_counts_ties_and_identical_answers() -> None:
    a = {f"p{i}": f"a{i}" for i in range(12)}
    b = {**{f"p{i}": f"b{i}" for i in range(10)}, "p10": "a10", "p11": "a11"}
    found = pairs(side(a), side(b))
    winners = "AAAAAAA=BB"
    told = tally(found, [verdict(row, "ann", w) for row, w in zip(found.rows, winners, strict=True)])
    assert told["verdicts"] == {"a": 7, "tie": 1, "b": 2}
    assert told["win_rate_of_a_judged"]["estimate"] == pytest.approx(7.5 / 10)
    assert told["win_rate_of_a"]["estimate"] == pytest.approx((7.5 + 1) / 12)
    assert told["win_rate_of_a"]["prompts"] == 12
    assert told["pairs"]["identical"] == 2


def test_the_prompt_is_the_unit_not_the_verdict() -> None:
    """Three people who always agree are no more evidence than one."""
    found = hundred(40)
    winners = ["A" if i % 3 else "B" for i in range(40)]
    one = [verdict(row, "ann", w) for row, w in zip(found.rows, winners, strict=True)]
    three = [{**row, "annotator": who} for row in one for who in ("ann", "bob", "cleo")]
    assert tally(found, three)["win_rate_of_a"] == tally(found, one)["win_rate_of_a"]
    assert tally(found, three)["verdicts"]["a"] == 3 * tally(found, one)["verdicts"]["a"]


def test_few_prompts_give_no_figure() -> None:
    found = hundred(MIN_PROMPTS - 1)
    told = tally(found, [verdict(row, "ann", "A") for row in found.rows])
    for rate in (
        told["win_rate_of_a"],
        told["annotators"][0]["win_rate_of_a"],
        told["position"]["first_won"],
    ):
        assert rate["estimate"] is None
        assert rate["low"] is None
        assert rate["mde"] is None
        assert f"too few: {MIN_PROMPTS - 1}" in rate["reason"]
    assert told["verdicts"]["a"] == MIN_PROMPTS - 1  # counts are counts


def test_position_is_seen_where_the_first_always_wins() -> None:
    rows = hundred(40).rows
    seen = [
        verdict(row, "ann", "A" if i % 2 else "B", shown=[0, 1] if i % 2 else [1, 0])
        for i, row in enumerate(rows)
    ]
    ties = [verdict(row, "bob", "=", shown=[1, 0]) for row in rows]
    told = position([*seen, *ties])
    assert told["first_won"]["estimate"] == 1.0
    assert told["untied"] == 40
    assert (told["a_stood_first"], told["shown_known"]) == (20, 80)
    assert tally(hundred(40), seen)["win_rate_of_a"]["estimate"] == 0.5
    assert position([verdict(row, "ann", "A", shown=None) for row in rows])["shown_known"] == 0


def test_people_their_time_and_what_it_cost() -> None:
    found = hundred(20)
    rows = [verdict(row, "ann", "A", seconds=30.0) for row in found.rows]
    rows += [verdict(row, "bob", "B", seconds=90.0, why="shorter") for row in found.rows[:10]]
    told = tally(found, rows, wage_per_hour=12.0)
    ann, bob = told["annotators"]
    assert (ann["verdicts"], ann["a"], ann["seconds"], ann["median_seconds"]) == (20, 20, 600.0, 30.0)
    assert (bob["verdicts"], bob["b"], bob["median_seconds"]) == (10, 10, 90.0)
    assert told["people"]["seconds"] == 1500.0
    assert told["people"]["cost"] == pytest.approx(1500 / 3600 * 12)
    assert told["prompts"][0]["score_of_a"] == 0.5
    assert told["prompts"][0]["verdicts"][1] == {"annotator": "bob", "winner": "B", "why": "shorter"}
    unknown = tally(found, [{**row, "seconds": None if row["annotator"] == "ann" else 90.0} for row in rows],
                    wage_per_hour=12.0)  # fmt: skip
    assert unknown["people"]["cost"] is None  # not the cost of those whose time is known
    assert unknown["people"]["without_time"] == 20


def test_score() -> None:
    assert [score(ranking) for ranking in ([[0], [1]], [[1], [0]], [[0, 1]], [[1, 0]])] == [
        1.0,
        0.0,
        0.5,
        0.5,
    ]


# --- the interval


def test_without_ties_it_is_wilsons_interval_at_students_t() -> None:
    """Every p with |share - p| <= t sd(p): checked at its ends, by the definition."""
    n, wins = 25, 18
    found = share([1.0] * wins + [0.0] * (n - wins))
    effective = n - 1  # p (1 - p) n / s^2 for zeros and ones
    reach = t.ppf(0.975, n - 1)
    for end in (found.low, found.high):
        assert end is not None
        assert abs(wins / n - end) == pytest.approx(reach * math.sqrt(end * (1 - end) / effective))


@pytest.mark.parametrize("n", [MIN_PROMPTS, 15, 20, 50])
@pytest.mark.parametrize(
    ("win", "tie"), [(0.5, 0.0), (0.7, 0.0), (0.9, 0.0), (0.35, 0.3), (0.8, 0.15), (0.2, 0.6)]
)
def test_the_interval_covers_the_truth(n: int, win: float, tie: float) -> None:
    generator = np.random.default_rng(7)
    draws = generator.choice([1.0, 0.5, 0.0], p=[win, tie, 1 - win - tie], size=(1500, n))
    truth = win + tie / 2
    covered = sum(found.low <= truth <= found.high for row in draws if (found := share(row.tolist())))  # type: ignore[operator]
    assert covered / len(draws) > 0.935


def test_all_alike_is_no_certainty() -> None:
    for value in (0.0, 0.5, 1.0):
        found = share([value] * 12)
        assert found.low is not None
        assert found.high is not None
        assert found.high - found.low > 0.2
        assert found.mde is not None
        assert found.mde > 0.3


def test_the_smallest_difference_is_seen_four_times_in_five() -> None:
    """Drawn that far from one half, the interval leaves one half out about as often as promised."""
    n = 100
    mde = share([1.0, 0.0] * (n // 2)).mde
    assert mde is not None
    generator = np.random.default_rng(3)
    draws = (generator.random((1500, n)) < 0.5 + mde).astype(float)
    seen = sum(share(row.tolist()).low > 0.5 for row in draws)  # type: ignore[operator]
    assert 0.72 < seen / len(draws) < 0.9


# --- looks before all verdicts are in


def looked(found: Pairs, winners: str, **settings: Any) -> dict[str, Any]:
    """The tally of the first so many verdicts."""
    rows = [verdict(row, "ann", w) for row, w in zip(found.rows, winners, strict=False)]
    return tally(found, rows, **settings)


def test_while_prompts_are_missing_only_the_interval_of_every_look_is_told() -> None:
    found, winners = hundred(100), "AB=AA" * 8
    told = looked(found, winners)
    assert (told["planned_prompts"], told["judged_prompts"]) == (100, 40)
    assert told["no_verdict_yet"] == "40 of 100 prompts are judged"
    differences = [{"A": 0.5, "B": -0.5, "=": 0.0}[w] for w in winners]
    expected = confidence_sequence(differences, 100, level=AT_ANY_LOOK)
    assert expected.low is not None
    assert told["at_any_look"]["low"] == pytest.approx(expected.low + 0.5)
    assert told["at_any_look"]["estimate"] == told["win_rate_of_a"]["estimate"] == pytest.approx(0.7)
    ordinary = share([value + 0.5 for value in differences])
    assert ordinary.low is not None
    assert ordinary.low > 0.5 > told["at_any_look"]["low"], "the ordinary one would have named A"
    assert told["winner"] is None
    for rate in (
        told["win_rate_of_a"],
        told["win_rate_of_a_judged"],
        told["annotators"][0]["win_rate_of_a"],
    ):
        assert (rate["low"], rate["high"], rate["mde"]) == (None, None, None)
        assert rate["reason"] == "40 of 100 prompts are judged"


def test_a_clear_winner_is_named_early_and_by_the_ordinary_interval_when_all_are_in() -> None:
    found = hundred(100)
    assert looked(found, ("B" * 9 + "A") * 5)["winner"] == "B"
    assert looked(found, "B" * 10)["winner"] is None, "no look before 20"
    told = looked(found, "AAABB" * 20)
    assert told["no_verdict_yet"] is None
    assert told["win_rate_of_a"] == vars(share([1.0, 1.0, 1.0, 0.0, 0.0] * 20))
    assert told["winner"] == "A"
    assert told["at_any_look"]["low"] < 0.5


def test_what_everybody_skipped_is_not_waited_for() -> None:
    told = looked(hundred(100), "AAABB" * 19, is_finished=True)
    assert (told["judged_prompts"], told["no_verdict_yet"]) == (95, None)
    assert told["win_rate_of_a"]["low"] is not None


def test_a_prompt_is_judged_when_all_its_pairs_have_the_verdicts_asked_for() -> None:
    a = [answer(f"p{i}", f"a{i}.{k}") for i in range(30) for k in range(2)]
    b = [answer(f"p{i}", f"b{i}.{k}") for i in range(30) for k in range(2)]
    found = pairs(a, b, per_prompt=2)
    one_each = [verdict(row, "ann", "A") for row in found.rows[::2]]
    assert tally(found, one_each)["judged_prompts"] == 0
    both = [verdict(row, "ann", "A") for row in found.rows]
    assert tally(found, both)["judged_prompts"] == 30
    assert tally(found, both, annotators=2)["judged_prompts"] == 0
    again = [*both, *both[:10], *(verdict(row, "bob", "A") for row in found.rows[:10])]
    assert tally(found, again, annotators=2)["judged_prompts"] == 5, "different people, not the same twice"
    assert tally(found, [], annotators=2)["winner"] is None


def test_nothing_to_judge_is_no_look() -> None:
    same = side({f"p{i}": "x" for i in range(12)})
    told = tally(pairs(same, same), [])
    assert (told["planned_prompts"], told["no_verdict_yet"]) == (0, None)
    assert told["at_any_look"]["reason"] == "there is nothing to judge"


def test_ten_looks_make_no_false_winners() -> None:
    """Neither answer is better, a third tie; looked at ten times, the last one with all in."""
    n, experiments = 60, 200
    found = hundred(n)
    generator = np.random.default_rng(11)
    named = 0
    for _ in range(experiments):
        winners = "".join(generator.choice(list("A=B"), size=n))
        looks = [looked(found, winners[: n * k // 10])["winner"] for k in range(1, 11)]
        named += any(looks)
    allowed = 0.05
    assert named / experiments <= allowed + 2 * math.sqrt(allowed * (1 - allowed) / experiments)
    assert named > 0
