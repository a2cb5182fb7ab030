"""The wire of ilf assist, driven as Label Studio drives it and as nobody should: answers, refusals, limits."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ilf import DataError, UsageError, refine
from ilf._assist.server import USER, Limits, Server
from ilf.assist import Assistant, Rewriter, critique_in, rewrite_control
from ilf.label_studio import served

SECRET = "a-secret-of-this-test"
CONFIG = '<View><TextArea name="critique" toName="output"/><TextArea toName="output" name="rewrite"/></View>'
Reply = tuple[int, Any]


@dataclass(frozen=True)
class Writer:
    """Answers with the last line but one of its prompt; some critiques make it slow, fail or silent."""

    prompts: list[str] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)

    def generate(self, prompts: Sequence[Any], n: int, seeds: Sequence[int]) -> list[list[str]]:
        (prompt,) = prompts
        self.prompts.append(prompt)
        if "SLOW" in prompt:
            assert self.go_on.wait(20)
        if "FAIL" in prompt:
            raise RuntimeError("the text of a prompt: " + prompt)
        if "LONG" in prompt:
            raise DataError("leaves no room: " + prompt)
        return [["  " if "MUTE" in prompt else f" rewritten {seeds[0] % 1000}"] * n]


ROWS = {f"item{i}": {"id": f"r{i}", "prompt": f"P{i}", "output": f" o{i}"} for i in range(3)}


@dataclass(frozen=True)
class Running:
    """A server at work, what it said, and the folder where it writes."""

    server: Server
    folder: Path
    writer: Writer
    said: list[str]

    def ask(self, method: str, path: str, body: bytes | str | None = None, **headers: str) -> Reply:
        """A request with the secret (or ``Authorization=...``); the status and the JSON that came back."""
        token = base64.b64encode(f"{USER}:{SECRET}".encode()).decode()
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_address[1], timeout=20)
        connection.request(method, path, body, {"Authorization": f"Basic {token}"} | headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"null")

    def predict(self, critique: Any, item: str = "item0", **more: Any) -> Reply:
        """What a page asks when a critique is committed."""
        return self.ask("POST", "/predict", json.dumps(request(critique, item) | more))


def request(critique: Any, item: str = "item0") -> dict[str, Any]:
    entry = {"from_name": "critique", "to_name": "output", "type": "textarea", "value": {"text": [critique]}}
    params = {"login": None, "password": None, "context": {"result": [entry]}}
    return {"tasks": [{"id": 7, "data": {"ilf_id": item}}], "label_config": CONFIG, "params": params}


def text_of(reply: Reply) -> str:
    status, body = reply
    assert status == 200, body
    (result,) = body["results"][0]["result"]
    assert {k: result[k] for k in ("from_name", "to_name", "type")} == {
        "from_name": "rewrite",
        "to_name": "output",
        "type": "textarea",
    }
    return str(result["value"]["text"][0])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    with contextlib.ExitStack() as stack:

        def begin(**how: Any) -> Running:
            writer, said = Writer(), []
            assistant = Assistant(Rewriter(ROWS, writer, "base"), tmp_path / "people", said.append, **how)
            server = assistant.server(SECRET)
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            stack.callback(writer.go_on.set)
            return Running(server, tmp_path / "people", writer, said)

        yield begin


def test_health_setup_and_webhook(start: Callable[..., Running]) -> None:
    running = start()
    assert running.ask("GET", "/health") == (200, {"status": "UP"})
    setup = json.dumps(
        {"project": "1.2", "schema": CONFIG, "access_token": "the-owners-key", "extra_params": None}
    )
    status, answer = running.ask("POST", "/setup", setup)
    assert status == 200
    assert answer["model_version"].startswith("ilf-")
    assert running.ask("POST", "/webhook", '{"action": "ANNOTATION_CREATED"}')[0] == 200
    assert "the-owners-key" not in "".join(running.said)


def test_a_critique_is_answered_as_refine_would_ask(start: Callable[..., Running]) -> None:
    """The same prompt as the recipe's refine step: from our row and the critique, nothing of the page."""
    running = start()
    hostile = {"ilf_id": "item1", "prompt": "not ours", "output": "not ours"}
    text = text_of(running.predict("shorter", tasks=[{"id": 7, "data": hostile}]))
    prompts: list[str] = []

    class Ear:
        def generate(self, asked: Sequence[Any], n: int, seeds: Sequence[int]) -> list[list[str]]:
            prompts.extend(asked)
            return [["x"]] * len(asked)

    list(refine([{**ROWS["item1"], "critique": "shorter"}], generator=Ear(), n=1, form="base"))
    assert running.writer.prompts == prompts
    (logged,) = served.served(running.folder)
    assert (logged.item, logged.task, logged.critique, logged.text) == ("item1", 7, "shorter", text)
    assert 0 <= logged.seconds < 5


def test_the_same_critique_gets_the_same_rewrite_and_another_another(start: Callable[..., Running]) -> None:
    running = start()
    first, again, other = (text_of(running.predict(said)) for said in ("a", "a", "b"))
    assert first == again != other
    assert len(running.writer.prompts) == 2, "what was written is remembered"
    assert [entry.critique for entry in served.served(running.folder)] == ["a", "a", "b"], "but logged"


def test_a_refine_page_criticises_the_rewrite_that_it_shows() -> None:
    writer = Writer()
    row = ROWS["item0"] | {"refinements": [" shown", " other"]}
    Rewriter({"i": row}, writer, "base", job="refine").rewrite("i", "shorter")
    assert " shown" in writer.prompts[0]
    assert " o0" not in writer.prompts[0]
    with pytest.raises(UsageError, match="nobody criticises in the job 'rate'"):
        Rewriter({}, writer, "base", job="rate")


@pytest.mark.parametrize("context", [{"result": []}, {"result": None}, {}])
def test_other_things_that_a_page_sends_get_an_empty_answer(
    start: Callable[..., Running], context: Any
) -> None:
    """A mark, an edited rewrite, a page that is left: nothing to say, and nothing that would be stored."""
    running = start()
    status, body = running.ask(
        "POST", "/predict", json.dumps(request("x") | {"params": {"context": context}})
    )
    assert (status, body["results"][0]["result"]) == (200, [])
    edited = {"from_name": "rewrite", "value": {"text": ["x"]}}
    body = json.dumps(request("x") | {"params": {"context": {"result": [edited]}}})
    assert running.ask("POST", "/predict", body)[1]["results"][0]["result"] == []
    assert text_of(running.predict("x")), "and it works all the same"
    assert running.predict(" \n")[1]["results"][0]["result"] == [], "a blank critique"


def test_opening_a_page_makes_no_prediction(start: Callable[..., Running]) -> None:
    tasks = request("x")["tasks"] * 3
    body = json.dumps({"tasks": tasks, "label_config": CONFIG, "params": {"context": None}})
    assert start().ask("POST", "/predict", body) == (200, {"results": [[], [], []]})


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic aWxmOndyb25n",
        "Bearer x",
        f"Basic {SECRET}",
        "Basic \xff",
        f"Basic {USER}:{SECRET}",
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/health"), ("POST", "/predict"), ("POST", "/setup"), ("GET", "/x")]
)
def test_without_the_secret_nothing(
    start: Callable[..., Running], authorization: str, method: str, path: str
) -> None:
    running = start()
    body = json.dumps(request("x")) if method == "POST" else None
    status, answer = running.ask(method, path, body, Authorization=authorization)
    assert (status, answer) == (401, {"error": "wrong user or password"})
    assert not running.writer.prompts
    assert SECRET not in "".join(running.said)


HOSTILE: dict[str, tuple[int, bytes | str]] = {
    "not JSON": (400, "<xml/>"),
    "nothing": (400, ""),
    "no UTF-8": (400, b"\xff\xfe\xfd"),
    "a list": (400, "[]"),
    "nested 10,000 deep": (400, '{"tasks":' + "[" * 10_000 + "]" * 10_000 + "}"),
    "nested objects": (400, '{"a":' * 10_000 + "1" + "}" * 10_000),
    "a number of 5,000 digits": (400, '{"tasks": ' + "9" * 5_000 + "}"),
    "no tasks": (400, "{}"),
    "tasks are a text": (400, '{"tasks": "x"}'),
    "a task is a number": (400, '{"tasks": [1]}'),
    "params are a list": (400, '{"tasks": [], "params": []}'),
    "context is a text": (400, '{"tasks": [], "params": {"context": "x"}}'),
    "a context without a task": (400, '{"tasks": [], "params": {"context": {"result": []}}}'),
    "no data": (400, json.dumps(request("x") | {"tasks": [{"id": 1}]})),
    "an id that is a list": (400, json.dumps(request("x") | {"tasks": [{"id": 1, "data": {"ilf_id": []}}]})),
    "result is a text": (400, json.dumps(request("x") | {"params": {"context": {"result": "x"}}})),
    "an entry is a text": (400, json.dumps(request("x") | {"params": {"context": {"result": ["x"]}}})),
    "a critique is a number": (400, json.dumps(request(7))),
    "a value is a text": (400, json.dumps(request("x")).replace('{"text": ["x"]}', '"x"')),
    "a task of nobody": (404, json.dumps(request("x", "elsewhere"))),
    "a page without a place": (422, json.dumps(request("x") | {"label_config": "<View/>"})),
    "a page that is a number": (422, json.dumps(request("x") | {"label_config": 5})),
    "101 tasks": (413, json.dumps(request("x") | {"tasks": request("x")["tasks"] * 101})),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_are_refused_and_the_next_is_answered(
    start: Callable[..., Running], name: str
) -> None:
    running = start()
    status, body = HOSTILE[name]
    found, answer = running.ask("POST", "/predict", body)
    assert (found, set(answer)) == (status, {"error"})
    assert text_of(running.predict("x")).startswith(" rewritten")


def test_texts_that_no_tokenizer_takes_are_mended(start: Callable[..., Running]) -> None:
    running = start()
    body = json.dumps(request("half \ud83d of an emoji, nul \x00, {prompt} {output}"))
    assert text_of(running.ask("POST", "/predict", body))
    (prompt,) = running.writer.prompts
    prompt.encode("utf-8")
    assert "{prompt} {output}" in prompt, "braces of a critique stay what they are"


def test_a_body_that_is_too_large_is_refused_before_it_is_read(start: Callable[..., Running]) -> None:
    running = start(limits=Limits(body_bytes=1000))
    assert running.ask("POST", "/predict", b"x" * 5_000_000)[0] == 413
    assert running.ask("POST", "/predict", b"x" * 1001)[0] == 413
    assert running.ask("POST", "/predict", b"x" * 1000)[0] == 400
    assert text_of(running.predict("x"))


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 40, "²"])
def test_a_length_that_is_none_is_refused(start: Callable[..., Running], length: str) -> None:
    running = start()
    token = base64.b64encode(f"{USER}:{SECRET}".encode())
    with socket.create_connection(running.server.server_address[:2], timeout=10) as line:
        line.sendall(b"POST /predict HTTP/1.1\r\nAuthorization: Basic " + token + b"\r\nContent-Length: ")
        line.sendall(length.encode() + b"\r\n\r\n")
        assert line.recv(100).split(b" ")[1] == b"411"


@pytest.mark.parametrize(
    "sent", [b"", b"POST /predict HTTP/1.1\r\n", b"nonsense\r\n\r\n", b"GET " + b"x" * 70_000 + b"\r\n"]
)
def test_senders_that_stop_or_stammer_hold_nobody_up(start: Callable[..., Running], sent: bytes) -> None:
    """Unfinished requests, more of them than may be open, are cut off; meanwhile others are told to come again."""
    running = start(limits=Limits(connections=4, read_seconds=0.5))
    lines = [socket.create_connection(running.server.server_address[:2], timeout=10) for _ in range(6)]
    for line in lines:
        with contextlib.suppress(OSError):
            line.sendall(sent)
    time.sleep(1.2)
    assert text_of(running.predict("x"))
    for line in lines:
        line.close()


def test_a_sender_of_a_byte_a_second_is_cut_off(start: Callable[..., Running]) -> None:
    """Though it never pauses for long: all of a request has its time."""
    running = start(limits=Limits(read_seconds=0.8))
    token = base64.b64encode(f"{USER}:{SECRET}".encode())
    begun = time.monotonic()
    with socket.create_connection(running.server.server_address[:2], timeout=10) as line:

        def trickle() -> None:
            with contextlib.suppress(OSError):
                for _ in range(30):
                    line.sendall(b" ")
                    time.sleep(0.1)

        line.sendall(
            b"POST /predict HTTP/1.1\r\nAuthorization: Basic " + token + b"\r\nContent-Length: 900\r\n\r\n"
        )
        sender = threading.Thread(target=trickle)
        sender.start()
        assert line.recv(100).split(b" ")[1] == b"408"
        assert time.monotonic() - begun < 2.0
        sender.join()


def test_one_failing_request_harms_no_other(start: Callable[..., Running]) -> None:
    running = start()
    failed = running.predict("FAIL of a person")
    assert failed[0] == 500
    assert "RuntimeError" in failed[1]["error"]
    assert running.predict("LONG")[0] == 422
    assert running.predict("MUTE")[0] == 422
    assert text_of(running.predict("x"))
    said = "".join(running.said)
    assert "of a person" not in said + json.dumps(failed[1]), "what people write is not told in errors"
    assert [entry.critique for entry in served.served(running.folder)] == ["x"], "only what was shown"


def test_a_request_that_takes_too_long_gets_a_clean_refusal(start: Callable[..., Running]) -> None:
    running = start(seconds=0.5)
    assert running.predict("SLOW")[0] == 504
    assert running.ask("GET", "/health")[0] == 200, "while the model is still at it"
    running.writer.go_on.set()
    assert text_of(running.predict("x", "item1"))


def test_what_nobody_waits_for_any_more_is_not_begun(start: Callable[..., Running]) -> None:
    running = start(seconds=0.4)
    slow = threading.Thread(target=running.predict, args=("SLOW",))
    slow.start()
    time.sleep(0.1)
    assert running.predict("given up")[0] == 504
    running.writer.go_on.set()
    slow.join()
    assert text_of(running.predict("x"))
    assert not any("given up" in prompt for prompt in running.writer.prompts)


def test_the_queue_has_an_end(start: Callable[..., Running]) -> None:
    running = start(waiting=2)
    replies: list[Reply] = []

    def ask(critique: str) -> None:
        replies.append(running.predict(critique))

    threads = [threading.Thread(target=ask, args=("SLOW",))]
    threads[0].start()
    while not running.writer.prompts:
        time.sleep(0.01)
    threads += [threading.Thread(target=ask, args=(f"waits {i}",)) for i in range(5)]
    for thread in threads[1:]:
        thread.start()
    deadline = time.monotonic() + 5
    while len(replies) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [status for status, _ in replies] == [503] * 3
    running.writer.go_on.set()
    for thread in threads:
        thread.join()
    assert sorted(status for status, _ in replies) == [200] * 3 + [503] * 3


def test_nothing_is_shown_that_is_not_in_the_log(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = start()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ilf.label_studio.served.os.fsync", full)
    assert running.predict("x") == (507, {"error": "served.jsonl cannot be written: No space left on device"})
    monkeypatch.undo()
    assert text_of(running.predict("y"))
    assert [entry.critique for entry in served.served(running.folder)] == ["y"]


def test_it_listens_on_loopback_only(start: Callable[..., Running]) -> None:
    assert start().server.server_address[0] == "127.0.0.1"


def test_the_person_is_known_where_the_task_brings_their_draft(start: Callable[..., Running]) -> None:
    from ilf.label_studio.events import pseudonym

    running = start()
    draft = {"created_username": " ann@ilf.invalid, 12", "result": []}
    running.predict("x", tasks=[{"id": 7, "data": {"ilf_id": "item0"}, "drafts": [draft]}])
    running.predict("y", tasks=[{"id": 7, "data": {"ilf_id": "item0"}, "drafts": ["nonsense"]}])
    known = [entry.person for entry in served.served(running.folder)]
    assert known == [pseudonym(running.folder, 12), None]
    assert "ann" not in (running.folder / served.SERVED).read_text(encoding="utf-8")


def test_a_port_that_is_taken_is_told(start: Callable[..., Running], tmp_path: Path) -> None:
    port = start().server.server_address[1]
    with pytest.raises(UsageError, match=f"--port {port}: Address already in use"):
        Assistant(Rewriter(ROWS, Writer(), "base"), tmp_path).server("x", port)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (CONFIG, "output"),
        ("<TextArea\n name='rewrite'\n toName='refinement' rows=\"2\"/>", "refinement"),
        ('<TextArea name="rewrite2" toName="x"/>', None),
        ('<Text name="rewrite" toName="x"/>', None),
        ("", None),
        (None, None),
    ],
)
def test_the_place_for_a_rewrite_is_read_from_the_page(config: Any, name: str | None) -> None:
    assert rewrite_control(config) == name


def test_several_lines_of_a_critique_are_one() -> None:
    entry = {"from_name": "critique", "value": {"text": ["a", "b"]}}
    assert critique_in({"result": [entry, {"from_name": "rewrite", "value": {"text": ["no"]}}]}) == "a\nb"
