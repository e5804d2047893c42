"""Attacks on who may enter: takeover by a name or an address, and messages that come late."""

from __future__ import annotations

import threading

import pytest
from flask import Flask
from sqlalchemy import select

from app.access.connection_tables import ConnectionKind, Identity
from app.database import in_transaction, reading
from app.directory.tables import Standing, StatementKind, Voice
from app.directory.vocabulary import ENTERPRISE_URN
from app.lifecycle.errors import Taken
from app.lifecycle.leaving import say
from app.lifecycle.records import RecordDraft, add_record, change_record, end_record
from app.sso import connections
from app.sso.entering import enter
from app.sso.refusals import Reason, Refused
from app.sso.verified import DirectoryIds
from tests.company import ADMIN, NOW, OKTA, Company, another_source, document, later, new_company
from tests.vouching import Provider, access_ends, caught_up, is_in, joins_as, new_provider, why_refused

pytestmark = pytest.mark.usefixtures("installed")


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


@pytest.fixture
def okta(company: Company) -> Provider:
    return new_provider(company)


def identities() -> int:
    with reading() as session:
        return len(session.scalars(select(Identity)).all())


# Whom a message means


def test_o14_an_e_mail_address_of_another_tenant_takes_nobody_over(company: Company, okta: Provider) -> None:
    """nOAuth: the address is what its tenant's administrator typed."""
    joins_as(company, "00u1", "ada@northwind.example")

    assert okta.refuses("attacker", tenant="evil", email="ada@northwind.example") is Reason.NOT_KNOWN
    assert identities() == 0


def test_o14_a_subject_means_somebody_only_within_its_tenant(company: Company, okta: Provider) -> None:
    ada = joins_as(company, "00u1", "ada")
    assert okta.lets_in("00u1", tenant="northwind").present.person_id == ada.person_id

    assert okta.refuses("00u1", tenant="evil", at=later(5)) is Reason.NOT_KNOWN


def test_o15_accounts_are_not_linked_by_e_mail_even_of_the_connections_own_domain(company: Company) -> None:
    joins_as(company, "00u1", "ada@northwind.example")
    for jit in (False, True):
        provider = new_provider(
            company, name=f"jit {jit}", issuer=f"https://{jit}.example", domains=("northwind.example",), settings={"jit": jit}
        )

        assert provider.refuses("new", email="ada@northwind.example") is Reason.NOT_KNOWN
        assert provider.refuses("new", email="ADA@Northwind.EXAMPLE") is Reason.NOT_KNOWN


def test_o15_a_subject_that_is_an_address_binds_nobody_unless_an_administrator_chose_it(company: Company, okta: Provider) -> None:
    ada = joins_as(company, "ada@northwind.example", "ada@northwind.example")

    assert okta.refuses("ada@northwind.example") is Reason.NOT_KNOWN

    okta.changes(directory_id={"matches": "externalId"})
    assert okta.lets_in("ada@northwind.example").present.person_id == ada.person_id


def test_p08_our_own_ids_name_nobody_at_a_provider(company: Company, okta: Provider) -> None:
    ada = joins_as(company, "00u1", "ada", "17")

    for own in (ada.person_id, ada.id, company.organization_id, "17", "ada"):
        assert okta.refuses(own) is Reason.NOT_KNOWN


def test_an_attribute_that_the_connection_does_not_name_is_not_looked_at(company: Company, okta: Provider) -> None:
    joins_as(company, "00u1", "ada", "17")

    said = DirectoryIds(external_id="00u1", user_name="ada", employee_number="17")
    assert okta.refuses("attacker", directory_ids=said) is Reason.NOT_KNOWN


def test_a_second_account_at_the_provider_does_not_become_somebody_who_is_bound(company: Company) -> None:
    """Where an attribute names people, whoever can write it there into an account of theirs would be anybody."""
    provider = new_provider(company, settings={"directory_id": {"attribute": "number", "matches": "employeeNumber"}})
    joins_as(company, "00u1", "ada", "17")
    provider.lets_in("adas subject", directory_ids=DirectoryIds(employee_number="17"))

    assert provider.refuses("attacker", at=later(5), directory_ids=DirectoryIds(employee_number="17")) is Reason.NOT_KNOWN


def test_p16_a_successor_with_the_same_id_does_not_get_the_predecessors_person(company: Company, okta: Provider) -> None:
    """The directory gives the resource to somebody else while the provider goes on using its subject."""
    entra = another_source(company, "entra")
    ada = joins_as(company, "1001", "ada", "17")
    still_there = joins_as(company, "a-1", "ada", "17", source_id=entra)
    entered = okta.lets_in("1001")
    company.says(ada, active=False, at=later(1))

    def recycled(external_id: str, user_name: str, number: str, seconds: int) -> None:
        draft = RecordDraft(external_id=external_id, user_name=user_name, active=True, document=document(user_name, number))
        in_transaction(
            lambda session: change_record(
                session, company.organization_id, ada.source_id, ada.id, draft, actor=OKTA, at=later(seconds), because="recycled"
            )
        )

    recycled("2002", "eve", "99", 2)
    recycled("1001", "eve", "99", 3)

    # Ada still stands by her other record, so only whose id it is keeps Eve out of her person.
    assert company.person(still_there).standing == Standing.ACTIVE
    assert okta.refuses("1001", at=later(5)) is Reason.NOT_KNOWN
    assert not is_in(entered.cookie, at=later(5))


def test_p16_a_user_name_given_to_another_does_not_bring_the_account_along(company: Company, okta: Provider) -> None:
    okta.changes(directory_id={"matches": "userName"})
    ada = joins_as(company, "00u1", "ada")
    okta.lets_in("ada")
    renamed = RecordDraft(external_id="00u1", user_name="ada.lovelace", active=True, document=document("ada.lovelace", None))
    in_transaction(
        lambda session: change_record(
            session, company.organization_id, company.source_id, ada.id, renamed, actor=OKTA, at=later(1), because="married"
        )
    )
    joins_as(company, "00u2", "ada", at=later(2))

    assert okta.refuses("ada", at=later(5)) is Reason.NOT_KNOWN


def test_p16_the_identity_of_a_leaver_does_not_move_to_a_successor(company: Company, okta: Provider) -> None:
    ada = joins_as(company, "1001", "ada")
    okta.lets_in("1001")
    company.says(ada, active=False, at=later(1))

    assert okta.refuses("1001", at=later(2)) is Reason.NO_ACCESS

    # Even once the directory has a new person under the id: an administrator unbinds the leaver first.
    in_transaction(
        lambda session: end_record(session, company.organization_id, company.source_id, ada.id, actor=OKTA, at=later(3), because="deleted")
    )
    eve = joins_as(company, "1001", "eve", at=later(4))
    assert okta.refuses("1001", at=later(5)) is Reason.NOT_KNOWN
    in_transaction(lambda session: connections.unbind(session, okta.row(session), ada.person_id, actor=ADMIN, at=later(6)))
    assert okta.lets_in("1001", at=later(7)).present.person_id == eve.person_id


def test_s30_a_connection_of_another_organisation_reaches_nobody_here(company: Company, okta: Provider) -> None:
    joins_as(company, "00u1", "ada")
    elsewhere = new_provider(new_company())

    theirs = elsewhere.vouches_for("00u1", organization_id=company.organization_id)
    assert why_refused(theirs, at=NOW) is Reason.UNKNOWN_CONNECTION
    assert elsewhere.refuses("00u1") is Reason.NOT_KNOWN


def test_s30_one_issuer_in_two_organisations_means_each_ones_own_person(company: Company, okta: Provider) -> None:
    other_company = new_company()
    ada, twin = joins_as(company, "00u1", "ada"), joins_as(other_company, "00u1", "ada")

    assert okta.lets_in("00u1").present.person_id == ada.person_id
    assert new_provider(other_company).lets_in("00u1").present.person_id == twin.person_id


def test_s30_a_second_saml_provider_cannot_call_itself_the_first(company: Company) -> None:
    new_provider(company, issuer="https://idp.example/saml", kind=ConnectionKind.SAML)

    with pytest.raises(Taken):
        new_provider(company, name="partner", issuer="https://idp.example/saml", kind=ConnectionKind.SAML)


@pytest.mark.parametrize("subject", ["", " ", "00u1 ", "00u1\n", "a\x00b", "x" * 257, "\u202e00u1"])
def test_s34_a_subject_that_nobody_could_read_is_refused(company: Company, okta: Provider, subject: str) -> None:
    joins_as(company, "00u1", "ada")

    assert okta.refuses(subject) is Reason.BAD_MESSAGE


# Who may not enter


def test_s37_a_perfectly_good_message_of_somebody_who_left_opens_nothing(company: Company, okta: Provider) -> None:
    ada = joins_as(company, "00u1", "ada")
    okta.lets_in("00u1")
    company.says(ada, active=False, at=later(1))

    with pytest.raises(Refused, match="departed by directory") as refused:
        okta.lets_in("00u1", at=later(5))
    assert refused.value.reason is Reason.NO_ACCESS


def test_s37_nobody_who_left_before_their_first_sign_in_comes_in_by_it(company: Company, okta: Provider) -> None:
    company.says(joins_as(company, "00u1", "ada"), active=False, at=later(1))

    assert okta.refuses("00u1", at=later(5)) is Reason.NOT_KNOWN


def test_a_contractor_comes_in_only_inside_their_dates(company: Company, okta: Provider) -> None:
    contractor = joins_as(company, "00u1", "ada")
    access_ends(company, contractor, at=later(30))

    assert okta.lets_in("00u1", at=later(29)).present.expires_at == later(30)
    # Nothing has ticked: the date itself keeps them out.
    with pytest.raises(Refused, match="access ended at"):
        okta.lets_in("00u1", at=later(30))


def test_somebody_paused_stays_out(company: Company, okta: Provider) -> None:
    ada = joins_as(company, "00u1", "ada")
    in_transaction(
        lambda session: say(
            session, company.organization_id, ada.person_id, voice=Voice.OPERATOR, kind=StatementKind.PAUSES, said_by="ana", effective_at=NOW,
            actor=ADMIN, at=NOW, because="on leave",
        )
    )  # fmt: skip

    assert okta.refuses("00u1", at=later(5)) is Reason.NO_ACCESS


def test_d01_a_sign_in_under_way_at_a_departure_opens_nothing_even_after_a_return(company: Company, okta: Provider) -> None:
    """Issued before, delivered after: somebody let go and taken back meanwhile signs in anew."""
    ada = joins_as(company, "00u1", "ada")
    company.says(ada, active=False, at=later(10))
    assert okta.refuses("00u1", at=later(9), seen_at=later(11)) is not None
    company.says(ada, active=True, at=later(12))

    assert okta.refuses("00u1", at=later(9), seen_at=later(13)) is Reason.ISSUED_BEFORE
    # A tenth of a second before is before, however clocks may differ.
    assert okta.refuses("00u1", at=later(9.9), seen_at=later(13)) is Reason.ISSUED_BEFORE
    assert okta.lets_in("00u1", at=later(13)).present.person_id == ada.person_id


def test_d01_losing_one_of_two_records_makes_older_messages_worthless_too(company: Company, okta: Provider) -> None:
    joins_as(company, "00u1", "ada", "17")
    other = joins_as(company, "a-1", "ada", "17", source_id=another_source(company, "entra"))
    company.says(other, active=False, at=later(10))

    assert okta.refuses("00u1", at=later(9), seen_at=later(11)) is Reason.ISSUED_BEFORE


def test_d01_whoever_signs_in_while_a_departure_commits_is_out(installed: Flask, company: Company, okta: Provider) -> None:
    """Whichever of the two commits first, no session that it left behind works."""
    people = [joins_as(company, f"u{number}", f"p{number}") for number in range(12)]
    caught_up(NOW)
    cookies: list[str] = []
    start = threading.Barrier(2)

    def departs() -> None:
        with installed.app_context():
            for one in people:
                start.wait()
                company.says(one, active=False, at=later(1))

    def signs_in() -> None:
        with installed.app_context():
            for number in range(len(people)):
                start.wait()
                try:
                    cookies.append(enter(installed.config["DOORLIST"], okta.vouches_for(f"u{number}", at=later(1)), agent="", at=later(1)).cookie)
                except Refused as error:
                    assert error.reason in (Reason.NO_ACCESS, Reason.NOT_KNOWN)

    threads = [threading.Thread(target=one) for one in (departs, signs_in)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert not any(is_in(cookie, at=later(2)) for cookie in cookies)


def test_s27_a_sign_in_that_nobody_asked_for_is_refused_unless_it_is_allowed(company: Company, okta: Provider) -> None:
    joins_as(company, "00u1", "ada")

    assert okta.refuses("00u1", solicited=False) is Reason.NOT_ASKED_FOR

    okta.changes(allow_idp_initiated=True)
    assert is_in(okta.lets_in("00u1", solicited=False).cookie)


def test_s26_a_provider_that_vouches_for_a_time_that_has_passed_vouches_for_nobody(company: Company, okta: Provider) -> None:
    joins_as(company, "00u1", "ada")

    assert okta.refuses("00u1", until=NOW) is Reason.TOO_LATE


def test_an_ended_connection_lets_nobody_in_and_whoever_came_by_it_is_out(company: Company, okta: Provider) -> None:
    joins_as(company, "00u1", "ada")
    entered = okta.lets_in("00u1")

    in_transaction(lambda session: connections.end(session, okta.row(session), actor=ADMIN, at=later(1)))

    assert okta.refuses("00u1", at=later(5)) is Reason.UNKNOWN_CONNECTION
    assert not is_in(entered.cookie, at=later(5))


def test_the_enterprise_extension_is_no_way_in(company: Company, okta: Provider) -> None:
    """A directory that writes somebody's number and address into its own record of another joins them, and binds nobody new by it."""
    ada = joins_as(company, "00u1", "ada", "17")
    okta.lets_in("00u1")
    said = {**document("eve", None), "emails": [{"value": "ada"}], ENTERPRISE_URN: {"employeeNumber": "17"}}
    eve = RecordDraft(external_id="evil", user_name="eve", active=True, document=said)
    entra = another_source(company, "entra")
    in_transaction(lambda session: add_record(session, company.organization_id, entra, eve, actor=OKTA, at=later(1), because="test"))

    assert okta.refuses("evil", at=later(5)) is Reason.NOT_KNOWN
    assert okta.lets_in("00u1", at=later(6)).present.person_id == ada.person_id


def test_a_number_alone_makes_nobody_somebody_else(company: Company, okta: Provider) -> None:
    """With the number, and an address that contradicts it, they are a person of their own until somebody says otherwise."""
    ada = joins_as(company, "00u1", "ada", "17")
    eve = joins_as(company, "evil", "eve", "17", source_id=another_source(company, "entra"))

    assert okta.lets_in("evil", at=later(5)).present.person_id == eve.person_id
    assert okta.lets_in("00u1", at=later(6)).present.person_id == ada.person_id
