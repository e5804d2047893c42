"""Schemas that an organisation declares, for the tests of what follows from them."""

import json
from typing import Any

from sqlalchemy import select

from app.clock import now
from app.database import in_transaction, reading
from app.directory.extensions import read_schema
from app.directory.vocabulary import USER_URN
from app.journal.tables import Organization
from app.lifecycle.extensions import declare, take_back
from tests.clients.directory import OKTA, Directory
from tests.clients.transcript import Answer

HR = "urn:example:params:scim:hr:2.0:User"


def attribute(name: str, type: str = "string", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type, **more}


BADGES = attribute(
    "badges", "complex", multiValued=True,
    subAttributes=[attribute("number", "integer", required=True), attribute("type"), attribute("primary", "boolean")],
)  # fmt: skip
USUAL = (
    attribute("grade", "integer"), attribute("quota", "decimal"), attribute("remote", "boolean"), attribute("startDate", "dateTime"),
    attribute("site"), attribute("costCode", caseExact=True), attribute("key", "binary"), attribute("profile", "reference"),
    attribute("skills", multiValued=True), BADGES, attribute("desk", "complex", subAttributes=[attribute("floor", "integer"), attribute("row")]),
)  # fmt: skip


def schema(*attributes: dict[str, Any], urn: str = HR) -> dict[str, Any]:
    return {"id": urn, "name": "HR", "description": "What HR adds", "attributes": list(attributes)}


def _organization_id() -> str:
    with reading() as session:
        return session.scalars(select(Organization.id)).one()


def declares(*attributes: dict[str, Any], urn: str = HR, core: str = USER_URN) -> None:
    """The organisation declares a schema of these attributes. Needs the application's context."""
    extension = read_schema(json.dumps(schema(*attributes, urn=urn)), core)
    organization_id = _organization_id()
    in_transaction(lambda session: declare(session, organization_id, extension, actor=OKTA, at=now()))


def takes_back(urn: str = HR) -> None:
    organization_id = _organization_id()
    in_transaction(lambda session: take_back(session, organization_id, urn, actor=OKTA, at=now()))


def posts(directory: Directory, user_name: str, **attributes: Any) -> Answer:
    return directory.send("POST", "/Users", {"userName": user_name, **attributes})


def kept(directory: Directory, record_id: str, urn: str = HR) -> Any:
    """What is shown of the extension."""
    return directory.send("GET", f"/Users/{record_id}").document.get(urn)


def found(directory: Directory, filter: str, **more: str) -> list[str]:
    """The names that a filter finds, in the order of the answer."""
    asked = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": filter, **more}
    answer = directory.send("POST", "/Users/.search", asked)
    assert answer.status == 200, answer.text
    return [one["userName"] for one in answer.document["Resources"]]


def says(answer: Answer, problem: str, *words: str) -> bool:
    """Whether a request was refused so, with a sentence that has these words."""
    assert (answer.status, answer.document.get("scimType")) == (400, problem), answer.text
    assert all(word in answer.document["detail"] for word in words), answer.document["detail"]
    return True
