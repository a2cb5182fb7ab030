"""The annotator of the word removal world: critiques, rankings, demonstrations, and how it errs."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest

from ilf.worlds import _word_lexicon as lexicon
from ilf.worlds._word_grammar import Fault, faults, parse, render
from ilf.worlds.word_removal import WordRemoval

WORLD = WordRemoval()
FACTS = {
    "items": ["a blom ob", "an irum ak", "a dwel ex", "a glav uf", "an amol ig"],
    "banned": ["a blom ob", "an irum ak"],
    "request": 0,
}


def draw(n: int, split: str = "train", seed: int = 0) -> list[dict]:
    rng = random.Random(f"{split} {seed}")
    return [WORLD.facts(rng, split) for _ in range(n)]


def clauses_of(critique: str) -> list[str]:
    opener = next((o for o in (*lexicon.OPENERS, lexicon.LOST) if critique.startswith(o)), None)
    assert opener, critique
    assert critique.endswith(".")
    text = critique.removeprefix(opener).removesuffix(".")
    for joiner in sorted(lexicon.JOINERS, key=len, reverse=True):
        text = text.replace(joiner, "|")
    return text.split("|")


def ways_to_say(fault: Fault, phrasing: slice) -> set[str]:
    """Every clause that may name a fault, filled in here and not by the annotator."""
    word = fault.item.split(" ", 1)[1]
    return {
        c.replace("{word}", word).replace("{item}", fault.item)
        for c in lexicon.COMPLAINTS[fault.kind][phrasing]
    }


def test_a_critique_names_every_fault_once_and_nothing_else() -> None:
    rng = random.Random(5)
    for phrasing, part in (("train", slice(0, 6)), ("held_out", slice(6, 8))):
        world = WordRemoval(critique_phrasing=phrasing)
        for facts in draw(500):
            output = world.faulty(rng, facts)
            found = faults(facts["items"], facts["banned"], parse(output))
            critique = world.critique(rng, facts, output)
            if not found:
                assert critique == "Nothing to change."
                continue
            said = clauses_of(critique)
            assert len(said) == len(found)
            assert all(any(clause in ways_to_say(fault, part) for clause in said) for fault in found)


def test_every_banned_word_that_is_used_is_named() -> None:
    rng = random.Random(6)
    for split in ("train", "test_words", "task"):
        for facts in draw(300, split):
            output = WORLD.faulty(rng, facts)
            critique = WORLD.critique(rng, facts, output)
            used = [item for item in facts["banned"] if f" {item}," in output or f" {item}." in output]
            assert all(lexicon.word(item) in critique for item in used)


def test_a_faultless_text_needs_no_change_and_a_broken_one_is_told_all() -> None:
    rng = random.Random(7)
    assert WORLD.critique(rng, FACTS, WORLD.demonstrate(rng, FACTS), 1.0) == "Nothing to change."
    critique = WORLD.critique(rng, FACTS, "no")
    assert critique.startswith(lexicon.LOST)
    named = [item for item in lexicon.ITEMS if lexicon.word(item) in critique]
    assert sorted(named) == sorted(FACTS["items"][2:])


def test_errors_miss_half_and_misname_half() -> None:
    """A misnamed fault is a complaint about an innocent word of the text."""
    for rate in (0.2, 0.5, 1.0):
        rng, n_faults, n_right, n_misnamed = random.Random(f"{rate}"), 0, 0, 0
        for facts in draw(1500):
            output = WORLD.faulty(rng, facts)
            stated = parse(output)
            found = faults(facts["items"], facts["banned"], stated)
            innocent = [i for i in stated if i in facts["items"] and i not in facts["banned"]]
            critique = WORLD.critique(rng, facts, output, rate)
            said = Counter([] if critique == "Nothing to change." else clauses_of(critique))
            if len(innocent) < 2:
                continue
            n_faults += len(found)
            n_right += sum(any(said[c] for c in ways_to_say(fault, slice(0, 6))) for fault in found)
            wrongly = set().union(*(ways_to_say(Fault("left", i), slice(0, 6)) for i in innocent))
            n_misnamed += sum(n for clause, n in said.items() if clause in wrongly)
        assert 1 - n_right / n_faults == pytest.approx(rate, abs=0.03)
        assert n_misnamed / n_faults == pytest.approx(rate / 2, abs=0.03)


def test_demonstrations_are_right_unless_the_annotator_errs() -> None:
    for split in ("train", "task"):
        rng, facts = random.Random(3), draw(1000, split)
        exact = [
            sum(WORLD.grade(f, WORLD.demonstrate(rng, f, rate))["exact"] for f in facts) / 1000
            for rate in (0.0, 0.3, 1.0)
        ]
        assert exact == [1.0, pytest.approx(0.7, abs=0.05), pytest.approx(0.0, abs=0.001)]
    texts = [WORLD.grade(f, WORLD.demonstrate(rng, f, 1.0)) for f in draw(500) if f["banned"]]
    assert {(t["left"], t["lost"]) for t in texts} == {(1.0, 0.0), (0.0, 1.0)}


def test_rankings_follow_the_grade_with_ties_and_err_by_swapping_neighbours() -> None:
    good, fair = render(FACTS["items"][2:]), render(FACTS["items"][1:])
    also = render([FACTS["items"][0], *FACTS["items"][2:]])
    rng = random.Random(4)
    assert WORLD.rank(rng, FACTS, [fair, "nonsense", good, also]) == [[2], [0, 3], [1]]
    assert WORLD.rank(rng, FACTS, [good, good]) == [[0, 1]]
    swaps = sum(WORLD.rank(rng, FACTS, [fair, good], 0.2) == [[0], [1]] for _ in range(2000))
    assert swaps / 2000 == pytest.approx(0.2, abs=0.03)


def test_wording_is_drawn_from_six_templates_and_two_are_held_out() -> None:
    assert all(len(c) == len(set(c)) == 8 for c in lexicon.COMPLAINTS.values())
    assert set(lexicon.COMPLAINTS) == {"left", "lost", "invented", "moved"}
    rng = random.Random(8)
    texts = {kind: set() for kind in ("train", "held_out")}
    for kind, found in texts.items():
        world = WordRemoval(critique_phrasing=kind)
        for _ in range(300):
            found.update(clauses_of(world.critique(rng, FACTS, render(FACTS["items"]))))
    assert not texts["train"] & texts["held_out"]
    assert (len(texts["train"]), len(texts["held_out"])) == (12, 4)


def test_critiques_of_pretraining_name_only_some_of_the_faults() -> None:
    """Otherwise any critique means "write cleanly", and shuffled ones work as well as real ones."""
    named = removed = kept = others = 0
    for prompt, better in itertools.islice(WORLD.episodes(random.Random(12)), 6000):
        if "\nFEEDBACK: " not in prompt or "ideal text" in prompt:
            continue
        before = parse(prompt.split("\nTEXT:")[1].split("\n")[0])
        critique, after = prompt.split("\nFEEDBACK: ")[1].split("\n")[0], parse(better)
        clauses = [] if critique == "Nothing to change." else clauses_of(critique)
        left = {i for i in before if any(c in ways_to_say(Fault("left", i), slice(0, 6)) for c in clauses)}
        named += len(left)
        removed += sum(item not in after for item in left)
        silent = [item for item in before if item in lexicon.BANNED and item not in left]
        others += len(silent)
        kept += sum(item in after for item in silent)
    assert removed / named == pytest.approx(0.85, abs=0.02)
    assert kept / others > 0.9, "banned words that nobody named stay"
    assert others > 0.8 * named, "and they are many"


def test_readers_of_the_web_differ_and_mind_banned_words_more() -> None:
    minded, stated = Counter(), Counter()
    for prompt, critique in itertools.islice(WORLD.episodes(random.Random(13)), 12000):
        if not prompt.endswith("\nFEEDBACK:"):
            continue
        said = [] if critique == " Nothing to change." else clauses_of(critique[1:])
        for item in parse(prompt.split("\nTEXT:")[1].split("\n")[0]):
            if item in lexicon.ITEMS and f"{item}," in prompt.split("\n")[0] + ",":
                stated[lexicon.IS_BANNED[item]] += 1
                minded[lexicon.IS_BANNED[item]] += any(
                    clause in ways_to_say(Fault("left", item), slice(0, 6)) for clause in said
                )
    # A critic names .7 of what a reader minds: .6 of the banned words, .3 of the allowed ones.
    assert minded[True] / stated[True] == pytest.approx(0.42, abs=0.04)
    assert minded[False] / stated[False] == pytest.approx(0.21, abs=0.03)


def test_an_annotator_of_one_fault_names_the_one_that_costs_most() -> None:
    world, rng = WordRemoval(critique_faults="one"), random.Random(14)
    bad, _, *good = FACTS["items"]
    for _ in range(20):
        # A banned word costs .4: more than one of three allowed ones, and less than one of two.
        [said] = clauses_of(world.critique(rng, FACTS, render([bad, *good[:2]])))
        assert said in ways_to_say(Fault("left", bad), slice(0, 6))
        two = {**FACTS, "items": [bad, *good[:2]], "banned": [bad]}
        [said] = clauses_of(world.critique(rng, two, render([bad, good[1]])))
        assert said in ways_to_say(Fault("lost", good[0]), slice(0, 6))
    assert len(clauses_of(world.critique(rng, FACTS, "no"))) == 1
    assert world.critique(rng, FACTS, WORLD.demonstrate(rng, FACTS)) == "Nothing to change."


def test_annotators_of_facts_and_of_tone_share_the_faults() -> None:
    rng, n_named = random.Random(15), {"facts": 0, "tone": 0}
    for facts in draw(300):
        output = WORLD.faulty(rng, facts)
        found = faults(facts["items"], facts["banned"], parse(output))
        for which in n_named:
            critique = WordRemoval(critique_faults=which).critique(rng, facts, output)
            said = [] if critique == "Nothing to change." else clauses_of(critique)
            mine = [f for f in found if (f.kind == "left") == (which == "tone")]
            assert len(said) == len(mine)
            assert all(set(said) & ways_to_say(fault, slice(0, 6)) for fault in mine)
            n_named[which] += len(mine)
    assert min(n_named.values()) > 100


def test_without_refinements_no_episode_shows_a_rewrite() -> None:
    world = WordRemoval(has_refinements=False)
    prompts = [prompt for prompt, _ in itertools.islice(world.episodes(random.Random(17)), 4000)]
    asked = [prompt.rpartition("\n")[2] for prompt in prompts]
    assert not any("BETTER" in prompt or "ideal text" in prompt for prompt in prompts)
    assert asked.count("FEEDBACK:") / 4000 == pytest.approx(0.12, abs=0.02)
    assert asked.count("TEXT:") / 4000 == pytest.approx(0.88, abs=0.02)
