"""What stands wrong is an alarm for as long as it stands: each kind comes, is said anew, and goes."""

from collections.abc import Callable
from datetime import datetime, timedelta

from flask import Flask
from sqlalchemy.orm import Session

from app.access.tables import Workspace as WorkspaceRow
from app.access.tables import WorkspaceState
from app.audit import lag
from app.clock import now
from app.commands import housekeeping
from app.database import in_transaction, reading
from app.directory.tables import StatementKind, Voice
from app.journal.tables import Organization
from app.lifecycle import conditions, leaving
from app.lifecycle.groups import GroupDraft, add_group
from app.lifecycle.operators import Role, add_operator
from app.lifecycle.sources import set_setting
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import open_alarms
from tests.company import ADMIN, NOW, OKTA, Company, new_company
from tests.hr_system import HR
from tests.hr_system import leaving as leaves
from tests.lagging import audit_may_lag
from tests.unit.delivery.crew import employ
from tests.workspace import Workspace

MINUTE = timedelta(seconds=60)


def stands(company: Company, kind: AlarmKind, *, at: datetime | None = None) -> list[str]:
    """The sentences of the open alarms of a kind, after a look."""
    conditions.look(company.organization_id, at=at or now(), overdue_after=MINUTE)
    with reading() as session:
        return [one.sentence for one in open_alarms(session, company.organization_id) if one.kind == kind]


def acts(act: Callable[[Session], object]) -> None:
    in_transaction(act)


def sets(company: Company, key: str, value: str) -> None:
    acts(lambda session: set_setting(session, session.get_one(Organization, company.organization_id), key, value, actor=ADMIN, at=NOW))


def test_a_halted_workspace_is_told_of_until_it_goes_on(installed: Flask) -> None:
    company, workspace_id = employ(Workspace())

    def becomes(state: WorkspaceState, reason: str | None) -> None:
        def act(session: Session) -> None:
            row = session.get_one(WorkspaceRow, (company.organization_id, workspace_id))
            row.state, row.halted_reason = state, reason

        acts(act)

    becomes(WorkspaceState.HALTED, "the token is\nnot accepted")
    assert stands(company, AlarmKind.WORKSPACE_HALTED) == ["chat is halted: the token is not accepted."]
    becomes(WorkspaceState.RUNNING, None)
    assert stands(company, AlarmKind.WORKSPACE_HALTED) == []


def test_a_last_day_on_which_nobody_acted_is_told_of(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    due = now() + timedelta(hours=1)
    acts(
        lambda session: leaving.say(
            session, company.organization_id, ada.person_id, voice=Voice.OPERATOR, kind=StatementKind.LEAVES, said_by="ana", effective_at=due,
            actor=ADMIN, at=now(), because="test",
        )
    )  # fmt: skip

    assert stands(company, AlarmKind.DEPARTURE_NOT_DECIDED, at=due + timedelta(seconds=59)) == []
    assert stands(company, AlarmKind.DEPARTURE_NOT_DECIDED, at=due + timedelta(seconds=61)) == ["1 departures have come due and nobody acted on them."]


def test_a_held_burst_is_told_of(installed: Flask) -> None:
    company = new_company()
    sets(company, "push_brake", "1/60s")
    for one in [company.joins(f"p{number}@x.example", f"E-{number}") for number in range(3)]:
        company.says(one, active=False, at=now())

    [said] = stands(company, AlarmKind.PUSH_HELD)

    assert "okta took access from more people than push_brake" in said


def test_an_audit_that_does_not_keep_up_is_told_of(installed: Flask) -> None:
    audit_may_lag(installed)
    company = new_company()
    with reading() as session:
        assert lag.audit_is_behind(session, at=now())

    assert len(stands(company, AlarmKind.AUDIT_BEHIND)) == 1


def test_p18_the_last_owner_may_leave_and_people_are_told(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    draft = GroupDraft(external_id=None, display_name="Owners", members=(ada.id,))
    acts(lambda session: add_group(session, company.organization_id, company.source_id, draft, actor=OKTA, at=NOW, because="test"))
    assert stands(company, AlarmKind.LAST_OWNER_LEAVING) == [], "where no group makes owners, the machine's own user is one"
    sets(company, "role_groups", '{"owner": ["owners"]}')
    assert stands(company, AlarmKind.LAST_OWNER_LEAVING) == []

    company.says(ada, active=False, at=now())

    assert stands(company, AlarmKind.LAST_OWNER_LEAVING) == ["Nobody who is here is owner any more, by a group or by name."]
    acts(lambda session: add_operator(session, company.organization_id, "bob", Role.OWNER, actor=ADMIN, at=NOW))
    assert stands(company, AlarmKind.LAST_OWNER_LEAVING) == []


def test_parked_hr_calls_are_told_of_by_the_beat(installed: Flask) -> None:
    company = new_company()
    assert HR(installed, company).call(leaves("E-404", revoke_access="immediately")).status_code == 202

    housekeeping.beat(installed)

    with reading() as session:
        said = [one.sentence for one in open_alarms(session, company.organization_id) if one.kind == AlarmKind.HR_CALL_PARKED]
    assert said == ["1 HR call means nobody, or more than one."]


def test_w02_calls_with_a_wrong_signature_are_told_of_once_however_many_come(installed: Flask) -> None:
    company = new_company()
    hr = HR(installed, company)
    for number in range(5):
        assert hr.call(leaves("E-1"), event_id=f"m{number}", body=b"{}").status_code == 401

    with reading() as session:
        [alarm] = open_alarms(session, company.organization_id)

    assert (alarm.kind, alarm.about, alarm.times) == (AlarmKind.WEBHOOKS_REFUSED, hr.source_id, 1)
    assert alarm.sentence.startswith("Calls of hr are refused: ")


def test_nothing_is_written_while_nothing_has_changed(installed: Flask) -> None:
    company, workspace_id = employ(Workspace())

    def halt(session: Session) -> None:
        row = session.get_one(WorkspaceRow, (company.organization_id, workspace_id))
        row.state, row.halted_reason = WorkspaceState.HALTED, "x" * 600

    acts(halt)
    stands(company, AlarmKind.WORKSPACE_HALTED)
    with reading() as session:
        before = [(one.id, one.last_at, one.times) for one in open_alarms(session, company.organization_id)]

    stands(company, AlarmKind.WORKSPACE_HALTED, at=now() + timedelta(seconds=5))

    with reading() as session:
        assert [(one.id, one.last_at, one.times) for one in open_alarms(session, company.organization_id)] == before
