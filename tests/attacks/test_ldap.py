"""Against the LDAP source: what people may write into a directory, and what may stand in a directory's place (L01 to L12)."""

from __future__ import annotations

import io
import logging
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from connectors.contract import ConnectorError, Misconfigured, Secret, Unauthorised, Unreachable
from connectors.source_contract import Cursor, CursorLost, Gone, Incomplete, Kind, Memberships, SourceKey, SourcePerson, SourceSettings
from connectors.sources.ldap import LDAP
from connectors.sources.ldap_library import ldap3
from connectors.sources.ldap_wire import Wire
from tests.connectors.replica import Replica
from tests.servers.authority import certified
from tests.servers.directories import SYNC_PASSWORD, DirectoryServer, Hired
from tests.servers.openldap import OpenLDAP
from tests.servers.samba import Samba

pytestmark = [pytest.mark.ldap]

ADA, GRACE = Hired(uid="ada", given="Ada", family="Lovelace"), Hired(uid="grace", given="Grace", family="Hopper")
INJECTIONS = ["*", "*)(uid=*", "ada)(|(uid=*", "*))(|(uid=*", "\\2a", "\0", "a\0*", ")(", "(&)", "é*", "\\"]


@pytest.fixture
def server(openldap: OpenLDAP) -> Iterator[OpenLDAP]:
    openldap.empty()
    openldap.hire(ADA, GRACE)
    yield openldap
    openldap.empty()


def listed(source: LDAP) -> dict[str, SourcePerson]:
    return {person.user_name: person for person in source.list_people()}


def settings_at(port: int, *, password: str = SYNC_PASSWORD, **options: str) -> SourceSettings:
    """Of a source that speaks unencrypted to whoever listens on this port."""
    given = {"kind": "openldap", "base": OpenLDAP.base, "bind_dn": OpenLDAP.sync_dn, "plain": "true", **options}
    chosen = {name: value for name, value in given.items() if value}
    return SourceSettings(name="corp", url=f"ldap://127.0.0.1:{port}", secret=Secret(password), options=chosen)


class Impostor:
    """Listens where a directory is expected, keeps what it is sent, and has one answer to everything."""

    def __init__(self, answer: Callable[[bytes], bytes] | None = None) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.callers = 0
        self.heard = b""

    def __enter__(self) -> Impostor:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                self.callers += 1
                with caller:
                    caller.settimeout(5)
                    while content := caller.recv(65536):
                        self.heard += content
                        if self._answer is None:
                            break
                        caller.sendall(self._answer(content))


def escaped(name: str) -> str:
    """RFC 4514 §2.4, the long way."""
    return "".join(sign if sign.isalnum() and sign.isascii() else "".join(f"\\{byte:02x}" for byte in sign.encode()) for sign in name)


# L01: metacharacters


@pytest.mark.parametrize("key", INJECTIONS)
def test_l01_a_key_with_metacharacters_finds_nobody(server: OpenLDAP, key: str) -> None:
    assert LDAP(server.settings()).find_person(SourceKey(key)) is None


@pytest.mark.parametrize("key", INJECTIONS)
def test_l01_a_key_that_is_no_guid_finds_nobody(samba: Samba, key: str) -> None:
    samba.empty()
    samba.hire(ADA)

    assert LDAP(samba.settings()).find_person(SourceKey(key)) is None
    samba.empty()


def test_l01_names_with_metacharacters_stay_who_they_are(ldap_server: DirectoryServer) -> None:
    """RFC 4514 and 4515: commas, plus signs, quotes, stars, brackets, backslashes, spaces in front and behind."""
    strange = ["a*)(cn=*", "b, c", 'd "e" f', "g+h=i", "j\\k", "<l>;m", "#n", "Zoé", "o  p"]
    given = {"openldap": "cn", "389ds": "cn", "ad": "CN"}[ldap_server.kind]
    classes = ["user"] if ldap_server.kind == "ad" else ["inetOrgPerson"]
    admin, unit, dns = ldap_server.as_admin(), ldap_server.unit("staff"), {}
    for number, name in enumerate(strange):
        dns[name] = f"{given}={escaped(name)},{unit}"
        own = {"sAMAccountName": f"s{number}", "userAccountControl": "544"} if ldap_server.kind == "ad" else {"uid": f"s{number}"}
        assert admin.add(dns[name], classes, {"sn": "Strange", **own, **({"manager": dns[strange[0]]} if number else {})}), admin.result
    ldap_server.hire(ADA)
    ldap_server.add_group("strange", "ada")
    admin.modify(ldap_server.group_dn("strange"), {"member": [(ldap3.MODIFY_ADD, list(dns.values()))]})
    source = LDAP(ldap_server.settings(user_name="uid,sAMAccountName"))
    follower = Replica(source).list_all()

    people = listed(source)
    assert set(people) == {"ada", *(f"s{number}" for number in range(len(strange)))}
    assert {person.manager for name, person in people.items() if name not in ("ada", "s0")} == {people["s0"].key}
    assert follower.holds().groups["strange"] == set(people)

    for number in range(len(strange)):
        # By the changes too, where each is asked for by name.
        admin.modify(dns[strange[number]], {"title": [(ldap3.MODIFY_REPLACE, ["Strange"])]})
    assert follower.cursor is not None
    told = [change for change in source.changes_since(follower.cursor) if isinstance(change, Memberships)]
    assert {key for change in told for key in change.added} >= {person.key for name, person in people.items() if name != "ada"}

    ldap_server.part("strange", "ada")
    follower.follow()
    assert follower.full_listings == 1
    assert follower.holds().groups["strange"] == set(people) - {"ada"}


def test_l01_a_nul_in_a_value_makes_nobody_somebody_else(server: OpenLDAP) -> None:
    server.change("grace", displayName=[b"Ada\0Lovelace"])

    people = listed(LDAP(server.settings(user_name="displayName")))

    assert set(people) == {"Ada Lovelace", "Ada�Lovelace"}


# L02: binds that prove nothing


@pytest.mark.parametrize("password", ["", " ", "\t\n"])
def test_l02_an_empty_password_is_never_sent(password: str) -> None:
    """RFC 4513 §5.1.2: a server takes it for an anonymous bind, and says success."""
    with Impostor() as impostor:
        source = LDAP(settings_at(impostor.port, password=password))

        with pytest.raises(Unauthorised, match="nothing was sent"):
            list(source.list_people())

    assert only_goodbye(impostor.heard)


def test_l02_without_a_name_nobody_binds() -> None:
    with Impostor() as impostor, pytest.raises(Unauthorised, match="nothing was sent"):
        list(LDAP(settings_at(impostor.port, bind_dn="")).list_people())

    assert only_goodbye(impostor.heard)


# L03: referrals


def test_l03_nobody_follows_a_referral_with_our_password(server: OpenLDAP) -> None:
    dn = f"ou=elsewhere,{server.base}"
    with Impostor() as impostor:
        reference = f"ldap://127.0.0.1:{impostor.port}/ou=elsewhere,{server.base}"
        control = [("2.16.840.1.113730.3.4.2", True, None)]  # manageDsaIT
        admin = server.as_admin()
        assert admin.add(dn, ["referral", "extensibleObject"], {"ou": "elsewhere", "ref": reference}, controls=control), admin.result
        try:
            assert set(listed(LDAP(server.settings()))) == {"ada", "grace"}
            with pytest.raises(Misconfigured, match="referral"):
                list(LDAP(server.settings(people_base=dn)).list_people())
        finally:
            admin.delete(dn, controls=control)

    assert impostor.callers == 0


# L04: who is on the other side


def test_l04_without_starttls_nothing_is_sent(tmp_path: Path) -> None:
    with Impostor(no_starttls) as impostor:
        source = LDAP(settings_at(impostor.port, start_tls="true", plain=""))

        with pytest.raises(Misconfigured, match="StartTLS"):
            list(source.list_people())

    assert SYNC_PASSWORD.encode() not in impostor.heard


def test_l04_starttls_is_verified_too(server: OpenLDAP, tmp_path: Path) -> None:
    stranger = certified(tmp_path, "localhost").authority

    assert len(listed(LDAP(server.settings(url=server.plain_url, start_tls="true")))) == 2
    with pytest.raises(Misconfigured, match="certificate"):
        list(LDAP(server.settings(url=server.plain_url, start_tls="true", ca_file=str(stranger))).list_people())
    with pytest.raises(Misconfigured, match="certificate"):
        list(LDAP(server.settings(url=server.plain_url, start_tls="true", ca_file="")).list_people())


def test_l04_a_certificate_of_another_name_or_authority_is_refused(server: OpenLDAP, tmp_path: Path) -> None:
    stranger = certified(tmp_path, "localhost").authority

    # The same server by a name that its certificate does not have.
    for wrong in ({"url": f"ldaps://127.1:{server.tls_port}"}, {"ca_file": str(stranger)}, {"ca_file": ""}):
        with pytest.raises(Misconfigured, match="certificate is not accepted"):
            list(LDAP(server.settings(**wrong)).list_people())
    with pytest.raises(Misconfigured, match=r"ca_file .*nowhere\.pem cannot be read"):
        list(LDAP(server.settings(ca_file=str(tmp_path / "nowhere.pem"))).list_people())


def test_l04_an_unencrypted_connection_has_to_be_asked_for(server: OpenLDAP) -> None:
    with pytest.raises(Misconfigured, match="in the clear"):
        LDAP(server.settings(url=server.plain_url))

    assert len(listed(LDAP(server.settings(url=server.plain_url, plain="true")))) == 2


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x30\x84\xff\xff\xff\xff", b"\x30\x03\x02\x01\x01", b"\x30\x00", b"\0" * 40, b"\x30\x80\x02"],
)
def test_l04_what_is_no_ldap_server_is_unreachable(answer: bytes) -> None:
    with Impostor(lambda _: answer) as impostor:
        source = LDAP(settings_at(impostor.port, timeout="1"))

        with pytest.raises((Unreachable, Misconfigured)):
            list(source.list_people())
        assert not source.check().good


# L05: with a server's own answers, in tests/connectors/test_ldap_bad_days.py; here what they must never turn into


def test_l05_hiding_people_is_no_change(server: OpenLDAP) -> None:
    """A listing cannot know what it is not shown: who is missing in it is absent, and the brake decides. The change log does not
    say that anybody went."""
    follower = Replica(LDAP(server.settings())).list_all()
    with server.hidden("ada"):
        assert follower.cursor is not None
        assert list(follower.source.changes_since(follower.cursor)) == []


def test_l05_openldap_itself_says_gone_of_whoever_changes_while_hidden(server: OpenLDAP) -> None:
    """No question tells the two apart, since a search does not show them either. So what is told as gone has to go through the same
    brake as what is absent; and they are told again once they are shown and change."""
    source = LDAP(server.settings())
    key, cursor = listed(source)["ada"].key, source.cursor_now()
    with server.hidden("ada"):
        server.change("ada", title="Director")

        assert Gone(kind=Kind.PERSON, key=key) in list(source.changes_since(cursor))
        assert source.find_person(key) is None

    assert [told.key for told in source.changes_since(cursor) if isinstance(told, SourcePerson)] == [key]


# L08: names


def test_l08_case_and_spaces_do_not_make_another_person(server: OpenLDAP) -> None:
    server.add_group("choir", "grace")
    follower = Replica(LDAP(server.settings())).list_all()
    server.as_admin().modify(server.group_dn("choir"), {"member": [(ldap3.MODIFY_ADD, ["UID=ADA , OU=Staff,  DC=Example,DC=COM"])]})
    follower.follow()
    before = listed(follower.source)["ada"].key

    server.rename("ada", "ADA")
    follower.follow()

    assert listed(follower.source)["ADA"].key == before
    assert follower.holds().groups["choir"] == {"grace", "ADA"}


# L10: places in a list


def test_l10_a_page_cookie_that_is_not_ours_ends_the_listing_with_an_error(server: OpenLDAP) -> None:
    source = LDAP(server.settings())
    with Wire(source._settings.place) as wire:
        result, _ = wire._ask(server.base, "(objectClass=*)", ["1.1"], page=(5, b"\x99" * 8))
        with pytest.raises(ConnectorError):
            wire._require_success(result, "paging")


@pytest.mark.parametrize("cookie", ["", "AAAA", "TVNEUwMAAAA=", "%%%"])
def test_l10_a_dirsync_cookie_that_is_not_ours_asks_for_a_full_listing(samba: Samba, cookie: str) -> None:
    source = LDAP(samba.settings())
    kind, settings, _ = source.cursor_now().split("|")

    with pytest.raises(CursorLost):
        list(source.changes_since(Cursor(f"{kind}|{settings}|dirsync:-2147483648:{cookie}")))


# L12: the password


def test_l12_the_password_is_in_no_log_no_error_and_no_description(server: OpenLDAP) -> None:
    told = io.StringIO()
    handler = logging.StreamHandler(told)
    logging.getLogger().addHandler(handler)
    before = logging.getLogger().level
    logging.getLogger().setLevel(logging.DEBUG)
    source = LDAP(server.settings())
    try:
        list(source.list_people())
        told.write(str(source.check()) + repr(vars(source)) + repr(source._settings) + source.cursor_now())
        for broken in (
            server.settings(url="ldaps://localhost:1"),
            server.settings(base="ou=nowhere,dc=example,dc=com"),
            server.settings(bind_dn="cn=nobody,dc=example,dc=com"),
            server.settings(people_filter="(uid=("),
        ):
            try:
                list(LDAP(broken).list_people())
            except (ConnectorError, Incomplete):
                told.write(traceback.format_exc())
    finally:
        logging.getLogger().setLevel(before)
        logging.getLogger().removeHandler(handler)

    assert "Traceback" in told.getvalue()
    assert SYNC_PASSWORD not in told.getvalue()


def only_goodbye(heard: bytes) -> bool:
    """Nothing, or an UnbindRequest (RFC 4511 §4.3)."""
    return not heard or (len(heard) < 10 and heard.endswith(b"\x42\x00"))


def no_starttls(request: bytes) -> bytes:
    """An ExtendedResponse to this message: protocolError (RFC 4511 §4.12)."""
    content = request[2 : 4 + request[3]] + b"\x78\x07\x0a\x01\x02\x04\x00\x04\x00"
    return bytes([0x30, len(content)]) + content
