"""The choices made at the SCIM door: who comes back, and what becomes of those who are off."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.clock import now
from app.database import in_transaction, new_id, reading
from app.directory.tables import Standing, StatementKind, Voice
from app.journal.tables import Entry
from app.lifecycle.sources import add_organization, add_scim_source
from tests.clients.directory import Directory
from tests.company import ADMIN
from tests.unit.delivery.crew import settle
from tests.unit.scim.choosing import (
    ON,
    OTHER_VOICES,
    approve_everything,
    departures_of,
    employ_at,
    get,
    group_with,
    groups_of,
    is_taken,
    members_of,
    numbered,
    off,
    person_again,
    person_of,
    post,
    reject_everything,
    says,
    set_brake,
    someone_off,
)
from tests.workspace import Workspace

# Coming back.


@pytest.mark.parametrize("user_name", ["ada", "ada.new"])
def test_a_post_with_the_external_id_of_someone_who_is_off_switches_them_on_under_the_name_given(
    directory: Directory, user_name: str
) -> None:
    ada = someone_off(directory)
    person = person_of(ada)

    answer = post(directory, user_name, "00u1")

    assert answer.status == 201
    assert (answer.document["id"], answer.document["userName"], answer.document["active"]) == (ada, user_name, True)
    assert person_of(ada).id == person.id


def test_the_name_that_someone_had_before_coming_back_is_free(directory: Directory) -> None:
    someone_off(directory)
    post(directory, "ada.new", "00u1")

    assert post(directory, "ada", "00u2").status == 201


def test_someone_who_comes_back_does_not_take_the_name_of_another_who_is_on(directory: Directory) -> None:
    ada = someone_off(directory)
    directory.add_user("kim", externalId="00u2")

    answer = post(directory, "kim", "00u1")

    assert is_taken(answer)
    assert get(directory, f"/Users/{ada}")["userName"] == "ada"
    assert get(directory, f"/Users/{ada}")["active"] is False


@OTHER_VOICES
def test_a_post_cannot_bring_back_whom_another_voice_keeps_out_and_says_what_to_do(
    directory: Directory, voice: Voice, kind: StatementKind
) -> None:
    ada = someone_off(directory)
    says(person_of(ada), voice, kind)
    written = directory.written()

    answer = post(directory, "ada.new", "00u1")

    assert is_taken(answer)
    assert "Have the return recorded" in answer.document["detail"] and voice in answer.document["detail"]
    assert directory.written() == written
    assert person_of(ada).standing != Standing.ACTIVE


def test_after_the_return_was_recorded_the_same_post_brings_them_back(directory: Directory) -> None:
    ada = someone_off(directory)
    says(person_of(ada), Voice.HR, StatementKind.LEAVES)
    assert is_taken(post(directory, "ada", "00u1"))

    says(person_of(ada), Voice.HR, StatementKind.RETURNS)
    answer = post(directory, "ada", "00u1")

    assert (answer.status, answer.document["id"], answer.document["active"]) == (201, ada, True)


@pytest.mark.parametrize(("number", "same_person"), [("E-1", True), (None, False)])
def test_a_deleted_record_never_comes_back_and_only_the_matching_key_joins_the_new_one_to_the_person(
    directory: Directory, number: str | None, same_person: bool
) -> None:
    attributes = numbered(number) if number else {}
    ada = directory.add_user("ada", externalId="00u1", **attributes)
    directory.send("DELETE", f"/Users/{ada}")

    answer = post(directory, "ada", "00u1", **attributes)

    assert (answer.status, answer.document["active"]) == (201, True)
    assert answer.document["id"] != ada
    assert directory.send("GET", f"/Users/{ada}").status == 404
    assert (person_of(answer.document["id"]).id == person_of(ada).id) is same_person


# A name that is given to a successor: by POST.


def test_a_post_of_an_off_name_under_another_external_id_ends_that_record_and_makes_a_new_person(directory: Directory) -> None:
    ada = someone_off(directory, **numbered("E-1"))
    group = group_with(directory, ada)
    before = person_of(ada)
    departed = departures_of(before)

    answer = post(directory, "ADA", "00u2", displayName="Ada Kim")

    assert (answer.status, answer.document["active"], answer.document["groups"]) == (201, True, [])
    assert answer.document["id"] != ada
    assert directory.send("GET", f"/Users/{ada}").status == 404
    assert members_of(directory, group) == []
    successor = person_of(answer.document["id"])
    assert successor.id != before.id
    assert departures_of(successor) == []
    assert person_again(before).standing == Standing.DEPARTED
    assert departures_of(before) == departed != []


def test_a_post_of_an_off_name_is_the_same_person_where_the_matching_key_says_so(directory: Directory) -> None:
    ada = someone_off(directory, **numbered("E-1"))

    answer = post(directory, "ada", "00u2", **numbered("E-1"))

    assert answer.status == 201 and answer.document["id"] != ada
    assert person_of(answer.document["id"]).id == person_of(ada).id
    assert person_of(ada).standing == Standing.ACTIVE


@pytest.mark.parametrize(("known", "said"), [("00u1", None), (None, "00u2")])
def test_a_post_of_an_off_name_is_refused_where_no_two_external_ids_tell_the_two_apart(
    directory: Directory, known: str | None, said: str | None
) -> None:
    ada = someone_off(directory, external_id=known)

    answer = post(directory, "ada", said)

    assert is_taken(answer)
    assert get(directory, f"/Users/{ada}")["userName"] == "ada"


def test_a_post_of_the_name_of_someone_who_is_on_is_taken_under_whatever_external_id(directory: Directory) -> None:
    directory.add_user("ada", externalId="00u1")

    assert is_taken(post(directory, "Ada", "00u2"))


def test_a_post_with_the_external_id_of_someone_who_is_on_ends_nobody_of_that_name(directory: Directory) -> None:
    ada = someone_off(directory)
    directory.add_user("kim", externalId="00u2")

    assert is_taken(post(directory, "ada", "00u2"))
    assert get(directory, f"/Users/{ada}")["userName"] == "ada"


def test_someone_who_comes_back_under_the_name_of_another_who_is_off_ends_that_record(directory: Directory) -> None:
    ada, kim = someone_off(directory), someone_off(directory, "kim", "00u2")

    answer = post(directory, "kim", "00u1")

    assert (answer.status, answer.document["id"], answer.document["userName"]) == (201, ada, "kim")
    assert directory.send("GET", f"/Users/{kim}").status == 404


# What `active` says.


def test_a_post_without_active_is_on(directory: Directory) -> None:
    assert post(directory, "ada").document["active"] is True


@pytest.mark.parametrize("active", [True, False])
def test_a_put_without_active_leaves_it(directory: Directory, active: bool) -> None:
    ada = directory.add_user("ada", active=active)

    answer = directory.send("PUT", f"/Users/{ada}", {"userName": "ada", "displayName": "Ada"})

    assert (answer.status, answer.document["active"]) == (200, active)


@pytest.mark.parametrize(
    "operation",
    [{"op": "remove", "path": "active"}, {"op": "Remove", "path": "Active"}, {"op": "replace", "path": "active", "value": None}],
)
def test_a_patch_that_removes_active_is_off(directory: Directory, operation: dict[str, Any]) -> None:
    ada = directory.add_user("ada")

    answer = directory.patch(f"/Users/{ada}", operation)

    assert (answer.status, answer.document["active"]) == (200, False)
    assert person_of(ada).standing == Standing.DEPARTED


def test_a_patch_that_does_not_speak_of_active_leaves_it(directory: Directory) -> None:
    ada, bob = directory.add_user("ada"), someone_off(directory, "bob")

    answers = [directory.patch(f"/Users/{one}", {"op": "replace", "path": "title", "value": "Dr"}) for one in (ada, bob)]

    assert [answer.document["active"] for answer in answers] == [True, False]


@OTHER_VOICES
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_on_against_another_voice_is_stored_with_the_rest_and_reads_off(
    directory: Directory, method: str, voice: Voice, kind: StatementKind
) -> None:
    ada = someone_off(directory)
    says(person_of(ada), voice, kind)

    if method == "PUT":
        answer = directory.send("PUT", f"/Users/{ada}", {"userName": "ada", "title": "Dr", "active": True})
    else:
        answer = directory.patch(f"/Users/{ada}", ON, {"op": "add", "path": "title", "value": "Dr"})

    assert (answer.status, answer.document["active"], answer.document["title"]) == (200, False, "Dr")
    says(person_of(ada), voice, StatementKind.RETURNS)
    assert get(directory, f"/Users/{ada}")["active"] is True


def test_an_off_past_the_brake_is_answered_as_said_and_only_its_effect_waits(directory: Directory) -> None:
    set_brake("1/60s")
    ada, bob = directory.add_user("ada"), directory.add_user("bob")

    off(directory, ada)
    off(directory, bob)

    assert get(directory, f"/Users/{bob}")["active"] is False
    assert get(directory, '/Users?filter=userName eq "bob"')["Resources"][0]["active"] is False
    assert [person_of(one).standing for one in (ada, bob)] == [Standing.DEPARTED, Standing.ACTIVE]
    approve_everything()
    assert person_of(bob).standing == Standing.DEPARTED


# Groups and their members.


def test_a_put_without_members_keeps_them_and_one_with_none_empties_the_group(directory: Directory) -> None:
    ada = directory.add_user("ada")
    group = group_with(directory, ada)

    directory.send("PUT", f"/Groups/{group}", {"displayName": "Makers"})
    kept = members_of(directory, group)
    directory.send("PUT", f"/Groups/{group}", {"displayName": "Makers", "members": []})

    assert kept == [ada]
    assert members_of(directory, group) == []


def elsewhere(directory: Directory) -> list[str]:
    """Ids that are not this directory's: another directory's, another organisation's, an ended user's, and nobody's."""
    beside = directory.beside("entra").add_user("eve")

    def act(session: Session) -> tuple[str, str]:
        source, token = add_scim_source(session, add_organization(session, "Contoso", at=now()).id, "okta", actor=ADMIN, at=now())
        return source.id, token

    source_id, token = in_transaction(act)
    ended = directory.add_user("ended")
    directory.send("DELETE", f"/Users/{ended}")
    abroad = replace(directory, source_id=source_id, token=token)
    return [beside, abroad.add_user("eve"), ended, new_id()]


def test_unknown_members_are_refused_alike_whosesoever_they_are(directory: Directory) -> None:
    ada = directory.add_user("ada")
    group = group_with(directory, ada)
    written = None

    answers: set[tuple[int, str]] = set()
    for stranger in elsewhere(directory):
        members = [{"value": ada}, {"value": stranger}]
        written = written or directory.written()
        for answer in (
            directory.send("POST", "/Groups", {"displayName": "Others", "members": members}),
            directory.send("PUT", f"/Groups/{group}", {"displayName": "Engineers", "members": members}),
            directory.patch(f"/Groups/{group}", {"op": "add", "path": "members", "value": members}),
            directory.patch(f"/Groups/{group}", {"op": "replace", "path": "members", "value": members}),
        ):
            answers.add((answer.status, answer.text.replace(stranger, "ID")))

    assert len(answers) == 1
    [(status, text)] = answers
    assert status == 400 and "invalidValue" in text and "ID" in text
    assert members_of(directory, group) == [ada]
    assert directory.written() == written


def test_removing_one_member_never_removes_another(directory: Directory) -> None:
    ada, bob, kim = (directory.add_user(name) for name in ("ada", "bob", "kim"))
    group = group_with(directory, ada, bob, kim)

    directory.patch(f"/Groups/{group}", {"op": "remove", "path": f'members[value eq "{ada}"]'})
    first = members_of(directory, group)
    directory.patch(f"/Groups/{group}", {"op": "Remove", "path": "members", "value": [{"value": bob}]})
    second = members_of(directory, group)
    for nobody in (ada, new_id()):
        directory.patch(f"/Groups/{group}", {"op": "remove", "path": f'members[value eq "{nobody}"]'})
        directory.patch(f"/Groups/{group}", {"op": "remove", "path": "members", "value": [{"value": nobody}]})

    assert (first, second) == (sorted([bob, kim]), [kim])
    assert members_of(directory, group) == [kim]


# Deleting, and being off.


def test_a_delete_ends_the_record_its_memberships_and_its_access_keeps_the_audit_and_frees_the_name(directory: Directory) -> None:
    ada = directory.add_user("ada", externalId="00u1")
    group = group_with(directory, ada)

    answer = directory.send("DELETE", f"/Users/{ada}")

    assert answer.status == 204
    assert directory.send("GET", f"/Users/{ada}").status == 404
    assert directory.send("DELETE", f"/Users/{ada}").status == 404
    assert members_of(directory, group) == []
    assert person_of(ada).standing == Standing.DEPARTED
    assert len(departures_of(person_of(ada))) == 1
    with reading() as session:
        assert list(session.scalars(select(Entry.verb).where(Entry.subject_id == ada).order_by(Entry.id))) == ["joined", "ended"]
    assert post(directory, "ada", "00u2").status == 201


def test_a_delete_takes_the_access_that_a_rejected_off_left(directory: Directory) -> None:
    ada, bob = directory.add_user("ada"), directory.add_user("bob")
    set_brake("0/60s")
    for one in (ada, bob):
        off(directory, one)
    reject_everything()
    assert person_of(ada).standing == Standing.ACTIVE

    set_brake("1/60s")
    for one in (ada, bob):
        directory.send("DELETE", f"/Users/{one}")

    assert [person_of(one).standing for one in (ada, bob)] == [Standing.DEPARTED, Standing.ACTIVE]
    approve_everything()
    assert person_of(bob).standing == Standing.DEPARTED


def test_whoever_stays_by_another_record_leaves_the_groups_of_the_one_that_is_deleted(directory: Directory) -> None:
    workspace = Workspace()
    employ_at(workspace)
    ada = directory.add_user("ada", **numbered("E-1"))
    directory.beside("entra").add_user("ada", **numbered("E-1"))
    group_with(directory, ada)
    settle(directory.app, workspace)
    [account] = workspace.accounts
    before = workspace.names_of(account)

    directory.send("DELETE", f"/Users/{ada}")
    settle(directory.app, workspace)

    assert len(before) == 2
    assert workspace.names_of(account) == {"all-hands"}


def test_people_who_are_off_stay_readable_and_are_found_with_their_memberships(directory: Directory) -> None:
    ada = directory.add_user("ada", externalId="00u1")
    group = group_with(directory, ada)

    off(directory, ada)

    assert members_of(directory, group) == [ada]
    assert groups_of(directory, ada) == [group]
    for text in ('userName eq "ada"', 'externalId eq "00u1"', f'id eq "{ada}"', "active eq false"):
        found = get(directory, f"/Users?filter={text}")
        assert [(one["id"], one["active"]) for one in found["Resources"]] == [(ada, False)], text
        assert [one["value"] for one in found["Resources"][0]["groups"]] == [group], text
    assert get(directory, "/Users")["totalResults"] == 1
