"""P07, P08: attributes that would make somebody more than they are, and ids that look like somebody else's."""

from typing import Any

from sqlalchemy import select

from app.database import reading
from app.directory.tables import Person, Record
from app.directory.vocabulary import ENTERPRISE_URN
from tests.clients.directory import Directory
from tests.unit.scim.choosing import members_of, person_of

FORBIDDEN: dict[str, Any] = {
    "id": "00000000-0000-7000-8000-000000000001", "ID": "1", "meta": {"version": 'W/"99"', "resourceType": "Group", "created": "1999-01-01T00:00:00Z", "location": "https://evil"},
    "groups": [{"value": "admins"}], "password": "hunter2", "isAdmin": True, "admin": True, "is_superuser": True, "tenant_id": "other", "organization_id": "other",
    "organizationId": "other", "source_id": "other", "person_id": "other", "personId": "other", "version": 99, "journal_id": 1, "held": True, "off_means": "departed",
    "ended_at": "1999-01-01T00:00:00Z", "standing": "active", "access_epoch": 0, "access_until": None, "manager_id": "other", "document": {"x": 1}, "__class__": "x",
    "__proto__": {"isAdmin": True}, "constructor": {"prototype": {}}, "urn:evil:2.0:Admin": {"role": "owner"}, "urn:ietf:params:scim:schemas:core:2.0:User": {"id": "1"},
    "roles": [{"value": "owner", "primary": True}], "entitlements": [{"value": "*"}],
}  # fmt: skip


def _row(record_id: str) -> Record:
    with reading() as session:
        return session.scalars(select(Record).where(Record.id == record_id)).one()


def _own_columns(record_id: str) -> dict[str, Any]:
    row, person = _row(record_id), person_of(record_id)
    return {
        "ids": (row.organization_id, row.source_id, row.person_id), "state": (row.active, row.held, row.off_means, row.ended_at),
        "person": (person.standing, person.access_epoch, person.access_until, person.manager_id), "created": row.created_at,
    }  # fmt: skip


def test_p07_nobody_becomes_more_by_what_a_directory_says(directory: Directory) -> None:
    plain = directory.add_user("plain")
    for number, (name, value) in enumerate(FORBIDDEN.items()):
        answer = directory.send("POST", "/Users", {"userName": f"user{number}", name: value})

        assert answer.status in (201, 400), (name, answer.text)
        if answer.status == 201:
            record_id = answer.document["id"]
            made, usual = _own_columns(record_id), _own_columns(plain)
            assert (made["ids"][:2], made["state"], made["person"]) == (usual["ids"][:2], usual["state"], usual["person"]), name
            assert record_id not in ("1", FORBIDDEN["id"])
            assert answer.document["meta"]["version"] == 'W/"1"'
            assert answer.document["meta"]["resourceType"] == "User"
            assert answer.document["meta"]["location"].endswith(f"{directory.base}/Users/{record_id}")
            assert answer.document["groups"] == []
            assert "hunter2" not in directory.send("GET", f"/Users/{record_id}").text


def test_p07_nor_by_what_it_says_later(directory: Directory) -> None:
    ada = directory.add_user("ada")
    before = _own_columns(ada)

    for name, value in FORBIDDEN.items():
        answers = [
            directory.send("PUT", f"/Users/{ada}", {"userName": "ada", name: value}),
            directory.patch(f"/Users/{ada}", {"op": "add", "path": name, "value": value}),
            directory.patch(f"/Users/{ada}", {"op": "replace", "path": name, "value": value}),
            directory.patch(f"/Users/{ada}", {"op": "replace", "value": {name: value}}),
        ]

        assert {answer.status for answer in answers} <= {200, 400}, (name, [answer.text for answer in answers])
        assert _own_columns(ada) == before, name
        shown = directory.send("GET", f"/Users/{ada}").document
        assert (shown["id"], shown["groups"], shown["meta"]["resourceType"], shown["active"]) == (ada, [], "User", True)


def test_p07_a_directory_makes_nobody_active_whom_it_did_not_say(directory: Directory) -> None:
    off = directory.send("POST", "/Users", {"userName": "off", "active": False}).document
    on = directory.send("POST", "/Users", {"userName": "on", "active": "TRUE"}).document

    assert (off["active"], on["active"]) == (False, True)
    assert person_of(off["id"]).standing in ("departed", "paused")
    for value in (1, "yes", "1", [True], {"value": True}):
        assert directory.send("POST", "/Users", {"userName": "x", "active": value}).status == 400, value


def test_p07_a_group_gives_nothing_by_its_attributes_either(directory: Directory) -> None:
    for number, (name, value) in enumerate(FORBIDDEN.items()):
        answer = directory.send("POST", "/Groups", {"displayName": f"group{number}", name: value})

        assert answer.status in (201, 400), (name, answer.text)
        if answer.status == 201:
            assert answer.document["id"] not in ("1", FORBIDDEN["id"])
            assert (answer.document["members"], answer.document["meta"]["resourceType"]) == ([], "Group")


def test_p08_a_key_that_is_somebodys_id_finds_its_own_bearer_only(directory: Directory) -> None:
    victim = directory.add_user("victim", title="Owner")
    eve = directory.add_user("eve", externalId=victim)
    group = directory.send("POST", "/Groups", {"displayName": "g", "members": [{"value": victim}], "externalId": victim}).document["id"]

    by_id = directory.send("GET", f"/Users/{victim}").document
    by_key = directory.send("GET", f'/Users?filter=externalId%20eq%20"{victim}"').document["Resources"]
    by_id_filter = directory.send("GET", f'/Users?filter=id%20eq%20"{victim}"').document["Resources"]
    directory.send("DELETE", f"/Users/{eve}")

    assert by_id["userName"] == "victim"
    assert [one["id"] for one in by_key] == [eve]
    assert [one["id"] for one in by_id_filter] == [victim]
    assert members_of(directory, group) == [victim]
    assert directory.send("GET", f"/Users/{victim}").document["title"] == "Owner"


def test_p08_a_key_is_never_taken_for_an_id_of_a_user_a_group_or_a_person(directory: Directory) -> None:
    victim = directory.add_user("victim")
    person = person_of(victim).id

    for number, key in enumerate(
        ("1", "0", "-1", "1.0", "001", "true", "null", victim, victim.upper(), person, directory.source_id, "victim", "../Users", "%", "*")
    ):
        answer = directory.send("POST", "/Users", {"userName": f"user{number}", "externalId": key})

        assert answer.status == 201, (key, answer.text)
        assert answer.document["externalId"] == key
        assert person_of(answer.document["id"]).id != person
        found = directory.send("GET", f'/Users?filter=externalId%20eq%20"{key.replace("%", "%25")}"').document["Resources"]
        assert [one["id"] for one in found] == [answer.document["id"]], key
        if key not in (victim, victim.upper()):
            assert directory.send("GET", f"/Users/{key.replace('%', '%25')}").status in (404, 405), key
    for wrong in (1, 1.0, True, {"value": "1"}, ["1"]):
        assert directory.send("POST", "/Users", {"userName": "x", "externalId": wrong}).status == 400, wrong


def test_p08_a_number_that_is_somebodys_key_joins_nobody(directory: Directory) -> None:
    victim = directory.add_user("victim", externalId="E-1", **{ENTERPRISE_URN: {"employeeNumber": "E-7"}})

    others = [directory.add_user("a", **{ENTERPRISE_URN: {"employeeNumber": number}}) for number in ("E-1",)] + [
        directory.add_user("b", **{ENTERPRISE_URN: {"employeeNumber": victim}}),
        directory.add_user("c", externalId="E-7"),
        directory.add_user("E-7"),
    ]

    assert len({person_of(one).id for one in (victim, *others)}) == 5
    with reading() as session:
        assert len(session.scalars(select(Person)).all()) == 5
