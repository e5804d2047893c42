"""Attacks on departure, by clocks (D06): somebody returned by a clock that was ahead, and whoever has them leave looks at one that is right."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask

from app.clock import now
from app.database import in_transaction
from app.directory.tables import StatementKind, Voice
from app.lifecycle import leaving
from app.lifecycle.records import RecordDraft, change_record
from tests.attacks.test_ways_out import WAYS_OFF
from tests.clients.directory import Directory
from tests.company import ADMIN, OKTA, Company, document, new_company
from tests.hr_system import HR
from tests.hr_system import leaving as leaving_call
from tests.possessions import EVERYTHING, Possessions, possessions_of
from tests.unit.scim.choosing import person_of

AHEAD = timedelta(hours=1)
TAKES = (StatementKind.LEAVES, StatementKind.PAUSES, StatementKind.BARS)


def say(organization_id: str, person_id: str, voice: Voice, kind: StatementKind, *, ahead: timedelta = timedelta()) -> None:
    at = now() + ahead
    in_transaction(
        lambda session: leaving.say(
            session, organization_id, person_id, voice=voice, kind=kind, said_by="test", effective_at=at, actor=ADMIN, at=at, because="test"
        )
    )  # fmt: skip


def back_in_an_hour(organization_id: str, person_id: str) -> Possessions:
    """What they hold who left and are back, by a clock that is an hour ahead."""
    say(organization_id, person_id, Voice.OPERATOR, StatementKind.LEAVES)
    say(organization_id, person_id, Voice.OPERATOR, StatementKind.RETURNS, ahead=AHEAD)
    held = possessions_of(organization_id, person_id, at=now())
    assert held.let_in(at=now()) == EVERYTHING
    return held


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


@pytest.mark.parametrize("voice", [Voice.OPERATOR, Voice.HR, Voice.SPONSOR, Voice.SIGNAL])
@pytest.mark.parametrize("kind", TAKES)
def test_d06_whatever_a_voice_says_after_that_return_takes_access(company: Company, voice: Voice, kind: StatementKind) -> None:
    ada = company.joins("ada@x.example", "E-1")
    held = back_in_an_hour(company.organization_id, ada.person_id)

    say(company.organization_id, ada.person_id, voice, kind)

    assert held.let_in(at=now()) == set()
    assert held.let_in(at=now() + 2 * AHEAD) == set()


def test_d06_so_does_every_form_of_off_over_scim(directory: Directory) -> None:
    for way, act in WAYS_OFF.items():
        ada = directory.add_user("ada")
        person = person_of(ada)
        held = back_in_an_hour(person.organization_id, person.id)

        act(directory, ada)

        assert held.let_in(at=now()) == set(), way
        assert held.let_in(at=now() + 2 * AHEAD) == set(), way
        directory.send("DELETE", f"/Users/{ada}")


@pytest.mark.parametrize("said", [{"revoke_access": "immediately"}, {"last_day_of_work": "2020-02-29"}, {"last_day_of_work": "2020-02-29", "engagement_id": "7"}])
def test_d06_so_does_a_call_of_hr(installed: Flask, company: Company, said: dict[str, str]) -> None:
    ada = company.joins("ada@x.example", "E-1")
    held = back_in_an_hour(company.organization_id, ada.person_id)

    HR(installed, company).call(leaving_call("E-1", **said))

    assert held.let_in(at=now()) == set()


def test_d06_so_does_one_that_has_waited_for_its_person(installed: Flask, company: Company) -> None:
    ada = company.joins("ada@x.example")
    held = back_in_an_hour(company.organization_id, ada.person_id)
    assert HR(installed, company).call(leaving_call("E-1", revoke_access="immediately")).status_code == 202

    numbered = RecordDraft(external_id=ada.external_id, user_name=ada.user_name, active=True, document=document(ada.user_name, "E-1"))
    in_transaction(
        lambda session: change_record(
            session, company.organization_id, company.source_id, ada.id, numbered, actor=OKTA, at=now(), because="test"
        )
    )

    assert held.let_in(at=now()) == set()
