"""Who is let in at the SCIM door and how often: 401 in the words of RFC 6750, expiry, last use, 429."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app.access import tokens
from app.access.rates import Buckets
from app.access.tables import BearerToken
from app.clock import now
from app.database import in_transaction, reading
from app.journal.tables import Entry
from app.scim.door import Limits, ends_users, limits, says_off
from app.settings import SettingError, from_environment
from tests.clients.directory import PATCH_URN, Directory
from tests.clients.transcript import Answer

ERROR_URN = "urn:ietf:params:scim:api:messages:2.0:Error"
BULK_URN = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
OFF = {"schemas": [PATCH_URN], "Operations": [{"op": "replace", "path": "active", "value": False}]}


def is_error(answer: Answer, status: int) -> bool:
    assert answer.headers["Content-Type"].startswith("application/scim+json")
    assert (answer.document["schemas"], answer.document["status"]) == ([ERROR_URN], str(status))
    assert answer.document["detail"]
    return answer.status == status


# 401


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "non-token"])
def test_who_shows_no_token_is_told_which_kind_is_wanted(directory: Directory, header: str) -> None:
    answer = directory.send("GET", "/Users", Authorization=header)

    assert is_error(answer, 401)
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="doorlist"'


@pytest.mark.parametrize("token", ["nonsense", "dl_nonsense", "é", "another directory's"])
def test_who_shows_a_wrong_token_is_told_that_it_is_wrong(directory: Directory, token: str) -> None:
    shown = directory.beside("entra").token if token == "another directory's" else token

    answer = directory.send("GET", "/Users", Authorization=f"Bearer {shown}")

    assert is_error(answer, 401)
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith('Bearer realm="doorlist", error="invalid_token", error_description="')
    assert challenge.isascii() and shown not in challenge + answer.text


def _set(directory: Directory, **values: Any) -> None:
    digest = tokens.digest_of(directory.token)
    in_transaction(lambda session: session.execute(update(BearerToken).where(BearerToken.digest == digest).values(**values)))


@pytest.mark.parametrize("column", ["expires_at", "revoked_at"])
def test_a_token_that_has_ended_opens_nothing_from_then_on(directory: Directory, column: str) -> None:
    user_id = directory.add_user("ada")
    before = directory.written()
    _set(directory, **{column: now() - timedelta(seconds=1)})

    answers = [
        directory.send("GET", "/ServiceProviderConfig"),
        directory.send("GET", f"/Users/{user_id}"),
        directory.send("GET", "/Users?filter=userName+eq+%22ada%22"),
        directory.send("POST", "/Users", {"userName": "bob"}),
        directory.send("PATCH", f"/Users/{user_id}", OFF),
        directory.send("DELETE", f"/Users/{user_id}"),
    ]

    assert [answer.status for answer in answers] == [401] * len(answers)
    assert directory.written() == before


def test_a_token_that_has_not_expired_yet_is_good(directory: Directory) -> None:
    _set(directory, expires_at=now() + timedelta(minutes=1))

    assert directory.send("GET", "/Users").status == 200


# Last use


def _last_used(directory: Directory) -> Any:
    with reading() as session:
        return session.scalar(select(BearerToken.last_used_at).where(BearerToken.digest == tokens.digest_of(directory.token)))


def _answered(directory: Directory, token: str) -> int:
    """A request whose answer is sent to its end, as a server does."""
    headers = {"Authorization": f"Bearer {token}"}
    return directory.http.get(f"{directory.base}/ServiceProviderConfig", headers=headers, buffered=True).status_code


def test_a_use_is_noted_after_the_answer_and_at_most_once_a_minute(directory: Directory) -> None:
    assert _answered(directory, directory.token) == 200
    first = _last_used(directory)
    assert first is not None and now() - first < timedelta(minutes=1)

    _set(directory, last_used_at=None)
    assert _answered(directory, directory.token) == 200

    assert _last_used(directory) is None, "the second request within a minute wrote again"


def test_a_wrong_token_is_noted_nowhere(directory: Directory) -> None:
    assert _answered(directory, "wrong") == 401

    assert _last_used(directory) is None


def test_an_answer_stands_when_its_use_cannot_be_noted(directory: Directory, caplog: pytest.LogCaptureFixture) -> None:
    response = directory.http.get(f"{directory.base}/ServiceProviderConfig", headers={"Authorization": f"Bearer {directory.token}"})
    in_transaction(lambda session: session.connection().exec_driver_sql("ALTER TABLE bearer_token RENAME TO away"))

    response.close()

    assert response.status_code == 200
    assert "could not be written down" in caplog.text and directory.token not in caplog.text


# 429


@dataclass
class Hands:
    """A clock that is moved by hand."""

    at: float = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock(directory: Directory) -> Hands:
    """Two requests at once, then one a second."""
    clock = Hands()
    crowded: Limits = replace(limits(), requests=Buckets(rate=1, burst=2, clock=clock), failures=Buckets(rate=1, burst=2, clock=clock))
    directory.app.extensions["doorlist_limits"] = crowded
    return clock


def _exhausted(directory: Directory) -> None:
    while directory.send("GET", "/ServiceProviderConfig").status == 200:
        pass


def test_who_asks_too_often_is_told_when_to_come_again(directory: Directory, clock: Hands) -> None:
    answers = [directory.send("GET", "/ServiceProviderConfig") for _ in range(3)]

    assert [answer.status for answer in answers] == [200, 200, 429]
    assert is_error(answers[-1], 429)
    assert answers[-1].headers["Retry-After"] == "1"
    clock.at = 1.0
    assert directory.send("GET", "/ServiceProviderConfig").status == 200


def test_one_directory_slows_no_other_down(directory: Directory, clock: Hands) -> None:
    other = directory.beside("entra")
    _exhausted(directory)

    assert other.send("GET", "/ServiceProviderConfig").status == 200


def _user(user_id: str, **said: Any) -> dict[str, Any]:
    return {"userName": "ada", "id": user_id, **said}


@pytest.mark.parametrize(
    "send",
    [
        lambda directory, user_id: directory.send("DELETE", f"/Users/{user_id}"),
        lambda directory, user_id: directory.send("PATCH", f"/Users/{user_id}", OFF),
        lambda directory, user_id: directory.patch(f"/Users/{user_id}", {"op": "Replace", "path": "active", "value": "False"}),
        lambda directory, user_id: directory.patch(f"/Users/{user_id}", {"op": "replace", "value": {"active": False}}),
        lambda directory, user_id: directory.patch(f"/Users/{user_id}", {"op": "remove", "path": "active"}),
        lambda directory, user_id: directory.send("PUT", f"/Users/{user_id}", _user(user_id, active=False)),
    ],
    ids=["delete", "patch", "entra", "okta", "remove", "put"],
)
def test_a_deactivation_never_waits(directory: Directory, clock: Hands, send: Callable[[Directory, str], Answer]) -> None:
    user_id = directory.add_user("ada")
    _exhausted(directory)

    answer = send(directory, user_id)

    assert answer.status in (200, 204), answer.text
    clock.at = 10.0
    after = directory.send("GET", f"/Users/{user_id}")
    assert after.status == 404 or after.document["active"] is False


@pytest.mark.parametrize(
    "operation",
    [
        {"method": "DELETE", "path": "/Users/{id}"},
        {"method": "PATCH", "path": "/Users/{id}", "data": OFF},
        {"method": "PUT", "path": "/Users/{id}", "data": {"userName": "ada", "active": False}},
    ],
    ids=["delete", "patch", "put"],
)
def test_a_bulk_with_a_deactivation_never_waits(directory: Directory, clock: Hands, operation: dict[str, Any]) -> None:
    user_id = directory.add_user("ada")
    _exhausted(directory)
    joins = {"method": "POST", "path": "/Users", "bulkId": "b", "data": {"userName": "bob", "active": True}}
    leaves = {**operation, "path": operation["path"].format(id=user_id)}

    limited = directory.send("POST", "/Bulk", {"schemas": [BULK_URN], "Operations": [joins]})
    passed = directory.send("POST", "/Bulk", {"schemas": [BULK_URN], "Operations": [joins, leaves]})

    assert limited.status == 429
    assert passed.status == 200, passed.text


_DELETES = '{"schemas": ["%s"], "Operations": [{%s}]}'


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/Bulk", _DELETES % (BULK_URN, '"method": "DELETE", "path": "\\/Users\\/{id}"')),
        ("POST", "/Bulk", _DELETES % (BULK_URN, '"method": "DELETE", "path": "//Users/{id}"')),
        ("POST", "/Bulk", _DELETES % (BULK_URN, '"method": "DELETE", "path": "/%55sers/{id}"')),
        ("POST", "/Bulk", _DELETES % (BULK_URN, '"\\u006dethod": "\\u0044ELETE", "path": "\\u002FUser\\u0073\\u002f{id}"')),
        ("POST", "/Bulk", _DELETES % (BULK_URN, '"method": "PUT", "path": "/Users/{id}", "data": {"userName": "ada", "\\u0061ctive": false}')),
        ("PATCH", "/Users/{id}", '{"Operations": [{"op": "replace", "path": "\\u0061ctive", "value": false}]}'),
        ("PATCH", "/Users/{id}", '{"Operations": [{"op": "replace", "path": "\\tactiv\\u0065", "value": "\\u0046alse"}]}'),
        ("PATCH", "/Users/{id}", '{"Operations": [{"op": "\\u0072emove", "path": "active"}]}'),
        ("PATCH", "/Users/{id}", '{"Operations": [{"op": "replace", "value": {" \\u0009\\u0041ctive ": false}}]}'),
        ("PUT", "/Users/{id}", '{"userName": "ada", "title": "\\\\u0022", "activ\\u0065": false}'),
        ("PATCH", "/Users/{id}", '{"Operations": [{"op": "replace", "value": "{\\"active\\": \\"False\\"}"}]}'),
        ("PATCH", "/Users/{id}", '{"Operations": [{"op": "replace", "value": "{\\n\\"\\\\u0061ctive\\" : false}"}]}'),
        ("PATCH", "/Users/{id}", '{"Operations": [{"op": "replace", "path": "active", "value": ["false"]}]}'),
    ],
)
def test_a_deactivation_never_waits_however_its_letters_are_written(
    directory: Directory, clock: Hands, method: str, path: str, body: str
) -> None:
    user_id = directory.add_user("ada")
    _exhausted(directory)

    answer = directory.send(method, path.format(id=user_id), body.replace("{id}", user_id))

    assert answer.status == 200, answer.text
    clock.at = 10.0
    after = directory.send("GET", f"/Users/{user_id}")
    assert after.status == 404 or after.document["active"] is False


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/Users", None),
        ("POST", "/Users", {"userName": "bob", "active": True}),
        ("PUT", "/Users/{id}", {"userName": "ada", "active": True}),
        ("PATCH", "/Users/{id}", {"schemas": [PATCH_URN], "Operations": [{"op": "replace", "path": "active", "value": True}]}),
        ("PATCH", "/Users/{id}", {"schemas": [PATCH_URN], "Operations": [{"op": "replace", "value": '{"active": true, "title": "x"}'}]}),
        ("PATCH", "/Users/{id}", {"schemas": [PATCH_URN], "Operations": [{"op": "replace", "path": "title", "value": "false"}]}),
        ("DELETE", "/Groups/none", None),
    ],
)
def test_everything_else_waits(directory: Directory, clock: Hands, method: str, path: str, body: Any) -> None:
    user_id = directory.add_user("ada")
    before = directory.written()
    _exhausted(directory)

    assert is_error(directory.send(method, path.format(id=user_id), body), 429)
    assert directory.written() == before


@pytest.mark.slow
@pytest.mark.parametrize("space", [b" ", b"\n", b"[", b":", b'"', b"\\", b"\\/", b"\\u0020", b": ", b"/"])
def test_no_body_makes_the_look_for_a_deactivation_slow(space: bytes) -> None:
    # Quadratic time would take minutes over these; the test's own time limit is the measure.
    for begun in (b'"value":', b'"active":', b'"path":"', b'"path":"active","value":"', b'"', b'"method":"DELETE","path":"'):
        says_off(begun + space * 2_000_000)
        ends_users(begun + space * 2_000_000)


def test_guessing_is_slowed_and_a_good_token_never_is(directory: Directory, clock: Hands) -> None:
    wrong = [directory.send("GET", "/Users", Authorization="Bearer wrong") for _ in range(3)]

    assert [answer.status for answer in wrong] == [401, 401, 429]
    assert is_error(wrong[-1], 429) and int(wrong[-1].headers["Retry-After"]) >= 1
    assert directory.send("GET", "/Users").status == 200


def test_guessing_counts_for_an_address_and_for_a_directory_apart(directory: Directory, clock: Hands) -> None:
    def guess(source_id: str, address: str) -> int:
        said = {"Authorization": "Bearer wrong"}
        return directory.http.get(f"/scim/v2/{source_id}/Users", headers=said, environ_base={"REMOTE_ADDR": address}).status_code

    assert [guess(f"made-up-{number}", "192.0.2.1") for number in range(3)] == [401, 401, 429]
    assert [guess("one", f"192.0.2.{number}") for number in range(10, 13)] == [401, 401, 429]
    assert guess("another", "192.0.2.20") == 401


def test_who_shows_no_token_guesses_nothing(directory: Directory, clock: Hands) -> None:
    assert [directory.send("GET", "/Users", Authorization="").status for _ in range(5)] == [401] * 5


def test_guesses_take_nothing_from_the_directorys_own_requests(directory: Directory, clock: Hands) -> None:
    for _ in range(10):
        directory.send("GET", "/ServiceProviderConfig", Authorization="Bearer wrong")

    assert [directory.send("GET", "/ServiceProviderConfig").status for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(("text", "rate"), [("", 1000), ("0", 0), ("0.5", 0.5), ("25", 25)])
def test_the_rate_is_a_setting(text: str, rate: float) -> None:
    assert from_environment({"DOORLIST_SCIM_RATE": text}).scim_rate == rate


def test_a_rate_that_is_none_is_refused() -> None:
    with pytest.raises(SettingError, match="DOORLIST_SCIM_RATE"):
        from_environment({"DOORLIST_SCIM_RATE": "-1"})


# What is told


def test_both_ways_in_are_told(directory: Directory) -> None:
    schemes = directory.send("GET", "/ServiceProviderConfig").document["authenticationSchemes"]

    assert [(scheme["type"], scheme["primary"]) for scheme in schemes] == [("oauthbearertoken", True), ("oauth2", False)]
    assert all(scheme["name"] and scheme["description"] and scheme["specUri"] for scheme in schemes)


def test_no_token_is_in_logs_errors_or_the_journal(
    directory: Directory, clock: Hands, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    directory.add_user("ada")
    answers = [directory.send("GET", "/Users/nobody"), directory.send("GET", "/Users?filter=("), directory.send("GET", "/Users")]
    answers += [directory.send("POST", "/Users", {"userName": "x"}, Authorization="Bearer dl_guessed") for _ in range(3)]
    with reading() as session:
        journal = "".join(f"{entry.actor}{entry.because}{entry.before}{entry.after}" for entry in session.scalars(select(Entry)))
    # The worst case: a failure whose trace holds the statement that asked for the token, and its values.
    in_transaction(lambda session: session.connection().exec_driver_sql("ALTER TABLE bearer_token RENAME TO away"))
    answers.append(directory.send("GET", "/ServiceProviderConfig"))
    told = "".join(f"{answer.text}{answer.headers}" for answer in answers)
    written = f"{journal}{told}{caplog.text}{''.join(capfd.readouterr())}"

    assert journal and answers[-1].status in (500, 503) and "bearer_token" in caplog.text
    assert directory.token not in written and "dl_guessed" not in written
