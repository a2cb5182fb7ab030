"""The wire of ``ilf assist``: Label Studio's ML backend protocol over HTTP, with a secret and limits.

    GET /health    POST /setup    POST /predict    POST /webhook

Bodies are never logged: Label Studio sends its owner's key with every /setup. Whoever sends nonsense gets a
4xx, and everybody else their answer.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: The only address that is listened at.
LOOPBACK = "127.0.0.1"
USER = "ilf"
#: What is read and thrown away of a body that is refused, so that the refusal reaches the sender.
_DRAINED_BYTES = 64 * 2**20


class Refused(Exception):
    """A request that gets no answer: a status and what to say."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may take."""

    body_bytes: int = 8 * 2**20
    tasks: int = 100
    connections: int = 32
    read_seconds: float = 15.0


@dataclass(frozen=True)
class Protocol:
    """What the server does: ``setup`` and ``predict`` turn a JSON object into one, or raise Refused."""

    setup: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    predict: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    secret: str = field(repr=False)
    say: Callable[[str], None] = print
    limits: Limits = field(default_factory=Limits)


class Server(ThreadingHTTPServer):
    """Listens on loopback; a thread per connection, of which there are only so many."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, protocol: Protocol, port: int = 0) -> None:
        self.protocol = protocol
        self._room = threading.BoundedSemaphore(protocol.limits.connections)
        super().__init__((LOOPBACK, port), _Handler)

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"http://{LOOPBACK}:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts a thread for a connection, or refuses it where there are too many."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        with contextlib.suppress(OSError):
            request.sendall(
                b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
            )
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves a connection and makes room for the next."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke; what it carried is not told."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "ilf-assist", ""

    def setup(self) -> None:
        seconds = self.server.protocol.limits.read_seconds
        self.request.settimeout(seconds)
        super().setup()
        # That timeout is for one packet; a sender of a byte a second is cut off by this one.
        self._deadline = threading.Timer(seconds, self._cut_off)
        self._deadline.daemon = True
        self._deadline.start()

    def finish(self) -> None:
        self._deadline.cancel()
        super().finish()

    def _cut_off(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RD)

    def do_GET(self) -> None:
        """Answers /health."""
        self._handle()

    def do_POST(self) -> None:
        """Answers /setup, /predict and /webhook."""
        self._handle()

    def _handle(self) -> None:
        started = time.monotonic()
        self._unread = self._declared_length() or 0
        try:
            self._check_secret()
            status, answer = 200, self._routed()
        except Refused as refused:
            status, answer = refused.status, {"error": refused.reason}
        except ConnectionError:
            return  # the sender is gone
        except Exception as error:  # noqa: BLE001 - a fault of one request must not end the others
            status, answer = 500, {"error": f"this is a fault of ilf ({type(error).__name__})"}
        self._drain()
        self._deadline.cancel()
        if status != 200:
            seconds = time.monotonic() - started
            self.server.protocol.say(f"refused a request: {status} {answer['error']} ({seconds:.1f} s)")
        self._send(status, answer)

    def _check_secret(self) -> None:
        told = self.headers.get("Authorization", "").encode("utf-8", "replace")
        token = base64.b64encode(f"{USER}:{self.server.protocol.secret}".encode())
        if not hmac.compare_digest(told, b"Basic " + token):
            raise Refused(401, "wrong user or password")

    def _routed(self) -> Mapping[str, Any]:
        protocol = self.server.protocol
        routes: dict[tuple[str, str], Callable[[], Mapping[str, Any]]] = {
            ("GET", "/health"): lambda: {"status": "UP"},
            ("POST", "/setup"): lambda: protocol.setup(self._body()),
            ("POST", "/predict"): lambda: protocol.predict(self._body()),
            ("POST", "/webhook"): lambda: {"status": "ok", "read": bool(self._body())},
        }
        route = routes.get((self.command, self.path.partition("?")[0].rstrip("/")))
        if route is None:
            raise Refused(404, "no such address; there are /health, /setup, /predict and /webhook")
        return route()

    def _declared_length(self) -> int | None:
        told = self.headers.get("Content-Length", "")
        return int(told) if told.isascii() and told.isdigit() and len(told) <= 15 else None

    def _body(self) -> Mapping[str, Any]:
        """The request's JSON object; Refused where it is too large, torn, or something else."""
        length, limit = self._declared_length(), self.server.protocol.limits.body_bytes
        if length is None:
            raise Refused(411, "the length of the body is not told")
        if length > limit:
            raise Refused(413, f"the body has more than {limit} bytes")
        try:
            body = self.rfile.read(length)
        except TimeoutError:
            body = b""
        self._unread = 0
        if len(body) < length:
            raise Refused(408, "the body did not come in time, or not whole")
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            raise Refused(400, "the body is not JSON") from None
        if not isinstance(found, dict):
            raise Refused(400, "the body is no JSON object")
        return found

    def _drain(self) -> None:
        """Reads what is left of a refused body: a sender whose socket closes early never sees the refusal."""
        left = min(self._unread, _DRAINED_BYTES)
        with contextlib.suppress(OSError):
            while left > 0 and (piece := self.rfile.read(min(left, 2**16))):
                left -= len(piece)

    def _send(self, status: int, answer: Mapping[str, Any]) -> None:
        body = json.dumps(answer).encode("ascii")
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="ilf assist"')
            if status == 503:
                self.send_header("Retry-After", "1")
            self.end_headers()
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """A request that is no HTTP; it is not repeated in the answer."""
        self.close_connection = True
        self._send(code, {"error": "not understood"})

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the standard log would repeat addresses as they were sent."""
