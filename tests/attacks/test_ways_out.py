"""P14, P15, P18: every way to say *off* ends all access alike, *on* gives back nothing old, and nobody is too important to leave."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlalchemy import select

from app.database import reading
from app.directory.tables import Person
from app.journal.tables import Subject, Work
from tests.clients.directory import PATCH_URN, Directory
from tests.clients.transcript import Answer
from tests.unit.scim.choosing import OFF, ON, departures_of, get, group_with, members_of, person_of

Way = Callable[[Directory, str], Answer]


def _patch(*operations: dict[str, Any]) -> Way:
    return lambda directory, ada: directory.patch(f"/Users/{ada}", *operations)


def _bulk(operation: dict[str, Any]) -> Way:
    def sent(directory: Directory, ada: str) -> Answer:
        urn = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
        return directory.send("POST", "/Bulk", {"schemas": [urn], "Operations": [{**operation, "path": f"/Users/{ada}"}]})

    return sent


WAYS_OFF: dict[str, Way] = {
    "replace active": _patch({"op": "replace", "path": "active", "value": False}),
    "replace without a path": _patch({"op": "replace", "value": {"active": False}}),
    "Entra's text": _patch({"op": "Replace", "path": "active", "value": "False"}),
    "Entra's text without a path": _patch({"op": "Replace", "value": {"active": "False"}}),
    "in other case": _patch({"op": "REPLACE", "path": "ACTIVE", "value": "FALSE"}),
    "add active": _patch({"op": "add", "path": "active", "value": False}),
    "add without a path": _patch({"op": "Add", "value": {"Active": "false"}}),
    "remove active": _patch({"op": "remove", "path": "active"}),
    "by its full name": _patch({"op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User:active", "value": False}),
    "null": _patch({"op": "replace", "path": "active", "value": None}),
    "among others": _patch({"op": "replace", "path": "title", "value": "x"}, {"op": "replace", "path": "active", "value": False}),
    "after on": _patch({"op": "replace", "path": "active", "value": True}, {"op": "replace", "path": "active", "value": False}),
    "PUT": lambda directory, ada: directory.send("PUT", f"/Users/{ada}", {"userName": "ada", "active": False}),
    "PUT of a text": lambda directory, ada: directory.send("PUT", f"/Users/{ada}", {"userName": "ada", "ACTIVE": "False"}),
    "DELETE": lambda directory, ada: directory.send("DELETE", f"/Users/{ada}"),
    "Bulk PATCH": _bulk({"method": "PATCH", "data": {"schemas": [PATCH_URN], "Operations": [OFF]}}),
    "Bulk PUT": _bulk({"method": "PUT", "data": {"userName": "ada", "active": False}}),
    "Bulk DELETE": _bulk({"method": "DELETE"}),
}


def _departures_due(person: Person) -> int:
    with reading() as session:
        rows = session.scalars(select(Work).where(Work.subject_id.startswith(person.id)))
        return len([row for row in rows if row.subject in (Subject.PERSON, Subject.ACCOUNT)])


def test_p14_every_form_of_off_revokes_alike(directory: Directory) -> None:
    for way, act in WAYS_OFF.items():
        ada = directory.add_user("ada")
        before = person_of(ada)
        assert before.standing == "active"

        answer = act(directory, ada)

        after = person_of(ada)
        assert answer.status in (200, 204), (way, answer.text)
        if "Bulk" in way:
            assert [one["status"] for one in answer.document["Operations"]] in (["200"], ["204"]), (way, answer.text)
        elif way != "DELETE":
            assert answer.document["active"] is False, way
        assert (after.standing, after.access_epoch) == ("departed", before.access_epoch + 1), way
        assert len(departures_of(after)) == 1, way
        assert _departures_due(after) >= 1, way
        assert directory.send("GET", "/Users?filter=active%20eq%20true").document["totalResults"] == 0, way
        directory.send("DELETE", f"/Users/{ada}")


def test_p14_a_put_that_leaves_active_out_leaves_it(directory: Directory) -> None:
    on, off = directory.add_user("ada"), directory.add_user("bob")
    directory.patch(f"/Users/{off}", OFF)

    for said in ({}, {"active": None}, {"title": "x"}, {"status": "inactive"}):
        answers = [directory.send("PUT", f"/Users/{one}", {"userName": name, **said}) for one, name in ((on, "ada"), (off, "bob"))]

        assert [answer.document["active"] for answer in answers] == [True, False], said
        assert [person_of(one).standing for one in (on, off)] == ["active", "departed"], said


def test_p22_whoever_asks_too_often_waits_but_nobody_waits_to_be_shut_out(directory: Directory) -> None:
    people = {way: directory.add_user(f"user {way}") for way in WAYS_OFF}
    # No more than one a minute, so that however long the rest takes, the next one would still have to wait.
    directory.app.config["DOORLIST"] = replace(directory.app.config["DOORLIST"], scim_rate=1 / 60)
    directory.app.extensions.pop("doorlist_limits", None)
    first = [directory.send("GET", "/Users").status for _ in range(3)]
    waits = [
        directory.send("GET", f"/Users/{people['PUT']}"), directory.send("POST", "/Users", {"userName": "x"}),
        directory.patch(f"/Users/{people['PUT']}", ON), directory.send("POST", "/Groups", {"displayName": "x"}),
    ]  # fmt: skip

    done = {way: act(directory, people[way]).status for way, act in WAYS_OFF.items() if "PUT" not in way}
    done |= {
        way: directory.send("PUT", f"/Users/{people[way]}", {"userName": f"user {way}", "active": False}).status
        for way in ("PUT", "PUT of a text")
    }

    assert first[-1] == 429
    assert [answer.status for answer in waits] == [429] * 4
    assert all(int(answer.headers["Retry-After"]) >= 1 and answer.document["status"] == "429" for answer in waits)
    assert {way: status for way, status in done.items() if status not in (200, 204)} == {}
    assert {way: person_of(one).standing for way, one in people.items() if way != "Bulk PUT"} == {
        way: "departed" for way in people if way != "Bulk PUT"
    }


def test_p15_who_comes_back_gets_nothing_old_back(directory: Directory) -> None:
    ada = directory.add_user("ada")
    epochs = [person_of(ada).access_epoch]

    for operation in (OFF, ON, OFF, ON):
        directory.patch(f"/Users/{ada}", operation)
        epochs.append(person_of(ada).access_epoch)

    # Everything that lets somebody in carries the epoch of the day it was made.
    assert epochs == sorted(set(epochs))
    assert len(departures_of(person_of(ada))) == 2


def test_p15_said_again_off_is_no_second_departure_and_on_no_new_epoch(directory: Directory) -> None:
    ada = directory.add_user("ada")
    group = group_with(directory, ada)
    for operation, standing in ((OFF, "departed"), (ON, "active")):
        directory.patch(f"/Users/{ada}", operation)
        once, written = person_of(ada), directory.written()

        directory.patch(f"/Users/{ada}", operation)
        directory.send("PUT", f"/Users/{ada}", {"userName": "ada", "active": operation["value"]})

        again = person_of(ada)
        assert (again.standing, again.access_epoch, again.version, directory.written()) == (
            standing,
            once.access_epoch,
            once.version,
            written,
        )
    assert members_of(directory, group) == [ada]


def test_p18_the_last_one_may_leave_too(directory: Directory) -> None:
    owner, manager = directory.add_user("owner", roles=[{"value": "owner", "primary": True}]), directory.add_user("manager")
    group = group_with(directory, owner, manager, name="Owners")

    answers = [directory.patch(f"/Users/{one}", OFF) for one in (manager, owner)]

    assert [(answer.status, answer.document["active"]) for answer in answers] == [(200, False)] * 2
    assert [person_of(one).standing for one in (owner, manager)] == ["departed"] * 2
    assert get(directory, "/Users?filter=active%20eq%20true")["totalResults"] == 0
    assert sorted(members_of(directory, group)) == sorted([owner, manager])
