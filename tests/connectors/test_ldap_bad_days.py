"""Bad days of an LDAP source, on a real OpenLDAP: what breaks, what is lost, what an administrator gets wrong (L05). A listing that
cannot be finished says so, and is never short."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connectors.contract import ConnectorError, Misconfigured, Unauthorised, Unreachable
from connectors.source_contract import CursorLost, Incomplete, SourceKey, SourcePerson
from connectors.sources.ldap import LDAP
from connectors.sources.ldap_dialects import DIALECTS
from tests.servers.authority import certified
from tests.servers.directories import Hired
from tests.servers.openldap import OpenLDAP
from tests.servers.severed import Severed

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


def test_a_server_that_is_down_is_unreachable_and_everybody_is_back_with_it(peopled: OpenLDAP) -> None:
    source = LDAP(peopled.settings())

    with peopled.down(), pytest.raises(Unreachable) as error:
        list(source.list_people())

    assert not error.value.sent
    assert len(listed(source)) == len(PEOPLE)


@pytest.mark.parametrize("silent", [False, True], ids=["broken off", "fallen silent"])
def test_a_connection_that_ends_in_the_middle_of_a_page_ends_the_listing_with_an_error(peopled: OpenLDAP, silent: bool) -> None:
    with Severed(peopled.port, after=6000, silent=silent) as between:
        source = LDAP(peopled.settings(url=between.url, plain="true", timeout="2", page_size="10", ca_file=""))

        seen: list[SourcePerson] = []
        with pytest.raises(Unreachable):
            seen.extend(source.list_people())  # keeps what came before the error

    assert between.passed > 0
    assert len(seen) < len(PEOPLE)


def test_a_size_limit_makes_the_listing_incomplete(peopled: OpenLDAP) -> None:
    with peopled.limited_to(10), pytest.raises(Incomplete):
        list(LDAP(peopled.settings(page_size="7")).list_people())


def test_pages_that_are_larger_than_the_server_allows_are_named_with_their_option(peopled: OpenLDAP) -> None:
    with peopled.limited_to(10, in_pages="unlimited"):
        with pytest.raises(Incomplete, match=r"in pages of 500 \(the option page_size\): adminLimitExceeded"):
            list(LDAP(peopled.settings()).list_people())

        assert len(listed(LDAP(peopled.settings(page_size="10")))) == len(PEOPLE)


def test_a_wrong_base_is_an_error_and_no_empty_listing(peopled: OpenLDAP) -> None:
    for option in ("base", "people_base"):
        with pytest.raises(Misconfigured, match="noSuchObject"):
            list(LDAP(peopled.settings(**{option: "ou=nowhere,dc=example,dc=com"})).list_people())
    with pytest.raises(Misconfigured, match="noSuchObject"):
        LDAP(peopled.settings(people_base="ou=nowhere,dc=example,dc=com")).find_person(SourceKey("x"))


@pytest.mark.parametrize("filter", ["(objectClas=inetOrgPerson)", "(!(employeTyp=guest))", "(&(objectClass=inetOrgPerson)(uid=nobody))"])
def test_a_filter_that_matches_nobody_makes_the_listing_incomplete(peopled: OpenLDAP, filter: str) -> None:
    source = LDAP(peopled.settings(people_filter=filter))

    with pytest.raises(Incomplete, match="matches nobody"):
        list(source.list_people())
    with pytest.raises(Incomplete):
        source.find_person(SourceKey("7367d776-7d86-1041-86f1-6fc25f94578d"))


@pytest.mark.parametrize("filter", ["(uid=a", "(uid=a))", "(uid~)", "uid=a", "(&)("])
def test_what_is_no_filter_at_all_is_said_to_be_none(peopled: OpenLDAP, filter: str) -> None:
    with pytest.raises(Misconfigured, match=r"is not a filter|in parentheses"):
        list(LDAP(peopled.settings(people_filter=filter)).list_people())


def test_people_who_may_not_be_read_any_more_are_not_gone(peopled: OpenLDAP) -> None:
    source = LDAP(peopled.settings())
    key = listed(source)["p05"].key

    with peopled.unreadable_below_base():
        with pytest.raises(Incomplete, match="may not read"):
            list(source.list_people())
        with pytest.raises(Incomplete):
            source.find_person(key)

    assert source.find_person(key) is not None


def test_an_empty_directory_lists_nobody(server: OpenLDAP) -> None:
    server.add_unit("empty")
    source = LDAP(server.settings(people_base=server.unit("empty")))

    assert list(source.list_people()) == []
    assert source.find_person(SourceKey("7367d776-7d86-1041-86f1-6fc25f94578d")) is None

    server.as_admin().delete(server.unit("empty"))


def test_a_listing_that_was_broken_off_can_be_begun_again(peopled: OpenLDAP) -> None:
    source = LDAP(peopled.settings(page_size="5"))
    beginning = source.list_people()
    for _ in range(7):
        next(beginning)
    beginning.close()  # type: ignore[attr-defined]  # it is a generator

    assert len(listed(source)) == len(PEOPLE)


# Trying it


def test_each_step_of_a_check_has_its_own_outcome(peopled: OpenLDAP, tmp_path: Path) -> None:
    stranger = certified(tmp_path / "stranger", "localhost").authority

    def steps(**options: str) -> list[tuple[str, bool]]:
        return [(step.name, step.good) for step in LDAP(peopled.settings(**options)).check().steps]

    assert steps(ca_file=str(stranger)) == [("connect", False)]
    assert steps(url="ldaps://localhost:1") == [("connect", False)]
    assert steps(password="wrong") == [("connect", True), ("bind", False)]
    assert steps(base="ou=nowhere,dc=example,dc=com") == [("connect", True), ("bind", True), ("search", False)]
    assert steps(people_filter="(uid=nobody)") == [("connect", True), ("bind", True), ("search", False)]
    assert steps() == [("connect", True), ("bind", True), ("search", True), ("count", True)]


def test_a_check_of_a_server_that_is_down_raises_nothing(peopled: OpenLDAP) -> None:
    source = LDAP(peopled.settings())

    with peopled.down():
        check = source.check()

    assert not check.good
    assert check.people is None


def test_why_there_is_no_connection_is_said_in_words(server: OpenLDAP) -> None:
    def said(url: str) -> str:
        return LDAP(server.settings(url=url)).check().steps[0].detail

    assert said(f"ldaps://localhost:{server.port}").endswith("what answers there did not begin TLS; is it the port for ldaps://?")
    assert said("ldaps://ldap.invalid").endswith("ldap.invalid:636: no connection: no address is known for that name")


def test_a_limit_shows_in_the_count(peopled: OpenLDAP) -> None:
    with peopled.limited_to(10):
        check = LDAP(peopled.settings(page_size="7")).check()

    assert [step.name for step in check.steps if not step.good] == ["count"]


def test_a_wrong_password_is_unauthorised_and_is_not_repeated(peopled: OpenLDAP) -> None:
    with pytest.raises(Unauthorised) as error:
        list(LDAP(peopled.settings(password="Wr0ng-Passw0rd!")).list_people())

    assert "Wr0ng" not in str(error.value)


def test_every_error_of_a_source_is_one_of_the_contract() -> None:
    assert issubclass(Incomplete, ConnectorError) and issubclass(CursorLost, ConnectorError)


@pytest.mark.parametrize("attribute", ["pwdAccountLockedTime", "shadowExpire"])
def test_where_a_lock_or_an_end_would_not_be_shown_nobody_is_listed(server: OpenLDAP, attribute: str) -> None:
    """Only those have them who are off: where they are hidden, all of these would come back in."""
    server.hire(ADA, GRACE)
    server.disable("ada")
    source = LDAP(server.settings())
    people = listed(source)
    cursor = source.cursor_now()
    server.change("grace", title="Admiral")

    with server.hidden_attribute(attribute):
        for read in (
            lambda: list(source.list_people()), lambda: source.find_person(people["ada"].key), lambda: list(source.changes_since(cursor)),
        ):  # fmt: skip
            with pytest.raises(Incomplete, match=f"{attribute} of .* is not shown to the bind account, so nobody would be off by it"):
                read()
        tried = source.check().steps[-1]

    assert (tried.good, f"{attribute} of" in tried.detail) == (False, True)
    assert {name: person.active for name, person in listed(source).items()} == {"ada": False, "grace": True}


def test_an_attribute_that_no_schema_of_the_server_has_hides_nobody(server: OpenLDAP, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a server without a password policy."""
    server.hire(ADA)
    monkeypatch.setitem(DIALECTS, "openldap", replace(DIALECTS["openldap"], on_by_absence={"nsAccountLock": "true"}))

    assert listed(LDAP(server.settings(kind="openldap")))["ada"].active
