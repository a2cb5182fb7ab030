"""heeded against its definition, one log-probability at a time; and what it forgives."""

from __future__ import annotations

import math
from itertools import chain

import pytest
from tiny_models import tiny_model

from rankers import Heeded, Likelihood, RankerError
from rankers._lm import completion_logprobs, load

ROWS = [
    {
        "id": "a",
        "prompt": "I broke the kettle.\nTL;DR:",
        "output": " Tom broke a lamp.",
        "critique": "Hm, it was a kettle; say\nwhat it cost. ",
    },
    {"id": "b", "prompt": "Anna lost her hat.\nTL;DR:", "output": " A hat.", "critique": "say whose hat"},
]
CANDIDATES = [
    [" Tom broke a kettle.", " Tom broke a lamp.", " Tom.", " Tom."],
    [" Anna lost her hat.", " A {critique}"],
]
#: What is said up to the end of each clause.
BEGINNINGS = [
    [" Hm,", " Hm, it was a kettle;", " Hm, it was a kettle; say\nwhat it cost."],
    [" say whose hat"],
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model(tmp_path_factory.mktemp("lm") / "llama", "llama"))


@pytest.fixture(scope="module")
def logp(model):
    lm = load(model)
    return lambda prompt, text, **how: completion_logprobs(lm, [(prompt, text)], **how)[0]


def told(logp, row, text):
    return logp(f"{row['prompt']}{row['output']}\nFEEDBACK: {row['critique']}\nBETTER:", text)


def clauses(logp, row, beginnings, text, critic="{}{}\nFEEDBACK:"):
    sums = [logp(critic.format(row["prompt"], text), said, eos=False) for said in beginnings]
    return [b - a for a, b in zip([0.0, *sums], sums, strict=False)]


def expected(logp, forgiven):
    return [
        [
            told(logp, row, text)
            + sum(
                math.log(1 - (1 - forgiven) * min(1.0, math.exp(now - before)))
                for now, before in zip(
                    clauses(logp, row, said, text), clauses(logp, row, said, row["output"]), strict=True
                )
            )
            for text in texts
        ]
        for row, said, texts in zip(ROWS, BEGINNINGS, CANDIDATES, strict=True)
    ]


def close(found, wanted):
    assert [len(row) for row in found] == [len(row) for row in wanted]
    assert list(chain(*found)) == pytest.approx(list(chain(*wanted)), abs=1e-5, rel=1e-5)


@pytest.mark.parametrize("forgiven", [0.1, 0.5])
def test_it_is_its_definition(model, logp, forgiven):
    close(Heeded(model=model, forgiven=forgiven).score(ROWS, CANDIDATES), expected(logp, forgiven))


def test_without_the_critic_it_is_the_summed_likelihood(model, logp):
    wanted = [[told(logp, row, text) for text in texts] for row, texts in zip(ROWS, CANDIDATES, strict=True)]
    close(Heeded(model=model, forgiven=1.0).score(ROWS, CANDIDATES), wanted)
    means = Likelihood(model=model).score(ROWS, CANDIDATES)
    assert [s / m for s, m in zip(wanted[1], means[1], strict=True)] == pytest.approx(
        [len(load(model).completion_ids(text, eos=True)) for text in CANDIDATES[1]]
    )


def test_a_candidate_that_changes_nothing_pays_for_every_clause(model, logp):
    """The output itself deserves each clause as it did before."""
    found = Heeded(model=model, forgiven=0.1).score(ROWS[:1], [[ROWS[0]["output"]]])[0][0]
    assert found == pytest.approx(told(logp, ROWS[0], ROWS[0]["output"]) + 3 * math.log(0.1), abs=1e-4)


def test_a_critics_form_that_ends_open_takes_no_space(model, logp):
    form = "{prompt}{output}\nWhat is wrong with it?\n"
    row, texts = ROWS[1], CANDIDATES[1]
    found = Heeded(model=model, critic_form=form).score([row], [texts])[0]
    at = [
        clauses(logp, row, ["say whose hat"], t, "{}{}\nWhat is wrong with it?\n")[0]
        for t in (row["output"], *texts)
    ]
    assert found == pytest.approx(
        [
            told(logp, row, text) + math.log(1 - 0.9 * min(1.0, math.exp(now - at[0])))
            for text, now in zip(texts, at[1:], strict=True)
        ],
        abs=1e-5,
    )


def test_texts_too_long_have_no_score(model):
    row = {**ROWS[0], "critique": "no " * 3000}
    assert all(math.isnan(score) for score in Heeded(model=model).score([row], [CANDIDATES[0]])[0])


def test_what_is_refused():
    for forgiven in (0.0, 1.5):
        with pytest.raises(RankerError, match=r"heeded.forgiven.*\(0, 1\]"):
            Heeded(forgiven=forgiven)
    with pytest.raises(RankerError, match="heeded.critic_form: nothing fills {critic}"):
        Heeded(critic_form="{prompt}{critic}")
