"""/gate: forward-auth for nginx, Traefik and Caddy, which ask here with every request whether its sender may pass."""

import re
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from flask import Response, current_app, request

from app.access import quick, sessions
from app.access.closed import is_closed
from app.access.quick import Passing
from app.access.sessions import Present
from app.bare.connection import Bare
from app.bare.lent import asked_again
from app.clock import now
from app.database import in_transaction, reading
from app.sso.browser import session_secret, settings_here
from app.sso.limits import idle_of
from app.sso.logins import local_path
from app.sso.provider.server import NOT_KEPT
from app.sso.provider.userinfo import bearer_of

CLIENT_ID: Final = re.compile(r"[0-9a-f-]{36}")
LONGEST_LOCATION: Final = 3500
"""Characters. A proxy that asks reads our headers into 4 KB and fails where they are longer (nginx, proxy_buffer_size)."""


def gate() -> Response:
    """200 and who they are, or 401 and where to sign in.

    `?client=ID` names the client that the gate stands before: only its organisation's people pass, and of tokens only its own.
    Where there are several organisations it has to be named.
    """
    at, client = now(), request.args.get("client")
    token, secret = bearer_of(request.headers.get("Authorization", "")), session_secret()
    passing = None
    with reading() as session:
        closed = is_closed(session)
    if not closed and (client is None or CLIENT_ID.fullmatch(client)):
        app = current_app._get_current_object()  # type: ignore[attr-defined]  # werkzeug's proxy has it
        passing = asked_again(app, lambda bare: _passing(bare, token, secret, client=client, at=at))
    if passing is None or not passing.may_pass(client):
        return _no_way()
    if passing.present is not None and not passing.noted:
        note_use(passing.present, at=at)
    return Response(status=200, headers=who(passing))


async def quick_gate(bare: Bare, query: str, token: str | None, secret: str | None, *, at: datetime) -> Passing | None:
    """Who may pass, where nothing has to be written down for it; None leaves it to `gate`. Raises what the driver raises."""
    client = None
    if query:
        named = parse_qsl(query)
        if len(named) != 1 or named[0][0] != "client" or not CLIENT_ID.fullmatch(named[0][1]):
            return None
        client = named[0][1]
    passing = await _passing(bare, token, secret, client=client, at=at)
    return passing if passing is not None and passing.noted and passing.may_pass(client) else None


async def _passing(bare: Bare, token: str | None, secret: str | None, *, client: str | None, at: datetime) -> Passing | None:
    # A token that was shown is meant: whoever sends a bad one is not let in by what else their browser holds.
    if token is not None:
        return await quick.by_token(bare, token, client=client, at=at)
    return None if secret is None else await quick.by_cookie(bare, secret, client=client, at=at)


def note_use(here: Present, *, at: datetime) -> None:
    """Passing the gate is using the session: its idle limit moves on."""
    in_transaction(lambda session: sessions.note_use(session, here, idle=idle_of(session, here), at=at))


def who(passing: Passing) -> dict[str, str]:
    """The headers that a proxy hands on. Quoted where a name may hold what no header may."""
    return {
        "X-Doorlist-Person": passing.person_id, "X-Doorlist-User": quote(passing.user_name, safe="@.+-_"),
        "X-Doorlist-Organization": passing.organization_id, "Cache-Control": "no-store",
    }  # fmt: skip


def _no_way() -> Response:
    """Not a redirect, which a proxy would follow itself: it sends browsers on by the Location, and others home."""
    query: dict[str, Any] = {}
    # Back to where they wanted to go, if that is on our own host; we send nobody elsewhere.
    if request.headers.get("X-Forwarded-Host", "") == urlsplit(settings_here().public_url).netloc:
        query = {"to": local_path(request.headers.get("X-Forwarded-Uri"))}
    home = f"{settings_here().public_url}/sign-in"
    location = f"{home}?{urlencode(query)}"
    if not query or len(location) > LONGEST_LOCATION:
        location = home
    return Response(status=401, headers={**NOT_KEPT, "Location": location, "WWW-Authenticate": 'Bearer realm="doorlist"'})
