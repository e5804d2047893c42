"""389 Directory Server as a source: its retro changelog, and what it locks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from connectors.source_contract import Cursor, CursorLost, Incomplete, SourcePerson
from connectors.sources.ldap import LDAP
from connectors.sources.ldap_library import ldap3
from tests.connectors.replica import Replica
from tests.servers.directories import Hired
from tests.servers.ds389 import DS389

pytestmark = [pytest.mark.ldap, pytest.mark.slow]

ADA, GRACE = (Hired(uid=uid, given=uid.title(), family="Test") for uid in ("ada", "grace"))


@pytest.fixture
def server(ds389: DS389) -> Iterator[DS389]:
    ds389.empty()
    ds389.hire(ADA, GRACE)
    yield ds389
    ds389.empty()


def listed(source: LDAP) -> dict[str, SourcePerson]:
    return {person.user_name: person for person in source.list_people()}


def test_a_locked_account_is_off(server: DS389) -> None:
    server.disable("ada")

    ada = listed(LDAP(server.settings()))["ada"]

    assert (ada.active, ada.state) == (False, "nsAccountLock")


def test_a_trimmed_changelog_asks_for_a_full_listing(server: DS389) -> None:
    follower = Replica(LDAP(server.settings())).list_all()
    server.let_go("grace")
    server.trim_changelog()
    server.change("ada", title="Director")

    assert follower.cursor is not None
    with pytest.raises(CursorLost):
        list(follower.source.changes_since(follower.cursor))
    follower.follow()

    assert follower.holds() == server.holds()


def test_a_gap_in_the_changelog_asks_for_a_full_listing(server: DS389) -> None:
    source = LDAP(server.settings())
    cursor = source.cursor_now()
    server.let_go("grace")
    for title in ("Director", "Countess"):
        server.change("ada", title=title)
    admin = server.as_admin()
    admin.search("cn=changelog", "(targetDn=uid=grace*)", attributes=["changeNumber"])
    admin.delete(max(admin.entries, key=lambda entry: int(str(entry.changeNumber))).entry_dn)

    with pytest.raises(CursorLost):
        list(source.changes_since(cursor))


def test_the_changelog_of_another_server_counts_for_nothing(server: DS389) -> None:
    """Each numbers its changes by itself: the same number is another change there."""
    source = LDAP(server.settings())
    kind, settings, rest = source.cursor_now().split("|")
    number, _, proof = rest.partition(":")

    for other in (f"{number}:20200101000000Z/{proof.partition('/')[2]}", f"{int(number) + 5000}:{proof}"):
        with pytest.raises(CursorLost, match="another server"):
            list(source.changes_since(Cursor(f"{kind}|{settings}|{other}")))


def test_where_the_changelog_may_not_be_read_every_pull_is_a_full_listing(server: DS389) -> None:
    admin = server.as_admin()
    admin.search("cn=changelog", "(objectClass=*)", ldap3.BASE, attributes=["aci"])
    before = admin.response[0]["attributes"]["aci"]
    admin.modify("cn=changelog", {"aci": [(ldap3.MODIFY_REPLACE, [])]})
    try:
        source = LDAP(server.settings())

        assert source.cursor_now() == "none"
        assert "no retro changelog" in source.check().cost
        assert len(listed(source)) == 2
    finally:
        admin.modify("cn=changelog", {"aci": [(ldap3.MODIFY_REPLACE, before)]})


def test_passwords_in_the_changelog_are_not_asked_for(server: DS389) -> None:
    from connectors.sources.ldap_389ds import ATTRIBUTES

    assert "changes" not in {name.lower() for name in ATTRIBUTES}


def test_whoever_changed_and_is_not_shown_any_more_is_not_gone(server: DS389) -> None:
    source = LDAP(server.settings())
    cursor = source.cursor_now()
    server.change("ada", title="Director")
    with hidden(server, "ada"), pytest.raises(CursorLost, match="not shown"):
        list(source.changes_since(cursor))

    assert [told.user_name for told in source.changes_since(cursor) if isinstance(told, SourcePerson)] == ["ada"]


def test_what_is_not_shown_is_counted_by_the_check(server: DS389) -> None:
    with hidden(server, "ada"):
        source = LDAP(server.settings(people_base=server.unit("staff")))

        assert source.check().people == 1
        assert "1 entries right below" in source.check().steps[-1].detail


@pytest.mark.parametrize("attribute", ["nsAccountLock", "shadowExpire"])
def test_where_a_lock_or_an_end_would_not_be_shown_nobody_is_listed(server: DS389, attribute: str) -> None:
    server.disable("ada")
    source = LDAP(server.settings())

    with forbidden(server, f'(targetattr="{attribute}")', "all"), pytest.raises(Incomplete, match=f"{attribute} of .* is not shown to the bind account"):
        listed(source)

    assert not listed(source)["ada"].active


def test_whoever_may_compare_nothing_is_not_taken_for_one_who_may_not_read(server: DS389) -> None:
    server.disable("ada")
    with forbidden(server, '(targetattr="*")', "compare"):
        people = listed(LDAP(server.settings()))

    assert {name: person.active for name, person in people.items()} == {"ada": False, "grace": True}


@contextmanager
def hidden(server: DS389, uid: str) -> Iterator[None]:
    """From the account that reads."""
    with forbidden(server, f'(target="ldap:///uid={uid},{server.unit("staff")}")(targetattr="*")', "all"):
        yield


@contextmanager
def forbidden(server: DS389, what: str, right: str) -> Iterator[None]:
    """To the account that reads."""
    deny = f'{what}(version 3.0; acl "forbidden"; deny ({right}) userdn="ldap:///{server.sync_dn}";)'
    server.as_admin().modify(server.base, {"aci": [(ldap3.MODIFY_ADD, [deny])]})
    try:
        yield
    finally:
        server.as_admin().modify(server.base, {"aci": [(ldap3.MODIFY_DELETE, [deny])]})
