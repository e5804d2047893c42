"""Telling a relying party by OpenID Connect Back-Channel Logout 1.0 that what it was granted is over.

One token for each session that the party knows by a name (`sid`): some take no other (Synapse). Its answer is its word and no
proof, so what is known of it is graded as claimed; what it holds of ours is worthless in any case.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import Session, aliased

from app.access.keys import NoSigningKey, Purpose, signer
from app.access.parties import may_be_private
from app.access.sealing import KeyMissing
from app.access.session_tables import Grant, RelyingParty
from app.access.sessions import lets_in, of_person
from app.clock import Clock
from app.database import in_transaction, new_id, reading
from app.delivery.wanted import NotYet
from app.delivery.workspaces import settings_here
from app.directory.tables import Person, Standing
from app.journal.work import Claim
from app.revocation import departures
from app.revocation.tables import Grade, Proof
from app.settings import Settings
from connectors.contract import ConnectorError, RateLimited, Refused, Unreachable
from connectors.visits import Visitor

EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
TOKEN_LIVES: Final = timedelta(minutes=2)
AT_ONCE: Final = 50
"""Sessions of one person that are told of under one claim; the rest follow under the next."""
WITHIN: Final = 20.0
"""Seconds after which the rest follows under the next claim, well before this one's lease runs out."""


@dataclass(frozen=True, kw_only=True)
class Over:
    """A session of a party's that has ended, by its name there, and the grants that it stands for."""

    sid: str
    grants: tuple[str, ...]


def deliver_logout(taken: Claim, party: RelyingParty, *, clock: Clock) -> None:
    """Tell one party of every grant of a person that is over and of which it was not told. Raises ConnectorError, and NotYet."""
    if party.backchannel_logout_uri is None or party.ended_at is not None:
        return
    with reading() as session:
        over = sessions_over(session, party, taken.subject_id, at=clock())
        departure = departures.current(session, taken.organization_id, taken.subject_id)
        proof = session.get(Proof, (taken.organization_id, departure.id, party.id)) if departure is not None else None
    if not over:
        if departure is not None and proof is not None and proof.shut_at is None:
            # It was told of the last one, and whoever told it died before that was written into the proof.
            told_before = departure.id
            in_transaction(lambda session: _acknowledged(session, taken, told_before, at=clock()))
        return
    departure_id = in_transaction(lambda session: _expect(session, taken, party, at=clock()))
    failed = _tell(over[:AT_ONCE], taken, party, clock=clock)
    if failed is not None:
        raise failed
    if len(over) > AT_ONCE:
        raise NotYet(f"{len(over) - AT_ONCE} more sessions of {party.name} are to be told of")
    if departure_id is not None:
        in_transaction(lambda session: _acknowledged(session, taken, departure_id, at=clock()))


def sessions_over(session: Session, party: RelyingParty, person_id: str, *, at: datetime) -> list[Over]:
    """What has ended and was not told of, oldest first. A session that still lives by another grant of its own has not ended."""
    alive = aliased(Grant)
    lives = (
        select(alive.id)
        .where(
            alive.organization_id == Grant.organization_id, alive.client_id == Grant.client_id, alive.sid == Grant.sid,
            alive.ended_at.is_(None), alive.epoch == Person.access_epoch, Person.standing == Standing.ACTIVE,
            or_(Person.access_until.is_(None), Person.access_until > at), alive.expires_at > at,
        )
        .exists()
    )  # fmt: skip
    rows = session.execute(
        select(Grant.sid, Grant.id)
        .join(Person, of_person(Grant))
        .where(
            Grant.organization_id == party.organization_id, Grant.person_id == person_id, Grant.client_id == party.id, Grant.told_at.is_(None),
            and_(~lets_in(Grant, at), ~lives),
        )
        .order_by(Grant.created_at, Grant.id)
    )  # fmt: skip
    found: dict[str, list[str]] = {}
    for sid, grant_id in rows:
        found.setdefault(sid, []).append(grant_id)
    return [Over(sid=sid, grants=tuple(grants)) for sid, grants in found.items()]


def logout_token(session: Session, settings: Settings, party: RelyingParty, *, person_id: str, sid: str, at: datetime) -> str:
    """Back-Channel Logout 1.0 §2.4: `sub` and `sid`, never a nonce. Raises KeyMissing, NoSigningKey."""
    second = int(at.timestamp())
    claims = {
        "iss": settings.public_url, "aud": party.id, "iat": second, "exp": second + int(TOKEN_LIVES.total_seconds()), "jti": new_id(),
        "sub": person_id, "sid": sid, "events": {EVENT: {}},
    }  # fmt: skip
    return signer(session, settings, Purpose.TOKENS, at=at, algorithm=party.algorithm).sign_jwt(claims, typ="logout+jwt")


def _tell(over: Sequence[Over], taken: Claim, party: RelyingParty, *, clock: Clock) -> Exception | None:
    """Tell of each; one that fails keeps none of the others back. Returns what is to be raised of it."""
    settings, until = settings_here(), time.monotonic() + WITHIN
    uri = party.backchannel_logout_uri or ""
    visitor = Visitor(name=f"client {party.name}", allow_private=may_be_private(party), largest=64 * 1024)
    failed: Exception | None = None
    for one in over:
        if time.monotonic() > until:
            return failed or NotYet(f"{party.name} answers slowly; the rest of its sessions is told of next")
        try:
            with reading() as session:
                token = logout_token(session, settings, party, person_id=taken.subject_id, sid=one.sid, at=clock())
            _post(visitor, uri, token)
        except (RateLimited, Refused) as error:
            failed = failed or error
        except (ConnectorError, KeyMissing, NoSigningKey) as error:
            # Whatever it is, a wrong certificate or our own key gone, it is tried again: there is no workspace here to halt.
            failed = failed or (error if isinstance(error, Unreachable) else Unreachable(str(error), sent=False))
        else:
            in_transaction(lambda session, one=one: _told(session, party, one, at=clock()))  # type: ignore[misc]  # defaults bind the loop's values
        if isinstance(failed, RateLimited):
            return failed
    return failed


def _post(visitor: Visitor, uri: str, token: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    reply = visitor.post(uri, urlencode({"logout_token": token}), headers=headers)
    # §2.8: 200 it is; frameworks that have nothing to say make 204 of it.
    if reply.status not in (200, 204):
        raise Refused(f"{reply.source}: answered {reply.status} to a logout token")


def _told(session: Session, party: RelyingParty, one: Over, *, at: datetime) -> None:
    session.execute(
        update(Grant)
        .where(Grant.organization_id == party.organization_id, Grant.id.in_(one.grants), Grant.told_at.is_(None))
        .values(told_at=at)
        .execution_options(synchronize_session=False)
    )


def _expect(session: Session, taken: Claim, party: RelyingParty, *, at: datetime) -> str | None:
    """The departure that this is part of, with a proof that is open until the party has answered; None where nobody has left."""
    departure = departures.current(session, taken.organization_id, taken.subject_id)
    if departure is None:
        return None
    proof = session.get(Proof, (taken.organization_id, departure.id, party.id))
    if proof is None:
        proof = Proof(organization_id=taken.organization_id, departure_id=departure.id, workspace_id=party.id, attempts=0)
        session.add(proof)
    proof.sent_at = proof.sent_at or at
    return departure.id


def _acknowledged(session: Session, taken: Claim, departure_id: str, *, at: datetime) -> None:
    proof = session.get_one(Proof, (taken.organization_id, departure_id, taken.workspace_id))
    proof.attempts += 1
    proof.last_error = None
    told = session.scalars(
        select(Grant.sid)
        .where(
            Grant.organization_id == taken.organization_id, Grant.person_id == taken.subject_id, Grant.client_id == taken.workspace_id,
            Grant.told_at >= proof.sent_at,
        )
        .distinct()
    ).all()  # fmt: skip
    proof.closed = {"sessions": len(told)}
    if proof.shut_at is None:
        proof.acknowledged_at = proof.shut_at = proof.gone_at = at
        proof.shut_grade = proof.gone_grade = Grade.CLAIMED
