"""Letting other people in: the link, and the public address behind a proxy."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import studio as studios
from studio import Studio
from studio_command import (
    ilf,
    listens_on_loopback_only,
    quiet,
)

from ilf.errors import UsageError
from ilf.label_studio import data_folder, server

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_runs")]


def test_somebody_joins_by_the_link_and_by_nothing_else(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.found(monkeypatch)
    status, out, err = ilf("invite", "--json")
    assert status == 0, err
    link = json.loads(out)["link"]
    assert link.startswith(f"{studio.url}/user/signup/?token=")
    assert json.loads(out)["only_here"]
    ann = studios.join(studio.url, link, "ann")
    with studio.client() as owner, studio.client(ann.key) as annotator:
        made = owner.post("/api/projects", json={"title": "of the owner"}).raise_for_status().json()["id"]
        # What the command says that members may do.
        assert annotator.delete(f"/api/projects/{made}").status_code == 204
    for wrong in ("/user/signup/", "/user/signup/?token=wrong"):
        with pytest.raises(httpx.HTTPStatusError, match="403"):
            studios.join(studio.url, wrong, "eve")
    status, out, _ = ilf("invite", "--renew", "--json")
    assert json.loads(out)["link"] != link
    with pytest.raises(httpx.HTTPStatusError, match="403"):
        studios.join(studio.url, link, "eve")
    studios.join(studio.url, json.loads(out)["link"], "bob")
    # Who joined stands in the log of requests, the way in does not stand in what is shown of it.
    token = link.rpartition("=")[2]
    assert token in (studio.data / "server.log").read_text()
    assert token not in ilf("logs", "-n", "9999")[1]


def test_invite_says_how_to_serve_it_and_what_members_may_do(studio: Studio, monkeypatch: Any) -> None:
    studio.use(monkeypatch)
    status, out, _ = ilf("invite")
    assert status == 0
    for told in (
        "caddy reverse-proxy",
        f"127.0.0.1:{studio.port}",
        "--host https://",
        "change and delete every",
        "no roles",
    ):
        assert told in out
    assert [line for line in out.splitlines() if len(line) > 80 and "token=" not in line] == []
    assert studio.key not in out
    status, out, err = ilf("invite", LABEL_STUDIO_API_KEY="0" * 40)
    assert (status, out) == (1, "")
    assert "refuses the key" in err


def test_a_public_address_behind_a_proxy(data: Path) -> None:
    """The proxy speaks http to it; what comes from the public https address is taken, from elsewhere not."""
    public = "https://labels.example.org"
    found = server.start(data, host=f"{public}/", say=quiet)
    assert found.shown_address == found.public == public
    listens_on_loopback_only(data_folder.process(data).port)
    status, out, _ = ilf("invite", "--json")
    link = json.loads(out)["link"]
    assert status == 0
    assert link.startswith(f"{public}/user/signup/?token=")
    assert not json.loads(out)["only_here"]
    path = link.removeprefix(public)
    for name, origin, expected in (("ann", public, 302), ("eve", "https://elsewhere.invalid", 403)):
        with httpx.Client(base_url=found.address or "", trust_env=False, timeout=30) as browser:
            page = browser.get(path, headers={"Host": "labels.example.org"})
            cookies = page.headers.get_list("set-cookie")
            assert all("Secure" in cookie for cookie in cookies)
            hidden = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
            assert hidden
            answer = browser.post(
                path,
                data={
                    "csrfmiddlewaretoken": hidden[1],
                    "email": f"{name}@ilf.invalid",
                    "password": "a-password-9",
                },
                headers={
                    "Host": "labels.example.org",
                    "Origin": origin,
                    "Referer": f"{origin}{path}",
                    "Cookie": cookies[0].partition(";")[0],
                },
            )
            assert answer.status_code == expected
    server.stop(data)
    assert server.start(data, say=quiet).public == public  # kept, until it is taken back
    server.stop(data)
    assert server.start(data, host="", say=quiet).public is None


@pytest.mark.parametrize(
    "host",
    ["labels.example.org", "http://labels.example.org", "https://", "https://a.org/sub", "https://u:p@a.org"],
)
def test_a_host_that_is_no_public_address(data: Path, host: str) -> None:
    with pytest.raises(UsageError, match="not a public address"):
        server.start(data, host=host, say=quiet)
