"""Bulk: ids take the place of bulkIds wherever in the request the resources are made, in circles too."""

from typing import Any

import pytest

from app.directory.vocabulary import ENTERPRISE_URN
from tests.clients.directory import Directory
from tests.unit.scim.bulking import bulk, group, id_in, is_refused, managed_by, manager_of, names, patch, send, statuses, user
from tests.unit.scim.choosing import OFF, ON, get, members_of, numbered, person_of, someone_off


def test_a_bulk_id_stands_for_an_id_in_data_and_paths(directory: Directory) -> None:
    told = bulk(
        directory,
        user("a", "ada"),
        user("b", "bob", **managed_by("bulkId:a", department="Sums")),
        group("g", "bulkId:a", "bulkId:b", name="Engineers"),
        patch("/Groups/bulkId:g", {"op": "remove", "path": 'members[value eq "bulkId:a"]'}),
        {"method": "PUT", "path": "/Users/bulkId:a/", "data": {"userName": "ada", "profileUrl": "https://x.example/Users/bulkId:b"}},
        user("gone"),
        {"method": "DELETE", "path": "/Users/bulkId:gone"},
    )

    assert statuses(told) == ["201", "201", "201", "204", "200", "201", "204"]
    ada, bob, engineers = (id_in(operation) for operation in told[:3])
    assert [id_in(operation) for operation in told[3:5]] == [engineers, ada]
    assert get(directory, f"/Users/{bob}")[ENTERPRISE_URN] == {"manager": {"value": ada}, "department": "Sums"}
    assert members_of(directory, engineers) == [bob]
    assert get(directory, f"/Users/{ada}")["profileUrl"] == f"https://x.example/Users/{bob}"
    assert names(directory) == ["ada", "bob"]


def test_what_only_looks_like_a_bulk_id_stays_as_it_was_said(directory: Directory) -> None:
    told = bulk(directory, user("a", "ada", title="see bulkId:x", nickName="BULKID:a"))

    shown = get(directory, f"/Users/{id_in(told[0])}")
    assert (shown["title"], shown["nickName"]) == ("see bulkId:x", "BULKID:a")


def test_a_bulk_id_may_be_of_any_letters(directory: Directory) -> None:
    told = bulk(
        directory,
        user("q/8+w==", "ada", **managed_by("bulkId:q/8", department="Sums")),
        user("q/8", "bob", **managed_by("bulkId:q/8+w==")),
        group("https://hr.example/a", "bulkId:q/8", "bulkId:q/8+w==", name="Engineers"),
        patch("/Groups/bulkId:https%3A%2F%2Fhr.example%2Fa", {"op": "remove", "path": 'members[value eq "bulkId:q/8"]'}),
        user('"c" d/', "carl"),
        {"method": "DELETE", "path": '/Users/bulkId:"c" d%2F'},
    )

    assert statuses(told) == ["201", "201", "201", "204", "201", "204"]
    ada, bob, engineers = (id_in(operation) for operation in told[:3])
    assert (manager_of(directory, ada), manager_of(directory, bob)) == (bob, ada)
    assert members_of(directory, engineers) == [ada]
    assert names(directory) == ["ada", "bob"]


def test_a_group_whose_members_come_later_is_made_with_them(directory: Directory) -> None:
    told = bulk(directory, group("g", "bulkId:b", "bulkId:a", name="Engineers"), user("a", **managed_by("bulkId:b")), user("b"))

    assert [(operation["bulkId"], operation["status"], operation["version"]) for operation in told] == [
        (bulk_id, "201", 'W/"1"') for bulk_id in "gab"
    ]
    assert members_of(directory, id_in(told[0])) == sorted([id_in(told[1]), id_in(told[2])])
    assert manager_of(directory, id_in(told[1])) == id_in(told[2])


@pytest.mark.parametrize("managers", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "a"}], ids=["one", "two", "three"])
def test_a_circle_of_managers_is_made_first_and_closed_then(directory: Directory, managers: dict[str, str]) -> None:
    circle = [user(name, externalId=name, **managed_by(f"bulkId:{manager}", department=f"of {name}")) for name, manager in managers.items()]

    told = bulk(directory, user("report", **managed_by("bulkId:a")), group("g", *(f"bulkId:{name}" for name in managers)), *circle)

    assert set(statuses(told)) == {"201"}
    ids = {operation["bulkId"]: id_in(operation) for operation in told}
    shown = {name: get(directory, f"/Users/{ids[name]}") for name in managers}
    assert {name: one[ENTERPRISE_URN] for name, one in shown.items()} == {
        name: {"manager": {"value": ids[manager]}, "department": f"of {name}"} for name, manager in managers.items()
    }
    assert [operation["version"] for operation in told[2:]] == [one["meta"]["version"] for one in shown.values()]
    assert manager_of(directory, ids["report"]) == ids["a"]
    assert members_of(directory, ids["g"]) == sorted(ids[name] for name in managers)


@pytest.mark.parametrize("user_first", [True, False])
def test_the_groups_that_a_user_says_are_passed_over_as_they_are_alone(directory: Directory, user_first: bool) -> None:
    """They are read-only (RFC 7643 §4.1.2): who says the membership on both sides is no circle, and waits for no group that there is not."""
    both = [user("a", groups=[{"value": "bulkId:g"}, {"value": "bulkId:none"}]), group("g", "bulkId:a")]

    told = {operation["bulkId"]: operation for operation in bulk(directory, *(both if user_first else reversed(both)))}

    assert {bulk_id: (one["status"], one["version"]) for bulk_id, one in told.items()} == {"a": ("201", 'W/"1"'), "g": ("201", 'W/"1"')}
    ada = id_in(told["a"])
    assert members_of(directory, id_in(told["g"])) == [ada]
    put = {"method": "PUT", "path": f"/Users/{ada}", "data": {"userName": "a", "title": "Dr", "Groups": [{"value": "bulkId:none"}]}}
    assert statuses(bulk(directory, put)) == ["200"]
    assert get(directory, f"/Users/{ada}")["title"] == "Dr"


def test_who_is_in_a_circle_is_known_by_the_employee_number_from_the_first(directory: Directory) -> None:
    ada = person_of(directory.beside("hr").add_user("ada", **numbered("E-1")))

    told = bulk(
        directory,
        user("a", "ada", **managed_by("bulkId:b", employeeNumber="E-1")),
        user("b", "bob", **managed_by("bulkId:a")),
    )

    assert statuses(told) == ["201", "201"]
    assert person_of(id_in(told[0])).id == ada.id


def test_a_circle_that_cannot_be_closed_says_what_was_made(directory: Directory) -> None:
    directory.add_user("taken")

    told = bulk(directory, user("a", "ada", **managed_by("bulkId:b")), user("b", "taken", **managed_by("bulkId:a")), user("c"))

    assert statuses(told) == ["409", "409", "201"]
    assert is_refused(told[0], "409", "invalidValue") and is_refused(told[1], "409", "uniqueness")
    assert "it was created" in told[0]["response"]["detail"] and "bulkId:b" in told[0]["response"]["detail"]
    assert get(directory, f"/Users/{id_in(told[0])}")["userName"] == "ada"
    assert manager_of(directory, id_in(told[0])) is None


def test_groups_in_each_other_are_refused_as_a_group_in_a_group_is_alone(directory: Directory) -> None:
    told = bulk(directory, group("g", "bulkId:h"), group("h", "bulkId:g"))

    assert is_refused(told[0], "409", "invalidValue") and is_refused(told[1], "400", "invalidValue")
    assert get(directory, f"/Groups/{id_in(told[0])}")["members"] == []
    assert names(directory, "Groups") == ["g"]


def test_a_bulk_id_that_stands_for_nothing_is_a_conflict_of_that_operation_only(directory: Directory) -> None:
    directory.add_user("taken")
    bulk(directory, user("earlier"))

    told = bulk(
        directory,
        group("g", "bulkId:nobody"),
        group("h", "bulkId:failing"),
        user("failing", "taken"),
        group("i", "bulkId:failing"),
        patch("/Users/bulkId:failing", OFF),
        user("j", **managed_by("bulkId:earlier")),
        {"method": "DELETE", "path": "/Users/bulkId:nobody"},
        user("k"),
    )

    assert statuses(told) == ["409", "409", "409", "409", "409", "409", "409", "201"]
    assert all(is_refused(told[place], "409", "invalidValue") for place in (0, 1, 3, 4, 5, 6))
    assert "bulkId:nobody" in told[0]["response"]["detail"] and "failed" in told[1]["response"]["detail"]
    assert (names(directory), names(directory, "Groups")) == (["earlier", "k", "taken"], [])


def test_an_operation_with_an_unknown_bulk_id_says_still_whom_it_would_have_changed(directory: Directory) -> None:
    ada = directory.add_user("ada")

    told = bulk(directory, patch(f"/Users/{ada}", {"op": "add", "path": "manager", "value": "bulkId:x"}))

    assert is_refused(told[0], "409", "invalidValue")
    assert id_in(told[0]) == ada


@pytest.mark.parametrize("second", [user("a", "bob"), patch("/Users/bulkId:a", OFF, bulkId="a")])
def test_two_operations_with_one_bulk_id_are_refused_before_anything_is_done(directory: Directory, second: dict[str, Any]) -> None:
    before = directory.written()

    answer = send(directory, user("a", "ada"), second)

    assert (answer.status, answer.document["scimType"]) == (400, "invalidValue")
    assert "'a'" in answer.document["detail"]
    assert directory.written() == before


def test_a_circle_that_is_cut_off_by_an_error_says_what_was_made(directory: Directory) -> None:
    directory.add_user("taken")

    told = bulk(directory, user("a", **managed_by("bulkId:b")), user("b", "taken", **managed_by("bulkId:a")), user("c"), failOnErrors=1)

    assert statuses(told) == ["409", "409"]
    assert is_refused(told[0], "409", "invalidValue")
    assert "it was created" in told[0]["response"]["detail"] and "failOnErrors" in told[0]["response"]["detail"]
    assert get(directory, f"/Users/{id_in(told[0])}")["userName"] == "a"
    assert names(directory) == ["a", "taken"]


# Order.


def test_what_waits_for_a_post_that_ends_the_bulk_was_not_tried(directory: Directory) -> None:
    directory.add_user("taken")

    told = bulk(directory, group("g", "bulkId:a"), user("b"), user("a", "taken"), failOnErrors=1)

    assert [(operation["bulkId"], operation["status"]) for operation in told] == [("a", "409")]
    assert (names(directory), names(directory, "Groups")) == (["taken"], [])


def test_posts_that_are_waited_for_are_tried_in_the_order_in_which_they_were_sent(directory: Directory) -> None:
    told = bulk(directory, group("g", "bulkId:a", "bulkId:b"), user("b", "same"), user("a", "same"))

    assert statuses(told) == ["409", "201", "409"]


def test_a_post_keeps_its_turn_unless_something_before_it_refers_to_it(directory: Directory) -> None:
    ada = directory.add_user("ada")

    told = bulk(directory, group("g", "bulkId:b"), {"method": "DELETE", "path": f"/Users/{ada}"}, user("a", "ada"), user("b", "ada.b"))

    assert statuses(told) == ["201", "204", "201", "201"]
    assert names(directory) == ["ada", "ada.b"]


def test_an_on_that_waits_for_a_manager_does_not_come_after_a_later_off(directory: Directory) -> None:
    ada = directory.add_user("ada")

    told = bulk(
        directory,
        patch(f"/Users/{ada}", ON, {"op": "add", "path": "manager", "value": "bulkId:b"}),
        patch(f"/Users/{ada}", OFF),
        user("b"),
    )

    assert statuses(told) == ["200", "200", "201"]
    assert (get(directory, f"/Users/{ada}")["active"], manager_of(directory, ada)) == (False, id_in(told[2]))


def test_a_return_that_waits_for_a_manager_does_not_come_after_a_later_off(directory: Directory) -> None:
    ada = someone_off(directory, "ada", "00u1")

    told = bulk(directory, user("a", "ada", externalId="00u1", **managed_by("bulkId:b")), patch(f"/Users/{ada}", OFF), user("b"))

    assert statuses(told) == ["201", "200", "201"]
    assert id_in(told[0]) == ada
    assert (get(directory, f"/Users/{ada}")["active"], manager_of(directory, ada)) == (False, id_in(told[2]))
