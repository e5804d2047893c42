"""Two who begin an engagement of the same person at once: there is one, and whoever came second is told of it."""

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.database import in_transaction
from app.directory.tables import Person, Record, Standing
from app.lifecycle import contractors, engagements
from app.lifecycle.engagement_tables import Engagement
from app.lifecycle.engagements import Unfit
from tests.company import ADMIN
from tests.two_at_once import meanwhile
from tests.unit.lifecycle.contracting import Firm, new_firm, on


def _person(session: Session, firm: Firm, record: Record) -> Person:
    return session.get_one(Person, (firm.company.organization_id, record.person_id))


def _taken_on(session: Session, firm: Firm, record: Record) -> Engagement:
    return engagements.take_on(
        session, _person(session, firm, record), sponsor=_person(session, firm, firm.kim), starts_at=None, ends_at=on(30), kind="Contractor", actor=ADMIN,
        at=on(0),
    )  # fmt: skip


def test_of_two_who_take_on_the_same_person_the_second_is_told_that_they_are(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada")

    with pytest.raises(Unfit, match=r"ada@x\.example is taken on already"):
        meanwhile(installed, lambda s: _taken_on(s, firm, ada), lambda: in_transaction(lambda s: _taken_on(s, firm, ada)))

    assert firm.person(ada).access_until == on(30)


def test_whoever_is_let_go_while_an_engagement_is_begun_of_what_a_directory_says_is_out(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada", kind="Contractor")

    meanwhile(installed, lambda s: contractors.adopt(s, _person(s, firm, ada), at=on(0)), lambda: firm.ends(ada, at=1))

    assert firm.person(ada).standing == Standing.DEPARTED and firm.engagement(ada) is None
