"""A record with dates is not switched by the hot path: what a date says would be left out of what is decided."""

from datetime import timedelta

from sqlalchemy import update
from sqlalchemy.orm import Session

from app.clock import now
from app.database import in_transaction
from app.directory.tables import Record, Standing
from app.journal import entries
from app.lifecycle.people import reconsider
from tests.clients.directory import Directory
from tests.company import ADMIN
from tests.unit.scim.choosing import ON, off, person_of, set_brake


def test_whoever_is_switched_on_is_in_for_as_long_as_their_directory_says_now(directory: Directory) -> None:
    set_brake("off")
    ada = directory.add_user("ada")
    off(directory, ada)
    in_transaction(lambda session: _ended_yesterday(session, person_of(ada).organization_id, ada))

    answer = directory.patch(f"/Users/{ada}", ON)

    person = person_of(ada)
    in_transaction(lambda session: reconsider(session, person.organization_id, person.id, at=now()))
    assert answer.status == 200, answer.text
    assert person_of(ada).standing == Standing.ACTIVE


def _ended_yesterday(session: Session, organization_id: str, record_id: str) -> None:
    entry = entries.write(
        session, organization_id, at=now(), actor=ADMIN, verb="changed", because="test", subject_kind="record", subject_id=record_id
    )
    session.execute(update(Record).where(Record.id == record_id).values(ends_at=now() - timedelta(days=1), journal_id=entry))
