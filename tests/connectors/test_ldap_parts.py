"""Parts of the LDAP source by themselves: names and filters, what servers say of changes, who may come in, settings."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as some

from connectors.contract import Misconfigured, Secret, Unreachable
from connectors.source_contract import CursorLost, Incomplete, SourceKey, SourceSettings
from connectors.sources import ldap_syncrepl, ldap_waiting
from connectors.sources.ldap import LDAP
from connectors.sources.ldap_ber import BOOLEAN, ENUMERATED, OCTETS, SEQUENCE, SET, integer, items, tlv
from connectors.sources.ldap_book import Book
from connectors.sources.ldap_dialects import AD, DS389, OPENLDAP, Unreadable
from connectors.sources.ldap_errors import meaning_of
from connectors.sources.ldap_filters import below, escaped, normal
from connectors.sources.ldap_groups import Groups
from connectors.sources.ldap_people import People
from connectors.sources.ldap_settings import read_settings
from connectors.sources.ldap_waiting import Waiting
from connectors.sources.ldap_wire import Answer, Control, Entry, Wire

NOW = datetime(2026, 11, 26, tzinfo=UTC)
UUIDS = [bytes([number]) * 16 for number in range(1, 5)]


def key(number: int) -> SourceKey:
    digits = f"{number:02x}"
    return SourceKey(f"{digits * 4}-{digits * 2}-{digits * 2}-{digits * 2}-{digits * 6}")


def settings(**options: str) -> SourceSettings:
    given_ = {"base": "dc=example,dc=com", "bind_dn": "cn=sync", "kind": "openldap", **options}
    return SourceSettings(name="corp", url=given_.pop("url", "ldaps://ldap.example"), secret=Secret("x"), options=given_)


# Entries that wait


@pytest.mark.parametrize("in_memory", [1, 10**6])
def test_whoever_waits_comes_back_as_they_were_and_in_their_order(in_memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ldap_waiting, "IN_MEMORY", in_memory)
    entries = [
        Entry("uid=zoë,dc=x", {"cn": [b"Zo\xc3\xab", b"\xff\0"], "mail": []}),
        Entry("", {}),
        *(Entry(f"uid=p{number},dc=x", {"sn": [b"x" * number]}) for number in range(300)),
    ]

    with Waiting() as waiting:
        for entry in entries:
            waiting.add(entry)

        assert list(waiting.entries()) == entries


# Names


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("uid=ada,ou=People,dc=example,dc=com", "UID=Ada , OU=people,  DC=Example,dc=COM"),
        ("cn=b\\, c,dc=x", "cn=b\\2C c,dc=x"),
        ("cn=b\\, c,dc=x", 'CN="b, c",dc=x'),
        ("cn=Zo\\C3\\AB,dc=x", "cn=Zoë,dc=x"),
        ("cn=ZOË,dc=x", "cn=Zoë,dc=x"),
        ("cn=a+uid=b,dc=x", "uid=B + cn=A,dc=x"),
        ("cn=two  spaces,dc=x", "cn=two spaces,dc=x"),
        ("cn=\\23hash,dc=x", "cn=\\#hash,dc=x"),
    ],
)
def test_one_name_has_one_normal_form(one: str, other: str) -> None:
    assert normal(one) == normal(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cn=a\\,ou=b,dc=x", "cn=a,ou=b,dc=x"),
        ("cn=straße,dc=x", "cn=strasse,dc=x"),
        ("cn=a\\+b,dc=x", "cn=a+b=,dc=x"),
        ("cn=ada,dc=x", "cn=ada\\00,dc=x"),
        ("cn=ada,dc=x", "uid=ada,dc=x"),
        ("cn=a = b,dc=x", "cn=a=b,dc=x"),
    ],
)
def test_different_names_have_different_normal_forms(one: str, other: str) -> None:
    assert normal(one) != normal(other)


def test_a_book_finds_a_name_however_it_is_spelled() -> None:
    book = Book(People(read_settings(settings()), OPENLDAP), "entryUUID", primary_groups=False)
    book.write(Entry("uid=B+cn=b\\, c,ou=people,dc=example,dc=com", {}), key(1))

    assert book.known('UID=b + CN="B, C", OU=People,dc=example,dc=com') == key(1)
    assert book.known("cn=b,ou=people,dc=example,dc=com") is None


@given(some.text())
def test_any_text_has_a_normal_form_that_stays(text: str) -> None:
    assert isinstance(normal(text), str)
    assert normal(f"cn={escape_for_dn(text)},dc=x").endswith(",dc=x") or not text.strip()


def escape_for_dn(text: str) -> str:
    return "".join(f"\\{byte:02x}" for byte in text.encode("utf-8", errors="replace"))


def test_below_is_a_matter_of_whole_names() -> None:
    assert below("uid=ada,OU=people,dc=example", "ou=people, dc=example")
    assert below("ou=people,dc=example", "ou=people,dc=example")
    assert not below("uid=ada,ou=otherpeople,dc=example", "people,dc=example")
    assert not below("uid=ada,dc=other", "dc=example")


@given(some.text())
def test_nothing_special_is_left_in_an_escaped_value(text: str) -> None:
    assert not set("*()\0") & set(escaped(text))
    assert escaped(text).replace("\\5c", "").count("\\") == sum(text.count(sign) for sign in "*()") + sum(
        1 for sign in text if ord(sign) < 0x20 or ord(sign) == 0x7F
    )


# Changes by syncrepl (RFC 4533)


class Told(Wire):
    """A server that gives one answer."""

    def __init__(self, answer: Answer) -> None:
        self.name = "corp"
        self._answer = answer

    def search(self, base: str, filter: str, attributes: Iterable[str], *, controls: Iterable[Control] = (), limit: int = 0) -> Answer:
        return self._answer


def told(*entries: Entry, messages: list[bytes] | None = None, done: bytes = b"") -> Told:
    return Told(Answer(entries=list(entries), told=messages or [], controls={ldap_syncrepl.DONE: done} if done else {}))


def entry(number: int, state: int) -> Entry:
    control = tlv(SEQUENCE, tlv(ENUMERATED, bytes([state])) + tlv(OCTETS, UUIDS[number - 1]))
    return Entry(f"uid={number}", {"uid": [b"x"]}, {ldap_syncrepl.STATE: control})


def id_set(*numbers: int, deletes: bool) -> bytes:
    ids = tlv(SET, b"".join(tlv(OCTETS, UUIDS[number - 1]) for number in numbers))
    return tlv(0xA3, (tlv(BOOLEAN, b"\xff") if deletes else b"") + ids)


def done(cookie: bytes = b"new", *, deletes: bool = False) -> bytes:
    return tlv(SEQUENCE, tlv(OCTETS, cookie) + (tlv(BOOLEAN, b"\xff") if deletes else b""))


def refreshed(server: Told) -> ldap_syncrepl.Refreshed:
    return ldap_syncrepl.refresh(server, "dc=x", "(uid=*)", ["uid"], cookie=b"old")


def test_a_delete_phase_names_who_changed_and_who_is_gone() -> None:
    answer = refreshed(told(entry(1, 1), entry(2, 3), messages=[id_set(3, 4, deletes=True)], done=done(deletes=True)))

    assert [changed.dn for changed in answer.changed] == ["uid=1"]
    assert answer.gone == [key(2), key(3), key(4)]
    assert answer.cookie == b"new"


def test_nothing_new_leaves_everything_as_it_was() -> None:
    answer = refreshed(told())

    assert (answer.changed, answer.gone, answer.cookie) == ([], [], b"old")


@pytest.mark.parametrize(
    "server",
    [
        told(messages=[id_set(1, 2, deletes=False)], done=done()),
        told(entry(1, 0), done=done()),
        told(messages=[tlv(0xA2, b"")], done=done(deletes=True)),
        # By the letter everybody is gone: nobody was named as present. 389-ds answers so where little changed.
        told(done=done()),
        told(entry(1, 1), entry(2, 3), done=done()),
    ],
    ids=["set", "state", "phase", "nobody", "389-ds"],
)
def test_a_list_of_who_is_there_is_never_taken_for_one_of_who_is_gone(server: Told) -> None:
    with pytest.raises(CursorLost):
        refreshed(server)


@pytest.mark.parametrize(
    "server",
    [
        Told(Answer(entries=[Entry("uid=1", {})], told=[], controls={})),
        told(messages=[b""]),
        told(messages=[b"\xa3\x7f\x01"]),
        told(messages=[tlv(0xA3, tlv(BOOLEAN, b"\xff") + tlv(SET, tlv(OCTETS, b"short")))]),
        told(done=b"\x30\x05"),
        Told(Answer(entries=[Entry("uid=1", {}, {ldap_syncrepl.STATE: b"\x30\x00"})], told=[], controls={})),
    ],
)
def test_a_garbled_answer_is_none(server: Told) -> None:
    with pytest.raises(Unreachable):
        refreshed(server)


@given(some.integers(min_value=-(2**31), max_value=2**31), some.binary(max_size=70_000))
def test_what_was_written_in_ber_is_read_again(number: int, content: bytes) -> None:
    ((_, value), (_, octets)) = items(integer(number) + tlv(OCTETS, content))

    assert (int.from_bytes(value, "big", signed=True), octets) == (number, content)


def test_refresh_required_is_a_lost_cursor() -> None:
    assert isinstance(meaning_of(4096, "x"), CursorLost)


# Members by the piece


class InPieces(Wire):
    """A server that hands out members as `pieces` say, and for ever where they do not end."""

    def __init__(self, pieces: dict[str, tuple[str, list[bytes]]]) -> None:
        self.name, self._pieces = "corp", pieces

    def read(self, dn: str, attributes: Iterable[str], filter: str = "(objectClass=*)") -> Entry | None:
        (wanted,) = attributes
        name, values = self._pieces.get(wanted, ("", []))
        return Entry(dn, {name: values} if name else {})


def members(wire: Wire, first: str) -> list[bytes]:
    people = People(read_settings(settings(kind="ad")), AD)
    groups = Groups(read_settings(settings(kind="ad")), AD, wire, Book(people, "objectGUID", primary_groups=True))
    return list(groups._values(Entry("cn=g", {first: [b"a", b"b"], "member": []}), "member"))


def test_members_come_piece_by_piece_until_the_last() -> None:
    wire = InPieces({"member;range=2-*": ("member;range=2-3", [b"c", b"d"]), "member;range=4-*": ("member;range=4-*", [b"e"])})

    assert members(wire, "member;range=0-1") == [b"a", b"b", b"c", b"d", b"e"]


@pytest.mark.parametrize(
    "next_piece",
    [("member;range=0-1", [b"a", b"b"]), ("", []), ("member;range=3-*", [b"d"]), ("member", [])],
    ids=["the same again", "nothing", "a gap", "no range"],
)
def test_members_that_stop_coming_make_the_listing_incomplete(next_piece: tuple[str, list[bytes]]) -> None:
    with pytest.raises(Incomplete):
        members(InPieces({"member;range=2-*": next_piece}), "member;range=0-1")


# Who may come in


def at(**values: str) -> Entry:
    return Entry("uid=x", {name: [value.encode()] for name, value in values.items()})


@pytest.mark.parametrize(
    ("control", "active"),
    [("512", True), ("514", False), ("66048", True), ("66050", False), ("544", True), ("8389120", True), ("2", False)],
)
def test_only_the_second_bit_of_user_account_control_is_off(control: str, active: bool) -> None:
    # 16 in lockoutTime's place and 0 in pwdLastSet's: too many wrong passwords, and must be changed first.
    entry_ = at(useraccountcontrol=control, accountexpires="0", lockouttime="134091234567890123", pwdlastset="0")

    assert AD.standing(entry_, NOW).active is active


@pytest.mark.parametrize("values", [{}, {"useraccountcontrol": "x"}, {"useraccountcontrol": ""}, {"useraccountcontrol": "512"}])
def test_without_user_account_control_and_account_expires_nobody_is_on_or_off(values: dict[str, str]) -> None:
    with pytest.raises(Unreadable):
        AD.standing(at(**values), NOW)


@pytest.mark.parametrize("ticks", ["0", "9223372036854775807", "9223372036854775806", "-1", "x", "3155378975999999999"])
def test_no_number_of_ticks_is_too_large_for_an_end(ticks: str) -> None:
    assert AD.standing(at(useraccountcontrol="512", accountexpires=ticks), NOW).active


@pytest.mark.parametrize(
    ("more", "state", "ended"),
    [
        ({}, "accountExpires has passed", True),
        ({"employeetype": "staff"}, "accountExpires has passed", True),
        ({"useraccountcontrol": "514"}, "disabled", False),
        ({"employeetype": "leaver"}, "employeetype=leaver", False),
    ],
)
def test_whoever_is_off_for_their_end_alone_is_told_from_others(more: dict[str, str], state: str, ended: bool) -> None:
    chosen = {"active_attribute": "employeeType", "active_values": "staff"} if "employeetype" in more else {}
    expired = at(**{"objectguid": "0123456789abcdef", "useraccountcontrol": "512", "accountexpires": "133000000000000000", **more})

    person = People(read_settings(settings(kind="ad", **chosen)), AD).person(expired, manager=None, at=NOW)

    assert (person.active, person.state, person.ended) == (False, state, ended)


def test_a_lock_of_the_password_policy_passes_and_one_for_good_does_not() -> None:
    assert OPENLDAP.standing(at(pwdaccountlockedtime="20261125120000Z"), NOW).active
    assert not OPENLDAP.standing(at(pwdaccountlockedtime="000001010000Z"), NOW).active


@pytest.mark.parametrize(("said", "active"), [("TRUE", False), ("true", False), ("false", True), ("", True)])
def test_ns_account_lock(said: str, active: bool) -> None:
    assert DS389.standing(at(nsaccountlock=said), NOW).active is active


@pytest.mark.parametrize(("shown", "hidden"), [({}, "userAccountControl"), ({"useraccountcontrol": [b"512"]}, "accountExpires")])
def test_what_decides_over_access_but_cannot_be_read_ends_the_listing(shown: dict[str, list[bytes]], hidden: str) -> None:
    people = People(read_settings(settings(kind="ad")), AD)

    with pytest.raises(Incomplete, match=f"{hidden} of cn=x cannot be read: give the bind account the right to"):
        people.person(Entry("cn=x", {"objectguid": [bytes(16)], **shown}), manager=None, at=NOW)


# Settings


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"url": "ldap://ldap.example"}, "in the clear"),
        ({"url": "http://ldap.example"}, "ldaps://HOST"),
        ({"url": "ldaps://"}, "ldaps://HOST"),
        ({"url": "ldaps://u:p@ldap.example"}, "ldaps://HOST"),
        ({"url": "ldaps://ldap.example:99999"}, "not an address"),
        ({"url": "ldaps://ldap.example", "start_tls": "true"}, "encrypted already"),
        ({"base": " "}, "base is needed"),
        ({"kind": "novell"}, "kind is one of"),
        ({"page_size": "0"}, "page_size"),
        ({"page_size": "x"}, "page_size"),
        ({"timeout": "-1"}, "timeout"),
        ({"plain": "yes"}, "true or false"),
        ({"people_filter": "uid=ada"}, "in parentheses"),
        ({"active_values": "a"}, "active_attribute"),
        ({"bsae": "x"}, "no option bsae"),
    ],
)
def test_settings_that_cannot_be_right_are_named(options: dict[str, str], names: str) -> None:
    with pytest.raises(Misconfigured, match=names):
        LDAP(settings(**options))


def test_a_source_is_opened_without_speaking_to_anybody() -> None:
    assert LDAP(settings(url="ldaps://nowhere.invalid")).name == "corp"
