"""Verbs on an organisation's own schemas: what its directories may say besides SCIM's own attributes."""

from pathlib import Path

import click
from sqlalchemy.orm import Session

from app.clock import now
from app.commands.acting import ADMINS, ANYONE, Acting, verb
from app.commands.exits import NotReady
from app.commands.output import Answer, Table
from app.database import in_transaction, reading
from app.directory.extensions import CORES, read_schema
from app.directory.vocabulary import Extension
from app.lifecycle.extensions import declare, declared_by, find_declared, take_back

_COLUMNS = ("attribute", "type", "multiValued", "required", "caseExact", "returned")
_KINDS = {urn: name for name, urn in CORES.items()}


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(schemas)


@click.group()
def schemas() -> None:
    """Attributes of your own: SCIM schemas by which values are checked, compared and shown."""


def _head(one: Extension) -> dict[str, object]:
    return {"urn": one.urn, "name": one.described["name"], "for": _KINDS[one.core], "attributes": len(one.attributes)}


def _attributes(one: Extension) -> Table:
    """A row for each attribute, and for each part of a complex one."""
    rows = [
        (name, *(said.get(column) for column in _COLUMNS[1:]))
        for attribute in one.described["attributes"]
        for name, said in (
            (attribute["name"], attribute),
            *((f"{attribute['name']}.{part['name']}", part) for part in attribute.get("subAttributes", ())),
        )
    ]
    return Table(columns=_COLUMNS, rows=rows)


@verb(schemas, "list", may=ANYONE)
def list_schemas(acting: Acting) -> Answer:
    """Every schema that is declared."""
    with reading() as session:
        found = [_head(one) for one in declared_by(session, acting.organization_id)]
    columns = ("urn", "name", "for", "attributes")
    return Answer(schema="schemas", fields={"schemas": found}, tables=[Table(columns=columns, rows=[[one[name] for name in columns] for one in found])])


@verb(schemas, "show", may=ANYONE)
@click.argument("urn")
def show_schema(acting: Acting, urn: str) -> Answer:
    """One schema as it is in force; with --json, as `/Schemas` tells it."""
    with reading() as session:
        one = find_declared(session, acting.organization_id, urn)
    return Answer(schema="schemas.show", fields={**_head(one), "resource": one.described}, tables=[_attributes(one)])


@verb(schemas, "import", may=ADMINS)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--for", "kind", type=click.Choice(list(CORES)), default="User", show_default=True, help="Whether users or groups have these attributes.")
def import_schema(acting: Acting, file: Path, kind: str) -> Answer:
    """Declare the schema in FILE, a SCIM Schema resource in JSON, in the place of the one with its URN."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise NotReady(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}") from error
    one = read_schema(text, CORES[kind])

    def act(session: Session) -> bool:
        return declare(session, acting.organization_id, one, actor=acting.actor, at=now())

    changed = in_transaction(act)
    note = f"{one.urn} is declared; values are checked by it when they are next sent." if changed else f"{one.urn} is declared so already."
    return Answer(schema="schemas.changed", fields={**_head(one), "changed": changed, "removed": False}, tables=[_attributes(one)], notes=[note])


@verb(schemas, "remove", may=ADMINS)
@click.argument("urn")
def remove_schema(acting: Acting, urn: str) -> Answer:
    """Declare a schema no more. What was stored by it stays, and is kept and shown unchecked."""
    one = in_transaction(lambda session: take_back(session, acting.organization_id, urn, actor=acting.actor, at=now()))
    return Answer(
        schema="schemas.changed", fields={**_head(one), "changed": True, "removed": True}, notes=[f"{one.urn} is declared no more; its values stay."]
    )
