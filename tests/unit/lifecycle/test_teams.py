"""Managers are looked at again when what they lead changes, since a team's channel is theirs only while somebody is in it."""

from flask import Flask
from sqlalchemy import delete, select

from app.database import in_transaction, reading
from app.journal.tables import Subject, Work
from tests.company import later, new_company


def people_to_look_at() -> set[str]:
    with reading() as session:
        return set(session.scalars(select(Work.subject_id).where(Work.subject == Subject.PERSON)))


def test_a_manager_is_looked_at_again_when_a_report_leaves(installed: Flask) -> None:
    company = new_company()
    boss = company.joins("boss@x.example", "1")
    ada = company.joins("ada@x.example", "2", manager={"value": boss.id})
    in_transaction(lambda session: session.execute(delete(Work)))

    company.says(ada, active=False, at=later(10))

    assert people_to_look_at() == {ada.person_id, boss.person_id}
