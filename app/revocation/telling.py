"""Whom to tell that somebody is signed out: each place gets one row of work, and is looked at on its own."""

from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.session_tables import Grant, RelyingParty
from app.access.tables import Account, Workspace
from app.journal import work
from app.journal.tables import HERE, Lane, Subject
from app.statements import param

# Asked of everybody who leaves, so it is built once.
_UNTOLD: Final = select(RelyingParty.id).where(
    RelyingParty.organization_id == param("organization"),
    RelyingParty.backchannel_logout_uri.is_not(None),
    select(Grant.id)
    .where(
        Grant.organization_id == RelyingParty.organization_id, Grant.client_id == RelyingParty.id, Grant.person_id == param("person"),
        Grant.told_at.is_(None),
    )
    .exists(),
)  # fmt: skip


def tell_of_everything(session: Session, organization_id: str, person_id: str, *, because: int | None, at: datetime) -> None:
    """Whatever this person had by an older epoch is over: relying parties, streams and workspaces are told of it.

    One row, whatever the person held; it is taken apart where it is delivered.
    """
    work.want(
        session, organization_id, subject=Subject.ACCESS, subject_ids=[person_id], because=because, due_at=at, lane=Lane.DEPARTURES,
        workspace_id=HERE,
    )  # fmt: skip


def tell_parties(session: Session, organization_id: str, person_id: str, *, because: int | None, at: datetime, lane: Lane) -> list[str]:
    """Put every relying party to work that has been granted something for this person and was not told yet. Returns their ids.

    Which of the grants are over is asked when the party is told, so asking too often does no harm.
    """
    parties = session.scalars(_UNTOLD, {"organization": organization_id, "person": person_id}).all()
    for party in parties:
        _want(session, organization_id, person_id, place=party, because=because, at=at, lane=lane)
    return list(parties)


def tell_workspaces(session: Session, organization_id: str, person_id: str, *, because: int | None, at: datetime) -> None:
    """Have the sessions of somebody who stays ended in every workspace where they have an account."""
    for workspace in session.scalars(
        select(Workspace.id)
        .join(Account, (Account.organization_id == Workspace.organization_id) & (Account.workspace_id == Workspace.id))
        .where(Workspace.organization_id == organization_id, Account.person_id == person_id)
    ):
        _want(session, organization_id, person_id, place=workspace, because=because, at=at, lane=Lane.DEPARTURES)


def _want(session: Session, organization_id: str, person_id: str, *, place: str, because: int | None, at: datetime, lane: Lane) -> None:
    work.want(
        session, organization_id, subject=Subject.ACCESS, subject_ids=[person_id], because=because, due_at=at, lane=lane, workspace_id=place
    )
