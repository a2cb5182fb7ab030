"""Making a Label Studio project ask this server: registered with a secret, stale registrations removed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from ilf._assist.server import USER
from ilf.assist import REWRITE, rewrite_control
from ilf.errors import ComponentError, UsageError
from ilf.label_studio.connection import Absent, Connection

#: By this title a registration is known as ours.
TITLE = "ilf assist"
_LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Registration:
    """A project that asks us."""

    server: Connection
    project: int
    number: int

    def remove(self) -> None:
        """Takes it back; pages that are open get no more answers."""
        _delete_model(self.server, self.number)


def register(
    server: Connection, project: int, url: str, secret: str, *, seconds: float, say: Callable[[str], None]
) -> Registration:
    """Registers ``url`` with a project; Label Studio asks /health and /setup meanwhile.

    UsageError where the project's page has nowhere to put a rewrite, or where Label Studio is on another
    machine, from which this one's loopback cannot be reached.
    """
    if urlsplit(server.url).hostname not in _LOCAL:
        raise UsageError(
            f"Label Studio at {server.url} is on another machine and cannot reach {url}. Run ilf assist "
            "there, or tunnel: ssh -L for Label Studio (as 127.0.0.1), ssh -R for the port of --port."
        )
    found = server.read(f"project {project}", lambda sdk: sdk.projects.get(id=project))
    if rewrite_control(found.label_config) is None:
        raise UsageError(
            f"project {project}: its page has no text area '{REWRITE}'. Set suggest: true on the feedback of "
            "the collect step and run `ilf run` again: it makes a new project."
        )
    _remove_stale(server, project, say)
    made = server.write(
        "asking ilf assist",
        lambda sdk: sdk.ml.create(
            project=project,
            url=url,
            title=TITLE,
            is_interactive=True,
            auth_method="BASIC_AUTH",
            basic_auth_user=USER,
            basic_auth_pass=secret,
            timeout=seconds,
        ),
    )
    number = made.id
    if number is None:
        raise ComponentError(f"Label Studio at {server.url} registered ilf assist without a number.")
    # It comes with a webhook that sends all that happens in the project; nothing here needs it.
    _remove_webhook(server, project, url)
    now = server.read(f"project {project}", lambda sdk: sdk.projects.get(id=project))
    if now.model_version != found.model_version:  # else stored predictions would no longer be shown
        version = found.model_version or ""
        server.read(f"project {project}", lambda sdk: sdk.projects.update(id=project, model_version=version))
    say(f"registered with project {project} of {server.url}: its pages ask {url}")
    return Registration(server, project, number)


def _remove_stale(server: Connection, project: int, say: Callable[[str], None]) -> None:
    for known in server.read("models", lambda sdk: sdk.ml.list(project=project)):
        number = known.id
        if known.title == TITLE and number is not None:
            _delete_model(server, number)
            _remove_webhook(server, project, known.url)
            say("removed a registration that an earlier ilf assist left behind")
        elif known.is_interactive:
            say(f"project {project} has another interactive model, '{known.title}': pages may ask that one")


def _remove_webhook(server: Connection, project: int, url: str) -> None:
    for hook in server.read("webhooks", lambda sdk: sdk.webhooks.list(project=str(project))):
        if hook.url == f"{url.rstrip('/')}/webhook" and hook.id is not None:
            _delete_webhook(server, hook.id)


# Deleting twice is deleting once, except that the second time there is nothing to delete.
def _delete_model(server: Connection, number: int) -> None:
    with contextlib.suppress(Absent):
        server.read("ending a registration", lambda sdk: sdk.ml.delete(id=number))


def _delete_webhook(server: Connection, number: int) -> None:
    with contextlib.suppress(Absent):
        server.read("ending a webhook", lambda sdk: sdk.webhooks.delete(id=number))
