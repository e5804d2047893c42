"""What is said of requests that were seen, to whom, and what helps."""

import shlex
from dataclasses import replace

import pytest

from app.audit.request_tables import RequestSeen
from app.commands.advice import Circumstances, what_happened, what_to_do
from app.commands.requests import _error
from tests.unit.commands.conftest import Desk
from tests.unit.commands.pushing import Pusher

_OFF = "the user with externalId '7' is known and stays switched off (departed by operator (a bar); see (1)); a directory cannot give back access"


def _advice(row: RequestSeen, subject: str) -> str:
    around = Circumstances(source="okta", base_url="b", subject=subject, standing=None, error=row.error)
    return what_to_do(row, around) or ""


def _row(**given: object) -> RequestSeen:
    return RequestSeen(**{"method": "POST", "path": "/Users", "known": True, "found": None, "name": None, "times": 1, "error": None, "scim_type": "uniqueness", **given})


@pytest.mark.parametrize(
    ("error", "who"),
    [
        ("userName 'ada o''neil' belongs to another user of this directory", "ada o'neil"),
        ("externalId '00u 7' belongs to another user of this directory", "00u 7"),
        ('externalId "it\'s" belongs to another user of this directory', "it's"),
        ("externalId '\\x•••' belongs to another user of this directory", "ada o'neil"),
        ("externalId 'a\\nb' belongs to another user of this directory", "a\nb"),
    ],
)
def test_who_has_a_name_is_found_by_a_command_that_can_be_typed(error: str, who: str) -> None:
    said = _advice(_row(status=409, resource_type="User", error=error), "ada o'neil")

    command = said.partition("Find it: ")[2].partition(". Rename")[0]
    assert shlex.split(command) == ["doorlist", "requests", "list", "--person", who]


def test_no_command_is_named_that_finds_no_group() -> None:
    said = _advice(_row(status=409, resource_type="Group", error="displayName 'G' belongs to another group of this directory"), "G")

    assert "doorlist" not in said and "Rename or delete one of the two in the directory, then provision again" in said


def test_who_is_gone_already_need_not_be_made_anew() -> None:
    assert "nothing is left" in _advice(_row(status=404, method="DELETE", resource_id="x", resource_type="User"), "ada")
    assert "Unlink and push the group" in _advice(_row(status=404, method="PATCH", resource_id="x", resource_type="Group"), "G")
    assert "Unassign and assign them" in _advice(_row(status=404, method="PATCH", resource_id="x", resource_type="User"), "ada")


@pytest.mark.parametrize("whole", [True, False], ids=["a PUT", "a PATCH"])
def test_who_pushed_a_group_before_its_people_hears_that_and_not_of_a_mapping(pusher: Pusher, whole: bool) -> None:
    team = pusher.sends("POST", "/Groups", {"displayName": "Team"})["id"]
    members = [{"value": "01a22c92-44e3-77fc-8eb2-083a53f9c3c5"}]
    if whole:
        pusher.sends("PUT", f"/Groups/{team}", {"displayName": "Team", "members": members})
    else:
        pusher.patches(f"/Groups/{team}", op="add", path="members", value=members)

    advice = pusher.desk.asks("requests", "show", pusher.latest())["advice"]

    assert "push these people first, and then the group again" in advice and "mapping" not in advice


def test_helpdesk_hears_that_somebody_stays_off_and_not_why() -> None:
    row = _row(status=409, resource_type="User", error=_OFF)

    assert _error(row, informed=True) == _OFF
    assert _error(row, informed=False) == "the user with externalId '7' is known and stays switched off; a directory cannot give back access"
    around = Circumstances(source="okta", base_url="b", subject="ada", standing=None, error=_error(row, informed=False))
    assert "operator" not in what_happened(row, around)


def test_helpdesk_is_told_no_reason_by_any_verb(pusher: Pusher) -> None:
    desk = pusher.desk
    ada = pusher.sends("POST", "/Users", {"userName": "ada", "externalId": "7"})["id"]
    desk.asks("depart", "ada")
    pusher.patches(f"/Users/{ada}", op="replace", path="active", value=False)
    pusher.sends("POST", "/Users", {"userName": "ada", "externalId": "7"})
    refused = next(one["id"] for one in pusher.listed("--status", "409"))
    token = desk.asks("operator", "add", "help", "--role", "helpdesk")["token"]

    for verb in (["list"], ["show", refused], ["replay", refused, "--dry-run"]):
        for informed, given in ((True, None), (False, token)):
            said = desk.types("requests", *verb, token=given)
            assert said.exit == 0, said
            told = said.out + said.err
            assert "stays switched off" in told and ("stays switched off (" in told) == informed, said


def test_what_was_turned_away_unread_does_not_say_that_there_was_nothing(pusher: Pusher) -> None:
    pusher.sends("POST", "/Users", {"userName": "ada"}, token="dl_wrongwrongwrongwrong")
    shown, curl = pusher.desk.asks("requests", "show", pusher.latest()), pusher.desk.types("requests", "curl", pusher.latest())

    assert shown["body"] == {"state": "unread", "bytes": 0, "masked": None}
    assert curl.exit == 1 and "turned away before that was read" in curl.err


@pytest.mark.parametrize(
    ("method", "path", "body", "more", "status", "advice"),
    [
        ("POST", "/Users", {"userName": "ada"}, {"kind": "text/plain"}, 415, "must send application/scim+json"),
        ("PUT", "/Users/x", {"userName": "ada"}, {"kind": "application/json; charset=utf-16"}, 415, "in UTF-8"),
        ("PATCH", "/Users/x", {"userName": "ada"}, {"coding": "gzip"}, 415, "as they are"),
        ("POST", "/Users", '{"userName": "' + "x" * 2**21 + '"}', {}, 413, "DOORLIST_BODY_LIMIT"),
        ("POST", "/Bulk", '{"x": "' + "x" * 2**20 + '"}', {}, 413, "no setting allows more"),
        ("POST", "/Bulk", '{"x": "' + "x" * 2**21 + '"}', {}, 413, "no setting allows more"),
        ("POST", "/Me", {"userName": "ada"}, {}, 501, "not offered here"),
        ("POST", "/Users/x", {"userName": "ada"}, {}, 405, "no address of a resource"),
    ],
)
def test_a_body_that_was_not_read_is_not_said_to_be_empty(
    pusher: Pusher, method: str, path: str, body: object, more: dict[str, str], status: int, advice: str
) -> None:
    pusher.sends(method, path, body, **more)

    shown, curl = pusher.desk.asks("requests", "show", pusher.latest()), pusher.desk.types("requests", "curl", pusher.latest())

    assert (shown["status"], shown["body"]) == (status, {"state": "unread", "bytes": 0, "masked": None})
    assert curl.exit == 1 and "turned away before that was read" in curl.err
    assert "turned away before it was read" in pusher.cannot_replay()
    assert advice in shown["advice"] and ("application/scim+json" in shown["advice"]) == ("+json" in advice)


def test_a_body_that_was_read_and_is_empty_is_none(pusher: Pusher) -> None:
    pusher.sends("POST", "/Users", "")

    assert pusher.desk.asks("requests", "show", pusher.latest())["body"] == {"state": "none", "bytes": 0, "masked": None}


@pytest.mark.parametrize(
    ("kind", "error", "helps"),
    [
        ("User", "the body is larger than 2097152 bytes", True),
        ("User", "this PATCH holds more than 1000 operations: send them in several requests", False),
        ("Bulk", "the size of this Bulk exceeds the maxPayloadSize of 4096 bytes: send its operations in several requests", True),
        ("Bulk", "the size of this Bulk exceeds the maxPayloadSize of 1048576 bytes: send its operations in several requests", False),
        ("Bulk", "this Bulk has 1001 operations, and maxOperations is 1000: send them in several requests", False),
    ],
)
def test_a_setting_is_named_only_where_it_allows_more(kind: str, error: str, helps: bool) -> None:
    assert ("DOORLIST_BODY_LIMIT" in _advice(_row(status=413, scim_type=None, resource_type=kind, error=error), "ada")) == helps


def test_curl_knows_a_masked_address_and_waits_for_no_body_of_a_head(pusher: Pusher) -> None:
    pusher.sends("GET", f"/Users/{pusher.token}")
    masked = pusher.desk.asks("requests", "curl", pusher.latest())
    pusher.sends("HEAD", "/Users")
    head, shown = pusher.desk.asks("requests", "curl", pusher.latest()), pusher.desk.asks("requests", "show", pusher.latest())

    assert masked["masked"] is True and pusher.token[3:] not in masked["curl"]
    assert head["curl"].startswith("curl -I ") and head["masked"] is False
    assert "looked at" in shown["sentence"]


def test_a_replay_says_that_members_would_change(pusher: Pusher) -> None:
    ada = pusher.sends("POST", "/Users", {"userName": "ada"})["id"]
    group = pusher.sends("POST", "/Groups", {"displayName": "Team"})["id"]
    pusher.patches(f"/Groups/{group}", op="add", path="members", value=[{"value": ada}])
    added = pusher.latest()
    again = pusher.desk.asks("requests", "replay", added, "--dry-run")
    pusher.patches(f"/Groups/{group}", op="remove", path=f'members[value eq "{ada}"]')

    anew = pusher.desk.types("requests", "replay", added, "--dry-run")

    assert again["changes"] == []
    assert "would change members" in anew.err + anew.out


@pytest.mark.parametrize("nobody", ["", "  "])
def test_nobody_is_no_person(pusher: Pusher, nobody: str) -> None:
    pusher.sends("GET", "/Users")

    assert pusher.desk.types("requests", "list", "--person", nobody).exit == 2


@pytest.mark.parametrize("verb", [["source", "add", "scim"], ["source", "add", "hr"], ["workspace", "add", "matrix"], ["operator", "add"]])
@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 201, "a\x1b[31m"])
def test_what_is_made_has_a_name_that_can_be_typed(desk: Desk, verb: list[str], name: str) -> None:
    said = desk.types(*verb, name, "--json")

    assert said.exit == 2 and "is no name" in said.json["error"]


@pytest.mark.parametrize("arguments", [["requests", "show", "\udcff"], ["requests", "list", "--person", "a\udcffb"], ["source", "add", "scim", "x\udcff"]])
def test_a_terminal_that_speaks_another_encoding_is_told(desk: Desk, arguments: list[str]) -> None:
    said = desk.types(*arguments, "--json")

    assert said.exit == 2 and "is no UTF-8" in said.json["error"] and "\\xff" in said.json["error"]


@pytest.mark.slow
def test_nobody_is_called_unsent_where_only_some_requests_were_asked_for(pusher: Pusher) -> None:
    pusher.sends("POST", "/Users", {"userName": "ada"})

    some = pusher.desk.types("requests", "list", "--person", "ada", "--source", "okta", "--status", "4xx").err
    never = pusher.desk.types("requests", "list", "--person", "bo").err

    assert "No such request about ada was seen" in some and "leave out --source and --status" in some and "no directory sent them" not in some
    assert "No request about bo was seen. Then no directory sent them" in never


@pytest.mark.parametrize("about", [(), ("--person", "ada")])
def test_nobody_is_called_unsent_where_requests_are_not_kept(desk: Desk, about: tuple[str, ...]) -> None:
    forgets = replace(desk, environment={**desk.environment, "DOORLIST_REQUESTS_KEPT_DAYS": "0"})

    said = forgets.types("requests", "list", *about).err

    assert said.strip() == "Requests are not kept here (DOORLIST_REQUESTS_KEPT_DAYS is 0), so nothing is known of what directories sent."
