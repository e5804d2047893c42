"""Sign-ins under way: bound to the browser that began them, good for some minutes, used once."""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.access.connection_tables import Connection, Login
from app.access.sealing import seal, unseal
from app.access.tokens import digest_of
from app.settings import Settings
from app.sso.refusals import Reason, Refused

GOOD_FOR: Final = timedelta(minutes=15)
COOKIE: Final = "doorlist_sign_in"
LONGEST_PATH: Final = 4000
"""Characters of an address to come back to. It stands in another one, and reverse proxies take 8 KB of that (nginx, large_client_header_buffers)."""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A sign-in that this browser began and that has come back. `secrets` are what only we know of it: nonce, code verifier."""

    request_id: str
    connection_id: str
    return_to: str
    secrets: Mapping[str, str] = field(repr=False)
    asked: Mapping[str, Any]
    created_at: datetime


def begin(
    session: Session, settings: Settings, connection: Connection, *, request_id: str, browser: str, return_to: str,
    secrets: Mapping[str, str], asked: Mapping[str, Any], at: datetime,
) -> None:  # fmt: skip
    """Remember what is asked. `browser` is the value of the cookie `COOKIE`; only its hash is kept. Raises KeyMissing."""
    # Not at once, so that what comes too late is told from what nobody asked for while the browser has its cookie.
    session.execute(delete(Login).where(Login.expires_at <= at - GOOD_FOR).execution_options(synchronize_session=False))
    session.add(
        Login(
            organization_id=connection.organization_id, request_id=request_id, connection_id=connection.id, browser_digest=digest_of(browser),
            sealed=seal(settings, json.dumps(dict(secrets))), return_to=local_path(return_to), asked=dict(asked), created_at=at,
            expires_at=at + GOOD_FOR,
        )
    )  # fmt: skip
    session.flush()


def take(session: Session, settings: Settings, connection: Connection, *, request_id: str, browser: str | None, at: datetime) -> Begun:
    """Use up a sign-in that comes back. Raises Refused: unknown, another browser's, too late, or used before."""
    row = session.scalar(
        select(Login).where(
            Login.organization_id == connection.organization_id, Login.request_id == request_id, Login.connection_id == connection.id
        )
    )
    if row is None:
        raise Refused(Reason.NOT_ASKED_FOR, "the answer is to a request that was never made, or is long over", connection_id=connection.id)
    if browser is None or not hmac.compare_digest(row.browser_digest, digest_of(browser)):
        raise Refused(Reason.OTHER_BROWSER, "the answer came to another browser than the one that asked", connection_id=connection.id)
    if row.expires_at <= at:
        raise Refused(Reason.TOO_LATE, f"the answer came more than {GOOD_FOR.seconds // 60} minutes after the request", connection_id=connection.id)
    used = session.execute(
        update(Login)
        .where(Login.organization_id == row.organization_id, Login.request_id == request_id, Login.used_at.is_(None))
        .values(used_at=at)
        .execution_options(synchronize_session=False)
    )
    if not used.rowcount:  # type: ignore[attr-defined]  # every UPDATE has one; the stub names the wider class
        raise Refused(Reason.USED_BEFORE, "this answer was used before", connection_id=connection.id)
    return Begun(
        request_id=request_id, connection_id=row.connection_id, return_to=row.return_to, asked=row.asked, created_at=row.created_at,
        secrets=json.loads(unseal(settings, row.sealed)) if row.sealed is not None else {},
    )  # fmt: skip


def local_path(wanted: str | None) -> str:
    """A path of our own, or `/`: nobody is sent elsewhere because a link said so.

    Browsers read a backslash as a slash and leave out tabs and line ends, so a path that holds any of them is not taken.
    """
    if not wanted or not wanted.startswith("/") or wanted.startswith("//"):
        return "/"
    if any(mark == "\\" or mark <= " " or mark == "\x7f" for mark in wanted) or len(wanted) > LONGEST_PATH:
        return "/"
    return wanted
