"""Letting other people into a Label Studio server: the link, how to serve it to them, what they may do."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from ilf.label_studio import data_folder
from ilf.label_studio.ask import is_loopback
from ilf.label_studio.connection import URL, access, connect

MAY_DO = """\
Whoever has joined may do everything that you may: read, change and delete every
project, task and answer on this server, and invite others. Label Studio's
community edition knows no roles. Invite people you trust with the data. What
`ilf run` has collected lies in your run folder and stays there."""

_SERVING = """\
This address leads to this machine only. To let somebody in from elsewhere:

  1. Give this machine a name that they can reach, such as labels.example.org,
     with port 443 open.
  2. Tell Label Studio its public address:
       ilf label-studio stop
       ilf label-studio start --host https://labels.example.org
  3. Put a TLS proxy before it, for example Caddy, which gets the certificate:
       caddy reverse-proxy --from labels.example.org --to {local}
  4. Make the link again: ilf label-studio invite

For somebody who has an account on this machine a tunnel is enough; the link
then works on their machine as it is:
       ssh -N -L {port}:{local} THIS-MACHINE"""


@dataclass(frozen=True)
class Invitation:
    """A link that lets people sign up; ``only_here`` where it works on this machine alone."""

    link: str
    only_here: bool

    def how_to_serve(self) -> str:
        """What to do so that others can open the link; empty where they can."""
        parts = urllib.parse.urlsplit(self.link)
        return _SERVING.format(local=parts.netloc, port=parts.port or 80) if self.only_here else ""


def invite(*, renew: bool = False) -> Invitation:
    """The link of the server in LABEL_STUDIO_URL, or of the one that ilf started last.

    ``renew`` makes a new link and the old one useless. Raises ComponentError where no server answers.
    """
    found = access()
    connection = connect(found)
    try:
        answer = (
            connection.post("a new invite link", "/api/invite/reset-token", {})
            if renew
            else connection.get("the invite link", "/api/invite")
        )
    finally:
        connection.close()
    public = "" if found.where == URL else data_folder.process(Path(found.where)).public
    address = public or connection.url
    return Invitation(f"{address}{answer['invite_url']}", is_loopback(address))
