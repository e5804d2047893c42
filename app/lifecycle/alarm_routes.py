"""Verbs on where alarms are sent: adding an address or a webhook, ending one."""

import base64
import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.sealing import seal
from app.actors import Actor
from app.database import new_id
from app.journal import entries
from app.lifecycle.errors import NotFound, Taken
from app.revocation.alarm_tables import Alarm, AlarmRoute, RouteKind
from app.revocation.alarms import post_what_is_open
from app.settings import Settings
from connectors.mail import check_address
from connectors.visits import Visitor

_HIDDEN: Final = "/…"


def add_mail(session: Session, organization_id: str, address: str, *, escalation: bool, actor: Actor, at: datetime) -> AlarmRoute:
    """Tell this mailbox from now on, and of what is open. Raises Misconfigured, Taken."""
    return _add(session, organization_id, RouteKind.MAIL, check_address(address), escalation=escalation, actor=actor, at=at)


def add_webhook(
    session: Session, organization_id: str, url: str, *, escalation: bool, private: bool, settings: Settings, actor: Actor, at: datetime
) -> tuple[AlarmRoute, str]:
    """Tell this URL from now on, and of what is open; returns the secret that its calls are signed with. Raises Misconfigured, Taken, KeyMissing."""
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    checked = Visitor(name="alarms", allow_private=private).check(url)
    route = _add(
        session, organization_id, RouteKind.WEBHOOK, shown(checked), escalation=escalation, actor=actor, at=at,
        private=private, sealed_secret=seal(settings, secret), sealed_url=seal(settings, checked), typed=checked,
    )  # fmt: skip
    return route, secret


def _add(
    session: Session, organization_id: str, kind: RouteKind, address: str, *, escalation: bool, actor: Actor, at: datetime,
    private: bool = False, sealed_secret: bytes | None = None, sealed_url: bytes | None = None, typed: str | None = None,
) -> AlarmRoute:  # fmt: skip
    # As a version before may have kept it until now, too.
    known = AlarmRoute.address.in_({address, typed or address})
    there = select(AlarmRoute.id).where(AlarmRoute.organization_id == organization_id, AlarmRoute.kind == kind, known, AlarmRoute.ended_at.is_(None))
    if session.scalar(there) is not None:
        raise Taken("address", address, f"alarms are sent to {address} already")
    route = AlarmRoute(
        organization_id=organization_id, id=new_id(), kind=kind, address=address, escalation=escalation, private=private,
        sealed_secret=sealed_secret, sealed_url=sealed_url, created_at=at,
    )  # fmt: skip
    session.add(route)
    session.flush()
    _journal(session, route, "alarm route added", actor=actor, at=at)
    post_what_is_open(session, route, at=at)
    return route


def find_route(session: Session, organization_id: str, text: str) -> AlarmRoute:
    """A route by its id or its address, as it is shown or, of a webhook, as it was typed. Raises NotFound."""
    named = (AlarmRoute.id == text) | AlarmRoute.address.in_({text, shown(text)})
    found = session.scalar(select(AlarmRoute).where(AlarmRoute.organization_id == organization_id, AlarmRoute.ended_at.is_(None), named))
    if found is None:
        raise NotFound("alarm route", text)
    return found


def routes_of(session: Session, organization_id: str) -> Sequence[AlarmRoute]:
    """Every route that stands, the first list before the second."""
    return session.scalars(
        select(AlarmRoute)
        .where(AlarmRoute.organization_id == organization_id, AlarmRoute.ended_at.is_(None))
        .order_by(AlarmRoute.escalation, AlarmRoute.kind, AlarmRoute.address)
    ).all()


def end_route(session: Session, route: AlarmRoute, *, actor: Actor, at: datetime) -> None:
    """Send nothing there any more, nor what was still to be sent."""
    _journal(session, route, "alarm route ended", actor=actor, at=at)
    route.ended_at, route.sealed_secret, route.sealed_url = at, None, None


def shown(address: str) -> str:
    """What anybody may see of a webhook's URL: its server, and a mark by which it is told from another one there.

    What follows the server is often all that is needed to post there. A mailbox, and what was shown before, stays as it is.
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        return address
    if parts.scheme not in ("https", "http") or parts.path == _HIDDEN or (parts.path in ("", "/") and not parts.query):
        return address
    return f"{parts.scheme}://{parts.netloc}{_HIDDEN}#{hashlib.sha256(address.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def seal_what_was_open(session: Session, settings: Settings) -> int:
    """Encrypt the URLs that a version before kept as they were; returns how many. Twice is once. Raises KeyMissing."""
    before = session.scalars(
        select(AlarmRoute).where(AlarmRoute.kind == RouteKind.WEBHOOK, AlarmRoute.sealed_url.is_(None), AlarmRoute.address.not_like(f"%{_HIDDEN}#%"))
    ).all()
    open_to_all = [route for route in before if shown(route.address) != route.address]
    for route in open_to_all:
        if route.ended_at is None:
            route.sealed_url = seal(settings, route.address)
        route.address = shown(route.address)
    return len(open_to_all)


def find_alarm(session: Session, organization_id: str, alarm_id: str) -> Alarm:
    """An alarm, open or closed, by its id. Raises NotFound."""
    found = session.get(Alarm, (organization_id, alarm_id))
    if found is None:
        raise NotFound("alarm", alarm_id)
    return found


def _journal(session: Session, route: AlarmRoute, verb: str, *, actor: Actor, at: datetime) -> None:
    entries.write(
        session, route.organization_id, at=at, actor=actor, verb=verb, because="operator", subject_kind="alarm route", subject_id=route.id,
        after={"kind": route.kind, "address": shown(route.address), "escalation": route.escalation},
    )  # fmt: skip
