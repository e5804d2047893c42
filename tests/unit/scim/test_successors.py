"""The choices made at the SCIM door: who is somebody else under a known name, and what they do not inherit."""

from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import delete, select

from app.database import db, in_transaction, reading
from app.directory.tables import Record, RecordEmail, Standing, StatementKind, Voice
from app.directory.vocabulary import ENTERPRISE_URN, USER_URN
from app.journal.tables import Entry
from app.lifecycle.people import find_people
from app.lifecycle.pulled_tables import Question
from connectors.contract import AccountId, AccountState
from tests.clients.directory import Directory
from tests.clients.transcript import Answer
from tests.unit.delivery.crew import settle
from tests.unit.scim.choosing import (
    ON,
    approve_everything,
    departures_of,
    employ_at,
    get,
    group_with,
    members_of,
    numbered,
    off,
    organization_of,
    person_again,
    person_of,
    post,
    says,
    set_brake,
    someone_off,
)
from tests.workspace import Workspace

pytestmark = pytest.mark.slow

# A name that is given to a successor: by PUT or PATCH, where the resource keeps its id.


def put_successor(directory: Directory, record_id: str, external_id: str = "00u2", **attributes: Any) -> Answer:
    said = {"userName": "ada", "externalId": external_id, "active": True, "displayName": "Ada Kim", **attributes}
    return directory.send("PUT", f"/Users/{record_id}", said)


def patch_successor(directory: Directory, record_id: str, external_id: str = "00u2", **attributes: Any) -> Answer:
    said = {"externalId": external_id, "active": True, "displayName": "Ada Kim", **attributes}
    return directory.patch(f"/Users/{record_id}", {"op": "replace", "value": said})


GIVING = pytest.mark.parametrize("give", [put_successor, patch_successor])


@GIVING
def test_an_off_record_under_another_external_id_keeps_its_id_and_is_a_new_person_who_inherits_nothing(
    directory: Directory, give: Any
) -> None:
    ada = directory.add_user("ada", externalId="00u1")
    group = group_with(directory, ada)
    off(directory, ada)
    before = person_of(ada)
    departed = departures_of(before)

    answer = give(directory, ada)

    assert (answer.status, answer.document["id"], answer.document["active"]) == (200, ada, True)
    assert (answer.document["externalId"], answer.document["groups"]) == ("00u2", [])
    assert members_of(directory, group) == []
    successor = person_of(ada)
    assert successor.id != before.id and successor.standing == Standing.ACTIVE
    assert departures_of(successor) == []
    assert departures_of(before) == departed != []


@GIVING
def test_a_predecessor_stays_out_whatever_is_decided_anew(directory: Directory, give: Any) -> None:
    ada = someone_off(directory)
    before = person_of(ada)
    give(directory, ada)

    says(before, Voice.HR, StatementKind.RETURNS)

    again = person_again(before)
    assert (again.standing, again.user_name, again.display_name) == (Standing.DEPARTED, "ada", before.display_name)


@GIVING
def test_a_successor_may_be_added_to_the_groups_of_the_predecessor_anew(directory: Directory, give: Any) -> None:
    ada = directory.add_user("ada", externalId="00u1")
    group = group_with(directory, ada)
    off(directory, ada)
    give(directory, ada)

    directory.patch(f"/Groups/{group}", {"op": "add", "path": "members", "value": [{"value": ada}]})

    assert members_of(directory, group) == [ada]


@GIVING
def test_the_matching_key_says_that_it_is_the_same_person_under_another_external_id(directory: Directory, give: Any) -> None:
    ada = directory.add_user("ada", externalId="00u1", **numbered("E-1"))
    group = group_with(directory, ada)
    off(directory, ada)
    before = person_of(ada)

    answer = give(directory, ada, **numbered("E-1"))

    assert answer.document["active"] is True
    assert person_of(ada).id == before.id
    assert members_of(directory, group) == [ada]


def test_a_patch_that_is_silent_about_the_number_makes_a_new_person_and_does_not_leave_them_the_number(directory: Directory) -> None:
    ada = directory.add_user("ada", externalId="00u1", **numbered("E-1", department="Sales"))
    off(directory, ada)
    before = person_of(ada)

    answer = patch_successor(directory, ada)

    assert answer.document["active"] is True
    assert person_of(ada).id != before.id
    assert answer.document[ENTERPRISE_URN] == {"department": "Sales"}
    # The number still names the one who left, and nobody else.
    assert post(directory, "ada.first", "00u1", **numbered("E-1")).status == 201


def test_where_only_the_number_is_taken_out_its_schema_goes_with_it(directory: Directory) -> None:
    ada = someone_off(directory, **numbered("E-1"))

    answer = patch_successor(directory, ada)

    assert answer.document["schemas"] == [USER_URN] and ENTERPRISE_URN not in answer.document
    again = directory.patch(f"/Users/{ada}", {"op": "remove", "path": f"{ENTERPRISE_URN}:employeeNumber"})
    assert again.document["meta"]["version"] == answer.document["meta"]["version"]


@GIVING
def test_a_successor_whom_the_matching_key_knows_is_that_person(directory: Directory, give: Any) -> None:
    ada = someone_off(directory, **numbered("E-1"))
    kim = directory.add_user("kim", externalId="00u9", **numbered("E-2"))
    directory.send("DELETE", f"/Users/{kim}")

    answer = give(directory, ada, **numbered("E-2"))

    assert answer.document["active"] is True
    assert person_of(ada).id == person_of(kim).id
    assert person_of(kim).standing == Standing.ACTIVE


@GIVING
def test_a_bar_on_the_predecessor_does_not_keep_the_successor_out(directory: Directory, give: Any) -> None:
    ada = someone_off(directory)
    before = person_of(ada)
    says(before, Voice.OPERATOR, StatementKind.BARS)

    answer = give(directory, ada)

    assert answer.document["active"] is True
    assert person_again(before).standing == Standing.DEPARTED


def test_another_external_id_said_before_switching_on_makes_a_new_person_as_well(directory: Directory) -> None:
    ada = directory.add_user("ada", externalId="00u1", displayName="Ada", **numbered("E-1"))
    group = group_with(directory, ada)
    off(directory, ada)
    before = person_of(ada)
    directory.send("PUT", f"/Users/{ada}", {"userName": "ada", "externalId": "00u2", "displayName": "Kim", **numbered("E-2")})
    assert get(directory, f"/Users/{ada}")["active"] is False

    directory.patch(f"/Users/{ada}", ON)

    assert get(directory, f"/Users/{ada}")["active"] is True
    assert person_of(ada).id != before.id
    assert members_of(directory, group) == []
    assert (person_again(before).standing, person_again(before).display_name) == (Standing.DEPARTED, "Ada")


@pytest.mark.parametrize("known", ["00u1", None])
def test_switching_on_under_the_same_or_a_first_external_id_is_the_same_person(directory: Directory, known: str | None) -> None:
    ada = someone_off(directory, external_id=known)
    before = person_of(ada)

    put_successor(directory, ada, external_id="00u1")

    assert person_of(ada).id == before.id


def test_another_external_id_for_someone_who_is_on_changes_nothing_else(directory: Directory) -> None:
    ada = directory.add_user("ada", externalId="00u1")
    group = group_with(directory, ada)
    before = person_of(ada)

    put_successor(directory, ada)
    off(directory, ada)
    directory.patch(f"/Users/{ada}", ON)

    assert person_of(ada).id == before.id
    assert members_of(directory, group) == [ada]


def test_a_predecessor_who_is_hired_again_gets_a_record_of_their_own(directory: Directory) -> None:
    ada = someone_off(directory, **numbered("E-1"))
    before = person_of(ada)
    put_successor(directory, ada, **numbered("E-2"))

    answer = post(directory, "ada.first", "00u1", **numbered("E-1"))

    assert (answer.status, answer.document["active"]) == (201, True)
    assert answer.document["id"] != ada
    assert person_of(answer.document["id"]).id == before.id != person_of(ada).id


def test_the_journal_says_from_whom_to_whom_a_resource_was_given(directory: Directory) -> None:
    ada = someone_off(directory)
    before = person_of(ada)
    put_successor(directory, ada)

    with reading() as session:
        entry = session.scalars(select(Entry).where(Entry.subject_id == ada).order_by(Entry.id.desc())).first()

    assert entry is not None and entry.verb == "given to a successor"
    assert entry.before is not None and entry.after is not None
    assert (entry.before["person"], entry.before["externalId"]) == (before.id, "00u1")
    assert (entry.after["person"], entry.after["externalId"]) == (person_of(ada).id, "00u2")


@pytest.mark.parametrize("by", ["POST", "PUT"])
def test_an_off_that_the_brake_holds_goes_on_waiting_for_the_predecessor(directory: Directory, by: str) -> None:
    ada = directory.add_user("ada", externalId="00u1")
    set_brake("0/60s")
    off(directory, ada)
    before = person_of(ada)
    assert before.standing == Standing.ACTIVE

    answer = post(directory, "ada", "00u2") if by == "POST" else put_successor(directory, ada)

    successor = person_of(answer.document["id"])
    assert person_again(before).standing == Standing.ACTIVE
    approve_everything()
    assert person_again(before).standing == Standing.DEPARTED
    assert person_again(successor).standing == Standing.ACTIVE


@pytest.mark.parametrize("by", ["POST", "PUT"])
def test_a_successor_never_gets_the_account_of_the_predecessor(directory: Directory, by: str) -> None:
    workspace = Workspace()
    employ_at(workspace)
    ada = directory.add_user("ada", externalId="00u1")
    before = person_of(ada)
    settle(directory.app, workspace)
    off(directory, ada)
    settle(directory.app, workspace)

    answer = post(directory, "ada", "00u2") if by == "POST" else put_successor(directory, ada)
    settle(directory.app, workspace)

    successor = person_of(answer.document["id"])
    assert {account.id: account.person_id for account in workspace.accounts.values()} == {"ada": before.id, "ada-2": successor.id}
    assert workspace.accounts[AccountId("ada")].state is AccountState.DEACTIVATED
    assert workspace.show_access(AccountId("ada")).gone


@GIVING
def test_a_successor_does_not_inherit_who_reported_to_the_predecessor(directory: Directory, give: Any) -> None:
    ada = directory.add_user("ada", externalId="00u1")
    bob = directory.add_user("bob", **{ENTERPRISE_URN: {"manager": {"value": ada}, "department": "Sales"}})
    cyd = directory.add_user("cyd", **{ENTERPRISE_URN: {"manager": {"value": ada}}})
    dan = directory.add_user("dan", **{ENTERPRISE_URN: {"manager": {"value": bob}}})
    off(directory, ada)
    assert person_of(bob).manager_id == person_of(ada).id
    give(directory, ada)

    for _ in range(2):
        assert [person_of(one).manager_id for one in (bob, cyd, dan)] == [None, None, person_of(bob).id]
        assert get(directory, f"/Users/{bob}")[ENTERPRISE_URN] == {"department": "Sales"}
        assert ENTERPRISE_URN not in get(directory, f"/Users/{cyd}")["schemas"]
        # Nothing else that is said of them brings it back.
        for one in (bob, cyd):
            directory.patch(f"/Users/{one}", {"op": "replace", "path": "title", "value": "Clerk"})
    with reading() as session:
        said = session.scalars(select(Entry.because).where(Entry.subject_id == bob, Entry.verb == "changed").order_by(Entry.id)).first()
    assert said is not None and said.endswith("userName 'ada', to whom they reported, is given to somebody else")

    directory.patch(f"/Users/{bob}", {"op": "add", "path": f"{ENTERPRISE_URN}:manager", "value": ada})

    assert person_of(bob).manager_id == person_of(ada).id


def _addressed(address: str, number: str) -> dict[str, Any]:
    return {**numbered(number), "emails": [{"value": address, "primary": True}]}


@GIVING
def test_a_predecessor_is_still_known_by_their_addresses(directory: Directory, give: Any) -> None:
    ada = someone_off(directory, **_addressed("Ada@Northwind.example", "E-1"))
    before = person_of(ada)
    give(directory, ada, **_addressed("kim@northwind.example", "E-2"))

    stranger = post(directory, "bob", "00u8", **_addressed("bob@northwind.example", "E-1"))

    assert person_of(str(stranger.document["id"])).id != before.id
    with reading() as session:
        (asked,) = session.scalars(select(Question)).all()
        assert asked.reason == "employee number E-1 belongs to ada, whose addresses are others"
        assert [person.id for person in find_people(session, before.organization_id, "ada@northwind.example")] == [before.id]


def test_whoever_was_followed_before_the_migration_is_known_by_their_addresses_again(directory: Directory) -> None:
    ada = someone_off(directory, **_addressed("ada@northwind.example", "E-1"))
    before = person_of(ada)
    put_successor(directory, ada, **_addressed("kim@northwind.example", "E-2"))
    with reading() as session:
        kept = session.scalars(select(Record.id).where(Record.person_id == before.id)).one()
    in_transaction(lambda session: session.execute(delete(RecordEmail).where(RecordEmail.record_id == kept)))
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parents[3] / "migrations"))
    config.set_main_option("path_separator", "os")
    with db.engine.begin() as connection:
        config.attributes["connection"] = connection
        # That one alone: what later ones make is here already.
        command.stamp(config, "0020")
        command.upgrade(config, "0021")
        command.stamp(config, "head")

    with reading() as session:
        assert session.scalars(select(RecordEmail.address_key).where(RecordEmail.record_id == kept)).all() == ["ada@northwind.example"]


def test_whoever_had_the_user_until_now_is_asked_about_in_words_that_fit(directory: Directory) -> None:
    in_transaction(lambda session: setattr(organization_of(session), "settings", {"matching": "email", "leaving_voice": "hr"}))
    ada = someone_off(directory, **_addressed("ada@northwind.example", "E-1"))
    before = person_of(ada)
    assert before.standing == Standing.PAUSED

    put_successor(directory, ada, emails=[{"value": "ada@northwind.example"}])

    assert person_of(ada).id != before.id
    with reading() as session:
        asked = session.scalars(select(Question)).one()
    assert asked.reason == "the address ada@northwind.example belongs to ada, who had this user under another externalId until now"
