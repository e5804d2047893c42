"""Entra ID as a source, against a tenant in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from connectors.source_contract import (
    Change,
    Cursor,
    CursorLost,
    Gone,
    Incomplete,
    Kind,
    Memberships,
    SourceGroup,
    SourceKey,
    TellsChanges,
)
from connectors.sources.person_documents import ENTERPRISE
from tests.sources.entra_arrangement import company, keys, news, people, persons, source
from tests.sources.entra_stand_in import EntraTenant, entra


@pytest.fixture
def tenant() -> Iterator[EntraTenant]:
    with entra(page=3) as made:
        yield made


def test_it_tells_changes(tenant: EntraTenant) -> None:
    assert isinstance(source(tenant), TellsChanges)


def test_everybody_is_listed_over_pages_with_their_manager_and_closed_accounts_are_off(tenant: EntraTenant) -> None:
    grace, ada = company(tenant)
    off = tenant.hire("off@acme.example", accountEnabled=False)
    for number in range(5):
        tenant.hire(f"p{number}@acme.example")

    found = people(source(tenant))

    assert len(found) == 8
    assert found[ada].manager == grace and found[grace].manager is None
    assert (found[off].active, found[off].state) == (False, "disabled")


def test_a_user_becomes_a_scim_document(tenant: EntraTenant) -> None:
    _, ada = company(tenant)

    person = people(source(tenant))[ada]

    assert person.user_name == "ada@acme.example"
    assert person.document["name"] == {"givenName": "Ada", "familyName": "Lovelace"}
    assert person.document["phoneNumbers"] == [{"value": "+44 1", "type": "work"}]
    assert person.document[ENTERPRISE] == {"employeeNumber": "7", "costCenter": "C1", "division": "East", "department": "Research"}


def test_guests_are_nobody_unless_they_are_wanted(tenant: EntraTenant) -> None:
    guest = tenant.hire("guest_other.example#EXT#@acme.example", userType="Guest")
    old = tenant.hire("old@acme.example", userType=None)
    group = tenant.group("Research", guest, old)

    assert set(people(source(tenant))) == {old}
    assert source(tenant).find_person(SourceKey(guest)) is None
    assert list(source(tenant).list_groups()) == [SourceGroup(key=SourceKey(group), name="Research", members=keys(old), ignored=1)]
    assert people(source(tenant, guests="true"))[guest].state == "guest, enabled"


def test_dates_of_employment_are_told_where_they_are_wanted(tenant: EntraTenant) -> None:
    ada = tenant.hire("ada@acme.example", employeeHireDate="2026-04-01T07:00:00Z", employeeLeaveDateTime="2027-01-01T00:00:00Z")

    assert people(source(tenant))[ada].starts_at is None
    both = people(source(tenant, dates="both"))[ada]
    assert (both.starts_at, both.ends_at) == ("2026-04-01T07:00:00Z", "2027-01-01T00:00:00Z")


def test_nested_groups_are_taken_apart_machines_ignored_and_cycles_named(tenant: EntraTenant) -> None:
    grace, ada = company(tenant)
    inner = tenant.group("Inner", ada, tenant.device())
    outer = tenant.group("Outer", grace, inner)
    tenant.join(inner, outer)

    found = {group.key: group for group in source(tenant).list_groups()}

    assert found[SourceKey(outer)].members == found[SourceKey(inner)].members == keys(grace, ada)
    assert found[SourceKey(outer)].cycles == ("Outer",) and found[SourceKey(inner)].cycles == ("Inner",)
    assert found[SourceKey(outer)].ignored == 1


def test_without_the_right_to_see_who_is_disabled_nobody_is_listed(tenant: EntraTenant) -> None:
    tenant.hire("ada@acme.example", accountEnabled=None)

    with pytest.raises(Incomplete, match=r"User\.Read\.All"):
        people(source(tenant))


def test_somebody_is_found_by_key_and_the_deleted_are_not_there(tenant: EntraTenant) -> None:
    grace, ada = company(tenant)
    tenant.delete(grace)

    assert source(tenant).find_person(SourceKey(grace)) is None
    found = source(tenant).find_person(SourceKey(ada))
    assert found is not None and found.user_name == "ada@acme.example"


# Changes.


def test_nothing_new_is_told_although_graph_repeats_itself(tenant: EntraTenant) -> None:
    company(tenant)
    found = source(tenant)
    cursor = found.cursor_now()

    told, reached = news(found, cursor)

    # Graph tells the last thing once more; nobody seems to be gone by it.
    assert not any(isinstance(change, Gone) for change in told)
    assert json.loads(reached)["users"] != json.loads(cursor)["users"]


def test_what_changed_is_told_over_pages_of_which_some_are_empty(tenant: EntraTenant) -> None:
    grace, ada = company(tenant)
    found = source(tenant)
    cursor = found.cursor_now()
    tenant.change(ada, jobTitle="Countess")
    tenant.change(grace, accountEnabled=False)
    new = [tenant.hire(f"new{number}@acme.example") for number in range(4)]

    told, _ = news(found, cursor)

    assert set(persons(told)) == {grace, ada, *new}
    assert persons(told)[ada].document["title"] == "Countess" and persons(told)[ada].manager == grace
    assert not persons(told)[grace].active


def test_a_new_manager_alone_is_a_change(tenant: EntraTenant) -> None:
    grace, ada = company(tenant)
    found = source(tenant)
    cursor = found.cursor_now()
    tenant.manage(grace, ada)

    assert persons(news(found, cursor)[0])[grace].manager == ada


def test_the_deleted_are_gone_and_the_restored_are_back(tenant: EntraTenant) -> None:
    grace, ada = company(tenant)
    found = source(tenant)
    cursor = found.cursor_now()
    tenant.delete(grace)
    tenant.delete(ada)
    tenant.restore(ada)

    told, _ = news(found, cursor)

    assert [change for change in told if isinstance(change, Gone)] == [Gone(kind=Kind.PERSON, key=SourceKey(grace))]
    assert set(persons(told)) == {ada}


def test_a_member_who_becomes_a_guest_is_gone(tenant: EntraTenant) -> None:
    grace, _ = company(tenant)
    found = source(tenant)
    cursor = found.cursor_now()
    tenant.change(grace, userType="Guest")

    assert Gone(kind=Kind.PERSON, key=SourceKey(grace)) in news(found, cursor)[0]


def test_a_guest_who_becomes_a_member_asks_for_a_full_listing(tenant: EntraTenant) -> None:
    """Of the groups in which they were all along none is told."""
    grace, _ = company(tenant)
    guest = tenant.hire("guest@partner.example", userType="Guest")
    group = tenant.group("Research", grace, guest)
    tenant.group("Last")
    found, guests_too, alone = source(tenant), source(tenant, guests="true"), source(tenant, groups="false")
    cursors = {one: one.cursor_now() for one in (found, guests_too, alone)}
    tenant.change(guest, userType="Member")

    with pytest.raises(CursorLost, match="no guest any more"):
        news(found, cursors[found])

    assert next(one for one in found.list_groups() if one.key == group).members == keys(grace, guest)
    # Where guests count, or no groups are read, nothing is missing.
    assert all(set(persons(news(one, cursors[one])[0])) == {guest} for one in (guests_too, alone))


def test_a_replica_that_lags_keeps_nobody_in(tenant: EntraTenant) -> None:
    alan = tenant.hire("alan@acme.example")
    grace, ada = company(tenant)
    found = source(tenant)
    cursor = found.cursor_now()
    tenant.behind = {key: dict(tenant.objects[key]) for key in (alan, grace, ada)}
    tenant.change(grace, accountEnabled=False)
    tenant.delete(ada)  # of whom Graph tells the hiring once more, since that came last
    tenant.delete(alan)
    tenant.asked.clear()

    told, _ = news(found, cursor)

    assert not persons(told)[grace].active
    assert {change for change in told if isinstance(change, Gone)} == {Gone(kind=Kind.PERSON, key=SourceKey(key)) for key in (ada, alan)}
    assert f"GET /v1.0/users/{alan}" not in tenant.asked


def test_members_who_come_and_go_are_told_alone(tenant: EntraTenant) -> None:
    grace, ada = company(tenant)
    more = [tenant.hire(f"p{number}@acme.example") for number in range(5)]
    group = tenant.group("Research", grace, *more)
    tenant.group("Last")  # what came last is told again
    found = source(tenant)
    cursor = found.cursor_now()
    tenant.join(group, ada)
    tenant.leave(group, grace)
    tenant.asked.clear()

    told, _ = news(found, cursor)

    assert Memberships(group=SourceKey(group), added=keys(ada), removed=keys(grace)) in told
    assert f"GET /v1.0/groups/{group}/transitiveMembers" not in tenant.asked


def test_somebody_who_came_and_went_in_one_round_is_looked_up(tenant: EntraTenant) -> None:
    grace, ada = company(tenant)
    group = tenant.group("Research", grace)
    tenant.group("Last")
    found = source(tenant)
    cursor = found.cursor_now()
    tenant.join(group, ada)
    tenant.leave(group, ada)

    assert SourceGroup(key=SourceKey(group), name="Research", members=keys(grace)) in news(found, cursor)[0]


def test_a_renamed_group_is_told_whole(tenant: EntraTenant) -> None:
    grace, ada = company(tenant)
    group = tenant.group("Research", grace, ada)
    tenant.group("Last")
    found = source(tenant)
    cursor = found.cursor_now()
    tenant.rename(group, "Science")

    assert SourceGroup(key=SourceKey(group), name="Science", members=keys(grace, ada)) in news(found, cursor)[0]


def test_a_change_within_a_nested_group_is_told_of_every_group_around_it(tenant: EntraTenant) -> None:
    grace, ada = company(tenant)
    inner = tenant.group("Inner", grace)
    outer = tenant.group("Outer", inner)
    outermost = tenant.group("Outermost", outer)
    tenant.group("Last")
    found = source(tenant)
    cursor = found.cursor_now()
    tenant.join(inner, ada)

    told, _ = news(found, cursor)

    whole = {change.key: change.members for change in told if isinstance(change, SourceGroup)}
    assert {key: whole[SourceKey(key)] for key in (inner, outer, outermost)} == dict.fromkeys((inner, outer, outermost), keys(grace, ada))


def test_leaving_a_group_in_which_one_still_is_by_another_one_takes_nothing(tenant: EntraTenant) -> None:
    _, ada = company(tenant)
    inner = tenant.group("Inner", ada)
    outer = tenant.group("Outer", ada, inner)
    tenant.group("Last")
    found = source(tenant)
    cursor = found.cursor_now()
    tenant.leave(outer, ada)

    told, _ = news(found, cursor)

    assert SourceGroup(key=SourceKey(outer), name="Outer", members=keys(ada)) in told
    assert not any(isinstance(change, Memberships) for change in told)


def test_a_dissolved_group_is_gone(tenant: EntraTenant) -> None:
    _, ada = company(tenant)
    group = tenant.group("Research", ada)
    found = source(tenant)
    cursor = found.cursor_now()
    tenant.dissolve(group)

    assert Gone(kind=Kind.GROUP, key=SourceKey(group)) in news(found, cursor)[0]


def test_a_link_that_is_older_than_seven_days_asks_for_a_full_listing_and_removes_nobody(tenant: EntraTenant) -> None:
    company(tenant)
    found = source(tenant)
    cursor = found.cursor_now()
    tenant.later(days=8)
    told: list[Change] = []

    with pytest.raises(CursorLost):
        told.extend(found.changes_since(cursor))
    assert told == []
    with pytest.raises(CursorLost):
        found.cursor_reached()


def test_a_state_that_graph_forgot_asks_for_a_full_listing(tenant: EntraTenant) -> None:
    found = source(tenant)
    cursor = found.cursor_now()
    tenant.issued.clear()

    with pytest.raises(CursorLost):
        list(found.changes_since(cursor))


@pytest.mark.parametrize("cursor", ["", "{}", "null", "[]", '{"users": "x"}'])
def test_a_cursor_of_something_else_is_lost(tenant: EntraTenant, cursor: str) -> None:
    with pytest.raises(CursorLost):
        list(source(tenant).changes_since(Cursor(cursor)))


def test_a_cursor_made_under_other_settings_is_lost(tenant: EntraTenant) -> None:
    cursor = source(tenant).cursor_now()

    with pytest.raises(CursorLost, match="other settings"):
        list(source(tenant, guests="true").changes_since(cursor))


def test_a_cursor_that_leads_elsewhere_gets_no_token(tenant: EntraTenant) -> None:
    found = source(tenant)
    cursor = json.loads(found.cursor_now())
    cursor["users"] = "https://evil.example/v1.0/users/delta?$deltatoken=x"

    with pytest.raises(CursorLost, match="another server"):
        list(found.changes_since(Cursor(json.dumps(cursor))))
