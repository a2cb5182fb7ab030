"""The wire to a Label Studio server: who we are, what may be tried again, and errors without secrets.

The SDK knows both kinds of key (a legacy token, and a personal access token that must be exchanged for one of
five minutes) and makes what is made once. Lists and imports use the same client and headers directly: the
SDK's parsed listing of 5,000 tasks takes 13 s, the plain one 1 s. Its own retries are off, because they
repeat an import whose answer was lost.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from ilf.errors import ComponentError, Unreachable
from ilf.label_studio.access import KEY, address_parts, checked_key
from ilf.label_studio.access import URL as URL
from ilf.label_studio.access import access as access
from ilf.label_studio.server import Access

if TYPE_CHECKING:
    import httpx
    from label_studio_sdk import LabelStudio

_PACKAGE = 'the package label-studio-sdk is missing: pip install "ilf[label-studio]"'
#: Answers after which the same request may be good a little later.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
T = TypeVar("T")


class Later(Unreachable):
    """The same request may be good later, not before ``after`` seconds."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


class Unsure(Later):
    """A request that writes got no answer: it may have been done. Look before it is sent again."""


class Absent(ComponentError):
    """The server has no such thing (404)."""


class Refused(ComponentError):
    """The server takes a request for wrong (400); ``body`` is its answer and may quote texts."""

    def __init__(self, message: str, body: Any) -> None:
        super().__init__(message)
        self.body = body


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for: one request, and all repetitions of it together; pauses double."""

    request_seconds: float = 120.0
    seconds: float = 60.0
    first_pause: float = 0.2
    longest_pause: float = 10.0


class Connection:
    """Requests to one server as one user; every failure is an error of ilf that names address and remedy."""

    def __init__(self, access: Access, patience: Patience) -> None:
        try:
            import httpx
            from label_studio_sdk import LabelStudio
        except ImportError:
            raise ComponentError(f"label_studio: {_PACKAGE}") from None
        parts = address_parts(access.url)
        self.patience = patience
        self.where = access.where
        self.url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
        self.user = 0
        self._key = checked_key(access.key)
        # A proxy of the environment cannot reach a server on this machine.
        is_local = parts.hostname in ("127.0.0.1", "localhost", "::1")
        auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        self._http: httpx.Client = httpx.Client(
            auth=auth, timeout=patience.request_seconds, trust_env=not is_local, follow_redirects=False
        )
        # Where the address holds a password for the way, the key goes beside it: one header cannot hold both.
        beside = {"X-API-Key": self._key} if auth else None
        self._sdk: LabelStudio = self._once(
            "the key",
            lambda: LabelStudio(  # type: ignore[no-untyped-call]
                base_url=self.url,
                api_key=self._key,
                headers=beside,
                max_retries=0,
                httpx_client=self._http,
            ),
        )
        if parts.path.strip("/"):  # the SDK exchanges a personal access token at the root of the host
            self._sdk._client_wrapper._tokens_client._base_url = f"{self.url}/"

    def close(self) -> None:
        """Closes the sockets."""
        self._http.close()

    def read(self, what: str, call: Callable[[LabelStudio], T]) -> T:
        """Does what changes nothing, or nothing twice, until it succeeds or patience ends."""
        deadline = time.monotonic() + self.patience.seconds
        pause = self.patience.first_pause
        while True:
            try:
                return self._once(what, lambda: call(self._sdk))
            except Later as error:
                wait = max(pause, error.after)
                if time.monotonic() + wait > deadline:
                    raise
            time.sleep(wait)
            pause = min(2 * pause, self.patience.longest_pause)

    def write(self, what: str, call: Callable[[LabelStudio], T]) -> T:
        """Does once what must not be done twice; raises Unsure where it may have been done."""
        try:
            return self._once(what, lambda: call(self._sdk))
        except Later as error:
            raise Unsure(str(error), error.after) from None

    def get(self, what: str, path: str, **params: Any) -> Any:
        """The JSON at a path, read as often as it takes."""
        return self.read(what, lambda _: self._json("GET", path, params, None))

    def known(self, what: str, answer: Any, **fields: type) -> dict[str, Any]:
        """An answer that has these fields; ComponentError where it is something else."""
        if isinstance(answer, dict) and all(isinstance(answer.get(n), kind) for n, kind in fields.items()):
            return answer
        raise ComponentError(self._said(what, "answered in a form that we do not know", _REALLY))

    def post(self, what: str, path: str, body: Any, **params: Any) -> Any:
        """Sends a body once; raises Unsure where it may have arrived."""
        return self.write(what, lambda _: self._json("POST", path, params, body))

    def patch(self, what: str, path: str, body: Any) -> Any:
        """Sets fields to values: the same twice is the same once."""
        return self.read(what, lambda _: self._json("PATCH", path, {}, body))

    def _json(self, method: str, path: str, params: Mapping[str, Any], body: Any) -> Any:
        from label_studio_sdk.core.api_error import ApiError

        headers = self._sdk._client_wrapper.get_headers()  # exchanges a personal access token in time
        content = None if body is None else json.dumps(body, ensure_ascii=True).encode("ascii")
        if content is not None:
            headers["Content-Type"] = "application/json"
        answer = self._http.request(
            method, f"{self.url}{path}", params=dict(params), content=content, headers=headers
        )
        if not answer.is_success:
            raise ApiError(
                status_code=answer.status_code, headers=dict(answer.headers), body=_parsed(answer.text)
            )
        return answer.json() if answer.content else None

    def _once(self, what: str, call: Callable[[], T]) -> T:
        """Does something once; what httpx and the SDK raise becomes ours, and their texts are left out."""
        import httpx
        from label_studio_sdk.core.api_error import ApiError
        from pydantic import ValidationError

        try:
            return call()
        except ApiError as error:
            raise self._error(what, error.status_code, error.headers, error.body) from None
        except httpx.TimeoutException:
            seconds = self.patience.request_seconds
            raise Later(self._said(what, f"gave no answer within {seconds:g} s", _LATER)) from None
        except httpx.HTTPError as error:
            problem = f"does not answer ({type(error).__name__})"
            raise Later(self._said(what, problem, f"Is it running? {self._place()}")) from None
        except ValidationError:
            raise ComponentError(
                self._said(what, "answered in a form that we do not know", _REALLY)
            ) from None
        except ValueError:  # half a JSON text, or the page of something between
            raise Later(self._said(what, "answered with something else than JSON", _REALLY)) from None

    def _error(
        self, what: str, status: int | None, headers: Mapping[str, str] | None, body: Any
    ) -> Exception:
        detail = self._clean(body.get("detail") or body.get("error")) if isinstance(body, Mapping) else ""
        problem = f"answered {status}" + (f" ({detail})" if detail else "")
        if status == 401:
            place = KEY if self.where == URL else self.where
            remedy = (
                f"The key in {place} is not one of this server, was replaced, or has expired: copy it "
                "again from its page Account & Settings. A legacy token must be allowed by the organization."
            )
            return ComponentError(self._said(what, "refuses the key (401)", remedy))
        if status == 403:
            return ComponentError(
                self._said(what, problem, "This user may not do that; ask the server's owner.")
            )
        if status == 404:
            return Absent(
                self._said(what, "has no such thing (404)", "It was deleted, or is another server's.")
            )
        if status in _PASSING:
            return Later(self._said(what, problem, _LATER), _retry_after(headers))
        if status is None or status < 300:  # the SDK's word for an answer that is no JSON
            return Later(self._said(what, "answered with something else than JSON", _REALLY))
        if status in (301, 302, 307, 308):
            return ComponentError(
                self._said(what, "answers that it has moved", f"Set {URL} to the address it is at.")
            )
        return Refused(self._said(what, problem, "Nothing was changed."), body)

    def _said(self, what: str, problem: str, remedy: str) -> str:
        return f"Label Studio at {self.url} {problem}, asked for {what}. {remedy}"

    def _place(self) -> str:
        return f"See {URL}." if self.where == URL else "See: ilf label-studio status, ilf label-studio start."

    def _clean(self, text: Any) -> str:
        """A short text of the server's, on one line, without our key in it."""
        return " ".join(str(text or "").replace(self._key, "...").split())[:200]


_REALLY = (
    "Is there really a Label Studio (1.23 or near it) at this address? If so, run the same command again."
)
_LATER = "Run the same command again later; nothing is lost and nothing is done twice."


def connect(access_to: Access | None = None, patience: Patience | None = None) -> Connection:
    """A connection that knows who it is; the key and the address are proved by asking that.

    Raises ComponentError where the key is refused, Unreachable where nothing answers.
    """
    made = Connection(access_to or access(), patience or Patience())
    try:
        made.user = made.read("who we are", lambda sdk: sdk.users.whoami()).id
    except BaseException:
        made.close()
        raise
    return made


def items_refused(error: Refused) -> list[tuple[int, str]]:
    """(place in the import, what is wrong) of the tasks that the server refuses; never a task's text."""
    found: list[tuple[int, str]] = []
    for text in _texts(error.body):
        for place, why in re.findall(r"at item (\d+): (.*?) ::", text):
            found.append((int(place), " ".join(why.split())[:200]))
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, Mapping)):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(part)


def _retry_after(headers: Mapping[str, str] | None) -> float:
    """Seconds that a server asks to wait, 0 where it does not say; a date is read, too."""
    named = {name.lower(): value for name, value in (headers or {}).items()}
    value = named.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    from email.utils import parsedate_to_datetime

    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0) if value else 0.0
    except ValueError:
        return 0.0


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text[:200]
