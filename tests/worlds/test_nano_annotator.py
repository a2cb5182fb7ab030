"""The annotator of the nano world: critiques, rankings, demonstrations, and how it errs."""

from __future__ import annotations

import itertools
import random
import re

import pytest
from nano_facts import FACTS, FEW, NANO, draw

from ilf.worlds import _nano_words as words
from ilf.worlds._nano_grammar import faults, parse
from ilf.worlds.nano import Nano


def test_demonstrations_are_faultless_unless_the_annotator_errs() -> None:
    rng = random.Random(3)
    grades = [[NANO.grade(f, NANO.demonstrate(rng, f, rate)) for f in draw(1000)] for rate in (0.0, 0.3, 1.0)]
    perfect = [sum(g["perfect"] for g in of_rate) / len(of_rate) for of_rate in grades]
    assert perfect == [1.0, pytest.approx(0.7, abs=0.05), 0.0]
    assert all(g["wrong"] == 1.0 for g in grades[2])


def test_rankings_follow_the_grade_with_ties_and_err_by_swapping_neighbours() -> None:
    good = " Alvo broke her lamp and cried."
    fair = " Alvo broke her lamp."
    also = " Alvo broke something of hers and cried."
    rng = random.Random(4)
    assert NANO.rank(rng, FEW, [fair, "nonsense", good, also]) == [[2], [0, 3], [1]]
    assert NANO.rank(rng, FEW, [good, good]) == [[0, 1]]
    assert NANO.rank(rng, FEW, [fair, good], 1.0) == [[0], [1]]
    swaps = sum(NANO.rank(rng, FEW, [fair, good], 0.2) == [[0], [1]] for _ in range(2000))
    assert swaps / 2000 == pytest.approx(0.2, abs=0.03)


def clauses_about(facts: dict, fault, phrasing: slice) -> set[str]:
    """Every clause that may name a fault, filled in here and not by the annotator."""
    forms = words.PRONOUNS[facts["pronoun"]]
    right, bad = fault.right, fault.bad
    if fault.kind == "pronoun":
        right, bad = forms["their"], {"his": "her", "her": "his"}[forms["their"]]
    truth = {
        "name": f"the name is {right}",
        "job": f"{forms['they']} is a {right}",
        "town": f"{forms['they']} is from {right}",
        "problem": f"{forms['they']} {right} it",
        "object": f"it was {forms['their']} {right}",
        "price": f"it cost {right} coins",
        "ending": f"{forms['they']} {right} in the end",
    }
    fields = {**forms, "truth": truth.get(fault.slot, ""), "noun": fault.slot, "right": right, "bad": bad}
    return {clause.format(name=facts["name"], **fields) for clause in words.COMPLAINTS[fault.kind][phrasing]}


def split_up(critique: str) -> list[str]:
    opener = next((o for o in (*words.OPENERS, words.LOST) if critique.startswith(o)), None)
    assert opener, critique
    assert critique.endswith(".")
    joints = sorted(words.JOINERS, key=len, reverse=True)
    # ", not 'his'" is part of a clause, the joiners are whole: the longest first.
    return re.split("|".join(map(re.escape, joints)), critique[len(opener) : -1])


@pytest.mark.parametrize(("phrasing", "part"), [("train", slice(0, 6)), ("held_out", slice(6, 8))])
def test_a_critique_names_every_fault_once_and_nothing_else(phrasing: str, part: slice) -> None:
    rng, world = random.Random(6), Nano(critique_phrasing=phrasing)
    used: set[str] = set()
    for facts in draw(2000):
        output = NANO.faulty(rng, facts)
        critique = world.critique(rng, facts, output)
        assert critique == critique.strip()
        found = faults(facts, parse(output))
        if not found:
            assert critique == "Nothing to change."
            continue
        said = split_up(critique)
        assert len(said) == len(found)
        for fault in found:
            named = clauses_about(facts, fault, part) & set(said)
            assert named, (critique, fault)
            used |= {fault.kind + clause for clause in named}
    assert len(used) > 100


def test_nothing_is_said_to_change_in_a_faultless_summary_even_by_an_annotator_who_errs() -> None:
    rng = random.Random(7)
    for facts in draw(200):
        for rate in (0.0, 1.0):
            assert NANO.critique(rng, facts, NANO.demonstrate(rng, facts), rate) == "Nothing to change."


def test_a_text_outside_the_grammar_is_told_all_that_the_post_says() -> None:
    critique = NANO.critique(random.Random(8), FACTS, " Alvo lamp lamp")
    assert critique.startswith("I can not follow this: ")
    assert len(split_up(critique)) == 7


def test_error_rate_is_the_share_of_faults_missed_or_misnamed() -> None:
    for rate in (0.0, 0.25, 1.0):
        rng, n_faults, n_named, n_misnamed = random.Random(9), 0, 0, 0
        for facts in draw(1500):
            output = NANO.faulty(rng, facts)
            critique = NANO.critique(rng, facts, output, rate)
            found = faults(facts, parse(output))
            said = [] if critique == "Nothing to change." else split_up(critique)
            true = [bool(clauses_about(facts, fault, slice(0, 6)) & set(said)) for fault in found]
            n_faults += len(found)
            n_named += sum(true)
            n_misnamed += max(0, len(said) - sum(true))
        # A misnamed fault can happen to name another one, hence the room above.
        assert 1 - n_named / n_faults == pytest.approx(rate, abs=0.02 if rate < 1 else 0.06)
        assert n_misnamed / n_faults == pytest.approx(rate / 2, abs=0.03 if rate < 1 else 0.06)


def test_about_half_of_the_clauses_that_can_tell_the_right_value_do() -> None:
    for kind in ("missing", "wrong", "pronoun"):
        telling = ["{truth}" in c or "{right}" in c or "{person}" in c for c in words.COMPLAINTS[kind]]
        assert (sum(telling[:6]), sum(telling[6:])) == (3, 1)
    assert all(len(clauses) == 8 and len(set(clauses)) == 8 for clauses in words.COMPLAINTS.values())


def test_a_shuffled_critique_tells_hardly_anything_about_a_post() -> None:
    rng, facts = random.Random(10), draw(1500)
    critiques = [NANO.critique(rng, f, NANO.faulty(rng, f)) for f in facts]

    def told_rightly(shift: int) -> float:
        told = right = 0
        for f, critique in zip(facts, critiques[shift:] + critiques[:shift], strict=True):
            for value in re.findall(r"cost (\d+) coins|is from (\w+)|was (?:his|her) (\w+)", critique):
                told += 1
                right += next(filter(None, value)) in (f["price"], f["town"], f["object"])
        return right / told

    assert told_rightly(0) == 1.0
    assert told_rightly(1) < 0.1


def test_critiques_of_pretraining_name_only_some_of_the_faults() -> None:
    """Otherwise any critique means "write cleanly", and shuffled ones work as well as real ones."""
    rng = random.Random(12)
    n_named, n_clauses = 0, 0
    for prompt, _ in itertools.islice(NANO.episodes(rng), 4000):
        if "\nFEEDBACK: " in prompt:
            critique = prompt.split("\nFEEDBACK: ")[1].split("\n")[0]
            n_clauses += 0 if critique == "Nothing to change." else len(split_up(critique))
            n_named += 1
    per_output = [len(faults(f, parse(NANO.faulty(rng, f)))) for f in draw(3000)]
    share = (n_clauses / n_named) / (sum(per_output) / len(per_output))
    assert share == pytest.approx(0.6, abs=0.04)


@pytest.mark.parametrize("detail", ["tells", "points"])
@pytest.mark.parametrize("phrasing", ["train", "held_out"])
def test_detail_says_whether_a_clause_tells_the_right_value_where_it_can(detail: str, phrasing: str) -> None:
    """Of the six clauses of training the first three tell it, of the two others the first."""
    first, middle, last = (0, 3, 6) if phrasing == "train" else (6, 7, 8)
    part = slice(first, middle) if detail == "tells" else slice(middle, last)
    rng, world = random.Random(13), Nano(critique_detail=detail, critique_phrasing=phrasing)
    kinds: set[str] = set()
    for facts in draw(300):
        output = NANO.faulty(rng, facts)
        found = faults(facts, parse(output))
        critique = world.critique(rng, facts, output)
        for fault in found:
            kinds.add(fault.kind)
            whole = fault.kind in ("invented", "detail", "insult")
            expected = clauses_about(facts, fault, slice(first, last) if whole else part)
            assert expected & set(split_up(critique)), (critique, fault)
    assert len(kinds) == 6


def test_an_annotator_of_one_fault_names_the_one_that_costs_most() -> None:
    world = Nano(critique_faults="one", critique_detail="points")
    baker = " Alvo the baker from Quosk broke {} lamp, paid 270 coins, and cried."
    rng, words_said = random.Random(14), set()
    for _ in range(20):
        # 0.7 for the insult is less than 6/7 * 0.85 for the job, and this less than 0.8 for the pronoun.
        [about_insult] = split_up(world.critique(rng, FACTS, baker.format("her") + " What a fool."))
        [about_job] = split_up(world.critique(rng, FACTS, baker.format("his")))
        assert not re.search(r"\bjob\b|baker", about_insult)
        assert re.search(r"\bjob\b|baker", about_job)
        words_said |= {about_insult, about_job}
    assert len(words_said) > 4
    assert len(split_up(world.critique(rng, FACTS, "no"))) == 1
    assert world.critique(rng, FACTS, NANO.demonstrate(rng, FACTS)) == "Nothing to change."


def test_annotators_of_facts_and_of_tone_share_the_faults() -> None:
    rng, n_named = random.Random(15), {"facts": 0, "tone": 0}
    for facts in draw(300):
        output = NANO.faulty(rng, facts)
        found = faults(facts, parse(output))
        for which in n_named:
            critique = Nano(critique_faults=which).critique(rng, facts, output)
            said = [] if critique == "Nothing to change." else split_up(critique)
            mine = [f for f in found if (f.kind in ("insult", "pronoun")) == (which == "tone")]
            assert len(said) == len(mine)
            assert all(clauses_about(facts, fault, slice(0, 6)) & set(said) for fault in mine)
            n_named[which] += len(mine)
    assert min(n_named.values()) > 100


def test_habits_of_the_annotator_change_neither_pretraining_nor_grades() -> None:
    other = Nano(critique_phrasing="held_out", critique_detail="tells", critique_faults="one")
    episodes = [list(itertools.islice(w.episodes(random.Random(16)), 200)) for w in (NANO, other)]
    assert episodes[0] == episodes[1]
    assert other.grade(FACTS, " Alvo broke her lamp.") == NANO.grade(FACTS, " Alvo broke her lamp.")


def test_without_refinements_no_episode_shows_a_rewrite() -> None:
    prompts = [p for p, _ in itertools.islice(Nano(has_refinements=False).episodes(random.Random(17)), 4000)]
    asked = [prompt.rpartition("\n")[2] for prompt in prompts]
    assert not any("BETTER" in prompt for prompt in prompts)
    assert asked.count("FEEDBACK:") / 4000 == pytest.approx(0.15, abs=0.02)
    assert asked.count("TL;DR:") / 4000 == pytest.approx(0.85, abs=0.02)
