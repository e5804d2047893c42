"""Everything a person can hold that lets them in, given to them through the real verbs; and whether it still does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import issued, sessions
from app.access.session_tables import Device, RelyingParty, TokenKind
from app.access.sessions import Authenticated, Limits
from app.database import in_transaction, new_id, reading
from app.directory.tables import Person

DAY = Limits()


@dataclass(frozen=True, kw_only=True)
class Possessions:
    """The secrets that one person has in hand: a cookie, tokens of a relying party, a device."""

    organization_id: str
    person_id: str
    cookie: str
    access_token: str
    refresh_token: str
    code: str
    device_id: str

    def let_in(self, *, at: datetime) -> set[str]:
        """Which of them still open a door at this instant."""
        with reading() as session:
            found = {
                "cookie": sessions.check(session, self.cookie, at=at) is not None,
                "access token": issued.find_access_token(session, self.access_token, at=at) is not None,
                "refresh token": self._grant_stands(session, self.refresh_token, TokenKind.REFRESH, at=at),
                "code": self._grant_stands(session, self.code, TokenKind.CODE, at=at),
                "device": self._device_stands(session, at=at),
            }
        return {name for name, opens in found.items() if opens}

    def _grant_stands(self, session: Session, secret: str, kind: TokenKind, *, at: datetime) -> bool:
        row = issued.find_issued(session, secret, kind)
        return row is not None and issued.hold_grant(session, self.organization_id, row.grant_id, at=at) is not None

    def _device_stands(self, session: Session, *, at: datetime) -> bool:
        query = (
            select(Device.id)
            .join(Person, sessions.of_person(Device))
            .where(Device.organization_id == self.organization_id, Device.id == self.device_id, sessions.lets_in(Device, at))
        )
        return session.scalar(query) is not None


EVERYTHING = {"cookie", "access token", "refresh token", "code", "device"}


def possessions_of(organization_id: str, person_id: str, *, at: datetime, offline: bool = True) -> Possessions:
    """Sign a person in, let a relying party have tokens on their behalf, for themselves or while the browser lasts, and enrol a device."""

    def act(session: Session) -> Possessions:
        person = session.get_one(Person, (organization_id, person_id))
        _, cookie = sessions.start(session, person, Authenticated(connection_id=None, at=at), limits=DAY, agent="Firefox", at=at)
        here = sessions.check(session, cookie, at=at)
        assert here is not None
        party = RelyingParty(organization_id=organization_id, id=new_id(), name=new_id(), created_at=at)
        session.add(party)
        session.flush()
        grant = issued.open_grant(session, here, party, scope="openid offline_access" if offline else "openid", own=offline, at=at)
        device = Device(
            organization_id=organization_id, id=new_id(), person_id=person_id, epoch=person.access_epoch, client_id=party.id, name="Phone",
            push_digest="d", enrolled_at=at, seen_at=at,
        )  # fmt: skip
        session.add(device)
        session.flush()
        # As one enrols: a device stands by a grant of its own.
        issued.open_grant(session, here, party, scope="openid", own=True, at=at).device_id = device.id
        return Possessions(
            organization_id=organization_id, person_id=person_id, cookie=cookie, device_id=device.id,
            access_token=issued.issue(session, grant, TokenKind.ACCESS, at=at), code=issued.issue(session, grant, TokenKind.CODE, at=at),
            refresh_token=issued.issue(session, grant, TokenKind.REFRESH, at=at),
        )  # fmt: skip

    return in_transaction(act)
