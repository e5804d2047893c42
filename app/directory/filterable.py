"""Of what filters can be asked: users, people and groups, with the columns and rows that stand for parts of their documents."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Select, and_, func, literal, select
from sqlalchemy.orm import aliased

from app.directory.heard import is_in_group
from app.directory.json_sql import Claim
from app.directory.names import name_key
from app.directory.tables import INSIDE, Group, Membership, Person, Record, RecordEmail
from app.directory.vocabulary import ENTERPRISE_URN, GROUP_URN, USER_URN


class Form(StrEnum):
    """How a column holds the attribute: as its comparison key, as the text itself, as an instant, as true or false.

    Of an address it holds the end, which is an id, and of a version the number.
    """

    KEY = "key"
    TEXT = "text"
    INSTANT = "instant"
    FLAG = "flag"
    CONSTANT = "constant"
    ADDRESS = "address"
    VERSION = "version"


@dataclass(frozen=True, kw_only=True)
class Field:
    form: Form
    column: Any
    parted: bool = False
    """Whether it is the name of records, whose parts have an index."""
    below: str = ""
    """Where below the base URL addresses of this kind are."""


@dataclass(frozen=True, kw_only=True)
class Relation:
    """A list that other rows decide: what to select from, and the fields of one element."""

    rows: Select[Any]
    fields: Mapping[tuple[str, ...], Field]


@dataclass(frozen=True, kw_only=True)
class Over:
    """What a filter may be asked of: a table whose rows have a document, and the columns that stand for parts of it."""

    core: str
    """The main schema of such resources."""
    document: Any
    fields: Mapping[tuple[str, ...], Field]
    relations: Mapping[str, Callable[[], Relation]] = field(default_factory=dict)
    email_is: Callable[[str], Claim] | None = None


def _meta(table: Any, kind: str) -> dict[tuple[str, ...], Field]:
    return {
        ("meta", "created"): Field(form=Form.INSTANT, column=table.created_at),
        ("meta", "lastModified"): Field(form=Form.INSTANT, column=table.modified_at),
        ("meta", "resourceType"): Field(form=Form.CONSTANT, column=kind),
    }


def _meta_shown(table: Any, kind: str) -> dict[tuple[str, ...], Field]:
    """All that an answer of this kind of resource says in `meta`."""
    return {
        **_meta(table, kind),
        ("meta",): Field(form=Form.CONSTANT, column=""),
        ("meta", "location"): _address(table.id, f"{kind}s"),
        ("meta", "version"): Field(form=Form.VERSION, column=table.version),
    }


def _address(id: Any, below: str) -> Field:
    return Field(form=Form.ADDRESS, column=id, below=below)


def _text(column: Any) -> Field:
    return Field(form=Form.TEXT, column=column)


def _group_fields(membership: Any, group: Any) -> dict[tuple[str, ...], Field]:
    return {
        ("value",): _text(membership.group_id),
        ("display",): Field(form=Form.KEY, column=group.display_name_key),
        ("type",): Field(form=Form.CONSTANT, column="direct"),
    }


def _groups_of_record() -> Relation:
    membership, group = aliased(Membership), aliased(Group)
    rows = (
        select(literal(1))
        .select_from(membership)
        .join(
            group, and_(group.organization_id == membership.organization_id, group.id == membership.group_id)
        )
        .where(
            membership.organization_id == Record.organization_id,
            membership.record_id == Record.id,
            membership.ended_at.is_(None),
            group.ended_at.is_(None),
        )
    )
    return Relation(rows=rows, fields={**_group_fields(membership, group), ("$ref",): _address(membership.group_id, "Groups")})


def _groups_of_person() -> Relation:
    record, membership, group = aliased(Record), aliased(Membership), aliased(Group)
    organization = Person.organization_id
    rows = (
        select(literal(1))
        .select_from(record)
        .join(
            membership,
            and_(membership.organization_id == record.organization_id, membership.record_id == record.id),
        )
        .join(
            group, and_(group.organization_id == membership.organization_id, group.id == membership.group_id)
        )
        .where(record.organization_id == organization, record.person_id == Person.id)
        .where(is_in_group(record, membership), group.ended_at.is_(None))
    )
    return Relation(rows=rows, fields=_group_fields(membership, group))


def _members_of_group() -> Relation:
    membership, record = aliased(Membership), aliased(Record)
    rows = (
        select(literal(1))
        .select_from(membership)
        .join(
            record,
            and_(record.organization_id == membership.organization_id, record.id == membership.record_id),
        )
        .where(
            membership.organization_id == Group.organization_id,
            membership.group_id == Group.id,
            membership.ended_at.is_(None),
        )
    )
    fields: dict[tuple[str, ...], Field] = {
        ("value",): _text(membership.record_id),
        ("$ref",): _address(membership.record_id, "Users"),
        # As `scim.member_texts` shows it.
        ("display",): _text(func.coalesce(func.nullif(record.display_name, ""), record.user_name)),
        ("type",): Field(form=Form.CONSTANT, column="User"),
    }
    return Relation(rows=rows, fields=fields)


def _email_of_record(address: str) -> Claim:
    return (
        select(literal(1))
        .where(
            RecordEmail.organization_id == Record.organization_id,
            RecordEmail.record_id == Record.id,
            RecordEmail.address_key == name_key(address),
        )
        .exists()
    )


def _standing_of_record() -> Claim:
    person = aliased(Person)
    belongs = and_(person.organization_id == Record.organization_id, person.id == Record.person_id)
    return select(literal(1)).where(belongs, person.standing.in_(INSIDE)).exists()


RECORDS = Over(
    core=USER_URN,
    document=Record.document,
    fields={
        ("id",): _text(Record.id),
        ("externalId",): _text(Record.external_id),
        ("userName",): Field(form=Form.KEY, column=Record.user_name_key, parted=True),
        (ENTERPRISE_URN, "employeeNumber"): _text(Record.employee_number),
        # As it is answered: on, and the person may come in.
        ("active",): Field(form=Form.FLAG, column=and_(Record.active, _standing_of_record())),
        **_meta_shown(Record, "User"),
    },
    relations={"groups": _groups_of_record},
    email_is=_email_of_record,
)

PERSONS = Over(
    core=USER_URN,
    document=Person.document,
    fields={
        ("id",): _text(Person.id),
        ("userName",): Field(form=Form.KEY, column=Person.user_name_key),
        ("displayName",): _text(Person.display_name),
        ("userType",): _text(Person.user_type),
        (ENTERPRISE_URN, "employeeNumber"): _text(Person.employee_number),
        (ENTERPRISE_URN, "department"): _text(Person.department),
        (ENTERPRISE_URN, "division"): _text(Person.division),
        (ENTERPRISE_URN, "manager", "value"): _text(Person.manager_id),
        ("active",): Field(form=Form.FLAG, column=Person.standing.in_(INSIDE)),
        **_meta(Person, "User"),
    },
    relations={"groups": _groups_of_person},
)

GROUPS = Over(
    core=GROUP_URN,
    document=Group.document,
    fields={
        ("id",): _text(Group.id),
        ("externalId",): _text(Group.external_id),
        ("displayName",): Field(form=Form.KEY, column=Group.display_name_key),
        **_meta_shown(Group, "Group"),
    },
    relations={"members": _members_of_group},
)
