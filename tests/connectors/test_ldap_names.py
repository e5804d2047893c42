"""Which distinguished names are one, which is not the same to every server: nobody gets what is another's, and nobody is passed over."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as some

from connectors.contract import Secret
from connectors.source_contract import SourceSettings
from connectors.sources.ldap import LDAP
from connectors.sources.ldap_book import Book
from connectors.sources.ldap_dialects import OPENLDAP
from connectors.sources.ldap_filters import normal, rough
from connectors.sources.ldap_names import Names
from connectors.sources.ldap_people import People
from connectors.sources.ldap_settings import read_settings
from connectors.sources.ldap_wire import Entry, Wire
from tests.connectors.replica import Replica
from tests.servers.directories import DirectoryServer, Hired, in_a_dn
from tests.servers.openldap import OpenLDAP
from tests.servers.samba import Samba

ADA, BOB = Hired(uid="ada", given="Ada", family="Lovelace"), Hired(uid="bob", given="Bob", family="Berner")
ODD_NAMES = ["#All Staff", "two  spaces", "½ time", "\u212alvin", "ＡＢＣ", "Ⅳ", "™ tm", "İst", "Straße", "Zoe\u0308"]
# Of these, Samba has none in an account's name.
ODDER_NAMES = ["R&D <core>", 'say "hi"', "a, b", "a+b", "a=b", "back\\slash", "x; y"]
TWO_TO_SOME = [
    ("Tanaka Taro", "Tanaka\u3000Taro"),
    ("Zo\u00eb", "Zoe\u0308"),
    ("ABC", "ＡＢＣ"),
    ("Ist", "İst"),
]


@pytest.mark.parametrize(("one", "other"), [*TWO_TO_SOME, ("Kelvin", "\u212aelvin")])
def test_names_that_some_servers_tell_apart_are_only_roughly_one(one: str, other: str) -> None:
    assert normal(f"cn={one},dc=x") != normal(f"cn={other},dc=x")
    assert rough(f"cn={one},dc=x") == rough(f"cn={other},dc=x")


@given(some.text(alphabet=some.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_normal_name_is_its_own_normal_form_and_roughly_what_it_was(text: str) -> None:
    dn = f"cn={''.join(f'{chr(92)}{byte:02x}' for byte in text.encode())},dc=x"

    assert normal(normal(dn)) == normal(dn)
    assert rough(normal(dn)) == rough(dn) == rough(f"cn={in_a_dn(unicodedata.normalize('NFKC', text))},dc=x")


def test_a_name_that_two_entries_have_is_nobodys_until_the_server_was_asked() -> None:
    names = Names({"cn=ada,dc=x": "ada", "cn=Bob,dc=x": "bob"})

    names.write("CN=Ada,dc=x", "another")

    assert names.get("cn=ada,dc=x") is None
    assert names.may_hold("cn=ada,dc=x")
    assert (names.get("cn=bob,dc=x"), names.may_hold("cn=eve,dc=x")) == ("bob", False)


class Telling(Wire):
    """A server that finds entries by what is written here, and by nothing else."""

    def __init__(self, entries: dict[str, Entry]) -> None:
        self.name, self._entries = "corp", entries

    def named(self, dn: str, attributes: Iterable[str], filter: str) -> Entry | None:
        return self._entries.get(dn)


def test_a_whole_book_asks_the_server_where_names_are_shared_or_only_roughly_known() -> None:
    ada, bob, cyd = (Entry(f"cn={name},dc=x", {"entryuuid": [key]}) for name, key in (("Ada", b"1"), ("ADA", b"2"), ("ＡＢＣ", b"3")))
    given_ = {"base": "dc=x", "bind_dn": "cn=sync", "kind": "openldap"}
    people = People(read_settings(SourceSettings(name="corp", url="ldaps://ldap.example", secret=Secret("x"), options=given_)), OPENLDAP)
    book, wire = Book(people, "entryuuid", primary_groups=False), Telling({ada.dn: ada, bob.dn: bob, "cn=abc,dc=x": cyd})
    for entry in (ada, bob, cyd):
        book.write(entry, people.key(entry))
    book.close()

    found = [book.find(wire, dn) for dn in (ada.dn, bob.dn, "cn=abc,dc=x", "cn=ābc,dc=x", "cn=eve,dc=x")]

    assert found == ["1", "2", "3", None, None]


@pytest.mark.ldap
@pytest.mark.slow
def test_groups_are_in_groups_whatever_they_are_called(ldap_server: DirectoryServer) -> None:
    ldap_server.hire(ADA, BOB)
    names = ODD_NAMES if ldap_server.kind == "ad" else [*ODD_NAMES, *ODDER_NAMES]
    for number, name in enumerate(names):
        ldap_server.add_group(name, "ada")
        ldap_server.add_group(f"outer {number}", groups=[name])
    follower = Replica(LDAP(ldap_server.settings())).list_all()
    assert follower.holds() == ldap_server.holds()

    for name in names:
        ldap_server.join(name, "bob")
    follower.follow()

    assert follower.full_listings == 1
    assert follower.holds() == ldap_server.holds()


@pytest.mark.ldap
@pytest.mark.slow
def test_a_group_that_is_deleted_is_in_none_whatever_it_was_called(openldap: OpenLDAP) -> None:
    """It is cut out of those that held it without a word; which these are is remembered."""
    openldap.empty()
    openldap.hire(ADA, BOB)
    openldap.add_group("#All <Staff>", "ada")
    openldap.add_group("outer", "bob", groups=["#All <Staff>"])
    follower = Replica(LDAP(openldap.settings())).list_all()

    openldap.delete_group("#All <Staff>")
    follower.follow()

    assert follower.full_listings == 1
    assert follower.holds().groups == {"outer": frozenset({"bob"})}


# Two people to one server


@pytest.fixture(params=TWO_TO_SOME, ids=lambda names: ascii(names[1]))
def namesakes(samba: Samba, request: pytest.FixtureRequest) -> Iterator[Samba]:
    """Two people whose names Samba tells apart, each in a group of their own."""
    samba.empty()
    samba.hire(ADA, BOB, Hired(uid="cyd", given="Cyd", family="Charisse", manager="bob"))
    for uid, name in zip(("ada", "bob"), request.param, strict=True):
        admin = samba.as_admin()
        assert admin.modify_dn(samba.dn_of(uid), f"cn={name}"), admin.result
        samba.add_group(f"only {uid}", uid)
    yield samba
    samba.empty()


@pytest.mark.ldap
@pytest.mark.slow
def test_people_whom_the_server_tells_apart_stay_two(namesakes: Samba) -> None:
    source = LDAP(namesakes.settings())
    follower = Replica(source).list_all()
    bob = next(person for person in follower.people.values() if person.user_name.startswith("bob"))

    assert follower.holds() == namesakes.holds()
    assert [person.manager for person in follower.people.values() if person.user_name.startswith("cyd")] == [bob.key]

    namesakes.change("cyd", title="Dancer")
    namesakes.rename_group("only bob", "bob alone")
    follower.follow()

    assert follower.full_listings == 1
    assert follower.holds() == namesakes.holds()
    assert [person.manager for person in follower.people.values() if person.user_name.startswith("cyd")] == [bob.key]


# Two spellings of one, to one server


@pytest.mark.ldap
@pytest.mark.slow
@pytest.mark.parametrize(("name", "spelled"), [("ＡＢＣ", "abc"), ("Zo\u00eb", "ZOE\u0308"), ("Åsa", "åSA")])
def test_whoever_is_named_in_another_spelling_is_found_where_the_server_finds_them(name: str, spelled: str, openldap: OpenLDAP) -> None:
    openldap.empty()
    openldap.hire(ADA, BOB)
    openldap.rename("ada", name)
    admin = openldap.as_admin()
    there = f"uid={spelled},{openldap.unit('staff')}"
    if not admin.search(there, "(objectClass=*)", "BASE"):
        pytest.fail(f"to this server they are two: {admin.result}")
    openldap.add_group("crew", "bob")
    follower = Replica(LDAP(openldap.settings())).list_all()

    assert admin.modify(openldap.group_dn("crew"), {"member": [("MODIFY_ADD", [there])]}), admin.result
    openldap.change("bob", manager=there)
    follower.follow()
    listed = Replica(LDAP(openldap.settings())).list_all()

    for replica in (follower, listed):
        keys = {person.user_name: person.key for person in replica.people.values()}
        assert replica.holds().groups["crew"] == {name, "bob"}
        assert replica.people[keys["bob"]].manager == keys[name]
