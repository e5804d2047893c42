"""A new revision of the rules comes to the channels that are there already, though nobody comes into them or leaves."""

from __future__ import annotations

import pytest
from flask import Flask

from connectors.contract import AccountId, ChannelSeen
from tests.arranged_once import arranged_once
from tests.unit.delivery.led_company import LedCompany, led_company

pytestmark = pytest.mark.slow

DEPARTMENTS = """
rules:
  - id: everyone
    name: all-hands
  - id: departments
    for_each: department
    name: "{{ key }}"
    topic: "about {{ key }}"
    parent: company
    private: false
    owners: [ada@x.example]
"""


@pytest.fixture
def firm(installed: Flask) -> LedCompany:
    made = arranged_once(installed, led_company)
    made.rules(DEPARTMENTS)
    made.delivers()
    return made


def room(firm: LedCompany, name: str) -> ChannelSeen:
    return next(room for room in firm.there.rooms.values() if room.name == name)


def calls(firm: LedCompany) -> list[str]:
    """What changes rooms, as it is called from now on."""
    called: list[str] = []

    def note(what: str, _number: int) -> None:
        called.extend([what] if what in ("create_channel", "update_channel", "set_owners") else [])

    firm.there.before_call = note
    return called


def test_another_topic_other_owners_and_a_door_that_is_shut_come_to_every_room(firm: LedCompany) -> None:
    before = room(firm, "Board")
    assert (before.topic, before.private, before.owners) == ("about Board", False, frozenset({AccountId("ada")}))

    firm.rules(DEPARTMENTS.replace("about", "all of").replace("private: false", "private: true").replace("[ada@", "[mia@"))
    firm.delivers()

    after = room(firm, "Board")
    assert (after.ref, after.topic, after.private, after.owners) == (before.ref, "all of Board", True, frozenset({AccountId("mia")}))


def test_whoever_is_in_a_channel_goes_with_it_to_another_space(firm: LedCompany) -> None:
    firm.rules(DEPARTMENTS.replace("parent: company", 'parent: "around {{ key }}"'))
    firm.delivers()

    bob = firm.there.names_of(firm.account(firm.bob))
    assert bob == {"all-hands", "Sales", "around Sales"}
    assert room(firm, "Sales").parent == room(firm, "around Sales").ref


def test_a_rule_that_is_given_another_id_changes_no_room_on_the_way(firm: LedCompany) -> None:
    called = calls(firm)

    firm.rules(DEPARTMENTS.replace("id: departments", "id: units"))
    firm.delivers()

    assert called == []
    assert room(firm, "Sales").parent == room(firm, "company").ref


def test_a_rule_that_comes_to_a_channel_of_another_has_its_say_in_it(firm: LedCompany) -> None:
    firm.rules(DEPARTMENTS + '  - {id: sellers, where: \'department eq "Sales"\', name: Sales, owners: [olga@x.example]}\n')
    firm.delivers()

    assert room(firm, "Sales").owners == {AccountId("ada"), AccountId("olga")}


def test_the_same_rules_again_change_nothing(firm: LedCompany) -> None:
    called = calls(firm)

    firm.rules(DEPARTMENTS)
    firm.delivers()

    assert called == []


@pytest.mark.parametrize("mode", ["added", "suggested"])
def test_a_rule_that_becomes_enforced_puts_in_whoever_is_not(firm: LedCompany, mode: str) -> None:
    party = "rules:\n  - {id: party, name: party, membership: %s}\n"
    firm.rules(party % mode)
    firm.delivers()
    ref, bob = room(firm, "party").ref, firm.account(firm.bob)
    # Added once, and left; or invited, and never came.
    firm.there.members[ref].discard(bob)
    assert "party" not in firm.is_in(firm.bob)

    firm.rules(party % "enforced")
    firm.delivers()

    assert "party" in firm.is_in(firm.bob)
