"""What the Matrix connector sends and what it makes of bad answers, at the transport.

What a real Synapse does with it is in `test_matrix_accounts`, `_access`, `_channels` and `_check`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator

import pytest
import requests
import responses

from connectors.contract import (
    AccountId,
    AccountState,
    ChannelRef,
    ChannelWanted,
    Misconfigured,
    Profile,
    RateLimited,
    Refused,
    Secret,
    TargetSettings,
    Unauthorised,
    Unreachable,
)
from connectors.registry import open_target
from connectors.targets.matrix import Matrix
from tests.connectors.matrix_arrangement import allowed

URL = "http://matrix.test"
ADMIN = f"{URL}/_synapse/admin"
CLIENT = f"{URL}/_matrix/client/v3"
OWN = "@provisioner:chat.test"
ADA_ID = AccountId("@ada:chat.test")
ADA_URL = f"{ADMIN}/v2/users/%40ada%3Achat.test"
ADA = Profile(person_id="p1", user_name="ada@corp.test", display_name="Ada", emails=("ada@corp.test",))
NOT_FOUND = {"errcode": "M_NOT_FOUND", "error": "Not found"}
ROOM = ChannelRef("!r")


@pytest.fixture
def server() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.get(f"{CLIENT}/account/whoami", json={"user_id": OWN})
        yield mock


@pytest.fixture
def chat() -> Matrix:
    return Matrix(
        TargetSettings(name="chat", url=URL, token=Secret("syt_token"), options={"server_name": "chat.test"})
    )


def account(**fields: object) -> dict[str, object]:
    return {
        "name": ADA_ID,
        "displayname": "Ada",
        "deactivated": False,
        "locked": False,
        "threepids": [{"medium": "email", "address": "ada@corp.test"}],
        "external_ids": [{"auth_provider": "oidc-doorlist", "external_id": "p1"}],
        **fields,
    }


def nobody_there(server: responses.RequestsMock) -> None:
    server.get(f"{ADMIN}/v1/auth_providers/oidc-doorlist/users/p1", json=NOT_FOUND, status=404)
    server.get(f"{ADMIN}/v1/threepid/email/users/ada%40corp.test", json=NOT_FOUND, status=404)
    server.get(ADA_URL, json=NOT_FOUND, status=404)


def sent(server: responses.RequestsMock) -> list[str]:
    """Method and path of what was sent, without our own whoami."""
    calls = [(call.request.method, call.request.path_url.partition("?")[0]) for call in server.calls]
    return [f"{method} {path}" for method, path in calls if not path.endswith("/whoami")]


def changes(server: responses.RequestsMock) -> list[str]:
    return [line for line in sent(server) if not line.startswith("GET")]


@pytest.mark.parametrize(
    ("user_name", "attempt", "expected"),
    [
        ("Ada.Lovelace@corp.test", 1, "@ada.lovelace:chat.test"),
        ("ada@corp.test", 2, "@ada-2:chat.test"),
        ("__ada", 1, "@ada:chat.test"),
        ("-_ada", 1, "@ada:chat.test"),
        ("Jürgen Groß", 1, "@j-rgen-gro:chat.test"),
        ("李明", 1, "@person:chat.test"),
        ("李明", 3, "@person-3:chat.test"),
        ("00471@corp.test", 1, "@person-00471:chat.test"),
        ("00471@corp.test", 2, "@person-00471-2:chat.test"),
    ],
)
def test_the_proposed_id_is_a_matrix_id(chat: Matrix, user_name: str, attempt: int, expected: str) -> None:
    profile = Profile(person_id="p", user_name=user_name, display_name="")

    assert chat.proposed_id(profile, attempt=attempt) == expected


def test_a_profile_is_fitted_to_what_synapse_holds(chat: Matrix) -> None:
    profile = Profile(
        person_id="p1",
        user_name="ada",
        display_name=" " + "A" * 300 + "\0",
        emails=("B@CORP.test", "b@corp.test", "not an address", "a@corp.test"),
    )

    fitted = chat.fit(profile)

    assert fitted.display_name == "A" * 256
    assert fitted.emails == ("a@corp.test", "b@corp.test")
    assert chat.fit(fitted) == fitted


def test_someone_without_a_display_name_is_called_by_the_user_name(chat: Matrix) -> None:
    assert chat.fit(Profile(person_id="p", user_name="ada", display_name=" ")).display_name == "ada"


def test_creating_takes_four_calls(server: responses.RequestsMock, chat: Matrix) -> None:
    nobody_there(server)
    server.put(ADA_URL, json=account(), status=201)

    made = chat.create_account(ADA_ID, ADA, permit=allowed)

    assert made.state is AccountState.ACTIVE
    assert len(sent(server)) == 4
    assert "password" not in json.loads(server.calls[-1].request.body or "")


def test_an_account_that_is_right_already_is_not_written(
    server: responses.RequestsMock, chat: Matrix
) -> None:
    server.get(ADA_URL, json=account())

    chat.update_account(ADA_ID, ADA, permit=allowed)

    assert changes(server) == []


@pytest.mark.parametrize(
    "answer",
    [
        {"body": "<html>502</html>", "status": 404},
        {"json": {"message": "no route"}, "status": 404},
        {"json": [], "status": 200},
        {"body": "", "status": 200},
        {"json": {}, "status": 500},
    ],
)
def test_garbage_never_reads_as_a_free_name(
    server: responses.RequestsMock, chat: Matrix, answer: dict[str, object]
) -> None:
    nobody_there(server)
    server.replace(responses.GET, ADA_URL, **answer)  # type: ignore[arg-type]  # the parts of one answer

    with pytest.raises(Unreachable):
        chat.create_account(ADA_ID, ADA, permit=allowed)

    assert changes(server) == []


def test_an_answer_without_the_account_list_is_not_an_empty_workspace(
    server: responses.RequestsMock, chat: Matrix
) -> None:
    server.get(f"{ADMIN}/v3/users", json={"users": [], "total": 250})

    with pytest.raises(Unreachable):
        list(chat.list_accounts())


def test_an_answer_without_the_room_list_is_not_an_empty_workspace(
    server: responses.RequestsMock, chat: Matrix
) -> None:
    server.get(f"{ADMIN}/v1/rooms", json={"rooms": [], "total_rooms": 120})

    with pytest.raises(Unreachable):
        list(chat.list_channels())


def test_a_leaver_is_locked_before_being_deactivated(server: responses.RequestsMock, chat: Matrix) -> None:
    server.get(ADA_URL, json=account())
    server.put(ADA_URL, json=account(locked=True))
    server.post(f"{ADMIN}/v1/deactivate/%40ada%3Achat.test", json={})

    chat.deactivate_account(ADA_ID)

    assert changes(server) == [
        "PUT /_synapse/admin/v2/users/%40ada%3Achat.test",
        "POST /_synapse/admin/v1/deactivate/%40ada%3Achat.test",
    ]
    assert json.loads(server.calls[-1].request.body or "") == {"erase": False}


def test_a_lost_answer_to_the_lock_is_not_taken_for_done(
    server: responses.RequestsMock, chat: Matrix
) -> None:
    server.get(ADA_URL, json=account())
    server.put(ADA_URL, body=requests.exceptions.ReadTimeout())

    with pytest.raises(Unreachable) as caught:
        chat.deactivate_account(ADA_ID)

    assert caught.value.sent


def test_what_somebody_paused_is_in_is_asked_once_however_many_direct_chats_keep_them(server: responses.RequestsMock, chat: Matrix) -> None:
    chats = [f"!{number}" for number in range(20)]
    server.get(ADA_URL, json=account(locked=True))
    server.get(f"{ADA_URL}/devices", json={"devices": []})
    server.get(f"{ADMIN}/v1/users/%40ada%3Achat.test/memberships", json={"memberships": {**dict.fromkeys(chats, "join"), "!ours": "join"}})
    server.post(re.compile(f"{CLIENT}/rooms/%21[0-9]+/kick"), json={"errcode": "M_FORBIDDEN", "error": "not in room"}, status=403)
    server.post(f"{CLIENT}/rooms/%21ours/kick", json={})

    chat.pause_account(ADA_ID)

    assert Counter(line.rpartition("/")[2] for line in sent(server)) == {"%40ada%3Achat.test": 1, "devices": 1, "memberships": 1, "kick": 21}


def test_access_that_cannot_be_read_is_not_reported_as_none(
    server: responses.RequestsMock, chat: Matrix
) -> None:
    server.get(ADA_URL, json=account(deactivated=True))
    server.get(f"{ADMIN}/v1/users/%40ada%3Achat.test/pushers", body="<html>", status=404)

    with pytest.raises(Unreachable):
        chat.show_access(ADA_ID)


def test_adding_someone_is_one_call(server: responses.RequestsMock, chat: Matrix) -> None:
    server.post(f"{ADMIN}/v1/join/%21r", json={"room_id": ROOM})

    chat.add_members(ROOM, [ADA_ID], permit=allowed)

    assert sent(server) == ["POST /_synapse/admin/v1/join/%21r"]


def test_one_who_is_refused_does_not_keep_the_others_out(
    server: responses.RequestsMock, chat: Matrix
) -> None:
    forbidden = {"errcode": "M_FORBIDDEN", "error": "banned"}
    server.post(f"{ADMIN}/v1/join/%21r", json=forbidden, status=403)
    server.post(f"{ADMIN}/v1/join/%21r", json={"room_id": ROOM})
    server.get(f"{CLIENT}/rooms/%21r/state/m.room.member/%40ada%3Achat.test", json={"membership": "ban"})

    with pytest.raises(Refused):
        chat.add_members(ROOM, [ADA_ID, AccountId("@bob:chat.test")], permit=allowed)

    assert len(changes(server)) == 2


def test_the_permit_is_asked_again_for_each_member(server: responses.RequestsMock, chat: Matrix) -> None:
    server.post(f"{ADMIN}/v1/join/%21r", json={"room_id": ROOM})
    asked: list[int] = []

    chat.add_members(
        ROOM, [ADA_ID, AccountId("@bob:chat.test")], permit=lambda: asked.append(len(changes(server)))
    )

    assert asked == [0, 1]


def test_a_room_limit_says_how_long_to_wait(server: responses.RequestsMock, chat: Matrix) -> None:
    limited = {"errcode": "M_LIMIT_EXCEEDED", "error": "Too Many Requests", "retry_after_ms": 61000}
    server.post(f"{CLIENT}/createRoom", json=limited, status=429)

    with pytest.raises(RateLimited) as caught:
        chat.create_channel(ChannelWanted(key="k", name="K"))

    assert caught.value.wait == 61


def test_a_token_that_died_halts_the_connector(server: responses.RequestsMock, chat: Matrix) -> None:
    server.get(
        ADA_URL, json={"errcode": "M_UNKNOWN_TOKEN", "error": "Invalid", "soft_logout": False}, status=401
    )

    with pytest.raises(Unauthorised):
        chat.get_account(ADA_ID)


def test_a_server_without_the_admin_api_halts_the_connector(
    server: responses.RequestsMock, chat: Matrix
) -> None:
    server.get(ADA_URL, json={"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"}, status=404)

    with pytest.raises(Misconfigured):
        chat.get_account(ADA_ID)


DESK_URL = f"{ADMIN}/v1/rooms/%21desk%3Achat.test"


def healthy(server: responses.RequestsMock) -> None:
    own = "%40provisioner%3Achat.test"
    server.get(f"{ADMIN}/v1/server_version", json={"server_version": "1.163.2"})
    server.get(f"{ADMIN}/v2/users/{own}", json={"name": OWN, "admin": True})
    unrecognized = {"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"}
    server.get(f"{URL}/_matrix/client/v1/auth_metadata", json=unrecognized, status=404)
    server.post(f"{ADMIN}/v1/users/{own}/override_ratelimit", json={})
    limits = {"messages_per_second": 0, "burst_count": 0}
    server.get(f"{ADMIN}/v1/users/{own}/override_ratelimit", json=limits)
    updates = {"enabled": True, "current_updates": {}}
    server.get(f"{ADMIN}/v1/background_updates/status", json=updates)
    flow = {"type": "m.login.sso", "identity_providers": [{"id": "oidc-doorlist"}]}
    server.get(f"{CLIENT}/login", json={"flows": [flow]})
    server.get(f"{ADMIN}/v3/users", json={"users": [{"name": ADA_ID}], "total": 1})
    server.get(f"{ADMIN}/v1/users/%40ada%3Achat.test/pushers", json={"pushers": []})
    server.get(f"{CLIENT}/joined_rooms", json={"joined_rooms": ["!desk:chat.test"]})
    server.get(DESK_URL, json={"room_id": "!desk:chat.test", "name": "desk", "creator": OWN})


def test_the_check_has_nothing_to_say_of_a_server_well_set_up(
    server: responses.RequestsMock, chat: Matrix
) -> None:
    healthy(server)

    assert chat.check().problems == ()


@pytest.mark.parametrize(
    ("url", "answer", "expected"),
    [
        (f"{ADMIN}/v1/server_version", {"server_version": "1.98.0"}, "1.98.0 is outside"),
        (f"{ADMIN}/v1/server_version", {"server_version": "2.0.0rc1"}, "2.0.0rc1 is outside"),
        (f"{CLIENT}/login", {"flows": [{"type": "m.login.password"}]}, "oidc-doorlist"),
        (f"{ADMIN}/v1/users/%40provisioner%3Achat.test/override_ratelimit", {}, "rate limited"),
        (
            f"{ADMIN}/v1/background_updates/status",
            {"enabled": False, "current_updates": {"master": {"name": "index"}}},
            "background update of database master",
        ),
        (
            f"{ADMIN}/v1/users/%40ada%3Achat.test/pushers",
            {"pushers": [{"kind": "http", "data": {"url": "http://gateway"}}]},
            "1 of 1 accounts looked at have push registrations that carry message text",
        ),
        (DESK_URL, {"room_id": "!desk:chat.test", "name": None, "creator": OWN}, "statistics of rooms"),
    ],
)
def test_the_check_names_what_leaks_or_limits(
    server: responses.RequestsMock, chat: Matrix, url: str, answer: dict[str, object], expected: str
) -> None:
    healthy(server)
    server.replace(responses.GET, url, json=answer)

    assert expected in " ".join(chat.check().problems)


def test_the_check_takes_no_room_of_others_for_one_that_lost_its_name(server: responses.RequestsMock, chat: Matrix) -> None:
    healthy(server)
    server.replace(responses.GET, DESK_URL, json={"room_id": "!desk:chat.test", "name": None, "creator": ADA_ID})

    assert chat.check().problems == ()


def test_a_server_that_signs_in_elsewhere_is_refused(server: responses.RequestsMock, chat: Matrix) -> None:
    healthy(server)
    metadata = f"{URL}/_matrix/client/v1/auth_metadata"
    server.replace(responses.GET, metadata, json={"issuer": "https://mas.test"})

    with pytest.raises(Misconfigured, match="Matrix Authentication Service"):
        chat.check()


def test_an_unknown_kind_of_workspace_names_the_known_ones() -> None:
    settings = TargetSettings(name="chat", url=URL, token=Secret("t"))

    with pytest.raises(Misconfigured, match="matrix"):
        open_target("irc", settings)
