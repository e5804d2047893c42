"""The main job on real parts: people joined here are found in a real Synapse, and a leaver is shut out of it, proved by its own API."""

import time

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.sealing import seal
from app.access.tables import Account, Workspace
from app.clock import now
from app.commands.differences import find_differences
from app.database import in_transaction, new_id, reading
from app.delivery.worker import Worker
from app.delivery.workspaces import open_workspace
from app.directory.tables import Standing, StatementKind, Voice
from app.journal.tables import Lane, Work
from app.lifecycle import leaving
from app.lifecycle.records import RecordDraft, change_record
from app.revocation.departures import history
from app.rules.file import parse
from app.rules.revisions import apply_rules
from app.settings import Settings
from tests.company import ADMIN, OKTA, Company, document, new_company
from tests.servers.synapse import Synapse
from tests.waiting import until

pytestmark = pytest.mark.synapse

RULES = """
rules:
  - id: everyone
    name: all-hands
  - id: departments
    for_each: department
    name: "dept-{{ key | slug }}"
    topic: "{{ key }}: everyone in the department"
    parent: company
  - id: teams
    for_each: manager
    name: "team-{{ manager.userName | slug }}"
    owners: [manager]
"""


@pytest.fixture
def company(installed: Flask, synapse: Synapse) -> Company:
    made = new_company()
    settings: Settings = installed.config["DOORLIST"]

    def act(session: Session) -> None:
        session.add(
            Workspace(
                organization_id=made.organization_id, id=new_id(), name="chat", kind="matrix", url=synapse.url,
                sealed_token=seal(settings, synapse.admin_token), options={"server_name": synapse.server_name}, created_at=now(),
            )
        )  # fmt: skip
        apply_rules(session, made.organization_id, parse(RULES), ADMIN, now())

    in_transaction(act)
    with reading() as session:
        # As adding a workspace does: the check also lifts the server's limit on making rooms.
        open_workspace(session.scalars(select(Workspace)).one()).check()
    return made


def deliver(app: Flask) -> None:
    """Run the worker's threads until nothing waits that is due now."""
    worker = Worker(app, threads={Lane.DEPARTURES: 2, Lane.SYNC: 2})
    worker.start()
    try:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with reading() as session:
                rows = session.execute(select(Work.subject, Work.subject_id, Work.state, Work.last_error).where(Work.due_at <= now())).all()
                later = session.execute(select(Work.lane, Work.subject, Work.last_error).where(Work.last_error.is_not(None))).all()
            if not rows and not later:
                return
            assert not [row for row in rows if row.state == "parked"], rows
            time.sleep(0.02)
        raise AssertionError(f"work is left: {rows} {later}")
    finally:
        worker.stop()


def account_of(company: Company, person_id: str) -> str:
    with reading() as session:
        return session.scalars(
            select(Account.account_id).where(Account.organization_id == company.organization_id, Account.person_id == person_id)
        ).one()


def rooms_of(synapse: Synapse, account: str) -> set[str]:
    """Names of the rooms that an account is in."""
    return set(named_rooms_of(synapse, account))


def named_rooms_of(synapse: Synapse, account: str) -> dict[str, str]:
    """Ids of the rooms that an account is in, by their names, as Synapse tells them to its admin."""
    return {str(synapse.admin("GET", f"/_synapse/admin/v1/rooms/{room}")["name"]): room for room in joined_by(synapse, account)}


def joined_by(synapse: Synapse, account: str) -> list[str]:
    joined = synapse.admin("GET", f"/_synapse/admin/v1/users/{account}/joined_rooms")["joined_rooms"]
    assert isinstance(joined, list)
    return joined


def test_people_are_in_the_channels_of_their_department_and_team_and_a_mover_follows(
    installed: Flask, company: Company, synapse: Synapse
) -> None:
    tag = new_id()[-6:]
    boss = company.joins(f"boss-{tag}@x.example", f"B-{tag}", department=f"Sales {tag}")
    ada = company.joins(f"ada-{tag}@x.example", f"A-{tag}", department=f"Sales {tag}", manager={"value": boss.id})

    deliver(installed)

    account = account_of(company, ada.person_id)
    assert rooms_of(synapse, account) == {"all-hands", f"dept-sales-{tag}", f"team-boss-{tag}-x-example", "company"}
    eve = company.joins(f"eve-{tag}@x.example", f"E-{tag}", department=f"Legal {tag}", manager={"value": boss.id})
    moved = RecordDraft(
        external_id=ada.external_id, user_name=ada.user_name, active=True,
        document=document(ada.user_name, f"A-{tag}", department=f"Legal {tag}", manager={"value": boss.id}),
    )  # fmt: skip
    in_transaction(
        lambda s: change_record(s, company.organization_id, company.source_id, ada.id, moved, actor=OKTA, at=now(), because="moved")
    )
    deliver(installed)
    assert rooms_of(synapse, account) == {"all-hands", f"dept-legal-{tag}", f"team-boss-{tag}-x-example", "company"}
    assert rooms_of(synapse, account_of(company, eve.person_id)) == {
        "all-hands",
        f"dept-legal-{tag}",
        f"team-boss-{tag}-x-example",
        "company",
    }


def test_a_leaver_is_shut_and_gone_by_the_workspaces_own_word_and_a_return_restores_the_channels(
    installed: Flask, company: Company, synapse: Synapse
) -> None:
    tag = new_id()[-6:]
    ada = company.joins(f"ada-{tag}@x.example", f"A-{tag}", department=f"Sales {tag}")
    deliver(installed)
    account = account_of(company, ada.person_id)
    before = rooms_of(synapse, account)
    token = synapse.user_token(account)
    assert token

    def leave(kind: StatementKind) -> None:
        in_transaction(
            lambda session: leaving.say(
                session, company.organization_id, ada.person_id, voice=Voice.OPERATOR, kind=kind, said_by="ana", effective_at=now(), actor=ADMIN,
                at=now(), because="test",
            )
        )  # fmt: skip

    leave(StatementKind.LEAVES)
    deliver(installed)

    assert synapse.admin("GET", f"/_synapse/admin/v2/users/{account}")["deactivated"] is True
    assert synapse.admin("GET", f"/_synapse/admin/v2/users/{account}/devices")["devices"] == []
    assert rooms_of(synapse, account) == set()
    with reading() as session:
        [(departure, [(proof, workspace), *_])] = list(history(session, company.organization_id, ada.person_id))
    assert workspace == "chat" and departure.means == Standing.DEPARTED
    assert proof.shut_at is not None and proof.gone_at is not None and proof.shut_grade == "re-read"
    assert departure.decided_at <= (proof.sent_at or now()) <= proof.shut_at <= proof.gone_at

    leave(StatementKind.RETURNS)
    deliver(installed)

    assert synapse.admin("GET", f"/_synapse/admin/v2/users/{account}")["deactivated"] is False
    assert rooms_of(synapse, account) == before


def test_a_room_that_was_deleted_by_hand_is_made_anew_and_keeps_nobody_from_moving_on(
    installed: Flask, company: Company, synapse: Synapse
) -> None:
    tag = new_id()[-6:]
    sales, legal = f"dept-sales-{tag}", f"dept-legal-{tag}"
    ada, bob = (company.joins(f"{name}-{tag}@x.example", f"{name}-{tag}", department=f"Sales {tag}") for name in ("ada", "bob"))
    company.joins(f"mo-{tag}@x.example", f"mo-{tag}", department=f"Legal {tag}")
    deliver(installed)
    # Other companies have one of that name, too.
    hers, his = (account_of(company, one.person_id) for one in (ada, bob))
    hall = named_rooms_of(synapse, hers)["all-hands"]
    synapse.admin("DELETE", f"/_synapse/admin/v2/rooms/{hall}", {"purge": True})
    # One after the other is taken out. Its name is not asked for: it may go at that very moment.
    assert until(lambda: not any(hall in joined_by(synapse, one) for one in (hers, his)))

    moved = RecordDraft(
        external_id=bob.external_id, user_name=bob.user_name, active=True, document=document(bob.user_name, f"bob-{tag}", department=f"Legal {tag}")
    )
    in_transaction(
        lambda s: change_record(s, company.organization_id, company.source_id, bob.id, moved, actor=OKTA, at=now(), because="moved")
    )
    deliver(installed)

    assert rooms_of(synapse, account_of(company, bob.person_id)) == {"all-hands", legal, "company"}
    assert rooms_of(synapse, account_of(company, ada.person_id)) == {"all-hands", sales, "company"}
    with reading() as session:
        found = find_differences(company.organization_id, session.scalars(select(Workspace)).one())
    assert not [line for line in found.lines if line.sign == "+"]
