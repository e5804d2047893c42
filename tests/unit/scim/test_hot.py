"""The hot paths do what the ordinary way does: the same answers, and the same rows in every table."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from app.bare.connection import Bare
from app.database import in_transaction
from app.directory.vocabulary import ENTERPRISE_URN
from app.journal.tables import Organization
from app.scim import hot
from tests.clients.directory import directory_on
from tests.unit.scim.twins import ADA, BARE, Twin, active, both_ways, members, set_up

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("way")]


def test_everyday_requests_leave_the_same_rows_and_get_the_same_answers(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("ada", "POST", "/Users", ADA)
        twin.tell("bob", "POST", "/Users", BARE)
        twin.tell("", "GET", "/Users/{ada}")
        twin.tell("", "GET", '/Users?filter=userName eq "ADA@northwind.example"')
        twin.tell("", "GET", '/Users?filter=externalId eq "00u1"')
        twin.tell("", "GET", '/Users?filter=externalId eq "00U1"&count=1')
        twin.tell("", "GET", '/Users?filter=userName co "NORTH"&startIndex=1&count=10')
        twin.tell("", "GET", '/Users?filter=userName sw "b"')
        twin.tell("group", "POST", "/Groups", {"displayName": "Cyclists", "externalId": "g1", "members": [{"value": "<bob>"}]})
        twin.tell("", "PATCH", "/Groups/{group}", members("add", "<ada>"))
        twin.tell("", "PATCH", "/Groups/{group}", members("Add", "<ada>", "<bob>"))
        twin.tell("", "GET", "/Users/{ada}")
        twin.tell("", "PATCH", "/Users/{ada}", active(False))
        twin.tell("", "PATCH", "/Users/{ada}", active("True", path=False))
        twin.tell("", "PATCH", "/Groups/{group}", members("remove", "<ada>"))
        twin.tell("", "PATCH", "/Groups/{group}", members("Add", "<ada>"))
        twin.tell("", "PATCH", "/Users/{bob}", active("False"))
        twin.tell("", "GET", "/Users/{bob}")

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == [
        *["post_user"] * 2, "get_user", *["list_users"] * 5, *["patch_group"] * 2, "get_user",
        *["patch_user"] * 2, *["patch_group"] * 2, "patch_user", "get_user",
    ]  # fmt: skip


def test_who_is_their_own_manager_is_looked_at_once(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("ada", "POST", "/Users", ADA)
        manages_herself = {"op": "replace", "path": f"{ENTERPRISE_URN}:manager", "value": {"value": "<ada>"}}
        twin.tell("", "PATCH", "/Users/{ada}", {"Operations": [manages_herself]})
        twin.tell("", "PATCH", "/Users/{ada}", active(False))
        twin.tell("", "PATCH", "/Users/{ada}", active(True))

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == ["post_user", *["patch_user"] * 3]


def test_groups_are_read_with_their_members(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("ada", "POST", "/Users", ADA)
        twin.tell("bob", "POST", "/Users", BARE)
        twin.tell("cy", "POST", "/Users", {"userName": "cy", "displayName": "Cÿ \"the\" \\ last"})
        everybody = [{"value": "<cy>"}, {"value": "<ada>"}, {"value": "<bob>"}]
        twin.tell("group", "POST", "/Groups", {"displayName": "Zü\"ge", "externalId": "g1", "x-note": {"n": 1.5}, "members": everybody})
        twin.tell("empty", "POST", "/Groups", {"displayName": "Nobody"})
        twin.tell("", "GET", "/Groups/{group}")
        twin.tell("", "GET", "/Groups/{empty}")
        twin.tell("", "PATCH", "/Groups/{group}", {"Operations": [{"op": "replace", "path": "displayName", "value": "Cyclists"}]})
        twin.tell("", "PATCH", "/Groups/{group}", {"Operations": [{"op": "remove", "path": "externalId"}]})
        twin.tell("", "PATCH", "/Groups/{group}", members("remove", "<ada>"))
        twin.tell("", "PATCH", "/Users/{cy}", active(False))
        twin.tell("", "GET", "/Groups/{group}")
        twin.tell("", "DELETE", "/Users/{bob}")
        twin.tell("", "GET", "/Groups/{group}")
        twin.tell("", "GET", "/Groups/{group}?excludedAttributes=members")
        twin.tell("", "GET", "/Groups/nothing")
        twin.tell("", "DELETE", "/Groups/{empty}")
        twin.tell("", "GET", "/Groups/{empty}")

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == [*["post_user"] * 3, "get_group", "get_group", "patch_group", "patch_user", "get_group", "get_group"]


def test_what_has_to_be_decided_goes_the_ordinary_way(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("ada", "POST", "/Users", ADA)
        twin.tell("bob", "POST", "/Users", BARE)
        twin.tell("", "POST", "/Users", {"userName": "cy", "active": False})
        twin.tell("", "POST", "/Users", {"externalId": "nameless"})
        twin.tell("", "PATCH", "/Users/{ada}", active("perhaps"))
        twin.tell("", "PATCH", "/Users/{ada}", {"Operations": [{"op": "replace", "value": {"active": False, "title": "Left"}}]})
        twin.tell("", "GET", "/Users/nobody")
        twin.tell("", "GET", "/Users/{ada}?attributes=userName")
        twin.tell("", "GET", '/Users?filter=userName eq "a" or userName eq "b"')
        twin.tell("", "GET", '/Users?filter=userName sw ""')
        twin.tell("group", "POST", "/Groups", {"displayName": "Cyclists"})
        twin.tell("", "PATCH", "/Groups/{group}", members("add", "<ada>", "nobody"))
        twin.tell("", "PATCH", "/Groups/{group}", {"Operations": [{"op": "replace", "path": "members", "value": [{"value": "<ada>"}]}]})
        twin.tell("", "PATCH", "/Groups/nothing", members("add", "<ada>"))

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == ["post_user", "post_user"]


@pytest.mark.parametrize(("matching", "hot_joins"), [("employeeNumber,email", 0), ("userName", 0), ("cannot be read", 0), ("none", 2), ("employeeNumber", 2)])
def test_where_people_are_matched_by_address_or_name_each_join_goes_the_ordinary_way(
    urls: tuple[str, str], tmp_path: Path, counted: list[str], matching: str, hot_joins: int
) -> None:
    def choose(session: Any) -> None:
        session.scalars(select(Organization)).one().settings = {"matching": matching}

    with directory_on(urls[0], tmp_path) as directory, directory.app.app_context():
        in_transaction(choose)
        directory.send("GET", "/ServiceProviderConfig")
        del counted[:]
        directory.add_user("ada", emails=[{"value": "ada@x.example"}])
        directory.add_user("bob")

    assert counted == ["post_user"] * hot_joins


def test_taken_names_and_keys_are_answered_the_ordinary_way(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("ada", "POST", "/Users", ADA)
        twin.tell("", "POST", "/Users", {"userName": " ADA@northwind.example "})
        twin.tell("", "POST", "/Users", {"userName": "cy", "externalId": "00u1"})
        twin.tell("", "DELETE", "/Users/{ada}")

    # The rows are not compared: PostgreSQL gives the number of a journal entry that was refused to nobody else.
    both_ways(urls, tmp_path, monkeypatch, story, rows=False)

    assert counted == ["post_user"]


def test_a_wrong_token_opens_no_hot_path(urls: tuple[str, str], tmp_path: Path, counted: list[str]) -> None:
    with directory_on(urls[0], tmp_path) as directory, directory.app.app_context():
        ada = directory.add_user("ada")
        del counted[:]
        for method, path, body in (
            ("GET", f"/Users/{ada}", None), ("GET", "/Groups/any", None), ("GET", '/Users?filter=userName eq "ada"', None), ("GET", "/Users", None),
            ("POST", "/Users", BARE), ("PATCH", f"/Users/{ada}", active(False)), ("PUT", f"/Users/{ada}", BARE), ("PATCH", "/Groups/any", members("add", ada)),
        ):  # fmt: skip
            assert directory.send(method, path, body, Authorization="Bearer dl_wrong").status == 401

    assert counted == []


def test_a_database_that_is_away_is_said_in_words_and_found_again(urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(app: object, **_: object) -> Bare:
        raise OperationalError("connect", {}, Exception("refused"))

    with directory_on(urls[0], tmp_path) as directory, directory.app.app_context():
        ada = directory.add_user("ada")
        with monkeypatch.context() as here:
            here.setattr(hot, "bare_of", away)
            here.setattr(hot, "lent_on_loop", away)

            assert directory.send("GET", f"/Users/{ada}").status == 200

        assert directory.send("GET", f"/Users/{ada}").status == 200
