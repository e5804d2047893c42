"""What somebody leaves behind, on real parts: their rooms go to their manager without keeping *shut* waiting, and one day it is erased, or held."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from app.clock import now
from app.database import in_transaction, new_id, reading
from app.delivery.erasing import erase_due
from app.delivery.workspaces import Targets
from app.directory.tables import Person, Record, StatementKind, Voice
from app.journal.tables import Organization
from app.lifecycle import handover, leaving, legal_hold, retention
from app.lifecycle.sources import set_setting
from app.revocation.departures import history
from app.revocation.erasure_tables import Erasure
from app.revocation.tables import Proof
from connectors.contract import ChannelRef
from tests.company import ADMIN, Company
from tests.connectors.matrix_arrangement import refused
from tests.connectors.test_matrix_leavers_rooms import can_rename, makes_room, uploads
from tests.journeys.test_spine import account_of, company, deliver, rooms_of
from tests.servers.synapse import Synapse
from tests.waiting import until

pytestmark = pytest.mark.synapse

__all__ = ["company"]


@dataclass(frozen=True, kw_only=True)
class Crew:
    """Mia leads Ada and Bob; all of them are in the real Synapse."""

    app: Flask
    company: Company
    synapse: Synapse
    mia: Record
    ada: Record
    bob: Record

    def account(self, record: Record) -> str:
        return account_of(self.company, record.person_id)

    def room(self, name: str | None, **creation: Any) -> ChannelRef:
        """Ada makes a room in her client, with Bob in it."""
        client, other = self.synapse.sign_in(self.account(self.ada)), self.synapse.sign_in(self.account(self.bob))
        return makes_room(client, self.synapse, other, name=name, **creation)

    def says(self, record: Record, kind: StatementKind = StatementKind.LEAVES) -> None:
        in_transaction(
            lambda session: leaving.say(
                session, self.company.organization_id, record.person_id, voice=Voice.OPERATOR, kind=kind, said_by="ana", effective_at=now(),
                actor=ADMIN, at=now(), because="test",
            )
        )  # fmt: skip

    def proof(self, record: Record) -> Proof:
        with reading() as session:
            (_, proofs), *_ = history(session, self.company.organization_id, record.person_id)
        return next(proof for proof, name in proofs if name == "chat")

    def told(self, record: Record) -> dict[str, tuple[str, str | None, str | None]]:
        with reading() as session:
            person = session.get_one(Person, (self.company.organization_id, record.person_id))
            found = next(handover.history(session, person))
        return {one.name: (one.outcome, one.to_account, one.arrival) for one in found.channels}


@pytest.fixture
def crew(installed: Flask, company: Company, synapse: Synapse) -> Crew:
    tag = new_id()[-6:]
    mia = company.joins(f"mia-{tag}@x.example", f"M-{tag}", department=f"Sales {tag}")
    ada = company.joins(f"ada-{tag}@x.example", f"A-{tag}", department=f"Sales {tag}", manager={"value": mia.id})
    bob = company.joins(f"bob-{tag}@x.example", f"B-{tag}", department=f"Sales {tag}", manager={"value": ada.id})
    deliver(installed)
    return Crew(app=installed, company=company, synapse=synapse, mia=mia, ada=ada, bob=bob)


def test_a_leavers_rooms_and_her_team_are_her_managers_and_she_was_shut_out_before_that(crew: Crew) -> None:
    client = crew.synapse.sign_in(crew.account(crew.ada))
    private, public = crew.room("Offsite"), crew.room("Reading club", preset="public_chat", room_version="11")
    talk = crew.room(None, is_direct=True)

    crew.says(crew.ada)
    deliver(crew.app)

    mia = crew.account(crew.mia)
    team = f"team-{crew.ada.user_name.replace('@', '-').replace('.', '-')}"
    assert crew.told(crew.ada) == {
        "Offsite": ("handed over", mia, "invited"), "Reading club": ("handed over", mia, "open"), team: ("handed over", None, "joined"),
    }  # fmt: skip
    manager = crew.synapse.sign_in(mia)
    assert can_rename(manager, crew.synapse, private) and can_rename(manager, crew.synapse, public)
    assert not can_rename(manager, crew.synapse, talk)
    assert team in rooms_of(crew.synapse, mia)
    [ref] = [one for one in crew.synapse.admin("GET", f"/_synapse/admin/v1/users/{mia}/joined_rooms")["joined_rooms"] if _name(crew, one) == team]  # type: ignore[attr-defined]  # a list
    assert can_rename(manager, crew.synapse, ref)
    account = crew.synapse.admin("GET", f"/_synapse/admin/v2/users/{crew.account(crew.ada)}")
    assert account["deactivated"] is True and account["erased"] is False
    assert refused(client, crew.synapse) and rooms_of(crew.synapse, crew.account(crew.ada)) == set()
    with reading() as session:
        lines = next(handover.history(session, session.get_one(Person, (crew.company.organization_id, crew.ada.person_id))))
    shut_at = crew.proof(crew.ada).shut_at
    assert shut_at is not None and all(shut_at <= one.at for one in lines.channels if one.workspace_id)


def test_somebody_paused_is_gone_though_a_direct_chat_keeps_her_and_has_it_when_she_is_back(crew: Crew) -> None:
    account = crew.account(crew.ada)
    before, talk = rooms_of(crew.synapse, account), crew.room(None, is_direct=True)
    client = crew.synapse.sign_in(account)

    crew.says(crew.ada, StatementKind.PAUSES)
    deliver(crew.app)

    proof = crew.proof(crew.ada)
    assert proof.shut_at is not None and proof.gone_at is not None and proof.closed == {"accounts": [account], "rooms_of_others_kept": 1}
    assert refused(client, crew.synapse)
    assert crew.synapse.admin("GET", f"/_synapse/admin/v1/users/{account}/joined_rooms")["joined_rooms"] == [talk]
    crew.says(crew.ada, StatementKind.RETURNS)
    deliver(crew.app)
    assert rooms_of(crew.synapse, account) == {*before, str(None)}, "the chat has no name"


def _name(crew: Crew, ref: str) -> str:
    return str(crew.synapse.admin("GET", f"/_synapse/admin/v1/rooms/{ref}")["name"])


def test_what_she_left_is_erased_when_it_is_due_and_not_while_it_is_held(crew: Crew) -> None:
    uploads(crew.synapse.sign_in(crew.account(crew.ada)), crew.synapse)
    crew.says(crew.ada)
    deliver(crew.app)
    account = crew.account(crew.ada)
    organization_id = crew.company.organization_id
    in_transaction(lambda session: set_setting(session, session.get_one(Organization, organization_id), "erase_after", "90d", actor=ADMIN, at=now()))
    in_transaction(lambda session: retention.keep_up(session, organization_id, at=now()))

    def erases(*, days: float) -> int:
        at = now() + timedelta(days=days)
        return erase_due(crew.app, Targets(), clock=lambda: at)

    def seen() -> tuple[object, object]:
        found = crew.synapse.admin("GET", f"/_synapse/admin/v2/users/{account}")
        files = crew.synapse.admin("GET", f"/_synapse/admin/v1/users/{account}/media")
        return found["erased"], files["total"]

    assert erases(days=89) == 0 and seen() == (False, 1)
    placed = in_transaction(
        lambda session: legal_hold.place(session, organization_id, crew.ada.person_id, reason="case 1", ordered_by="counsel", actor=ADMIN, at=now())
    )
    assert erases(days=95) == 0 and seen() == (False, 1)
    ended = now() + timedelta(days=96)
    in_transaction(
        lambda session: legal_hold.end(
            session, legal_hold.find(session, organization_id, placed.hold.id), because="settled", ordered_by="counsel", actor=ADMIN, at=ended
        )
    )
    assert erases(days=96.5) == 0 and seen() == (False, 1)

    assert erases(days=98) == 1

    assert seen() == (True, 0)
    with reading() as session:
        row = session.scalars(select(Erasure).where(Erasure.person_id == crew.ada.person_id)).one()
    assert (row.grade, row.accounts) == ("re-read", [account])


def test_who_is_back_before_the_day_keeps_everything(crew: Crew) -> None:
    uploads(crew.synapse.sign_in(crew.account(crew.ada)), crew.synapse)
    organization_id, account = crew.company.organization_id, crew.account(crew.ada)
    in_transaction(lambda session: set_setting(session, session.get_one(Organization, organization_id), "erase_after", "30d", actor=ADMIN, at=now()))
    crew.says(crew.ada)
    deliver(crew.app)
    in_transaction(lambda session: retention.keep_up(session, organization_id, at=now()))

    crew.says(crew.ada, StatementKind.RETURNS)
    deliver(crew.app)
    later = now() + timedelta(days=40)

    def erase(at: datetime) -> int:
        return erase_due(crew.app, Targets(), clock=lambda: at)

    assert erase(later) == 0
    in_transaction(lambda session: retention.keep_up(session, organization_id, at=later))
    assert erase(later) == 0
    assert crew.synapse.admin("GET", f"/_synapse/admin/v2/users/{account}")["erased"] is False
    assert crew.synapse.admin("GET", f"/_synapse/admin/v1/users/{account}/media")["total"] == 1
    assert until(lambda: "all-hands" in rooms_of(crew.synapse, account))


