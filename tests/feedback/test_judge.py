"""A model as annotator: both orders, where they agree, and what its rows say."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_model

from ilf.collect import collect, columns
from ilf.errors import ComponentError, DataError, UsageError
from ilf.feedback import judge as module
from ilf.feedback.judge import QUESTIONS, Judge

Row = dict[str, Any]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("judge") / "tiny", chat=True)


def row(*outputs: str, prompt: Any = "Which number is it?", name: str = "r") -> Row:
    return {"id": name, "sample_id": name, "prompt": prompt, "output": outputs[0], "outputs": list(outputs)}


def one(judge: Judge, job: str, *outputs: str, **more: Any) -> Row:
    (found,) = judge.pull([row(*outputs, **more)], job, 0, Path())
    return found


class Mind:
    """Stands in for the model: log odds for the answer shown first, from its text and the other's."""

    def __init__(self, value: dict[str, float], first: float = 0.0) -> None:
        self.value, self.first = value, first
        self.asked: list[tuple[str, str]] = []

    def __call__(self, lm: Any, pairs: Sequence[tuple[str, str]], **settings: Any) -> list[float]:
        self.asked += pairs
        assert settings["eos"] is False
        found = []
        for prompt, word in pairs:
            at = sorted((prompt.index(text), text) for text in self.value if text in prompt)
            odds = self.value[at[0][1]] - self.value[at[1][1]] + self.first
            is_first = word.strip() in ("A", "1", "first")
            found.append(-math.log1p(math.exp(-odds if is_first else odds)))
        return found


@pytest.fixture
def think(monkeypatch: pytest.MonkeyPatch) -> Any:
    def set_to(value: dict[str, float], first: float = 0.0) -> Mind:
        mind = Mind(value, first)
        monkeypatch.setattr(module, "completion_logprobs", mind)
        return mind

    return set_to


def test_an_answer_wins_where_both_orders_say_so(model: Path, think: Any) -> None:
    judge = Judge(str(model), device="cpu")
    mind = think({"seven": 2.0, "eight": 0.0})
    found = one(judge, "verdict", "it is seven", "it is eight")
    assert (found["ranking"], found["flipped"]) == ([[0], [1]], False)
    assert found["probability"] == pytest.approx(1 / (1 + math.exp(-2.0)), abs=1e-6)
    other = one(judge, "pairwise", "it is eight", "it is seven")
    assert (other["ranking"], other["flipped"]) == ([[1], [0]], False)
    assert other["probability"] == pytest.approx(1 - found["probability"], abs=1e-6)
    shown = [prompt for prompt, _ in mind.asked[: 4 * len(QUESTIONS)]]
    firsts = [prompt.index("seven") < prompt.index("eight") for prompt in shown]
    assert firsts.count(True) == firsts.count(False) == 2 * len(QUESTIONS), "every question in both orders"


def test_where_the_order_decides_it_is_a_tie(model: Path, think: Any) -> None:
    think({"seven": 1.0, "eight": 0.0}, first=3.0)
    found = one(Judge(str(model), device="cpu"), "verdict", "it is seven", "it is eight")
    assert (found["ranking"], found["flipped"]) == ([[0, 1]], True)
    expected = (1 / (1 + math.exp(-4.0)) + 1 - 1 / (1 + math.exp(-2.0))) / 2
    assert found["probability"] == pytest.approx(expected, abs=1e-6)
    think({"seven": 0.0, "eight": 0.0})
    undecided = one(Judge(str(model), device="cpu"), "verdict", "it is seven", "it is eight")
    assert (undecided["ranking"], undecided["flipped"], undecided["probability"]) == ([[0, 1]], False, 0.5)


def test_equal_texts_tie_unasked(model: Path, think: Any) -> None:
    mind = think({"seven": 1.0}, first=5.0)
    found = one(Judge(str(model), device="cpu"), "verdict", " seven", "seven")
    assert (found["ranking"], found["flipped"], found["probability"]) == ([[0, 1]], False, 0.5)
    assert not mind.asked


def test_a_ranking_counts_what_each_output_wins(model: Path, think: Any) -> None:
    think({"six": 0.0, "seven": 9.0, "eight": 5.0, "nine": 5.0})
    found = one(Judge(str(model), device="cpu"), "rank", "six", "seven", "eight", "nine")
    assert found["ranking"] == [[1], [2, 3], [0]]
    assert "probability" not in found
    assert one(Judge(str(model), device="cpu"), "rank", "six")["ranking"] == [[0]]


def test_rows_say_who_judged_and_that_nobody_spent_time(model: Path) -> None:
    judge = Judge(str(model), device="cpu")
    asked = row("it is seven", "it is eight", prompt=[{"role": "user", "content": "Which number is it?"}])
    (found,) = collect([asked], feedback=judge, job="verdict")
    assert {key: found[key] for key in asked if key != "id"} == {k: v for k, v in asked.items() if k != "id"}
    assert (found["annotator"], found["seconds"], found["job"]) == ("judge:tiny", 0.0, "verdict")
    assert judge.price("verdict", 2) == 0.0
    assert 0 < found["probability"] < 1
    assert found["ranking"] in ([[0], [1]], [[1], [0]], [[0, 1]])
    assert Judge("org/model").annotator == "judge:org/model"


def test_a_models_name_is_its_steps_and_no_path(tmp_path: Path) -> None:
    (tmp_path / "train-30649c5c94" / "model").mkdir(parents=True)
    judge = Judge(str(tmp_path / "train-30649c5c94" / "model"))
    assert judge.annotator == "judge:train-30649c5c94"


def test_a_row_does_not_depend_on_the_others(model: Path) -> None:
    judge = Judge(str(model), device="cpu")
    rows = [row(f"it is {'very ' * i}seven", "eight", name=f"r{i}") for i in range(5)]
    together = list(judge.pull(rows, "verdict", 0, Path()))
    fresh = copy.deepcopy(judge)
    assert [next(fresh.pull([one_], "verdict", 0, Path())) for one_ in rows] == together


def test_what_is_too_long_gets_no_row_and_is_counted(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    judge = Judge(str(model), device="cpu")
    rows = [row("seven", "eight"), row("seven " * 300, "eight", name="long")]
    found = list(judge.pull(rows, "verdict", 0, Path()))
    assert [r["sample_id"] for r in found] == ["r"]
    assert "1 of 2 rows are too long for the model (512 tokens) and were not judged" in caplog.text
    with pytest.raises(DataError, match="all 1 rows are too long"):
        list(judge.pull(rows[1:], "verdict", 0, Path()))


def test_in_a_chat_the_words_begin_a_message(model: Path, think: Any) -> None:
    mind = think({"seven": 1.0, "eight": 0.0})
    one(Judge(str(model), device="cpu"), "verdict", "seven", "eight")
    assert {word for _, word in mind.asked} == {"A", "B", "1", "2", "first", "second"}
    one(Judge(str(model), device="cpu", chat="never"), "verdict", "seven", "eight")
    assert {" A", " B"} < {word for _, word in mind.asked}


def test_what_cannot_be_asked_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ComponentError, match=r"judge: model .* cannot be loaded.*Name a folder"):
        _ = Judge(str(tmp_path / "none"), device="cpu").lm
    with pytest.raises(ComponentError, match="judge needs model="):
        _ = Judge("").lm
    with pytest.raises(DataError, match="row r has 3 outputs; verdict needs two"):
        one(Judge(str(model), device="cpu"), "verdict", "a", "b", "c")
    with pytest.raises(UsageError, match="needs {first} and {second}"):
        Judge("m", questions=("{prompt} {first}",))
    with pytest.raises(UsageError, match="nothing fills {third}"):
        Judge("m", questions=("{first} {second} {third}",))
    with pytest.raises(UsageError, match="at least one question"):
        Judge("m", questions=())
    with pytest.raises(UsageError, match=r"judge\.second: needs one word, or one for each of the 3"):
        Judge("m", second=(" B", " 2"))
    with pytest.raises(UsageError, match=r"judge\.first"):
        Judge("m", first=(" ",))
    with pytest.raises(UsageError, match="does not do the job 'critique'"):
        columns({"job": "critique", "feedback": Judge("m")})
