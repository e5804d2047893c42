"""What somebody is told to type can be pasted into a shell, whatever people and sources are called."""

from __future__ import annotations

import json
import shlex

import pytest
from sqlalchemy.orm import Session

from app.lifecycle.workspaces import workspaces_of
from app.scim.seen import flush_requests
from tests.unit.access.signing import jwks_of, key_for
from tests.unit.commands.conftest import Desk, Said

ODD = "zoe o'ng $(id) & co"


def told(said: str, *, text: str = "a slip") -> list[str]:
    """The words after `doorlist`, as a shell takes them from the last line or sentence that has them."""
    words = shlex.split(said.rpartition("doorlist ")[2].strip())
    return [text if word == "TEXT" else word for word in words]


def pasted(desk: Desk, said: str) -> Said:
    words = told(said)
    # What stands behind the two dashes is no option.
    end = words.index("--") if "--" in words else len(words)
    return desk.types(*words[:end], "--json", *words[end:])


@pytest.fixture(params=[ODD, f"--{ODD}", "-h"])
def zoe(desk: Desk, request: pytest.FixtureRequest) -> str:
    """The userName of somebody, which a shell or the command line would take for something else."""
    desk.hires(desk.directory(), request.param)
    return f"{request.param}@acme.example"


def test_who_is_expected_is_called_off_as_it_says(desk: Desk, zoe: str) -> None:
    said = desk.types("person", "expect", "--at", "2031-03-01", "--", zoe).err

    called_off = pasted(desk, said)
    assert called_off.exit == 0, called_off
    assert called_off.json["standing"] == "departed"


def test_who_leaves_later_is_called_off_and_who_is_out_is_looked_at_as_it_says(desk: Desk, zoe: str) -> None:
    later = pasted(desk, desk.types("depart", "--at", "2031-03-01T00:00:00Z", "--", zoe).err)
    out = pasted(desk, desk.types("depart", "--", zoe).err)

    assert (later.exit, later.json["standing"]) == (0, "active")
    assert out.exit == 0 and len(out.json["departures"]) == 1


def test_who_has_left_is_brought_back_as_the_refusal_says(desk: Desk, zoe: str) -> None:
    desk.types("depart", "--", zoe)

    refused = desk.types("person", "expect", "--at", "2031-03-01", "--json", "--", zoe).json["error"]

    back = desk.types(*("2031-03-01T00:00:00Z" if word == "T" else word for word in told(refused)))
    assert back.exit == 0, back


@pytest.mark.parametrize("name", ["Okta EU", "-eu"])
def test_a_source_of_an_odd_name_is_given_another_token_as_doctor_says(desk: Desk, name: str) -> None:
    desk.types("source", "add", "scim", "--", name)
    desk.types("source", "revoke", "--", name)

    [said] = [one["sentence"] for one in desk.asks("doctor")["findings"] if one["about"] == name]

    rotated = pasted(desk, said)
    assert rotated.exit == 0 and rotated.json["token"]


def test_a_source_that_is_pulled_is_read_no_longer_as_the_refusal_says(desk: Desk) -> None:
    desk.asks("source", "add", "csv", ODD, "--url", "https://hr.example/people.csv", "--token-file", desk.file("token", "theirs"))

    ended = pasted(desk, desk.types("source", "revoke", ODD).err)

    assert (ended.exit, ended.json["every"]) == (0, "off"), ended


@pytest.fixture(params=["client_secret", "private_key_jwt"])
def oauth(desk: Desk, request: pytest.FixtureRequest) -> tuple[str, str]:
    """A directory that is an OAuth client, and the file of its keys."""
    keys = desk.file("keys.json", json.dumps(jwks_of(key_for("ES256"))))
    signs = ("--jwks-file", keys) if request.param == "private_key_jwt" else ()
    return desk.asks("source", "add", "scim", ODD, "--auth", "oauth", *signs)["id"], keys


def test_a_directory_that_is_a_client_is_let_in_again_as_doctor_says(desk: Desk, oauth: tuple[str, str]) -> None:
    _, keys = oauth
    desk.types("source", "revoke", ODD)

    [said] = [one["sentence"] for one in desk.asks("doctor")["findings"] if one["about"] == ODD]

    rotated = pasted(desk, said.replace("FILE", keys))
    assert rotated.exit == 0 and rotated.json["client_id"]


def test_a_directory_that_is_a_client_is_told_to_ask_for_a_token_and_not_to_enter_one(desk: Desk, oauth: tuple[str, str]) -> None:
    source_id, keys = oauth
    desk.app.test_client().get(f"/scim/v2/{source_id}/Users", headers={"Authorization": "Bearer dl_at_of_yesterday"})
    flush_requests(desk.app)

    advice = desk.asks("requests", "show", desk.asks("requests", "list")["requests"][0]["id"])["advice"]

    assert "ask for another one at the token URL" in advice and "Enter the token" not in advice
    rotated = pasted(desk, advice.replace("FILE", keys))
    assert rotated.exit == 0 and rotated.json["client_id"]


def test_a_workspace_with_a_blank_in_its_name_is_resumed_as_status_says(desk: Desk) -> None:
    desk.asks("workspace", "add", "matrix", "Chat EU", "--url", "https://chat.example", "--token-file", desk.file("token", "s3cret"))
    organization_id = desk.organization_id

    def halt(session: Session) -> None:
        for one in workspaces_of(session, organization_id):
            one.state, one.halted_reason = "halted", "the token is not accepted"

    desk.acts(halt)
    [said] = [one for one in desk.asks("status")["alarms"] if "halted" in one]

    resumed = pasted(desk, said)
    assert (resumed.exit, resumed.json["state"]) == (0, "running")
