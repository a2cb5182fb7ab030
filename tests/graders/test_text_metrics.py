"""ROUGE, exact match, token F1, chrF: hand-computed values and brute force, as graders and as metrics."""

from __future__ import annotations

import importlib
import itertools
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilf.errors import ComponentError, UsageError
from ilf.graders.chrf import Chrf
from ilf.graders.exact_match import ExactMatch
from ilf.graders.rouge import Rouge
from ilf.graders.token_f1 import TokenF1

ROOT = Path(__file__).parent.parent.parent
BY_NAME: dict[str, type] = {"rouge": Rouge, "exact_match": ExactMatch, "token_f1": TokenF1, "chrf": Chrf}
GRADERS = tuple(BY_NAME.values())
WORDS = st.lists(st.sampled_from(["a", "bee", "c3", "dog"]), max_size=6).map(" ".join)


def graded(grader: Any, output: str, reference: Any) -> dict[str, Any]:
    return dict(grader.grade([{"output": output, "reference": reference}])[0])


# ---------------------------------------------------------------- ROUGE


def test_rouge_by_hand() -> None:
    # output: the cat sat on the mat (6 words); reference: the cat is on the mat (6 words).
    # In common: the x2, cat, on, mat = 5 words of 6; 'the cat', 'on the', 'the mat' = 3 bigrams of 5.
    # Longest common subsequence: the cat on the mat = 5.
    verdict = graded(Rouge(), " The cat sat on the mat.", "The cat is on the mat.")
    assert verdict == pytest.approx({"grade": 5 / 6, "rouge1": 5 / 6, "rouge2": 3 / 5, "rougeL": 5 / 6})


def test_rouge_l_sees_order_and_lengths() -> None:
    # Two words in common: P = 1, R = 2/3, F = 4/5; longest common subsequence 1: P = 1/2, R = 1/3, F = 2/5.
    verdict = graded(Rouge(measure="rouge1"), "b a", "a b c")
    assert verdict == pytest.approx({"grade": 0.8, "rouge1": 0.8, "rouge2": 0.0, "rougeL": 0.4})


def ngrams(words: list[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def f_measure(common: int, left: int, right: int) -> float:
    return 2 * common / (left + right) if common else 0.0


def longest_common(left: list[str], right: list[str]) -> int:
    """By trying every subsequence: the definition, exponential."""
    for size in range(min(len(left), len(right)), 0, -1):
        if set(itertools.combinations(left, size)) & set(itertools.combinations(right, size)):
            return size
    return 0


@settings(max_examples=60, deadline=None)
@given(output=WORDS, reference=WORDS.filter(bool))
def test_rouge_against_brute_force(output: str, reference: str) -> None:
    left, right = output.split(), reference.split()
    verdict = graded(Rouge(), output, reference)
    for n in (1, 2):
        common = (ngrams(left, n) & ngrams(right, n)).total()
        expected = f_measure(common, max(len(left) - n + 1, 0), max(len(right) - n + 1, 0))
        assert verdict[f"rouge{n}"] == pytest.approx(expected)
    assert verdict["rougeL"] == pytest.approx(f_measure(longest_common(left, right), len(left), len(right)))


def test_rouge_stems_on_request() -> None:
    assert graded(Rouge(measure="rouge1"), "dogs barking", "dog barked")["grade"] == 0.0
    # 'dogs' has four letters and is stemmed to 'dog'; 'barking' and 'barked' both to 'bark'.
    assert graded(Rouge(measure="rouge1", stem=True), "dogs barking", "dog barked")["grade"] == 1.0


def test_rouge_does_not_grade_what_it_cannot_read() -> None:
    verdict = graded(Rouge(), "日本", "日本")
    assert verdict["grade"] is None
    assert "use chrf" in verdict["reason"]
    assert graded(Chrf(), "日本", "日本")["grade"] == 1.0
    assert graded(Rouge(), "日本", "Japan")["grade"] == 0.0


def test_missing_package_is_found_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    with pytest.raises(ComponentError, match=r"rouge-score: pip install 'ilf\[metrics\]'"):
        Rouge()


# ---------------------------------------------------------------- exact match, token F1


@pytest.mark.parametrize(
    ("options", "output", "reference", "expected"),
    [
        ({}, " You are a nice person.", "You are a nice person.", 1.0),
        ({}, "You are  a\nnice person.", "You are a nice person.", 1.0),
        ({}, "you are a nice person.", "You are a nice person.", 0.0),
        ({}, "You are a nice person", "You are a nice person.", 0.0),
        ({"ignore_case": True}, "STRASSE", "straße", 1.0),
        ({"ignore_spaces": False}, "a  b", "a b", 0.0),
        ({"ignore_spaces": False}, "\na b\n", "a b", 1.0),
        ({}, "", "a", 0.0),
    ],
)
def test_exact_match(options: dict[str, bool], output: str, reference: str, expected: float) -> None:
    assert graded(ExactMatch(**options), output, reference) == {"grade": expected, "exact_match": expected}


def test_token_f1_by_hand() -> None:
    # bags {a: 2, b: 1} and {a: 1, b: 1, c: 1}: 2 in common, P = R = 2/3.
    assert graded(TokenF1(), "a B a", "b, a; c!")["grade"] == pytest.approx(2 / 3)
    assert graded(TokenF1(), "", "a")["grade"] == 0.0
    assert graded(TokenF1(), "日本 東京", "東京")["grade"] == pytest.approx(2 / 3)


def test_token_f1_of_a_reference_without_words_is_unknown() -> None:
    assert graded(TokenF1(), "...", "...") == {
        "grade": None,
        "reason": "the reference has no letters or digits",
    }


@settings(max_examples=60, deadline=None)
@given(output=WORDS, reference=WORDS.filter(bool))
def test_token_f1_is_rouge_1_on_plain_words(output: str, reference: str) -> None:
    assert graded(TokenF1(), output, reference)["grade"] == pytest.approx(
        graded(Rouge(measure="rouge1"), output, reference)["grade"]
    )


# ---------------------------------------------------------------- chrF


def test_chrf_by_hand() -> None:
    # 'abc' | 'abd': n=1 2/3, n=2 1/2 (ab), n=3 0/1, on both sides: P = R = 7/18, so any F-beta is 7/18.
    assert graded(Chrf(), "a bc", "ab d")["grade"] == pytest.approx(7 / 18)
    # 'ab' | 'abab': n=1: 2/2, 2/4; n=2: 1/1, 1/3. P = 1, R = 5/12; F2 = 5 PR / (4 P + R).
    assert graded(Chrf(), "ab", "abab")["grade"] == pytest.approx(5 * (5 / 12) / (4 + 5 / 12))


@pytest.mark.parametrize(
    ("output", "reference", "expected"),
    [
        ("The cat sat on the mat.", "The cat is on the mat.", 67.17273492330233),
        ("Tom broke his kettle.", "Tom broke the kettle, it cost 270 coins.", 34.30896923633027),
    ],
)
def test_chrf_is_that_of_sacrebleu(output: str, reference: str, expected: float) -> None:
    """Printed by sacrebleu 2's ``CHRF().sentence_score`` (in percent)."""
    assert 100 * graded(Chrf(), output, reference)["grade"] == pytest.approx(expected, abs=1e-9)


def chrf_by_pairing(output: str, reference: str, order: int, beta: float) -> float:
    """The definition, matching n-grams one by one instead of counting them."""
    left, right = "".join(output.split()), "".join(reference.split())
    shares = []
    for n in range(1, order + 1):
        mine = [left[i : i + n] for i in range(len(left) - n + 1)]
        theirs = [right[i : i + n] for i in range(len(right) - n + 1)]
        if mine and theirs:
            open_ones, matched = list(theirs), 0
            for gram in mine:
                if gram in open_ones:
                    open_ones.remove(gram)
                    matched += 1
            shares.append((matched / len(mine), matched / len(theirs)))
    if not shares:
        return 0.0
    precision, recall = (math.fsum(s[i] for s in shares) / len(shares) for i in (0, 1))
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall) if precision + recall else 0.0


@settings(max_examples=100, deadline=None)
@given(
    output=st.text("ab é", max_size=12),
    reference=st.text("ab é", max_size=12).filter(str.strip),
    order=st.integers(1, 7),
    beta=st.sampled_from([0.5, 1.0, 2.0, 3.0]),
)
def test_chrf_against_brute_force(output: str, reference: str, order: int, beta: float) -> None:
    assert graded(Chrf(order=order, beta=beta), output, reference)["grade"] == pytest.approx(
        chrf_by_pairing(output, reference, order, beta), abs=1e-12
    )


def test_chrf_refuses_settings_without_meaning() -> None:
    for bad in ({"order": 0}, {"beta": 0.0}, {"beta": float("nan")}):
        with pytest.raises(UsageError, match="chrf"):
            Chrf(**bad)  # type: ignore[arg-type]


# ---------------------------------------------------------------- what all of them do


@pytest.mark.parametrize("kind", GRADERS)
def test_no_reference_is_no_grade(kind: type) -> None:
    for reference, reason in [
        (None, "no 'reference'"),
        (" \n", "'reference' is empty"),
        (["a"], "'reference' is list, must be text"),
        (3, "'reference' is int, must be text"),
    ]:
        assert graded(kind(), "a", reference) == {"grade": None, "reason": reason}
    assert kind().grade([{"output": "a"}]) == [{"grade": None, "reason": "no 'reference'"}]


@pytest.mark.parametrize("kind", GRADERS)
def test_the_column_is_a_setting(kind: type) -> None:
    grader = kind(reference="summary")
    assert grader.needs == ("summary",)
    assert grader.grade([{"output": "a b", "summary": "a b", "reference": "c"}])[0]["grade"] == 1.0


@pytest.mark.parametrize("kind", GRADERS)
@pytest.mark.parametrize("text", ["a", "one two three", "1"])
def test_a_text_against_itself_is_faultless(kind: type, text: str) -> None:
    assert graded(kind(), text, text)["grade"] == 1.0


# ---------------------------------------------------------------- the faces for `evaluate`

PREDICTIONS = [" The cat sat on the mat.", "b a", "x", "日本"]
REFERENCES = ["The cat is on the mat.", "a b c", "x", "日本"]


def metric(name: str) -> Any:
    return getattr(importlib.import_module(f"ilf.metrics.{name}"), BY_NAME[name].__name__)


@pytest.mark.parametrize("name", BY_NAME)
def test_metric_and_grader_agree_pair_by_pair(name: str) -> None:
    verdicts = BY_NAME[name]().grade(
        [{"output": p, "reference": r} for p, r in zip(PREDICTIONS, REFERENCES, strict=True)]
    )
    found = metric(name)().compute(predictions=PREDICTIONS, references=REFERENCES, use_aggregator=False)
    for part, values in found.items():
        assert values == [verdict.get(part) for verdict in verdicts]


def test_metric_aggregates_what_has_a_value_and_counts_the_rest() -> None:
    found = metric("rouge")(keep_in_memory=True).compute(predictions=PREDICTIONS, references=REFERENCES)
    assert found == pytest.approx(
        {"rouge1": (5 / 6 + 0.8 + 1) / 3, "rouge2": 0.6 / 3, "rougeL": (5 / 6 + 0.4 + 1) / 3, "unmeasured": 1}
    )
    nothing = metric("rouge")(keep_in_memory=True).compute(predictions=[], references=[])
    assert nothing == {"rouge1": None, "rouge2": None, "rougeL": None, "unmeasured": 0}


def test_metric_takes_the_settings_of_its_measure() -> None:
    compute = metric("exact_match")(keep_in_memory=True).compute
    assert compute(predictions=["A"], references=["a"])["exact_match"] == 0.0
    assert compute(predictions=["A"], references=["a"], ignore_case=True)["exact_match"] == 1.0
    with pytest.raises(TypeError, match="ignore_cas"):
        compute(predictions=["A"], references=["a"], ignore_cas=True)


def test_metric_refuses_what_is_no_text() -> None:
    import evaluate

    rouge = metric("rouge")(keep_in_memory=True)
    assert isinstance(rouge, evaluate.Metric)
    with pytest.raises(ValueError, match="expected format"):
        rouge.compute(predictions=["a"], references=[3])
    with pytest.raises(ValueError, match="Mismatch"):
        metric("rouge")(keep_in_memory=True).compute(predictions=["a"], references=["a", "b"])


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    return done.stdout + done.stderr


def test_graders_do_not_import_evaluate() -> None:
    """It costs seconds; the graders need the formulas alone."""
    code = (
        "import sys\n"
        "from ilf.graders.rouge import Rouge\nfrom ilf.graders.chrf import Chrf\n"
        "Rouge().grade([{'output': 'a', 'reference': 'a'}])\n"
        "print([n for n in ('evaluate', 'datasets', 'torch', 'transformers') if n in sys.modules])"
    )
    assert run_python(code).strip() == "[]"


def test_metric_without_evaluate_names_the_extra() -> None:
    code = "import sys\nsys.modules['evaluate'] = None\nimport ilf.metrics.chrf"
    assert "ComponentError: ilf.metrics needs the package evaluate: pip install 'ilf[metrics]'" in run_python(
        code
    )
