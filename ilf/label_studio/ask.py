"""Whether the server on this machine is up, asked without its client: that takes seconds to import."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

_SECONDS = 5.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Another server on the port must not send the token on."""

    def redirect_request(self, *args: Any) -> None:
        return None


def ask(url: str, token: str = "") -> tuple[int, Any]:
    """Status and JSON of a GET on this machine; status 0 where nobody answers in JSON."""
    headers = {"Authorization": f"Token {token}"} if token else {}
    # A proxy of the caller's environment cannot reach this machine, and it would see the token.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=_SECONDS) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None
    except (OSError, ValueError, http.client.HTTPException):
        return 0, None


def knows(url: str, token: str) -> bool:
    """Whether a healthy server at the address knows an owner's token."""
    if ask(f"{url}/health")[0] != 200:
        return False
    code, owner = ask(f"{url}/api/current-user/whoami", token)
    return code == 200 and isinstance(owner, dict) and "id" in owner


def is_loopback(url: str) -> bool:
    """Whether an address leads to this machine only."""
    name = urllib.parse.urlsplit(url).hostname or ""
    return name in ("localhost", "::1") or name.startswith("127.")
