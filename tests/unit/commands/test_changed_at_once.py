"""Two operators who change one thing at the same moment, each something else of it: both are kept."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from app.access.parties import find_party, fits, party_named, rotate_secret
from app.clock import microseconds, now
from app.database import reading
from app.journal.tables import Organization
from app.lifecycle.sources import find_source, revoke, rotate, secrets_of, set_setting
from app.sso import saml_refreshing
from app.sso.connections import find_named, settings_of
from tests.company import ADMIN
from tests.saml_provider import SAMLProvider, keys
from tests.two_at_once import meanwhile
from tests.unit.commands.conftest import Desk

pytestmark = pytest.mark.slow


def test_two_settings_that_are_set_at_once_are_both_in_force(desk: Desk) -> None:
    organization_id = desk.organization_id

    def set_zone(session: Session) -> None:
        set_setting(session, session.get_one(Organization, organization_id), "time_zone", "Europe/Berlin", actor=ADMIN, at=now())

    meanwhile(desk.app, set_zone, lambda: desk.asks("settings", "set", "push_brake", "5/60s"))

    said = desk.asks("settings", "list")["settings"]
    assert (said["time_zone"], said["push_brake"]) == ("Europe/Berlin", "5/60s")


def test_a_certificate_that_is_forgotten_while_a_choice_is_made_stays_forgotten(desk: Desk) -> None:
    stolen, fresh = (SAMLProvider(key=key, certificates=(key,)) for key in (keys("stolen"), keys("fresh")))
    desk.asks("connection", "add", "saml", "okta", "--metadata", desk.file("metadata.xml", stolen.metadata()))
    organization_id = desk.organization_id

    def replace(session: Session) -> None:
        saml_refreshing.replace(session, find_named(session, organization_id, "okta"), fresh.metadata(), actor=ADMIN, at=now())

    meanwhile(desk.app, replace, lambda: desk.asks("connection", "set", "okta", "--require-second-factor"))

    with desk.app.app_context(), reading() as session:
        kept = settings_of(find_named(session, organization_id, "okta"))
    assert kept.require_second_factor
    assert len(kept.saml["certificates"]) == 1
    assert fresh.certificates[0].bare_certificate in "".join(kept.saml["certificates"][0].split())


@pytest.mark.parametrize("first", ["rotate", "revoke"])
def test_a_secret_that_is_revoked_while_another_is_given_is_good_no_more(desk: Desk, first: str) -> None:
    secret = desk.asks("source", "add", "hr", "workday")["secret"]
    organization_id, settings = desk.organization_id, desk.app.config["DOORLIST"]

    def act(session: Session) -> None:
        source = find_source(session, organization_id, "workday")
        if first == "rotate":
            rotate(session, source, settings=settings, actor=ADMIN, at=now())
        else:
            revoke(session, source, actor=ADMIN, at=now())

    meanwhile(desk.app, act, lambda: desk.asks("source", "revoke" if first == "rotate" else "rotate", "workday"))

    with desk.app.app_context(), reading() as session:
        kept = secrets_of(find_source(session, organization_id, "workday"), settings=settings)
    assert len(kept) == (0 if first == "rotate" else 1)
    assert secret not in kept


def test_of_two_who_rotate_a_client_at_once_both_have_a_secret_that_is_good(desk: Desk) -> None:
    client_id = desk.asks("client", "add", "chat", "--redirect-uri", "https://chat.example/callback")["client_id"]
    organization_id = desk.organization_id

    def rotate(session: Session) -> str:
        return rotate_secret(session, party_named(session, organization_id, "chat"), overlap=timedelta(hours=1), actor=ADMIN, at=now())

    one, other = meanwhile(desk.app, rotate, lambda: desk.asks("client", "rotate", "chat")["client_secret"])

    with desk.app.app_context(), reading() as session:
        party = find_party(session, client_id)
    assert party is not None
    assert [fits(secret, party.secret_digest, party.settings, at=microseconds(now())) for secret in (one, other)] == [True, True]
