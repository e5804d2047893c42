"""Bad input at the SCIM door: always SCIM's JSON, always naming what was wrong, and nothing written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.access import tokens
from app.clock import now
from app.database import transaction
from app.journal.tables import Organization
from tests.clients.directory import Directory, directory_on
from tests.clients.transcript import Answer

ERROR_URN = "urn:ietf:params:scim:api:messages:2.0:Error"


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    with directory_on(f"sqlite:///{tmp_path / 'doorlist.sqlite'}", tmp_path) as found:
        yield found


def _is_error(answer: Answer, status: int, problem: str | None = None) -> bool:
    document = answer.document
    assert answer.headers["Content-Type"].startswith("application/scim+json"), answer
    assert (document["schemas"], document["status"]) == ([ERROR_URN], str(status)), answer.text
    assert document["detail"]
    assert document.get("scimType") == problem, answer.text
    return answer.status == status


@pytest.mark.parametrize(
    ("body", "problem", "named"),
    [
        ("{not json", "invalidSyntax", "JSON"),
        (b"\xff\xfe\x00", "invalidSyntax", "UTF-8"),
        ("", "invalidSyntax", "JSON"),
        ("[1]", "invalidSyntax", "list"),
        ('{"userName": NaN}', "invalidSyntax", "NaN is not JSON"),
        ('{"userName": "x", "badge": 1e999}', "invalidSyntax", "a number in it is too large"),
        ('{"userName": "x", "badge": ' + "9" * 5000 + "}", "invalidSyntax", "too many digits"),
        ("[" * 100_000, "invalidSyntax", "nested"),
        ('{"userName": "x", "a": ' + "[" * 60 + "]" * 60 + "}", "invalidSyntax", "nested"),
        ({}, "invalidValue", "userName"),
        ({"userName": " "}, "invalidValue", "userName"),
        ({"userName": None}, "invalidValue", "userName"),
        ({"userName": 42}, "invalidValue", "userName"),
        ({"userName": ["x"]}, "invalidValue", "userName"),
        ({"userName": "x", "active": "perhaps"}, "invalidValue", "active"),
        ({"userName": "x", "active": 1}, "invalidValue", "active"),
        ({"userName": "x", "name": "X"}, "invalidValue", "name"),
        ({"userName": "x", "name": {"familyName": 1}}, "invalidValue", "name.familyName"),
        ({"userName": "x", "emails": "x@y"}, "invalidValue", "emails"),
        ({"userName": "x", "emails": [{"value": 7}]}, "invalidValue", "emails.value"),
        ({"userName": "x", "emails": [7]}, "invalidValue", "emails"),
        ({"userName": "x", "urn:ietf:params:scim:schemas:core:2.0:User": {"active": False}}, "invalidSyntax", "at the top"),
        ({"userName": "x", "externalId": {"a": 1}}, "invalidValue", "externalId"),
        ('{"userName": "x\\u0000y"}', "invalidValue", "userName"),
        ('{"userName": "\\ud800"}', "invalidValue", "userName"),
        (
            {"userName": "x", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": "y"},
            "invalidValue",
            "enterprise",
        ),
    ],
)
def test_a_body_that_cannot_be_a_user_is_refused_by_name(
    directory: Directory, body: Any, problem: str, named: str
) -> None:
    before = directory.written()

    answer = directory.send("POST", "/Users", body)

    assert _is_error(answer, 400, problem)
    assert named in answer.document["detail"]
    assert directory.written() == before


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "displayName"),
        ({"displayName": 7}, "displayName"),
        ({"displayName": "x", "members": [7]}, "members"),
        ({"displayName": "x", "members": 7}, "members"),
        ({"displayName": "x", "members": [{"value": "nobody"}]}, "members"),
    ],
)
def test_a_body_that_cannot_be_a_group_is_refused_by_name(
    directory: Directory, body: Any, named: str
) -> None:
    before = directory.written()

    answer = directory.send("POST", "/Groups", body)

    assert _is_error(answer, 400, "invalidValue")
    assert named in answer.document["detail"]
    assert directory.written() == before


def test_a_duplicate_user_name_in_other_case_is_a_conflict(directory: Directory) -> None:
    directory.add_user("ada@example.org", title="first")
    before = directory.written()

    answer = directory.send("POST", "/Users", {"userName": "ADA@example.org", "title": "second"})

    assert _is_error(answer, 409, "uniqueness")
    assert directory.written() == before


def test_a_body_of_ten_megabytes_is_too_large(directory: Directory) -> None:
    answer = directory.send("POST", "/Users", b'{"userName": "' + b"x" * 10_000_000 + b'"}')

    assert _is_error(answer, 413)


def test_a_body_of_another_kind_is_refused(directory: Directory) -> None:
    assert _is_error(
        directory.send("POST", "/Users", "userName=x", Content_Type="application/x-www-form-urlencoded"), 415
    )


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic YTpi", "non-token", "Bearer é"]
)
def test_without_a_good_token_nothing_is_answered_or_written(directory: Directory, header: str) -> None:
    before = directory.written()

    answers = [
        directory.send("GET", "/Users", Authorization=header),
        directory.send("POST", "/Users", {"userName": "x"}, Authorization=header),
        directory.send("GET", "/ServiceProviderConfig", Authorization=header),
    ]

    assert all(_is_error(answer, 401) for answer in answers)
    assert answers[0].headers["WWW-Authenticate"].startswith('Bearer realm="doorlist"')
    assert directory.written() == before


def test_a_revoked_token_is_refused_from_then_on(directory: Directory) -> None:
    assert directory.send("GET", "/Users").status == 200
    with directory.app.app_context(), transaction() as session:
        organization_id = session.query(Organization.id).scalar()
        tokens.revoke_all(session, organization_id, holder_id=directory.source_id, at=now())

    assert _is_error(directory.send("GET", "/Users"), 401)


def test_one_directorys_token_opens_no_other(directory: Directory) -> None:
    other = directory.beside("entra")
    user_id = directory.add_user("ada")

    assert _is_error(directory.send("GET", "/Users", Authorization=f"Bearer {other.token}"), 401)
    assert _is_error(other.send("GET", f"/Users/{user_id}"), 404)
    assert _is_error(other.send("DELETE", f"/Users/{user_id}"), 404)
    assert _is_error(other.patch(f"/Users/{user_id}", {"op": "replace", "value": {"active": False}}), 404)
    assert _is_error(
        other.send("POST", "/Groups", {"displayName": "g", "members": [{"value": user_id}]}),
        400,
        "invalidValue",
    )
    assert other.send("GET", "/Users").document["totalResults"] == 0
    assert directory.send("GET", f"/Users/{user_id}").document["active"] is True


@pytest.mark.parametrize(
    "path",
    [
        "/Users/nobody",
        "/Users/%00",
        "/Users/%ff",
        "/Groups/nobody",
        "/Schemas/none",
        "/Nothing",
        "/Users/a/b",
    ],
)
def test_what_does_not_exist_is_404(directory: Directory, path: str) -> None:
    assert _is_error(directory.send("GET", path), 404)


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/Users"), ("POST", "/Users/x"), ("PUT", "/Schemas"), ("BREW", "/Users")]
)
def test_a_method_that_is_not_possible_is_405(directory: Directory, method: str, path: str) -> None:
    answer = directory.send(method, path)

    assert _is_error(answer, 405)
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize(
    "text",
    [
        "userName",
        "userName eq",
        "userName eq jyoung",
        'title eq "\0"',
        "(" * 40 + "a pr",
        "a pr or " * 600 + "a pr",
    ],
)
def test_a_filter_that_cannot_be_read_never_gives_the_whole_list(directory: Directory, text: str) -> None:
    directory.add_user("ada")

    assert _is_error(
        directory.send("GET", f"/Users?filter={text.replace(' ', '%20').replace(chr(0), '%00')}"),
        400,
        "invalidFilter",
    )


def test_paging_that_is_no_number_is_refused(directory: Directory) -> None:
    assert _is_error(directory.send("GET", "/Users?startIndex=abc"), 400, "invalidValue")
    assert directory.send("GET", "/Users?startIndex=99999999999999999999&count=-5").status == 200


def test_a_patch_that_fails_half_way_changes_nothing(directory: Directory) -> None:
    user_id = directory.add_user("ada", title="Analyst")
    before = directory.written()

    answer = directory.patch(
        f"/Users/{user_id}",
        {"op": "replace", "path": "title", "value": "Countess"},
        {"op": "replace", "path": "active", "value": "perhaps"},
    )

    assert _is_error(answer, 400, "invalidValue")
    assert directory.written() == before
    assert directory.send("GET", f"/Users/{user_id}").document["title"] == "Analyst"


def test_a_stale_version_is_refused(directory: Directory) -> None:
    user_id = directory.add_user("ada")
    version = directory.send("GET", f"/Users/{user_id}").headers["ETag"]
    body = {"userName": "ada", "title": "x"}

    assert directory.send("PUT", f"/Users/{user_id}", body, If_Match=version).status == 200
    assert _is_error(
        directory.send("PUT", f"/Users/{user_id}", {**body, "title": "y"}, If_Match=version), 412
    )
    assert _is_error(directory.send("PUT", f"/Users/{user_id}", body, If_Match='"other"'), 412)


def test_an_unforeseen_error_tells_a_reference_and_no_insides(directory: Directory) -> None:
    directory.app.config.pop("DOORLIST")

    answer = directory.send("GET", "/ServiceProviderConfig")

    assert _is_error(answer, 500)
    assert "DOORLIST" not in answer.text


def test_a_password_is_taken_and_kept_nowhere(directory: Directory) -> None:
    user_id = directory.add_user("ada", password="s3cret-one", PASSWORD="s3cret-two")

    changed = directory.patch(f"/Users/{user_id}", {"op": "replace", "value": {"password": "s3cret-three"}})

    assert "s3cret" not in changed.text + directory.send("GET", f"/Users/{user_id}").text
    database = b"".join(
        file.read_bytes() for file in Path(directory.app.config["DOORLIST"].home).glob("doorlist.sqlite*")
    )
    assert b"s3cret" not in database


def test_ids_that_no_database_can_hold_are_unknown_on_both(database_url: str, tmp_path: Path) -> None:
    with directory_on(database_url, tmp_path) as directory:
        paths = ("/Users/%00", "/Users/%ff", "/Groups/x%00y", "/Users/" + "x" * 5000)

        answers = [
            directory.send(method, path, {"userName": "x", "displayName": "x"})
            for path in paths
            for method in ("GET", "PUT", "DELETE")
        ]

    assert all(_is_error(answer, 404) for answer in answers)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_slash_too_many_is_said_here_and_not_sent_elsewhere(directory: Directory, method: str) -> None:
    """A redirect would carry the token to wherever the head says that this is."""
    for path in ("//Users", "//Users/x"):
        answer = directory.send(method, path, {"userName": "ada"} if method == "POST" else None, Host="evil.example")

        assert _is_error(answer, 404) and "without a slash at its end" in answer.document["detail"]
        assert "Location" not in answer.headers
    assert directory.send("GET", "/Users").document["totalResults"] == 0
