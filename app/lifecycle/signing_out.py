"""Signing somebody out everywhere who stays: nothing that was issued to them before this works any more."""

from datetime import datetime

from sqlalchemy.orm import Session

from app.actors import Actor
from app.directory.tables import Person, Standing
from app.journal import entries
from app.lifecycle.people import lock_meant
from app.revocation import telling


def sign_out_everywhere(session: Session, organization_id: str, person_id: str, *, actor: Actor, at: datetime, because: str) -> Person:
    """End every session, token and device of a person by moving the epoch, here and in every place that relies on it.

    They may sign in again at once where their standing lets them. Twice is twice: what was issued in between ends as well.
    Of somebody who has no access nothing is changed, since there is nothing left to end. Raises TurnedOut.
    """
    person = lock_meant(session, organization_id, person_id)
    if person.standing != Standing.ACTIVE:
        return person
    entry = entries.write(
        session, organization_id, at=at, actor=actor, verb="signed out everywhere", because=because, subject_kind="person", subject_id=person_id,
        before={"access_epoch": person.access_epoch}, after={"access_epoch": person.access_epoch + 1},
    )  # fmt: skip
    person.access_epoch += 1
    person.journal_id = entry
    session.flush()
    telling.tell_of_everything(session, organization_id, person_id, because=entry, at=at)
    telling.tell_workspaces(session, organization_id, person_id, because=entry, at=at)
    return person
