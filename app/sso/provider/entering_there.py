"""Letting somebody who is signed in here into an application, and writing down that it was done."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.issued import hold_session, open_grant
from app.access.session_tables import Grant, RelyingParty
from app.access.sessions import Present
from app.actors import Actor, ActorKind
from app.journal import entries
from app.sso.entering import refuse_while_closed
from app.sso.provider.id_tokens import how_of


def let_into(
    session: Session, present: Present, party: RelyingParty, *, scope: str, own: bool, wanted: Sequence[str] = (), at: datetime
) -> Grant | None:
    """A new grant; None where they may not enter any more. One that is the client's `own` outlives the browser. Raises Refused.

    `wanted` are the classes of authentication that the client asked for: it is told one of them, where one was met. An
    application that asks again and again for the same session is written down once. What comes of a grant later, by its code or
    by a refresh, is not asked about again: that it may come was written down here.
    """
    refuse_while_closed(session, connection_id=None, at=at)
    if (own and present.break_glass) or not hold_session(session, present, at=at):
        return None
    grant = open_grant(session, present, party, scope=scope, own=own, at=at, **how_of(present, wanted))
    before = select(Grant.id).where(
        Grant.organization_id == grant.organization_id, Grant.person_id == grant.person_id, Grant.client_id == party.id, Grant.sid == grant.sid,
        Grant.id != grant.id,
    )  # fmt: skip
    if session.scalar(before.limit(1)) is None:
        entries.write(
            session, present.organization_id, at=at, actor=Actor(kind=ActorKind.PERSON, name=present.person_id), verb="entered an application",
            because=party.name, subject_kind="person", subject_id=present.person_id,
            after={"client": party.id, "grant": grant.id, "session": present.session_id, "device": own},
        )  # fmt: skip
    return grant
