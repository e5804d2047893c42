"""Attacks with tokens: another's, an old one, one in the wrong place; and who is answered without any."""

import logging
from dataclasses import replace

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.access.tables import BearerToken
from app.actors import Actor, ActorKind
from app.clock import now
from app.database import db, in_transaction, reading
from app.directory.tables import Source
from app.lifecycle import sources
from app.lifecycle.operators import Role, add_operator, end_operator
from tests.clients.directory import Directory
from tests.company import ADMIN


def _source(session: Session, directory: Directory) -> Source:
    return session.scalars(select(Source).where(Source.id == directory.source_id)).one()


def _rotated(directory: Directory) -> str:
    return in_transaction(
        lambda session: sources.rotate(
            session, _source(session, directory), settings=directory.app.config["DOORLIST"], actor=ADMIN, at=now()
        )
    )


def _status(directory: Directory, token: str) -> int:
    return directory.send("GET", "/Users", Authorization=f"Bearer {token}").status


def _everything_stored() -> str:
    """Every text and document of every table."""
    found: list[str] = []
    with reading() as session:
        for table in db.metadata.sorted_tables:
            found += [repr(tuple(row)) for row in session.execute(select(table))]
    return "\n".join(found)


def test_p06_a_token_opens_its_own_base_and_no_other(directory: Directory, beside: Directory, foreign: Directory) -> None:
    here = directory.add_user("ada")

    for other in (foreign, beside):
        answers = [
            directory.send(method, path, {"userName": "x", "displayName": "x"}, Authorization=f"Bearer {other.token}")
            for method, path in (
                ("GET", "/Users"),
                ("GET", f"/Users/{here}"),
                ("DELETE", f"/Users/{here}"),
                ("POST", "/Users"),
                ("GET", "/Schemas"),
            )
        ]

        assert {answer.status for answer in answers} == {401}
        assert {answer.text for answer in answers} == {directory.send("GET", "/Users", Authorization="Bearer wrong").text}
    assert directory.send("GET", f"/Users/{here}").status == 200


def test_p06_a_base_that_never_was_is_answered_as_another_directorys(directory: Directory, foreign: Directory) -> None:
    headers = {"Authorization": f"Bearer {directory.token}"}

    theirs = directory.http.get(f"/scim/v2/{foreign.source_id}/Users", headers=headers)
    absent = directory.http.get("/scim/v2/00000000-0000-7000-8000-000000000000/Users", headers=headers)

    assert (theirs.status_code, theirs.data) == (absent.status_code, absent.data)
    assert theirs.status_code == 401


def test_p06_a_token_counts_in_its_header_only_and_is_written_nowhere(directory: Directory, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answers = [
        directory.send("GET", f"/Users?access_token={directory.token}", Authorization=""),
        directory.send("GET", "/Users", Authorization="", Cookie=f"token={directory.token}"),
        directory.send("POST", "/Users", {"userName": "x", "access_token": directory.token}, Authorization=""),
        directory.send("GET", "/Users", Authorization=f"Basic {directory.token}"),
        directory.send("GET", "/Users", Authorization=directory.token),
        directory.send("GET", f"/Users?filter={directory.token}", Authorization=f"Bearer {directory.token}x"),
    ]
    directory.add_user("ada")

    assert {answer.status for answer in answers} == {401}
    assert directory.token not in "".join(answer.text + str(answer.headers) for answer in answers)
    assert directory.token not in caplog.text
    assert directory.token not in _everything_stored()


def test_p06_of_three_tokens_the_last_two_are_good_until_they_are_revoked(directory: Directory) -> None:
    first = directory.token
    second = _rotated(directory)
    assert [_status(directory, token) for token in (first, second)] == [200, 200]

    third = _rotated(directory)
    assert [_status(directory, token) for token in (first, second, third)] == [401, 200, 200]

    in_transaction(lambda session: sources.revoke(session, _source(session, directory), actor=ADMIN, at=now()))
    assert [_status(directory, token) for token in (first, second, third)] == [401, 401, 401]


def test_p06_tokens_are_kept_as_digests_and_compare_whole(directory: Directory) -> None:
    token = directory.token

    near = [token[:-1], token + "x", token.upper(), token.lower(), token[1:], f"{token} {token}", token.replace("_", "-")]

    assert [_status(directory, text) for text in near if text != token] == [401] * len([text for text in near if text != token])
    with reading() as session:
        assert all(token not in row.digest and len(row.digest) == 64 for row in session.scalars(select(BearerToken)))


def test_p09_directories_of_one_name_in_two_organisations_stay_two(directory: Directory, foreign: Directory) -> None:
    with reading() as session:
        named = session.scalars(select(Source).where(Source.name == "okta")).all()
    ours, theirs = directory.add_user("ada", externalId="00u1"), foreign.add_user("ada", externalId="00u1")
    fresh = _rotated(foreign)

    assert {source.id for source in named} == {directory.source_id, foreign.source_id}
    assert ours != theirs
    assert _status(directory, fresh) == 401
    assert directory.send("DELETE", f"/Users/{ours}").status == 204
    assert foreign.send("GET", f"/Users/{theirs}", Authorization=f"Bearer {fresh}").document["active"] is True


def test_p09_no_request_of_a_directory_makes_a_token_or_a_directory(directory: Directory) -> None:
    def counted() -> list[int]:
        with reading() as session:
            return [session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in ("source", "bearer_token", "operator")]

    before = counted()
    directory.add_user("eve", roles=[{"value": "admin"}], entitlements=[{"value": "operator"}], isAdmin=True, token="x", provider="okta")
    for path in ("/Tokens", "/Sources", "/Operators", "/providers", "/Me"):
        for method in ("POST", "PUT", "PATCH"):
            assert directory.send(method, path, {"name": "okta", "id": directory.source_id}).status in (404, 405, 501)

    assert counted() == before


def test_p23_discovery_and_me_are_for_those_who_show_a_token(directory: Directory) -> None:
    paths = (
        "/Schemas",
        "/ResourceTypes",
        "/ServiceProviderConfig",
        "/Me",
        "/Bulk",
        "/.search",
        "/Users/.search",
        "/Schemas/x",
        "/Nothing",
        "",
    )

    without = {path: [directory.send(method, path, {}, Authorization="") for method in ("GET", "POST")] for path in paths}

    # An address that leads nowhere says so to everybody; whatever leads somewhere asks for the token first.
    assert {answer.status for answers in without.values() for answer in answers} <= {401, 404, 405}
    assert [without[path][0].status for path in paths[:3]] == [401, 401, 401]
    assert all("WWW-Authenticate" in answer.headers for answers in without.values() for answer in answers if answer.status == 401)
    assert [directory.send("GET", path).status for path in paths[:3]] == [200, 200, 200]


def test_p23_me_is_nobody_for_a_directory(directory: Directory) -> None:
    directory.add_user("ada")

    for method in ("GET", "PUT", "PATCH", "DELETE", "POST"):
        answer = directory.send(method, "/Me", {"userName": "me", "Operations": []})
        assert answer.status == 501, (method, answer.text)
    assert directory.send("GET", "/Users").document["totalResults"] == 1


def test_p24_a_directory_goes_on_when_whoever_set_it_up_has_left(directory: Directory) -> None:
    def with_owner(session: Session) -> tuple[str, str]:
        organization_id = _source(session, directory).organization_id
        add_operator(session, organization_id, "ana", Role.ADMIN, actor=ADMIN, at=now())
        owner = Actor(kind=ActorKind.OPERATOR, name="ana")
        source, token = sources.add_scim_source(session, organization_id, "hers", actor=owner, at=now())
        return source.id, token

    source_id, token = in_transaction(with_owner)
    hers = replace(directory, source_id=source_id, token=token)
    ana = hers.add_user("ana", title="Owner of this directory")

    hers.patch(f"/Users/{ana}", {"op": "replace", "path": "active", "value": False})
    in_transaction(lambda session: end_operator(session, _source(session, directory).organization_id, "ana", actor=ADMIN, at=now()))

    # A token belongs to the directory, not to a person: it neither dies with her nor gives her anything.
    assert hers.send("GET", f"/Users/{ana}").document["active"] is False
    assert hers.send("POST", "/Users", {"userName": "next"}).status == 201
