"""Attacks on devices and their push tokens (D09): of somebody who left, of somebody else, of another organisation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import devices, issued
from app.access.parties import end_party, find_gateway
from app.access.session_tables import Device
from app.clock import now
from app.database import db, in_transaction, reading
from app.directory.tables import Record, StatementKind
from app.lifecycle.signing_out import sign_out_everywhere
from tests.company import ADMIN, Company, new_company
from tests.handsets import PUSH, Gateway, Handset, handset_of, leaves, new_client, new_gateway, user_name_of


@pytest.fixture
def company(installed: Flask) -> Iterator[Company]:
    yield new_company()


@pytest.fixture
def ada(company: Company) -> Record:
    return company.joins("ada@northwind.example", "1001")


@pytest.fixture
def client_id(company: Company) -> str:
    return new_client(company)


@pytest.fixture
def gateway(installed: Flask, company: Company) -> Gateway:
    return new_gateway(installed, company)


@pytest.fixture
def phone(installed: Flask, company: Company, ada: Record, client_id: str) -> Handset:
    found = handset_of(installed, company, ada.person_id, client_id)
    found.enrols()
    return found


def test_d09_a_leavers_push_token_is_refused_from_the_commit_on(company: Company, ada: Record, phone: Handset, gateway: Gateway) -> None:
    assert gateway.may_push()

    leaves(company, ada.person_id)

    assert not gateway.may_push()
    assert gateway.targets(phone.person_id) == []
    # Before anything was delivered, deleted or even looked at: the row is as it was.
    with reading() as session:
        row = session.scalars(select(Device)).one()
        assert row.ended_at is None and row.sealed_push_token is not None


def test_d09_a_pause_and_a_sign_out_everywhere_end_pushes_too(company: Company, ada: Record, phone: Handset, gateway: Gateway) -> None:
    in_transaction(
        lambda session: sign_out_everywhere(session, company.organization_id, str(ada.person_id), actor=ADMIN, at=now(), because="lost phone")
    )

    assert not gateway.may_push()
    assert phone.calls("GET", "/devices").status_code == 401


def test_d09_d12_somebody_who_comes_back_is_not_pushed_to_on_the_old_device(
    company: Company, ada: Record, phone: Handset, gateway: Gateway
) -> None:
    leaves(company, ada.person_id)
    leaves(company, ada.person_id, kind=StatementKind.RETURNS)

    assert company.person(ada).standing == "active"
    assert not gateway.may_push()
    assert phone.calls("POST", "/devices", {"name": "again", "push": PUSH}).status_code == 401


def test_d09_a_device_is_not_enrolled_again_with_an_old_token(company: Company, ada: Record, phone: Handset, gateway: Gateway) -> None:
    device = phone.sees()[0]["id"]
    leaves(company, ada.person_id)

    for method, path, body in (
        ("POST", "/devices", {"name": "again", "push": PUSH}), ("PATCH", f"/devices/{device}", {"push": PUSH}),
        ("PUT", f"/devices/{device}", {"name": "again", "push": PUSH}), ("GET", "/devices", None), ("DELETE", f"/devices/{device}", None),
    ):  # fmt: skip
        answer = phone.calls(method, path, body)
        assert (answer.status_code, answer.content_type) == (401, "application/problem+json"), method
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert not gateway.may_push()


def test_d09_a_shared_device_keeps_the_registration_of_whoever_stays(
    installed: Flask, company: Company, phone: Handset, client_id: str, gateway: Gateway, ada: Record
) -> None:
    grace = company.joins("grace@northwind.example", "1002")
    hers = handset_of(installed, company, grace.person_id, client_id)
    hers.enrols(name="The ward's tablet")
    assert len(phone.sees()) == 1, "one person's registration must not take the other's away"
    assert [gateway.may_push(person=one.person_id) for one in (phone, hers)] == [True, True]

    leaves(company, ada.person_id)

    assert gateway.may_push() and gateway.may_push(person="grace@northwind.example")
    assert not gateway.may_push(person=phone.person_id)
    assert [one["person_id"] for one in gateway.targets(hers.person_id)] == [hers.person_id]
    assert gateway.targets(phone.person_id) == []


def test_d09_a_push_token_taken_over_by_another_person_reaches_its_own_registrations_only(
    installed: Flask, company: Company, phone: Handset, client_id: str, gateway: Gateway
) -> None:
    """Somebody enrols a colleague's push token: they learn nothing, and take nothing away."""
    mallory = company.joins("mallory@northwind.example", "1003")
    handset_of(installed, company, mallory.person_id, client_id).enrols(name="mine now")

    assert gateway.may_push(person=phone.person_id)
    assert phone.sees()[0]["push"] == "apns"


def test_a_device_is_its_persons_alone(installed: Flask, company: Company, phone: Handset, client_id: str, gateway: Gateway) -> None:
    mallory = company.joins("mallory@northwind.example", "1003")
    theirs = handset_of(installed, company, mallory.person_id, client_id)
    device = phone.sees()[0]["id"]

    answers = [
        theirs.calls(method, f"/devices/{one}", body)
        for one in (device, "01999999-0000-7000-8000-000000000000", "x" * 300, "%00")
        for method, body in (("GET", None), ("PATCH", {"push": None}), ("PUT", {"name": "mine"}), ("DELETE", None))
    ]

    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.data for answer in answers}) == 1, "whether it is somebody else's must not show"
    assert gateway.may_push() and theirs.sees() == []


def test_another_client_of_the_same_person_does_not_redirect_their_pushes(
    installed: Flask, company: Company, ada: Record, phone: Handset, gateway: Gateway
) -> None:
    other = handset_of(installed, company, ada.person_id, new_client(company, "wiki"))
    device = phone.sees()[0]["id"]

    assert other.calls("PATCH", f"/devices/{device}", {"push": {"kind": "fcm", "token": "the wiki's"}}).status_code == 404
    assert gateway.may_push()


def test_p05_a_gateway_hears_of_its_own_organisation_alone(installed: Flask, company: Company, phone: Handset, gateway: Gateway) -> None:
    theirs = new_gateway(installed, new_company())

    assert (gateway.may_push(), theirs.may_push()) == (True, False)
    assert theirs.may_push(person=phone.person_id) is False
    assert theirs.targets(phone.person_id) == theirs.targets("ada@northwind.example") == []
    answer = theirs.calls("POST", "/push/gone", {"push_token": PUSH["token"]})
    assert (answer.status_code, answer.json) == (200, {"pruned": 0})
    assert gateway.may_push()


def test_p08_nobody_is_found_by_calling_themselves_what_somebodys_id_is(
    installed: Flask, company: Company, phone: Handset, client_id: str, gateway: Gateway
) -> None:
    mallory = company.joins(phone.person_id, "1003")
    handset_of(installed, company, mallory.person_id, client_id).enrols(push={"kind": "fcm", "token": "mallory's"})
    assert user_name_of(company, mallory.person_id) == phone.person_id

    assert [one["token"] for one in gateway.targets(phone.person_id)] == [PUSH["token"]]


def test_p06_a_token_opens_its_own_door_and_no_other(company: Company, phone: Handset, gateway: Gateway) -> None:
    for token in (phone.token, "", "dl_pg_", f"dl_pg_{phone.client_id}_x", "x" * 10_000, gateway.token + "x", "é"):
        for method, path, body in (("POST", "/push/check", {"push_token": "t"}), ("GET", "/push/people/ada", None), ("POST", "/push/gone", {"push_token": "t"})):
            assert replace(gateway, token=token).calls(method, path, body).status_code in (401, 429), (token[:20], path)
    assert replace(phone, token=gateway.token).calls("GET", "/devices").status_code == 401
    assert phone.http.get(f"/devices?access_token={phone.token}").status_code == 401
    assert phone.http.get("/devices", headers={"Authorization": f"Basic {phone.token}"}).status_code == 401
    phone.http.set_cookie("doorlist_session", phone.cookie)
    assert phone.http.get("/devices").status_code == 401, "a browser's cookie is sent along by any page, so it opens nothing here"


def test_an_ended_gateway_asks_no_more(installed: Flask, company: Company, phone: Handset) -> None:
    gateway = new_gateway(installed, company, "ends")
    assert gateway.may_push()

    def act(session: Session) -> None:
        party = find_gateway(session, gateway.token, at=now())
        assert party is not None
        end_party(session, party, actor=ADMIN, at=now())

    in_transaction(act)

    assert gateway.calls("POST", "/push/check", {"push_token": PUSH["token"]}).status_code == 401


def test_no_push_token_is_written_anywhere_in_the_clear(phone: Handset, gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    gateway.may_push()
    phone.calls("PATCH", f"/devices/{phone.sees()[0]['id']}", {"push": {"kind": "fcm", "token": "s3cret-push-token"}})
    phone.calls("POST", "/devices", {"name": "x", "push": {"kind": "fcm", "token": "b4d\0"}})
    with reading() as session:
        stored = "\n".join(repr(tuple(row)) for table in db.metadata.sorted_tables for row in session.execute(select(table)))

    for hidden in (PUSH["token"], "s3cret-push-token", phone.token, gateway.token):
        assert hidden not in stored and hidden not in caplog.text


def test_d01_a_device_enrolled_while_its_person_leaves_is_not_pushed_to(
    installed: Flask, company: Company, ada: Record, client_id: str, gateway: Gateway
) -> None:
    """The token was looked at before the departure was committed; what it enrols is looked at with the grant held."""
    late = handset_of(installed, company, ada.person_id, client_id)
    with reading() as session:
        holder = issued.find_access_token(session, late.token, at=now())
    assert holder is not None
    leaves(company, ada.person_id)

    with pytest.raises(devices.NotEnrolled):
        in_transaction(
            lambda session: devices.enrol(session, installed.config["DOORLIST"], holder, devices.draft_of({"name": "late", "push": PUSH}), at=now())
        )
    assert not gateway.may_push()
