"""Okta as a source, against an organisation in this process."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from connectors.contract import Misconfigured, Secret, Unreachable
from connectors.source_contract import (
    Cursor,
    CursorLost,
    Gone,
    Kind,
    SourceGroup,
    SourceKey,
    SourcePerson,
    SourceSettings,
    TellsChanges,
)
from connectors.sources.okta import Okta
from connectors.sources.person_documents import ENTERPRISE
from tests.sources.okta_arrangement import company, news, people, quiet, source
from tests.sources.okta_stand_in import TOKEN, OktaOrganisation, okta


@pytest.fixture
def organisation() -> Iterator[OktaOrganisation]:
    with okta(largest_page=3) as made:
        yield made


def test_it_tells_changes(organisation: OktaOrganisation) -> None:
    assert isinstance(source(organisation), TellsChanges)


def test_everybody_is_listed_over_pages_deprovisioned_people_too(organisation: OktaOrganisation) -> None:
    company(organisation)
    gone = [organisation.hire(f"left{number}@acme.example", status="DEPROVISIONED") for number in range(4)]
    organisation.later(seconds=5)

    found = people(source(organisation))

    assert len(found) == 7
    assert all(not found[key].active and found[key].state == "DEPROVISIONED" for key in gone)


def test_a_suspended_person_is_off_although_okta_would_send_no_scim(organisation: OktaOrganisation) -> None:
    ada, *_ = company(organisation)
    organisation.change(ada, status="SUSPENDED")
    organisation.later(seconds=5)

    found = people(source(organisation))

    assert (found[ada].active, found[ada].state) == (False, "SUSPENDED")


@pytest.mark.parametrize("status", ["STAGED", "PROVISIONED", "RECOVERY", "PASSWORD_EXPIRED", "LOCKED_OUT"])
def test_an_expired_password_or_a_lockout_is_no_leaving(organisation: OktaOrganisation, status: str) -> None:
    ada = organisation.hire("ada@acme.example", status=status)
    organisation.later(seconds=5)

    assert people(source(organisation))[ada].active


def test_a_state_that_nobody_knows_lets_nobody_in(organisation: OktaOrganisation) -> None:
    ada = organisation.hire("ada@acme.example", status="HIBERNATING")
    organisation.later(seconds=5)

    assert not people(source(organisation))[ada].active


def test_a_profile_becomes_a_scim_document(organisation: OktaOrganisation) -> None:
    ada, *_ = company(organisation)

    person = people(source(organisation))[ada]

    assert person.user_name == "ada.lovelace@acme.example"
    assert person.document["name"] == {"givenName": "Ada", "familyName": "Lovelace"}
    assert person.document["emails"] == [{"value": "ada.lovelace@acme.example", "type": "work", "primary": True}]
    assert person.document[ENTERPRISE] == {"employeeNumber": "7", "department": "Research"}


def test_an_administrator_may_take_an_attribute_from_elsewhere(organisation: OktaOrganisation) -> None:
    ada = organisation.hire("ada@acme.example", costCentreCode=4711, hrId="E-9")
    organisation.later(seconds=5)

    person = people(source(organisation, cost_center="costCentreCode", external_id="hrId"))[ada]

    assert person.document[ENTERPRISE]["costCenter"] == "4711"
    assert person.external_id == "E-9"


def test_a_name_with_a_nul_or_half_a_character_is_not_the_name_without(organisation: OktaOrganisation) -> None:
    keys = [organisation.hire(login) for login in ("ada", "ada\0", "ada\ud800")]
    organisation.later(seconds=5)

    found = people(source(organisation))

    assert [found[key].user_name for key in keys] == ["ada", "ada\ufffd", "ada\ufffd"]


def test_a_manager_is_found_by_login_and_by_id_whoever_comes_first(organisation: OktaOrganisation) -> None:
    ada, grace, alan = company(organisation)
    lost = organisation.hire("lost@acme.example", managerId="nobody@acme.example")
    organisation.later(seconds=5)

    found = people(source(organisation))

    assert {key: found[key].manager for key in (ada, grace, alan, lost)} == {ada: grace, grace: None, alan: grace, lost: None}


def test_groups_come_with_everybody_in_them(organisation: OktaOrganisation) -> None:
    keys = [organisation.hire(f"p{number}@acme.example") for number in range(8)]
    group = organisation.group("Research", *keys)
    organisation.group("Everyone", *keys, type="BUILT_IN")

    found = list(source(organisation).list_groups())

    assert found == [SourceGroup(key=SourceKey(group), name="Research", members=frozenset(SourceKey(key) for key in keys))]


def test_somebody_is_found_by_key_and_nobody_where_okta_says_so(organisation: OktaOrganisation) -> None:
    ada, grace, _ = company(organisation)
    found = source(organisation)

    person = found.find_person(SourceKey(ada))

    assert person is not None and person.manager == grace
    assert found.find_person(SourceKey("00u99999999999999999")) is None


def test_a_login_is_no_key(organisation: OktaOrganisation) -> None:
    company(organisation)

    with pytest.raises(Unreachable):
        source(organisation).find_person(SourceKey("ada.lovelace@acme.example"))


# Changes.


def test_nothing_new_is_three_calls(organisation: OktaOrganisation) -> None:
    company(organisation)
    found = source(organisation)
    cursor = quiet(organisation, found)
    organisation.asked.clear()

    assert news(found, cursor)[0] == []
    assert len(organisation.asked) == 3


def test_changed_people_are_told_and_a_move_to_off_is_among_them(organisation: OktaOrganisation) -> None:
    ada, grace, alan = company(organisation)
    found = source(organisation)
    cursor = quiet(organisation, found)
    organisation.change(ada, title="Countess")
    organisation.change(alan, status="SUSPENDED")
    organisation.later(seconds=5)

    told, reached = news(found, cursor)

    persons = {change.key: change for change in told if isinstance(change, SourcePerson)}
    assert set(persons) == {ada, alan}
    assert persons[SourceKey(ada)].document["title"] == "Countess" and persons[SourceKey(ada)].manager == grace
    assert not persons[SourceKey(alan)].active
    organisation.later(hours=1)
    _, reached = news(found, reached)  # what lies in the overlap is told once more
    assert news(found, reached)[0] == []


def test_a_member_more_moves_only_the_second_clock_and_is_told(organisation: OktaOrganisation) -> None:
    ada, grace, _ = company(organisation)
    group, other = organisation.group("Research", ada), organisation.group("Sales")
    found = source(organisation)
    cursor = quiet(organisation, found)
    organisation.join(group, grace)
    organisation.later(seconds=5)

    told, _ = news(found, cursor)

    assert told == [SourceGroup(key=SourceKey(group), name="Research", members=frozenset({SourceKey(ada), SourceKey(grace)}))]
    assert other in organisation.groups


def test_what_a_search_did_not_see_yet_is_told_by_the_next_one(organisation: OktaOrganisation) -> None:
    ada, *_ = company(organisation)
    found = source(organisation)
    cursor = quiet(organisation, found)
    organisation.change(ada, status="DEPROVISIONED")  # and asked within the second that Okta is behind
    told, reached = news(found, cursor)
    assert told == []
    organisation.later(seconds=30)

    told, _ = news(found, reached)

    assert [(change.key, change.active) for change in told if isinstance(change, SourcePerson)] == [(ada, False)]


def test_a_clock_here_that_is_ahead_loses_nothing(organisation: OktaOrganisation) -> None:
    ada, *_ = company(organisation)
    settings = SourceSettings(name="okta", url=organisation.url, secret=Secret(TOKEN), options={"allow_private": "true"})
    found = Okta(settings, clock=lambda: organisation.now + timedelta(hours=5))
    cursor = found.cursor_now()
    organisation.later(minutes=1)
    organisation.change(ada, status="SUSPENDED")
    organisation.later(seconds=5)

    told, _ = news(found, cursor)

    assert ada in {change.key for change in told if isinstance(change, SourcePerson)}


def test_the_deleted_are_gone_and_the_first_deletion_only_deactivates(organisation: OktaOrganisation) -> None:
    ada, grace, _ = company(organisation)
    group = organisation.group("Research", ada)
    found = source(organisation)
    cursor = quiet(organisation, found)
    organisation.delete(ada)
    organisation.delete(ada)
    organisation.delete(grace)
    organisation.dissolve(group)
    organisation.later(seconds=5)

    told, _ = news(found, cursor)

    assert {change for change in told if isinstance(change, Gone)} == {
        Gone(kind=Kind.PERSON, key=SourceKey(ada)),
        Gone(kind=Kind.GROUP, key=SourceKey(group)),
    }
    assert [(change.key, change.active) for change in told if isinstance(change, SourcePerson)] == [(grace, False)]


def test_without_the_log_deletions_wait_for_a_full_listing(organisation: OktaOrganisation) -> None:
    organisation.forbidden.add("/api/v1/logs")
    found = source(organisation, deletions="listing")

    assert news(found, quiet(organisation, found))[0] == []


def test_a_list_of_changes_that_broke_off_reaches_nowhere(organisation: OktaOrganisation) -> None:
    company(organisation)
    found = source(organisation)
    cursor = quiet(organisation, found)
    news(found, cursor)
    organisation.fails["/api/v1/logs"] = (400, b'{"errorCode": "E0000001", "errorSummary": "no"}')

    with pytest.raises(Misconfigured):
        news(found, cursor)
    with pytest.raises(CursorLost):
        found.cursor_reached()


@pytest.mark.parametrize(
    "cursor", ["", "{}", "null", "[]", '{"at": "yesterday", "settings": ""}', '{"at": "2026-03-01T09:00:00", "settings": ""}']
)
def test_a_cursor_of_something_else_is_lost(organisation: OktaOrganisation, cursor: str) -> None:
    with pytest.raises(CursorLost):
        list(source(organisation).changes_since(Cursor(cursor)))


def test_a_cursor_made_under_other_settings_or_older_than_the_log_is_lost(organisation: OktaOrganisation) -> None:
    cursor = source(organisation).cursor_now()

    with pytest.raises(CursorLost, match="other settings"):
        list(source(organisation, group_types="OKTA_GROUP").changes_since(cursor))
    organisation.later(days=90)
    with pytest.raises(CursorLost, match="90 days"):
        list(source(organisation).changes_since(cursor))
