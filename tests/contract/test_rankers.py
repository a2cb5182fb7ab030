"""What every ranker promises. Runs over each file of rankers/ and ilf/rankers/: a new one needs no edit here.

Settings without a default get a value by their type, and ``model`` a tiny random one; see ``_value_for``.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib
import math
import pickle
import typing
from itertools import chain
from pathlib import Path

import pytest
from tiny_models import tiny_model, tiny_reward_model

import ilf.rankers
import rankers
from rankers import Chance, Length, best, missing_model

FILES = [
    f"{package.__name__}.{path.stem}"
    for package in (rankers, ilf.rankers)
    for path in sorted(Path(package.__file__).parent.glob("[!_]*.py"))
]

QUERIES = [
    {
        "id": f"row-{i}",
        "prompt": f"I am {name}. I broke the {thing}. It cost {price} coins.\nTL;DR:",
        "output": f" {name} broke a {thing}.",
        "critique": critique,
        "facts": {"name": name, "price": price},
    }
    for i, (name, thing, price, critique) in enumerate(
        [
            ("Tom", "kettle", 270, "The price is missing."),
            ("Anna", "lamp", 40, "It was her own lamp, and it cost 40 coins."),
            ("Zoë", "Geschäftsfahrrad", 9, "no insults, please 🙏"),
            ("Tom", "kettle", 270, "The price is missing."),
            ("Bo", "hat", 590, "Nothing to change"),
        ]
    )
]
CANDIDATES = [
    [" Tom broke a kettle.", " Tom broke a kettle, which cost 270 coins.", " Tom paid 270 for it."],
    [
        " Anna broke her lamp, paid 40 coins.",
        " Anna broke a lamp.",
        "",
        " Anna broke her lamp, paid 40 coins.",
    ],
    [" Zoë zerbrach ein Geschäftsfahrrad."],
    [],
    [" Bo has a hat with {braces} and\nlines.", " What a fool. " * 12],
]


class _ByLength:
    """A grader that reads facts, for the one ranker that may: text length over the price."""

    def grade(self, rows):
        return [{"grade": 1 / (1 + len(row["output"]) / row["facts"]["price"])} for row in rows]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model(tmp_path_factory.mktemp("rankers") / "llama", "llama"))


def ranker_class(name):
    module = importlib.import_module(name)
    public = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and value.__module__ == name
        and not value.__name__.startswith("_")
        and dataclasses.is_dataclass(value)
    ]
    assert len(public) == 1, f"{name}: one public dataclass, not {[c.__name__ for c in public]}"
    return public[0]


def _value_for(hint):
    family = getattr(hint, "__name__", "")
    if family == "Ranker":
        return Length()
    if family == "Grader":
        return _ByLength()
    if typing.get_origin(hint) is tuple:
        return (Length(), Chance())
    raise AssertionError(
        f"give this setting of type {hint} a default, or teach tests/contract/test_rankers.py one"
    )


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory, model):
    return str(tiny_reward_model(tmp_path_factory.mktemp("rankers") / "reward", model))


@pytest.fixture
def build(request, model, reward_model):
    """Makes the ranker of one file; keyword arguments replace settings."""
    kind = ranker_class(request.param)
    hints = typing.get_type_hints(kind)

    def make(**settings):
        for field in dataclasses.fields(kind):
            if field.name == "model":
                settings.setdefault("model", reward_model if kind.__name__ == "Reward" else model)
            elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                settings.setdefault(field.name, _value_for(hints[field.name]))
        return kind(**settings)

    make.kind = kind
    return make


each = pytest.mark.parametrize("build", FILES, indirect=True)


def _alike(found, expected):
    assert [len(row) for row in found] == [len(row) for row in expected]
    assert list(chain(*found)) == pytest.approx(list(chain(*expected)), abs=1e-5, rel=1e-5)


def _reads_a_grader(kind):
    return any(getattr(hint, "__name__", "") == "Grader" for hint in typing.get_type_hints(kind).values())


@each
def test_is_one_frozen_dataclass_named_like_its_file(build):
    kind = build.kind
    stem = kind.__module__.rpartition(".")[2]
    assert kind.__name__ == "".join(word.capitalize() for word in stem.split("_"))
    assert kind.__dataclass_params__.frozen
    summary = (kind.__doc__ or "").partition("\n")[0]
    assert summary.endswith(".")
    assert not summary.startswith(f"{kind.__name__}("), "dataclass wrote this docstring, nobody else did"
    assert type(kind.revision) is int
    assert kind.revision >= 1
    assert isinstance(build().needs_critique, bool)
    assert isinstance(build(), rankers.Ranker)
    with pytest.raises(dataclasses.FrozenInstanceError):
        build().anything = 1


@each
def test_scores_have_the_shape_of_the_candidates_and_are_finite_floats(build):
    scores = build().score(QUERIES, CANDIDATES)
    assert type(scores) is list
    assert [len(row) for row in scores] == [len(row) for row in CANDIDATES]
    for score in chain(*scores):
        assert type(score) is float
        assert math.isfinite(score)


@each
def test_nothing_to_rank_is_fine(build):
    assert build().score([], []) == []
    assert build().score(QUERIES[:2], [[], []]) == [[], []]


@each
def test_unequal_numbers_of_queries_and_candidates_are_refused(build):
    with pytest.raises(ValueError, match=r"."):
        build().score(QUERIES, CANDIDATES[:-1])


@each
def test_rows_one_by_one_score_as_together(build):
    ranker = build()
    alone = [ranker.score([q], [texts])[0] for q, texts in zip(QUERIES, CANDIDATES, strict=True)]
    _alike(alone, ranker.score(QUERIES, CANDIDATES))


@each
def test_the_order_of_queries_does_not_matter(build):
    ranker = build()
    order = [3, 0, 4, 2, 1]
    permuted = ranker.score([QUERIES[i] for i in order], [CANDIDATES[i] for i in order])
    _alike(permuted, [ranker.score(QUERIES, CANDIDATES)[i] for i in order])


@each
def test_the_same_again_gives_the_same(build):
    assert build().score(QUERIES, CANDIDATES) == build().score(QUERIES, CANDIDATES)


@each
def test_rows_are_left_as_they_are(build):
    queries, candidates = copy.deepcopy(QUERIES), copy.deepcopy(CANDIDATES)
    build().score(queries, candidates)
    assert queries == QUERIES
    assert candidates == CANDIDATES


@each
def test_ground_truth_is_not_read(build):
    """Only a ranker that is handed a grader may see facts; for all others they might as well be missing."""
    if _reads_a_grader(build.kind):
        with pytest.raises(KeyError):
            build().score([{k: v for k, v in q.items() if k != "facts"} for q in QUERIES], CANDIDATES)
        return

    class Poison(dict):
        def _refuse(self, *_):
            raise AssertionError("a ranker read the facts of a row")

        __getitem__ = __iter__ = get = items = keys = values = __contains__ = _refuse

    poisoned = [{**q, "facts": Poison(q["facts"])} for q in QUERIES]
    without = [{k: v for k, v in q.items() if k != "facts"} for q in QUERIES]
    assert build().score(without, CANDIDATES) == build().score(poisoned, CANDIDATES)


@each
def test_candidates_of_a_row_without_a_critique_tie(build):
    ranker = build()
    if not ranker.needs_critique:
        unsaid = [{k: v for k, v in q.items() if k != "critique"} for q in QUERIES]
        assert ranker.score(unsaid, CANDIDATES) == ranker.score(QUERIES, CANDIDATES)
        return
    for critique in (None, ""):
        for row in ranker.score([{**q, "critique": critique} for q in QUERIES], CANDIDATES):
            assert len(set(row)) <= 1


@each
def test_settings_travel_and_weights_do_not(build):
    ranker = build()
    before = pickle.dumps(ranker)
    scores = ranker.score(QUERIES, CANDIDATES)
    after = pickle.dumps(ranker)
    assert len(after) < len(before) + 200
    copied = pickle.loads(after)  # noqa: S301 - made two lines above
    assert copied == ranker == build() or _reads_a_grader(build.kind)
    assert copied.score(QUERIES, CANDIDATES) == scores
    assert hash(ranker) == hash(ranker)
    assert hash(build()) == hash(ranker) or _reads_a_grader(build.kind)


@each
def test_settings_that_stay_out_of_the_address_change_nothing(build, tmp_path):
    """``field(compare=False)`` says that a setting is for speed alone; the proof is here."""
    values = {"batch_size": 1, "cache": str(tmp_path)}
    expected = build().score(QUERIES, CANDIDATES)
    for field in dataclasses.fields(build.kind):
        if not field.compare:
            changed = functools.partial(build, **{field.name: values[field.name]})
            for _ in range(2):
                _alike(changed().score(QUERIES, CANDIDATES), expected)
            assert changed() == build()


@each
def test_a_model_is_asked_for_by_name(build):
    if "model" not in {field.name for field in dataclasses.fields(build.kind)}:
        assert missing_model(build()) is None
        return
    assert missing_model(build()) is None
    assert "needs model=<folder or hub id>" in missing_model(build(model=""))
    with pytest.raises(rankers.RankerError, match="needs model=<folder or hub id>"):
        build(model="").score(QUERIES, CANDIDATES)


@each
def test_best_takes_what_score_gives(build):
    for texts, scores in zip(CANDIDATES, build().score(QUERIES, CANDIDATES), strict=True):
        if texts:
            assert best(scores, 1).candidate in range(len(texts))
