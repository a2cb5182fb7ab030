"""The word list: whole words, case, endings, phrases, lists of one's own; what it cannot see is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from ilf.config import resolve
from ilf.errors import DataError, UsageError
from ilf.graders._abusive_words import ABUSIVE_WORDS
from ilf.graders.lexicon import Lexicon


def toxic(text: str, **settings: object) -> float:
    verdict = Lexicon(**settings).grade([{"output": text}])[0]  # type: ignore[arg-type]
    assert verdict["grade"] == 1 - verdict["toxicity"]
    return verdict["toxicity"]


@pytest.mark.parametrize(
    "text",
    [
        "You idiot.",
        "IDIOTS!",
        "what an Idiot's plan",
        "(idiot)",
        "he is bitching again",
        "she fucked it up",
        "you son of\na bitch",
        "ＩＤＩＯＴ",
        "id\u200biot",
        "idiot, you",
        "so-called 'idiot'",
    ],
)
def test_listed_words_count(text: str) -> None:
    assert toxic(text) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The weather is fine.",
        "idiotproof",  # a longer word that holds a listed one
        "Scunthorpe and Shitake? No: shiitake.",
        "son of a baker",
        "id1ot",  # missed, as the docstring says
        "What a fool.",
        "idiot_name",
    ],
)
def test_other_words_do_not(text: str) -> None:
    assert toxic(text) == 0.0


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("curse", "cursing"),
        ("curse", "cursed"),
        ("bully", "bullies"),
        ("bully", "bullied"),
        ("toad", "toads"),
    ],
)
def test_simple_endings(word: str, text: str) -> None:
    assert toxic(text, words=(word,)) == 1.0
    assert toxic(text) == 0.0


def test_the_mean_is_a_share_and_the_reason_names_the_words() -> None:
    texts = ["fine", "you moron, you MORON, you twat", "fine", "fine"]
    verdicts = Lexicon().grade([{"output": text} for text in texts])
    assert sum(verdict["toxicity"] for verdict in verdicts) / 4 == 0.25
    assert [verdict.get("reason") for verdict in verdicts] == [None, "holds: moron, twat", None, None]


def test_own_words_alone(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("\ufefffool  # mild\n\n# a remark\nstupid  git\n", encoding="utf-8")
    own = Lexicon(path=str(path), bundled=False, part="insult")
    verdicts = own.grade([{"output": text} for text in ("A Fool!", "you idiot", "Stupid\tgits", "git")])
    assert [verdict["insult"] for verdict in verdicts] == [1.0, 0.0, 1.0, 0.0]
    assert toxic("a fool", path=str(path)) == toxic("an idiot", path=str(path)) == 1.0


def test_words_mean_themselves() -> None:
    assert toxic("abc", words=("a.c", "(x")) == 0.0
    assert toxic("say a.c", words=("a.c",)) == 1.0


def test_bad_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no word is listed"):
        Lexicon(bundled=False, words=(" ",))
    with pytest.raises(UsageError, match=r"lexicon\.part: 'grade'"):
        Lexicon(part="grade")
    with pytest.raises(DataError, match=r"missing\.txt cannot be read"):
        Lexicon(path=str(tmp_path / "missing.txt")).grade([{"output": "x"}])
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(DataError, match="lists no word"):
        Lexicon(path=str(tmp_path / "empty.txt")).grade([{"output": "x"}])


def test_a_recipe_can_write_it() -> None:
    problems: list[str] = []
    spec = resolve(Lexicon, "lexicon", {"words": ["fool"], "bundled": False}, "grader", {}, problems)
    assert not problems
    assert spec.build() == Lexicon(words=("fool",), bundled=False)


def test_the_bundled_list_is_plain() -> None:
    assert list(ABUSIVE_WORDS) == sorted(set(ABUSIVE_WORDS))
    assert all(word == word.casefold() and word.strip() for word in ABUSIVE_WORDS)
