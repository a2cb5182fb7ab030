"""A classifier of one's own: probabilities against a plain forward pass, labels, pairs, texts too long."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from tiny_classifiers import LABELS, tiny_classifier, tiny_roberta
from tiny_models import tiny_model

from ilf.errors import ComponentError, UsageError
from ilf.graders.classifier import Classifier

TEXTS = [
    "Anna broke her lamp.",
    "",
    "What a fool.",
    "Tom paid 40 coins for the kettle, and then 270 more.",
    "a",
    "a",
]
ROWS = [{"output": text, "prompt": f"POST: {text[::-1]} x"} for text in TEXTS]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def folder(base: Path) -> Path:
    return tiny_classifier(base.parent / "classifier", base)


def logits(folder: Path, *texts: str) -> Any:
    """One text, or a pair, on its own, without any of our code."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    inputs = tokenizer(*texts, return_tensors="pt")
    with torch.no_grad():
        return (
            model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[0].double()
        )


def test_probability_of_the_label(folder: Path) -> None:
    verdicts = Classifier(model=str(folder), label="TOXIC", batch_size=4).grade(ROWS)
    for text, verdict in zip(TEXTS, verdicts, strict=True):
        expected = float(logits(folder, text or "<|endoftext|>").softmax(-1)[1])
        assert verdict["toxicity"] == pytest.approx(expected, abs=1e-4)
        assert verdict["grade"] == pytest.approx(1 - expected, abs=1e-4)
        assert verdict["toxicity_truncated"] == 0.0
    assert len({verdict["toxicity"] for verdict in verdicts}) > 3, "the tiny classifier tells texts apart"


def test_labels_by_name_and_number_sum_to_one(folder: Path) -> None:
    by_name = [Classifier(model=str(folder), label=name).grade(ROWS) for name in LABELS]
    assert Classifier(model=str(folder), label="2").grade(ROWS) == by_name[2]
    for verdicts in zip(*by_name, strict=True):
        assert sum(verdict["toxicity"] for verdict in verdicts) == pytest.approx(1, abs=2e-4)


def test_part_and_direction(folder: Path) -> None:
    verdict = Classifier(model=str(folder), label="fine", part="truthfulness", better="higher").grade(ROWS)[0]
    assert verdict["grade"] == verdict["truthfulness"]
    assert "toxicity" not in verdict


def test_labels_each_for_themselves(folder: Path, base: Path, tmp_path: Path) -> None:
    each = float(logits(folder, TEXTS[0]).sigmoid()[1])
    found = Classifier(model=str(folder), label="toxic", scores="sigmoid").grade(ROWS)[0]["toxicity"]
    assert found == pytest.approx(each, abs=1e-4)
    told = tiny_classifier(tmp_path / "each", base, problem_type="multi_label_classification")
    assert Classifier(model=str(told), label="toxic").grade(ROWS)[0]["toxicity"] == pytest.approx(
        each, abs=1e-4
    )
    one = tiny_classifier(tmp_path / "one", base, labels=("toxic",))
    verdict = Classifier(model=str(one), label="toxic").grade(ROWS)[0]
    assert verdict["toxicity"] == pytest.approx(float(logits(one, TEXTS[0]).sigmoid()[0]), abs=1e-4)


def test_a_pair_of_premise_and_text(folder: Path) -> None:
    grader = Classifier(model=str(folder), label="toxic", premise="{prompt}", text="So: {output}")
    assert grader.needs == ("prompt",)
    found = grader.grade(ROWS)[0]["toxicity"]
    expected = float(logits(folder, ROWS[0]["prompt"], f"So: {TEXTS[0]}").softmax(-1)[1])
    assert found == pytest.approx(expected, abs=1e-4)


def test_cut_texts_are_flagged_and_counted(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    grader = Classifier(model=str(folder), label="toxic", max_tokens=8)
    with caplog.at_level(logging.WARNING):
        verdicts = grader.grade(ROWS)
    assert [verdict["toxicity_truncated"] for verdict in verdicts] == [1.0, 0.0, 1.0, 1.0, 0.0, 0.0]
    assert "3 of 6 texts are too long" in caplog.text
    assert verdicts[0]["reason"] == "the text was too long and was cut"
    # What stands behind the cut does not count.
    longer = grader.grade([{"output": TEXTS[0] + " And more."}])[0]
    assert longer["toxicity"] == verdicts[0]["toxicity"]


def test_a_pair_too_long_loses_the_premises_end(folder: Path) -> None:
    grader = Classifier(model=str(folder), label="toxic", premise="{prompt}", max_tokens=12)
    rows = [{"prompt": "Anna the cook from Brimley" + tail, "output": "a lamp"} for tail in (" had", " paid")]
    verdicts = grader.grade([{**row, "prompt": row["prompt"] + " x" * 30} for row in rows])
    assert verdicts[0]["toxicity_truncated"] == 1.0
    other = grader.grade([{**rows[0], "prompt": rows[0]["prompt"] + " x" * 30, "output": "a kettle"}])[0]
    assert other["toxicity"] != verdicts[0]["toxicity"], "the text itself is read whole"
    alone = grader.grade([{"prompt": "p", "output": "word " * 40}, {"prompt": "p", "output": "a"}])
    assert alone[0]["toxicity"] is None
    assert alone[0]["reason"] == "the text alone is longer than the classifier reads"
    assert alone[1]["toxicity"] is not None


def test_positions_behind_the_padding_are_reckoned(base: Path, tmp_path: Path) -> None:
    """40 positions, the padding's number is 1: only 38 tokens can be read."""
    encoder = tiny_roberta(tmp_path / "roberta", base, positions=40)
    grader = Classifier(model=str(encoder), label="toxic")
    verdicts = grader.grade([{"output": "é" * n} for n in (19, 20, 60)])
    assert grader._loaded.room == 38
    assert [verdict["toxicity_truncated"] for verdict in verdicts] == [0.0, 1.0, 1.0]


def test_a_missing_column_is_told(folder: Path) -> None:
    grader = Classifier(model=str(folder), label="toxic", premise="{source}")
    verdicts = grader.grade([{"output": "a", "source": None}, {"output": "a", "source": "b"}])
    assert verdicts[0] == {"grade": None, "toxicity": None, "reason": "no 'source'"}
    assert verdicts[1]["toxicity"] is not None


def test_bad_settings_and_models_are_refused(folder: Path, base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"classifier\.label"):
        Classifier(model=str(folder))
    with pytest.raises(UsageError, match=r"no \{output\}"):
        Classifier(model=str(folder), label="toxic", text="{prompt}")
    with pytest.raises(
        ComponentError, match="(?s)no label 'toxik'.*Did you mean 'toxic'.*fine, toxic, unclear"
    ):
        Classifier(model=str(folder), label="toxik").grade(ROWS)
    with pytest.raises(ComponentError, match=r"no classifier: it has no weights for score\.weight"):
        Classifier(model=str(base), label="0").grade(ROWS)
    with pytest.raises(ComponentError, match="cannot be loaded"):
        Classifier(model=str(tmp_path / "nothing"), label="0").grade(ROWS)
