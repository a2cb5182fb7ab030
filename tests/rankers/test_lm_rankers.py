"""fixpoint, likelihood, critique_perplexity, judge: against their definitions, by one log-probability at a time."""

from __future__ import annotations

import math
from itertools import chain
from statistics import fmean

import pytest
from tiny_models import tiny_model

from rankers import CritiquePerplexity, Fixpoint, Judge, Likelihood, RankerError
from rankers._lm import completion_logprobs, fill, load
from rankers.judge import QUESTIONS

ROWS = [
    {
        "id": "a",
        "prompt": "I am Tom. I broke the kettle. It cost 270 coins.\nTL;DR:",
        "output": " Tom broke a lamp.",
        "critique": "it was a kettle, {output}",
    },
    {
        "id": "b",
        "prompt": [{"role": "user", "content": "Sum up: Anna lost her hat."}],
        "output": " A hat.",
        "critique": "say whose hat",
    },
]
CANDIDATES = [
    [" Tom broke a kettle.", " Tom broke a lamp.", " Tom."],
    [" Anna lost her hat.", " A hat {prompt}"],
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model(tmp_path_factory.mktemp("lm") / "llama", "llama"))


@pytest.fixture(scope="module")
def logp(model):
    """(prompt, completion) -> log-probability, one at a time; its own batching is tested in test_lm_logprobs."""
    lm = load(model)

    def one(prompt, completion, **how):
        return completion_logprobs(lm, [(prompt, completion)], **how)[0]

    one.lm = lm
    return one


def _each(function):
    return [
        [function("user: Sum up: Anna lost her hat." if q["id"] == "b" else q["prompt"], q, x) for x in texts]
        for q, texts in zip(ROWS, CANDIDATES, strict=True)
    ]


def _close(found, expected):
    assert [len(row) for row in found] == [len(row) for row in expected]
    assert list(chain(*found)) == pytest.approx(list(chain(*expected)), abs=1e-5, rel=1e-5)


def test_fixpoint(model, logp):
    """log p(x1 | post, x1 as the output, same critique): the output itself plays no part."""
    expected = _each(lambda c, q, x: logp(f"{c}{x}\nFEEDBACK: {q['critique']}\nBETTER:", x))
    _close(Fixpoint(model=model).score(ROWS, CANDIDATES), expected)
    elsewhere = [{**q, "output": "something else"} for q in ROWS]
    _close(Fixpoint(model=model).score(elsewhere, CANDIDATES), expected)


def test_fixpoint_without_the_critique_is_a_form(model, logp):
    control = Fixpoint(model=model, refine_form="{prompt}{output}\nBETTER:")
    assert not control.needs_critique
    assert Fixpoint().needs_critique
    unsaid = [{k: v for k, v in q.items() if k != "critique"} for q in ROWS]
    _close(control.score(unsaid, CANDIDATES), _each(lambda c, q, x: logp(f"{c}{x}\nBETTER:", x)))


def test_likelihood(model, logp):
    told = _each(lambda c, q, x: logp(f"{c}{q['output']}\nFEEDBACK: {q['critique']}\nBETTER:", x, mean=True))
    _close(Likelihood(model=model).score(ROWS, CANDIDATES), told)
    unasked = _each(lambda c, q, x: logp(c, x, mean=True))
    gained = [[a - b for a, b in zip(*pair, strict=True)] for pair in zip(told, unasked, strict=True)]
    _close(Likelihood(model=model, subtract_answer=True).score(ROWS, CANDIDATES), gained)


def test_critique_perplexity(model, logp):
    """Log-perplexity of the critique for a critic who sees the candidate: one space joins it to the nano form."""
    at = _each(lambda c, q, x: -logp(f"{c}{x}\nFEEDBACK:", f" {q['critique']}", mean=True))
    _close(CritiquePerplexity(model=model).score(ROWS, CANDIDATES), at)
    before = _each(lambda c, q, x: -logp(f"{c}{q['output']}\nFEEDBACK:", f" {q['critique']}", mean=True))
    risen = [[a - b for a, b in zip(*pair, strict=True)] for pair in zip(at, before, strict=True)]
    found = CritiquePerplexity(model=model, subtract_output=True).score(ROWS, CANDIDATES)
    _close(found, risen)
    # The second candidate of the first row is the output itself.
    assert found[0][1] == 0.0


def test_critique_perplexity_puts_no_space_behind_an_open_form(model, logp):
    form = "{prompt}{output}\nWhat is wrong with it?\n"
    expected = _each(lambda c, q, x: -logp(f"{c}{x}\nWhat is wrong with it?\n", q["critique"], mean=True))
    _close(CritiquePerplexity(model=model, critic_form=form).score(ROWS, CANDIDATES), expected)


def test_judge_is_the_mean_log_odds_over_its_questions(model, logp):
    def odds(c, q, x):
        values = []
        for question, (yes, no) in zip(
            QUESTIONS,
            [(" Yes", " No")] * 2 + [(" True", " False"), (" Yes", " No"), (" True", " False")],
            strict=True,
        ):
            filled = fill(question, {**q, "prompt": c, "refinement": x})
            values.append(logp(filled, yes, eos=False) - logp(filled, no, eos=False))
        return values

    each = _each(odds)
    _close(Judge(model=model).score(ROWS, CANDIDATES), [[fmean(v) for v in row] for row in each])
    as_probabilities = [[fmean(1 / (1 + math.exp(-o)) for o in v) for v in row] for row in each]
    _close(Judge(model=model, average="probability").score(ROWS, CANDIDATES), as_probabilities)


def test_every_question_shows_the_judge_everything():
    texts = {"prompt": "<p>", "output": "<o>", "critique": "<c>", "refinement": "<r>"}
    assert len(set(QUESTIONS)) == 5
    for question in QUESTIONS:
        assert all(text in fill(question, texts) for text in texts.values())


def test_judge_with_one_word_only_is_its_log_probability(model, logp):
    """How the nano model judges: would it say that nothing is wrong?"""
    judge = Judge(
        model=model, questions=("{prompt}{refinement}\nFEEDBACK:",), yes=(" nothing to change",), no=("",)
    )
    assert not judge.needs_critique
    expected = _each(lambda c, q, x: logp(f"{c}{x}\nFEEDBACK:", " nothing to change", eos=False))
    _close(judge.score(ROWS, CANDIDATES), expected)


def test_judge_in_a_chat_answers_without_a_leading_space(tmp_path):
    folder = str(tiny_model(tmp_path / "chat", "llama", chat=True))
    lm = load(folder)
    judge = Judge(model=folder, questions=("{refinement}?",), yes=(" Yes",), no=(" No",))
    yes, no = completion_logprobs(lm, [(" Tom.?", "Yes"), (" Tom.?", "No")], eos=False)
    assert judge.score([{"id": "a"}], [[" Tom."]])[0][0] == pytest.approx(yes - no, abs=1e-5)
    assert Judge(model=folder, questions=("{refinement}?",), chat="never", yes=(" Yes",), no=(" No",)).score(
        [{"id": "a"}], [[" Tom."]]
    )[0][0] != pytest.approx(yes - no, abs=1e-3)


@pytest.mark.parametrize("ranker", [Fixpoint, Likelihood, CritiquePerplexity, Judge])
def test_a_model_is_asked_for_only_when_needed(ranker):
    assert ranker().score([], []) == []
    assert ranker().score(ROWS, [[], []]) == [[], []]
    with pytest.raises(RankerError, match="needs model=<folder or hub id>"):
        ranker().score(ROWS, CANDIDATES)


@pytest.mark.parametrize("ranker", [Fixpoint, Likelihood, CritiquePerplexity, Judge])
def test_missing_columns_name_the_query(ranker, model):
    with pytest.raises(RankerError, match="'a' has no critique"):
        ranker(model=model).score([{"id": "a", "prompt": "x", "output": "y"}], [["z"]])
    with pytest.raises(RankerError, match="'a' has no prompt"):
        ranker(model=model).score([{"id": "a", "output": "y", "critique": "w"}], [["z"]])


@pytest.mark.parametrize("ranker", [Fixpoint, Likelihood, CritiquePerplexity, Judge])
def test_rows_without_a_critique_tie_among_others(ranker, model):
    mixed = ranker(model=model).score([ROWS[0], {**ROWS[1], "critique": None}], CANDIDATES)
    assert mixed[1] == [0.0, 0.0]
    assert mixed[0] == pytest.approx(ranker(model=model).score(ROWS[:1], CANDIDATES[:1])[0], abs=1e-5)


def test_misspelt_placeholders_are_found_before_any_work():
    with pytest.raises(
        RankerError, match=r"fixpoint.refine_form: nothing fills \{critque\}. Did you mean \{critique\}"
    ):
        Fixpoint(refine_form="{prompt}{critque}")
    with pytest.raises(RankerError, match="judge.questions"):
        Judge(questions=("{answer}?",), yes=("a",), no=("b",))


def test_settings_of_the_judge_fit_together():
    with pytest.raises(RankerError, match="judge.yes: 5 for 1"):
        Judge(questions=("{refinement}?",))
    with pytest.raises(RankerError, match="at least one question"):
        Judge(questions=())
    with pytest.raises(RankerError, match="empty"):
        Judge(yes=("",))


def test_a_model_is_loaded_once_for_several_rankers(model):
    one, two = Fixpoint(model=model), Likelihood(model=model)
    assert one.lm is two.lm
