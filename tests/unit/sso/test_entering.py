"""Who may enter through a connection, for how long, and what is written down of it."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event

import pytest
from flask import Flask, current_app
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.access import closed, sessions
from app.access.connection_tables import Identity
from app.access.session_tables import WebSession
from app.database import in_transaction, reading
from app.directory.tables import Person, Record
from app.journal import entries
from app.lifecycle.people import lock_person
from app.lifecycle.signing_out import sign_out_everywhere
from app.sso import connections
from app.sso.entering import enter, remembered
from app.sso.refusals import Reason, Refused
from app.sso.verified import DirectoryIds
from tests.company import ADMIN, NOW, Company, another_source, later, new_company
from tests.lagging import audit_may_lag
from tests.vouching import Provider, access_ends, caught_up, decide, entries_of, in_group, is_in, joins_as, new_provider

pytestmark = pytest.mark.usefixtures("installed")


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


@pytest.fixture
def okta(company: Company) -> Provider:
    return new_provider(company)


def test_a_subject_that_is_the_directorys_own_id_comes_in(company: Company, okta: Provider) -> None:
    ada = joins_as(company, "00u1", "ada")

    entered = okta.lets_in("00u1", return_to="/channels")

    assert (entered.present.person_id, entered.return_to) == (ada.person_id, "/channels")
    assert is_in(entered.cookie)


def test_the_first_sign_in_binds_and_the_second_finds_it(company: Company, okta: Provider) -> None:
    ada = joins_as(company, "00u1", "ada")
    okta.lets_in("00u1")

    again = okta.lets_in("00u1", at=later(5))

    assert again.present.person_id == ada.person_id
    with reading() as session:
        assert [(one.subject, one.person_id, one.bound_by) for one in session.scalars(select(Identity))] == [("00u1", ada.person_id, "externalId")]
    assert [entry.subject_id for entry in entries_of(company.organization_id, "identity bound")] == [ada.person_id]


def test_an_identity_that_is_taken_away_at_the_very_moment_lets_nobody_in(installed: Flask, company: Company, okta: Provider) -> None:
    """Whoever takes it away holds the person's row; the sign-in has found the identity already, and waits for that row."""
    ada = joins_as(company, "00u1", "ada")
    okta.lets_in("00u1")
    caught_up(later(5))
    taken = Event()

    def sign_in() -> Reason | None:
        taken.wait(30)
        with installed.app_context():
            try:
                enter(current_app.config["DOORLIST"], okta.vouches_for("00u1", at=later(5)), agent="", at=later(5))
            except Refused as error:
                return error.reason
        return None

    def unbind(session: Session) -> None:
        lock_person(session, company.organization_id, ada.person_id)
        connections.unbind(session, okta.row(session), ada.person_id, actor=ADMIN, at=later(4))
        taken.set()
        # Long enough for the sign-in to have come as far as the row; where it has not, it finds nobody bound.
        time.sleep(0.5)

    with ThreadPoolExecutor(1) as threads:
        came = threads.submit(sign_in)
        in_transaction(unbind)
        refused = came.result(60)

    with reading() as session:
        standing = session.scalars(select(Identity.id).where(Identity.ended_at.is_(None))).all()
    # Whoever comes only after that is bound anew, by the directory.
    assert (refused is Reason.NOT_KNOWN) == (standing == [])


def test_a_sign_in_is_in_the_journal_under_the_persons_own_name(company: Company, okta: Provider) -> None:
    ada = joins_as(company, "00u1", "ada")

    entered = okta.lets_in("00u1", acr="phr", amr=("hwk",))

    (entry,) = entries_of(company.organization_id, "signed in")
    assert (entry.actor, entry.subject_id) == (f"person:{ada.person_id}", ada.person_id)
    assert entry.after is not None and entry.after["session"] == entered.present.session_id and entry.after["acr"] == "phr"
    assert entered.cookie not in json.dumps(entry.after)


def test_an_attribute_that_the_connection_names_finds_the_record(company: Company) -> None:
    provider = new_provider(company, settings={"directory_id": {"attribute": "number", "matches": "employeeNumber"}})
    ada = joins_as(company, "00u1", "ada", "17")

    entered = provider.lets_in("opaque", directory_ids=DirectoryIds(employee_number="17"))

    assert entered.present.person_id == ada.person_id


def test_a_user_name_binds_only_where_the_connection_says_so(company: Company, okta: Provider) -> None:
    ada = joins_as(company, "00u1", "ada")

    assert okta.refuses("ada") is Reason.NOT_KNOWN

    okta.changes(directory_id={"matches": "userName"})
    assert okta.lets_in("Ada").present.person_id == ada.person_id


def test_an_id_that_two_directories_use_for_two_people_binds_nobody_until_one_is_chosen(company: Company, okta: Provider) -> None:
    entra = another_source(company, "entra")
    joins_as(company, "1001", "ada")
    grace = joins_as(company, "1001", "grace", source_id=entra)

    with pytest.raises(Refused, match="several people"):
        okta.lets_in("1001")

    okta.changes(directory_id={"source_id": entra})
    assert okta.lets_in("1001").present.person_id == grace.person_id


def test_two_directories_that_mean_the_same_person_by_it_do_no_harm(company: Company, okta: Provider) -> None:
    ada = joins_as(company, "1001", "ada", "17")
    joins_as(company, "1001", "ada", "17", source_id=another_source(company, "entra"))

    assert okta.lets_in("1001").present.person_id == ada.person_id


def test_the_session_ends_when_the_provider_no_longer_vouches(company: Company, okta: Provider) -> None:
    joins_as(company, "00u1")

    entered = okta.lets_in("00u1", until=later(600))

    assert entered.present.expires_at == later(600)
    assert not is_in(entered.cookie, at=later(600))


def test_the_organisation_says_how_long_a_session_lasts(company: Company, okta: Provider) -> None:
    joins_as(company, "00u1")
    decide(company, "session_absolute", "2h")
    decide(company, "session_idle", "10m")

    entered = okta.lets_in("00u1", until=NOW + timedelta(days=2))

    assert (entered.present.expires_at, entered.present.idle_until) == (later(7200), later(600))


def test_a_contractors_session_ends_with_their_access(company: Company, okta: Provider) -> None:
    contractor = joins_as(company, "00u1")
    access_ends(company, contractor, at=later(900))

    entered = okta.lets_in("00u1")

    assert entered.present.expires_at == later(900)
    assert not is_in(entered.cookie, at=later(900))


@pytest.mark.parametrize(
    ("acr", "amr"),
    [(None, ("pwd", "mfa")), ("https://refeds.org/profile/mfa", ()), ("phr", ()), (None, ("http://schemas.microsoft.com/claims/multipleauthn",))],
)
def test_a_connection_that_demands_a_second_factor_is_content_with_what_says_so(
    company: Company, okta: Provider, acr: str | None, amr: tuple[str, ...]
) -> None:
    joins_as(company, "00u1")
    okta.changes(require_second_factor=True)

    assert okta.refuses("00u1", acr="urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport", amr=("pwd",)) is Reason.SECOND_FACTOR
    assert okta.lets_in("00u1", acr=acr, amr=amr).present.strong


def test_a_connection_can_say_itself_what_a_second_factor_is(company: Company, okta: Provider) -> None:
    joins_as(company, "00u1")
    okta.changes(require_second_factor=True, strong=["urn:acme:two-steps"])

    assert okta.refuses("00u1", amr=("mfa",)) is Reason.SECOND_FACTOR
    assert okta.lets_in("00u1", acr="urn:acme:two-steps").present.strong


def test_an_administrator_needs_a_second_factor_and_others_do_not(company: Company, okta: Provider) -> None:
    ada = joins_as(company, "00u1", "ada")
    joins_as(company, "00u2", "grace")
    in_group(company, "IT admins", ada)
    decide(company, "role_groups", '{"admin": ["it ADMINS"]}')

    assert okta.refuses("00u1", amr=("pwd",)) is Reason.SECOND_FACTOR
    assert okta.lets_in("00u1", amr=("mfa",)).present.strong
    assert not okta.lets_in("00u2", amr=("pwd",)).present.strong


def test_just_in_time_joining_is_off_unless_it_is_turned_on(company: Company) -> None:
    provider = new_provider(company, domains=("northwind.example",))

    assert provider.refuses("new", email="eve@northwind.example") is Reason.NOT_KNOWN

    provider.changes(jit=True)
    entered = provider.lets_in("new", email="eve@northwind.example", display_name="Eve")
    assert entered.present.display_name == "Eve"
    assert provider.lets_in("new", at=later(5), email="eve@northwind.example").present.person_id == entered.present.person_id


def test_a_guest_or_contractor_is_never_joined_just_in_time(company: Company) -> None:
    provider = new_provider(company, domains=("northwind.example",), settings={"jit": True})

    assert provider.refuses("guest", email="eve@agency.example") is Reason.NOT_KNOWN
    assert provider.refuses("guest", email=None) is Reason.NOT_KNOWN


def test_whoever_joined_just_in_time_can_be_shut_out_and_does_not_come_back_by_another_subject(company: Company) -> None:
    provider = new_provider(company, domains=("northwind.example",), settings={"jit": True})
    entered = provider.lets_in("new", email="eve@northwind.example")
    with reading() as session:
        record = session.scalars(select(Record).where(Record.person_id == entered.present.person_id)).one()
    access_ends(company, record, at=NOW)

    assert not is_in(entered.cookie)
    assert provider.refuses("new", at=later(5), email="eve@northwind.example") is Reason.NO_ACCESS
    assert provider.refuses("newer", at=later(5), email="Eve@northwind.example") is Reason.NOT_KNOWN


def test_whom_a_directory_knows_is_not_joined_a_second_time_by_another_subject(company: Company) -> None:
    provider = new_provider(company, domains=("northwind.example",), settings={"jit": True})
    leaver = joins_as(company, "00u1", "ada@northwind.example")
    company.says(leaver, active=False)

    assert provider.refuses("another", at=later(5), email="ada@northwind.example") is Reason.NOT_KNOWN


@pytest.mark.parametrize("said", [None, "@northwind.example", "northwind.example", "eve@home@northwind.example", "eve dropper@northwind.example", "<eve@northwind.example"])
def test_nobody_joins_by_what_is_no_address(company: Company, said: str | None) -> None:
    provider = new_provider(company, domains=("northwind.example",), settings={"jit": True})

    assert provider.refuses("00u1", email=said) is Reason.NOT_KNOWN


@pytest.mark.parametrize("said", ["eve+work@northwind.example", "o'eve@northwind.example", "ädä@northwind.example", '"eve @ home"@northwind.example', " Eve@NorthWind.example "])
def test_who_has_an_unusual_address_joins_by_it(company: Company, said: str) -> None:
    provider = new_provider(company, domains=("northwind.example",), settings={"jit": True})

    eve = provider.lets_in("00u1", email=said).present

    with reading() as session:
        assert session.get_one(Person, (company.organization_id, eve.person_id)).email == said.strip()


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ("ada@münchen.example", "ada@xn--mnchen-3ya.example"), ("ada@xn--mnchen-3ya.example", "ada@MÜNCHEN.example"),
        ("ada@münchen.example", "ada@münchen.example."),
    ],
)  # fmt: skip
def test_a_leaver_does_not_come_back_by_another_spelling_of_their_domain(company: Company, known: str, said: str) -> None:
    provider = new_provider(company, domains=("münchen.example",), settings={"jit": True})
    company.says(joins_as(company, "00u1", known), active=False)

    assert provider.refuses("another", at=later(5), email=said) is Reason.NOT_KNOWN
    assert provider.lets_in("other", at=later(5), email=said.replace("ada", "eve")).present.person_id


def test_a_directory_that_names_somebody_later_decides_from_then_on(company: Company) -> None:
    provider = new_provider(company, domains=("northwind.example",), settings={"jit": True})
    provider.lets_in("00u1", email="eve@northwind.example")
    joins_as(company, "00u1", "eve@northwind.example", at=later(1))

    assert provider.refuses("00u1", at=later(5), email="eve@northwind.example") is Reason.NOT_KNOWN


def test_the_session_that_the_browser_had_ends(company: Company, okta: Provider) -> None:
    joins_as(company, "00u1")
    before = okta.lets_in("00u1")

    after = okta.lets_in("00u1", at=later(5), asked={"replaces": remembered(organization_id=before.present.organization_id, session_id=before.present.session_id)})

    assert after.cookie != before.cookie
    assert (is_in(before.cookie, at=later(5)), is_in(after.cookie, at=later(5))) == (False, True)


def test_the_session_that_the_browser_had_in_another_organisation_ends_too(company: Company, okta: Provider) -> None:
    elsewhere = new_company()
    joins_as(elsewhere, "00u1")
    theirs, others = (new_provider(elsewhere, name=name, issuer=f"https://{name}.example").lets_in("00u1") for name in ("one", "two"))
    joins_as(company, "00u1")

    okta.lets_in("00u1", asked={"replaces": remembered(organization_id=theirs.present.organization_id, session_id=theirs.present.session_id)})

    assert (is_in(theirs.cookie), is_in(others.cookie)) == (False, True)


def test_what_the_provider_needs_for_signing_out_is_kept_and_its_token_sealed(company: Company, okta: Provider) -> None:
    joins_as(company, "00u1")

    entered = okta.lets_in("00u1", upstream_session="s1", name_id={"value": "00u1"}, id_token="eyJ.secret.token")

    with reading() as session:
        row = session.get_one(WebSession, (company.organization_id, entered.present.session_id))
    assert (row.subject, row.upstream_session, row.name_id) == ("00u1", "s1", {"value": "00u1"})
    assert row.sealed_id_token is not None and b"secret" not in row.sealed_id_token


def test_nobody_is_let_in_while_it_could_not_be_shown_later(company: Company, okta: Provider) -> None:
    audit_may_lag(current_app)
    joins_as(company, "00u1")

    with pytest.raises(Refused) as refused:
        enter(current_app.config["DOORLIST"], okta.vouches_for("00u1"), agent="", at=later(61))

    assert refused.value.reason is Reason.CLOSED


def test_nobody_is_let_in_while_doorlist_is_closed(company: Company, okta: Provider) -> None:
    joins_as(company, "00u1")
    in_transaction(lambda session: closed.shut_doors(session, because="restored", at=NOW))
    closed.look_again()

    assert okta.refuses("00u1") is Reason.CLOSED


def test_being_signed_out_everywhere_makes_older_messages_worthless(company: Company, okta: Provider) -> None:
    ada = joins_as(company, "00u1")
    in_transaction(
        lambda session: sign_out_everywhere(
            session, company.organization_id, ada.person_id, actor=ADMIN, at=later(10), because="lost laptop"
        )
    )

    assert okta.refuses("00u1", at=later(9), seen_at=later(11)) is Reason.ISSUED_BEFORE
    assert okta.lets_in("00u1", at=later(12)).present.person_id == ada.person_id


@pytest.mark.parametrize("why", [sessions.SIGNED_OUT_THERE, sessions.REVOKED_THERE])
def test_a_session_that_the_provider_has_ended_is_not_opened_again_by_an_older_message(company: Company, okta: Provider, why: str) -> None:
    joins_as(company, "00u1")
    before = okta.lets_in("00u1", upstream_session="s1").present
    in_transaction(lambda session: sessions.end(session, company.organization_id, before.session_id, why=why, at=later(5)))

    assert okta.refuses("00u1", at=later(3), seen_at=later(6), upstream_session="s1") is Reason.TOO_LATE
    assert okta.lets_in("00u1", at=later(3), seen_at=later(6), upstream_session="s2").present.person_id == before.person_id
    assert okta.lets_in("00u1", at=later(7), upstream_session="s1").present.person_id == before.person_id


def test_who_signs_out_here_comes_in_again_by_the_session_that_they_have_there(company: Company, okta: Provider) -> None:
    joins_as(company, "00u1")
    before = okta.lets_in("00u1", upstream_session="s1").present
    in_transaction(lambda session: sessions.end(session, company.organization_id, before.session_id, why="signed out", at=later(5)))

    assert okta.lets_in("00u1", at=later(3), seen_at=later(6), upstream_session="s1").present.person_id == before.person_id


def test_a_session_that_would_end_as_it_begins_is_none(company: Company, okta: Provider) -> None:
    ada = joins_as(company, "00u1")

    def act(session: Session) -> None:
        # As if the clock had not ticked: the date has passed, and standing says nothing of it yet.
        person = session.get_one(Person, (company.organization_id, ada.person_id))
        entry = entries.write(
            session, company.organization_id, at=NOW, actor=ADMIN, verb="test", because="test", subject_kind="person", subject_id=person.id
        )
        session.execute(update(Person).where(Person.id == person.id).values(access_until=NOW, journal_id=entry))

    in_transaction(act)

    assert okta.refuses("00u1") is Reason.NO_ACCESS
