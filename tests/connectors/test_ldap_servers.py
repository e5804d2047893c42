"""One day in a directory, on OpenLDAP, on a Samba domain controller and on 389 Directory Server: whoever follows the changes and
whoever reads everything anew both end with what the directory itself holds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from connectors.source_contract import Source, SourceKey, SourcePerson, TellsChanges
from connectors.sources.ldap import LDAP
from tests.connectors.replica import Replica
from tests.servers.directories import DirectoryServer, Hired

pytestmark = [pytest.mark.ldap, pytest.mark.slow]

ADA = Hired(uid="ada", given="Ada", family="Lovelace", number="1001", title="Countess", department="Engines")
GRACE = Hired(uid="grace", given="Grace", family="Hopper", number="1002", manager="ada")
ALAN = Hired(uid="alan", given="Alan", family="Turing", number="1003", manager="ada")
ZOE = Hired(uid="zoe", given="Zoé", family="Müller, 1st \\ O'Neil", number="1004")

Event = Callable[[DirectoryServer], None]


def furnish(server: DirectoryServer) -> None:
    server.hire(ADA, GRACE, ALAN)
    server.add_group("engines", "ada", "alan")
    server.add_group("compilers", "grace")
    server.add_group("everyone", groups=["engines", "compilers"])


def replace_alan(server: DirectoryServer) -> None:
    server.let_go("alan")
    server.hire(ALAN)


def restart_after_a_deletion(server: DirectoryServer) -> None:
    server.hire(Hired(uid="temp", given="Tem", family="Porary"))
    server.let_go("temp")
    server.restart()


EVENTS: dict[str, Event] = {
    "nothing": lambda server: None,
    "a joiner": lambda server: server.hire(ZOE, unit="branch"),
    "a new title": lambda server: server.change("ada", title="Director"),
    "another name": lambda server: server.rename("grace", "ghopper"),
    "a move to another unit": lambda server: server.move("alan", unit="branch"),
    "into a group": lambda server: server.join("compilers", "alan"),
    "out of a group": lambda server: server.part("engines", "ada"),
    "a group within another": lambda server: server.join("compilers", groups=["engines"]),
    "a group out of another": lambda server: server.part("compilers", groups=["engines"]),
    "a group with another name": lambda server: server.rename_group("compilers", "languages"),
    "a new group": lambda server: server.add_group("choir", "ada", "ghopper"),
    "switched off": lambda server: server.disable("alan"),
    "switched on": lambda server: server.enable("alan"),
    "deleted": lambda server: server.let_go("ghopper"),
    "deleted and taken on again by that name": replace_alan,
    "a group deleted": lambda server: server.delete_group("engines"),
    "a restart": lambda server: server.restart(),
    "a restart after a deletion": restart_after_a_deletion,
    "a unit with another name": lambda server: server.rename_unit("branch", "twig"),
    "a unit with its old name": lambda server: server.rename_unit("twig", "branch"),
}


def test_following_and_listing_both_end_with_what_the_directory_holds(ldap_server: DirectoryServer) -> None:
    furnish(ldap_server)
    source = LDAP(ldap_server.settings())
    follower = Replica(source).list_all()
    assert follower.holds() == ldap_server.holds()

    for what, happen in EVENTS.items():
        happen(ldap_server)
        follower.follow()

        assert follower.holds() == ldap_server.holds(), f"by changes, after {what}"
        assert Replica(source).list_all().holds() == ldap_server.holds(), f"by a listing, after {what}"


def test_most_changes_need_no_full_listing(ldap_server: DirectoryServer) -> None:
    furnish(ldap_server)
    follower = Replica(LDAP(ldap_server.settings())).list_all()

    for what, happen in list(EVENTS.items())[:15]:
        happen(ldap_server)
        follower.follow()

        assert follower.full_listings == 1, what


def test_somebody_keeps_their_key_through_a_new_name_and_a_move(ldap_server: DirectoryServer) -> None:
    furnish(ldap_server)
    source = LDAP(ldap_server.settings())
    before = keys(source)

    ldap_server.rename("grace", "ghopper")
    ldap_server.move("ghopper", unit="branch")

    assert keys(source)["ghopper"] == before["grace"]


def test_whoever_is_taken_on_again_by_the_same_name_is_somebody_else(ldap_server: DirectoryServer) -> None:
    furnish(ldap_server)
    source = LDAP(ldap_server.settings())
    before = keys(source)

    ldap_server.let_go("alan")
    ldap_server.hire(ALAN)

    assert keys(source)["alan"] != before["alan"]


def test_a_person_is_described_in_scims_shape(ldap_server: DirectoryServer) -> None:
    furnish(ldap_server)

    people = {person.user_name.partition("@")[0]: person for person in LDAP(ldap_server.settings()).list_people()}

    ada, enterprise = people["ada"].document, "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    assert ada["displayName"] == "Ada Lovelace"
    assert ada["name"] == {"givenName": "Ada", "familyName": "Lovelace"}
    assert ada["emails"] == [{"value": "ada@corp.example", "type": "work", "primary": True}]
    assert ada["title"] == "Countess"
    assert ada[enterprise] == {"employeeNumber": "1001", "department": "Engines"}
    assert people["grace"].manager == people["ada"].key
    assert people["ada"].manager is None


def test_somebody_is_found_by_key_until_they_are_deleted(ldap_server: DirectoryServer) -> None:
    furnish(ldap_server)
    source = LDAP(ldap_server.settings())
    grace = keys(source)["grace"]
    assert named(source.find_person(grace)) == "grace"

    ldap_server.let_go("grace")

    assert source.find_person(grace) is None
    assert source.find_person(SourceKey("*")) is None


def test_a_circle_of_groups_is_told_and_everybody_in_it_is_in_each(ldap_server: DirectoryServer) -> None:
    furnish(ldap_server)
    ldap_server.join("engines", groups=["everyone"])

    groups = {group.name: group for group in LDAP(ldap_server.settings()).list_groups()}

    assert groups["engines"].members == groups["everyone"].members == frozenset(keys(LDAP(ldap_server.settings())).values())
    assert groups["engines"].cycles == groups["everyone"].cycles == ("engines", "everyone")
    assert groups["compilers"].cycles == ()


def test_two_people_who_manage_each_other_are_both_listed(ldap_server: DirectoryServer) -> None:
    furnish(ldap_server)
    ldap_server.set_manager("ada", "grace")

    people = {person.user_name.partition("@")[0]: person for person in LDAP(ldap_server.settings()).list_people()}

    assert people["ada"].manager == people["grace"].key
    assert people["grace"].manager == people["ada"].key


def test_the_kind_of_server_is_found_out(ldap_server: DirectoryServer) -> None:
    furnish(ldap_server)

    check = LDAP(ldap_server.settings(kind="")).check()

    assert check.good, check.steps
    assert [step.name for step in check.steps] == ["connect", "bind", "search", "count"]
    assert (check.people, check.groups) == (3, 3)
    assert "changes are told" in check.cost


def test_a_cursor_is_no_longer_good_once_base_or_filter_changed(ldap_server: DirectoryServer) -> None:
    furnish(ldap_server)
    follower = Replica(LDAP(ldap_server.settings())).list_all()

    for option in ({"people_base": ldap_server.unit("staff")}, {"people_filter": "(mail=ada@corp.example)"}, {"title": "description"}):
        before = follower.full_listings
        follower.source = LDAP(ldap_server.settings(**option))
        follower.follow()

        assert follower.full_listings == before + 1, option


def test_a_unit_that_is_moved_takes_its_people_out_of_the_base(ldap_server: DirectoryServer) -> None:
    """The server says only of the unit itself that it moved."""
    furnish(ldap_server)
    admin, lab = ldap_server.as_admin(), f"ou=lab,{ldap_server.unit('staff')}"
    admin.add(lab, ["organizationalUnit"])
    ldap_server.hire(ZOE, unit="lab,ou=staff")
    follower = Replica(LDAP(ldap_server.settings(people_base=ldap_server.unit("staff")))).list_all()
    assert "zoe" in follower.holds().people

    assert admin.modify_dn(lab, "ou=lab", new_superior=ldap_server.unit("branch")), admin.result
    follower.follow()

    assert set(follower.holds().people) == {"ada", "grace", "alan"}
    ldap_server.let_go("zoe")
    admin.delete(f"ou=lab,{ldap_server.unit('branch')}")


def test_a_source_is_what_it_promises(ldap_server: DirectoryServer) -> None:
    source: Source = LDAP(ldap_server.settings())

    assert isinstance(source, TellsChanges)


def keys(source: LDAP) -> dict[str, SourceKey]:
    return {named(person): person.key for person in source.list_people()}


def named(person: SourcePerson | None) -> str:
    return person.user_name.partition("@")[0] if person is not None else ""
