"""Every sample of an HR system at the door itself: what its note says it does, and once only."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from app.database import reading
from app.directory.tables import Source, Standing
from app.lifecycle.sources import secrets_of
from tests.hr_door import MARA, PATHS, Stage, says_here, says_leaves, staged, vendor_name
from tests.hr_vendor import CLOCK, SAMPLES, Answers, sample
from tests.served import Served

pytestmark = pytest.mark.slow

IN_DENVER = datetime.fromisoformat
ACTIVE, DEPARTED = Standing.ACTIVE, Standing.DEPARTED


@dataclass(frozen=True, kw_only=True)
class Becomes:
    """What a sample is answered, what stood before it, what the vendor's API says of its person, and what comes of it."""

    answer: tuple[int, str | None]
    standing: Standing = ACTIVE
    until: datetime | None = None
    before: Callable[[Stage], None] = lambda stage: None
    record: dict[str, object] | None = None
    asked: bool = False


def earlier(stage: Stage, name: str) -> None:
    """A sample that came an hour before."""
    stage.at = CLOCK - timedelta(hours=1)
    stage.sends(name)
    stage.works()
    stage.at = CLOCK


def was_planned(stage: Stage) -> None:
    """Gusto has told of a last day that is to come."""
    stage.api.records[PATHS["gusto"]] = says_leaves("gusto", "2026-12-31", over=False)
    earlier(stage, "gusto_terminated")
    assert stage.person.access_until == IN_DENVER("2027-01-01T00:00:00-07:00")


def had_left(stage: Stage) -> None:
    """Gusto has told of a last day that has gone by."""
    stage.api.records[PATHS["gusto"]] = says_leaves("gusto", "2026-11-20")
    earlier(stage, "gusto_terminated")
    assert stage.standing == DEPARTED


def is_known(stage: Stage) -> None:
    stage.links(MARA["hibob"])


END_OF_THE_YEAR = IN_DENVER("2027-01-01T00:00:00-07:00")
EXPECTED: dict[str, Becomes] = {
    # Thin: the vendor's own id alone is named, so who it is has to be asked.
    "bamboohr_employee_deleted_event": Becomes(
        answer=(202, "received"), record=says_leaves("bamboohr", "2026-11-24"), asked=True, standing=DEPARTED
    ),
    "bamboohr_employee_updated_event": Becomes(
        answer=(202, "received"), record=says_leaves("bamboohr", "2026-12-31", over=False), asked=True, until=END_OF_THE_YEAR
    ),
    # A rehire was entered: the record says that they are here again.
    "gusto_rehired": Becomes(answer=(202, "received"), before=had_left, record=says_here("gusto"), asked=True),
    # Entered, perhaps for a later day: by its record it is the end of that day, where the company is.
    "gusto_terminated": Becomes(
        answer=(202, "received"), record=says_leaves("gusto", "2026-12-31", over=False), asked=True, until=END_OF_THE_YEAR
    ),
    "gusto_termination_cancelled": Becomes(answer=(200, "applied"), before=was_planned),
    # The day after the last one has begun.
    "gusto_termination_effective": Becomes(answer=(200, "applied"), before=was_planned, standing=DEPARTED),
    "gusto_verification_handshake": Becomes(answer=(202, "received"), asked=True),
    # Acted on before anybody is asked.
    "hibob_access_revoked_immediately": Becomes(answer=(200, "applied"), before=is_known, standing=DEPARTED),
    "hibob_employee_left": Becomes(answer=(200, "applied"), before=is_known, standing=DEPARTED),
    "hibob_ping_test": Becomes(answer=(200, "ping")),
    # A row with a date to come: put down for that day, and not acted on.
    "hibob_table_entry_created_lifecycle": Becomes(
        answer=(202, "received"), record=says_leaves("hibob", "2026-12-31", over=False), asked=True, until=END_OF_THE_YEAR
    ),
    # Signed by nobody: done only since the record says so.
    "rippling_employee_deleted": Becomes(answer=(202, "received"), record=says_leaves("rippling", "2026-11-24"), asked=True, standing=DEPARTED),
    "rippling_employee_terminated": Becomes(answer=(202, "received"), record=says_leaves("rippling", "2026-11-24"), asked=True, standing=DEPARTED),
    "standard_webhooks_employee_terminated": Becomes(answer=(200, "applied"), standing=DEPARTED),
    "standard_webhooks_rotation_two_signatures": Becomes(answer=(200, "applied"), standing=DEPARTED),
    # Nothing is sent by Workday: as a call it is nobody's, as the answer to a poll it counts (below).
    "workday_raas_terminations": Becomes(answer=(401, None)),
    # Not shipped; its day ends in the zone that the call names.
    "deel_contract_terminated": Becomes(answer=(200, "applied"), until=IN_DENVER("2026-12-01T00:00:00+01:00")),
    "deel_contract_terminated_simulation": Becomes(answer=(200, "ignored")),
}


def test_no_sample_is_without_an_expectation() -> None:
    assert {path.stem for path in SAMPLES.glob("*.json")} == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_sample_does_what_its_note_says_and_does_it_once(there: Served, api: Answers, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    wanted = EXPECTED[name]
    stage = staged(there, name, api, monkeypatch)
    wanted.before(stage)
    if wanted.record is not None:
        api.records[PATHS[vendor_name(name)]] = wanted.record
    if name.endswith("handshake"):
        api.takes_back.add(sample(name).secret)
    api.asked.clear()

    answer = stage.sends(name)
    asked_by_the_door = list(api.asked)
    stage.works()

    assert (answer, asked_by_the_door, bool(api.asked)) == (wanted.answer, [], wanted.asked)
    assert (stage.standing, stage.person.access_until if stage.standing == ACTIVE else None) == (wanted.standing, wanted.until)

    effects = stage.effects
    assert stage.sends(name)[0] in (200, 202, 401)
    stage.works()
    assert (stage.effects, stage.standing) == (effects, wanted.standing)


def test_what_was_planned_by_a_sample_comes_true_on_its_day(there: Served, api: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = staged(there, "gusto_terminated", api, monkeypatch)
    was_planned(stage)

    stage.passes(END_OF_THE_YEAR - timedelta(minutes=1))
    before = stage.standing
    stage.passes(END_OF_THE_YEAR)

    assert (before, stage.standing) == (ACTIVE, DEPARTED)


def test_access_that_was_revoked_at_once_stays_so_when_the_last_day_comes(there: Served, api: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    """HiBob sends *left* on the effective date as well: it is no second departure."""
    stage = staged(there, "hibob_access_revoked_immediately", api, monkeypatch)
    is_known(stage)
    stage.sends("hibob_access_revoked_immediately")
    _, departures, _ = stage.effects

    stage.at = CLOCK + timedelta(days=30)
    stage.sends("hibob_employee_left")
    stage.works()

    assert (stage.standing, stage.effects[1], departures) == (DEPARTED, 1, 1)


def test_a_revocation_of_somebody_whom_the_vendors_id_does_not_tell_is_done_once_it_was_asked_who_it_is(
    there: Served, api: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = staged(there, "hibob_access_revoked_immediately", api, monkeypatch)
    # The record itself says no such thing: the signed word stands, and the record only says who is meant.
    api.records[PATHS["hibob"]] = says_here("hibob")

    answer = stage.sends("hibob_access_revoked_immediately")
    before = stage.standing
    stage.works()

    assert (answer, before, stage.standing) == ((202, "received"), ACTIVE, DEPARTED)


def test_the_secret_of_a_handshake_is_what_the_next_call_is_checked_with(there: Served, api: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    handshake = "gusto_verification_handshake"
    stage = staged(there, handshake, api, monkeypatch, secret="")
    stage.links(MARA["gusto"])
    api.takes_back.add(sample(handshake).secret)
    refused = stage.sends("gusto_termination_effective")

    stage.sends(handshake)
    stage.works()
    taken = stage.sends("gusto_termination_effective")

    assert (refused, taken, stage.standing) == ((401, None), (200, "applied"), DEPARTED)
    assert api.asked == ["PUT /webhook_subscriptions/b9c1a1d2-0000-4000-8000-000000000001/verify"]


def test_a_handshake_that_the_vendor_does_not_take_back_gives_nobody_a_secret(
    there: Served, api: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    handshake = "gusto_verification_handshake"
    stage = staged(there, handshake, api, monkeypatch, secret="")

    stage.sends(handshake)
    stage.works()

    with reading() as session:
        source = session.get_one(Source, (stage.company.organization_id, stage.vendor.source_id))
        assert sample(handshake).secret not in secrets_of(source, settings=there.app.config["DOORLIST"])
    assert stage.sends("gusto_termination_effective") == (401, None)


def test_a_report_ends_access_with_the_last_day_of_work_where_the_company_is(there: Served, api: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "workday_raas_terminations"
    stage = staged(there, name, api, monkeypatch)
    body = sample(name).request.body.decode()
    api.records["/o/r"] = {"Report_Entry": []}
    stage.vendor.polls(at=CLOCK)
    # The last day is the 24th; it is still on in Denver a minute before seven in the morning, UTC.
    seven = datetime.fromisoformat("2026-11-25T07:00:00+00:00")

    api.records["/o/r"] = json.loads(body)
    stage.vendor.polls(at=seven - timedelta(minutes=1))
    before, until = stage.standing, stage.person.access_until
    stage.passes(seven)
    after, effects = stage.standing, stage.effects
    stage.vendor.polls(at=CLOCK)

    assert (before, until, after) == (ACTIVE, seven, DEPARTED)
    assert stage.effects == effects


def test_a_termination_that_the_report_rescinds_is_called_off(there: Served, api: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "workday_raas_terminations"
    stage = staged(there, name, api, monkeypatch)
    said = sample(name).request.body.decode().replace("2026-11-24", "2026-12-30")
    api.records["/o/r"] = json.loads(said)
    stage.vendor.polls(at=CLOCK)
    planned = stage.person.access_until

    api.records["/o/r"] = json.loads(said.replace('"Is_Rescinded":"0"', '"Is_Rescinded":"1"'))
    stage.vendor.polls(at=CLOCK + timedelta(hours=1))

    assert (planned is not None, stage.person.access_until, stage.standing) == (True, None, ACTIVE)
