"""Several events in one call, events that a header tells, ids that nobody signed: what is one call and what is another."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.access.sealing import unseal
from app.database import in_transaction, reading
from app.directory.tables import Person, Source, Standing
from app.intake import described, descriptions
from app.intake.call_parts import MOST_EVENTS
from app.intake.description_types import Description
from app.intake.hr import BadCall, BadSignature, try_again
from app.intake.schemes import Request
from app.intake.tables import HREvent
from tests.company import Company, new_company
from tests.hr_vendor import CLOCK, Answers, Vendor, description_file

SECRET = "s" * 20
SIGNED = "vendor: A\nsignature: {scheme: hmac, header: X-S}\n"
API = """api: {url: "https://api.a.example", credential: bearer}
details: {path: "/people/{key}"}
record:
  key: id
  number: number
  means:
    - {when: {status: left}, event: revoke now}
    - {event: here}
"""
LISTED = f"""{SIGNED}event_id: id
event:
  each: data.events
  key: who
  number: number
  zone: call:zone
  means:
    - {{when: {{kind: left, call:live: "true"}}, event: leaves at, at: [{{end_of_day: day}}]}}
    - {{when: {{kind: changed}}, event: changed}}
"""
BY_HEADER = f"""{SIGNED}event:
  number: number
  means:
    - {{when: {{header:X-Event: left}}, event: revoke now}}
    - {{when: {{header:X-Event: back}}, event: rehired}}
"""
THIN = f"""{SIGNED}event_id: header:X-Delivery
event:
  key: id
  means:
    - {{when: {{header:X-Event: changed}}, event: changed, fetch: true}}
    - {{when: {{header:X-Event: left}}, event: revoke now}}
{API}"""


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


def connected(app: Flask, company: Company, text: str, *, answers: Answers | None = None) -> Vendor:
    described_as = text if answers is None else text.replace("https://api.a.example", answers.url)
    return Vendor(app, company, "deel", secret=SECRET, answers=answers, change=(descriptions.text_of(description_file("deel")), described_as))


def signed(document: Any, **headers: str) -> Request:
    body = json.dumps(document).encode()
    mine = {"x-s": hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}
    return Request(method="POST", headers={**mine, **{name.replace("_", "-"): value for name, value in headers.items()}}, body=body)


def standing(company: Company, person_id: str) -> str:
    with reading() as session:
        return session.get_one(Person, (company.organization_id, person_id)).standing


def states(vendor: Vendor) -> dict[str, str]:
    return {event.event_id: event.state for event in vendor.events()}


# Several events in one call


def listed(*events: object, live: bool = True) -> dict[str, Any]:
    return {"zone": "America/Denver", "live": live, "data": {"events": list(events)}}


def test_each_event_of_a_list_is_done_in_the_zone_that_the_call_names(installed: Flask, company: Company) -> None:
    mara, bob = company.joins("mara@x.example", "E-1"), company.joins("bob@x.example", "E-2")
    vendor = connected(installed, company, LISTED)

    state = vendor.hears(
        signed(
            listed(
                {"id": "e1", "kind": "left", "who": "1", "number": "E-1", "day": "2026-12-31"},
                {"id": "e2", "kind": "left", "who": "2", "number": "E-2", "day": "2026-11-24"},
                {"id": "e3", "kind": "other"},
            )
        )
    )

    assert (state, states(vendor)) == ("applied", {"e1": "applied", "e2": "applied", "e3": "ignored"})
    assert str(company.person(mara).access_until) == "2027-01-01 07:00:00+00:00"
    assert standing(company, bob.person_id) == Standing.DEPARTED


def test_one_event_that_cannot_be_read_is_parked_and_stops_no_other(installed: Flask, company: Company) -> None:
    bob = company.joins("bob@x.example", "E-2")
    vendor = connected(installed, company, LISTED)

    state = vendor.hears(
        signed(
            listed(
                {"id": "e1", "kind": "left", "who": "1", "day": "soon"}, {"id": "e2", "kind": "left", "who": "2", "number": "E-2", "day": "2026-11-24"}, "no event",
            )
        )
    )  # fmt: skip

    assert (state, standing(company, bob.person_id)) == ("parked", Standing.DEPARTED)
    parked = {event.event_id: event.problem for event in vendor.events() if event.state == "parked"}
    assert list(parked) == ["e1"] and str(parked["e1"]).startswith("not understood, of the vendor's id 1: day must be a date")


def test_an_event_that_was_in_another_call_is_the_same_event(installed: Flask, company: Company) -> None:
    """A vendor may send again what is left of a list."""
    company.joins("mara@x.example", "E-1")
    vendor = connected(installed, company, LISTED)
    left = {"id": "e1", "kind": "left", "who": "1", "number": "E-1", "day": "2026-12-31"}
    vendor.hears(signed(listed(left)))

    vendor.hears(signed(listed({"id": "e2", "kind": "changed", "who": "1"}, left)))

    assert states(vendor) == {"e1": "applied", "e2": "ignored"}


def test_events_without_an_id_of_their_own_are_known_by_the_call_and_their_place_in_it(installed: Flask, company: Company) -> None:
    vendor = connected(installed, company, LISTED.replace("event_id: id\n", ""))
    call = signed(listed({"kind": "changed", "who": "1"}, {"kind": "changed", "who": "1"}))

    vendor.hears(call)
    vendor.hears(call)

    digest = hashlib.sha256(call.body).hexdigest()
    assert states(vendor) == {f"sha256:{digest}#0": "ignored", f"sha256:{digest}#1": "ignored"}


def test_of_a_list_each_event_is_kept_with_what_is_around_it_and_nobody_elses(installed: Flask, company: Company) -> None:
    vendor = connected(installed, company, LISTED)
    vendor.hears(signed(listed({"id": "e1", "kind": "changed", "who": "1"}, {"id": "e2", "kind": "changed", "who": "2"})))

    for event, other in zip(vendor.events(), ("e2", "e1"), strict=True):
        assert event.sealed_body is not None
        kept = unseal(vendor.settings, event.sealed_body)
        assert (event.event_id in kept, "America/Denver" in kept, other in kept) == (True, True, False)


def test_a_parked_event_of_a_list_is_read_anew_when_somebody_asks_for_it(installed: Flask, company: Company) -> None:
    mara = company.joins("mara@x.example", "E-1")
    vendor = connected(installed, company, LISTED)
    vendor.hears(signed(listed({"id": "e1", "kind": "left", "who": "1", "number": "E-1", "day": "31.12.2026"})))

    def again(session: Session) -> None:
        event = session.get_one(HREvent, (company.organization_id, vendor.source_id, "e1"))
        try_again(session, session.get_one(Source, (company.organization_id, vendor.source_id)), event, at=CLOCK)

    in_transaction(again)
    vendor.works()
    assert [str(event.problem).partition(":")[0] for event in vendor.events()] == ["not understood, of employee number E-1"]

    text = LISTED.replace("end_of_day: day", "end_of_day: day, format: '%d.%m.%Y'")
    in_transaction(lambda session: setattr(session.merge(vendor.system()), "description", text))
    in_transaction(again)
    vendor.works()

    assert str(company.person(mara).access_until) == "2027-01-01 07:00:00+00:00"


@pytest.mark.parametrize("document", [{"data": {}}, {"data": {"events": {}}}, [], "text", {"data": {"events": [{}] * (MOST_EVENTS + 1)}}])
def test_a_call_without_its_list_or_with_too_long_a_one_is_parked_whole(installed: Flask, company: Company, document: object) -> None:
    vendor = connected(installed, company, LISTED)

    assert vendor.hears(signed(document)) == "parked"
    assert len(vendor.events()) == 1


def test_an_empty_list_is_nothing(installed: Flask, company: Company) -> None:
    vendor = connected(installed, company, LISTED)

    assert (vendor.hears(signed(listed())), vendor.events()) == ("ignored", [])


def test_the_body_itself_may_be_the_list_even_of_ids_alone(installed: Flask, company: Company, api: Answers) -> None:
    mara, bob = company.joins("mara@x.example", "E-1"), company.joins("bob@x.example", "E-2")
    vendor = connected(
        installed, company, f"{SIGNED}event:\n  each: .\n  key: .\n  means: [{{event: changed, fetch: true}}]\n{API}", answers=api
    )
    api.records |= {"/people/1": {"id": 1, "number": "E-1", "status": "left"}, "/people/2": {"id": 2, "number": "E-2", "status": "in"}}

    vendor.hears(signed([1, 2]))
    vendor.works()

    assert (standing(company, mara.person_id), standing(company, bob.person_id)) == (Standing.DEPARTED, Standing.ACTIVE)


def test_unsigned_events_of_a_list_are_asked_about_one_by_one(installed: Flask, company: Company, api: Answers) -> None:
    mara, bob = company.joins("mara@x.example", "E-1"), company.joins("bob@x.example", "E-2")
    text = f"vendor: A\nsignature: {{scheme: none}}\nevent:\n  each: events\n  key: id\n  means: [{{event: revoke now}}]\n{API}"
    vendor = connected(installed, company, text, answers=api)
    api.records |= {"/people/1": {"id": 1, "number": "E-1", "status": "left"}, "/people/2": {"id": 2, "number": "E-2", "status": "in"}}

    vendor.hears(Request(method="POST", headers={}, body=b'{"events": [{"id": 1}, {"id": 2}, {"name": "nobody"}]}'))
    before = standing(company, mara.person_id)
    vendor.works()

    assert (before, standing(company, mara.person_id), standing(company, bob.person_id)) == (Standing.ACTIVE, Standing.DEPARTED, Standing.ACTIVE)
    with pytest.raises(BadCall, match="whom it is about"):
        vendor.hears(Request(method="POST", headers={}, body=b'{"events": [{"name": "nobody"}]}'))


def test_a_long_unsigned_list_counts_as_so_many_calls(installed: Flask, company: Company, api: Answers) -> None:
    text = f"vendor: A\nsignature: {{scheme: none}}\nevent:\n  each: .\n  key: id\n  means: [{{event: revoke now}}]\n{API}"
    vendor = connected(installed, company, text, answers=api)
    body = json.dumps([{"id": number} for number in range(900)]).encode()

    with pytest.raises(described.TooMany):
        vendor.hears(Request(method="POST", headers={}, body=body))
    assert vendor.events() == []


# What a header tells


def test_a_header_may_tell_what_happened(installed: Flask, company: Company) -> None:
    mara = company.joins("mara@x.example", "E-1")
    vendor = connected(installed, company, BY_HEADER)

    assert vendor.hears(signed({"number": "E-1", "n": 1}, x_event="left")) == "applied"
    assert standing(company, mara.person_id) == Standing.DEPARTED
    assert vendor.hears(signed({"number": "E-1", "n": 2}, x_event="viewed")) == "ignored"
    assert vendor.hears(signed({"number": "E-1", "n": 3})) == "ignored"


def test_the_same_bytes_under_another_header_are_nobodys_word(installed: Flask, company: Company) -> None:
    """Whoever has one good call could show it again as another event, since the header is not signed."""
    mara = company.joins("mara@x.example", "E-1")
    vendor = connected(installed, company, BY_HEADER)
    vendor.hears(signed({"number": "E-1"}, x_event="left"))

    shown = vendor.hears(signed({"number": "E-1"}, x_event="back"), at=CLOCK + timedelta(days=1))
    again = vendor.hears(signed({"number": "E-1"}, x_event="back"), at=CLOCK + timedelta(days=2))

    assert (shown, again, standing(company, mara.person_id)) == ("parked", "parked", Standing.DEPARTED)
    assert sorted(states(vendor).values()) == ["applied", "parked"]
    assert "is not signed" in str(vendor.events()[-1].problem)


def test_where_the_header_is_signed_the_same_body_is_another_event(installed: Flask, company: Company) -> None:
    mara = company.joins("mara@x.example", "E-1")
    vendor = connected(installed, company, BY_HEADER.replace("header: X-S", "header: X-S, over: [header:X-Event, body]"))

    def call(event: str, claimed: str | None = None) -> Request:
        body = b'{"number": "E-1"}'
        signature = hmac.new(SECRET.encode(), event.encode() + body, hashlib.sha256).hexdigest()
        return Request(method="POST", headers={"x-s": signature, "x-event": claimed or event}, body=body)

    assert vendor.hears(call("left")) == "applied"
    with pytest.raises(BadSignature):
        vendor.hears(call("left", "back"))
    assert vendor.hears(call("back"), at=CLOCK + timedelta(minutes=1)) == "applied"
    assert standing(company, mara.person_id) == Standing.ACTIVE


def test_what_was_asked_for_once_is_asked_for_again_under_another_delivery(installed: Flask, company: Company, api: Answers) -> None:
    """The same thin body may come again and mean a new change; the record decides, so it may."""
    mara = company.joins("mara@x.example", "E-1")
    vendor = connected(installed, company, THIN, answers=api)
    api.records["/people/7"] = {"id": 7, "number": "E-1", "status": "in"}
    vendor.hears(signed({"id": 7}, x_event="changed", x_delivery="d1"))
    vendor.works()
    assert standing(company, mara.person_id) == Standing.ACTIVE

    api.records["/people/7"] = {"id": 7, "number": "E-1", "status": "left"}
    vendor.hears(signed({"id": 7}, x_event="changed", x_delivery="d1"))
    repeated = vendor.works()
    vendor.hears(signed({"id": 7}, x_event="changed", x_delivery="d2"), at=CLOCK + timedelta(minutes=1))
    vendor.works(at=CLOCK + timedelta(minutes=1))

    assert (repeated, standing(company, mara.person_id)) == (0, Standing.DEPARTED)


def test_another_delivery_id_makes_no_second_leaving_of_bytes_that_came_before(installed: Flask, company: Company) -> None:
    """A rehired leaver is not taken out again by an old call under a made-up id."""
    mara = company.joins("mara@x.example", "E-1")
    text = f"{SIGNED}event_id: header:X-Delivery\nevent:\n  number: number\n  means:\n"
    text += "    - {when: {type: left}, event: revoke now}\n    - {when: {type: back}, event: rehired}\n"
    vendor = connected(installed, company, text)
    left = {"type": "left", "number": "E-1"}
    vendor.hears(signed(left, x_delivery="d1"))
    vendor.hears(signed({"type": "back", "number": "E-1"}, x_delivery="d2"), at=CLOCK + timedelta(minutes=1))

    vendor.hears(signed(left, x_delivery="d3"), at=CLOCK + timedelta(days=30))

    assert (standing(company, mara.person_id), len(vendor.events())) == (Standing.ACTIVE, 2)


def test_a_thin_event_is_read_again_with_the_header_that_told_it(installed: Flask, company: Company, api: Answers) -> None:
    mara = company.joins("mara@x.example", "E-1")
    vendor = connected(installed, company, THIN, answers=api)
    api.records["/people/7"] = {"id": 7, "number": "E-1", "status": "in"}

    # Who it is has to be asked; what happened was told by the header, which is signed by nobody but stored with the call.
    vendor.hears(signed({"id": 7}, x_event="left", x_delivery="d1"))
    vendor.works()

    assert standing(company, mara.person_id) == Standing.DEPARTED
    assert vendor.events()[0].body["type"] == "employee.terminated"


# What a vendor wants for an answer


def door(app: Flask, vendor: Vendor, **sent: Any) -> Any:
    return app.test_client().post(f"/hr/{vendor.source_id}", **sent)


@pytest.mark.parametrize(
    ("challenge", "sent", "wanted"),
    [
        ("{place: challenge}", {"json": {"challenge": "c1"}}, ('{"challenge": "c1"}', "application/json")),
        ("{place: data.token, answer: text}", {"json": {"data": {"token": "c1"}}}, ("c1", "text/plain; charset=utf-8")),
        ("{place: .}", {"data": b'"c1"'}, ("c1", "text/plain; charset=utf-8")),
        ("{place: .}", {"data": b"a text that is no JSON"}, ("a text that is no JSON", "text/plain; charset=utf-8")),
        ("{place: query:hub.challenge}", {"query_string": {"hub.challenge": "c1"}}, ("c1", "text/plain; charset=utf-8")),
    ],
)
def test_a_challenge_is_answered_as_the_vendor_wants_it_and_stored_nowhere(
    installed: Flask, company: Company, challenge: str, sent: dict[str, Any], wanted: tuple[str, str]
) -> None:
    vendor = connected(installed, company, BY_HEADER + f"challenge: {challenge}\n")

    answer = door(installed, vendor, **sent)

    assert (answer.status_code, answer.text, answer.content_type) == (200, *wanted)
    assert vendor.events() == []


def test_a_challenge_in_a_header_is_given_back_in_it(installed: Flask, company: Company) -> None:
    vendor = connected(installed, company, BY_HEADER + "challenge: {place: header:X-Hook-Secret}\n")

    answer = door(installed, vendor, headers={"X-Hook-Secret": "c1"})

    assert (answer.status_code, answer.headers["X-Hook-Secret"], answer.data) == (200, "c1", b"")
    assert door(installed, vendor, data=b"{}").status_code == 401


@pytest.mark.parametrize("status", [None, 200, 201, 204])
def test_a_vendor_that_takes_one_status_for_good_gets_it(installed: Flask, company: Company, status: int | None) -> None:
    vendor = connected(installed, company, BY_HEADER + (f"answer: {status}\n" if status else ""))
    call = signed({"number": "E-404"}, x_event="left")

    answer = door(installed, vendor, data=call.body, headers=dict(call.headers))

    assert (answer.status_code, answer.data) == (status or 202, b"" if status == 204 else b'{"state": "parked"}')
    assert door(installed, vendor, data=call.body, headers={"X-S": "00" * 32}).status_code == 401


def test_a_call_under_an_address_with_a_query_is_read_with_it(installed: Flask, company: Company) -> None:
    """Some vendors send each kind of event to an address of its own, and say it nowhere else."""
    mara = company.joins("mara@x.example", "E-1")
    vendor = connected(installed, company, BY_HEADER.replace("header:X-Event", "query:event"))
    call = signed({"number": "E-1"})

    twice = door(installed, vendor, data=call.body, headers=dict(call.headers), query_string="event=left&event=back")
    once = door(installed, vendor, data=signed({"number": "E-1", "n": 1}).body, headers=dict(signed({"number": "E-1", "n": 1}).headers), query_string="event=left")

    assert (twice.get_json(), once.get_json()) == ({"state": "ignored"}, {"state": "applied"})
    assert standing(company, mara.person_id) == Standing.DEPARTED


def test_what_a_description_reads_beside_the_body_is_known_by_it() -> None:
    made: Description = descriptions.read(THIN)

    assert made.event is not None and made.event.beside == {"header:X-Event"}
