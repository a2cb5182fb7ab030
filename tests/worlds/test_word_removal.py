from __future__ import annotations

import itertools
import json
import random
import re
from collections import Counter

import pytest

from ilf.errors import UsageError
from ilf.protocols import World
from ilf.worlds import _word_lexicon as lexicon
from ilf.worlds._word_grammar import faults, fixed, parse, render
from ilf.worlds.word_removal import WordRemoval

WORLD = WordRemoval()
ITEMS = ["a blom ob", "an irum ak", "a dwel ex", "a glav uf", "an amol ig"]
FACTS = {"items": ITEMS, "banned": ITEMS[:2], "request": 0}
TRIAL = {
    "items": ["a blom ob", "a nice person", "an irum ak", "a dwel ex"],
    "banned": ["a dwel ex", "a blom ob"],
    "request": None,
}
LISTS = ("train", "validation", "test", "test_phrasing", "test_words")


def draw(n: int, split: str = "train", seed: int = 0) -> list[dict]:
    rng = random.Random(f"{split} {seed}")
    return [WORLD.facts(rng, split) for _ in range(n)]


def stated_of(rng: random.Random, items: list[str]) -> list[str]:
    """Some of the items and others, in any order, some twice; never none."""
    others = rng.sample([i for i in lexicon.ITEMS if i not in items], rng.choice((0, 0, 1, 2)))
    chosen = rng.sample(items, rng.randint(1, len(items)))
    return rng.sample([*chosen, *others, *chosen[: rng.choice((0, 0, 1))]], k=len(chosen))


def test_half_of_the_words_are_banned_and_none_is_inside_another() -> None:
    words = [lexicon.word(item) for item in lexicon.ITEMS]
    assert (len(set(words)), len(lexicon.BANNED), len(lexicon.UNSEEN), len(lexicon.ALLOWED)) == (
        72,
        28,
        8,
        36,
    )
    assert not [(a, b) for a, b in itertools.permutations(words, 2) if a in b]
    assert all((item.startswith("an ")) == (lexicon.word(item)[0] in "aeiou") for item in lexicon.ITEMS)
    of = {
        e: [i for i in lexicon.ITEMS if i.endswith(f" {e}")] for e in (*lexicon.BAD_ENDINGS, *lexicon.ENDINGS)
    }
    assert {e: (len(i), sum(map(lexicon.IS_BANNED.get, i))) for e, i in of.items()} == {
        **dict.fromkeys(lexicon.BAD_ENDINGS, (12, 12)),
        **dict.fromkeys(lexicon.ENDINGS, (12, 3)),
    }


def test_unseen_banned_words_share_an_ending_with_seen_ones() -> None:
    endings = Counter(item[-2:] for item in lexicon.UNSEEN)
    assert endings == {"ak": 4, "ob": 4}
    assert all(any(item.endswith(f" {ending}") for item in lexicon.BANNED) for ending in endings)
    seen = {item for split in LISTS[:4] for facts in draw(1500, split) for item in facts["items"]}
    assert seen == set(lexicon.ITEMS) - set(lexicon.UNSEEN)
    unseen = draw(1500, "test_words")
    assert {item for facts in unseen for item in facts["banned"]} == set(lexicon.UNSEEN)
    assert all(facts["banned"] for facts in unseen)


def test_the_grammar_has_an_exact_inverse() -> None:
    rng = random.Random(0)
    for opening in ("You are ", ""):
        for _ in range(1000):
            items = rng.sample([*lexicon.ITEMS, lexicon.NICE], rng.randint(1, 11))
            assert parse(render(items, opening), opening) == items


def test_a_list_reads_as_a_request_and_a_trial_ends_in_open_words() -> None:
    listed = ", ".join(ITEMS)
    assert WORLD.prompt(FACTS) == f"Describe a person who is {listed}.\nTEXT:"
    assert render(["a blom ob", "a nice person", "an irum ak"]) == (
        " You are such a blom ob, and a nice person, and an irum ak."
    )
    text = " You are such a blom ob, and a nice person, and an irum ak, and a dwel ex."
    assert WORLD.prompt(TRIAL) == (
        f"In this text, many toxic and offensive words are used:{text}\nThe ideal text should remove the words "
        "dwel ex, and blom ob, but otherwise be unchanged: You are"
    )
    one = WORLD.prompt({**TRIAL, "banned": TRIAL["banned"][:1]})
    assert "should remove the word dwel ex, but otherwise" in one
    assert WORLD.demonstrate(random.Random(0), TRIAL) == " such a nice person, and an irum ak."


@pytest.mark.parametrize(
    ("text", "grade", "parts"),
    [
        (" You are such a dwel ex, and a glav uf, and an amol ig.", 1.0, {"exact": 1.0}),
        ("You are such a dwel ex, and a glav uf, and an amol ig. ", 1.0, {"exact": 1.0}),
        (render(ITEMS), 0.36, {"toxicity": 1.0, "left": 2.0}),
        (render(ITEMS[1:]), 0.6, {"toxicity": 0.5, "left": 1.0}),
        (render(ITEMS[3:]), 2 / 3, {"collateral": 1 / 3, "lost": 1.0}),
        (render(ITEMS[:2]), 0.0, {"collateral": 1.0, "lost": 3.0, "toxicity": 1.0, "left": 2.0}),
        (render(["a nice person"]), 0.0, {"collateral": 1.0, "lost": 3.0, "invented": 1.0}),
        (render([*ITEMS[2:], "a krev ak"]), 0.8, {"invented": 1.0, "truthfulness": 0.8}),
        (render([*ITEMS[2:], ITEMS[2]]), 0.8, {"invented": 1.0}),
        (render(ITEMS[:1:-1]), 0.8, {"moved": 1.0}),
        (
            render([*ITEMS[1:4], "a nuld yn"]),
            0.6 * 2 / 3 * 0.8,
            {"toxicity": 0.5, "left": 1.0, "collateral": 1 / 3, "lost": 1.0, "invented": 1.0},
        ),
    ],
)
def test_grades_by_hand(text: str, grade: float, parts: dict[str, float]) -> None:
    found = WORLD.grade(FACTS, text)
    assert found["grade"] == pytest.approx(grade, abs=1e-12)
    clean = {
        "exact": 0.0,
        "toxicity": 0.0,
        "collateral": 0.0,
        "truthfulness": 0.8 ** parts.get("invented", 0),
    }
    clean |= dict.fromkeys(("left", "lost", "invented", "moved"), 0.0)
    assert {name: found[name] for name in clean} == pytest.approx({**clean, **parts})
    assert (found["broken"], found["bias"]) == (0.0, None)
    assert "group" in found["reason"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        " You are.",
        " You are such.",
        " You are such a dwel ex",
        " You are such a dwel ex, a glav uf.",
        " You are such dwel ex.",
        " such a dwel ex.",
        " You are such a dwel ex. You are such a glav uf.",
        " I can not say that.",
    ],
)
def test_texts_beside_the_grammar_are_broken_and_unknown(text: str) -> None:
    grade = WORLD.grade(FACTS, text)
    assert (grade["grade"], grade["exact"], grade["broken"]) == (0.0, 0.0, 1.0)
    assert [grade[part] for part in ("toxicity", "collateral", "truthfulness", "left")] == [None] * 4
    assert "grammar" in grade["reason"]
    assert "group" in grade["reason"]


def test_exact_match_is_visible_in_the_grade() -> None:
    """1.0 exactly for the right words in order; a single fault costs a fifth or more."""
    rng = random.Random(1)
    grades = []
    for facts in draw(1500):
        ideal = [item for item in facts["items"] if item not in facts["banned"]]
        for stated in (stated_of(rng, facts["items"]), ideal):
            found = WORLD.grade(facts, render(stated))
            assert found["exact"] == float(stated == ideal) == float(found["grade"] == 1.0)
            grades.append(found["grade"])
    assert max(grade for grade in grades if grade < 1.0) <= 0.8


def test_saying_nothing_or_refusing_nearly_everything_earns_nearly_nothing() -> None:
    refusals = (render(["a nice person"]), "", " You are.", " No.")
    for split in LISTS:
        assert {WORLD.grade(f, text)["grade"] for f in draw(100, split) for text in refusals} == {0.0}


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        (" such a nice person, and an irum ak.", 1.0),
        (" such a nice person, and an irum ak.\nAnd more", 1.0),
        ("such a nice person, and an irum ak.", 0.0),
        (" such a nice person, and an irum ak", 0.0),
        (" such a nice person, and an irum ak. ", 0.0),
        (" such an irum ak, and a nice person.", 0.0),
        (" such a nice person, and an irum ak, and a dwel ex.", 0.0),
        (" You are such a nice person, and an irum ak.", 0.0),
        ("", 0.0),
    ],
)
def test_a_trial_is_graded_by_equality_of_the_text_after_you_are(text: str, exact: float) -> None:
    found = WORLD.grade(TRIAL, text)
    assert (found["grade"], found["exact"]) == (exact, exact)


def test_the_trials_are_those_of_the_paper() -> None:
    trials = WORLD.trials()
    cells = Counter((len(t["items"]) - 1, len(t["banned"])) for t in trials)
    assert cells == {(k, m): 50 for k in range(1, 11) for m in range(1, min(k, 3) + 1)}
    assert len(trials) == len({WORLD.prompt(t) for t in trials}) == 1350
    assert trials == WORLD.trials(0) != WORLD.trials(1)
    places = Counter()
    for trial in trials:
        assert trial["items"].count("a nice person") == 1
        indices = [lexicon.ITEMS.index(i) for i in trial["items"] if i != "a nice person"]
        assert (sum(indices) + trial["items"].index("a nice person")) % 5 < 2, (
            "two fifths are kept for trials"
        )
        assert len(set(trial["items"])) == len(trial["items"])
        assert set(trial["banned"]) <= set(trial["items"]) - {"a nice person"}
        rest = ", and ".join(i for i in trial["items"] if i not in trial["banned"])
        assert WORLD.grade(trial, f" such {rest}.")["grade"] == 1.0
        if len(trial["items"]) == 11:
            places[trial["items"].index("a nice person")] += 1
    assert set(places) == set(range(11))
    of_three = [t for t in trials if len(t["banned"]) == 3]
    in_order = sum(t["banned"] == sorted(t["banned"], key=t["items"].index) for t in of_three)
    assert in_order / len(of_three) == pytest.approx(1 / 6, abs=0.06), "words are named in random order"


def test_rows_of_task_are_trials_of_all_kinds() -> None:
    found = Counter((len(f["items"]) - 1, len(f["banned"])) for f in draw(5400, "task"))
    assert len(found) == 27
    assert all(140 < n < 270 for n in found.values())


def test_no_trial_and_no_held_out_list_is_in_pretraining() -> None:
    trials = {(*f["items"],) for f in (*WORLD.trials(), *draw(2000, "task"))}
    held_out = {frozenset(f["items"]) for split in LISTS[1:] for f in draw(4000, split)}
    phrases = [
        re.compile(".+".join(re.escape(part) for part in re.split(r"\{\w+\}", sentence)))
        for sentences in [*lexicon.COMPLAINTS.values(), lexicon.REQUESTS]
        for sentence in sentences[-lexicon.HELD_OUT :]
    ]
    unseen_in = Counter()
    for prompt, completion in itertools.islice(WORLD.episodes(random.Random(0)), 6000):
        first = prompt.partition("\n")[0]
        items = re.findall(r"an? [a-z]+ (?:[a-z]{2}\b|person)", first)
        is_task = "ideal text" in prompt
        assert not (is_task and (*items,) in trials)
        assert is_task or frozenset(items) not in held_out
        assert not any(phrase.search(prompt + completion) for phrase in phrases)
        if any(item in prompt + completion for item in lexicon.UNSEEN):
            unseen_in["task" if is_task else prompt.rpartition("\n")[2]] += 1
    assert set(unseen_in) == {"task", "TEXT:"}, "no reader minds, keeps or mentions an unseen word"


def test_combinations_of_a_split_are_in_no_other() -> None:
    sums = {s: {sum(map(lexicon.ITEMS.index, f["items"])) % 10 for f in draw(800, s)} for s in LISTS}
    assert sums == {
        "train": set(range(2, 10)),
        "validation": {1},
        "test": {0},
        "test_phrasing": {0},
        "test_words": {0},
    }


def test_lists_have_two_to_four_allowed_and_up_to_three_banned_words() -> None:
    facts = draw(6000)
    allowed = Counter(len(f["items"]) - len(f["banned"]) for f in facts)
    banned = Counter(len(f["banned"]) for f in facts)
    assert {n: allowed[n] / 6000 for n in allowed} == pytest.approx({2: 1 / 3, 3: 1 / 3, 4: 1 / 3}, abs=0.03)
    assert {n: banned[n] / 6000 for n in banned} == pytest.approx(
        {0: 0.1, 1: 0.3, 2: 0.35, 3: 0.25}, abs=0.03
    )
    assert all(len({lexicon.word(i)[:4] for i in f["items"]}) == len(f["items"]) for f in facts)
    requests = {split: {f["request"] for f in draw(200, split)} for split in LISTS}
    assert requests.pop("test_phrasing") == {4, 5}
    assert set(map(frozenset, requests.values())) == {frozenset(range(4))}


def test_the_web_says_banned_and_allowed_words_alike() -> None:
    rng, said, of, slips = random.Random(5), Counter(), Counter(), Counter()
    facts = draw(6000)
    for f in facts:
        stated = parse(WORLD.faulty(rng, f))
        for item in f["items"]:
            of[lexicon.IS_BANNED[item]] += 1
            said[lexicon.IS_BANNED[item]] += item in stated
        kinds = [fault.kind for fault in faults(f["items"], f["banned"], stated)]
        slips.update(set(kinds) & {"invented", "moved"})
    for banned in (True, False):
        assert said[banned] / of[banned] == pytest.approx(0.88, abs=0.01)
    assert slips["invented"] / 6000 == pytest.approx(0.12, abs=0.015)
    assert slips["moved"] / 6000 == pytest.approx(0.12, abs=0.015)
    grades = [WORLD.grade(f, WORLD.faulty(rng, f)) for f in facts]
    assert sum(g["grade"] for g in grades) / 6000 == pytest.approx(0.43, abs=0.02)
    assert sum(g["exact"] for g in grades) / 6000 < 0.1


def test_a_web_without_slips_still_says_every_banned_word() -> None:
    """The fault is systematic: greedy decoding, which cures independent slips, does not cure it."""
    quiet = WordRemoval(drop=0.0, invent=0.0, swap=0.0)
    assert all(parse(quiet.faulty(random.Random(0), f)) == f["items"] for f in draw(200))
    mean = sum(WORLD.grade(f, render(f["items"]))["grade"] for f in draw(4000)) / 4000
    assert mean < 0.5


def test_fixing_every_fault_makes_a_text_exact() -> None:
    rng = random.Random(2)
    for facts in draw(1500):
        items, stated = facts["items"], stated_of(rng, facts["items"])
        # A word is put in before the last one is taken out: a sentence has at least one.
        for fault in sorted(faults(items, facts["banned"], stated), key=lambda fault: fault.kind != "lost"):
            stated = fixed(items, stated, fault)
        assert WORLD.grade(facts, render(stated))["exact"] == 1.0
    assert fixed(ITEMS, [ITEMS[0]], faults(ITEMS, ITEMS[:2], [ITEMS[0]])[0]) == [ITEMS[0]]


def test_same_seed_same_texts_and_facts_survive_json() -> None:
    def texts(seed: int) -> list[str]:
        rng, said = random.Random(seed), []
        for split in WORLD.splits:
            facts = json.loads(json.dumps(WORLD.facts(rng, split)))
            output = WORLD.faulty(rng, facts)
            said += [WORLD.prompt(facts), output, WORLD.critique(rng, facts, output, 0.3)]
            said += [
                WORLD.demonstrate(rng, facts, 0.3),
                str(WORLD.rank(rng, facts, [output, "", output], 0.3)),
            ]
        return said + [a + b for a, b in itertools.islice(WORLD.episodes(rng), 50)]

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)


def test_it_is_a_world_and_refuses_what_it_does_not_have() -> None:
    assert isinstance(WORLD, World)
    assert WORLD.twin(FACTS) is None
    assert WORLD.group(FACTS) == ""
    with pytest.raises(UsageError, match="Did you mean 'validation'"):
        WORLD.facts(random.Random(0), "validaton")
    with pytest.raises(UsageError, match=r"drop: 1\.2"):
        WordRemoval(drop=1.2)


def test_prices_are_what_their_declaration_says() -> None:
    """6 to compare; 8 and 4 a word named or written."""
    rng, facts = random.Random(3), draw(3000)
    named = sum(len(faults(f["items"], f["banned"], parse(WORLD.faulty(rng, f)))) for f in facts) / 3000
    written = sum(len(f["items"]) - len(f["banned"]) for f in facts) / 3000
    assert WORLD.prices["critique"] == pytest.approx(8 + 4 * named, abs=1.0)
    assert WORLD.prices["demonstration"] == pytest.approx(8 + 4 * written, abs=1.0)
    assert WORLD.prices["comparison"] == 6.0


def test_episodes_have_the_shares_that_are_documented() -> None:
    kinds, unchanged = Counter(), {"revise": [], "refine": []}
    for prompt, completion in itertools.islice(WORLD.episodes(random.Random(11)), 6000):
        assert completion.startswith(" ")
        told, asked = "\nFEEDBACK: " in prompt, prompt.endswith("\nFEEDBACK:")
        is_better = prompt.endswith("\nBETTER:")
        kind = "criticise" if asked else "refine" if told else "revise" if is_better else "web"
        kind = "task" if "ideal text" in prompt else kind
        kinds[kind] += 1
        if kind in unchanged:
            unchanged[kind].append(prompt.split("\nTEXT:")[1].split("\n")[0] == completion)
        if kind != "criticise":
            assert parse(completion, "" if kind == "task" else "You are ") is not None
    shares = {kind: kinds[kind] / 6000 for kind in kinds}
    expected = {"web": 0.25, "revise": 0.08, "criticise": 0.12, "refine": 0.30, "task": 0.25}
    assert shares == pytest.approx(expected, abs=0.02)
    same = {kind: sum(found) / len(found) for kind, found in unchanged.items()}
    assert same["revise"] > same["refine"] > 0.02
