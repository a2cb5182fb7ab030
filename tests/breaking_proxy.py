"""A real HTTP proxy on loopback that stands between a client and a real server, and breaks things on purpose.

with BreakingProxy(studio.url) as proxy:
    proxy.rule("POST", "/import", status=503, times=2)          answers 503 without asking the server
    proxy.rule("POST", "/import", tear=0)                        the server does it, the answer is lost
    proxy.rule("GET", "/api/tasks", tear=5000, skip=3)           the fourth answer ends after 5,000 bytes
    proxy.rule("GET", "/api/tasks", seconds=5)                   a slow answer
    proxy.rule("GET", "/api/tasks", rewrite=lambda body: ...)    another body, whole
    proxy.rule("POST", "/import", before=studio.kill)            something happens before / after it
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Rule:
    """What happens to requests whose path a pattern is found in: to ``times`` of them after ``skip``."""

    method: str
    path: str
    times: int = 1
    skip: int = 0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    tear: int | None = None
    rewrite: Callable[[bytes], bytes] | None = None
    before: Callable[[], Any] | None = None
    after: Callable[[], Any] | None = None
    used: int = 0


class BreakingProxy:
    """The proxy; ``url`` is its address, ``requests`` what came by, with the status that the client got."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.rules: list[Rule] = []
        self.requests: list[tuple[str, str, int]] = []
        self.prefix = ""
        """A path in front of all others, as a gateway has it."""
        self.password: tuple[str, str] | None = None
        """User and password that the proxy asks for, as a gateway does."""
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                proxy._handle(self)

            do_POST = do_PATCH = do_DELETE = do_PUT = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> BreakingProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def rule(self, method: str, path: str, **how: Any) -> Rule:
        """Adds a rule; the first one that fits a request is used."""
        self.rules.append(Rule(method, path, **how))
        return self.rules[-1]

    def _match(self, method: str, path: str) -> Rule | None:
        with self._lock:
            for rule in self.rules:
                if rule.method == method and re.search(rule.path, path) and rule.times:
                    if rule.skip:
                        rule.skip -= 1
                        continue
                    rule.times -= 1
                    rule.used += 1
                    return rule
        return None

    def _handle(self, client: BaseHTTPRequestHandler) -> None:
        size = int(client.headers.get("Content-Length") or 0)
        body = client.rfile.read(size)
        rule = self._match(client.command, client.path) or Rule("", "")
        if rule.before:
            rule.before()
        time.sleep(rule.seconds)
        try:
            if not self._is_let_in(client):
                answer = (401, {}, b'{"detail": "not let in"}')
            elif rule.status is not None:
                answer = (rule.status, dict(rule.headers), b'{"detail": "broken on purpose"}')
            else:
                answer = self._ask(client, body)
        except (OSError, http.client.HTTPException):
            self.requests.append((client.command, client.path, 0))
            self._hang_up(client)
            return
        if rule.after:
            rule.after()
        status, headers, content = answer
        content = rule.rewrite(content) if rule.rewrite else content
        self.requests.append((client.command, client.path, status if rule.tear is None else 0))
        with contextlib.suppress(OSError):
            client.send_response(status)
            for name, value in headers.items():
                client.send_header(name, value)
            client.send_header("Content-Length", str(len(content)))
            client.end_headers()
            client.wfile.write(content if rule.tear is None else content[: rule.tear])
        if rule.tear is not None:
            self._hang_up(client)

    def _is_let_in(self, client: BaseHTTPRequestHandler) -> bool:
        if not client.path.startswith(self.prefix):
            return False
        if self.password is None:
            return True
        wanted = base64.b64encode(":".join(self.password).encode()).decode()
        return client.headers.get("Authorization") == f"Basic {wanted}"

    def _ask(self, client: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        upstream = http.client.HTTPConnection(self.upstream.hostname or "", self.upstream.port, timeout=120)
        try:
            headers = {k: v for k, v in client.headers.items() if k.lower() not in ("host", "connection")}
            if self.password:  # a gateway keeps its own password to itself
                headers.pop("Authorization", None)
            path = client.path.removeprefix(self.prefix)
            upstream.request(client.command, path, body=body or None, headers=headers)
            answer = upstream.getresponse()
            dropped = ("content-length", "transfer-encoding", "connection", "date", "server")
            kept = {k: v for k, v in answer.getheaders() if k.lower() not in dropped}
            return answer.status, kept, answer.read()
        finally:
            upstream.close()

    def _hang_up(self, client: BaseHTTPRequestHandler) -> None:
        """Ends the connection as a cut cable would look like: no goodbye."""
        client.close_connection = True
        with contextlib.suppress(OSError):
            client.connection.shutdown(socket.SHUT_RDWR)
