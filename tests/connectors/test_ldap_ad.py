"""Active Directory as a source, on a Samba domain controller: what a Windows server does otherwise is said where it matters."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from connectors.source_contract import Cursor, CursorLost, Gone, Kind, Memberships, SourceGroup, SourcePerson
from connectors.sources.ldap import LDAP
from connectors.sources.ldap_library import ldap3
from tests.connectors.replica import Replica
from tests.servers.directories import Hired
from tests.servers.samba import ADMIN_PASSWORD, Samba

pytestmark = [pytest.mark.ldap, pytest.mark.slow]

ADA, GRACE, ALAN = (Hired(uid=uid, given=uid.title(), family="Test") for uid in ("ada", "grace", "alan"))
END = datetime(2027, 7, 1, 22, tzinfo=UTC)
TICKS = str(int((END - datetime(1601, 1, 1, tzinfo=UTC)).total_seconds()) * 10_000_000)


@pytest.fixture
def server(samba: Samba) -> Iterator[Samba]:
    samba.empty()
    samba.hire(ADA, GRACE, ALAN)
    yield samba
    samba.empty()


@pytest.fixture(params=["dirsync", "usn"])
def follower(request: pytest.FixtureRequest, server: Samba) -> Replica:
    """Once by DirSync and once by uSNChanged."""
    replica = Replica(LDAP(server.settings(changes=request.param))).list_all()
    assert f"|{request.param}:" in str(replica.cursor)
    return replica


def listed(source: LDAP) -> dict[str, SourcePerson]:
    return {person.user_name.partition("@")[0]: person for person in source.list_people()}


def test_the_key_is_the_guid_as_windows_writes_it(server: Samba) -> None:
    key = listed(LDAP(server.settings()))["ada"].key

    # The server takes a GUID in that spelling for a name (MS-ADTS §3.1.1.3.1.2.4).
    admin = server.as_admin()
    assert admin.search(f"<GUID={key}>", "(objectClass=*)", ldap3.BASE, attributes=["sAMAccountName", "objectGUID"])
    assert admin.response[0]["attributes"]["sAMAccountName"] in ("ada", ["ada"])
    assert uuid.UUID(bytes_le=admin.response[0]["raw_attributes"]["objectGUID"][0]) == uuid.UUID(key)


def test_the_directorys_own_accounts_are_nobody(server: Samba) -> None:
    names = listed(LDAP(server.settings(people_base=server.domain)))

    assert {"ada", "grace", "alan"} <= set(names)
    assert not {"Administrator", "Guest", "krbtgt"} & set(names)


def test_who_must_change_their_password_has_not_left(server: Samba) -> None:
    server.change("ada", pwdLastSet="0")

    assert listed(LDAP(server.settings()))["ada"].active


def test_a_disabled_account_is_off(server: Samba) -> None:
    server.disable("ada")

    ada = listed(LDAP(server.settings()))["ada"]

    assert (ada.active, ada.state) == (False, "disabled")


def test_account_expires_passes_without_any_change(server: Samba) -> None:
    server.change("ada", accountExpires=TICKS)
    before = LDAP(server.settings(), clock=lambda: END - timedelta(seconds=1))
    after = LDAP(server.settings(), clock=lambda: END)
    cursor = before.cursor_now()

    assert listed(before)["ada"].ends_at == END.isoformat()
    assert listed(before)["ada"].active
    assert (listed(after)["ada"].active, listed(after)["ada"].state) == (False, "accountExpires has passed")
    assert list(after.changes_since(cursor)) == []


@pytest.mark.parametrize("never", ["0", "9223372036854775807"])
def test_account_expires_never(server: Samba, never: str) -> None:
    server.change("ada", accountExpires=never)

    assert listed(LDAP(server.settings()))["ada"].ends_at is None


def test_the_primary_group_holds_whom_it_does_not_name(server: Samba, follower: Replica) -> None:
    server.add_group("crew", "ada", "grace")
    server.add_group("all", groups=["crew"])
    follower.follow()
    server.set_primary_group("ada", "crew")
    follower.follow()

    # The server took her off the list of the group.
    assert server.holds().groups["crew"] == {"grace"}
    assert follower.holds().groups == {"crew": {"ada", "grace"}, "all": {"ada", "grace"}}
    assert Replica(follower.source).list_all().holds() == follower.holds()


def test_everybody_is_in_domain_users_whom_nobody_put_there(server: Samba) -> None:
    source = LDAP(server.settings(group_base=server.domain))
    follower = Replica(source).list_all()
    assert follower.holds().groups["Domain Users"] == {"ada", "grace", "alan"}

    server.hire(Hired(uid="zoe", given="Zoe", family="Test"))
    follower.follow()

    assert follower.holds().groups["Domain Users"] == {"ada", "grace", "alan", "zoe"}
    # By way of it.
    assert follower.holds().groups["Users"] == {"ada", "grace", "alan", "zoe"}
    assert follower.full_listings == 1


def test_machines_and_strangers_in_a_group_are_counted_and_left_out(server: Samba) -> None:
    machine = f"CN=pc1,{server.unit('staff')}"
    server.as_admin().add(machine, ["computer"], {"sAMAccountName": "pc1$", "userAccountControl": "4096"})
    server.add_group("crew", "ada")
    server.as_admin().modify(server.group_dn("crew"), {"member": [(ldap3.MODIFY_ADD, [machine, f"CN=krbtgt,CN=Users,{server.domain}"])]})

    (group,) = LDAP(server.settings()).list_groups()

    assert (len(group.members), group.ignored) == (1, 2)
    assert set(listed(LDAP(server.settings()))) == {"ada", "grace", "alan"}
    server.as_admin().delete(machine)


def test_who_leaves_and_who_comes_by_a_move_of_range(server: Samba) -> None:
    """Out of the base is gone, and back in it everything is told, groups that did not change among it."""
    server.add_group("crew", "ada")
    follower = Replica(LDAP(server.settings(people_base=server.unit("staff")))).list_all()

    server.move("ada", unit="branch")
    follower.follow()
    assert set(follower.holds().people) == {"grace", "alan"}
    assert follower.holds().groups["crew"] == set()

    server.move("ada", unit="staff")
    follower.follow()
    assert set(follower.holds().people) == {"ada", "grace", "alan"}
    assert follower.holds().groups["crew"] == {"ada"}
    assert follower.full_listings == 1


@pytest.mark.parametrize("how", ["dirsync", "usn"])
def test_a_container_that_is_moved_takes_its_people_out_of_the_base(server: Samba, how: str) -> None:
    admin, name = server.as_admin(), "CN=contractors"
    inside, outside = server.unit("staff"), server.unit("branch")
    admin.add(f"{name},{inside}", ["container"])
    admin.modify_dn(server.dn_of("ada"), "CN=ada", new_superior=f"{name},{inside}")
    server.add_group("crew", "ada", "grace")
    follower = Replica(LDAP(server.settings(people_base=inside, changes=how))).list_all()

    assert admin.modify_dn(f"{name},{inside}", name, new_superior=outside), admin.result
    follower.follow()

    assert set(follower.holds().people) == {"grace", "alan"}
    assert follower.holds().groups["crew"] == {"grace"}
    server.let_go("ada")
    admin.delete(f"{name},{outside}")


def test_a_large_group_is_told_by_what_changed_in_it(server: Samba) -> None:
    server.add_group("crew", "ada", "grace")
    source = LDAP(server.settings())
    keys = {name: person.key for name, person in listed(source).items()}
    cursor = source.cursor_now()

    server.part("crew", "ada")
    server.join("crew", "alan")

    (told,) = (change for change in source.changes_since(cursor) if not isinstance(change, SourcePerson))
    assert isinstance(told, Memberships)
    assert (told.added, told.removed) == (frozenset({keys["alan"]}), frozenset({keys["ada"]}))


def test_a_group_within_others_is_told_whole_with_all_that_hold_it(server: Samba) -> None:
    server.add_group("crew", "ada", "grace")
    server.add_group("all", "ada", groups=["crew"])
    source = LDAP(server.settings())
    cursor = source.cursor_now()

    server.part("crew", "ada")

    told = {change.name: len(change.members) for change in source.changes_since(cursor) if isinstance(change, SourceGroup)}
    # In the outer one she still is, by herself.
    assert told == {"crew": 1, "all": 2}


def test_a_deleted_group_leaves_those_that_held_it(server: Samba, follower: Replica) -> None:
    server.add_group("crew", "ada")
    server.add_group("all", "grace", groups=["crew"])
    follower.follow()

    server.delete_group("crew")
    follower.follow()

    assert follower.holds().groups == {"all": {"grace"}}
    assert follower.full_listings == 1


def test_deletions_are_told_as_gone(server: Samba, follower: Replica) -> None:
    key = listed(follower.source)["alan"].key
    server.let_go("alan")

    assert follower.cursor is not None
    assert Gone(kind=Kind.PERSON, key=key) in list(follower.source.changes_since(follower.cursor))


def test_an_account_that_does_not_see_deleted_objects_lists_everything_each_time(server: Samba) -> None:
    source = LDAP(server.settings())
    server.show_deleted(False)
    try:
        assert source.cursor_now() == "none"
        assert "deleted objects are not shown" in source.check().cost
        with pytest.raises(CursorLost):
            list(source.changes_since(Cursor("none")))
    finally:
        server.show_deleted()


def test_numbers_of_another_domain_controller_count_for_nothing(server: Samba) -> None:
    source = LDAP(server.settings(changes="usn"))
    kind, settings, rest = source.cursor_now().split("|")
    how, controller, number = rest.split(":")

    for other in (f"{how}:{'A' * len(controller)}:{number}", f"{how}:{controller}:{int(number) + 100_000}"):
        with pytest.raises(CursorLost, match="another domain controller"):
            list(source.changes_since(Cursor(f"{kind}|{settings}|{other}")))


def test_members_that_come_by_the_piece_all_come(server: Samba) -> None:
    """Windows hands out 1,500 at a time unasked; Samba does so where it is asked to."""
    server.add_group("crew", "ada", "grace", "alan")

    with LDAP(server.settings())._reading() as reading:
        reading.book.load(reading.wire)
        reading.groups.attributes = (*(name for name in reading.groups.attributes if name != "member"), "member;range=0-0")
        (group,) = reading.groups.listing(reading.context)

    assert len(group.members) == 3


def test_why_somebody_cannot_bind_is_said_in_words(server: Samba) -> None:
    server.hire(Hired(uid="off", given="Off", family="Test"))
    server.disable("off")

    def said(bind_dn: str, password: str) -> str:
        return LDAP(server.settings(bind_dn=bind_dn, password=password)).check().steps[-1].detail

    assert "wrong name or password" in said("ada@ad.example.com", "wrong")
    assert "the account is disabled" in said("off@ad.example.com", "Passw0rd!")
    assert ADMIN_PASSWORD not in said("administrator@ad.example.com", ADMIN_PASSWORD + "x")
