"""The log of served texts, and telling a model's words from a person's."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ilf import DataError
from ilf.label_studio.served import (
    SERVED,
    Log,
    Served,
    entry,
    is_served,
    origin_of,
    served,
    spaced_like,
    texts_of,
    wait_seconds,
)

MODEL = " Tom, a baker, broke his kettle on Monday and bought a new one for 30 coins."


def made(text: str = "t", item: str = "i", seconds: float = 1.0, **more: Any) -> Served:
    kept = {"model": "m", "task": 1, "person": None} | more
    return entry(item, "c", text, seconds=seconds, **kept)


def test_what_is_logged_is_read_again(tmp_path: Path) -> None:
    """Also text that is hard to write: line ends of all kinds, half an emoji, 50 kB."""
    texts = ["plain", "two\nlines\r\n\u2028end", "half \ud83d", "x" * 50_000, "\x00 nul", ""]
    log = Log(tmp_path / "not" / "there")
    for text in texts:
        log.add(made(text))
    assert [found.text for found in served(tmp_path / "not" / "there")] == texts
    assert served(tmp_path) == []


def test_many_threads_write_whole_lines(tmp_path: Path) -> None:
    log = Log(tmp_path)
    threads = [threading.Thread(target=log.add, args=(made(f"{i} " * 2000),)) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found.text for found in served(tmp_path)) == sorted(f"{i} " * 2000 for i in range(20))


@pytest.mark.parametrize("torn", [b'{"time"', b"\xf0\x9f", b'{"time":"x"}'])
def test_a_torn_last_line_is_dropped(tmp_path: Path, torn: bytes) -> None:
    log = Log(tmp_path)
    log.add(made("whole"))
    with log.path.open("ab") as file:
        file.write(torn)
    assert [found.text for found in served(tmp_path)] == ["whole"]
    Log(tmp_path).add(made("next"))
    assert [found.text for found in served(tmp_path)] == ["whole", "next"]


@pytest.mark.parametrize("broken", ["[]", "1", "{}", "nonsense", '{"time":"yesterday"}'])
def test_a_broken_line_is_named(tmp_path: Path, broken: str) -> None:
    Log(tmp_path).add(made())
    path = tmp_path / SERVED
    path.write_text(f"{broken}\n{path.read_text()}")
    with pytest.raises(DataError, match=r"served.jsonl: line 1 is no record"):
        served(tmp_path)


def test_a_line_of_a_later_version_is_read(tmp_path: Path) -> None:
    Log(tmp_path).add(made())
    path = tmp_path / SERVED
    path.write_text(path.read_text().replace('{"time"', '{"new":1,"time"'))
    assert len(served(tmp_path)) == 1


@pytest.mark.parametrize("text", [MODEL, MODEL.strip(), f"\n{MODEL}  ", MODEL + "\r\n"])
def test_untouched(text: str) -> None:
    assert origin_of(text, ["other", MODEL]) == "prefilled"
    assert is_served(text, ["other", MODEL])


@pytest.mark.parametrize(
    "text",
    [
        MODEL + " Mine.",
        MODEL.replace("baker", "plumber"),
        MODEL.upper(),
        MODEL + " " + " ".join(f"mine{i}" for i in range(200)),
        "Tom, a baker, broke his kettle.",
        "I would say that Tom, a baker, broke his kettle on Monday and bought a new one, which is what the post says.",
        MODEL[: len(MODEL) // 2],
    ],
)
def test_changed(text: str) -> None:
    assert origin_of(text, [MODEL]) == "prefilled-changed"
    assert not is_served(text, [MODEL])


@pytest.mark.parametrize(
    "text", ["The price is missing.", "A kettle broke; Tom, who bakes, had to pay 30.", ""]
)
def test_typed(text: str) -> None:
    assert origin_of(text, [MODEL]) == "typed"
    assert origin_of(MODEL, []) == "typed"


def test_short_texts() -> None:
    assert origin_of("yes", ["yes"]) == "prefilled"
    assert origin_of("YES", ["yes"]) == "prefilled-changed"
    assert origin_of("no", ["yes", "", " "]) == "typed"


@given(some.text(), some.lists(some.text(), max_size=3))
def test_what_was_served_is_never_typed(text: str, others: list[str]) -> None:
    assert origin_of(text, [*others, text]) == "prefilled"
    assert origin_of(text, others) in ("prefilled", "prefilled-changed", "typed")


def test_long_texts_are_compared_in_time() -> None:
    long = " ".join(f"word{i % 5000}" for i in range(100_000))
    started = datetime.now(UTC)
    assert origin_of(long + " mine", [long]) == "prefilled-changed"
    assert datetime.now(UTC) - started < timedelta(seconds=2)


def test_texts_of_an_item_come_once_and_in_order() -> None:
    entries = [made("a"), made("b"), made("a"), made("c", item="other")]
    assert texts_of("i", entries) == ["a", "b"]


def test_the_wait_is_the_persons_own_while_the_task_was_open() -> None:
    now = datetime.now(UTC)
    entries = [
        made(seconds=1.0),
        made(seconds=2.0, person="p-a"),
        made(seconds=4.0, person="p-b"),
        made(item="j"),
    ]
    assert wait_seconds("i", entries) == 7.0
    assert wait_seconds("i", entries, person="p-a") == 3.0, "what nobody known waited for counts"
    minute = timedelta(minutes=1)
    assert wait_seconds("i", entries, since=now - minute, until=now + minute) == 7.0
    assert wait_seconds("i", entries, since=now + minute) == 0.0
    assert wait_seconds("i", entries, until=now - minute) == 0.0
    assert wait_seconds("i", entries, since=now + timedelta(seconds=3)) == 7.0, "clocks differ a little"


def test_a_critique_is_told_by_its_hash_and_text() -> None:
    from ilf.records import digest

    assert made().critique_hash == digest("c", 16)
    assert datetime.fromisoformat(made().time).tzinfo is not None


@pytest.mark.parametrize(
    ("text", "model_text", "spaced"),
    [
        ("She fell.", " She", " She fell."),
        (" She", " He", " She"),
        ("She", "He", "She"),
        ("She", "", "She"),
        ("x", "\n\ny", "\n\nx"),
    ],
)
def test_a_persons_text_begins_as_the_models(text: str, model_text: str, spaced: str) -> None:
    assert spaced_like(text, model_text) == spaced


def test_a_served_text_is_nobodys_critique() -> None:
    from ilf.label_studio.answers import read

    row = {"id": "r", "prompt": "P", "output": " o", "served": [MODEL]}

    def said(text: str) -> str:
        entry = {"from_name": "critique", "to_name": "output", "type": "textarea", "value": {"text": [text]}}
        return read("critique", [entry | {"origin": "manual"}], row).state

    assert said(MODEL.strip()) == said(MODEL) == "invalid"
    assert said("The price is missing.") == "usable"
