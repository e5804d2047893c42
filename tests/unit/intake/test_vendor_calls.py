"""Calls read by their descriptions: what each sample says, and how dates become instants."""

from __future__ import annotations

import json
from datetime import datetime

import jsonschema_rs
import pytest

from app.intake import descriptions
from app.intake.description_types import SHIPPED, Event, Meaning, Moment, Reading, Rule
from app.intake.hr import BadCall, read
from app.intake.places import Around, text_at, value_at
from app.intake.schemes import verify
from app.intake.vendor_calls import Said, read_body, say
from tests.hr_system import leaving
from tests.hr_vendor import CLOCK, description_file, sample

GUSTO = "bcfc9744-0ab3-4ef3-ab0d-e728255d659c"
BOB = "3332883854254932743"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("standard_webhooks_employee_terminated", Said(event=Event.REVOKE_NOW, number="E-20417", email="mara.okonjo@clinic.example")),
        ("standard_webhooks_rotation_two_signatures", Said(event=Event.REVOKE_NOW, number="E-20417", email="mara.okonjo@clinic.example")),
        ("bamboohr_employee_deleted_event", Said(event=Event.LEAVES_AT, key="20417", at=CLOCK)),
        ("bamboohr_employee_updated_event", Said(event=Event.CHANGED, key="20417", fetch=True)),
        ("hibob_access_revoked_immediately", Said(event=Event.REVOKE_NOW, key=BOB)),
        ("hibob_employee_left", Said(event=Event.LEAVES_AT, key=BOB, at=CLOCK)),
        ("hibob_table_entry_created_lifecycle", Said(event=Event.CHANGED, key=BOB, at=datetime.fromisoformat("2026-12-31T00:00:00+00:00"), fetch=True)),
        ("gusto_terminated", Said(event=Event.LEAVES_AT, key=GUSTO, fetch=True)),
        ("gusto_termination_effective", Said(event=Event.LEAVES_AT, key=GUSTO, at=CLOCK)),
        ("gusto_termination_cancelled", Said(event=Event.CANCELLED, key=GUSTO)),
        ("gusto_rehired", Said(event=Event.REHIRED, key=GUSTO, fetch=True)),
        ("rippling_employee_deleted", Said(event=Event.REVOKE_NOW, key="656992816f26d6caea00072c")),
        ("rippling_employee_terminated", Said(event=Event.LEAVES_AT, key="656992816f26d6caea00072c", at=CLOCK)),
        ("deel_contract_terminated", Said(event=Event.LEAVES_AT, key="3xq9k2m", number="D-77", email="mara@x.example", at=datetime.fromisoformat("2026-11-30T23:00:00+00:00"))),
    ],
)  # fmt: skip
def test_a_sample_is_good_and_says_what_its_note_says(name: str, expected: Said) -> None:
    one, description = sample(name), descriptions.read(descriptions.text_of(description_file(name)))
    assert description.signature is not None and description.event is not None

    verify(description.signature, one.request, [one.secret], event_id=None, at=CLOCK)

    assert say(description.event, read_body(description, one.request.body), time_zone="UTC", at=CLOCK) == expected


def test_a_row_of_a_workday_report_ends_access_with_the_last_day_of_work_and_a_rescinded_one_calls_that_off() -> None:
    description = descriptions.read(descriptions.text_of("workday"))
    row = value_at(json.loads(sample("workday_raas_terminations").request.body), "Report_Entry.0")
    assert description.record is not None

    leaves = say(description.record, row, time_zone="America/Denver", at=CLOCK)
    rescinded = say(description.record, {**row, "Is_Rescinded": "1"}, time_zone="America/Denver", at=CLOCK)

    assert (leaves.event, leaves.at) == (Event.LEAVES_AT, datetime.fromisoformat("2026-11-25T07:00:00+00:00"))
    assert rescinded.event is Event.CANCELLED


@pytest.mark.parametrize(
    ("value", "said", "event"),
    [
        ("Terminated [voluntary]", "Terminated [voluntary]", Event.REVOKE_NOW), ("Terminated [*]", "Terminated [by us]", Event.REVOKE_NOW),
        ("[left]", "[left]", Event.REVOKE_NOW), ("[]", "[]", Event.REVOKE_NOW), ("[12]*", "2026-11-30", Event.REVOKE_NOW),
        ("[12]*", "0000-00-00", Event.NOTHING), ("le?t", "left", Event.REVOKE_NOW), ("le?t", "leeft", Event.NOTHING),
    ],
)  # fmt: skip
def test_brackets_stand_for_one_of_their_letters_and_for_themselves(value: str, said: str, event: Event) -> None:
    meaning = Meaning(event=Event.REVOKE_NOW, when={"status": (value,)}, at=())
    reading = Reading(key="id", number=None, email=None, engagement=None, zone=None, means=(meaning,))

    assert say(reading, {"id": 1, "status": said}, time_zone="UTC", at=CLOCK).event is event


@pytest.mark.parametrize(
    ("bare", "said", "fits"),
    [
        ("True", True, True), ("TRUE", True, True), ("true", True, True), ("False", False, True), ("True", "True", True), ("True", False, False),
        ("'True'", True, False), ("[True, gone]", True, True), ("null", None, True), ("~", None, True), ("NULL", None, True), ("null", "null", True),
        ("null", "x", False), ("'null'", None, False), ("No", "No", True), ("No", False, False),
    ],
)  # fmt: skip
def test_a_bare_word_of_yaml_is_what_json_has_for_it(bare: str, said: object, fits: bool) -> None:
    text = f"vendor: Acme\nsignature: {{scheme: hmac, header: X-Sig}}\nevent:\n  key: id\n  means:\n    - {{when: {{gone: {bare}}}, event: revoke now}}\n"
    reading = descriptions.read(text).event
    assert reading is not None

    assert (say(reading, {"id": 1, "gone": said}, time_zone="UTC", at=CLOCK).event is Event.REVOKE_NOW) is fits


def dated(
    rule: Rule, text: object, *, format: str | None = None, zone: str = "Europe/Berlin", event: Event = Event.LEAVES_AT
) -> datetime | None:
    meaning = Meaning(event=event, when={}, at=(Moment(rule=rule, place="on", format=format),))
    reading = Reading(key="id", number=None, email=None, engagement=None, zone=None, means=(meaning,))
    return say(reading, {"id": 1, "on": text}, time_zone=zone, at=CLOCK).at


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        (Rule.END_OF_DAY, "2026-03-28", "2026-03-28T23:00:00+00:00"),
        # The clocks go forward in the night of the 29th.
        (Rule.END_OF_DAY, "2026-03-29", "2026-03-29T22:00:00+00:00"),
        (Rule.END_OF_DAY, "2028-02-29", "2028-02-29T23:00:00+00:00"),
        (Rule.START_OF_DAY, "2026-12-31", "2026-12-30T23:00:00+00:00"),
        (Rule.LOCAL_TIME, "2026-07-01T17:00:00", "2026-07-01T15:00:00+00:00"),
        (Rule.INSTANT, "2026-07-01T17:00:00+01:00", "2026-07-01T16:00:00+00:00"),
        (Rule.INSTANT, 1795600000, "2026-11-25T09:46:40+00:00"),
        (Rule.INSTANT, 1795600000000, "2026-11-25T09:46:40+00:00"),
        (Rule.INSTANT, 1795600000.5, "2026-11-25T09:46:40.500000+00:00"),
        (Rule.INSTANT, "2026-11-25T09:46:40.1234567Z", "2026-11-25T09:46:40.123456+00:00"),
        # Many write a date as a midnight: as it is written, whatever the zone behind it; or the midnight where the day is.
        (Rule.END_OF_DAY, "2026-11-30T00:00:00", "2026-11-30T23:00:00+00:00"),
        (Rule.END_OF_DAY, "2026-11-30T00:00:00Z", "2026-11-30T23:00:00+00:00"),
        (Rule.END_OF_DAY, "2026-11-30 00:00:00.000", "2026-11-30T23:00:00+00:00"),
        (Rule.END_OF_DAY, "2026-11-29T23:00:00.000000Z", "2026-11-30T23:00:00+00:00"),
        (Rule.START_OF_DAY, 1795996800, "2026-11-29T23:00:00+00:00"),
        (Rule.START_OF_DAY, 1795993200000, "2026-11-29T23:00:00+00:00"),
    ],
)
def test_a_date_becomes_the_instant_that_its_rule_says(rule: Rule, text: object, expected: str) -> None:
    assert dated(rule, text) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    ("text", "end", "beginning"),
    [
        # In Berlin half past two comes twice on 25 October, and not at all on 29 March.
        ("2026-10-25T02:30", "2026-10-25T00:30:00+00:00", "2026-10-25T01:30:00+00:00"),
        ("2026-03-29T02:30", "2026-03-29T00:30:00+00:00", "2026-03-29T01:30:00+00:00"),
    ],
)
def test_a_local_time_around_a_change_of_the_clock_ends_at_the_first_instant_and_begins_at_the_last(text: str, end: str, beginning: str) -> None:
    for event in (Event.LEAVES_AT, Event.ON_LEAVE):
        assert dated(Rule.LOCAL_TIME, text, event=event) == datetime.fromisoformat(end)
    for event in (Event.CREATED, Event.REHIRED):
        assert dated(Rule.LOCAL_TIME, text, event=event) == datetime.fromisoformat(beginning)


def test_a_date_may_be_written_in_a_vendors_own_way() -> None:
    assert dated(Rule.END_OF_DAY, "11/30/2026", format="%m/%d/%Y", zone="UTC") == datetime.fromisoformat("2026-12-01T00:00:00+00:00")


@pytest.mark.parametrize(
    ("rule", "text"),
    [(Rule.END_OF_DAY, "30.11.2026"), (Rule.END_OF_DAY, "2026-02-29"), (Rule.END_OF_DAY, "20261130"), (Rule.END_OF_DAY, "9999-12-31"),
     (Rule.END_OF_DAY, "2026-11-30T17:00:00"), (Rule.END_OF_DAY, "2026-11-30T21:00:00Z"), (Rule.END_OF_DAY, 1795600000), (Rule.END_OF_DAY, 20261130),
     (Rule.INSTANT, "2026-11-30"), (Rule.INSTANT, "2026-11-30T12:00:00"), (Rule.END_OF_DAY, None), (Rule.END_OF_DAY, ["2026-11-30"])],
)  # fmt: skip
def test_a_date_that_cannot_be_read_is_never_guessed(rule: Rule, text: object) -> None:
    with pytest.raises(BadCall):
        dated(rule, text)


@pytest.mark.parametrize("zone", ["+01:00", "UTC+1", "+0100"])
def test_a_zone_may_be_an_offset(zone: str) -> None:
    assert dated(Rule.END_OF_DAY, "2026-07-01", zone=zone) == datetime.fromisoformat("2026-07-01T23:00:00+00:00")


@pytest.mark.parametrize("zone", ["+24:00", "-99", "GMT+2460", "+01:75"])
def test_a_zone_that_no_clock_shows_is_not_guessed(zone: str) -> None:
    with pytest.raises(BadCall, match="time zone"):
        dated(Rule.END_OF_DAY, "2026-07-01", zone=zone)


@pytest.mark.parametrize("said", [{"revoke_access": "immediately"}, {"revoke_access": "2026-11-25T10:46:40+01:00"}])
def test_a_zone_that_no_date_needs_keeps_nobody_in(said: dict[str, str]) -> None:
    description = descriptions.read(descriptions.text_of("standard_webhooks"))
    assert description.event is not None

    heard = say(description.event, leaving("E-1", time_zone="Mars/Base", **said), time_zone="UTC", at=CLOCK)

    assert heard.acts and heard.at in (None, CLOCK)


def test_an_instant_may_be_written_in_a_vendors_own_way() -> None:
    assert dated(Rule.INSTANT, "11/30/2026 17:00 -0700", format="%m/%d/%Y %H:%M %z") == datetime.fromisoformat("2026-12-01T00:00:00+00:00")


# Places

DOCUMENT = {
    "a": {"b": [{"id": 1, "n": "x"}, {"id": 2.0, "n": "y"}]}, "dotted.name": "d", "Employee ID": " E 7 ", "none": None, "empty": "", "flags": ["start", "end"],
    "obj": {"k": 1}, "no": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("a.b.0.id", "1"), ("a.b.-1.id", "2"), ("a.b[1].n", "y"), ("a.b.[n=x].id", "1"), ("a.b[id=2].n", "y"), ("a.b.[n=z].id", None), ("a.b.9.id", None),
        ("dotted.name", "d"), ("Employee ID", "E 7"), ("none", None), ("empty", None), ("a.c.d", None), (("none", "empty", "a.b.0.n"), "x"), ((), None),
        ("call:outer", "o"), ("header:X-Kind", "h"), ("header:X-Other", None),
    ],
)  # fmt: skip
def test_a_place_leads_to_a_text(place: str | tuple[str, ...], text: str | None) -> None:
    assert text_at(DOCUMENT, place, Around(body={"outer": "o"}, beside={"header:X-Kind": "h"})) == text


@pytest.mark.parametrize("place", ["a", "a.b", "flags", "obj"])
def test_a_part_of_the_document_is_no_text(place: str) -> None:
    with pytest.raises(BadCall, match="must be a text"):
        text_at(DOCUMENT, place)


@pytest.mark.parametrize(
    ("place", "values", "there"),
    [
        ("flags", ("end",), True), ("flags", ("en?",), True), ("flags", ("middle",), False), ("flags", ("",), False), ("no", ("",), True), ("no", ("*",), False),
        ("obj", ("*",), True), ("obj", ("k",), False), ("none", ("",), True), ("missing", ("", "x"), True), ("missing", ("*",), False), ("dotted.name", ("",), False),
    ],
)  # fmt: skip
def test_a_condition_holds_of_lists_objects_and_what_is_not_there(place: str, values: tuple[str, ...], there: bool) -> None:
    reading = Reading(
        key="a.b.0.id", number=None, email=None, engagement=None, zone=None, means=(Meaning(event=Event.REVOKE_NOW, when={place: values}),)
    )

    assert (say(reading, DOCUMENT, time_zone="UTC", at=CLOCK).event is Event.REVOKE_NOW) is there


def test_a_record_that_is_to_be_asked_for_by_an_id_that_is_missing_is_not_guessed() -> None:
    """Without its date, which only the record has, a leaving would be at once."""
    meaning = Meaning(event=Event.LEAVES_AT, when={}, fetch=True)
    reading = Reading(key="id", number="number", email=None, engagement=None, zone=None, means=(meaning,))

    with pytest.raises(BadCall, match="the vendor is asked by it"):
        say(reading, {"number": "E-1"}, time_zone="UTC", at=CLOCK)


@pytest.mark.parametrize("body", [b"a=1&a=2", b"a", b"a=%ff", b"a=%00", b"\xff=1", b"&".join(b"f%d=1" % n for n in range(300))])
def test_a_form_that_can_be_read_in_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(BadCall):
        read_body(descriptions.read(descriptions.text_of("rippling")), body)


@pytest.mark.parametrize(
    ("document", "good"),
    [
        (leaving("E-1", revoke_access="immediately"), True),
        (leaving("E-1", last_day_of_work="2026-11-30", time_zone="Europe/Berlin", other={"x": 1}), True),
        (leaving("E-1", termination_date="2026-11-30", revoke_access="at_end_of_last_day"), True),
        (leaving("E-1", revoke_access="2026-12-01T17:00:00+01:00"), True),
        ({"type": "employee.rehired", "data": {"employee_id": "E-1"}}, True),
        ({"type": "employee.on_leave", "data": {"employee_id": "E-1"}}, True),
        ({"type": "employee.hired", "data": {"employee_id": "E-1", "start_date": "2026-11-30", "time_zone": "Europe/Berlin"}}, True),
        ({"type": "employee.hired", "data": {"employee_id": "E-1", "starts_at": "2026-11-30T09:00:00+01:00"}}, True),
        ({"type": "employee.hired", "data": {"employee_id": "E-1"}}, False),
        ({"type": "employee.hired", "data": {"employee_id": "E-1", "start_date": "30.11.2026"}}, False),
        (leaving("E-1"), False),
        (leaving("E-1", revoke_access="at_end_of_last_day"), False),
        (leaving(" ", revoke_access="immediately"), False),
        (leaving("E-1", last_day_of_work="30.11.2026"), False),
        (leaving("E-1", last_day_of_work="2026-W48-1"), False),
        (leaving("E-1", revoke_access="2026-12-01T17:00:00"), False),
        (leaving("E-1", work_email=7, revoke_access="immediately"), False),
        ({"type": "employee.fired", "data": {"employee_id": "E-1"}}, False),
        ({"type": "employee.terminated"}, False),
    ],
)
def test_the_schema_of_our_own_format_takes_what_the_door_takes_and_nothing_else(document: object, good: bool) -> None:
    body = json.dumps(document).encode()
    schema = json.loads((SHIPPED / "hr-call.schema.json").read_text())
    described = descriptions.read(descriptions.text_of("standard_webhooks"))

    if good:
        read(body, "m", time_zone="UTC")
        read_body(described, body)
    else:
        with pytest.raises(BadCall):
            read(body, "m", time_zone="UTC")
        with pytest.raises(BadCall, match=r"hr-call\.schema\.json"):
            read_body(described, body)
    assert jsonschema_rs.is_valid(schema, document) is good
