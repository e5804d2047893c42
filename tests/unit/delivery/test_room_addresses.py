"""Addresses of rooms: each channel has one of its own, also where names end in numbers and where others hold the address."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import select

from app.clock import now
from app.database import in_transaction, reading
from app.directory.tables import Group, Record
from app.lifecycle.groups import GroupDraft, add_group, change_group
from app.rules.file import parse
from app.rules.revisions import apply_rules
from app.rules.tables import Channel, Room
from connectors.contract import AccountId, ChannelWanted
from tests.company import ADMIN, OKTA, Company
from tests.unit.delivery.crew import employ, settle
from tests.workspace import Workspace

pytestmark = pytest.mark.slow

RULES = """
rules:
  - id: groups
    for_each: group
    name: "{{ group.displayName | slug }}"
"""


@pytest.fixture
def there(installed: Flask) -> Workspace:
    return Workspace()


@pytest.fixture
def company(there: Workspace) -> Company:
    made, _ = employ(there)
    in_transaction(lambda session: apply_rules(session, made.organization_id, parse(RULES), ADMIN, now()))
    return made


def gathers(company: Company, name: str, *members: Record) -> Group:
    draft = GroupDraft(external_id=f"id-of-{name}-{len(members)}", display_name=name, members=tuple(one.id for one in members))
    return in_transaction(
        lambda session: add_group(session, company.organization_id, company.source_id, draft, actor=OKTA, at=now(), because="test")
    )


def calls(company: Company, group: Group, name: str) -> None:
    in_transaction(
        lambda session: change_group(
            session, company.organization_id, company.source_id, group.id, display_name=name, actor=OKTA, at=now(), because="renamed"
        )
    )


def addresses(company: Company) -> dict[str, str]:
    here = (Room.organization_id == company.organization_id) & (Room.organization_id == Channel.organization_id)
    with reading() as session:
        rows = session.execute(select(Channel.name, Room.key).join(Room, here & (Room.channel_id == Channel.id)))
        return {name: key for name, key in rows}


def test_a_name_that_is_used_again_gets_a_number_of_its_own_and_not_another_names(installed: Flask, company: Company, there: Workspace) -> None:
    ada, bob, cy = (company.joins(f"{name}@x.example", f"E-{name}") for name in ("ada", "bob", "cy"))
    first = gathers(company, "Squad 1", ada)
    gathers(company, "Squad 2", bob)
    settle(installed, there)
    calls(company, first, "Squad 9")
    settle(installed, there)

    gathers(company, "Squad 1", cy, bob)
    settle(installed, there)

    # The old address goes on leading to the room that had it.
    assert addresses(company) == {"squad-9": "squad-9", "squad-2": "squad-2", "squad-1": "squad-1-2"}
    assert there.names_of(AccountId("cy")) == {"squad-1"} and there.names_of(AccountId("bob")) == {"squad-1", "squad-2"}


def test_a_room_of_somebody_else_on_the_address_moves_no_channel_onto_another_ones(installed: Flask, company: Company, there: Workspace) -> None:
    foreign = there.create_channel(ChannelWanted(key="cohort-2024", name="Alumni"))
    there.rooms[foreign.ref] = replace(foreign, ours=False)
    ada, bob = (company.joins(f"{name}@x.example", f"E-{name}") for name in ("ada", "bob"))
    gathers(company, "Cohort 2025", bob)
    settle(installed, there)

    gathers(company, "Cohort 2024", ada)
    settle(installed, there)

    assert addresses(company) == {"cohort-2025": "cohort-2025", "cohort-2024": "cohort-2024-2"}
    assert there.names_of(AccountId("ada")) == {"cohort-2024"} and there.members[foreign.ref] == set()


def test_each_address_that_is_taken_is_passed_over(installed: Flask, company: Company, there: Workspace) -> None:
    for key in ("squad-1", "squad-1-2", "squad-1-3"):
        foreign = there.create_channel(ChannelWanted(key=key, name=key))
        there.rooms[foreign.ref] = replace(foreign, ours=False)
    ada = company.joins("ada@x.example", "E-ada")

    gathers(company, "Squad 1", ada)
    settle(installed, there)

    assert addresses(company) == {"squad-1": "squad-1-4"}


def test_the_address_follows_a_name_that_becomes_the_beginning_of_what_it_was(installed: Flask, company: Company, there: Workspace) -> None:
    sales = gathers(company, "Sales EMEA", company.joins("ada@x.example", "E-ada"))
    settle(installed, there)

    calls(company, sales, "Sales")
    settle(installed, there)

    assert addresses(company) == {"sales": "sales"}
