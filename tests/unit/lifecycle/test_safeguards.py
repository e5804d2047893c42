"""A setting that holds less than the one before is told to others; one that holds as much, or more, is not."""

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.database import in_transaction, reading
from app.journal.tables import Organization
from app.lifecycle.sources import set_setting
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import open_alarms
from tests.company import ADMIN, NOW, Company, new_company


def _set(company: Company, key: str, *values: str) -> None:
    def act(session: Session, value: str) -> None:
        set_setting(session, session.get_one(Organization, company.organization_id), key, value, actor=ADMIN, at=NOW)

    for value in values:
        in_transaction(lambda session, value=value: act(session, value))  # type: ignore[misc]  # the default binds the loop's value


def _told(company: Company) -> list[tuple[str, int, str]]:
    with reading() as session:
        found = open_alarms(session, company.organization_id)
        assert {one.kind for one in found} <= {AlarmKind.SAFEGUARD_LOWERED}
        return [(one.about, one.times, one.sentence) for one in found]


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("approvals", ("2", "1")),
        ("push_brake", ("off",)),
        ("push_brake", ("50/60s", "51/60s")),
        ("push_brake", ("50/60s", "50/59s")),
        ("pull_brake", ("off",)),
        ("pull_brake", ("20%,10,500", "21%,10,500")),
        ("pull_brake", ("20%,10,500", "20%,11,500")),
        ("pull_brake", ("20%,10,500", "20%,10,501")),
    ],
)
def test_whoever_loosens_what_holds_is_named(installed: Flask, key: str, values: tuple[str, ...]) -> None:
    company = new_company()

    _set(company, key, *values)

    [(about, times, sentence)] = _told(company)
    assert (about, times) == (key, 1)
    assert str(ADMIN) in sentence and sentence.endswith(f"to {values[-1]}.")


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("approvals", ("1", "2", "2")),
        ("push_brake", ("10/60s", "10/60s", "9/3600s")),
        ("pull_brake", ("20%,10,500", "10%,5,100", "0%,0,0")),
        ("time_zone", ("Europe/Berlin", "UTC")),
        ("erase_after", ("90d", "off")),
    ],
)
def test_what_holds_as_much_or_more_is_nobodys_concern(installed: Flask, key: str, values: tuple[str, ...]) -> None:
    company = new_company()

    _set(company, key, *values)

    assert _told(company) == []


def test_loosening_it_again_is_counted_and_an_unreadable_one_holds_all(installed: Flask) -> None:
    company = new_company()

    def spoil(session: Session) -> None:
        organization = session.get_one(Organization, company.organization_id)
        organization.settings = {**organization.settings, "approvals": "many"}

    in_transaction(spoil)
    _set(company, "approvals", "1", "2", "1")

    [(about, times, sentence)] = _told(company)
    assert (about, times, sentence) == ("approvals", 2, f"{ADMIN} set approvals from 2 to 1.")
