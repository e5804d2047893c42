"""Devices: enrolled with the grant that they hold, and found again by their push token, which is kept sealed.

Whether a device may still be pushed to is asked as every question of access is: with the row of its person, and with a grant
that is still good. So a leaver's push token is refused from the commit on, whatever is stored. Several people may share a
device and its push token: each has a registration, and one's end leaves the other's.
"""

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, select, true, tuple_, update
from sqlalchemy.orm import Session

from app.access import sessions
from app.access.closed import is_closed
from app.access.issued import Holder, hold_grant
from app.access.sealing import derived_key, seal, unseal
from app.access.session_tables import Device, Grant, PushKind, RelyingParty
from app.access.sessions import lets_in, of_person
from app.actors import Actor, ActorKind
from app.database import new_id
from app.directory.names import name_key
from app.directory.tables import Person
from app.journal import entries
from app.settings import Settings

MOST_DEVICES: Final = 50
"""Of one person, that still let somebody in."""
LONGEST_NAME: Final = 100
LONGEST_PLATFORM: Final = 50
LONGEST_TOKEN: Final = 4096
LONGEST_KEY: Final = 200
AT_A_LOOK: Final = 5000
"""Devices among which push tokens that are over are looked for at a time, which takes a processor some 50 ms."""
Place = tuple[str, str]
"""A device among those of all organisations: its organisation's id, and its own."""
_BY_URL: Final = (PushKind.WEB_PUSH, PushKind.UNIFIED_PUSH)
_QUIET: Final = {"synchronize_session": False}


class UnusableDevice(ValueError):
    """A device cannot be enrolled or changed like this; the message says what is wrong, and repeats no token."""


class TooManyDevices(Exception):
    """This person has as many devices as anybody may have."""


class NotEnrolled(LookupError):
    """There is no such device of this person, or it has ended, or the grant that it would rest on has."""


@dataclass(frozen=True, kw_only=True)
class Push:
    """Where a device is pushed to. `keys` are those that Web Push encrypts with (RFC 8291): `p256dh` and `auth`."""

    kind: PushKind
    token: str = field(repr=False)
    keys: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class DeviceDraft:
    """A device as its client describes it, checked."""

    name: str
    platform: str = ""
    push: Push | None = None


@dataclass(frozen=True, kw_only=True)
class PushTarget:
    """A registration that may be pushed to now, for a gateway."""

    device_id: str
    person_id: str
    client_id: str | None
    push: Push


def draft_of(said: Mapping[str, Any]) -> DeviceDraft:
    """What a client says of a device. Raises UnusableDevice."""
    return DeviceDraft(
        name=name_of(said.get("name")), platform=_text(said.get("platform", ""), "platform", longest=LONGEST_PLATFORM, least=0),
        push=push_of(said.get("push")),
    )  # fmt: skip


def name_of(said: object) -> str:
    """Raises UnusableDevice."""
    return _text(said, "name", longest=LONGEST_NAME).strip()


def push_of(said: object) -> Push | None:
    """Raises UnusableDevice."""
    if said is None:
        return None
    if not isinstance(said, Mapping) or said.get("kind") not in list(PushKind):
        raise UnusableDevice(f"push is an object with a kind, one of {', '.join(PushKind)}, and a token")
    kind = PushKind(said["kind"])
    token = _text(said.get("token"), "push.token", longest=LONGEST_TOKEN)
    if kind in _BY_URL and not (token.startswith("https://") and " " not in token):
        raise UnusableDevice(f"the token of {kind} is its endpoint, an https URL")
    keys = said.get("keys")
    if keys is not None and (kind is not PushKind.WEB_PUSH or not isinstance(keys, Mapping) or set(keys) != {"p256dh", "auth"}):
        raise UnusableDevice("push.keys are the p256dh and auth of a Web Push subscription")
    read = None if keys is None else {name: _text(keys[name], f"push.keys.{name}", longest=LONGEST_KEY) for name in ("p256dh", "auth")}
    return Push(kind=kind, token=token, keys=read)


def _text(said: object, name: str, *, longest: int, least: int = 1) -> str:
    if not isinstance(said, str) or not least <= len(said.strip()) or len(said) > longest or not said.isprintable():
        raise UnusableDevice(f"{name} is a text of {least} to {longest} characters that can be printed")
    return said


def push_digest(settings: Settings, token: str) -> str:
    """How a push token is found again. Keyed, since a token is no secret of ours: whoever reads the database learns nothing by trying some."""
    return hmac.digest(derived_key(settings, "push tokens"), token.encode(), "sha256").hex()


def enrol(session: Session, settings: Settings, holder: Holder, draft: DeviceDraft, *, at: datetime) -> tuple[Device, bool]:
    """Enrol the device that holds this grant, or describe it anew where it is enrolled already; whether it is new.

    Raises NotEnrolled where the grant is over by now, TooManyDevices, KeyMissing.
    """
    held = hold_grant(session, holder.organization_id, holder.grant_id, at=at)
    if held is None:
        raise NotEnrolled("the token's grant is over")
    grant, person = held
    device = _standing(session, grant.organization_id, person.id, grant.device_id, at=at) if grant.device_id is not None else None
    is_new = device is None
    if device is None:
        if _count(session, person, at=at) >= MOST_DEVICES:
            raise TooManyDevices(f"nobody has more than {MOST_DEVICES} devices; end one first")
        device = Device(
            organization_id=grant.organization_id, id=new_id(), person_id=person.id, epoch=grant.epoch, client_id=grant.client_id,
            connection_id=grant.connection_id, name=draft.name, enrolled_at=at, seen_at=at,
        )  # fmt: skip
    device.name, device.platform = draft.name, draft.platform
    _journal(session, device, "device enrolled" if is_new else "device changed", push=_kind(draft.push), at=at)
    set_push(session, settings, device, draft.push, at=at)
    session.add(device)
    session.flush()
    grant.device_id = device.id
    session.flush()
    return device, is_new


def change(
    session: Session, settings: Settings, holder: Holder, device_id: str, *, name: str | None = None, platform: str | None = None,
    push: Push | None = None, keeps_push: bool = True, at: datetime,
) -> Device:  # fmt: skip
    """Rename a device or give it another push token, through the client that it was enrolled with. Raises NotEnrolled, KeyMissing."""
    held = hold_grant(session, holder.organization_id, holder.grant_id, at=at)
    device = None if held is None else _standing(session, holder.organization_id, holder.person_id, device_id, at=at)
    if device is None or device.client_id != holder.client_id:
        raise NotEnrolled("there is no such device")
    device.name = device.name if name is None else name
    device.platform = device.platform if platform is None else platform
    _journal(session, device, "device changed", push=device.push_kind if keeps_push else _kind(push), at=at)
    if not keeps_push:
        set_push(session, settings, device, push, at=at)
    device.seen_at = at
    session.flush()
    return device


def set_push(session: Session, settings: Settings, device: Device, push: Push | None, *, at: datetime) -> None:
    """Where this device is pushed to from now on. What the same person had enrolled under that token before is the same device, and loses it."""
    if push is None:
        device.push_kind = device.push_digest = device.sealed_push_token = None
        return
    digest = push_digest(settings, push.token)
    session.execute(
        update(Device)
        .where(
            Device.organization_id == device.organization_id, Device.push_digest == digest, Device.person_id == device.person_id,
            Device.id != device.id, Device.ended_at.is_(None),
        )
        .values(push_kind=None, push_digest=None, sealed_push_token=None)
        .execution_options(**_QUIET)
    )  # fmt: skip
    device.push_kind, device.push_digest, device.seen_at = push.kind, digest, at
    device.sealed_push_token = seal(settings, json.dumps({"token": push.token, "keys": None if push.keys is None else dict(push.keys)}))


def devices_of(session: Session, organization_id: str, person_id: str, *, at: datetime) -> Sequence[Device]:
    """The devices of a person that let somebody in, newest first."""
    return session.scalars(
        select(Device)
        .join(Person, of_person(Device))
        .where(Device.organization_id == organization_id, Device.person_id == person_id, is_in(at))
        .order_by(Device.enrolled_at.desc(), Device.id.desc())
    ).all()


def find(session: Session, organization_id: str, person_id: str, device_id: str, *, at: datetime) -> Device:
    """A device of this very person. Raises NotEnrolled, also for somebody else's: nobody learns that it is there."""
    found = _standing(session, organization_id, person_id, device_id, at=at)
    if found is None:
        raise NotEnrolled("there is no such device")
    return found


def end_own(session: Session, organization_id: str, person_id: str, device_id: str, *, why: str, at: datetime) -> int:
    """End a device of a person: its pushes first, then what it was granted. Returns the journal's entry. Raises NotEnrolled."""
    device = find(session, organization_id, person_id, device_id, at=at)
    entry = _journal(session, device, "device ended", push=None, at=at, because=why)
    sessions.end_device(session, organization_id, device_id, why=why, at=at)
    return entry


def may_push(session: Session, settings: Settings, gateway: RelyingParty, token: str, *, person: str | None = None, at: datetime) -> bool:
    """Whether a gateway may still send to a token: to anybody who is registered under it, or to this person alone. Raises KeyMissing."""
    if is_closed(session):
        return False
    conditions = [Device.organization_id == gateway.organization_id, Device.push_digest == push_digest(settings, token), is_in(at)]
    if person is not None:
        conditions.append(Device.person_id == (_person_id(session, gateway.organization_id, person) or ""))
    return session.scalar(select(Device.id).join(Person, of_person(Device)).where(*conditions).limit(1)) is not None


def targets_of(session: Session, settings: Settings, gateway: RelyingParty, person: str, *, at: datetime) -> list[PushTarget]:
    """Where somebody may be pushed to now, by their id or userName; empty where there is nobody, or nobody who stands. Raises KeyMissing."""
    if is_closed(session):
        return []
    person_id = _person_id(session, gateway.organization_id, person)
    rows = session.scalars(
        select(Device)
        .join(Person, of_person(Device))
        .where(
            Device.organization_id == gateway.organization_id, Device.person_id == (person_id or ""), Device.sealed_push_token.is_not(None),
            is_in(at),
        )
        .order_by(Device.enrolled_at, Device.id)
        .limit(MOST_DEVICES)
    ).all()  # fmt: skip
    return [
        PushTarget(device_id=row.id, person_id=row.person_id, client_id=row.client_id, push=_unsealed(settings, row)) for row in rows
    ]


def prune(session: Session, settings: Settings, gateway: RelyingParty, token: str, *, at: datetime) -> int:
    """The push service says that a token is gone (APNs 410, FCM UNREGISTERED): nobody of this organisation is pushed to there any more.

    The devices stay enrolled, and may bring another token. Returns how many had it; none is no error. Those of people who
    are let in no more are left as they are: they are refused anyway, and the receipt counts them. Raises KeyMissing.
    """
    had = session.scalars(
        select(Device.id)
        .join(Person, of_person(Device))
        .where(Device.organization_id == gateway.organization_id, Device.push_digest == push_digest(settings, token), lets_in(Device, at))
    ).all()
    session.execute(
        update(Device)
        .where(Device.organization_id == gateway.organization_id, Device.id.in_(had))
        .values(push_kind=None, push_digest=None, sealed_push_token=None)
        .execution_options(**_QUIET)
    )
    return len(had)


def is_in(at: datetime) -> ColumnElement[bool]:
    """The device lets somebody in, and holds something that does: one whose tokens are over is shown, counted and told no more.

    To be asked with the row of its person, joined by `of_person`. Somebody who signs in anew at an application enrols another device.
    """
    holds = (
        select(Grant.id)
        .where(
            Grant.organization_id == Device.organization_id, Grant.device_id == Device.id, lets_in(Grant, at), Grant.expires_at > at,
            RelyingParty.organization_id == Grant.organization_id, RelyingParty.id == Grant.client_id, RelyingParty.ended_at.is_(None),
        )
        .correlate(Device, Person)
        .exists()
    )  # fmt: skip
    return and_(lets_in(Device, at), holds)


def look_for_over(session: Session, *, at: datetime, after: Place | None, most: int = AT_A_LOOK) -> tuple[list[Place], Place | None]:
    """Which of the devices behind `after` hold a push token that nobody is pushed to with any more, and how far that was looked.

    The place is None at the end of all devices. Writes nothing, so that nobody waits for it.
    """
    looked = (
        select(Device.organization_id, Device.id, and_(Device.sealed_push_token.is_not(None), ~is_in(at)))
        .join(Person, of_person(Device))
        .where(true() if after is None else tuple_(Device.organization_id, Device.id) > tuple_(*after))
        .order_by(Device.organization_id, Device.id)
        .limit(most)
    )
    rows = [((organization_id, device_id), over) for organization_id, device_id, over in session.execute(looked)]
    return [place for place, over in rows if over], rows[-1][0] if len(rows) == most else None


def forget(session: Session, places: Sequence[Place], *, at: datetime) -> None:
    """Delete the push tokens of these devices, where nobody is pushed to with them any more. That there was one stays known, for the receipt."""
    over = select(Person.id).where(of_person(Device), ~is_in(at)).correlate(Device).exists()
    for organization_id, device_id in places:
        session.execute(
            update(Device)
            .where(Device.organization_id == organization_id, Device.id == device_id, over)
            .values(sealed_push_token=None)
            .execution_options(**_QUIET)
        )


def _person_id(session: Session, organization_id: str, said: str) -> str | None:
    """Who is meant: an id before a name, so that nobody is found by calling themselves what somebody's id is. A name of two means nobody."""
    # PostgreSQL cannot even be asked for a text with a NUL in it.
    if not said.isprintable():
        return None
    by_id = session.scalar(select(Person.id).where(Person.organization_id == organization_id, Person.id == said))
    if by_id is not None:
        return by_id
    named = session.scalars(
        select(Person.id).where(Person.organization_id == organization_id, Person.user_name_key == name_key(said)).limit(2)
    ).all()
    return named[0] if len(named) == 1 else None


def _standing(session: Session, organization_id: str, person_id: str, device_id: str, *, at: datetime) -> Device | None:
    return session.scalar(
        select(Device)
        .join(Person, of_person(Device))
        .where(Device.organization_id == organization_id, Device.id == device_id, Device.person_id == person_id, is_in(at))
        .execution_options(populate_existing=True)
    )


def _count(session: Session, person: Person, *, at: datetime) -> int:
    return session.scalar(
        select(func.count())
        .select_from(Device)
        .join(Person, of_person(Device))
        .where(Device.organization_id == person.organization_id, Device.person_id == person.id, is_in(at))
    ) or 0


def _unsealed(settings: Settings, device: Device) -> Push:
    kept = json.loads(unseal(settings, device.sealed_push_token or b""))
    return Push(kind=PushKind(device.push_kind or ""), token=kept["token"], keys=kept["keys"])


def _kind(push: Push | None) -> str | None:
    return None if push is None else push.kind


def _journal(session: Session, device: Device, verb: str, *, push: str | None, at: datetime, because: str = "its own client") -> int:
    return entries.write(
        session, device.organization_id, at=at, actor=Actor(kind=ActorKind.PERSON, name=device.person_id), verb=verb, because=because,
        subject_kind="device", subject_id=device.id,
        after={"name": device.name, "platform": device.platform, "client": device.client_id, "push": push},
    )  # fmt: skip
