"""The wire: both kinds of key, addresses, failures that are said without a secret, and what is tried again."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from breaking_proxy import BreakingProxy

from ilf.errors import ComponentError, Unreachable
from ilf.label_studio import connection
from ilf.label_studio.connection import Absent, Patience, Refused, Unsure, access, connect, items_refused
from ilf.label_studio.server import Access

SECRET = "s3cret-key-0123456789abcdef0123456789abcd"
pytestmark = pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated")
QUICK = Patience(request_seconds=10, seconds=1.0, first_pause=0.05, longest_pause=0.2)


@contextlib.contextmanager
def connected(url: str, key: str, patience: Patience = QUICK) -> Iterator[connection.Connection]:
    link = connect(Access(url, key, connection.URL), patience)
    try:
        yield link
    finally:
        link.close()


def environment(monkeypatch: pytest.MonkeyPatch, url: str, key: str) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", key)


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ILF_STATE_DIR", str(tmp_path))


def test_without_a_server_it_says_how_to_get_one(nothing_runs: None) -> None:
    with pytest.raises(ComponentError, match="ilf label-studio start"):
        access()


@pytest.mark.parametrize("name", ["LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"])
def test_half_an_environment_is_refused(
    name: str, nothing_runs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, SECRET)
    with pytest.raises(ComponentError, match=f"{name} is set") as found:
        access()
    assert SECRET not in str(found.value)


def test_a_key_with_a_line_break_is_stripped(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, "http://127.0.0.1:1/", f" {SECRET}\r\n")
    assert access().key == SECRET
    assert access().url == "http://127.0.0.1:1"
    assert SECRET not in repr(access())


@pytest.mark.parametrize("key", [f"{SECRET}\n{SECRET}", f"{SECRET} x", f"{SECRET}é", f"{SECRET}\x00"])
def test_a_key_that_cannot_be_one_is_refused_unseen(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "\x00" not in key:  # the environment cannot hold it
        environment(monkeypatch, "http://127.0.0.1:1", key)
        with pytest.raises(ComponentError, match="Copy it again") as found:
            access()
        assert SECRET not in str(found.value)
    with pytest.raises(ComponentError, match="Copy it again") as found:
        connect(Access("http://127.0.0.1:1", key, "a test"))
    assert_no_secret(found.value)


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:8080", "ftp://x", "http://", "http://x:99999", "http://x/?token=s3cret-key-x", "http://a b"],
)
def test_an_address_that_is_none_is_refused_unseen(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, url, SECRET)
    with pytest.raises(ComponentError, match="not the address of a server") as found:
        access()
    assert "s3cret" not in str(found.value)


def assert_no_secret(error: BaseException, *secrets: str) -> None:
    """Neither in the message nor in an error that a traceback would show before it."""
    for secret in (SECRET, *secrets):
        assert secret not in f"{error} {error!r}"
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


def test_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    started = time.monotonic()
    with pytest.raises(Unreachable, match=r"http://127.0.0.1:1 does not answer \(ConnectError\)") as found:
        connect(Access("http://127.0.0.1:1", SECRET, connection.URL), QUICK)
    assert_no_secret(found.value)
    assert time.monotonic() - started < 5


def test_a_user_and_a_password_in_the_address_are_never_shown() -> None:
    with pytest.raises(Unreachable) as found:
        connect(Access("http://ann:hunter2@127.0.0.1:1", SECRET, connection.URL), QUICK)
    assert_no_secret(found.value, "hunter2", "ann:")


def test_a_server_that_is_something_else(tmp_path: Path) -> None:
    import functools
    import threading
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    (tmp_path / "api/current-user").mkdir(parents=True)
    (tmp_path / "api/current-user/whoami").write_text("<html>Welcome</html>")
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(ComponentError, match="Is there really a Label Studio") as found:
            connect(Access(f"http://127.0.0.1:{server.server_address[1]}", SECRET, connection.URL), QUICK)
        server.shutdown()
    assert_no_secret(found.value)


def test_what_an_import_says_of_its_items() -> None:
    error = Refused(
        "refused",
        {"validation_errors": {"non_field_errors": ['Error at item 3: "x" is missing :: {"a": "text"}']}},
    )
    assert items_refused(error) == [(3, '"x" is missing')]


pytest_slow = pytest.mark.slow


@pytest_slow
def test_a_legacy_token(studio: Any) -> None:
    with connected(studio.url, studio.key + "\n") as link:
        assert link.get("me", "/api/current-user/whoami")["id"] == link.user
        assert link.url == studio.url


def personal_token(studio: Any) -> str:
    with studio.client() as client:
        client.post("/api/jwt/settings", json={"api_tokens_enabled": True, "legacy_api_tokens_enabled": True})
        found = client.post("/api/token/")
        if found.status_code == 409:
            pytest.fail("the server's owner has a token already")
        return str(found.json()["token"])


@pytest.fixture(scope="module")
def jwt(studio: Any) -> str:
    return personal_token(studio)


@pytest_slow
def test_a_personal_access_token_is_exchanged_again_when_it_has_expired(studio: Any, jwt: str) -> None:
    with connected(studio.url, jwt) as link:
        tokens = link._sdk._client_wrapper._tokens_client
        first = link.get("me", "/api/current-user/whoami")["id"]
        # As after five minutes: what was exchanged is no longer good.
        past = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjEsInRva2VuX3R5cGUiOiJhY2Nlc3MifQ.x"
        tokens._access_token = past
        assert link.get("me", "/api/current-user/whoami")["id"] == first
        assert tokens._access_token != past


@pytest_slow
@pytest.mark.parametrize("kind", ["legacy", "personal", "forged"])
def test_a_key_that_is_refused(kind: str, studio: Any, jwt: str) -> None:
    head, body, _ = jwt.split(".")
    key = {"legacy": SECRET, "personal": f"{head}.{body}.{'A' * 43}", "forged": f"{head}.{body}"}[kind]
    with pytest.raises(ComponentError, match=r"refuses the key \(401\).*Account & Settings") as found:
        connect(Access(studio.url, key, connection.URL), QUICK)
    assert_no_secret(found.value, key, body)
    assert studio.url in str(found.value)


@pytest_slow
@pytest.mark.parametrize("kind", ["legacy", "personal"])
def test_every_failure_names_the_place_and_no_secret(kind: str, studio: Any, jwt: str) -> None:
    key = {"legacy": studio.key, "personal": jwt}[kind]
    broken = [
        ({"status": 401}, ComponentError),
        ({"status": 403}, ComponentError),
        ({"status": 404}, Absent),
        ({"status": 400}, Refused),
        ({"status": 302, "headers": {"Location": "http://elsewhere/?key=x"}}, ComponentError),
        ({"status": 429, "times": 99}, Unreachable),
        ({"status": 500, "times": 99}, Unreachable),
        ({"status": 503, "times": 99}, Unreachable),
        ({"tear": 0, "times": 99}, Unreachable),
        ({"tear": 20, "times": 99}, Unreachable),
        ({"rewrite": lambda body: body[:20], "times": 99}, Unreachable),
        ({"rewrite": lambda body: b"<html>", "times": 99}, Unreachable),
    ]
    with BreakingProxy(studio.url) as proxy, connected(proxy.url, key) as link:
        for how, kind_of_error in broken:
            proxy.rules.clear()
            proxy.rule("GET", "/api/current-user/whoami", **how)
            with pytest.raises(kind_of_error) as found:
                link.get("project 7", "/api/current-user/whoami")
            assert proxy.url in str(found.value), how
            assert "project 7" in str(found.value), how
            assert_no_secret(found.value, key, "elsewhere")


@pytest_slow
def test_reads_are_tried_again_and_writes_are_not(studio: Any) -> None:
    passing: list[dict[str, Any]] = [
        {"status": 429, "headers": {"Retry-After": "0.3"}},
        {"status": 500},
        {"status": 503},
        {"tear": 0},
        {"tear": 10},
        {"rewrite": lambda body: body[:10]},
    ]
    with BreakingProxy(studio.url) as proxy, connected(proxy.url, studio.key) as link:
        for how in passing:
            started = time.monotonic()
            proxy.rule("GET", "/api/current-user/whoami", **how)
            assert link.get("me", "/api/current-user/whoami")["id"] == link.user
            if how.get("status") == 429:
                assert time.monotonic() - started >= 0.3, "Retry-After is kept"
            proxy.requests.clear()
            proxy.rule("POST", "/api/projects", times=9, **how)
            with pytest.raises(Unsure):
                link.post("a project", "/api/projects", {"title": "never twice"})
            assert len(proxy.requests) == 1
            proxy.rules.clear()


@pytest_slow
def test_a_server_that_asks_for_too_long_a_pause_is_not_waited_for(studio: Any) -> None:
    with BreakingProxy(studio.url) as proxy, connected(proxy.url, studio.key) as link:
        proxy.rule("GET", "/api/current-user/whoami", status=429, headers={"Retry-After": "3600"}, times=9)
        started = time.monotonic()
        with pytest.raises(Unreachable, match="answered 429"):
            link.get("me", "/api/current-user/whoami")
        assert time.monotonic() - started < 1
        assert proxy.rules[0].used == 1


@pytest_slow
def test_a_slow_answer_is_given_up(studio: Any) -> None:
    hasty = Patience(request_seconds=0.5, seconds=1.0, first_pause=0.05)
    calm = Patience(request_seconds=10)
    with BreakingProxy(studio.url) as proxy, connected(proxy.url, studio.key, calm) as link:
        # The way through the proxy is open; only the answer takes long.
        link.patience = hasty
        link._http.timeout = 0.5
        proxy.rule("GET", "/api/projects/7", seconds=3, times=9)
        with pytest.raises(Unreachable, match="gave no answer within 0.5 s"):
            link.get("project 7", "/api/projects/7")


@pytest_slow
@pytest.mark.parametrize("kind", ["legacy", "personal"])
def test_a_server_behind_a_path(kind: str, studio: Any, jwt: str) -> None:
    with BreakingProxy(studio.url) as proxy:
        proxy.prefix = "/annotation"
        with connected(f"{proxy.url}/annotation/", {"legacy": studio.key, "personal": jwt}[kind]) as link:
            assert link.get("me", "/api/current-user/whoami")["id"] == link.user


@pytest_slow
def test_a_server_behind_a_password(studio: Any) -> None:
    with BreakingProxy(studio.url) as proxy:
        proxy.password = ("ann", "hunter 2")
        with connected(proxy.url.replace("://", "://ann:hunter%202@"), studio.key) as link:
            assert link.url == proxy.url
            assert link.get("me", "/api/current-user/whoami")["id"] == link.user
        with pytest.raises(ComponentError, match="401") as found:
            connect(Access(proxy.url.replace("://", "://ann:wrong@"), studio.key, connection.URL), QUICK)
        assert_no_secret(found.value, "wrong", studio.key)


@pytest_slow
def test_no_log_holds_the_key(studio: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"), connected(studio.url, studio.key) as link:
        link.get("me", "/api/current-user/whoami")
        with contextlib.suppress(Absent):
            link.get("project 99999", "/api/projects/99999")
    assert caplog.text
    assert studio.key not in caplog.text
    assert studio.key not in json.dumps([str(link.url), link.where, repr(link.patience)])
