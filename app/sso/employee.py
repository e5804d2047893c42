"""The employee's own pages: the first day, their devices, and what the company holds of their access."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Final

from flask import Blueprint, Response, redirect, request
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app.access import sessions
from app.access.devices import is_in
from app.access.issued import of_client
from app.access.session_tables import Device, Grant, IssuedToken, RelyingParty
from app.access.sessions import Present, lets_in, of_person
from app.access.tables import RESERVED, Account, Workspace
from app.actors import Actor, ActorKind
from app.clock import now
from app.database import in_transaction, reading
from app.directory.heard import is_in_group
from app.directory.tables import Group, Membership, Person, Record
from app.journal import entries
from app.journal.tables import Lane, Organization
from app.lifecycle.people import lock_person
from app.lifecycle.signing_out import sign_out_everywhere
from app.revocation import telling
from app.rules.reasons import Place, Reason, places_of
from app.sso import pages
from app.sso.browser import comes_from_here, present
from connectors.contract import AccountState

employee: Final = Blueprint("employee", __name__)


@dataclass(frozen=True, kw_only=True)
class Held:
    """A browser session, a device or an application that goes on by itself, as its owner sees it. `kind` and `id` say which to end."""

    kind: str
    id: str
    name: str
    since: datetime
    seen: datetime
    pushes: bool
    this: bool


def _signed_in(show: Callable[[Present], Response]) -> Callable[[], Response]:
    """Only for those who are signed in; others are asked to, and come back to where they wanted."""

    @wraps(show)
    def ask() -> Response:
        here = present()
        if here is None:
            return redirect(f"/sign-in?to={request.path}", code=303)  # type: ignore[return-value]  # werkzeug's wider class
        return show(here)

    return ask


@employee.get("/")
@_signed_in
def first_day(here: Present) -> Response:
    """In which channels somebody is, and why."""
    with reading() as session:
        places = places_of(session, here.organization_id, here.person_id, at=now())
        workspaces = session.scalars(
            select(Workspace.name)
            .join(Account, (Account.organization_id == Workspace.organization_id) & (Account.workspace_id == Workspace.id))
            .where(Account.organization_id == here.organization_id, Account.person_id == here.person_id, Account.state == AccountState.ACTIVE)
            .order_by(Workspace.name)
        ).all()
        company = session.get_one(Organization, here.organization_id).name
    return pages.render(
        "first_day", page="first_day", name=here.display_name, company=company, places=places, summary=_main_reasons(places), workspaces=workspaces
    )


def _main_reasons(places: list[Place]) -> list[Reason]:
    """Each reason once, those that account for most channels first: what the sentence at the top says."""
    counts: dict[Reason, int] = {}
    for place in places:
        for reason in place.reasons:
            counts[reason] = counts.get(reason, 0) + 1
    return sorted(counts, key=lambda reason: (-counts[reason], reason))[:3]


@employee.get("/devices-of-mine")
@_signed_in
def devices(here: Present) -> Response:
    """Everything that lets its owner in just now."""
    return _devices(here)


def _devices(here: Present, *, said: str | None = None) -> Response:
    with reading() as session:
        held = _held(session, here)
    return pages.render("devices", page="devices", held=held, said=said)


def _held(session: Session, here: Present) -> list[Held]:
    at = now()
    open_now = sessions.sessions_of(session, here.organization_id, here.person_id, at=at)
    browsers = [
        Held(
            kind="session", id=one.id, name=one.agent, since=one.created_at, seen=one.seen_at, pushes=False, this=one.id == here.session_id
        )
        for one in open_now
    ]
    enrolled = session.execute(
        select(Device, RelyingParty.name)
        .join(Person, of_person(Device))
        .join(RelyingParty, (RelyingParty.organization_id == Device.organization_id) & (RelyingParty.id == Device.client_id), isouter=True)
        .where(Device.organization_id == here.organization_id, Device.person_id == here.person_id, is_in(at))
        .order_by(Device.enrolled_at.desc())
    ).all()
    mobile = [
        Held(
            kind="device", id=device.id, name=f"{device.name} – {party}" if party else device.name, since=device.enrolled_at,
            seen=device.seen_at, pushes=device.push_digest is not None, this=False,
        )
        for device, party in enrolled
    ]  # fmt: skip
    applications = [
        Held(kind="grant", id=grant.id, name=party, since=grant.created_at, seen=seen or grant.created_at, pushes=False, this=False)
        for grant, party, seen in session.execute(_granted(here, at=at)).all()
        if grant.session_id not in {one.id for one in open_now}
    ]
    return sorted(browsers, key=lambda one: not one.this) + mobile + applications


def _granted(here: Present, *, at: datetime) -> Select[Grant, str, datetime | None]:
    """What applications may have without a device of their own: it outlives the browser in which it was allowed, which then shows it no more."""
    used = select(func.max(IssuedToken.created_at)).where(
        IssuedToken.organization_id == Grant.organization_id, IssuedToken.grant_id == Grant.id
    )  # fmt: skip
    return (
        select(Grant, RelyingParty.name, used.scalar_subquery())
        .join(Person, of_person(Grant))
        .join(RelyingParty, of_client(Grant))
        .where(
            Grant.organization_id == here.organization_id, Grant.person_id == here.person_id, Grant.device_id.is_(None), Grant.expires_at > at,
            lets_in(Grant, at),
        )
        .order_by(Grant.created_at.desc())
    )  # fmt: skip


@employee.post("/devices-of-mine")
@_signed_in
def end_devices(here: Present) -> Response:
    """End one of one's own, or everything else. Somebody else's is not found, whoever asks."""
    if not comes_from_here():
        return pages.render("wrong", status=403)
    if request.form.get("end") == "others":
        in_transaction(lambda session: end_all_else(session, here, at=now()))
        return _devices(here, said="others")
    kind, _, wanted = request.form.get("end", "").partition(" ")

    def act(session: Session) -> int:
        chosen = [one for one in _held(session, here) if not one.this and (one.kind, one.id) == (kind, wanted)]
        if not chosen:
            return 0
        at = now()
        names = ", ".join(f"{one.kind} {one.id}" for one in chosen)
        entry = entries.write(
            session, here.organization_id, at=at, actor=_actor(here), verb="ended own devices", because="their own page",
            subject_kind="person", subject_id=here.person_id, after={"ended": names},
        )  # fmt: skip
        for one in chosen:
            _ENDS[one.kind](session, here.organization_id, one.id, why="ended by its owner", at=at)
        telling.tell_parties(session, here.organization_id, here.person_id, because=entry, at=at, lane=Lane.SYNC)
        return len(chosen)

    ended = in_transaction(act)
    return _devices(here, said=str(ended))


_ENDS: Final[dict[str, Callable[..., object]]] = {"session": sessions.end, "device": sessions.end_device, "grant": sessions.end_grant}


def end_all_else(session: Session, here: Present, *, at: datetime) -> None:
    """Sign somebody out everywhere, also of what is not listed, as a chat's own sessions are; only this browser stays signed in."""
    # Whoever was signed out meanwhile, here too, is not let in again by that.
    if lock_person(session, here.organization_id, here.person_id).access_epoch != here.epoch:
        return
    person = sign_out_everywhere(session, here.organization_id, here.person_id, actor=_actor(here), at=at, because="their own page")
    sessions.carry_on(session, here, epoch=person.access_epoch)


@employee.get("/access")
@_signed_in
def access(here: Present) -> Response:
    """What the company holds of somebody's access, why, and when it ends."""
    with reading() as session:
        person = session.get_one(Person, (here.organization_id, here.person_id))
        company = session.get_one(Organization, here.organization_id).name
        groups = session.scalars(
            select(Group.display_name)
            .join(Membership, (Membership.organization_id == Group.organization_id) & (Membership.group_id == Group.id))
            .join(Record, (Record.organization_id == Membership.organization_id) & (Record.id == Membership.record_id))
            .where(
                Group.organization_id == here.organization_id, Record.person_id == here.person_id, is_in_group(),
                Group.ended_at.is_(None),
            )
            .distinct()
            .order_by(Group.display_name)
        ).all()  # fmt: skip
        workspaces = session.execute(
            select(Workspace.name, Account.account_id)
            .join(Account, (Account.organization_id == Workspace.organization_id) & (Account.workspace_id == Workspace.id))
            # An id that is only kept for them may turn out to be somebody else's there.
            .where(Account.organization_id == here.organization_id, Account.person_id == here.person_id, Account.state != RESERVED)
            .order_by(Workspace.name)
        ).all()
        manager = None
        if person.manager_id is not None:
            manager = session.scalar(
                select(Person.display_name).where(Person.organization_id == here.organization_id, Person.id == person.manager_id)
            )
    return pages.render(
        "access", page="access", company=company, person=person, groups=groups, workspaces=[tuple(row) for row in workspaces], manager=manager,
        here=here,
    )  # fmt: skip


def _actor(here: Present) -> Actor:
    return Actor(kind=ActorKind.PERSON, name=here.person_id)
