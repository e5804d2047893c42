"""One channel that the workspace refuses stands in no other's way: movers leave what they left, and come into the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from flask import Flask
from sqlalchemy import select

from app.clock import now
from app.database import in_transaction, reading
from app.directory.tables import Record
from app.journal import work
from app.journal.tables import Subject, Work, WorkState
from app.lifecycle.records import RecordDraft, change_record
from app.rules.explain import explain
from app.rules.file import parse
from app.rules.revisions import apply_rules
from connectors.contract import AccountId, ChannelRef, Permit, Refused
from tests.company import ADMIN, OKTA, Company, document
from tests.unit.delivery.crew import crew, employ, make_everything_due, settle
from tests.workspace import Workspace

pytestmark = pytest.mark.slow

RULES = """
rules:
  - id: everyone
    name: all-hands
  - id: departments
    for_each: department
    name: "dept-{{ key | slug }}"
  - id: fans
    where: 'costCenter eq "fans"'
    name: fans
    membership: added
"""


def move(company: Company, record: Record, **enterprise: str) -> None:
    number = f"E-{record.user_name.split('@')[0]}"
    draft = RecordDraft(
        external_id=record.external_id, user_name=record.user_name, active=True, document=document(record.user_name, number, **enterprise)
    )
    in_transaction(
        lambda session: change_record(session, company.organization_id, company.source_id, record.id, draft, actor=OKTA, at=now(), because="moved")
    )


def delivers(app: Flask, workspace: Workspace) -> None:
    """For a while, whatever is set aside."""
    for _ in range(4):
        crew(app, workspace).run_until_idle()
        make_everything_due()


def parked() -> list[tuple[str, str | None]]:
    with reading() as session:
        return [(row.subject, row.last_error) for row in session.scalars(select(Work).where(Work.state == WorkState.PARKED))]


@pytest.fixture
def there() -> Workspace:
    return Workspace()


@pytest.fixture
def company(installed: Flask, there: Workspace) -> Company:
    made, _ = employ(there)
    in_transaction(lambda session: apply_rules(session, made.organization_id, parse(RULES), ADMIN, now()))
    return made


@pytest.fixture
def ada(installed: Flask, company: Company, there: Workspace) -> Record:
    company.joins("bob@x.example", "E-bob", department="Sales")
    record = company.joins("ada@x.example", "E-ada", department="Sales", costCenter="fans")
    settle(installed, there)
    return record


def ref_of(there: Workspace, name: str) -> ChannelRef:
    return next(room.ref for room in there.rooms.values() if room.name == name)


Give = Callable[..., None]


def refusing(there: Workspace, verb: str, name: str) -> Give:
    real: Give = getattr(there, verb)

    def refuses(ref: ChannelRef, accounts: Iterable[AccountId], *, permit: Permit | None = None) -> None:
        if there.rooms[ref].name == name:
            raise Refused(f"stand-in: not in {name}")
        real(ref, accounts, **({} if permit is None else {"permit": permit}))

    return refuses


def test_a_mover_leaves_the_old_channel_and_joins_others_though_one_refuses_them(
    installed: Flask, company: Company, there: Workspace, ada: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    company.joins("cy@x.example", "E-cy", department="Legal")
    settle(installed, there)
    there.members[ref_of(there, "all-hands")].discard(AccountId("ada"))
    monkeypatch.setattr(there, "add_members", refusing(there, "add_members", "all-hands"))

    move(company, ada, department="Legal", costCenter="fans")
    delivers(installed, there)

    assert there.names_of(AccountId("ada")) == {"dept-legal", "fans"}
    assert parked() == [(Subject.ACCOUNT, "stand-in: not in all-hands")]


def test_nobody_is_said_to_be_in_a_channel_that_lets_them_in_no_more(
    installed: Flask, company: Company, there: Workspace, ada: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> str:
        with reading() as session:
            return explain(session, company.organization_id, ada.person_id, "all-hands", now()).sentence

    assert said() == "Ada is in all-hands by rule everyone (everyone)."
    there.members[ref_of(there, "all-hands")].discard(AccountId("ada"))
    with monkeypatch.context() as banned:
        banned.setattr(there, "add_members", refusing(there, "add_members", "all-hands"))
        move(company, ada, department="Legal", costCenter="fans")
        delivers(installed, there)

        assert said() == "Ada belongs in all-hands by rule everyone (everyone), but is not in it any more, and membership is enforced."

    move(company, ada, department="Sales", costCenter="fans")
    settle(installed, there)
    assert said() == "Ada is in all-hands by rule everyone (everyone)."


def test_who_could_not_be_taken_out_is_taken_out_later_and_meanwhile_of_the_rest(
    installed: Flask, company: Company, there: Workspace, ada: Record
) -> None:
    kick, asked = there.remove_members, list[ChannelRef]()

    def refuses_the_first(ref: ChannelRef, accounts: Iterable[AccountId]) -> None:
        asked.append(ref)
        if ref == asked[0]:
            raise Refused("stand-in: no power there")
        kick(ref, accounts)

    there.remove_members = refuses_the_first  # type: ignore[method-assign]  # until we have the power again
    # Both only add, so whoever is in one without the mirror saying why would count as somebody's guest.
    in_transaction(lambda session: apply_rules(session, company.organization_id, parse(RULES.replace("}}\"", "}}\"\n    membership: added")), ADMIN, now()))
    move(company, ada, department="Legal", costCenter="none")
    delivers(installed, there)
    assert there.names_of(AccountId("ada")) == {"all-hands", "dept-legal", there.rooms[asked[0]].name}
    assert parked() == [(Subject.ACCOUNT, "stand-in: no power there")]

    there.remove_members = kick  # type: ignore[method-assign]  # and here it is
    with reading() as session:
        row = session.scalars(select(Work)).one()
    in_transaction(
        lambda session: work.want(
            session, company.organization_id, subject=Subject.ACCOUNT, subject_ids=[ada.person_id], because=None, due_at=now(),
            workspace_id=row.workspace_id,
        )
    )  # fmt: skip
    settle(installed, there)

    assert there.names_of(AccountId("ada")) == {"all-hands", "dept-legal"}
