"""Devices: enrolled, rotated, listed and ended by their person's clients; asked after by push gateways."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.access import devices
from app.access.devices import UnusableDevice
from app.access.parties import PartyDraft, open_party
from app.access.sealing import derived_key
from app.access.session_tables import Device, Grant, RelyingParty
from app.access.sessions import check, end, end_grant
from app.clock import now
from app.commands import housekeeping
from app.database import in_transaction, reading
from app.directory.tables import Record
from app.journal.tables import Entry, Subject, Work
from tests.company import ADMIN, Company, new_company
from tests.handsets import PUSH, Gateway, handset_of, leaves, new_client, new_gateway, renewed


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


def test_a_device_is_enrolled_and_may_be_pushed_to(installed: Flask, company: Company, ada: Record, client_id: str, gateway: Gateway) -> None:
    phone = handset_of(installed, company, ada.person_id, client_id)
    assert not gateway.may_push()

    answer = phone.calls("POST", "/devices", {"name": "Ada's phone", "platform": "ios", "push": PUSH})

    assert answer.status_code == 201 and answer.json is not None
    assert answer.headers["Location"] == f"/devices/{answer.json['id']}"
    assert PUSH["token"] not in answer.text
    assert [(one["name"], one["platform"], one["push"], one["this"]) for one in phone.sees()] == [("Ada's phone", "ios", "apns", True)]
    assert gateway.may_push()
    assert [(one["kind"], one["token"], one["person_id"]) for one in gateway.targets(phone.person_id)] == [("apns", PUSH["token"], phone.person_id)]
    assert gateway.targets("ADA@northwind.example") == gateway.targets(phone.person_id)


def test_enrolling_twice_is_once(installed: Flask, company: Company, ada: Record, client_id: str) -> None:
    phone = handset_of(installed, company, ada.person_id, client_id)

    first, second = phone.enrols(), renewed(phone).enrols(name="Renamed")

    assert first == second
    assert [one["name"] for one in phone.sees()] == ["Renamed"]


def test_a_push_token_is_sealed_and_found_by_a_keyed_digest(installed: Flask, company: Company, ada: Record, client_id: str) -> None:
    handset_of(installed, company, ada.person_id, client_id).enrols()

    with reading() as session:
        row = session.scalars(select(Device)).one()
        journal = "".join(f"{entry.before}{entry.after}" for entry in session.scalars(select(Entry)))

    assert row.sealed_push_token is not None and PUSH["token"].encode() not in row.sealed_push_token
    assert row.push_digest == devices.push_digest(installed.config["DOORLIST"], PUSH["token"])
    assert PUSH["token"] not in journal
    assert derived_key(installed.config["DOORLIST"], "push tokens") != derived_key(installed.config["DOORLIST"], "another purpose")


def test_the_journal_says_of_each_change_what_a_device_is_pushed_by_since(installed: Flask, company: Company, ada: Record, client_id: str) -> None:
    phone = handset_of(installed, company, ada.person_id, client_id)
    device = phone.enrols()

    for changed in ({"name": "Renamed"}, {"platform": "ipados"}, {"push": None}, {"name": "Again"}, {"push": PUSH}):
        assert phone.calls("PATCH", f"/devices/{device}", changed).status_code == 200

    with reading() as session:
        written = session.scalars(select(Entry).where(Entry.subject_id == device).order_by(Entry.id)).all()
    assert [(one.after or {})["push"] for one in written] == ["apns", "apns", "apns", None, None, "apns"]


def test_a_push_token_is_rotated_and_the_old_one_refused(installed: Flask, company: Company, ada: Record, client_id: str, gateway: Gateway) -> None:
    phone = handset_of(installed, company, ada.person_id, client_id)
    device = phone.enrols()

    assert phone.calls("PATCH", f"/devices/{device}", {"push": {"kind": "fcm", "token": "new:token"}}).status_code == 200

    assert (gateway.may_push(), gateway.may_push("new:token")) == (False, True)
    assert [(one["kind"], one["token"]) for one in gateway.targets(phone.person_id)] == [("fcm", "new:token")]
    assert phone.sees()[0]["name"] == "Ada's phone"


def test_patch_leaves_what_it_does_not_name_and_put_does_not(installed: Flask, company: Company, ada: Record, client_id: str, gateway: Gateway) -> None:
    phone = handset_of(installed, company, ada.person_id, client_id)
    device = phone.enrols()

    assert phone.calls("PATCH", f"/devices/{device}", {"name": "Another name"}).status_code == 200
    assert gateway.may_push() and phone.sees()[0]["platform"] == "ios"
    assert phone.calls("PUT", f"/devices/{device}", {"name": "Bare"}).status_code == 200
    assert not gateway.may_push()
    assert (phone.sees()[0]["name"], phone.sees()[0]["platform"], phone.sees()[0]["push"]) == ("Bare", "", None)

    phone.calls("PATCH", f"/devices/{device}", {"push": PUSH})
    assert gateway.may_push()
    phone.calls("PATCH", f"/devices/{device}", {"push": None})
    assert not gateway.may_push()


def test_web_push_keeps_the_keys_that_it_encrypts_with(installed: Flask, company: Company, ada: Record, client_id: str, gateway: Gateway) -> None:
    push = {"kind": "webpush", "token": "https://push.example/ada", "keys": {"p256dh": "BNc", "auth": "tBH"}}
    phone = handset_of(installed, company, ada.person_id, client_id)
    phone.enrols(push=push)

    found = gateway.targets(phone.person_id)

    assert [(one["token"], one["keys"]) for one in found] == [("https://push.example/ada", {"p256dh": "BNc", "auth": "tBH"})]


def test_ending_a_device_ends_its_pushes_and_its_tokens(installed: Flask, company: Company, ada: Record, client_id: str, gateway: Gateway) -> None:
    phone, laptop = (handset_of(installed, company, ada.person_id, client_id) for _ in range(2))
    device, other = phone.enrols(), laptop.enrols(name="Laptop", push={"kind": "unifiedpush", "token": "https://up.example/1"})

    answer = laptop.calls("DELETE", f"/devices/{device}")

    assert (answer.status_code, answer.data) == (204, b"")
    assert not gateway.may_push()
    assert phone.calls("GET", "/devices").status_code == 401
    assert [one["id"] for one in laptop.sees()] == [other]
    assert laptop.calls("DELETE", f"/devices/{device}").status_code == 404
    with reading() as session:
        row = session.get_one(Device, (company.organization_id, device))
        assert (row.sealed_push_token, row.ended_why) == (None, "ended by its owner")
        assert session.scalars(select(Entry).where(Entry.verb == "device ended")).one().subject_id == device


def test_ending_a_device_tells_the_parties_that_rest_on_it(installed: Flask, company: Company, ada: Record) -> None:
    draft = PartyDraft(name="chat", redirect_uris=("https://chat.example/back",), public=True, backchannel_logout_uri="https://chat.example/out")
    client_id = in_transaction(lambda session: open_party(session, company.organization_id, draft, actor=ADMIN, at=now())).client_id
    phone = handset_of(installed, company, ada.person_id, client_id)

    phone.calls("DELETE", f"/devices/{phone.enrols()}")

    with reading() as session:
        assert session.scalars(select(Work.workspace_id).where(Work.subject == Subject.ACCESS)).all() == [client_id]


def test_a_device_outlives_the_browser_in_which_it_was_allowed(installed: Flask, company: Company, ada: Record, client_id: str, gateway: Gateway) -> None:
    phone = handset_of(installed, company, ada.person_id, client_id)
    phone.enrols()

    def sign_out(session: Session) -> None:
        here = check(session, phone.cookie, at=now())
        assert here is not None
        end(session, here.organization_id, here.session_id, why="signed out", at=now())

    in_transaction(sign_out)

    assert gateway.may_push() and len(phone.sees()) == 1


def test_a_device_whose_tokens_are_over_is_pushed_to_no_more(installed: Flask, company: Company, ada: Record, client_id: str, gateway: Gateway) -> None:
    phone = handset_of(installed, company, ada.person_id, client_id)
    phone.enrols()
    with reading() as session:
        grant_id = session.scalars(select(Grant.id)).one()

    in_transaction(lambda session: end_grant(session, company.organization_id, grant_id, why="refresh token shown twice", at=now()))

    assert not gateway.may_push()
    assert gateway.targets(phone.person_id) == []


def test_a_grant_that_has_run_out_pushes_no_more(installed: Flask, company: Company, ada: Record, client_id: str, gateway: Gateway) -> None:
    handset_of(installed, company, ada.person_id, client_id).enrols()
    in_transaction(lambda session: session.execute(update(Grant).values(expires_at=now() - timedelta(seconds=1))))

    assert not gateway.may_push()


def test_the_same_device_enrolled_anew_is_pushed_to_once(installed: Flask, company: Company, ada: Record, client_id: str, gateway: Gateway) -> None:
    before, after = (handset_of(installed, company, ada.person_id, client_id) for _ in range(2))
    before.enrols()
    device = after.enrols()

    assert [one["device_id"] for one in gateway.targets(after.person_id)] == [device]
    assert gateway.may_push()


def test_a_token_that_the_push_service_gave_up_is_pruned_and_the_device_stays(
    installed: Flask, company: Company, ada: Record, client_id: str, gateway: Gateway
) -> None:
    phone = handset_of(installed, company, ada.person_id, client_id)
    device = phone.enrols()

    answers = [gateway.calls("POST", "/push/gone", {"push_token": PUSH["token"]}) for _ in range(2)]

    assert [(answer.status_code, answer.json) for answer in answers] == [(200, {"pruned": 1}), (200, {"pruned": 0})]
    assert not gateway.may_push()
    assert [(one["id"], one["push"]) for one in phone.sees()] == [(device, None)]
    phone.calls("PATCH", f"/devices/{device}", {"push": PUSH})
    assert gateway.may_push()


def test_push_tokens_of_those_who_left_are_deleted(installed: Flask, company: Company, ada: Record, client_id: str) -> None:
    grace = company.joins("grace@northwind.example", "1002")
    handset_of(installed, company, ada.person_id, client_id).enrols()
    handset_of(installed, company, grace.person_id, client_id).enrols()
    leaves(company, ada.person_id)

    with reading() as session:
        over, upto = devices.look_for_over(session, at=now(), after=None)
    in_transaction(lambda session: devices.forget(session, over, at=now()))

    assert upto is None
    with reading() as session:
        kept = {row.person_id: row.sealed_push_token is not None for row in session.scalars(select(Device))}
        assert kept == {ada.person_id: False, grace.person_id: True}
        # That there was one is what the receipt counts.
        assert all(row.push_digest for row in session.scalars(select(Device)))


@pytest.mark.parametrize("over", [Grant, RelyingParty], ids=["signed out in the application", "the application ended"])
def test_push_tokens_that_rest_on_nothing_any_more_are_deleted(
    installed: Flask, company: Company, ada: Record, client_id: str, over: type[Grant] | type[RelyingParty]
) -> None:
    handset_of(installed, company, ada.person_id, client_id).enrols()
    in_transaction(lambda session: session.execute(update(over).values(ended_at=now())))
    handset_of(installed, company, ada.person_id, new_client(company, "another")).enrols(push={**PUSH, "token": "another"})

    with reading() as session:
        found, _ = devices.look_for_over(session, at=now(), after=None)
    in_transaction(lambda session: devices.forget(session, found, at=now()))

    with reading() as session:
        assert {row.client_id == client_id: row.sealed_push_token is not None for row in session.scalars(select(Device))} == {True: False, False: True}


def test_push_tokens_that_are_over_are_looked_for_some_devices_at_a_time(installed: Flask, company: Company, client_id: str) -> None:
    """A tick that looked at everybody's would keep all who write to SQLite waiting, in a large organisation for seconds."""
    people = [company.joins(f"{name}@northwind.example", name).person_id for name in ("ada", "bob", "cyd", "dot", "eve")]
    for person_id in people:
        handset_of(installed, company, person_id, client_id).enrols()
    leaves(company, people[1])
    leaves(company, people[4])
    found: set[devices.Place] = set()
    looks, after = 0, None
    with reading() as session:
        while looks == 0 or after is not None:
            over, after = devices.look_for_over(session, at=now(), after=after, most=2)
            looks, found = looks + 1, found | set(over)
        whose = {session.get_one(Device, place).person_id for place in found}

    assert (looks, whose) == (3, {people[1], people[4]})


def test_a_tick_looks_further_than_the_last_one_and_writes_where_it_found_some(
    installed: Flask, company: Company, ada: Record, client_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    grace = company.joins("grace@northwind.example", "1002")
    for person in (ada, grace):
        handset_of(installed, company, person.person_id, client_id).enrols()
    leaves(company, grace.person_id)
    forgotten: list[list[devices.Place]] = []
    monkeypatch.setattr(housekeeping, "_devices_upto", [])
    monkeypatch.setattr(devices.look_for_over, "__kwdefaults__", {"most": 1})
    monkeypatch.setattr(devices, "forget", lambda session, places, *, at: forgotten.append(list(places)))

    for _ in range(3):
        housekeeping.tick(installed)

    with reading() as session:
        hers = session.scalars(select(Device.id).where(Device.person_id == grace.person_id)).one()
    assert forgotten == [[(company.organization_id, hers)]]


def test_who_came_back_meanwhile_keeps_their_push_token(installed: Flask, company: Company, ada: Record, client_id: str) -> None:
    device = handset_of(installed, company, ada.person_id, client_id).enrols()

    in_transaction(lambda session: devices.forget(session, [(company.organization_id, device)], at=now()))

    with reading() as session:
        assert session.get_one(Device, (company.organization_id, device)).sealed_push_token is not None


def test_nobody_has_more_devices_than_anybody_may_have(installed: Flask, company: Company, ada: Record, client_id: str) -> None:
    for number in range(devices.MOST_DEVICES):
        last = handset_of(installed, company, ada.person_id, client_id)
        last.enrols(name=f"Device {number}", push=None)

    one_more = handset_of(installed, company, ada.person_id, client_id).calls("POST", "/devices", {"name": "One more"})

    assert one_more.status_code == 409 and one_more.content_type == "application/problem+json"
    assert last.enrols(name="Renamed", push=None)


def test_devices_whose_tokens_are_over_are_neither_shown_nor_counted(installed: Flask, company: Company, ada: Record, client_id: str) -> None:
    # Whoever signs out in the application, and in again, comes by another grant.
    for _ in range(devices.MOST_DEVICES):
        device = handset_of(installed, company, ada.person_id, client_id).enrols()
        in_transaction(lambda session: session.execute(update(Grant).where(Grant.ended_at.is_(None)).values(ended_at=now())))

    phone = handset_of(installed, company, ada.person_id, client_id)

    assert phone.calls("POST", "/devices", {"name": "Ada's phone", "push": PUSH}).status_code == 201
    assert [one["this"] for one in phone.sees()] == [True]
    assert phone.calls("GET", f"/devices/{device}").status_code == 404


@pytest.mark.parametrize(
    "said",
    [
        {}, {"name": ""}, {"name": "  "}, {"name": 7}, {"name": "x" * 101}, {"name": "a\nb"}, {"name": "a\0"}, {"name": "a", "platform": 7},
        {"name": "a", "platform": "x" * 51}, {"name": "a", "push": "token"}, {"name": "a", "push": []}, {"name": "a", "push": {}},
        {"name": "a", "push": {"kind": "pigeon", "token": "t"}}, {"name": "a", "push": {"kind": ["apns"], "token": "t"}},
        {"name": "a", "push": {"kind": "apns"}}, {"name": "a", "push": {"kind": "apns", "token": ""}}, {"name": "a", "push": {"kind": "apns", "token": "\ud800"}},
        {"name": "a", "push": {"kind": "apns", "token": "x" * 4097}}, {"name": "a", "push": {"kind": "webpush", "token": "http://push.example"}},
        {"name": "a", "push": {"kind": "unifiedpush", "token": "not a URL"}}, {"name": "a", "push": {"kind": "apns", "token": "t", "keys": {}}},
        {"name": "a", "push": {"kind": "webpush", "token": "https://p.example", "keys": {"p256dh": "x"}}},
        {"name": "a", "push": {"kind": "webpush", "token": "https://p.example", "keys": {"p256dh": "x", "auth": 7}}},
    ],
)  # fmt: skip
def test_what_is_no_device_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(UnusableDevice):
        devices.draft_of(said)


def test_bodies_that_are_none_are_answered_in_words(installed: Flask, company: Company, ada: Record, client_id: str, gateway: Gateway) -> None:
    phone = handset_of(installed, company, ada.person_id, client_id)
    for body in (b"", b"[]", b"7", b"{", b"\xff", b"[" * 9000, b'{"name": ' + b"[" * 9000):
        for path, token in (("/devices", phone.token), ("/push/check", gateway.token), ("/push/gone", gateway.token)):
            answer = phone.http.post(path, data=body, headers={"Authorization": f"Bearer {token}"})
            assert (answer.status_code, answer.content_type) == (400, "application/problem+json"), (path, body[:20])
    answer = phone.http.post("/devices", data=json.dumps({"name": "x" * 20_000}), headers={"Authorization": f"Bearer {phone.token}"})
    assert answer.status_code == 413
    for odd in (None, 7, "", "x" * 5000, "a\0", ["a"]):
        assert gateway.calls("POST", "/push/check", {"push_token": odd}).status_code == 400


def test_a_device_that_has_ended_is_not_pushed_to_whatever_it_still_holds(
    installed: Flask, company: Company, ada: Record, client_id: str, gateway: Gateway
) -> None:
    handset_of(installed, company, ada.person_id, client_id).enrols()
    in_transaction(lambda session: session.execute(update(Device).values(ended_at=now())))

    assert not gateway.may_push()
