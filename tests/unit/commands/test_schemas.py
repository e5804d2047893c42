"""Schemas of one's own as typed."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select

from app.database import reading
from app.journal.tables import Entry, Organization
from tests.unit.commands.conftest import Desk

URN = "urn:example:hr:2.0:User"


def imports(desk: Desk, *attributes: dict[str, Any], urn: str = URN) -> str:
    return desk.file("hr.json", json.dumps({"id": urn, "name": "HR", "description": "What HR adds", "attributes": list(attributes)}))


def entries(desk: Desk) -> list[tuple[str, str, str]]:
    with desk.app.app_context(), reading() as session:
        query = select(Entry.verb, Entry.subject_id, Entry.actor).where(Entry.subject_kind == "schema").order_by(Entry.id)
        return [(verb, urn, actor.partition(":")[0]) for verb, urn, actor in session.execute(query)]


def version(desk: Desk) -> int | None:
    with desk.app.app_context(), reading() as session:
        return session.scalars(select(Organization.schemas_version)).one()


def test_a_schema_is_imported_listed_shown_and_removed(desk: Desk) -> None:
    file = imports(desk, {"name": "grade", "type": "integer"}, {"name": "desk", "type": "complex", "subAttributes": [{"name": "row"}]})
    head = {"urn": URN, "name": "HR", "for": "User", "attributes": 2}

    assert version(desk) is None
    made = desk.asks("schemas", "import", file)
    assert made == {"schema": "doorlist.schemas.changed/1", **head, "changed": True, "removed": False}
    assert desk.asks("schemas", "list") == {"schema": "doorlist.schemas/1", "schemas": [head]}
    shown = desk.asks("schemas", "show", URN.upper())
    assert (shown["schema"], shown["urn"], shown["resource"]["attributes"][0]["type"]) == ("doorlist.schemas.show/1", URN, "integer")
    assert "desk.row\tstring" in desk.types("schemas", "show", URN).out
    assert desk.asks("schemas", "remove", URN)["removed"] is True
    assert desk.asks("schemas", "list")["schemas"] == []
    assert entries(desk) == [("schema declared", URN, "host"), ("schema removed", URN, "host")]


def test_importing_again_replaces_and_importing_the_same_changes_nothing(desk: Desk) -> None:
    desk.asks("schemas", "import", imports(desk, {"name": "grade"}))
    first = version(desk)

    assert desk.asks("schemas", "import", imports(desk, {"name": "grade"}))["changed"] is False
    assert version(desk) == first
    assert desk.asks("schemas", "import", imports(desk, {"name": "grade", "type": "integer"}, urn=URN.replace("User", "user")))["changed"] is True
    assert desk.asks("schemas", "import", imports(desk, {"name": "grade"}), "--for", "Group")["for"] == "Group"
    assert [one["for"] for one in desk.asks("schemas", "list")["schemas"]] == ["Group"]
    assert [verb for verb, _, _ in entries(desk)] == ["schema declared", "schema changed", "schema changed"]
    assert version(desk) != first


def test_a_wrong_schema_is_named_and_nothing_written(desk: Desk) -> None:
    said = desk.types("schemas", "import", imports(desk, {"name": "grade", "type": "number"}), "--json")

    assert said.exit == 1
    assert "grade: type must be one of" in said.json["error"]
    assert desk.types("schemas", "import", "/nowhere/hr.json").exit == 1
    assert desk.types("schemas", "import", imports(desk, {"name": "grade"}), "--for", "Device").exit == 2
    assert entries(desk) == [] and version(desk) is None


def test_what_is_not_declared_cannot_be_shown_or_removed(desk: Desk) -> None:
    for verb in ("show", "remove"):
        said = desk.types("schemas", verb, URN, "--json")
        assert (said.exit, said.json["error"]) == (1, f"schema {URN} does not exist")


def test_who_only_looks_cannot_change_schemas(desk: Desk) -> None:
    token = desk.asks("operator", "add", "vera", "--role", "auditor")["token"]
    file = imports(desk, {"name": "grade"})

    assert desk.types("schemas", "import", file, token=token).exit == 4
    assert desk.types("schemas", "remove", URN, token=token).exit == 4
    assert desk.asks("schemas", "list", token=token)["schemas"] == []
