"""`doorlist requests`: why was she not provisioned, and what would happen now."""

from __future__ import annotations

import json
import shlex
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, func, select, text

from app.audit.request_tables import RequestBody
from app.clock import iso, now
from app.commands.advice import what_to_do
from app.database import Base, reading
from app.directory.tables import Record
from tests.unit.commands.conftest import ENTERPRISE, Desk
from tests.unit.commands.pushing import Pusher

pytestmark = pytest.mark.slow

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
SEARCH = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"]}


def rows_of_all_tables(desk: Desk) -> dict[str, str]:
    """Every row of every table, so that a change of one is seen as well as a new one."""
    with desk.app.app_context(), reading() as session:
        return {
            table.name: repr(sorted(map(repr, session.execute(text(f"SELECT * FROM {table.name}")).all()))) for table in Base.metadata.sorted_tables
        }


def test_list_finds_a_409_by_the_name_and_says_why(pusher: Pusher) -> None:
    pusher.sends("POST", "/Users", {"userName": "ada@acme.example", "externalId": "1"})
    pusher.sends("POST", "/Users", {"userName": "ADA@acme.example", "externalId": "2"})
    pusher.sends("POST", "/Users", {"userName": "bo"})

    found = pusher.listed("--person", "ada@acme.example")

    assert [(one["status"], one["scimType"], one["source"]) for one in found] == [(409, "uniqueness", "okta"), (201, None, "okta")]
    assert found[0]["person"] == "ada@acme.example" and found[0]["name"] == "ADA@acme.example"
    assert "belongs to another user" in found[0]["error"]


def test_list_finds_who_was_never_taken_in_by_the_name_that_was_sent(pusher: Pusher) -> None:
    pusher.sends("GET", '/Users?filter=userName eq "cy"')
    pusher.sends("POST", "/Users", {"userName": "cy", "active": "perhaps"})

    found = pusher.listed("--person", "CY")

    assert [(one["method"], one["status"], one["found"], one["person"]) for one in found] == [("POST", 400, None, None), ("GET", 200, 0, None)]


def test_list_finds_look_ups_by_every_name_that_somebody_had(pusher: Pusher) -> None:
    made = pusher.sends("POST", "/Users", {"userName": "ada", "externalId": "1"})
    pusher.sends("GET", '/Users?filter=userName eq "ADA"')
    pusher.sends("PATCH", f"/Users/{made['id']}", {"Operations": [{"op": "replace", "path": "userName", "value": "Lovelace"}]})
    pusher.sends("GET", '/Users?filter=userName eq "lovelace"')
    pusher.sends("GET", f"/Users/{made['id']}")
    # Whoever has the name now is somebody else, and what was asked of them is no answer about her.
    pusher.sends("POST", "/Users", {"userName": "ada", "externalId": "2"})
    pusher.sends("GET", '/Users?filter=userName eq "ada"')

    found = pusher.listed("--person", "lovelace")

    said = [(one["method"], one["name"], one["found"]) for one in reversed(found)]
    assert said == [("POST", "ada", None), ("GET", "ADA", 1), ("PATCH", "Lovelace", None), ("GET", "lovelace", 1), ("GET", None, None)]


def test_list_says_that_nobody_was_ever_sent(pusher: Pusher) -> None:
    said = pusher.desk.types("requests", "list", "--person", "cy")

    assert said.exit == 0 and "no directory sent them" in said.err


def test_list_tells_sources_statuses_times_and_organisations_apart(pusher: Pusher) -> None:
    other = pusher.desk.asks("source", "add", "scim", "entra")
    pusher.sends("POST", "/Users", {"userName": "ada"})
    pusher.sends("POST", "/Users", {"userName": "ada"})
    pusher.sends("POST", "/Users", {})
    Pusher(desk=pusher.desk, http=pusher.http, source_id=other["id"], token=other["token"]).sends("GET", "/Users/x")
    pusher.desk.asks("init", "--organization", "Other")

    def statuses(*arguments: str) -> list[int]:
        return [one["status"] for one in pusher.listed("--organization", "Acme", *arguments)]

    assert statuses() == [404, 400, 409, 201]
    assert statuses("--source", "okta") == [400, 409, 201]
    assert statuses("--status", "4xx") == [404, 400, 409]
    assert statuses("--status", "409") == [409]
    assert statuses("--status", "2xx") == statuses("--status", "201") == [201]
    assert statuses("--status", "5xx") == statuses("--since", str(iso(now() + timedelta(minutes=1)))) == []
    assert statuses("--since", str(iso(now() - timedelta(minutes=1))), "--limit", "1") == [404]
    assert pusher.desk.asks("requests", "list", "--organization", "Other")["requests"] == []
    assert pusher.desk.types("requests", "list", "--organization", "Acme", "--source", "none", "--json").exit == 1
    assert pusher.desk.types("requests", "list", "--organization", "Acme", "--status", "7xx", "--json").exit == 2


def test_show_says_what_happened_and_what_to_do(pusher: Pusher) -> None:
    pusher.sends("POST", "/Users", {"userName": "ada", "title": "Captain"})
    pusher.sends("POST", "/Users", {"userName": "ada", "title": "Captain"})

    said = pusher.desk.asks("requests", "show", pusher.latest())

    assert said["sentence"] == "okta tried to create ada and was refused with 409 uniqueness: userName 'ada' belongs to another user of this directory."
    assert "doorlist requests list --person ada" in said["advice"]
    assert said["body"]["masked"] == {"userName": "ada", "title": "•••"}
    assert said["person"]["userName"] == "ada" and said["attributes"] == ["userName", "title"]


@pytest.mark.parametrize(
    ("method", "path", "body", "sentence", "advice"),
    [
        ("GET", '/Users?filter=userName eq "ada"', None, "okta asked for ada and found nobody.", "look for its POST"),
        ("GET", "/Users", None, "okta asked for a list and found 0.", None),
        ("POST", "/Users", {"userName": "bo"}, "okta created bo. Today bo is active", None),
        ("GET", "/Users/gone", None, "okta tried to read User gone and was refused with 404", "Unassign and assign them"),
        ("GET", "/Uzers", None, "Somebody came to the address of okta and was turned away with 404", "Enter this base URL"),
        ("GET", "/Users?filter=x x", None, "refused with 400 invalidFilter", "matching attribute"),
        ("POST", "/Groups", {"displayName": "G", "members": [{"value": "x"}]}, "okta tried to create G", "push these people first"),
        ("PUT", "/Users/x", "{", "refused with 400 invalidSyntax", "no SCIM"),
        ("POST", "/Users/.search", {**SEARCH, "filter": "x x"}, "okta tried to look for users and was refused with 400 invalidFilter", "matching attribute"),
        ("POST", "/Groups/.search/", {**SEARCH, "sortBy": "x y"}, "okta tried to look for groups and was refused with 400", "what the client asks with"),
        ("POST", "/.search", SEARCH | {"count": "x"}, "okta tried to look for users and groups and was refused with 400", "what the client asks with"),
        ("POST", "/Users/.search", SEARCH | {"filter": 'userName eq "ada"'}, "okta asked for ada and found nobody.", "look for its POST"),
        ("GET", "/Users?sortBy=x", None, "refused with 400 invalidPath", "what the client asks with"),
        ("POST", "/Bulk", {}, "okta tried to send a Bulk and was refused with 400", "no SCIM"),
    ],
)
def test_show_has_a_sentence_for_each_kind_of_request(
    pusher: Pusher, method: str, path: str, body: Any, sentence: str, advice: str | None
) -> None:
    pusher.sends(method, path, body)

    said = pusher.desk.asks("requests", "show", pusher.latest())

    assert sentence in said["sentence"]
    assert advice in said["advice"] if advice is not None else said["advice"] is None


def test_show_tells_a_wrong_token(pusher: Pusher) -> None:
    pusher.sends("GET", "/Users", token="dl_wrongwrongwrongwrong")

    said = pusher.desk.asks("requests", "show", pusher.latest())

    assert "Somebody came to the address of okta" in said["sentence"] and "source rotate okta" in said["advice"]
    assert said["body"] == {"state": "none", "bytes": 0, "masked": None}


def test_every_refusal_has_an_advice(pusher: Pusher) -> None:
    from app.audit.request_tables import RequestSeen
    from app.commands.advice import Circumstances

    around = Circumstances(source="okta", base_url="b", subject="ada", standing=None, error=None)
    for status in range(400, 600):
        row = RequestSeen(method="PUT", status=status, scim_type=None, known=True, resource_id="x", error=None, found=None, name=None)
        assert what_to_do(row, around), status


def test_curl_is_one_line_that_a_shell_reads_back(pusher: Pusher) -> None:
    pusher.sends("PUT", "/Users/it's?attributes=userName", {"userName": "o'neil $(x) `y`", "title": "x"})

    said = pusher.desk.types("requests", "curl", pusher.latest())
    words = shlex.split(said.out)

    assert said.out.count("\n") == 1 and said.exit == 0
    assert words[:4] == ["curl", "-X", "PUT", f"http://127.0.0.1:8484/scim/v2/{pusher.source_id}/Users/it%27s?attributes=userName"]
    assert '"Authorization: Bearer $TOKEN"' in said.out
    assert json.loads(words[-1]) == {"userName": "o'neil $(x) `y`", "title": "•••"}
    assert "put in your own" in said.err
    assert pusher.desk.asks("requests", "curl", pusher.latest())["curl"] + "\n" == said.out


def test_replay_says_what_would_happen_now_and_changes_nothing(pusher: Pusher) -> None:
    pusher.sends("POST", "/Users", {"userName": "ada", "active": False})
    answer = pusher.sends("POST", "/Users", {"userName": "bo", "title": "x", ENTERPRISE: {"employeeNumber": "7"}})
    pusher.patches(f"/Users/{answer['id']}", op="replace", path="active", value=False)
    pusher.patches(f"/Users/{answer['id']}", op="replace", path="active", value=True)
    pusher.sends("PATCH", f"/Users/{answer['id']}", {"schemas": [PATCH], "Operations": [{"op": "replace", "value": {"active": False}}]})
    pusher.patches(f"/Users/{answer['id']}", op="replace", path="active", value=True)
    off = pusher.listed()[1]["id"]
    before = rows_of_all_tables(pusher.desk)

    said = pusher.desk.asks("requests", "replay", off, "--dry-run")

    assert rows_of_all_tables(pusher.desk) == before
    assert said["then"]["status"] == said["now"]["status"] == 200
    assert (said["changes"], said["standing"]) == (["active"], {"before": "active", "after": "departed"})
    assert said["journal"] == ["record: switched off"]
    assert (said["replaced"], said["left_out"]) == ([], [])


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/Users", {"userName": "new"}, 201),
        ("POST", "/Users", {"userName": "ada"}, 409),
        ("PUT", "/Users/{user}", {"userName": "ada", "displayName": "Ada"}, 200),
        ("PATCH", "/Users/{user}", {"Operations": [{"op": "replace", "path": "active", "value": False}]}, 200),
        ("DELETE", "/Users/{user}", None, 204),
        ("GET", "/Users/{user}", None, 200),
        ("GET", '/Users?filter=userName eq "ada"', None, 200),
        ("POST", "/Groups", {"displayName": "G2", "members": [{"value": "{user}"}]}, 201),
        ("PATCH", "/Groups/{group}", {"Operations": [{"op": "add", "path": "members", "value": [{"value": "{user}"}]}]}, 204),
        ("PATCH", "/Groups/{group}", {"Operations": [{"op": "remove", "path": 'members[value eq "{user}"]'}]}, 204),
        ("PUT", "/Groups/{group}", {"displayName": "G", "members": []}, 200),
        ("DELETE", "/Groups/{group}", None, 204),
    ],
)
def test_no_kind_of_request_writes_when_it_is_replayed(pusher: Pusher, method: str, path: str, body: Any, status: int) -> None:
    ids = {
        "user": pusher.sends("POST", "/Users", {"userName": "ada"})["id"], "group": pusher.sends("POST", "/Groups", {"displayName": "G"})["id"],
    }  # fmt: skip

    def filled(said: str) -> str:
        return said.replace("{user}", ids["user"]).replace("{group}", ids["group"])

    pusher.sends(method, filled(path), None if body is None else json.loads(filled(json.dumps(body))))
    before = rows_of_all_tables(pusher.desk)
    then = pusher.listed("--limit", "1")[0]["status"]

    said = pusher.replays()

    assert (then, said["then"]["status"]) == (status, status)
    # Doing it again meets what it did.
    assert said["now"]["status"] == {201: 409, 204: 404 if method == "DELETE" else 204}.get(status, status)
    assert rows_of_all_tables(pusher.desk) == before


def test_replay_would_create_whom_it_could_not_create_then(pusher: Pusher) -> None:
    first = pusher.sends("POST", "/Users", {"userName": "ada"})["id"]
    pusher.sends("POST", "/Users", {"userName": "ada", "title": "Captain", "emails": [{"value": "a@b.example", "type": "work"}]})
    refused = pusher.latest()
    pusher.sends("DELETE", f"/Users/{first}")
    before = rows_of_all_tables(pusher.desk)

    said = pusher.desk.asks("requests", "replay", refused, "--dry-run")

    assert rows_of_all_tables(pusher.desk) == before
    assert (said["then"]["status"], said["now"]["status"]) == (409, 201)
    assert said["journal"] == ["record: joined"]
    assert said["left_out"] == ["title", "emails.value"]


def test_replay_takes_masked_values_from_the_record_and_says_which(pusher: Pusher) -> None:
    record_id = pusher.sends("POST", "/Users", {"userName": "ada"})["id"]
    said = {
        "userName": "ada", "displayName": "Ada", "title": "Captain", "nickName": "A", "password": "hunter2-secret",
        "emails": [{"value": "a@b.example", "type": "work"}, {"value": "a@home.example", "type": "home"}],
    }  # fmt: skip
    pusher.sends("PUT", f"/Users/{record_id}", said)
    put = pusher.latest()
    # Others stand first there today: an address is known by its type.
    emails = [{"value": "a@elsewhere.example", "type": "home"}, {"value": "a@b.example", "type": "work"}]
    pusher.sends("PUT", f"/Users/{record_id}", {"userName": "ada", "displayName": "Ada", "title": "Admiral", "emails": emails})

    replayed = pusher.desk.asks("requests", "replay", put, "--dry-run")

    assert replayed["replaced"] == ["title", "emails.value"]
    assert replayed["left_out"] == ["nickName", "password", "emails.value"]
    assert (replayed["now"]["status"], replayed["changes"]) == (200, ["emails"])


def test_replay_of_a_patch_leaves_out_the_operation_whose_value_is_masked(pusher: Pusher) -> None:
    record_id = pusher.sends("POST", "/Users", {"userName": "ada"})["id"]
    pusher.sends(
        "PATCH", f"/Users/{record_id}",
        {"Operations": [{"op": "add", "path": "title", "value": "x"}, {"op": "replace", "value": {"displayName": "Ada", "name.givenName": "A"}}]},
    )  # fmt: skip
    pusher.sends("PUT", f"/Users/{record_id}", {"userName": "ada"})
    patch = pusher.listed()[1]["id"]

    said = pusher.desk.asks("requests", "replay", patch, "--dry-run")

    assert (said["left_out"], said["changes"]) == (["title", "name.givenName"], ["displayName"])


def test_replay_refuses_what_does_not_mean_the_same_any_more(pusher: Pusher) -> None:
    record_id = pusher.sends("POST", "/Users", {"userName": "ada", "emails": [{"value": "a@b.example"}]})["id"]

    pusher.patches(f"/Users/{record_id}", op="remove", path='emails[value eq "a@b.example"]')
    assert "picks out what it changes by a masked value" in pusher.cannot_replay()
    pusher.patches(f"/Users/{record_id}", op="remove", path="emails", value=[{"value": "a@b.example"}])
    assert "names what it removes" in pusher.cannot_replay()
    pusher.patches(f"/Users/{record_id}", op="replace", path="password", value="hunter2-secret")
    assert "nothing of it is left" in pusher.cannot_replay()
    pusher.sends("GET", '/Users?filter=emails.value eq "a@b.example"')
    assert "a value that is masked" in pusher.cannot_replay()
    pusher.sends("POST", "/Users", {"userName": "bo", "title": 7})
    assert "refused over title" in pusher.cannot_replay()
    pusher.sends("POST", "/Users", "{")
    assert "was not JSON" in pusher.cannot_replay()
    pusher.sends("GET", "/Users", token="dl_wrongwrongwrongwrong")
    assert "turned away before it was read" in pusher.cannot_replay()


def test_replay_and_curl_refuse_when_the_body_is_gone_or_cut(pusher: Pusher) -> None:
    pusher.sends("POST", "/Groups", {"displayName": "G", "members": [{"value": f"{number:050}"} for number in range(2000)]})
    assert "only the beginning was kept" in pusher.cannot_replay()
    pusher.sends("POST", "/Users", {"userName": "ada"})
    pusher.desk.acts(lambda session: session.execute(delete(RequestBody)))

    assert "not kept any more" in pusher.cannot_replay()
    assert pusher.desk.types("requests", "curl", pusher.latest(), "--json").exit == 1
    assert pusher.desk.asks("requests", "show", pusher.latest())["body"]["state"] == "gone"


def test_an_operation_of_a_bulk_is_shown_and_replayed_by_itself(pusher: Pusher) -> None:
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": "a", "data": {"userName": "ada", "displayName": "Ada"}},
        {"method": "POST", "path": "/Groups", "bulkId": "b", "data": {"displayName": "G", "members": [{"value": "bulkId:a"}]}},
    ]
    pusher.sends("POST", "/Bulk", {"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations})
    group, user, whole = pusher.listed()
    before = rows_of_all_tables(pusher.desk)

    said = pusher.desk.asks("requests", "replay", user["id"], "--dry-run")

    assert rows_of_all_tables(pusher.desk) == before
    assert (said["then"]["status"], said["now"]["status"], said["now"]["scimType"]) == (201, 409, "uniqueness")
    assert pusher.desk.asks("requests", "show", user["id"])["body"]["masked"] == {"userName": "ada", "displayName": "Ada"}
    assert "operation by operation" in pusher.desk.types("requests", "replay", whole["id"], "--dry-run", "--json").json["error"]
    assert "another operation of its Bulk" in pusher.desk.types("requests", "replay", group["id"], "--dry-run", "--json").json["error"]


def test_replay_is_only_ever_a_dry_run(pusher: Pusher) -> None:
    pusher.sends("POST", "/Users", {"userName": "ada"})

    said = pusher.desk.types("requests", "replay", pusher.latest(), "--json")

    assert said.exit == 2 and "--dry-run" in said.json["error"]


def test_an_auditor_may_look_and_no_more_and_nobody_sees_another_organisations(pusher: Pusher) -> None:
    pusher.sends("POST", "/Users", {"userName": "ada"})
    request_id = pusher.latest()
    auditor = pusher.desk.asks("operator", "add", "vi", "--role", "auditor")["token"]
    pusher.desk.asks("init", "--organization", "Other")
    stranger = pusher.desk.asks("operator", "add", "eve", "--role", "owner", "--organization", "Other")["token"]

    assert [pusher.desk.types("requests", *verb, "--json", token=auditor).exit for verb in (["list"], ["show", request_id])] == [0, 0]
    for verb in (["curl", request_id], ["replay", request_id, "--dry-run"]):
        assert pusher.desk.types("requests", *verb, "--json", token=auditor).exit == 4
    for verb in (["show", request_id], ["curl", request_id], ["replay", request_id, "--dry-run"]):
        said = pusher.desk.types("requests", *verb, "--json", token=stranger)
        assert said.exit == 1 and "does not exist" in said.json["error"]
    assert pusher.desk.asks("requests", "list", token=stranger)["requests"] == []


def test_a_person_who_fits_several_is_not_guessed(pusher: Pusher) -> None:
    for name in ("ada", "bo"):
        pusher.sends("POST", "/Users", {"userName": name, "emails": [{"value": "desk@acme.example"}]})

    said = pusher.desk.types("requests", "list", "--person", "desk@acme.example", "--json")

    assert said.exit == 2 and len(said.json["people"]) == 2
    with pusher.desk.app.app_context(), reading() as session:
        assert session.scalar(select(func.count()).select_from(Record)) == 2
