"""People and groups as a directory pushes them, for the tests of the choices made at the SCIM door."""

from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.tables import Workspace as WorkspaceRow
from app.clock import now
from app.database import in_transaction, new_id, reading
from app.directory.tables import Person, Record, StatementKind, Voice
from app.directory.vocabulary import ENTERPRISE_URN
from app.journal.tables import Organization
from app.lifecycle import brake, leaving
from app.lifecycle.sources import set_setting
from app.revocation.departures import history
from app.rules.file import parse
from app.rules.revisions import apply_rules
from tests.clients.directory import Directory
from tests.clients.transcript import Answer
from tests.company import ADMIN
from tests.workspace import Workspace

ON: dict[str, Any] = {"op": "replace", "path": "active", "value": True}
OFF: dict[str, Any] = {"op": "replace", "path": "active", "value": False}

OTHER_VOICES = pytest.mark.parametrize(
    ("voice", "kind"),
    [
        (Voice.HR, StatementKind.LEAVES),
        (Voice.OPERATOR, StatementKind.LEAVES),
        (Voice.OPERATOR, StatementKind.PAUSES),
        (Voice.OPERATOR, StatementKind.BARS),
    ],
)


def numbered(number: str, **more: str) -> dict[str, Any]:
    return {ENTERPRISE_URN: {"employeeNumber": number, **more}}


def organization_of(session: Session) -> Organization:
    return session.scalars(select(Organization).where(Organization.name == "Northwind")).one()


def person_of(record_id: str) -> Person:
    """The person whom a resource, ended or not, stands for now."""
    with reading() as session:
        record = session.scalars(select(Record).where(Record.id == record_id)).one()
        return session.get_one(Person, (record.organization_id, record.person_id))


def person_again(person: Person) -> Person:
    with reading() as session:
        return session.get_one(Person, (person.organization_id, person.id))


def departures_of(person: Person) -> list[str]:
    with reading() as session:
        return [departure.id for departure, _ in history(session, person.organization_id, person.id)]


def says(person: Person, voice: Voice, kind: StatementKind) -> None:
    at = now()
    in_transaction(
        lambda session: leaving.say(
            session,
            person.organization_id,
            person.id,
            voice=voice,
            kind=kind,
            said_by="x",
            effective_at=at,
            actor=ADMIN,
            at=at,
            because="test",
        )
    )


def set_brake(text: str) -> None:
    in_transaction(lambda session: set_setting(session, organization_of(session), "push_brake", text, actor=ADMIN, at=now()))


def approve_everything() -> None:
    def act(session: Session) -> None:
        for held, lines in brake.waiting(session, organization_of(session).id):
            leaving.release(session, held, lines, actor=ADMIN, at=now())

    in_transaction(act)


def reject_everything() -> None:
    def act(session: Session) -> None:
        for held, lines in brake.waiting(session, organization_of(session).id):
            leaving.reject(session, held, lines, actor=ADMIN, at=now())

    in_transaction(act)


def off(directory: Directory, record_id: str) -> None:
    answer = directory.patch(f"/Users/{record_id}", OFF)
    assert (answer.status, answer.document["active"]) == (200, False)


def someone_off(directory: Directory, user_name: str = "ada", external_id: str | None = "00u1", **attributes: Any) -> str:
    said = attributes if external_id is None else {"externalId": external_id, **attributes}
    record_id = directory.add_user(user_name, **said)
    off(directory, record_id)
    return record_id


def post(directory: Directory, user_name: str, external_id: str | None = None, **attributes: Any) -> Answer:
    said = attributes if external_id is None else {"externalId": external_id, **attributes}
    return directory.send("POST", "/Users", {"userName": user_name, **said})


def get(directory: Directory, path: str) -> Any:
    return directory.send("GET", path).document


def group_with(directory: Directory, *members: str, name: str = "Engineers") -> str:
    answer = directory.send("POST", "/Groups", {"displayName": name, "members": [{"value": member} for member in members]})
    assert answer.status == 201, answer.text
    return str(answer.document["id"])


def members_of(directory: Directory, group_id: str) -> list[str]:
    return sorted(member["value"] for member in get(directory, f"/Groups/{group_id}")["members"])


def groups_of(directory: Directory, record_id: str) -> list[str]:
    return [group["value"] for group in get(directory, f"/Users/{record_id}")["groups"]]


def is_taken(answer: Answer) -> bool:
    return (answer.status, answer.document.get("scimType")) == (409, "uniqueness")


def employ_at(workspace: Workspace) -> None:
    def act(session: Session) -> None:
        organization = organization_of(session)
        row = WorkspaceRow(
            organization_id=organization.id, id=new_id(), name="chat", kind="matrix", url="http://nowhere.invalid", sealed_token=b"",
            options={}, created_at=now(),
        )  # fmt: skip
        session.add(row)
        rules = "rules:\n  - id: everyone\n    name: all-hands\n  - id: groups\n    for_each: group\n    name: 'group-{{ key | slug }}'\n"
        apply_rules(session, organization.id, parse(rules), ADMIN, now())

    in_transaction(act)
