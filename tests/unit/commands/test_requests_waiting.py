"""What `requests show` says where nothing was refused and the person is in all the same, and where the usual advice would mislead."""

from __future__ import annotations

import pytest

from app.audit.masking import Masking
from app.audit.request_tables import RequestSeen
from app.commands.advice import Circumstances, what_to_do
from app.settings import SettingError, from_environment
from tests.unit.commands.pushing import Pusher

OFF = {"Operations": [{"op": "replace", "path": "active", "value": False}]}


def test_what_waits_behind_the_brake_is_said_to(pusher: Pusher) -> None:
    pusher.desk.asks("settings", "set", "push_brake", "1/60s")
    people = [pusher.sends("POST", "/Users", {"userName": f"p{number}"})["id"] for number in range(3)]
    pusher.sends("PATCH", f"/Users/{people[0]}", OFF)
    assert pusher.desk.asks("requests", "show", pusher.latest())["advice"] is None

    waiting = []
    for method, person, body in (("PATCH", people[1], OFF), ("DELETE", people[2], None)):
        pusher.sends(method, f"/Users/{person}", body)
        waiting.append(pusher.latest())
    advices = [pusher.desk.asks("requests", "show", one)["advice"] for one in waiting]
    pusher.sends("PATCH", f"/Users/{people[1]}", {"Operations": [{"op": "replace", "path": "title", "value": "x"}]})

    [held] = pusher.desk.asks("held", "list")["held"]
    assert advices == [f"That their access is taken waits behind the brake, for an admin: doorlist held show {held['digest']}"] * 2
    assert pusher.desk.asks("requests", "show", pusher.latest())["advice"] is None, "of a title nothing waits"


def test_a_deletion_at_the_wrong_directory_is_not_called_done(pusher: Pusher) -> None:
    other = pusher.desk.asks("source", "add", "scim", "entra")
    ada = pusher.sends("POST", "/Users", {"userName": "ada"})["id"]
    elsewhere = Pusher(desk=pusher.desk, http=pusher.http, source_id=other["id"], token=other["token"])

    elsewhere.sends("DELETE", f"/Users/{ada}")
    assert "here by another directory" in pusher.desk.asks("requests", "show", pusher.latest())["advice"]
    pusher.sends("DELETE", f"/Users/{ada}")
    pusher.sends("DELETE", f"/Users/{ada}")

    assert "nothing is left" in pusher.desk.asks("requests", "show", pusher.latest())["advice"]


def test_a_refused_rename_is_about_whom_it_was_to_rename(pusher: Pusher) -> None:
    ada = pusher.sends("POST", "/Users", {"userName": "ada"})["id"]
    pusher.sends("POST", "/Users", {"userName": "bob"})

    pusher.sends("PUT", f"/Users/{ada}", {"userName": "bob"})

    said = pusher.desk.asks("requests", "show", pusher.latest())
    assert said["sentence"].startswith("okta tried to change ada and was refused with 409 uniqueness: userName 'bob' belongs to another user")
    assert "doorlist requests list --person bob" in said["advice"]


@pytest.mark.parametrize(
    ("row", "said", "not_said"),
    [
        ({"status": 429, "known": False}, "source rotate okta", "DOORLIST_SCIM_RATE"),
        ({"status": 429, "known": True}, "DOORLIST_SCIM_RATE", "rotate"),
        ({"status": 409, "known": True, "scim_type": "invalidValue", "part_of": "b"}, "Mend the operation", "delete"),
    ],
)
def test_no_advice_misleads(row: dict[str, object], said: str, not_said: str) -> None:
    advice = what_to_do(
        RequestSeen(**{"method": "POST", "found": None, "name": None, "times": 1, "error": "", "scim_type": None, "resource_type": "User", **row}),
        Circumstances(source="okta", base_url="b", subject="ada", standing=None, error=""),
    )

    assert advice is not None and said in advice and not_said not in advice


def test_how_many_errors_a_bulk_may_have_is_no_secret() -> None:
    masked = Masking().body({"failOnErrors": 1, "Operations": [{"method": "POST", "path": "/Users", "bulkId": "b", "data": {"failOnErrors": 7}}]})

    assert (masked["failOnErrors"], masked["Operations"][0]["data"]["failOnErrors"]) == (1, "•••")
    assert Masking().body({"userName": "ada", "failOnErrors": 7})["failOnErrors"] == "•••", "of a person it says nothing that is known"


@pytest.mark.parametrize("url", ["acme", "doorlist.example.com", "//x", "ftp://x", "https://", "https://x?y", "https://x/#y"])
def test_an_address_that_is_none_is_named_at_once(url: str) -> None:
    with pytest.raises(SettingError, match="DOORLIST_PUBLIC_URL"):
        from_environment({"DOORLIST_PUBLIC_URL": url})
    assert from_environment({"DOORLIST_PUBLIC_URL": "https://x.example/doorlist/"}).public_url == "https://x.example/doorlist"
