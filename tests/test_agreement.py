"""Agreement: every figure against published examples, its definition by brute force, and scipy."""

from __future__ import annotations

import math
import random
from itertools import combinations, permutations, product
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from ilf import agreement
from ilf._agreement.ability import Ability, Said, abilities, fit, indexed
from ilf._agreement.answers import Answer, from_events, from_rows, is_right, n_typed
from ilf._agreement.opinions import (
    common_faults,
    common_ranking,
    common_ratings,
    disagreement,
    distance,
    masi,
    most_common,
    pair_orders,
    places,
    share_alike,
)
from ilf._agreement.worth import ledger, person, position, report

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", example C: four observers, twelve units.
FOUR_OBSERVERS = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")


def units_of(observers: Any) -> list[list[int]]:
    return [[int(c) for c in unit if c != "."] for unit in zip(*observers, strict=True)]


def alpha_by_definition(units: Any, metric: str) -> float:
    """1 - mean disagreement within units / mean disagreement of all values, pair by pair."""
    paired = [unit for unit in units if len(unit) > 1]
    every = [value for unit in paired for value in unit]

    def delta(a: Any, b: Any) -> float:
        if metric == "nominal":
            return float(a != b)
        if metric == "interval":
            return float((a - b) ** 2)
        if metric == "sets":
            return masi(a, b)
        low, high = min(a, b), max(a, b)
        between = sum(low <= value <= high for value in every)
        return (between - (every.count(low) + every.count(high)) / 2) ** 2 if low != high else 0.0

    observed = sum(delta(a, b) / (len(unit) - 1) for unit in paired for a, b in permutations(unit, 2)) / len(
        every
    )
    expected = sum(delta(a, b) for a, b in permutations(every, 2)) / (len(every) * (len(every) - 1))
    return 1 - observed / expected


@pytest.mark.parametrize(
    ("metric", "published"),
    [(agreement.nominal, 0.743), (agreement.ordinal, 0.815), (agreement.interval, 0.849)],
)
def test_alpha_of_krippendorffs_four_observers(metric: Any, published: float) -> None:
    assert agreement.alpha(units_of(FOUR_OBSERVERS), metric).estimate == pytest.approx(published, abs=5e-4)


def test_alpha_of_krippendorffs_two_observers() -> None:
    binary = units_of(("0100000010", "1110010000"))
    assert agreement.alpha(binary, agreement.nominal).estimate == pytest.approx(0.095, abs=5e-4)
    letters = list(zip("aabbdcccedda", "babbbccceddd", strict=True))
    assert agreement.alpha(letters, agreement.nominal).estimate == pytest.approx(0.692, abs=5e-4)


@pytest.mark.parametrize("metric", ["nominal", "ordinal", "interval", "sets"])
def test_alpha_is_its_definition(metric: str) -> None:
    rng = random.Random(7)
    for _ in range(25):
        units: list[list[Any]] = [
            [rng.choice([1, 2, 3, 5, 9]) for _ in range(rng.randint(0, 4))] for _ in range(12)
        ]
        if metric == "sets":
            units = [
                [frozenset(rng.sample("abcd", rng.randint(0, 3))) for _ in range(rng.randint(0, 4))]
                for _ in range(12)
            ]
        found = agreement.alpha(units, getattr(agreement, metric), least=1).estimate
        assert found == pytest.approx(alpha_by_definition(units, metric), abs=1e-12)


@pytest.mark.parametrize("metric", ["nominal", "ordinal", "sets"])
def test_a_bootstrap_draw_is_the_alpha_of_the_units_drawn(metric: str) -> None:
    rng = random.Random(3)
    units: list[list[Any]] = [[rng.choice([1, 2, 3]) for _ in range(3)] for _ in range(15)]
    if metric == "sets":
        units = [[frozenset("abc"[:value]) for value in unit] for unit in units]
    (weights,) = agreement.redrawn(15, 20, np.random.default_rng(1))
    assert (weights.sum(axis=1) == 15).all()
    values = agreement._ordered({v for unit in units for v in unit})
    counts = agreement._counts(units, values)
    fixed = None if metric == "ordinal" else getattr(agreement, metric)(values)
    within = None if fixed is None else agreement._within(counts, fixed)
    for found, drawn in zip(agreement._alphas(counts, weights, fixed, within), weights, strict=True):
        repeated = [unit for unit, times in zip(units, drawn, strict=True) for _ in range(int(times))]
        assert found == pytest.approx(alpha_by_definition(repeated, metric), abs=1e-12)


def test_alphas_interval_is_seeded_and_holds_the_value() -> None:
    units = units_of(FOUR_OBSERVERS)
    one, again = (agreement.alpha(units, agreement.ordinal, np.random.default_rng(4)) for _ in range(2))
    assert one == again
    assert one.low is not None
    assert one.high is not None
    assert one.estimate is not None
    assert one.low < one.estimate < one.high
    assert agreement.alpha(units, agreement.ordinal, np.random.default_rng(5)).low != one.low


def test_too_few_units_and_no_variety_give_a_reason_and_no_figure() -> None:
    few = agreement.alpha([[1, 2]] * 9 + [[1]] * 50, agreement.nominal)
    assert few.estimate is None
    assert few.reason == "too few: 9 outputs that two people answered, 10 are needed"
    same = agreement.alpha([[1, 1]] * 20, agreement.nominal)
    assert same.estimate is None
    assert "not defined" in (same.reason or "")
    assert agreement.over_units([1.0] * 9).estimate is None


def random_ranking(rng: random.Random, n: int) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for output in range(n):
        groups.setdefault(rng.randint(0, n - 1), []).append(output)
    return [groups[key] for key in sorted(groups)]


def test_w_is_friedmans_statistic_ties_corrected() -> None:
    rng = random.Random(5)
    for _ in range(50):
        people, n = rng.randint(2, 5), rng.randint(3, 6)
        rankings = [random_ranking(rng, n) for _ in range(people)]
        found = agreement.kendalls_w(rankings)
        if all(len(ranking) == 1 for ranking in rankings):
            assert found is None
            continue
        columns = list(zip(*(places(ranking) for ranking in rankings), strict=True))
        friedman = scipy_stats.friedmanchisquare(*columns).statistic
        assert found == pytest.approx(friedman / (people * (n - 1)), abs=1e-9)


def test_w_of_two_people_is_spearmans_rho_and_of_one_unknown() -> None:
    orders = ([[0], [1], [2], [3]], [[1], [0], [2], [3]])
    rho = scipy_stats.spearmanr(places(orders[0]), places(orders[1])).statistic
    assert agreement.kendalls_w(orders) == pytest.approx((rho + 1) / 2)
    assert agreement.kendalls_w([orders[0]] * 3) == pytest.approx(1.0)
    assert agreement.kendalls_w([orders[0], orders[0][::-1]]) == pytest.approx(0.0)
    assert agreement.kendalls_w([orders[0]]) is None
    assert agreement.kendalls_w([]) is None


def test_tau_and_alike_are_means_over_pairs_of_people() -> None:
    rng = random.Random(6)
    for _ in range(40):
        rankings = [random_ranking(rng, 5) for _ in range(3)]
        taus = [scipy_stats.kendalltau(places(a), places(b)).statistic for a, b in combinations(rankings, 2)]
        known = [tau for tau in taus if not math.isnan(tau)]
        expected = pytest.approx(sum(known) / len(known)) if known else None
        assert agreement.mean_tau(rankings) == expected
        alike = []
        for a, b in combinations(rankings, 2):
            for i, j in combinations(range(5), 2):
                first, second = (places(r)[i] - places(r)[j] for r in (a, b))
                alike.append(np.sign(first) == np.sign(second))
        assert agreement.mean_alike(rankings) == pytest.approx(np.mean(alike))
    assert agreement.mean_alike([[[0], [1]]]) is None
    assert agreement.share_equal(["a", "a", "b"]) == pytest.approx(1 / 3)
    assert agreement.share_equal(["a"]) is None


def test_intervals_of_shares_are_wilsons_or_students() -> None:
    ones = agreement.over_units([1.0] * 17 + [0.0] * 3)
    exact = scipy_stats.binomtest(17, 20).proportion_ci(method="wilson")
    assert (ones.low, ones.high) == (pytest.approx(exact.low), pytest.approx(exact.high))
    values = [0.5, 0.25, 0.75, 0.5, 1.0, 0.0, 0.5, 0.25, 0.75, 0.5, 0.6, None]
    found = agreement.over_units(values)
    known = [v for v in values if v is not None]
    t = scipy_stats.t.interval(0.95, len(known) - 1, np.mean(known), scipy_stats.sem(known))
    assert (found.low, found.high) == (pytest.approx(t[0]), pytest.approx(t[1]))
    assert found.prompts == 11


# --- opinions


def test_masi_by_hand() -> None:
    a, b, c = "abc"
    assert masi({a}, {a}) == 0.0
    assert masi(set(), set()) == 0.0
    assert masi({a}, set()) == 1.0
    assert masi({a}, {b}) == 1.0
    assert masi({a}, {a, b}) == pytest.approx(1 - 2 / 3 * 1 / 2)
    assert masi({a, b}, {b, c}) == pytest.approx(1 - 1 / 3 * 1 / 3)


@pytest.mark.parametrize(
    ("job", "first", "second", "expected"),
    [
        ("verdict", {"ranking": [[0], [1]]}, {"ranking": [[0, 1]]}, 1.0),
        ("rank", {"ranking": [[0], [1], [2]]}, {"ranking": [[0], [2], [1]]}, 1 / 3),
        ("rate", {"ratings": {"toxic": 1, "helpful": 3}}, {"ratings": {"toxic": 3, "helpful": 2}}, 0.5),
        ("critique", {"is_faultless": True}, {"is_faultless": False, "faults": ["x"]}, 1.0),
        ("critique", {"is_faultless": False}, {"is_faultless": False, "faults": ["x"]}, 1.0),
        ("critique", {"critique": "a"}, {"critique": "b"}, None),
        ("refine", {"decision": "accept"}, {"decision": "edit"}, 1.0),
        ("demonstrate", {"completion": "a"}, {"completion": "b"}, None),
    ],
)
def test_distance_of_two_answers(job: str, first: Any, second: Any, expected: float | None) -> None:
    assert distance(job, first, second) == (None if expected is None else pytest.approx(expected))
    assert distance(job, second, first) == distance(job, first, second)
    assert disagreement(job, [first]) is None


def test_rankings_of_other_outputs_are_refused() -> None:
    with pytest.raises(ValueError, match="not of the same"):
        share_alike([[0], [1]], [[0], [1], [2]])


def test_two_outputs_are_settled_by_vote_and_a_split_is_a_tie() -> None:
    first, tie, second = [[0], [1]], [[0, 1]], [[1], [0]]
    assert common_ranking([first, first, second]) == first
    assert common_ranking([first, second, tie]) == tie
    assert common_ranking([first, second]) == tie
    assert common_ranking([first, tie]) == tie
    assert common_ranking([second, second, tie, first]) == second


def test_more_outputs_are_settled_by_bordas_count() -> None:
    rng = random.Random(8)
    for _ in range(60):
        n = rng.randint(3, 6)
        rankings = [random_ranking(rng, n) for _ in range(rng.randint(2, 5))]
        means = np.mean([scipy_stats.rankdata(places(ranking)) for ranking in rankings], axis=0)
        found = common_ranking(rankings)
        assert sorted(i for group in found for i in group) == list(range(n))
        for i, j in combinations(range(n), 2):
            assert np.sign(places(found)[i] - places(found)[j]) == np.sign(round(means[i] - means[j], 9))


def test_medians_and_majorities() -> None:
    assert common_ratings([{"a": 1, "b": 5}, {"a": 2, "b": 5}, {"a": 5}]) == {"a": 2, "b": 5}
    assert common_ratings([{"a": 3}, {"a": 4}]) == {"a": 3.5}
    assert common_faults([["x", "y"], ["y"], ["y", "z", "z"]]) == ["y"]
    assert common_faults([["x"], []]) == [], "half is not more than half"
    assert most_common(["a", "b", "a"]) == "a"
    assert most_common(["a", "b"]) is None


# --- ability


def answers_of(patterns: dict[tuple[int, tuple[int, ...]], int]) -> list[Said]:
    """(truth, who was right) -> times, as answers of people a, b, c ... to yes-or-no questions."""
    said = []
    for (truth, hits), times in patterns.items():
        for k in range(times):
            unit = (truth, hits, k)
            said += [
                Said(unit, unit, 0, "abcdef"[i], truth if hit else 1 - truth) for i, hit in enumerate(hits)
            ]
    return said


def test_ability_is_found_exactly_where_the_answers_are_as_expected() -> None:
    """With every pattern as often as the model expects, the likeliest abilities are the true ones."""
    true = (0.9, 0.8, 0.7)
    patterns = {
        (truth, hits): round(1000 * math.prod(p if hit else 1 - p for p, hit in zip(true, hits, strict=True)))
        for truth in (0, 1)
        for hits in product((0, 1), repeat=3)
    }
    found = abilities(answers_of(patterns), 2, np.random.default_rng(0))
    assert [found[name].right for name in "abc"] == pytest.approx(true, abs=1e-4)


# Dawid & Skene 1979, table 1: 45 patients, four grades of fitness, five anaesthetists (the first one's first look).
PATIENTS = """
11111 34334 12122 23121 23222 23322 12111 33433 22223 22223 44444 23343 11111 23212 11111 12111 11111 11111
22221 21322 22222 22221 23222 22222 11111 11111 22222 11111 11111 11121 11111 33233 11111 22222 23232 44343
22232 23233 33432 11111 11111 12111 22222 11111 22222
"""


def test_ability_of_the_anaesthetists() -> None:
    """The same five figures as crowd-kit 1.4.2 (OneCoinDawidSkene, n_iter=2000, tol=1e-12)."""
    said = [
        Said(i, i, 0, str(j), int(grade) - 1)
        for i, patient in enumerate(PATIENTS.split())
        for j, grade in enumerate(patient)
    ]
    found = abilities(said, 4, np.random.default_rng(0))
    expected = [0.952000, 0.731513, 0.820297, 0.865130, 0.802798]
    assert [found[str(j)].right for j in range(5)] == pytest.approx(expected, abs=2e-6)
    assert all(each.questions == 45 for each in found.values())


def log_likelihood(said: list[Said], right: dict[str, float], prior: list[float]) -> float:
    """Of one-coin Dawid-Skene, question by question."""
    questions: dict[Any, list[Said]] = {}
    for s in said:
        questions.setdefault(s.question, []).append(s)
    total = 0.0
    for answers in questions.values():
        total += math.log(
            sum(
                prior[truth]
                * math.prod(
                    right[s.person] if s.value == truth else (1 - right[s.person]) / (len(prior) - 1)
                    for s in answers
                )
                for truth in range(len(prior))
            )
        )
    return total


def simulated(rng: random.Random, true: dict[str, float], n: int, n_values: int = 3) -> list[Said]:
    said = []
    for unit in range(n):
        truth = rng.randrange(n_values)
        for name, p in true.items():
            wrong = rng.choice([v for v in range(n_values) if v != truth])
            said.append(Said(unit, unit, 0, name, truth if rng.random() < p else wrong))
    return said


def test_no_ability_nearby_is_likelier() -> None:
    said = simulated(random.Random(2), {"a": 0.9, "b": 0.6, "c": 0.75}, 60)
    found = {name: each.right for name, each in abilities(said, 3, np.random.default_rng(0)).items()}

    def best_prior(right: dict[str, float]) -> float:
        grid = [(i / 40, j / 40) for i in range(1, 39) for j in range(1, 40 - i)]
        return max(log_likelihood(said, right, [p, q, 1 - p - q]) for p, q in grid)

    best = best_prior(found)
    for name in found:
        for step in (-0.03, 0.03):
            assert best_prior({**found, name: found[name] + step}) < best


def test_the_standard_error_is_the_spread_over_new_samples() -> None:
    true = {"a": 0.9, "b": 0.7, "c": 0.8, "d": 0.6}
    runs = [abilities(simulated(random.Random(s), true, 150), 3, np.random.default_rng(s)) for s in range(80)]
    for name in true:
        values = [run[name].right for run in runs]
        errors = [run[name].standard_error or 0.0 for run in runs]
        assert np.mean(values) == pytest.approx(true[name], abs=0.03)
        assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.25)


def test_ability_needs_three_people_who_overlap() -> None:
    rng = random.Random(1)
    three = simulated(rng, {"a": 0.9, "b": 0.8, "c": 0.7}, 20)
    assert set(abilities(three, 3, np.random.default_rng(0))) == {"a", "b", "c"}
    assert abilities([s for s in three if s.person != "c"], 3, np.random.default_rng(0)) == {}
    assert abilities([s for s in three if s.unit != 0], 3, np.random.default_rng(0)) == {}, "19 shared"
    # a with b, b with c, but never a with c.
    chain = simulated(rng, {"a": 0.9, "b": 0.9}, 30)
    chain += [
        Said(("x", s.unit), ("x", s.question), 0, {"a": "b", "b": "c"}[s.person], s.value)
        for s in list(chain)
    ]
    assert abilities(chain, 3, np.random.default_rng(0)) == {}
    assert abilities([], 3, np.random.default_rng(0)) == {}


def test_kinds_of_question_have_their_own_frequency() -> None:
    """A fault that is rare and one that is common do not share how often they are there."""
    said = []
    for unit in range(200):
        for name in "abc":
            said.append(Said(unit, (unit, "rare"), "rare", name, int(unit == 0)))
            said.append(Said(unit, (unit, "common"), "common", name, int(unit != 1)))
    answers = indexed(said, 2)
    assert len(answers.kind) == 4, "two patterns of each kind"
    right = fit(answers, answers.weights(np.ones((200, 1))), np.full((3, 1), 0.8))
    assert (right > 0.999).all()
    assert isinstance(abilities(said, 2, np.random.default_rng(0))["a"], Ability)


# --- answers from rows and from the log


def event(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "answer", "annotation": number, "uid": None, "task": number, "item": f"i{number}", "row": f"r{number}",
        "gold": False, "annotator": "p-1", "state": "usable", "said": {"ranking": [[0], [1]], "why": None},
        "shown": [0, 1], "untouched": False, "lead_seconds": 100.0, "wait_seconds": 40.0, "seconds": 60.0,
        "reason": None, "created_at": "", "updated_at": "", **changes,
    }  # fmt: skip


def test_an_answer_is_capped_when_less_than_its_own_time_counts() -> None:
    whole, capped, unknown = from_events(
        [event(1), event(2, seconds=50.0), event(3, lead_seconds=None, seconds=None)], "verdict"
    )
    assert not whole.is_capped, "waiting for the model is no time of the person"
    assert whole.active == 60.0
    assert capped.is_capped
    assert not unknown.is_capped
    row = {"sample_id": "s", "annotator": "x", "seconds": 180.0, "lead_seconds": 999.0, "ranking": [[0], [1]]}
    assert from_rows([row], "verdict")[0].is_capped
    assert from_rows([{**row, "lead_seconds": None}], "verdict")[0].active == 180.0


def test_rows_that_no_model_answered_are_told_apart_by_what_was_asked() -> None:
    rows = [{"prompt": p, "annotator": "a", "completion": "c"} for p in ("x", "x", "y")]
    found = from_rows(rows, "demonstrate")
    assert found[0].unit == found[1].unit != found[2].unit


@pytest.mark.parametrize(
    ("job", "said", "gold", "expected"),
    [
        ("rank", {"ranking": [[1], [0, 2]]}, [[1], [2], [0]], True),
        ("rank", {"ranking": [[1], [0, 2]]}, {"ranking": [[0], [1], [2]]}, False),
        ("rank", {"ranking": [[1, 0], [2]]}, [[0], [1], [2]], False),
        ("verdict", {"ranking": [[0, 1]]}, [[1, 0]], True),
        ("pairwise", {"ranking": [[0], [1]]}, [[1], [0]], False),
        ("rate", {"ratings": {"toxic": 4, "helpful": 1}}, {"toxic": 5}, True),
        ("rate", {"ratings": {"toxic": 3, "helpful": 5}}, {"ratings": {"toxic": 5, "helpful": 5}}, False),
        ("critique", {"is_faultless": True, "faults": []}, True, True),
        ("critique", {"is_faultless": False, "faults": ["a", "b"]}, ["a"], True),
        ("critique", {"is_faultless": False, "faults": ["b"]}, {"faults": ["a"]}, False),
        ("critique", {"is_faultless": True, "faults": []}, {"is_faultless": False}, False),
        ("refine", {"decision": "accept"}, "accept", True),
        ("refine", {"decision": "edit"}, {"decision": "accept"}, False),
        ("demonstrate", {"completion": "x"}, "x", None),
        ("rank", {"ranking": [[0], [1]]}, None, None),
        ("rate", {"ratings": {"toxic": 3}}, "five", None),
    ],
)
def test_what_counts_as_right_on_a_gold_item(job: str, said: Any, gold: Any, expected: bool | None) -> None:
    assert is_right(job, said, gold) is expected


def test_what_a_person_typed() -> None:
    marks = [{"remark": "12345"}, {"remark": None}]
    assert n_typed("critique", {"critique": "1234567890", "marks": marks, "is_faultless": False}) == 15
    assert n_typed("critique", {"critique": "Nothing to change.", "is_faultless": True}) is None
    assert n_typed("verdict", {"ranking": [[0, 1]], "why": "because"}) == 7
    assert n_typed("verdict", {"ranking": [[0, 1]], "why": None}) is None
    assert n_typed("demonstrate", {"completion": "abc"}) == 3
    edited = {"decision": "edit", "preferred": "b!", "refinements": ["a", "b!"]}
    assert n_typed("refine", {**edited, "origins": ["model", "typed"]}) == 2
    assert n_typed("refine", {**edited, "origins": ["model", "prefilled-changed"]}) is None
    assert n_typed("refine", {"decision": "criticise", "critique": "no", "preferred": None}) == 2
    assert n_typed("rate", {"ratings": {}}) is None


def test_speed_is_that_of_long_texts_in_the_persons_own_time() -> None:
    said = {"critique": "x" * 400, "is_faultless": False}
    (fast,) = from_events(
        [event(1, said=said, lead_seconds=50.0, wait_seconds=20.0, seconds=1.0)], "critique"
    )
    assert fast.speed == pytest.approx(400 / 30), "waits taken off, the cap not"
    (short,) = from_events([event(1, said={"critique": "x" * 39, "is_faultless": False})], "critique")
    assert short.speed is None
    told = person("p-1", [fast, short], "critique")
    assert (told["too_fast"], told["timed_texts"], told["answers"]) == (1, 1, 2)


# --- the report


def verdicts(votes: dict[str, list[int]], shown: tuple[int, int] | None = (0, 1)) -> list[Answer]:
    """Person -> one verdict per unit (0 first, 1 second, 2 tie)."""
    ranking = ([[0], [1]], [[1], [0]], [[0, 1]])
    return [
        Answer(
            f"u{unit}",
            name,
            "verdict",
            said={"ranking": ranking[vote], "why": None},
            shown=shown,
            seconds=30.0,
        )
        for name, given in votes.items()
        for unit, vote in enumerate(given)
    ]


def test_a_report_counts_what_was_used_and_what_was_not() -> None:
    events = [event(n, annotator=f"p-{n % 2}") for n in range(20)]
    events += [
        event(90, state="skipped", said={}, seconds=10.0),
        event(91, state="empty", said={}, seconds=5.0),
        event(92, gold=True, item="g", row=None, said={"ranking": [[1], [0]], "why": None}),
        event(93, gold=True, item="g", row=None, annotator="p-0"),
    ]
    found = report(from_events(events, "verdict", {"g": [[1], [0]]}), "verdict", wage_per_hour=36.0)
    assert (found["answers"], found["outputs"], found["shared"], found["people"]) == (20, 20, 0, 2)
    assert found["states"] == {"usable": 20, "skipped": 1, "empty": 1, "gold": 2}
    zero, one = found["annotators"]
    assert (zero["gold_right"], zero["gold"], one["gold_right"], one["gold"]) == (0, 1, 1, 1)
    assert (one["answers"], one["skipped"], one["empty"], one["median_seconds"]) == (10, 1, 1, 60.0)
    paid = found["ledger"]
    assert (paid["seconds_used"], paid["seconds_gold"], paid["seconds_unused"]) == (1200.0, 120.0, 15.0)
    assert paid["seconds"] == 1335.0
    assert paid["money"] == pytest.approx(13.35)
    assert sum(p["seconds"] for p in found["annotators"]) == paid["seconds"]
    assert all(f["value"] is None and "too few: 0" in f["reason"] for f in found["agreement"])
    assert found["ability"]["reason"].startswith("too few")


def test_agreement_on_verdicts_with_its_chance_and_interval() -> None:
    votes = {"a": [0] * 15 + [1] * 15, "b": [0] * 15 + [1] * 10 + [0] * 5, "c": [0, 1] * 15}
    share, alpha = report(verdicts(votes), "verdict")["agreement"]
    pairs = list(zip(*votes.values(), strict=True))
    assert share["value"] == pytest.approx(
        np.mean([[x == y for x, y in combinations(unit, 2)] for unit in pairs])
    )
    assert alpha["value"] == pytest.approx(alpha_by_definition([list(unit) for unit in pairs], "nominal"))
    assert share["low"] < share["value"] < share["high"]
    two = report(verdicts({"a": votes["a"], "b": votes["b"]}), "verdict")["agreement"][0]
    exact = scipy_stats.binomtest(25, 30).proportion_ci(method="wilson")
    assert (two["low"], two["high"]) == (pytest.approx(exact.low), pytest.approx(exact.high))


def test_position_counts_ties_in_part_and_needs_enough_answers() -> None:
    found = report(verdicts({"a": [0] * 10 + [1] * 5 + [2] * 5}), "verdict")["position"]
    assert found["value"] == pytest.approx((10 + 2.5) / 20)
    assert found["by_chance"] == 0.5
    few = report(verdicts({"a": [0] * 19}), "verdict")["position"]
    assert few["value"] is None
    assert "19 answers" in few["reason"]
    unknown = report(verdicts({"a": [0] * 30}, shown=None), "verdict")["position"]
    assert unknown["value"] is None
    second = position({"u": [Answer("u", "a", "verdict", said={"ranking": [[1], [0]]}, shown=(1, 0))] * 20})
    assert second["reason"], "one output is too few, however many answers"


def test_rankings_ratings_critiques_and_rewrites_get_their_measures() -> None:
    rng = random.Random(1)
    kinds = ["made up", "unclear"]

    def said(job: str) -> dict[str, Any]:
        faults = [kind for kind in kinds if rng.random() < 0.5]
        return {
            "rank": {"ranking": random_ranking(rng, 4), "why": None},
            "rate": {"ratings": {axis: rng.randint(1, 5) for axis in ("helpful", "toxic")}},
            "critique": {"critique": "text", "is_faultless": not faults, "faults": faults, "marks": []},
            "refine": {"decision": rng.choice(["accept", "edit", "criticise"])},
            "demonstrate": {"completion": "text"},
        }[job]

    measures = {}
    for job in ("rank", "rate", "critique", "refine", "demonstrate"):
        answers = [Answer(f"u{u}", who, job, said=said(job)) for u in range(25) for who in "abc"]
        found = report(answers, job)
        measures[job] = [(f["measure"], f["about"]) for f in found["agreement"]]
        assert all(f["value"] is not None and f["low"] <= f["value"] <= f["high"] for f in found["agreement"])
        assert (found["ability"]["people"] == []) == (job == "demonstrate")
        assert report(answers, job) == found, "the same seed, the same intervals"
    assert measures == {
        "rank": [
            ("Kendall's W", "rankings"),
            ("Kendall's tau-b", "rankings"),
            ("pairs ordered alike", "rankings"),
        ],
        "rate": [(f"alpha ({m})", axis) for axis in ("helpful", "toxic") for m in ("ordinal", "interval")],
        "critique": [
            ("share equal", "faultless or not"),
            ("alpha (nominal)", "faultless or not"),
            ("alpha (MASI)", "kinds of fault"),
            ("alpha (nominal)", "made up"),
            ("alpha (nominal)", "unclear"),
        ],
        "refine": [("share equal", "decision"), ("alpha (nominal)", "decision")],
        "demonstrate": [],
    }


def test_ability_in_the_report_finds_who_guesses() -> None:
    rng = random.Random(4)
    truth = [rng.randint(0, 1) for _ in range(120)]
    good = {name: [t if rng.random() < 0.92 else 1 - t for t in truth] for name in ("a", "b", "c")}
    found = report(verdicts({**good, "guesser": [rng.randint(0, 1) for _ in truth]}), "verdict")["ability"]
    right = {p["annotator"]: p["value"] for p in found["people"]}
    assert right["guesser"] < 0.65
    assert min(right[name] for name in good) > 0.85
    assert all(0.005 < p["standard_error"] < 0.1 for p in found["people"])


def test_points_off_is_the_distance_to_the_others_mean() -> None:
    answers = [
        Answer(f"u{u}", name, "rate", said={"ratings": {"toxic": points}})
        for u in range(10)
        for name, points in (("a", 1), ("b", 2), ("c", 5))
    ]
    found = {p["annotator"]: p["value"] for p in report(answers, "rate")["ability"]["people"]}
    assert found == pytest.approx({"a": 2.5, "b": 1.0, "c": 3.5})


def test_a_ledger_says_what_it_does_not_know() -> None:
    answers = [Answer("u", "a", "rate", seconds=None), Answer("v", "a", "rate", seconds=30.0, active=90.0)]
    found = ledger(answers)
    assert (found["seconds"], found["unknown"], found["capped"], found["share_capped"]) == (30.0, 1, 1, 1.0)
    assert found["money"] is None
    assert ledger([])["share_capped"] is None


def test_pairs_are_read_the_same_from_both_sides() -> None:
    assert pair_orders([[2], [0, 1]]) == [0, -1, -1]
    assert pair_orders([[0, 1], [2]]) == [0, 1, 1]
