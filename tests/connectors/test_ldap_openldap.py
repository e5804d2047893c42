"""OpenLDAP as a source: what it tells of changes, its kinds of groups, and who may come in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connectors.source_contract import Cursor, CursorLost, Incomplete, Memberships, SourceGroup, SourcePerson
from connectors.sources.ldap import LDAP
from tests.connectors.replica import Replica
from tests.servers.directories import Hired
from tests.servers.openldap import OpenLDAP

pytestmark = [pytest.mark.ldap, pytest.mark.slow]

PEOPLE = tuple(Hired(uid=f"p{number:02d}", given="P", family=str(number)) for number in range(30))
ADA, GRACE = Hired(uid="ada", given="Ada", family="Lovelace"), Hired(uid="grace", given="Grace", family="Hopper")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
def server(openldap: OpenLDAP) -> Iterator[OpenLDAP]:
    openldap.empty()
    yield openldap
    openldap.empty()


@pytest.fixture
def peopled(server: OpenLDAP) -> OpenLDAP:
    server.hire(*PEOPLE)
    return server


def listed(source: LDAP) -> dict[str, SourcePerson]:
    return {person.user_name: person for person in source.list_people()}


# Changes


def test_a_change_while_a_listing_is_read_is_told_afterwards(peopled: OpenLDAP) -> None:
    source = LDAP(peopled.settings(page_size="5"))
    cursor = source.cursor_now()
    reading = source.list_people()
    next(reading)
    peopled.change("p29", title="Director")
    list(reading)

    told = [change for change in source.changes_since(cursor) if isinstance(change, SourcePerson)]

    assert [person.user_name for person in told] == ["p29"]


def test_a_group_of_several_who_changed_is_told_once(peopled: OpenLDAP) -> None:
    peopled.add_group("choir", *(person.uid for person in PEOPLE))
    peopled.add_group("band", "p03")
    source = LDAP(peopled.settings())
    keys, groups = {name: person.key for name, person in listed(source).items()}, {group.name: group.key for group in source.list_groups()}
    cursor = source.cursor_now()
    for uid in ("p03", "p04"):
        peopled.change(uid, title="Director")

    told = [change for change in source.changes_since(cursor) if isinstance(change, Memberships)]

    assert {change.group: change.added for change in told} == {groups["choir"]: {keys["p03"], keys["p04"]}, groups["band"]: {keys["p03"]}}
    assert len(told) == 2


def test_after_a_restart_what_was_deleted_is_found_by_a_full_listing(peopled: OpenLDAP) -> None:
    follower = Replica(LDAP(peopled.settings())).list_all()
    peopled.let_go("p03")
    peopled.restart()

    assert follower.cursor is not None
    with pytest.raises(CursorLost, match="session log"):
        list(follower.source.changes_since(follower.cursor))
    with pytest.raises(CursorLost):
        follower.source.cursor_reached()
    follower.follow()

    assert follower.holds() == peopled.holds()
    assert follower.full_listings == 2


def test_a_server_that_was_set_back_to_a_backup_asks_for_a_full_listing(peopled: OpenLDAP, tmp_path: Path) -> None:
    database = peopled.folder / "db"
    with peopled.down():
        shutil.copytree(database, tmp_path / "backup")
    peopled.let_go("p03")
    follower = Replica(LDAP(peopled.settings())).list_all()
    with peopled.down():
        shutil.rmtree(database)
        shutil.copytree(tmp_path / "backup", database)

    follower.follow()

    assert follower.full_listings == 2
    assert follower.holds() == peopled.holds()
    assert "p03" in follower.holds().people


def test_more_changes_than_one_search_may_bring_ask_for_a_full_listing(peopled: OpenLDAP) -> None:
    follower = Replica(LDAP(peopled.settings(page_size="5"))).list_all()
    for person in PEOPLE:
        peopled.change(person.uid, title="Director")

    with peopled.limited_to(10, in_pages="unlimited"):
        follower.follow()

    assert follower.full_listings == 2
    assert follower.holds() == peopled.holds()


@pytest.mark.parametrize(("name", "kind"), [("c=DE", "country"), ("cn=contractors", "organizationalRole")])
def test_whatever_is_moved_takes_whom_it_holds_out_of_the_base(server: OpenLDAP, name: str, kind: str) -> None:
    """The server says only of itself that it moved."""
    server.hire(ADA, GRACE)
    admin, inside, outside = server.as_admin(), server.unit("staff"), server.unit("branch")
    admin.add(f"{name},{inside}", [kind])
    admin.modify_dn(server.dn_of("ada"), "uid=ada", new_superior=f"{name},{inside}")
    server.add_group("crew", "ada", "grace")
    follower = Replica(LDAP(server.settings(people_base=inside))).list_all()
    assert "ada" in follower.holds().people

    assert admin.modify_dn(f"{name},{inside}", name, new_superior=outside), admin.result
    follower.follow()

    assert set(follower.holds().people) == {"grace"}
    assert follower.holds().groups["crew"] == {"grace"}
    server.let_go("ada")
    admin.delete(f"{name},{outside}")


def test_without_a_session_log_nobody_is_taken_for_gone(tmp_path: Path) -> None:
    server = OpenLDAP(session_log=0)
    server.start(tmp_path)
    try:
        server.hire(ADA, GRACE)
        follower = Replica(LDAP(server.settings())).list_all()
        server.let_go("grace")
        follower.follow()

        assert follower.holds() == server.holds()
    finally:
        server.stop()


def test_a_group_named_by_dn_is_told_when_somebody_comes_to_that_dn(server: OpenLDAP) -> None:
    """The group does not change by it, and neither does its timestamp."""
    server.hire(ADA)
    server.add_group("choir", "ada")
    server.as_admin().modify(server.group_dn("choir"), {"member": [("MODIFY_ADD", [f"uid=grace,{server.unit('staff')}"])]})
    follower = Replica(LDAP(server.settings())).list_all()

    server.hire(GRACE)
    follower.follow()

    assert follower.full_listings == 1
    assert follower.holds().groups["choir"] == {"ada", "grace"}


@pytest.mark.parametrize(
    "cursor",
    ["", "openldap", "openldap|x|{}", "ad|x|dirsync:1:AAAA", "none", '{"people": 1}'],
    ids=["empty", "kind", "braces", "ad", "none", "json"],
)
def test_what_is_no_cursor_of_ours_asks_for_a_full_listing(server: OpenLDAP, cursor: str) -> None:
    with pytest.raises(CursorLost):
        list(LDAP(server.settings()).changes_since(Cursor(cursor)))


def test_where_changes_are_switched_off_every_pull_is_a_full_listing(server: OpenLDAP) -> None:
    server.hire(ADA)
    source = LDAP(server.settings(changes="none"))

    with pytest.raises(CursorLost):
        list(source.changes_since(source.cursor_now()))
    assert "switched off): every pull is a full listing" in source.check().cost


# Groups


def test_a_group_of_many_is_told_without_reading_everybody(peopled: OpenLDAP) -> None:
    peopled.add_group("choir", *(person.uid for person in PEOPLE[1:]))
    source = LDAP(peopled.settings())
    keys = {name: person.key for name, person in listed(source).items()}
    cursor = source.cursor_now()
    peopled.part("choir", "p29")

    (group,) = source.changes_since(cursor)

    assert isinstance(group, SourceGroup)
    assert group.members == {key for name, key in keys.items() if name not in ("p00", "p29")}


def test_whoever_gets_another_name_between_people_and_groups_is_in_their_groups(server: OpenLDAP) -> None:
    server.hire(ADA, GRACE)
    server.add_group("choir", "ada", "grace")
    source = LDAP(server.settings())
    keys = {person.key for person in source.list_people()}

    server.rename("grace", "ghopper")

    assert [group.members for group in source.list_groups()] == [keys]


def test_posix_groups_name_people_by_uid(server: OpenLDAP) -> None:
    server.hire(ADA, GRACE)
    dn = f"cn=wheel,{server.unit('groups')}"
    server.as_admin().add(dn, ["posixGroup"], {"gidNumber": "10", "memberUid": ["ada", "nobody"]})
    follower = Replica(LDAP(server.settings())).list_all()

    assert follower.holds().groups == {"wheel": {"ada"}}
    assert next(iter(follower.groups.values())).ignored == 1

    server.as_admin().modify(dn, {"memberUid": [("MODIFY_ADD", ["grace"])]})
    follower.follow()

    assert follower.holds().groups == {"wheel": {"ada", "grace"}}
    server.as_admin().delete(dn)


def test_a_posix_group_names_everybody_who_has_the_uid(server: OpenLDAP) -> None:
    """By a listing as by what changed: whoever is there a second time, by mistake, takes nobody's place."""
    server.hire(ADA)
    dn = f"cn=wheel,{server.unit('groups')}"
    server.as_admin().add(dn, ["posixGroup"], {"gidNumber": "10", "memberUid": ["ada"]})
    follower = Replica(LDAP(server.settings())).list_all()

    server.hire(ADA, unit="branch")
    follower.follow()
    (told,) = follower.groups.values()
    (listed_,) = Replica(follower.source).list_all().groups.values()

    assert told.members == listed_.members == set(follower.people)
    assert len(follower.people) == 2
    server.as_admin().delete(f"uid=ada,{server.unit('branch')}")
    server.as_admin().delete(dn)


def test_groups_within_ours_count_even_where_the_filter_leaves_them_out(server: OpenLDAP) -> None:
    server.hire(ADA, GRACE)
    server.add_group("team", "ada")
    server.add_group("chat-all", groups=["team"])
    follower = Replica(LDAP(server.settings(group_filter="(&(objectClass=groupOfNames)(cn=chat-*))"))).list_all()
    assert follower.holds().groups == {"chat-all": {"ada"}}

    server.join("team", "grace")
    follower.follow()
    assert follower.holds().groups == {"chat-all": {"ada", "grace"}}

    server.delete_group("team")
    follower.follow()
    assert follower.holds().groups == {"chat-all": set()}
    assert follower.full_listings == 1


def test_a_group_that_holds_itself_is_told_as_a_circle(server: OpenLDAP) -> None:
    server.hire(ADA)
    server.add_group("choir", "ada")
    server.join("choir", groups=["choir"])

    (group,) = LDAP(server.settings()).list_groups()

    assert (group.name, len(group.members), group.cycles) == ("choir", 1, ("choir",))


def test_whom_a_group_or_a_report_names_at_another_server_is_nobody(server: OpenLDAP) -> None:
    """This one only refers to it, as a domain controller does for the other domains of its forest."""
    server.hire(ADA, GRACE)
    server.add_group("choir", "ada")
    admin, far, here = server.as_admin(), f"ou=far,{server.base}", f"uid=gone,{server.unit('staff')}"
    unfollowed = [("2.16.840.1.113730.3.4.2", True, None)]
    for dn in (far, here):
        admin.add(dn, ["referral", "extensibleObject"], {"ref": f"ldap://other.example/{dn}"}, controls=unfollowed)
    follower = Replica(LDAP(server.settings())).list_all()

    admin.modify(server.group_dn("choir"), {"member": [("MODIFY_ADD", [f"uid=x,{far}", here])]})
    server.change("ada", manager=f"uid=x,{far}")
    server.change("grace", manager=here)
    server.disable("grace")
    follower.follow()

    whole = Replica(follower.source).list_all()
    assert follower.full_listings == 1
    for told in (follower, whole):
        assert told.holds().people == {"ada": True, "grace": False}
        assert told.holds().groups == {"choir": {"ada"}}
        assert {person.manager for person in told.people.values()} == {None}
    server.delete_group("choir")
    for dn in (far, here):
        admin.delete(dn, controls=unfollowed)


def test_without_groups_none_are_read(server: OpenLDAP) -> None:
    server.hire(ADA)
    server.add_group("choir", "ada")
    source = LDAP(server.settings(groups="false"))

    assert list(source.list_groups()) == []
    assert source.check().groups is None


# Who may come in


def test_too_many_wrong_passwords_are_no_departure(server: OpenLDAP) -> None:
    server.hire(ADA)
    server.lock_out("ada")

    assert listed(LDAP(server.settings()))["ada"].active


def test_a_lock_for_good_is_off(server: OpenLDAP) -> None:
    server.hire(ADA)
    server.disable("ada")

    ada = listed(LDAP(server.settings()))["ada"]

    assert (ada.active, ada.state) == (False, "locked by an administrator")


def test_shadow_expire_is_an_end_that_passes_silently(server: OpenLDAP) -> None:
    server.hire(ADA)
    server.change("ada", shadowExpire="21000")
    end = EPOCH + timedelta(days=21000)

    before = listed(LDAP(server.settings(), clock=lambda: end - timedelta(seconds=1)))["ada"]
    after = listed(LDAP(server.settings(), clock=lambda: end))["ada"]

    assert (before.active, before.ends_at) == (True, "2027-07-01T00:00:00+00:00")
    assert (after.active, after.state, after.ends_at) == (False, "shadowExpire has passed", before.ends_at)


@pytest.mark.parametrize("never", ["-1", "0", "99999999"])
def test_shadow_expire_of_no_day_is_no_end(server: OpenLDAP, never: str) -> None:
    server.hire(ADA)
    server.change("ada", shadowExpire=never)

    assert listed(LDAP(server.settings()))["ada"].ends_at is None


def test_an_attribute_of_ones_own_may_decide(server: OpenLDAP) -> None:
    server.hire(ADA, GRACE)
    server.change("ada", employeeType="Staff")
    server.change("grace", employeeType="retired")

    people = listed(LDAP(server.settings(active_attribute="employeeType", active_values="staff, intern")))

    assert people["ada"].active
    assert (people["grace"].active, people["grace"].state) == (False, "employeetype=retired")


def test_other_attributes_may_be_named(server: OpenLDAP) -> None:
    server.hire(ADA)
    server.change("ada", employeeNumber="1001")

    people = listed(LDAP(server.settings(user_name="mail", external_id="employeeNumber", title="description, displayName")))

    assert people["ada@corp.example"].external_id == "1001"
    assert people["ada@corp.example"].document["title"] == "Ada Lovelace"


def test_somebody_whose_name_cannot_be_read_is_listed_all_the_same(server: OpenLDAP) -> None:
    server.hire(ADA)
    server.change("ada", mail=None)
    with server.hidden_attribute("uid"):
        (ada,) = LDAP(server.settings()).list_people()

    assert ada.user_name == ada.key


def test_without_the_id_that_never_changes_there_is_no_listing(server: OpenLDAP) -> None:
    server.hire(ADA)
    with server.hidden_attribute("entryUUID"), pytest.raises(Incomplete, match="entryuuid"):
        list(LDAP(server.settings()).list_people())
